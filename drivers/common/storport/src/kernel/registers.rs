//! PCI configuration space and mapped register ranges. IRQL: any up to DIRQL, in dump mode HIGH_LEVEL; [`ConfigSpaceCopy`] is read at
//! PASSIVE_LEVEL. Lock: none; the virtio crate says who may write to a register.

use wdk_sys::ntddk::{HalGetBusDataByOffset, HalSetBusDataByOffset};
use wdk_sys::storage::{
    StorPortGetBusData, StorPortReadPortUchar, StorPortReadPortUlong, StorPortReadPortUshort,
    StorPortReadRegisterUchar, StorPortReadRegisterUlong, StorPortReadRegisterUshort, StorPortWritePortUchar,
    StorPortWritePortUlong, StorPortWritePortUshort, StorPortWriteRegisterUchar, StorPortWriteRegisterUlong,
    StorPortWriteRegisterUshort,
};
use wdk_sys::{_BUS_DATA_TYPE, ULONG};

use virtio::transport::{Bar, ConfigSpace, ConfigSpaceMut};

use super::HwDeviceExtension;

/// Base address registers of a PCI function (`PCI_TYPE0_ADDRESSES`).
pub(super) const BASE_ADDRESS_REGISTERS: u32 = 6;

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

/// Configuration space of a function, for as long as the adapter exists.
///
/// `StorPortGetBusData` and `StorPortSetBusDataByOffset` may be called while the adapter is being found only
/// (nf-storport-storportgetbusdata.md; ScsiRestartAdapter in ne-storport-scsi_adapter_control_type.md), and the interface
/// of the bus driver takes an IRP that a miniport has no business with. The HAL's routines are there for who cannot use
/// those (nf-ntddk-halsetbusdatabyoffset.md). The page names no IRQL; what the bus driver has for the same space may be
/// called at DIRQL (nc-wdm-get_set_device_data.md), and so, we assume, may these.
///
/// Bus numbers can change (obtaining-device-configuration-information-at-irql---dispatch-level.md), so who writes has to
/// compare the [`FunctionIdentity`](virtio::transport::FunctionIdentity) first.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigSpaceAtRuntime {
    bus: ULONG,
    slot: ULONG,
}

impl ConfigSpaceAtRuntime {
    /// The function at this place on the bus (`SystemIoBusNumber` and `SlotNumber`).
    pub(super) const fn new(bus: ULONG, slot: ULONG) -> Self {
        Self { bus, slot }
    }

    /// All-ones where nothing is read.
    fn read<const N: usize>(&self, offset: u16) -> [u8; N] {
        let mut bytes = [u8::MAX; N];
        // SAFETY: the buffer has the length that is passed; a place where there is no function reads nothing.
        let length = unsafe {
            HalGetBusDataByOffset(
                _BUS_DATA_TYPE::PCIConfiguration,
                self.bus,
                self.slot,
                bytes.as_mut_ptr().cast(),
                ULONG::from(offset),
                N as ULONG,
            )
        };
        // Where there is no device, two bytes of an invalid vendor id are all that is given.
        if length as usize == N { bytes } else { [u8::MAX; N] }
    }

    /// What is not written shows when it is read back.
    fn write<const N: usize>(&self, offset: u16, mut bytes: [u8; N]) {
        // SAFETY: the buffer has the length that is passed. What is written is the function's own: see the type.
        unsafe {
            HalSetBusDataByOffset(
                _BUS_DATA_TYPE::PCIConfiguration,
                self.bus,
                self.slot,
                bytes.as_mut_ptr().cast(),
                ULONG::from(offset),
                N as ULONG,
            );
        }
    }
}

impl ConfigSpace for ConfigSpaceAtRuntime {
    fn read8(&self, offset: u16) -> u8 {
        u8::from_le_bytes(self.read(offset))
    }

    fn read16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.read(offset))
    }

    fn read32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }
}

impl ConfigSpaceMut for ConfigSpaceAtRuntime {
    fn write8(&self, offset: u16, value: u8) {
        self.write(offset, value.to_le_bytes());
    }

    fn write16(&self, offset: u16, value: u16) {
        self.write(offset, value.to_le_bytes());
    }

    fn write32(&self, offset: u16, value: u32) {
        self.write(offset, value.to_le_bytes());
    }
}

/// Where a base address register says its range is; `None` when it is not in use.
pub(super) fn bar_address(config: &impl ConfigSpace, index: u8) -> Option<u64> {
    const FIRST: u16 = 0x10;
    const IO: u32 = 1 << 0;
    const TYPE_64: u32 = 0b10 << 1;
    const TYPE_MASK: u32 = 0b11 << 1;
    if u32::from(index) >= BASE_ADDRESS_REGISTERS {
        return None;
    }
    let offset = FIRST + 4 * u16::from(index);
    let low = config.read32(offset);
    let address = if low & IO != 0 {
        u64::from(low & !0x3)
    } else if low & TYPE_MASK == TYPE_64 && u32::from(index) + 1 < BASE_ADDRESS_REGISTERS {
        u64::from(config.read32(offset + 4)) << 32 | u64::from(low & !0xf)
    } else {
        u64::from(low & !0xf)
    };
    (address != 0).then_some(address)
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
