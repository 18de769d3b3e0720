//! The request: STORAGE_REQUEST_BLOCK and the extension that StorPort gives every request.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::Ordering;

use wdk_sys::storage::StorPortGetScatterGatherList;
use wdk_sys::{
    _SRBEXDATATYPE, _STOR_IO_PRIORITY_HINT, DUMP_MINIPORT_VERSION_1, MINIPORT_DUMP_POINTERS,
    PSCSI_REQUEST_BLOCK, PVOID, SRB_FLAGS_DATA_IN, SRB_FLAGS_DATA_OUT, SRB_FLAGS_QUEUE_ACTION_ENABLE,
    SRB_FUNCTION_DUMP_POINTERS, SRB_FUNCTION_EXECUTE_SCSI, SRB_FUNCTION_FLUSH,
    SRB_FUNCTION_FREE_DUMP_POINTERS, SRB_FUNCTION_IO_CONTROL, SRB_FUNCTION_PNP, SRB_FUNCTION_POWER,
    SRB_FUNCTION_RESET_BUS, SRB_FUNCTION_RESET_DEVICE, SRB_FUNCTION_RESET_LOGICAL_UNIT,
    SRB_FUNCTION_SHUTDOWN, SRB_FUNCTION_STORAGE_REQUEST_BLOCK, SRB_HEAD_OF_QUEUE_TAG_REQUEST,
    SRB_ORDERED_QUEUE_TAG_REQUEST, SRB_PNP_FLAGS_ADAPTER_REQUEST, SRBEX_DATA, SRBEX_DATA_PNP,
    SRBEX_DATA_SCSI_CDB_VAR, SRBEX_DATA_SCSI_CDB16, SRBEX_DATA_SCSI_CDB32, STOR_ADDR_BTL8,
    STOR_ADDRESS_TYPE_BTL8, STOR_DEVICE_CAPABILITIES_EX, STOR_PNP_ACTION, STOR_SCATTER_GATHER_ELEMENT,
    STOR_SCATTER_GATHER_LIST, STORAGE_REQUEST_BLOCK,
};

use virtio::memory::Segment;

use super::extension::Header;
use super::{HwDeviceExtension, calls};
use crate::srb::{
    Address, Completion, DataDirection, DumpLimits, PnpAction, Queueing, Srb, SrbFunction, SrbStatus,
};

/// A request that StorPort handed over.
#[derive(Debug)]
pub struct KernelSrb<C> {
    srb: NonNull<STORAGE_REQUEST_BLOCK>,
    extension: NonNull<SrbExtension<Self, C>>,
    command: PhantomData<C>,
}

// SAFETY: the request is this value's alone until it is completed, on whichever processor that happens.
unsafe impl<C: Send> Send for KernelSrb<C> {}

/// What we keep with a request, in the memory StorPort gives it (`SrbExtensionSize`). StorPort does not initialise it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SrbExtension<S, C> {
    /// The request that waits behind this one.
    next: Option<S>,
    parts: Parts,
    /// Null without data.
    scatter_gather: *const STOR_SCATTER_GATHER_LIST,
    /// Set by `prepare`.
    command: Option<C>,
    /// StorPort maps the data of reads and writes too. Set by `prepare`.
    maps_all: bool,
}

// Performance target: at most 128 bytes for the request's own bookkeeping.
const _: () = assert!(size_of::<SrbExtension<KernelSrb<[u64; 4]>, [u64; 4]>>() <= 128);

/// READ and WRITE (6), (10), (12) and (16): what StorPort does not map under STOR_MAP_NON_READ_WRITE_BUFFERS.
const UNMAPPED_OPERATIONS: [u8; 8] = [0x08, 0x0a, 0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a];

/// Where the parts of an EXECUTE_SCSI request are, found once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) scsi_status: *mut u8,
    pub(super) cdb: *const u8,
    pub(super) sense: *mut u8,
    /// `SenseInfoBufferLength`, where the number of bytes of sense data goes.
    pub(super) sense_length: *mut u8,
    pub(super) cdb_bytes: u8,
    pub(super) sense_bytes: u8,
}

impl Parts {
    pub(super) const NONE: Self = Self {
        scsi_status: ptr::null_mut(),
        cdb: ptr::null(),
        sense: ptr::null_mut(),
        sense_length: ptr::null_mut(),
        cdb_bytes: 0,
        sense_bytes: 0,
    };

    /// Copies as much sense data as there is room for, and says in the request how much that is
    /// (ns-storport-_srbex_data_scsi_cdb16.md: an underrun is to be told).
    ///
    /// # Safety
    /// These must be the parts of a request that is not completed yet.
    pub(super) unsafe fn write_sense(&self, sense: &[u8]) -> usize {
        if self.sense.is_null() || self.sense_length.is_null() {
            return 0;
        }
        let length = sense.len().min(usize::from(self.sense_bytes));
        // SAFETY: the request's sense buffer has room for `sense_bytes`, and it is not part of `sense`.
        unsafe { ptr::copy_nonoverlapping(sense.as_ptr(), self.sense, length) };
        // SAFETY: the address of the length in this request.
        unsafe { self.sense_length.write(length as u8) };
        length
    }
}

impl<C: Copy + Send + 'static> KernelSrb<C> {
    /// A request as `build_io` gets it. `None` when it is not a STORAGE_REQUEST_BLOCK, or not a sound one.
    ///
    /// # Safety
    /// `srb` must be a request that StorPort passed to `HwStorBuildIo`, with an extension of `SrbExtensionSize`.
    pub(super) unsafe fn decode(srb: PSCSI_REQUEST_BLOCK) -> Option<Self> {
        // SAFETY: both kinds of request have this byte in the same place.
        if u32::from(unsafe { (*srb).Function }) != SRB_FUNCTION_STORAGE_REQUEST_BLOCK {
            return None;
        }
        let srb = NonNull::new(srb.cast::<STORAGE_REQUEST_BLOCK>())?;
        // SAFETY: the function code says that it is a STORAGE_REQUEST_BLOCK.
        let extension =
            NonNull::new(unsafe { (*srb.as_ptr()).MiniportContext })?.cast::<SrbExtension<Self, C>>();
        // SAFETY: as above.
        let parts = unsafe { find_parts(srb) };
        let content =
            SrbExtension { next: None, parts, scatter_gather: ptr::null(), command: None, maps_all: false };
        // SAFETY: StorPort's extension has the size we asked for, is aligned for any type, and nobody else uses it.
        unsafe { extension.write(content) };
        Some(Self { srb, extension, command: PhantomData })
    }

    /// Finishes what `build_io` started: the command and the scatter/gather list. `false` when there is data and no
    /// list.
    pub(super) fn prepare(&mut self, hw: HwDeviceExtension, command: C) -> bool {
        let scatter_gather = if self.data_length() == 0 {
            ptr::null()
        } else {
            // SAFETY: a request of this adapter with data.
            let list = unsafe { StorPortGetScatterGatherList(hw.0, self.srb.as_ptr().cast()) };
            if list.is_null() {
                return false;
            }
            list.cast_const()
        };
        let extension = self.extension_mut();
        extension.scatter_gather = scatter_gather;
        extension.command = Some(command);
        // SAFETY: StorPort's device extension.
        extension.maps_all = unsafe { Header::of(hw) }.maps_all.load(Ordering::Relaxed);
        true
    }

    /// A request as `start_io` gets it.
    ///
    /// # Safety
    /// `srb` must be a request for which `decode` and `prepare` succeeded, and that was not completed since.
    pub(super) unsafe fn prepared(srb: PSCSI_REQUEST_BLOCK) -> Option<Self> {
        let srb = NonNull::new(srb.cast::<STORAGE_REQUEST_BLOCK>())?;
        // SAFETY: `decode` succeeded, so it is a STORAGE_REQUEST_BLOCK.
        let extension = NonNull::new(unsafe { (*srb.as_ptr()).MiniportContext })?.cast();
        Some(Self { srb, extension, command: PhantomData })
    }

    /// As StorPort knows it.
    pub(super) fn as_raw(&self) -> PSCSI_REQUEST_BLOCK {
        self.srb.as_ptr().cast()
    }

    /// Ends the request and gives it back to StorPort.
    pub(super) fn complete(self, hw: HwDeviceExtension, completion: Completion) {
        let scsi_status = self.extension().parts.scsi_status;
        if !scsi_status.is_null() {
            // SAFETY: the address of the status byte in this request.
            unsafe { scsi_status.write(completion.scsi_status.0) };
        }
        let srb = self.srb.as_ptr();
        // SAFETY: the request is ours until StorPort is told that it is complete.
        let asked = unsafe { (*srb).DataTransferLength };
        // SAFETY: as above.
        unsafe { (*srb).DataTransferLength = completion.data_transfer_length(asked) };
        // SAFETY: as above.
        unsafe { (*srb).SrbStatus = completion.srb_status_byte() };
        // SAFETY: the request was not completed before, and `self` ends here, so it is not used again.
        unsafe { calls::request_complete(hw, srb.cast()) };
    }

    fn extension(&self) -> &SrbExtension<Self, C> {
        // SAFETY: `decode` wrote the extension, which is this request's alone.
        unsafe { self.extension.as_ref() }
    }

    fn extension_mut(&mut self) -> &mut SrbExtension<Self, C> {
        // SAFETY: `decode` wrote the extension, which is this request's alone.
        unsafe { self.extension.as_mut() }
    }

    fn block(&self) -> &STORAGE_REQUEST_BLOCK {
        // SAFETY: the request is this value's alone until it is completed.
        unsafe { self.srb.as_ref() }
    }
}

/// Ends a request that could not even be decoded.
///
/// # Safety
/// `srb` must be a request that StorPort passed to `HwStorBuildIo`; it must not be used afterwards.
pub(super) unsafe fn complete_undecoded(hw: HwDeviceExtension, srb: PSCSI_REQUEST_BLOCK, status: SrbStatus) {
    // SAFETY: both kinds of request have this byte in the same place.
    unsafe { (*srb).SrbStatus = status.0 };
    // SAFETY: the caller's promise.
    unsafe { calls::request_complete(hw, srb) };
}

/// The extended data block of one of these types, if the request has one.
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
unsafe fn extended_data(srb: NonNull<STORAGE_REQUEST_BLOCK>, wanted: &[i32]) -> Option<NonNull<SRBEX_DATA>> {
    // SAFETY: the caller's promise.
    let block = unsafe { srb.as_ref() };
    // SAFETY: the offsets are the request's last field and as many as it says.
    let offsets = unsafe {
        slice::from_raw_parts((&raw const block.SrbExDataOffset).cast::<u32>(), block.NumSrbExData as usize)
    };
    offsets.iter().find_map(|offset| {
        let end = offset.checked_add(size_of::<SRBEX_DATA>() as u32)?;
        if *offset < size_of::<STORAGE_REQUEST_BLOCK>() as u32 || end > block.SrbLength {
            return None;
        }
        // SAFETY: the offset was checked against the request's length.
        let data = unsafe { srb.byte_add(*offset as usize) }.cast::<SRBEX_DATA>();
        // SAFETY: every extended data block starts with its type.
        let kind = unsafe { (*data.as_ptr()).Type };
        wanted.contains(&(kind as i32)).then_some(data)
    })
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
pub(super) unsafe fn find_parts(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Parts {
    const CDB16: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdb16 as i32;
    const CDB32: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdb32 as i32;
    const CDB_VAR: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdbVar as i32;
    // SAFETY: the caller's promise.
    let Some(data) = (unsafe { extended_data(srb, &[CDB16, CDB32, CDB_VAR]) }) else {
        return Parts::NONE;
    };
    // SAFETY: every extended data block starts with its type.
    let kind = unsafe { (*data.as_ptr()).Type } as i32;
    macro_rules! parts {
        ($type:ty, $longest:expr, $length:ident) => {{
            // SAFETY: the type field says that it is this structure.
            let data = unsafe { &mut *data.as_ptr().cast::<$type>() };
            Parts {
                scsi_status: &raw mut data.ScsiStatus,
                cdb: (&raw const data.Cdb).cast(),
                sense: data.SenseInfoBuffer.cast(),
                sense_length: &raw mut data.SenseInfoBufferLength,
                cdb_bytes: u8::try_from(data.$length).unwrap_or(u8::MAX).min($longest),
                sense_bytes: data.SenseInfoBufferLength,
            }
        }};
    }
    match kind {
        CDB16 => parts!(SRBEX_DATA_SCSI_CDB16, 16, CdbLength),
        CDB32 => parts!(SRBEX_DATA_SCSI_CDB32, 32, CdbLength),
        _ => parts!(SRBEX_DATA_SCSI_CDB_VAR, u8::MAX, CdbLength),
    }
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK with the function SRB_FUNCTION_PNP.
unsafe fn pnp_action(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> PnpAction {
    // SAFETY: the caller's promise.
    let Some(data) = (unsafe { extended_data(srb, &[_SRBEXDATATYPE::SrbExDataTypePnP as i32]) }) else {
        return PnpAction::Other(u32::MAX);
    };
    // SAFETY: the type field says that it is this structure.
    let data = unsafe { &*data.as_ptr().cast::<SRBEX_DATA_PNP>() };
    // Without this flag the request is for the unit that it addresses, and the other units live on.
    let adapter = data.SrbPnPFlags & SRB_PNP_FLAGS_ADAPTER_REQUEST != 0;
    match data.PnPAction {
        STOR_PNP_ACTION::StorStopDevice if adapter => PnpAction::Stop,
        STOR_PNP_ACTION::StorRemoveDevice if adapter => PnpAction::Remove,
        STOR_PNP_ACTION::StorSurpriseRemoval if adapter => PnpAction::SurpriseRemoval,
        STOR_PNP_ACTION::StorStopDevice
        | STOR_PNP_ACTION::StorRemoveDevice
        | STOR_PNP_ACTION::StorSurpriseRemoval => PnpAction::UnitGone,
        STOR_PNP_ACTION::StorQueryCapabilities if adapter => PnpAction::QueryAdapterCapabilities,
        STOR_PNP_ACTION::StorQueryCapabilities => PnpAction::QueryUnitCapabilities,
        other => PnpAction::Other(other as u32),
    }
}

/// Bytes of a STOR_DEVICE_CAPABILITIES_EX that is to be filled in: StorPort has written them into it, because DriverEntry asked
/// for this structure (STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES).
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK with the function SRB_FUNCTION_PNP, and `buffer` its buffer, which is not null.
unsafe fn capabilities_length(srb: NonNull<STORAGE_REQUEST_BLOCK>, buffer: *const u8) -> u32 {
    // SAFETY: the caller's promise.
    let action = unsafe { pnp_action(srb) };
    if !matches!(action, PnpAction::QueryAdapterCapabilities | PnpAction::QueryUnitCapabilities) {
        return 0;
    }
    // SAFETY: the buffer of this action is such a structure, and the field is one of its first.
    let size = unsafe { (*buffer.cast::<STOR_DEVICE_CAPABILITIES_EX>()).Size };
    u32::from(size).min(size_of::<STOR_DEVICE_CAPABILITIES_EX>() as u32)
}

/// What is asked for; SRB_FUNCTION_PNP does not say it all.
#[inline]
pub(super) const fn function(code: u32) -> SrbFunction {
    match code {
        SRB_FUNCTION_EXECUTE_SCSI => SrbFunction::ExecuteScsi,
        SRB_FUNCTION_FLUSH => SrbFunction::Flush,
        SRB_FUNCTION_SHUTDOWN => SrbFunction::Shutdown,
        SRB_FUNCTION_RESET_LOGICAL_UNIT => SrbFunction::ResetLogicalUnit,
        SRB_FUNCTION_RESET_DEVICE => SrbFunction::ResetDevice,
        SRB_FUNCTION_RESET_BUS => SrbFunction::ResetBus,
        SRB_FUNCTION_POWER => SrbFunction::Power,
        SRB_FUNCTION_IO_CONTROL => SrbFunction::IoControl,
        SRB_FUNCTION_DUMP_POINTERS => SrbFunction::DumpPointers,
        SRB_FUNCTION_FREE_DUMP_POINTERS => SrbFunction::FreeDumpPointers,
        other => SrbFunction::Other(other),
    }
}

/// How much data there is, when the request says so much. Of a reset, length and buffer are invalid
/// (nc-storport-hw_buildio.md); other functions have no data for the device.
#[inline]
pub(super) const fn data_length(code: u32, length: u32) -> u32 {
    if code == SRB_FUNCTION_EXECUTE_SCSI { length } else { 0 }
}

/// Which way `length` bytes of data go. Both flags together (SRB_FLAGS_UNSPECIFIED_DIRECTION) leave that to the CDB
/// (ns-srb-_scsi_request_block.md).
#[inline]
pub(super) fn direction<'a>(length: u32, flags: u32, cdb: impl FnOnce() -> &'a [u8]) -> DataDirection {
    let out = flags & SRB_FLAGS_DATA_OUT != 0;
    let back = flags & SRB_FLAGS_DATA_IN != 0;
    match (out, back) {
        _ if length == 0 => DataDirection::None,
        (true, true) => DataDirection::of_cdb(cdb()),
        (true, false) => DataDirection::Out,
        (false, true) => DataDirection::In,
        (false, false) => DataDirection::None,
    }
}

const _: () = assert!(
    Queueing::HEAD_OF_QUEUE as u32 == SRB_HEAD_OF_QUEUE_TAG_REQUEST
        && Queueing::ORDERED as u32 == SRB_ORDERED_QUEUE_TAG_REQUEST
        && Queueing::HIGH as i32 == _STOR_IO_PRIORITY_HINT::StorIoPriorityHigh as i32
        && Queueing::CRITICAL as i32 == _STOR_IO_PRIORITY_HINT::StorIoPriorityCritical as i32
);

/// How a command is to be queued that comes with these flags, message and priority.
#[inline]
pub(super) const fn queueing(flags: u32, attribute: u16, priority: u16) -> Queueing {
    Queueing::new(flags & SRB_FLAGS_QUEUE_ACTION_ENABLE != 0, attribute, priority)
}

/// The logical unit that a STORAGE_REQUEST_BLOCK is for.
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
#[inline]
pub(super) unsafe fn address(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Address {
    // SAFETY: the caller's promise.
    let block = unsafe { srb.as_ref() };
    let end = u64::from(block.AddressOffset) + size_of::<STOR_ADDR_BTL8>() as u64;
    if block.AddressOffset == 0 || end > u64::from(block.SrbLength) {
        return Address::default();
    }
    // SAFETY: the offset was checked against the request's length.
    let address = unsafe { srb.byte_add(block.AddressOffset as usize) }.cast::<STOR_ADDR_BTL8>();
    // SAFETY: an address of the kind we asked for (ADDRESS_TYPE_FLAG_BTL8) lies there.
    let address = unsafe { address.read() };
    if u32::from(address.Type) != STOR_ADDRESS_TYPE_BTL8 {
        return Address { path: u8::MAX, target: u8::MAX, lun: u8::MAX };
    }
    Address { path: address.Path, target: address.Target, lun: address.Lun }
}

/// The segments of a scatter/gather list.
///
/// # Safety
/// `list` must be null or StorPort's list for a request that is not completed while the segments are in use.
#[inline]
pub(super) unsafe fn segments<'a>(
    list: *const STOR_SCATTER_GATHER_LIST,
) -> impl ExactSizeIterator<Item = Segment> + 'a {
    let elements: &'a [STOR_SCATTER_GATHER_ELEMENT] = if list.is_null() {
        &[]
    } else {
        // SAFETY: the caller's promise.
        let count = unsafe { (*list).NumberOfElements } as usize;
        // SAFETY: as above; the elements follow the list's head.
        let first = unsafe { (&raw const (*list).List).cast::<STOR_SCATTER_GATHER_ELEMENT>() };
        // SAFETY: as above; there are as many as the list says.
        unsafe { slice::from_raw_parts(first, count) }
    };
    elements.iter().map(|element| Segment {
        // SAFETY: both views of the union are plain integers.
        address: unsafe { element.PhysicalAddress.QuadPart } as u64,
        length: element.Length,
    })
}

/// Whether StorPort maps the data of a request with this CDB.
#[inline]
pub(super) fn is_mapped(cdb: &[u8]) -> bool {
    !cdb.first().is_some_and(|code| UNMAPPED_OPERATIONS.contains(code))
}

/// Fills in what a driver says for itself in dump mode, and returns how much there is of it; `None` when `data` is too short.
/// What is not said here is as in normal operation, or as StorPort put it there.
///
/// A structure that ends behind MiniportPrivateDumpData is enough for a physical miniport, as storahci's
/// AhciHwStorBuildIo has it; it cannot be told the limits then, which are those of normal operation.
fn fill_dump_pointers(data: &mut [u8], limits: &DumpLimits) -> Option<u32> {
    const WHOLE: usize = size_of::<MINIPORT_DUMP_POINTERS>();
    const LEAST: usize = offset_of!(MINIPORT_DUMP_POINTERS, MiniportPrivateDumpData) + size_of::<PVOID>();
    if data.len() < LEAST {
        return None;
    }
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = data.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(offset_of!(MINIPORT_DUMP_POINTERS, Version), &(DUMP_MINIPORT_VERSION_1 as u16).to_ne_bytes());
    put(offset_of!(MINIPORT_DUMP_POINTERS, Size), &(WHOLE as u16).to_ne_bytes());
    let transfer = limits.max_transfer_bytes.to_ne_bytes();
    put(offset_of!(MINIPORT_DUMP_POINTERS, MaximumTransferLength), &transfer);
    // Entries of a scatter/gather list minus one, says this structure's page (ns-storport-_miniport_dump_pointers.md).
    let breaks = limits.max_segments.saturating_sub(1).to_ne_bytes();
    put(offset_of!(MINIPORT_DUMP_POINTERS, NumberOfPhysicalBreaks), &breaks);
    Some(data.len().min(WHOLE) as u32)
}

impl<C: Copy + Send + 'static> Srb<C> for KernelSrb<C> {
    fn function(&self) -> SrbFunction {
        match self.block().SrbFunction {
            // SAFETY: the function is SRB_FUNCTION_PNP.
            SRB_FUNCTION_PNP => SrbFunction::Pnp(unsafe { pnp_action(self.srb) }),
            other => function(other),
        }
    }

    fn address(&self) -> Address {
        // SAFETY: the request is a STORAGE_REQUEST_BLOCK.
        unsafe { address(self.srb) }
    }

    fn cdb(&self) -> &[u8] {
        let parts = &self.extension().parts;
        if parts.cdb.is_null() {
            return &[];
        }
        // SAFETY: the CDB's bytes in this request.
        unsafe { slice::from_raw_parts(parts.cdb, usize::from(parts.cdb_bytes)) }
    }

    fn direction(&self) -> DataDirection {
        let block = self.block();
        direction(self.data_length(), block.SrbFlags, || self.cdb())
    }

    #[inline]
    fn queueing(&self) -> Queueing {
        let block = self.block();
        queueing(block.SrbFlags, block.RequestAttribute, block.RequestPriority)
    }

    fn data_length(&self) -> u32 {
        let block = self.block();
        data_length(block.SrbFunction, block.DataTransferLength)
    }

    fn segments(&self) -> impl ExactSizeIterator<Item = Segment> {
        // SAFETY: StorPort's list for this request, which is not completed as long as it is borrowed.
        unsafe { segments(self.extension().scatter_gather) }
    }

    fn data(&mut self) -> &mut [u8] {
        let block = self.block();
        let mapped = self.extension().maps_all || is_mapped(self.cdb());
        if block.DataBuffer.is_null() || self.data_length() == 0 || !mapped {
            return &mut [];
        }
        // SAFETY: StorPort mapped the buffer: of a request that is no read or write (STOR_MAP_NON_READ_WRITE_BUFFERS), or as
        // it does of all (STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE).
        unsafe { slice::from_raw_parts_mut(block.DataBuffer.cast(), block.DataTransferLength as usize) }
    }

    fn parameters(&mut self) -> &mut [u8] {
        let block = self.block();
        let (function, buffer) = (block.SrbFunction, block.DataBuffer.cast::<u8>());
        let length = match (function, block.DataTransferLength) {
            _ if buffer.is_null() => 0,
            // The length is not for the miniport to look at (ns-storport-_scsi_pnp_request_block.md), but when it says
            // something, nothing is written beyond it.
            // SAFETY: the function is SRB_FUNCTION_PNP, and the buffer is not null.
            (SRB_FUNCTION_PNP, 0) => unsafe { capabilities_length(self.srb, buffer) },
            (SRB_FUNCTION_PNP | SRB_FUNCTION_IO_CONTROL, length) => length,
            _ => 0,
        };
        if length == 0 {
            return &mut [];
        }
        // SAFETY: StorPort's buffer for this request, mapped because it is no read or write, with as many bytes.
        unsafe { slice::from_raw_parts_mut(buffer, length as usize) }
    }

    fn command(&self) -> Option<C> {
        self.extension().command
    }

    fn set_command(&mut self, command: C) {
        self.extension_mut().command = Some(command);
    }

    fn write_sense(&mut self, sense: &[u8]) -> usize {
        let parts = self.extension().parts;
        // SAFETY: the parts of this request, which is not completed as long as it is borrowed.
        unsafe { parts.write_sense(sense) }
    }

    fn write_dump_pointers(&mut self, limits: &DumpLimits) -> Option<u32> {
        let block = self.block();
        if block.DataBuffer.is_null() || self.function() != SrbFunction::DumpPointers {
            return None;
        }
        // SAFETY: the buffer of this function is a structure to fill in, of as many bytes as the request says.
        let data = unsafe {
            slice::from_raw_parts_mut(block.DataBuffer.cast::<u8>(), block.DataTransferLength as usize)
        };
        fill_dump_pointers(data, limits)
    }

    fn take_next(&mut self) -> Option<Self> {
        self.extension_mut().next.take()
    }

    fn set_next(&mut self, next: Option<Self>) {
        self.extension_mut().next = next;
    }
}
