//! The request in dump mode: SCSI_REQUEST_BLOCK or STORAGE_REQUEST_BLOCK.
//!
//! Which kind it is matters when it comes and when it goes; between, what was found in it once lies in its extension.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::Ordering;

use wdk_sys::storage::StorPortGetScatterGatherList;
use wdk_sys::{
    PSCSI_REQUEST_BLOCK, PVOID, SCSI_REQUEST_BLOCK, SRB_FUNCTION_STORAGE_REQUEST_BLOCK,
    STOR_SCATTER_GATHER_LIST, STORAGE_REQUEST_BLOCK,
};

use virtio::memory::Segment;

use crate::kernel::extension::Header;
use crate::kernel::srb::{self, Parts};
use crate::kernel::{HwDeviceExtension, calls};
use crate::srb::{Address, Completion, DataDirection, DumpLimits, Queueing, Srb, SrbFunction};

/// A request that the dump port driver handed over.
#[derive(Debug)]
pub struct DumpSrb<C> {
    extension: NonNull<Extension<C>>,
    command: PhantomData<C>,
}

// SAFETY: the request is this value's alone until it is completed.
unsafe impl<C: Send> Send for DumpSrb<C> {}

/// What we keep with a request, in the memory that comes with it (`SrbExtensionSize`).
#[derive(Debug)]
#[repr(C)]
pub(super) struct Extension<C> {
    /// The request that waits behind this one.
    next: Option<DumpSrb<C>>,
    request: Request,
    /// Null without data.
    scatter_gather: *const STOR_SCATTER_GATHER_LIST,
    /// Set by `prepare`.
    command: Option<C>,
    /// The data of reads and writes is mapped too. Set by `prepare`.
    maps_all: bool,
}

/// What was found in a request, whichever kind it is.
#[derive(Clone, Copy, Debug)]
struct Request {
    srb: PSCSI_REQUEST_BLOCK,
    function: SrbFunction,
    address: Address,
    parts: Parts,
    /// Of functions that have no data for the device, none.
    flags: u32,
    queueing: Queueing,
    data: *mut u8,
    data_length: u32,
    /// `DataTransferLength`, where the number of bytes that were moved goes.
    length: *mut u32,
}

/// Whether it is a STORAGE_REQUEST_BLOCK.
///
/// # Safety
/// `srb` must be a request.
unsafe fn is_extended(srb: PSCSI_REQUEST_BLOCK) -> bool {
    // SAFETY: both kinds of request have this byte in the same place.
    u32::from(unsafe { (*srb).Function }) == SRB_FUNCTION_STORAGE_REQUEST_BLOCK
}

/// The memory that comes with a request.
///
/// # Safety
/// `srb` must be a request.
unsafe fn memory(srb: PSCSI_REQUEST_BLOCK) -> PVOID {
    // SAFETY: the caller's promise.
    if unsafe { is_extended(srb) } {
        // SAFETY: it is a STORAGE_REQUEST_BLOCK.
        unsafe { (*srb.cast::<STORAGE_REQUEST_BLOCK>()).MiniportContext }
    } else {
        // SAFETY: it is a SCSI_REQUEST_BLOCK.
        unsafe { (*srb).SrbExtension }
    }
}

impl Request {
    /// # Safety
    /// `srb` must be a SCSI_REQUEST_BLOCK.
    unsafe fn of_old_kind(srb: NonNull<SCSI_REQUEST_BLOCK>) -> Self {
        // SAFETY: the caller's promise.
        let block = unsafe { &mut *srb.as_ptr() };
        let code = u32::from(block.Function);
        let function = srb::function(code);
        let parts = if function == SrbFunction::ExecuteScsi {
            Parts {
                scsi_status: &raw mut block.ScsiStatus,
                cdb: (&raw const block.Cdb).cast(),
                sense: block.SenseInfoBuffer.cast(),
                sense_length: &raw mut block.SenseInfoBufferLength,
                cdb_bytes: block.CdbLength.min(block.Cdb.len() as u8),
                sense_bytes: block.SenseInfoBufferLength,
            }
        } else {
            Parts::NONE
        };
        let data_length = srb::data_length(code, block.DataTransferLength);
        Self {
            srb: srb.as_ptr(),
            function,
            address: Address { path: block.PathId, target: block.TargetId, lun: block.Lun },
            parts,
            flags: block.SrbFlags,
            // The old kind has no priority.
            queueing: srb::queueing(block.SrbFlags, block.QueueAction.into(), 0),
            data: block.DataBuffer.cast(),
            data_length,
            length: &raw mut block.DataTransferLength,
        }
    }

    /// # Safety
    /// `srb` must be a STORAGE_REQUEST_BLOCK.
    unsafe fn of_new_kind(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Self {
        // SAFETY: the caller's promise.
        let address = unsafe { srb::address(srb) };
        // SAFETY: as above.
        let parts = unsafe { srb::find_parts(srb) };
        // SAFETY: as above.
        let block = unsafe { &mut *srb.as_ptr() };
        let code = block.SrbFunction;
        let data_length = srb::data_length(code, block.DataTransferLength);
        Self {
            srb: srb.as_ptr().cast(),
            function: srb::function(code),
            address,
            parts,
            flags: block.SrbFlags,
            queueing: srb::queueing(block.SrbFlags, block.RequestAttribute, block.RequestPriority),
            data: block.DataBuffer.cast(),
            data_length,
            length: &raw mut block.DataTransferLength,
        }
    }
}

impl<C: Copy + Send + 'static> DumpSrb<C> {
    /// A request as `build_io` gets it; `None` when it comes without memory for us.
    ///
    /// # Safety
    /// `srb` must be a request passed to `HwStorBuildIo`, with an extension of `SrbExtensionSize`.
    pub(super) unsafe fn decode(srb: PSCSI_REQUEST_BLOCK) -> Option<Self> {
        let block = NonNull::new(srb)?;
        // SAFETY: the caller's promise.
        let extension = NonNull::new(unsafe { memory(srb) })?.cast::<Extension<C>>();
        // SAFETY: as above.
        let request = if unsafe { is_extended(srb) } {
            // SAFETY: it is a STORAGE_REQUEST_BLOCK.
            unsafe { Request::of_new_kind(block.cast()) }
        } else {
            // SAFETY: it is a SCSI_REQUEST_BLOCK.
            unsafe { Request::of_old_kind(block) }
        };
        let content =
            Extension { next: None, request, scatter_gather: ptr::null(), command: None, maps_all: false };
        // SAFETY: the extension has the size we asked for, is aligned for any type, and nobody else uses it.
        unsafe { extension.write(content) };
        Some(Self { extension, command: PhantomData })
    }

    /// Finishes what `build_io` started: the command and the scatter/gather list. `false` when there is data and no list.
    pub(super) fn prepare(&mut self, hw: HwDeviceExtension, command: C) -> bool {
        let Request { srb, data_length, .. } = self.extension().request;
        if data_length != 0 {
            // SAFETY: a request of this adapter with data.
            let list = unsafe { StorPortGetScatterGatherList(hw.0, srb) };
            if list.is_null() {
                return false;
            }
            self.extension_mut().scatter_gather = list.cast_const();
        }
        self.extension_mut().command = Some(command);
        // SAFETY: the dump port driver's device extension.
        self.extension_mut().maps_all = unsafe { Header::of(hw) }.maps_all.load(Ordering::Relaxed);
        true
    }

    /// A request as `start_io` gets it.
    ///
    /// # Safety
    /// `srb` must be a request for which `decode` and `prepare` succeeded, and that was not completed since.
    pub(super) unsafe fn prepared(srb: PSCSI_REQUEST_BLOCK) -> Option<Self> {
        // SAFETY: the caller's promise.
        let extension = NonNull::new(unsafe { memory(srb) })?.cast();
        Some(Self { extension, command: PhantomData })
    }

    /// Ends the request and gives it back.
    pub(super) fn complete(self, hw: HwDeviceExtension, completion: Completion) {
        let Request { srb, parts, length, .. } = self.extension().request;
        if !parts.scsi_status.is_null() {
            // SAFETY: the address of the status byte in this request.
            unsafe { parts.scsi_status.write(completion.scsi_status.0) };
        }
        // SAFETY: the request is ours until the dump port driver is told that it is complete.
        let asked = unsafe { length.read() };
        // SAFETY: as above.
        unsafe { length.write(completion.data_transfer_length(asked)) };
        // SAFETY: as above; both kinds of request have this byte in the same place.
        unsafe { (*srb).SrbStatus = completion.srb_status_byte() };
        // SAFETY: the request was not completed before, and `self` ends here, so it is not used again.
        unsafe { calls::request_complete(hw, srb) };
    }

    fn extension(&self) -> &Extension<C> {
        // SAFETY: `decode` wrote the extension, which is this request's alone.
        unsafe { self.extension.as_ref() }
    }

    fn extension_mut(&mut self) -> &mut Extension<C> {
        // SAFETY: `decode` wrote the extension, which is this request's alone.
        unsafe { self.extension.as_mut() }
    }
}

impl<C: Copy + Send + 'static> Srb<C> for DumpSrb<C> {
    fn function(&self) -> SrbFunction {
        self.extension().request.function
    }

    fn address(&self) -> Address {
        self.extension().request.address
    }

    fn cdb(&self) -> &[u8] {
        let parts = &self.extension().request.parts;
        if parts.cdb.is_null() {
            return &[];
        }
        // SAFETY: the CDB's bytes in this request.
        unsafe { slice::from_raw_parts(parts.cdb, usize::from(parts.cdb_bytes)) }
    }

    fn direction(&self) -> DataDirection {
        let Request { data_length, flags, .. } = self.extension().request;
        srb::direction(data_length, flags, || self.cdb())
    }

    fn queueing(&self) -> Queueing {
        self.extension().request.queueing
    }

    fn data_length(&self) -> u32 {
        self.extension().request.data_length
    }

    fn segments(&self) -> impl ExactSizeIterator<Item = Segment> {
        // SAFETY: the list for this request, which is not completed as long as it is borrowed.
        unsafe { srb::segments(self.extension().scatter_gather) }
    }

    fn data(&mut self) -> &mut [u8] {
        let Request { data, data_length, .. } = self.extension().request;
        let mapped = self.extension().maps_all || srb::is_mapped(self.cdb());
        if data.is_null() || data_length == 0 || !mapped {
            return &mut [];
        }
        // SAFETY: the buffer is mapped: of a request that is no read or write (STOR_MAP_NON_READ_WRITE_BUFFERS), or as that of
        // all is (STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE).
        unsafe { slice::from_raw_parts_mut(data, data_length as usize) }
    }

    /// Nobody asks the copy that writes the dump for anything but data.
    fn parameters(&mut self) -> &mut [u8] {
        &mut []
    }

    fn command(&self) -> Option<C> {
        self.extension().command
    }

    fn set_command(&mut self, command: C) {
        self.extension_mut().command = Some(command);
    }

    fn write_sense(&mut self, sense: &[u8]) -> usize {
        let parts = self.extension().request.parts;
        // SAFETY: the parts of this request, which is not completed as long as it is borrowed.
        unsafe { parts.write_sense(sense) }
    }

    /// The copy that writes the dump is not asked.
    fn write_dump_pointers(&mut self, _limits: &DumpLimits) -> Option<u32> {
        None
    }

    fn take_next(&mut self) -> Option<Self> {
        self.extension_mut().next.take()
    }

    fn set_next(&mut self, next: Option<Self>) {
        self.extension_mut().next = next;
    }
}
