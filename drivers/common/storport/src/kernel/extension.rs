//! The device extension: StorPort allocates it, zeroed, from non-paged memory, one per adapter.
//!
//! It is laid out in `HwStorFindAdapter`, when no other callback runs. After that there are only shared references to it, from any
//! processor at any IRQL: what still changes is atomic, or guards itself.
//!
//! ```text
//!   Header   Adapter   DPC objects   private memory of the miniport   message targets
//!   └── the same size always ──┘└─── by how many request queues there may be ────┘
//! ```
//!
//! The targets come last: StorPort writes them, and what it would write behind them is nobody's.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicUsize, Ordering};

use wdk_sys::{GROUP_AFFINITY, PVOID, STOR_DPC};

use super::HwDeviceExtension;
use super::units::UnitChanges;
use crate::dpc::DpcKind;
use crate::miniport::Miniport;
use crate::port::{PRIVATE_ALIGNMENT, SHARED_ALIGNMENT};

/// Request queues that there can be at most, and that every device extension has room for: it is told to StorPort before
/// there is any adapter. As many as there can be processors, and the miniport makes use of.
static MOST_QUEUES: AtomicU16 = AtomicU16::new(1);

/// What [`MOST_QUEUES`] was when the image was loaded.
pub(super) fn most_queues() -> u16 {
    MOST_QUEUES.load(Ordering::Relaxed)
}

/// Says so, when the image is loaded.
pub(super) fn set_most_queues(queues: u16) {
    MOST_QUEUES.store(queues, Ordering::Relaxed);
}

/// A DPC object. Processors queue them at the same time; with this many bytes from one to the next, no two share a cache line,
/// wherever the first one starts.
#[repr(C)]
pub(super) struct Dpc {
    object: UnsafeCell<STOR_DPC>,
    rest: [u8; 128 - size_of::<STOR_DPC>()],
}

// What lies between the last byte of an object and the first of the next one, and as much as its alignment takes off a line.
const _: () = {
    const LINE: usize = 64;
    assert!(size_of::<Dpc>() - size_of::<STOR_DPC>() + align_of::<STOR_DPC>() >= LINE);
    assert!(PRIVATE_ALIGNMENT.is_multiple_of(LINE) && SHARED_ALIGNMENT.is_multiple_of(LINE));
};

/// Most messages that the INF files ask for, and so most that there can be targets of.
const TARGETS: usize = 258;

/// What StorPort writes of the messages with STOR_PERF_ADV_CONFIG_LOCALITY: on which processors each arrives.
type Targets = [GROUP_AFFINITY; TARGETS];

/// The part that does not depend on the miniport; it comes first, so that the port finds it without knowing the type.
#[repr(C)]
pub(super) struct Header {
    /// The adapter behind the header exists.
    found: AtomicBool,
    /// How many DPC objects are initialised: none, or all.
    dpcs_ready: AtomicUsize,
    /// The service DPC was wanted before there was any.
    early: AtomicBool,
    /// For how many request queues there are DPC objects; set when the adapter is about to be found.
    queues: AtomicUsize,
    dpcs: AtomicPtr<Dpc>,
    targets: AtomicPtr<Targets>,
    /// Bytes of the uncached extension; 0 when there is none yet. StorPort gives it once, however often it is asked.
    pub(super) uncached_bytes: AtomicUsize,
    /// StorPort was asked to map the data of reads and writes.
    pub(super) maps_all: AtomicBool,
    pub(super) unit_changes: UnitChanges,
}

impl Header {
    /// # Safety
    /// `extension` must be a device extension that StorPort passed to one of our callbacks.
    pub(super) unsafe fn of<'a>(extension: HwDeviceExtension) -> &'a Self {
        // SAFETY: StorPort allocated at least `DeviceExtensionSize` zeroed bytes, and all-zero is a valid header.
        unsafe { &*extension.0.cast::<Self>() }
    }

    /// The DPC object with this number, which must be below [`dpcs`](Self::dpcs).
    pub(super) fn dpc(&self, index: usize) -> *mut STOR_DPC {
        self.dpcs.load(Ordering::Relaxed).wrapping_add(index).cast()
    }

    /// The same, once it is initialised.
    pub(super) fn ready_dpc(&self, kind: DpcKind) -> Option<*mut STOR_DPC> {
        let index = kind.index();
        (index < self.dpcs_ready.load(Ordering::Acquire)).then(|| self.dpc(index))
    }

    /// How many DPC objects there are.
    pub(super) fn dpcs(&self) -> usize {
        match self.queues.load(Ordering::Relaxed) {
            0 => 0,
            queues => DpcKind::count(queues as u16),
        }
    }

    /// A place for the targets of all messages, when there are no more than so many; null where there is none.
    pub(super) fn targets(&self, messages: u16) -> *mut GROUP_AFFINITY {
        if usize::from(messages) > TARGETS {
            return ptr::null_mut();
        }
        self.targets.load(Ordering::Relaxed).cast()
    }

    /// Makes the targets those of no processor.
    ///
    /// # Safety
    /// StorPort must not be writing them.
    pub(super) unsafe fn clear_targets(&self, messages: u16) {
        let targets = self.targets(messages);
        if !targets.is_null() {
            // SAFETY: there are as many as [`TARGETS`], and all-zero is one of no processor.
            unsafe { targets.write_bytes(0, TARGETS) };
        }
    }

    /// A copy of one of them; that of no processor where there is no place for any.
    ///
    /// # Safety
    /// StorPort must not be writing them.
    pub(super) unsafe fn target(&self, messages: u16, index: u16) -> GROUP_AFFINITY {
        let targets = self.targets(messages);
        if targets.is_null() || usize::from(index) >= TARGETS {
            return GROUP_AFFINITY::default();
        }
        // SAFETY: the index is below their number, and all-zero is a target.
        unsafe { targets.wrapping_add(index.into()).read() }
    }

    /// Returns whether the service DPC was wanted before.
    pub(super) fn set_dpcs_ready(&self) -> bool {
        self.dpcs_ready.store(self.dpcs(), Ordering::SeqCst);
        self.early.swap(false, Ordering::SeqCst)
    }

    /// Notes that the service DPC is wanted, when there is none yet; it may have been made ready meanwhile.
    pub(super) fn want_service_dpc(&self) -> Option<*mut STOR_DPC> {
        self.early.store(true, Ordering::SeqCst);
        // Either this sees that they are ready, or who made them ready sees that one is wanted.
        let index = DpcKind::Service.index();
        (index < self.dpcs_ready.load(Ordering::SeqCst)).then(|| self.dpc(index))
    }
}

/// What our callbacks find behind the pointer that StorPort passes them.
#[repr(C)]
pub(super) struct DeviceExtension<M> {
    header: Header,
    adapter: MaybeUninit<M>,
    // Behind it: DPC objects, the miniport's private memory, and targets.
}

/// Bytes of DPC objects for so many request queues; with 0 there are none.
const fn dpc_bytes(queues: u16) -> usize {
    if queues == 0 { 0 } else { DpcKind::count(queues) * size_of::<Dpc>() }
}

/// Bytes of message targets.
const fn target_bytes(queues: u16) -> usize {
    if queues > 1 { size_of::<Targets>() } else { 0 }
}

impl<M: Miniport> DeviceExtension<M> {
    /// `DeviceExtensionSize` for so many request queues and this much private memory.
    pub(super) const fn bytes(queues: u16, private: usize) -> usize {
        // StorPort aligns for any type, which is less than the private memory wants.
        let before = size_of::<Self>() + dpc_bytes(queues) + PRIVATE_ALIGNMENT + private;
        before.next_multiple_of(align_of::<Targets>()) + target_bytes(queues)
    }

    /// Shares out what lies behind the adapter: returns the miniport's private memory, of this many bytes.
    ///
    /// # Safety
    /// `extension` must be a device extension that StorPort passed to a callback of the miniport `M`, of as many
    /// [`bytes`](Self::bytes) as follow from `queues` and `private`.
    pub(super) unsafe fn share_out(extension: PVOID, queues: u16, private: usize) -> *mut [u8] {
        // SAFETY: the caller's promise.
        let header = unsafe { Header::of(HwDeviceExtension(extension)) };
        let extension = extension.cast::<u8>();
        let dpcs = extension.wrapping_add(size_of::<Self>());
        let targets = extension.wrapping_add(Self::bytes(queues, private) - target_bytes(queues));
        header.dpcs.store(dpcs.cast(), Ordering::Relaxed);
        header.targets.store(if queues > 1 { targets.cast() } else { ptr::null_mut() }, Ordering::Relaxed);
        header.queues.store(queues.into(), Ordering::Relaxed);
        let start = dpcs.wrapping_add(dpc_bytes(queues));
        let start = start.map_addr(|address| address.next_multiple_of(PRIVATE_ALIGNMENT));
        ptr::slice_from_raw_parts_mut(start, private)
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
        this.header.dpcs_ready.store(0, Ordering::Release);
        this.header.early.store(false, Ordering::Release);
        if this.header.found.swap(false, Ordering::AcqRel) {
            // SAFETY: `found` was set, so the adapter is there; it no longer is, so it is not dropped twice.
            unsafe { this.adapter.assume_init_drop() };
        }
    }
}
