//! What is found in an SRB, of either kind: STORAGE_REQUEST_BLOCK, which StorPort was asked for, or SCSI_REQUEST_BLOCK, which
//! the dump port driver may use. All that a driver may know of it goes into its extension, once, in `HwStorBuildIo`. IRQL: up to
//! DISPATCH_LEVEL, in dump mode HIGH_LEVEL. Lock: none; until it is completed, an SRB is of whoever was handed it.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::Ordering;

use wdk_sys::storage::StorPortGetScatterGatherList;
use wdk_sys::{
    _SRBEXDATATYPE, _STOR_IO_PRIORITY_HINT, PSCSI_REQUEST_BLOCK, SCSI_PNP_REQUEST_BLOCK, SCSI_REQUEST_BLOCK,
    SCSI_WMI_REQUEST_BLOCK, SRB_FLAGS_DATA_IN, SRB_FLAGS_DATA_OUT, SRB_FLAGS_QUEUE_ACTION_ENABLE,
    SRB_FUNCTION_ABORT_COMMAND, SRB_FUNCTION_DUMP_POINTERS, SRB_FUNCTION_EXECUTE_SCSI, SRB_FUNCTION_FLUSH,
    SRB_FUNCTION_FREE_DUMP_POINTERS, SRB_FUNCTION_IO_CONTROL, SRB_FUNCTION_PNP, SRB_FUNCTION_POWER,
    SRB_FUNCTION_RESET_BUS, SRB_FUNCTION_RESET_DEVICE, SRB_FUNCTION_RESET_LOGICAL_UNIT,
    SRB_FUNCTION_SHUTDOWN, SRB_FUNCTION_STORAGE_REQUEST_BLOCK, SRB_FUNCTION_WMI,
    SRB_HEAD_OF_QUEUE_TAG_REQUEST, SRB_ORDERED_QUEUE_TAG_REQUEST, SRB_PNP_FLAGS_ADAPTER_REQUEST,
    SRB_SIMPLE_TAG_REQUEST, SRB_WMI_FLAGS_ADAPTER_REQUEST, SRBEX_DATA, SRBEX_DATA_PNP,
    SRBEX_DATA_SCSI_CDB_VAR, SRBEX_DATA_SCSI_CDB16, SRBEX_DATA_SCSI_CDB32, SRBEX_DATA_WMI, STOR_ADDR_BTL8,
    STOR_ADDRESS_TYPE_BTL8, STOR_DEVICE_CAPABILITIES_EX, STOR_PNP_ACTION, STOR_SCATTER_GATHER_ELEMENT,
    STOR_SCATTER_GATHER_LIST, STORAGE_REQUEST_BLOCK,
};

use super::extension::Header;
use super::{HwDeviceExtension, calls};
use crate::request::{Element, Extension, Fields, Places, Request};
use crate::srb::{Address, DataDirection, PnpAction, Queueing, SrbFunction, SrbStatus};
use crate::wmi::{Guid, Operation};

// A scatter/gather list's elements are read as ours.
const _: () = assert!(
    size_of::<Element>() == size_of::<STOR_SCATTER_GATHER_ELEMENT>()
        && offset_of!(Element, address) == offset_of!(STOR_SCATTER_GATHER_ELEMENT, PhysicalAddress)
        && offset_of!(Element, length) == offset_of!(STOR_SCATTER_GATHER_ELEMENT, Length)
);

/// Whether it is a STORAGE_REQUEST_BLOCK.
///
/// # Safety
/// `srb` must be a request.
#[inline]
unsafe fn is_extended(srb: PSCSI_REQUEST_BLOCK) -> bool {
    // SAFETY: both kinds of request have this byte in the same place.
    u32::from(unsafe { (*srb).Function }) == SRB_FUNCTION_STORAGE_REQUEST_BLOCK
}

/// The extension that comes with a request.
///
/// # Safety
/// `srb` must be a request.
#[inline]
unsafe fn extension<C>(srb: PSCSI_REQUEST_BLOCK) -> Option<NonNull<Extension<C>>> {
    // SAFETY: the caller's promise.
    let extension = if unsafe { is_extended(srb) } {
        // SAFETY: it is a STORAGE_REQUEST_BLOCK.
        unsafe { (*srb.cast::<STORAGE_REQUEST_BLOCK>()).MiniportContext }
    } else {
        // SAFETY: it is a SCSI_REQUEST_BLOCK.
        unsafe { (*srb).SrbExtension }
    };
    NonNull::new(extension.cast())
}

/// Where things are in a STORAGE_REQUEST_BLOCK whose CDB is in an extended data block of this type.
macro_rules! places {
    ($type:ident) => {
        Places {
            transfer_length: offset_of!(STORAGE_REQUEST_BLOCK, DataTransferLength) as u8,
            buffer: offset_of!(STORAGE_REQUEST_BLOCK, DataBuffer) as u8,
            sense_length: (offset_of!($type, SenseInfoBufferLength) - offset_of!($type, ScsiStatus)) as u8,
            sense: (offset_of!($type, SenseInfoBuffer) - offset_of!($type, ScsiStatus)) as u8,
        }
    };
}

/// A request that is like nearly all ([`usual_fields`]), as `build_io` gets it, with its data where the device finds it. `None`: it
/// is another one, for [`decode_unusual`].
///
/// # Safety
/// `srb` must be a request that was passed to `HwStorBuildIo` of the adapter `hw`, with an extension of `SrbExtensionSize`.
#[inline(always)]
pub(super) unsafe fn decode_usual<C: Copy>(
    hw: HwDeviceExtension,
    srb: PSCSI_REQUEST_BLOCK,
) -> Option<Request<C>> {
    // SAFETY: the caller's promise.
    if !unsafe { is_extended(srb) } {
        return None;
    }
    let block = srb.cast::<STORAGE_REQUEST_BLOCK>();
    // SAFETY: StorPort's device extension.
    let maps_all = unsafe { Header::of(hw) }.maps_all.load(Ordering::Relaxed);
    // Of a reset the length says nothing (nc-storport-hw_buildio.md), and a list is of a SCSI command only.
    // SAFETY: it is a STORAGE_REQUEST_BLOCK.
    if unsafe { (*block).SrbFunction } != SRB_FUNCTION_EXECUTE_SCSI || maps_all {
        return None;
    }
    // SAFETY: as above.
    let extension = unsafe { (*block).MiniportContext };
    // SAFETY: as above.
    let length = unsafe { (*block).DataTransferLength };
    let extension = NonNull::new(extension.cast::<Extension<C>>())?;
    if length == 0 {
        return None;
    }
    // Before anything else is read: what the call may change need not be kept then.
    // SAFETY: a SCSI command of this adapter, with data.
    let list = unsafe { StorPortGetScatterGatherList(hw.0, srb.cast()) };
    if list.is_null() {
        return None;
    }
    // SAFETY: it is a STORAGE_REQUEST_BLOCK.
    let fields = unsafe { usual_fields(NonNull::new(block)?, length) }?;
    // SAFETY: StorPort's list begins with the number of its elements.
    let count = unsafe { (*list).NumberOfElements };
    // SAFETY: the elements follow the list's head.
    let elements = unsafe { (&raw const (*list).List).cast::<Element>() };
    // SAFETY: the extension has the size we asked for, is aligned for any type, and nobody else uses it; what was found is
    // the request's, as long as it is not completed, and so is the list, which has as many elements as it says.
    Some(unsafe { Request::with_elements(extension, fields, elements, count) })
}

/// The same for any request. `None` when it comes without memory for us.
///
/// # Safety
/// As for [`decode_usual`].
#[cold]
#[inline(never)]
pub(super) unsafe fn decode_unusual<C: Copy>(
    hw: HwDeviceExtension,
    srb: PSCSI_REQUEST_BLOCK,
) -> Option<Request<C>> {
    // SAFETY: the caller's promise.
    let extension = unsafe { extension(srb) }?;
    // SAFETY: as above.
    let fields = if unsafe { is_extended(srb) } {
        // SAFETY: it is a STORAGE_REQUEST_BLOCK.
        unsafe { fields_of_new_kind(NonNull::new(srb.cast())?) }
    } else {
        // SAFETY: it is a SCSI_REQUEST_BLOCK.
        unsafe { fields_of_old_kind(srb) }
    };
    // SAFETY: as in `decode_usual`.
    Some(unsafe { with_data(hw, extension, fields) })
}

/// Says where the data is. The list is not null.
///
/// # Safety
/// The list must be that of this request of the adapter `hw`.
unsafe fn prepare<C: Copy>(
    request: &mut Request<C>,
    hw: HwDeviceExtension,
    list: *mut STOR_SCATTER_GATHER_LIST,
) {
    // SAFETY: StorPort's list begins with the number of its elements.
    let count = unsafe { (*list).NumberOfElements };
    // SAFETY: the elements follow the list's head.
    let elements = unsafe { (&raw const (*list).List).cast::<Element>() };
    // SAFETY: the list has as many elements as it says, and stays until the request was completed.
    unsafe { request.prepare(elements, count) };
    // SAFETY: StorPort's device extension.
    if unsafe { Header::of(hw) }.maps_all.load(Ordering::Relaxed) {
        // SAFETY: StorPort was asked to.
        unsafe { request.set_mapped() };
    }
}

/// Makes a request of what was found, and says where its data is, as far as it has any that the port driver has a list of.
///
/// # Safety
/// As for [`Request::new`], of a request of the adapter `hw`.
unsafe fn with_data<C: Copy>(
    hw: HwDeviceExtension,
    extension: NonNull<Extension<C>>,
    fields: Fields,
) -> Request<C> {
    // SAFETY: the caller's promise.
    let mut request = unsafe { Request::new(extension, fields) };
    if request.data_length() != 0 {
        // SAFETY: a request of this adapter with data.
        let list = unsafe { StorPortGetScatterGatherList(hw.0, request.srb().as_ptr().cast()) };
        if !list.is_null() {
            // SAFETY: it is this request's.
            unsafe { prepare(&mut request, hw, list) };
        }
    }
    request
}

/// What is found in nearly every SCSI command: data, a CDB of up to 16 bytes in its first extended data block and a
/// direction, for a BTL8 address, queued like any other. `None`: it is another one.
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK of EXECUTE_SCSI, with this length of data, which is not 0.
#[inline(always)]
unsafe fn usual_fields(srb: NonNull<STORAGE_REQUEST_BLOCK>, data_length: u32) -> Option<Fields> {
    const LENGTH: u64 = size_of::<STORAGE_REQUEST_BLOCK>() as u64;
    // SAFETY: the caller's promise.
    let block = unsafe { srb.as_ref() };
    let end = u64::from(block.SrbLength);
    let at = u64::from(block.SrbExDataOffset[0]);
    let address_at = u64::from(block.AddressOffset);
    if address_at < LENGTH
        || address_at + size_of::<STOR_ADDR_BTL8>() as u64 > end
        || block.NumSrbExData == 0
        || at < LENGTH
        || at + size_of::<SRBEX_DATA_SCSI_CDB16>() as u64 > end
    {
        return None;
    }
    // SAFETY: the offset was checked against the request's length.
    let data = unsafe { srb.byte_add(at as usize) }.cast::<SRBEX_DATA_SCSI_CDB16>();
    // SAFETY: every extended data block starts with its type.
    if unsafe { (*data.as_ptr()).Type } != _SRBEXDATATYPE::SrbExDataTypeScsiCdb16 {
        return None;
    }
    // SAFETY: the type field says that it is this structure.
    let data = unsafe { &mut *data.as_ptr() };
    // SAFETY: the offset was checked against the request's length.
    let address = unsafe { srb.byte_add(address_at as usize) }.cast::<STOR_ADDR_BTL8>();
    // SAFETY: an address of the kind we asked for (ADDRESS_TYPE_FLAG_BTL8) lies there.
    let address = unsafe { address.as_ref() };
    if u32::from(address.Type) != STOR_ADDRESS_TYPE_BTL8
        || !is_queued_as_usual(block.RequestAttribute, block.RequestPriority)
        || data.CdbLength > 16
    {
        return None;
    }
    let direction = match block.SrbFlags & (SRB_FLAGS_DATA_OUT | SRB_FLAGS_DATA_IN) {
        SRB_FLAGS_DATA_IN => DataDirection::In,
        SRB_FLAGS_DATA_OUT => DataDirection::Out,
        _ => return None,
    };
    Some(Fields {
        srb: srb.cast(),
        scsi_status: &raw mut data.ScsiStatus,
        cdb: (&raw const data.Cdb).cast(),
        function: SrbFunction::ExecuteScsi,
        data_length,
        parameter_length: 0,
        address: Address { path: address.Path, target: address.Target, lun: address.Lun },
        direction,
        queueing: Queueing::USUAL,
        cdb_bytes: data.CdbLength,
        places: places!(SRBEX_DATA_SCSI_CDB16),
    })
}

/// Whether an SRB with these fields is queued as [`Queueing::USUAL`] says, without looking at its flags.
#[inline(always)]
const fn is_queued_as_usual(attribute: u16, priority: u16) -> bool {
    // As one word: SRB_SIMPLE_TAG_REQUEST or nothing above; below, two bits have room for one more than a normal priority.
    const OTHERS: u64 = !((SRB_SIMPLE_TAG_REQUEST << 16) as u64 | 0b11);
    let word = ((attribute as u64) << 16 | priority as u64) + 1;
    word & OTHERS == 0
}

/// A request as `start_io` gets it.
///
/// # Safety
/// `srb` must be a request that `build_io` has left, and that was not completed since.
#[inline]
pub(super) unsafe fn prepared<C: Copy>(srb: PSCSI_REQUEST_BLOCK) -> Option<Request<C>> {
    // SAFETY: the caller's promise.
    let extension = unsafe { extension(srb) }?;
    // SAFETY: as above; `build_io` has left it.
    Some(unsafe { Request::take_up(extension) })
}

/// Ends a request that could not even be decoded, or has no adapter.
///
/// # Safety
/// `srb` must be a request that StorPort passed to `HwStorBuildIo`; it must not be used afterwards.
#[cold]
#[inline(never)]
pub(super) unsafe fn complete_undecoded(hw: HwDeviceExtension, srb: PSCSI_REQUEST_BLOCK, status: SrbStatus) {
    // SAFETY: both kinds of request have this byte in the same place.
    unsafe { (*srb).SrbStatus = status.0 };
    // SAFETY: the caller's promise.
    let length = if unsafe { is_extended(srb) } {
        // SAFETY: it is a STORAGE_REQUEST_BLOCK.
        unsafe { &raw mut (*srb.cast::<STORAGE_REQUEST_BLOCK>()).DataTransferLength }
    } else {
        // SAFETY: it is a SCSI_REQUEST_BLOCK.
        unsafe { &raw mut (*srb).DataTransferLength }
    };
    // SAFETY: the field of a request that is ours. Nothing was moved.
    unsafe { length.write(0) };
    // SAFETY: the caller's promise.
    unsafe { calls::request_complete(hw, srb) };
}

/// Where the parts of an EXECUTE_SCSI request are.
#[derive(Clone, Copy)]
struct Parts {
    scsi_status: *mut u8,
    cdb: *const u8,
    cdb_bytes: u8,
    places: Places,
}

impl Parts {
    const NONE: Self = Self {
        scsi_status: ptr::null_mut(),
        cdb: ptr::null(),
        cdb_bytes: 0,
        places: places!(SRBEX_DATA_SCSI_CDB16),
    };
}

/// The extended data blocks of a request, each with its type.
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
#[inline]
unsafe fn extended_data<'a>(
    srb: NonNull<STORAGE_REQUEST_BLOCK>,
) -> impl Iterator<Item = (i32, NonNull<SRBEX_DATA>)> + 'a {
    // SAFETY: the caller's promise.
    let block = unsafe { srb.as_ref() };
    let length = block.SrbLength;
    // SAFETY: the offsets are the request's last field and as many as it says.
    let offsets: &'a [u32] = unsafe {
        slice::from_raw_parts((&raw const block.SrbExDataOffset).cast::<u32>(), block.NumSrbExData as usize)
    };
    offsets.iter().filter_map(move |offset| {
        let end = offset.checked_add(size_of::<SRBEX_DATA>() as u32)?;
        if *offset < size_of::<STORAGE_REQUEST_BLOCK>() as u32 || end > length {
            return None;
        }
        // SAFETY: the offset was checked against the request's length.
        let data = unsafe { srb.byte_add(*offset as usize) }.cast::<SRBEX_DATA>();
        // SAFETY: every extended data block starts with its type.
        let kind = unsafe { (*data.as_ptr()).Type };
        Some((kind, data))
    })
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
#[inline]
unsafe fn find_parts(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Parts {
    const CDB16: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdb16;
    const CDB32: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdb32;
    const CDB_VAR: i32 = _SRBEXDATATYPE::SrbExDataTypeScsiCdbVar;
    macro_rules! parts {
        ($type:ident, $data:ident, $longest:expr) => {{
            // SAFETY: the type field says that it is this structure.
            let data = unsafe { &mut *$data.as_ptr().cast::<$type>() };
            Parts {
                scsi_status: &raw mut data.ScsiStatus,
                cdb: (&raw const data.Cdb).cast(),
                cdb_bytes: u8::try_from(data.CdbLength).unwrap_or(u8::MAX).min($longest),
                places: places!($type),
            }
        }};
    }
    // SAFETY: the caller's promise.
    for (kind, data) in unsafe { extended_data(srb) } {
        match kind {
            CDB16 => return parts!(SRBEX_DATA_SCSI_CDB16, data, 16),
            CDB32 => return parts!(SRBEX_DATA_SCSI_CDB32, data, 32),
            CDB_VAR => return parts!(SRBEX_DATA_SCSI_CDB_VAR, data, u8::MAX),
            _ => {}
        }
    }
    Parts::NONE
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
#[inline]
unsafe fn fields_of_new_kind(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Fields {
    // SAFETY: the caller's promise.
    let parts = unsafe { find_parts(srb) };
    // SAFETY: as above.
    let address = unsafe { address(srb) };
    // SAFETY: as above.
    let block = unsafe { srb.as_ref() };
    let code = block.SrbFunction;
    let mut fields = Fields {
        srb: srb.cast(),
        scsi_status: parts.scsi_status,
        cdb: parts.cdb,
        function: SrbFunction::ExecuteScsi,
        data_length: block.DataTransferLength,
        parameter_length: 0,
        address,
        direction: DataDirection::None,
        queueing: queueing(block.SrbFlags, block.RequestAttribute, block.RequestPriority),
        cdb_bytes: parts.cdb_bytes,
        places: parts.places,
    };
    if code == SRB_FUNCTION_EXECUTE_SCSI {
        fields.direction = direction(fields.data_length, block.SrbFlags, parts.cdb, parts.cdb_bytes);
        return fields;
    }
    if code == SRB_FUNCTION_ABORT_COMMAND {
        fields.places.buffer = offset_of!(STORAGE_REQUEST_BLOCK, NextSrb) as u8;
    }
    let special = match code {
        // SAFETY: the function is SRB_FUNCTION_PNP.
        SRB_FUNCTION_PNP => Special::Pnp(unsafe { pnp_action(srb) }),
        // SAFETY: the function is SRB_FUNCTION_WMI.
        SRB_FUNCTION_WMI => unsafe { wmi(srb) },
        _ => Special::Nothing,
    };
    let (buffer, length) = (block.DataBuffer.cast(), block.DataTransferLength);
    // SAFETY: what is special and the buffer are this request's.
    unsafe { other_function(&mut fields, code, (buffer, length), special) };
    fields
}

/// What requests of some functions have in a structure of their own.
enum Special {
    Nothing,
    Pnp(PnpAction),
    /// For the adapter; null where it is not about a data block.
    Wmi(Operation, *const u8),
}

/// Of a reset, length and buffer are invalid (nc-storport-hw_buildio.md); other functions have no data for the device, but
/// some come with a structure for the miniport.
///
/// # Safety
/// `special` must be the request's, and `buffer` its buffer, of this length.
#[cold]
unsafe fn other_function(
    fields: &mut Fields,
    code: u32,
    (buffer, length): (*const u8, u32),
    special: Special,
) {
    fields.data_length = 0;
    let takes_structure = matches!(
        code,
        SRB_FUNCTION_PNP | SRB_FUNCTION_IO_CONTROL | SRB_FUNCTION_DUMP_POINTERS | SRB_FUNCTION_WMI
    );
    fields.parameter_length = if takes_structure && !buffer.is_null() { length } else { 0 };
    fields.function = function(code);
    match special {
        Special::Nothing => {}
        Special::Pnp(action) => {
            fields.function = SrbFunction::Pnp(action);
            // The length is not for the miniport to look at (ns-storport-_scsi_pnp_request_block.md), but when it says
            // something, nothing is written beyond it.
            if length == 0 && !buffer.is_null() {
                // SAFETY: the buffer is this action's, and not null.
                fields.parameter_length = unsafe { capabilities_length(action, buffer) };
            }
        }
        Special::Wmi(operation, guid) => {
            fields.function = SrbFunction::Wmi(operation);
            fields.cdb = guid;
            fields.cdb_bytes = Guid::BYTES as u8;
        }
    }
}

/// # Safety
/// `srb` must be a SCSI_REQUEST_BLOCK.
unsafe fn fields_of_old_kind(srb: PSCSI_REQUEST_BLOCK) -> Fields {
    // SAFETY: the caller's promise.
    let block = unsafe { &mut *srb };
    let code = u32::from(block.Function);
    let is_scsi = code == SRB_FUNCTION_EXECUTE_SCSI;
    let length = if is_scsi { block.DataTransferLength } else { 0 };
    let cdb_bytes = if is_scsi { block.CdbLength.min(block.Cdb.len() as u8) } else { 0 };
    let cdb: *const u8 = (&raw const block.Cdb).cast();
    let mut fields = Fields {
        srb: NonNull::from(&mut *block).cast(),
        scsi_status: if is_scsi { &raw mut block.ScsiStatus } else { ptr::null_mut() },
        cdb: if is_scsi { cdb } else { ptr::null() },
        function: function(code),
        data_length: length,
        parameter_length: 0,
        address: Address { path: block.PathId, target: block.TargetId, lun: block.Lun },
        direction: direction(length, block.SrbFlags, cdb, cdb_bytes),
        // The old kind has no priority.
        queueing: queueing(block.SrbFlags, block.QueueAction.into(), 0),
        cdb_bytes,
        places: Places {
            transfer_length: offset_of!(SCSI_REQUEST_BLOCK, DataTransferLength) as u8,
            buffer: offset_of!(SCSI_REQUEST_BLOCK, DataBuffer) as u8,
            sense_length: (offset_of!(SCSI_REQUEST_BLOCK, SenseInfoBufferLength)
                - offset_of!(SCSI_REQUEST_BLOCK, ScsiStatus)) as u8,
            sense: (offset_of!(SCSI_REQUEST_BLOCK, SenseInfoBuffer)
                - offset_of!(SCSI_REQUEST_BLOCK, ScsiStatus)) as u8,
        },
    };
    if is_scsi {
        return fields;
    }
    if code == SRB_FUNCTION_ABORT_COMMAND {
        fields.places.buffer = offset_of!(SCSI_REQUEST_BLOCK, NextSrb) as u8;
    }
    let (buffer, length) = (block.DataBuffer.cast(), block.DataTransferLength);
    let special = match code {
        SRB_FUNCTION_PNP => {
            // SAFETY: a request of this function is such a structure, which has the same size.
            let block = unsafe { &*srb.cast::<SCSI_PNP_REQUEST_BLOCK>() };
            Special::Pnp(pnp(block.PnPAction, block.SrbPnPFlags))
        }
        SRB_FUNCTION_WMI => {
            // SAFETY: as above.
            let block = unsafe { &*srb.cast::<SCSI_WMI_REQUEST_BLOCK>() };
            special_of_wmi(block.WMISubFunction, block.WMIFlags, block.DataPath)
        }
        _ => Special::Nothing,
    };
    // SAFETY: what is special and the buffer are this request's.
    unsafe { other_function(&mut fields, code, (buffer, length), special) };
    fields
}

const _: () = assert!(
    size_of::<SCSI_REQUEST_BLOCK>() == size_of::<SCSI_WMI_REQUEST_BLOCK>()
        && size_of::<SCSI_REQUEST_BLOCK>() == size_of::<SCSI_PNP_REQUEST_BLOCK>()
);

/// A request of WMI for a logical unit is nothing special.
fn special_of_wmi(sub_function: u8, flags: u8, data_path: *mut c_void) -> Special {
    if u32::from(flags) & SRB_WMI_FLAGS_ADAPTER_REQUEST == 0 {
        return Special::Nothing;
    }
    let operation = Operation::from_sub_function(sub_function);
    // Otherwise it is WMIREGISTER or WMIUPDATE (irp-mn-reginfo-ex.md), or nobody knows what.
    let guid = if operation.is_about_a_block() { data_path.cast_const().cast() } else { ptr::null() };
    Special::Wmi(operation, guid)
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK with the function SRB_FUNCTION_WMI.
unsafe fn wmi(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Special {
    // SAFETY: the caller's promise.
    let mut data = unsafe { extended_data(srb) };
    let Some((_, data)) = data.find(|(kind, _)| *kind == _SRBEXDATATYPE::SrbExDataTypeWmi) else {
        return Special::Nothing;
    };
    // SAFETY: the type field says that it is this structure.
    let data = unsafe { &*data.as_ptr().cast::<SRBEX_DATA_WMI>() };
    special_of_wmi(data.WMISubFunction, data.WMIFlags, data.DataPath)
}

/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK with the function SRB_FUNCTION_PNP.
unsafe fn pnp_action(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> PnpAction {
    // SAFETY: the caller's promise.
    let mut data = unsafe { extended_data(srb) };
    let Some((_, data)) = data.find(|(kind, _)| *kind == _SRBEXDATATYPE::SrbExDataTypePnP) else {
        return PnpAction::Other(u32::MAX);
    };
    // SAFETY: the type field says that it is this structure.
    let data = unsafe { &*data.as_ptr().cast::<SRBEX_DATA_PNP>() };
    pnp(data.PnPAction, data.SrbPnPFlags)
}

fn pnp(action: STOR_PNP_ACTION::Type, flags: u32) -> PnpAction {
    // Without this flag the request is for the unit that it addresses, and the other units live on.
    let adapter = flags & SRB_PNP_FLAGS_ADAPTER_REQUEST != 0;
    match action {
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
/// `buffer` must be the buffer of a request of SRB_FUNCTION_PNP with this action, and not null.
unsafe fn capabilities_length(action: PnpAction, buffer: *const u8) -> u32 {
    if !matches!(action, PnpAction::QueryAdapterCapabilities | PnpAction::QueryUnitCapabilities) {
        return 0;
    }
    // SAFETY: the buffer of this action is such a structure, and the field is one of its first.
    let size = unsafe { (*buffer.cast::<STOR_DEVICE_CAPABILITIES_EX>()).Size };
    u32::from(size).min(size_of::<STOR_DEVICE_CAPABILITIES_EX>() as u32)
}

/// What is asked for; SRB_FUNCTION_PNP does not say it all.
#[inline]
const fn function(code: u32) -> SrbFunction {
    match code {
        SRB_FUNCTION_EXECUTE_SCSI => SrbFunction::ExecuteScsi,
        SRB_FUNCTION_FLUSH => SrbFunction::Flush,
        SRB_FUNCTION_SHUTDOWN => SrbFunction::Shutdown,
        SRB_FUNCTION_RESET_LOGICAL_UNIT => SrbFunction::ResetLogicalUnit,
        SRB_FUNCTION_RESET_DEVICE => SrbFunction::ResetDevice,
        SRB_FUNCTION_RESET_BUS => SrbFunction::ResetBus,
        SRB_FUNCTION_ABORT_COMMAND => SrbFunction::AbortCommand,
        SRB_FUNCTION_POWER => SrbFunction::Power,
        SRB_FUNCTION_IO_CONTROL => SrbFunction::IoControl,
        SRB_FUNCTION_DUMP_POINTERS => SrbFunction::DumpPointers,
        SRB_FUNCTION_FREE_DUMP_POINTERS => SrbFunction::FreeDumpPointers,
        other => SrbFunction::Other(other),
    }
}

/// Which way `length` bytes of data go. Both flags together (SRB_FLAGS_UNSPECIFIED_DIRECTION) leave that to the CDB
/// (ns-srb-_scsi_request_block.md).
#[inline]
fn direction(length: u32, flags: u32, cdb: *const u8, cdb_bytes: u8) -> DataDirection {
    let out = flags & SRB_FLAGS_DATA_OUT != 0;
    let back = flags & SRB_FLAGS_DATA_IN != 0;
    match (out, back) {
        _ if length == 0 => DataDirection::None,
        (true, true) if cdb.is_null() => DataDirection::of_cdb(&[]),
        // SAFETY: the CDB's bytes in this request.
        (true, true) => DataDirection::of_cdb(unsafe { slice::from_raw_parts(cdb, cdb_bytes.into()) }),
        (true, false) => DataDirection::Out,
        (false, true) => DataDirection::In,
        (false, false) => DataDirection::None,
    }
}

const _: () = assert!(
    Queueing::HEAD_OF_QUEUE as u32 == SRB_HEAD_OF_QUEUE_TAG_REQUEST
        && Queueing::ORDERED as u32 == SRB_ORDERED_QUEUE_TAG_REQUEST
        && Queueing::HIGH as i32 == _STOR_IO_PRIORITY_HINT::StorIoPriorityHigh
        && Queueing::CRITICAL as i32 == _STOR_IO_PRIORITY_HINT::StorIoPriorityCritical
);

/// How a command is to be queued that comes with these flags, message and priority.
#[inline]
const fn queueing(flags: u32, attribute: u16, priority: u16) -> Queueing {
    Queueing::new(flags & SRB_FLAGS_QUEUE_ACTION_ENABLE != 0, attribute, priority)
}

/// The logical unit that a STORAGE_REQUEST_BLOCK is for.
///
/// # Safety
/// `srb` must be a STORAGE_REQUEST_BLOCK.
#[inline]
unsafe fn address(srb: NonNull<STORAGE_REQUEST_BLOCK>) -> Address {
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
