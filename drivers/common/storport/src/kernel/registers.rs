//! PCI configuration space and mapped register ranges.

use wdk_sys::storage::{
    StorPortGetBusData, StorPortReadPortUchar, StorPortReadPortUlong, StorPortReadPortUshort,
    StorPortReadRegisterUchar, StorPortReadRegisterUlong, StorPortReadRegisterUshort, StorPortWritePortUchar,
    StorPortWritePortUlong, StorPortWritePortUshort, StorPortWriteRegisterUchar, StorPortWriteRegisterUlong,
    StorPortWriteRegisterUshort,
};
use wdk_sys::{_BUS_DATA_TYPE, ULONG};

use virtio::transport::{Bar, ConfigSpace};

use super::HwDeviceExtension;

/// Bytes of configuration space that StorPort reads for a miniport.
const CONFIG_SPACE_BYTES: usize = 256;

/// A copy of the function's PCI configuration space, as `StorPortGetBusData` gives it.
#[derive(Debug)]
pub(super) struct ConfigSpaceCopy {
    bytes: [u8; CONFIG_SPACE_BYTES],
    length: usize,
}

impl ConfigSpaceCopy {
    /// # Safety
    /// Only while StorPort runs `HwStorFindAdapter` for the adapter `hw` at this place on the bus.
    pub(super) unsafe fn read(hw: HwDeviceExtension, bus: ULONG, slot: ULONG) -> Self {
        let mut bytes = [0xff; CONFIG_SPACE_BYTES];
        // SAFETY: the buffer has the length that is passed; the caller vouches for the rest.
        let length = unsafe {
            StorPortGetBusData(
                hw.0,
                _BUS_DATA_TYPE::PCIConfiguration as ULONG,
                bus,
                slot,
                bytes.as_mut_ptr().cast(),
                CONFIG_SPACE_BYTES as ULONG,
            )
        };
        Self { bytes, length: (length as usize).min(CONFIG_SPACE_BYTES) }
    }

    fn byte(&self, offset: usize) -> u8 {
        if offset < self.length { self.bytes[offset] } else { 0xff }
    }
}

impl ConfigSpace for ConfigSpaceCopy {
    fn read8(&self, offset: u16) -> u8 {
        self.byte(usize::from(offset))
    }

    fn read16(&self, offset: u16) -> u16 {
        let at = usize::from(offset);
        u16::from_le_bytes([self.byte(at), self.byte(at + 1)])
    }

    fn read32(&self, offset: u16) -> u32 {
        let at = usize::from(offset);
        u32::from_le_bytes([self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3)])
    }
}

/// A base address register's range, mapped by `StorPortGetDeviceBase`.
#[derive(Debug)]
pub struct KernelBar {
    hw: HwDeviceExtension,
    base: *mut u8,
    length: u64,
    in_memory: bool,
}

// SAFETY: the range stays mapped as long as the adapter exists, and register access is allowed on any processor.
unsafe impl Send for KernelBar {}
// SAFETY: as above; every access is one instruction that the device orders.
unsafe impl Sync for KernelBar {}

impl KernelBar {
    /// # Safety
    /// `base` must be the mapping of `length` bytes that StorPort made for the adapter `hw`.
    pub(super) unsafe fn new(hw: HwDeviceExtension, base: *mut u8, length: u64, in_memory: bool) -> Self {
        Self { hw, base, length, in_memory }
    }

    /// The register at `offset`, if all of its `bytes` lie in the range and it is aligned to its size.
    fn register(&self, offset: u32, bytes: u32) -> Option<*mut u8> {
        let inside = u64::from(offset) + u64::from(bytes) <= self.length;
        (inside && offset.is_multiple_of(bytes)).then(|| self.base.wrapping_add(offset as usize))
    }
}

/// Reads and writes of one width, through StorPort's routine for memory or for ports. An access outside the range is
/// our own mistake: it reads all-ones and writes nothing.
macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $read_memory:ident, $read_port:ident, $write_memory:ident, $write_port:ident) => {
        fn $read(&self, offset: u32) -> $type {
            let Some(register) = self.register(offset, size_of::<$type>() as u32) else {
                return <$type>::MAX;
            };
            if self.in_memory {
                // SAFETY: an aligned register inside the mapped range.
                unsafe { $read_memory(self.hw.0, register.cast()) }
            } else {
                // SAFETY: an aligned register inside the mapped range.
                unsafe { $read_port(self.hw.0, register.cast()) }
            }
        }

        fn $write(&self, offset: u32, value: $type) {
            let Some(register) = self.register(offset, size_of::<$type>() as u32) else {
                return;
            };
            if self.in_memory {
                // SAFETY: an aligned register inside the mapped range.
                unsafe { $write_memory(self.hw.0, register.cast(), value) }
            } else {
                // SAFETY: an aligned register inside the mapped range.
                unsafe { $write_port(self.hw.0, register.cast(), value) }
            }
        }
    };
}

impl Bar for KernelBar {
    fn length(&self) -> u64 {
        self.length
    }

    access!(
        read8,
        write8,
        u8,
        StorPortReadRegisterUchar,
        StorPortReadPortUchar,
        StorPortWriteRegisterUchar,
        StorPortWritePortUchar
    );
    access!(
        read16,
        write16,
        u16,
        StorPortReadRegisterUshort,
        StorPortReadPortUshort,
        StorPortWriteRegisterUshort,
        StorPortWritePortUshort
    );
    access!(
        read32,
        write32,
        u32,
        StorPortReadRegisterUlong,
        StorPortReadPortUlong,
        StorPortWriteRegisterUlong,
        StorPortWritePortUlong
    );
}
