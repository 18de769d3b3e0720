//! The device extension: StorPort allocates it, zeroed, from non-paged memory, one per adapter.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use wdk_sys::{PVOID, STOR_ADDR_BTL8, STOR_ADDR_BTL8_ADDRESS_LENGTH, STOR_ADDRESS_TYPE_BTL8, STOR_DPC};

use super::HwDeviceExtension;
use crate::miniport::{DpcKind, Miniport};

/// The part that does not depend on the miniport; it comes first, so that the port finds it without knowing the type.
#[repr(C)]
pub(super) struct Header {
    /// The adapter behind the header exists.
    found: AtomicBool,
    /// The DPC objects are initialised.
    dpcs_ready: AtomicBool,
    dpcs: UnsafeCell<[STOR_DPC; DpcKind::COUNT]>,
    /// Of logical unit 0 of target 0: StorPort reads it later than it is told of it.
    unit: UnsafeCell<STOR_ADDR_BTL8>,
}

impl Header {
    /// # Safety
    /// `extension` must be a device extension that StorPort passed to one of our callbacks.
    pub(super) unsafe fn of<'a>(extension: HwDeviceExtension) -> &'a Self {
        // SAFETY: StorPort allocated at least `DeviceExtensionSize` zeroed bytes, and all-zero is a valid header.
        unsafe { &*extension.0.cast::<Self>() }
    }

    pub(super) fn dpc(&self, kind: DpcKind) -> *mut STOR_DPC {
        self.dpcs.get().cast::<STOR_DPC>().wrapping_add(kind.index())
    }

    pub(super) fn unit(&self) -> *mut STOR_ADDR_BTL8 {
        self.unit.get()
    }

    pub(super) fn dpcs_ready(&self) -> bool {
        self.dpcs_ready.load(Ordering::Acquire)
    }

    pub(super) fn set_dpcs_ready(&self) {
        self.dpcs_ready.store(true, Ordering::Release);
    }
}

/// What our callbacks find behind the pointer that StorPort passes them.
#[repr(C)]
pub(super) struct DeviceExtension<M> {
    header: Header,
    adapter: MaybeUninit<M>,
    // Behind it: the miniport's private memory.
}

impl<M: Miniport> DeviceExtension<M> {
    /// Where the private memory starts. A cache line, so that it shares none with the adapter.
    const PRIVATE_OFFSET: usize = size_of::<Self>().next_multiple_of(64);

    /// `DeviceExtensionSize` with this much private memory.
    pub(super) const fn bytes(private: usize) -> usize {
        Self::PRIVATE_OFFSET + private
    }

    /// The miniport's private memory, of this many bytes.
    pub(super) fn private(extension: PVOID, bytes: usize) -> *mut [u8] {
        let start = extension.cast::<u8>().wrapping_add(Self::PRIVATE_OFFSET);
        ptr::slice_from_raw_parts_mut(start, bytes)
    }

    /// The adapter, once it was found.
    ///
    /// # Safety
    /// `extension` must be a device extension that StorPort passed to a callback of the miniport `M`.
    pub(super) unsafe fn adapter<'a>(extension: PVOID) -> Option<&'a M> {
        // SAFETY: StorPort allocated the extension with this type's size, zeroed, which is valid for it.
        let this = unsafe { &*extension.cast::<Self>() };
        if !this.header.found.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: `found` is set only after the adapter was written.
        Some(unsafe { this.adapter.assume_init_ref() })
    }

    /// Puts the adapter into the extension, where none may be.
    ///
    /// # Safety
    /// As for [`adapter`](Self::adapter), and no other callback may run.
    pub(super) unsafe fn set(extension: PVOID, adapter: M) {
        // SAFETY: StorPort allocated the extension with this type's size, and no other callback runs.
        let this = unsafe { &mut *extension.cast::<Self>() };
        this.adapter.write(adapter);
        *this.header.unit.get_mut() = STOR_ADDR_BTL8 {
            Type: STOR_ADDRESS_TYPE_BTL8 as u16,
            AddressLength: STOR_ADDR_BTL8_ADDRESS_LENGTH,
            ..Default::default()
        };
        this.header.found.store(true, Ordering::Release);
    }

    /// Drops the adapter, if there is one. Its DPC objects are to be made ready anew: StorPort need not zero an extension
    /// that it uses again, and an object that is queued must not be initialised.
    ///
    /// # Safety
    /// As for [`set`](Self::set).
    pub(super) unsafe fn clear(extension: PVOID) {
        // SAFETY: StorPort allocated the extension with this type's size, and no other callback runs.
        let this = unsafe { &mut *extension.cast::<Self>() };
        this.header.dpcs_ready.store(false, Ordering::Release);
        if this.header.found.swap(false, Ordering::AcqRel) {
            // SAFETY: `found` was set, so the adapter is there; it no longer is, so it is not dropped twice.
            unsafe { this.adapter.assume_init_drop() };
        }
    }
}
