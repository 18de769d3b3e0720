//! The service's parameters (nf-storport-storportregistryread.md). IRQL: PASSIVE_LEVEL.

use core::ffi::CStr;

use wdk_sys::storage::{StorPortAllocateRegistryBuffer, StorPortFreeRegistryBuffer, StorPortRegistryRead};
use wdk_sys::{MINIPORT_REG_DWORD, PUCHAR, ULONG};

use super::HwDeviceExtension;

const DWORD_BYTES: ULONG = size_of::<ULONG>() as ULONG;

/// Below which key a value is looked for: that of one adapter, then that of all.
const KEYS: [ULONG; 2] = [0, 1];

/// A DWORD that is set for this adapter, or for all. What is of another type counts as not set: StorPort does not tell the two
/// apart.
pub(super) fn read(hw: HwDeviceExtension, name: &CStr) -> Option<u32> {
    let buffer = Buffer::new(hw)?;
    KEYS.into_iter().find_map(|key| buffer.read(name, key))
}

/// The one buffer that StorPort reads values into.
struct Buffer {
    hw: HwDeviceExtension,
    start: PUCHAR,
}

impl Buffer {
    /// `None` when there is no memory, or less than a DWORD.
    fn new(hw: HwDeviceExtension) -> Option<Self> {
        let mut length = DWORD_BYTES;
        // SAFETY: the length is ours, and no other registry buffer of this adapter is allocated.
        let start = unsafe { StorPortAllocateRegistryBuffer(hw.0, &raw mut length) };
        if start.is_null() {
            return None;
        }
        let buffer = Self { hw, start };
        (length >= DWORD_BYTES).then_some(buffer)
    }

    fn read(&self, name: &CStr, key: ULONG) -> Option<u32> {
        let mut length = DWORD_BYTES;
        // SAFETY: the name ends with a zero and is only read, the buffer has as many bytes as the length says.
        let found = unsafe {
            StorPortRegistryRead(
                self.hw.0,
                name.as_ptr().cast_mut().cast(),
                key,
                MINIPORT_REG_DWORD,
                self.start,
                &raw mut length,
            )
        };
        if found == 0 || length != DWORD_BYTES {
            return None;
        }
        // SAFETY: StorPort has just written as many bytes there.
        Some(unsafe { self.start.cast::<u32>().read_unaligned() })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the buffer is StorPort's, was not freed yet, and is not used after this.
        unsafe { StorPortFreeRegistryBuffer(self.hw.0, self.start) };
    }
}
