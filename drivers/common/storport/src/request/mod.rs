//! A request as a driver sees it: what is asked, of whom, with which data, and how it ends.
//!
//! A [`Request`] is one thin pointer to its [`Extension`], the memory that comes with every SRB. What a driver may know of
//! the SRB is put there once, when HwStorBuildIo decodes it, whichever kind of SRB it is; from then on nobody asks which
//! one it was. `kernel::srb` decodes, `fake` makes requests for host tests, and both get the same type.
//!
//! UNSAFETY: this module reads and writes an SRB through the pointers that were found in it, and nothing else does once it
//! is decoded.
//!
//! ```text
//!   decode ──► Request ──► build_io ──► start_io ──► a slot of the ring, or Requests (a list through the extensions)
//!                                                        └──► end ──► Ended ──► Port::complete
//! ```
#![expect(unsafe_code, reason = "an SRB is a structure of the port driver's, full of pointers")]

mod list;

pub use list::{EndedRequests, Requests};

use core::ffi::c_void;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};
use core::slice;

use virtio::memory::Segment;

use crate::srb::{
    Address, Completion, DataDirection, DumpLimits, Queueing, ScsiStatus, SrbFunction, SrbStatus,
};
use crate::wmi;

/// Where `SrbStatus` is in both kinds of SRB.
const SRB_STATUS_AT: usize = 3;

/// READ and WRITE (6), (10), (12) and (16): what StorPort does not map under STOR_MAP_NON_READ_WRITE_BUFFERS.
const UNMAPPED_OPERATIONS: [u8; 8] = [0x08, 0x0a, 0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a];

/// Whether StorPort maps the data of a request with this CDB.
#[inline]
fn is_mapped(cdb: &[u8]) -> bool {
    !cdb.first().is_some_and(|code| UNMAPPED_OPERATIONS.contains(code))
}

/// An element of a scatter/gather list (`STOR_SCATTER_GATHER_ELEMENT`).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Element {
    /// `PhysicalAddress`: where the device finds it.
    pub address: u64,
    /// `Length`, in bytes.
    pub length: u32,
    /// `Reserved`
    pub reserved: usize,
}

/// What was found in an SRB.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// The SRB itself.
    pub srb: NonNull<c_void>,
    /// `ScsiStatus`; null when the function has none.
    pub scsi_status: *mut u8,
    /// The command descriptor block, or the GUID that a request of WMI is about; null when the function has neither.
    pub cdb: *const u8,
    /// What is asked for.
    pub function: SrbFunction,
    /// Bytes of data; of functions that have no data for the device, none.
    pub data_length: u32,
    /// Bytes of the structure that comes with another function than EXECUTE_SCSI, in the buffer.
    pub parameter_length: u32,
    /// Who it is for.
    pub address: Address,
    /// Which way the data goes.
    pub direction: DataDirection,
    /// How the unit is to queue the command.
    pub queueing: Queueing,
    /// Bytes of the CDB, or of the GUID.
    pub cdb_bytes: u8,
    /// Where the parts of the SRB are that few requests need.
    pub places: Places,
}

/// Where in an SRB something is. All of it is known from the SRB's kind, so that it is written as one constant; what stands there
/// is read when it is needed, which for most requests is never.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Places {
    /// How far behind the start of the SRB `DataTransferLength` is.
    pub transfer_length: u8,
    /// How far behind the start of the SRB `DataBuffer` is. Of an abort `NextSrb`, which is compared and not followed.
    pub buffer: u8,
    /// How far behind `scsi_status` `SenseInfoBufferLength` is.
    pub sense_length: u8,
    /// How far behind `scsi_status` `SenseInfoBuffer` is.
    pub sense: u8,
}

/// What lies in the memory that comes with an SRB (`SrbExtensionSize`).
#[repr(C)]
pub struct Extension<C> {
    /// The request behind this one, in a list that it is not the last of.
    next: MaybeUninit<NonNull<Extension<C>>>,
    fields: Fields,
    /// The scatter/gather list; null without data.
    elements: *const Element,
    element_count: u32,
    /// The data of reads and writes is mapped too.
    maps_all: bool,
    /// What `build_io` decoded.
    command: Option<C>,
}

// Performance target: at most 128 bytes for the request's own bookkeeping.
const _: () = assert!(size_of::<Extension<[u64; 3]>>() <= 128);

/// Which SRB it is, among those that have not ended: the port driver uses their memory again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrbId(pub(crate) usize);

/// An SRB that the port driver has handed over and that has not ended yet.
///
/// The value is the right to end the request: it can be moved (into a ring slot, into a list), never copied. `C` is what
/// the driver's `build_io` decoded.
#[must_use = "a request that does not end hangs its owner until the time-out"]
#[repr(transparent)]
pub struct Request<C>(NonNull<Extension<C>>);

// SAFETY: the request is this value's alone until it is completed, on whichever processor that happens.
unsafe impl<C: Send> Send for Request<C> {}

impl<C> fmt::Debug for Request<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Request").field(&self.fields().function).finish()
    }
}

/// A request in which it is written how it ended, for the port driver to take back.
#[must_use = "a request that is not completed hangs its owner until the time-out"]
#[derive(Debug)]
pub struct Ended<C>(Request<C>);

impl<C: Copy> Request<C> {
    /// Makes a request of an SRB and its extension.
    ///
    /// # Safety
    /// `extension` must be aligned memory of its size that is this request's alone, and the pointers in `fields` must be
    /// valid, as their descriptions say, until the request was completed.
    #[inline(always)]
    pub unsafe fn new(extension: NonNull<Extension<C>>, fields: Fields) -> Self {
        // SAFETY: the caller's promise; there are no elements.
        unsafe { Self::with_elements(extension, fields, ptr::null(), 0) }
    }

    /// The same, and says where the data is, as the device sees it.
    ///
    /// # Safety
    /// As for [`new`](Self::new); there must be so many elements, and they must stay until the request was completed.
    #[inline(always)]
    pub unsafe fn with_elements(
        extension: NonNull<Extension<C>>,
        fields: Fields,
        elements: *const Element,
        element_count: u32,
    ) -> Self {
        let next = MaybeUninit::uninit();
        let content = Extension { next, fields, elements, element_count, maps_all: false, command: None };
        // SAFETY: the caller's promise.
        unsafe { extension.write(content) };
        Self(extension)
    }

    /// The request of an extension, once more: the port driver hands the SRB to HwStorBuildIo and again to HwStorStartIo.
    ///
    /// # Safety
    /// The extension must be that of a request that was given up with [`leave`](Self::leave), and not been taken up since.
    #[inline]
    pub const unsafe fn take_up(extension: NonNull<Extension<C>>) -> Self {
        Self(extension)
    }

    /// Leaves the request to the port driver, which hands it over again.
    #[inline]
    pub fn leave(self) {
        let _left = ManuallyDrop::new(self);
    }

    /// Where the data is, as the device sees it.
    ///
    /// # Safety
    /// There must be so many elements, and they must stay until the request was completed.
    pub unsafe fn prepare(&mut self, elements: *const Element, element_count: u32) {
        let extension = self.extension_mut();
        extension.elements = elements;
        extension.element_count = element_count;
    }

    /// The data of reads and writes is mapped as well.
    ///
    /// # Safety
    /// The port driver must have done so.
    pub unsafe fn set_mapped(&mut self) {
        self.extension_mut().maps_all = true;
    }

    /// There is no data, or it is known where it is ([`prepare`](Self::prepare)).
    #[inline]
    pub fn is_prepared(&self) -> bool {
        let extension = self.extension();
        extension.fields.data_length == 0 || !extension.elements.is_null()
    }

    /// `DataBuffer`; null when there is none.
    fn buffer(&self) -> *mut u8 {
        let Fields { srb, places, .. } = self.extension().fields;
        // SAFETY: the field lies inside the SRB.
        let place = unsafe { srb.byte_add(usize::from(places.buffer)) };
        // SAFETY: it is a pointer, in memory that is ours to read until the request was completed.
        unsafe { place.cast::<*mut u8>().read() }
    }

    #[inline]
    fn extension(&self) -> &Extension<C> {
        // SAFETY: `new` wrote the extension, which is this request's alone.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn extension_mut(&mut self) -> &mut Extension<C> {
        // SAFETY: `new` wrote the extension, which is this request's alone.
        unsafe { self.0.as_mut() }
    }

    /// The SRB, as the port driver knows it.
    #[inline]
    pub fn srb(&self) -> NonNull<c_void> {
        self.extension().fields.srb
    }

    /// Which request this is.
    #[inline]
    pub fn id(&self) -> SrbId {
        SrbId(self.srb().addr().get())
    }

    /// Which request is to be aborted; `None` when that is not what this one asks for.
    pub fn aborted(&self) -> Option<SrbId> {
        if self.function() != SrbFunction::AbortCommand {
            return None;
        }
        let other = self.buffer();
        (!other.is_null()).then(|| SrbId(other.addr()))
    }

    /// What is asked for.
    #[inline]
    pub fn function(&self) -> SrbFunction {
        self.extension().fields.function
    }

    /// Which logical unit it is for.
    #[inline]
    pub fn address(&self) -> Address {
        self.extension().fields.address
    }

    /// The command descriptor block; empty when the function carries none.
    #[inline]
    pub fn cdb(&self) -> &[u8] {
        let Fields { cdb, cdb_bytes, .. } = self.extension().fields;
        if cdb.is_null() {
            return &[];
        }
        // SAFETY: the CDB's bytes in this request.
        unsafe { slice::from_raw_parts(cdb, usize::from(cdb_bytes)) }
    }

    /// Which way the data goes.
    #[inline]
    pub fn direction(&self) -> DataDirection {
        self.extension().fields.direction
    }

    /// How the unit is to queue the command.
    #[inline]
    pub fn queueing(&self) -> Queueing {
        self.extension().fields.queueing
    }

    /// Length of the data buffer, in bytes.
    #[inline]
    pub fn data_length(&self) -> u32 {
        self.extension().fields.data_length
    }

    /// The data buffer as the device sees it, in order, covering [`data_length`](Self::data_length) bytes.
    ///
    /// Valid from `start_io` on; in `build_io` nobody asks.
    #[inline(always)]
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment> {
        let Extension { elements, element_count, .. } = *self.extension();
        debug_assert!(
            self.data_length() == 0 || !elements.is_null(),
            "the scatter/gather list was asked for before start_io"
        );
        let elements: &[Element] = if elements.is_null() {
            &[]
        } else {
            // SAFETY: `prepare` was promised that there are so many, for as long as the request is not completed.
            unsafe { slice::from_raw_parts(elements, element_count as usize) }
        };
        elements.iter().map(|element| Segment { address: element.address, length: element.length })
    }

    /// The data buffer as the processor sees it; empty when the port driver did not map it, which it does for every
    /// request but reads and writes (`STOR_MAP_NON_READ_WRITE_BUFFERS`), and for those too where the driver has asked for
    /// it ([`Configuration::maps_all`](crate::Configuration::maps_all)), from `start_io` on.
    pub fn data(&mut self) -> &mut [u8] {
        let data_length = self.data_length();
        let mapped = self.extension().maps_all || is_mapped(self.cdb());
        if data_length == 0 || !mapped {
            return &mut [];
        }
        let buffer = self.buffer();
        if buffer.is_null() {
            return &mut [];
        }
        // SAFETY: StorPort mapped the buffer: of a request that is no read or write (STOR_MAP_NON_READ_WRITE_BUFFERS), or as
        // it does of all (STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE).
        unsafe { slice::from_raw_parts_mut(buffer, data_length as usize) }
    }

    /// The structure that comes with a request of another function than EXECUTE_SCSI, to look at and to fill in; empty when
    /// there is none, or none for the miniport.
    pub fn parameters(&mut self) -> &mut [u8] {
        let Fields { parameter_length, .. } = self.extension().fields;
        if parameter_length == 0 {
            return &mut [];
        }
        let buffer = self.buffer();
        if buffer.is_null() {
            return &mut [];
        }
        // SAFETY: the port driver's buffer for this request, mapped because it is no read or write, with as many bytes.
        unsafe { slice::from_raw_parts_mut(buffer, parameter_length as usize) }
    }

    /// What a request of [`SrbFunction::Wmi`] asks for; `None` of another function.
    pub fn wmi(&mut self) -> Option<wmi::Call<'_>> {
        let SrbFunction::Wmi(operation) = self.function() else { return None };
        let path = self.cdb().first_chunk().copied();
        Some(wmi::Call::new(operation, path, self.parameters()))
    }

    /// What `build_io` decoded; `None` before that.
    #[inline]
    pub fn command(&self) -> Option<C> {
        self.extension().command
    }

    /// The same, where it stands.
    #[inline(always)]
    pub fn command_ref(&self) -> Option<&C> {
        self.extension().command.as_ref()
    }

    /// Sets what [`command`](Self::command) says: in `build_io`, and when the request has another step.
    #[inline]
    pub fn set_command(&mut self, command: C) {
        self.extension_mut().command = Some(command);
    }

    /// Copies as much sense data as the request has room for, and says in the request how much that is
    /// (ns-storport-_srbex_data_scsi_cdb16.md: an underrun is to be told), for which it is called once. Returns the same, in bytes.
    pub fn write_sense(&mut self, sense: &[u8]) -> usize {
        let Fields { scsi_status, places, .. } = self.extension().fields;
        if scsi_status.is_null() {
            return 0;
        }
        // SAFETY: the field lies in the same structure as the status.
        let place = unsafe { scsi_status.byte_add(usize::from(places.sense)) };
        // SAFETY: it is a pointer; an SRB of the old kind is packed no closer than its fields, one of a test may be.
        let buffer = unsafe { place.cast::<*mut u8>().read_unaligned() };
        if buffer.is_null() {
            return 0;
        }
        let place = scsi_status.wrapping_add(usize::from(places.sense_length));
        // SAFETY: the address of the length in this request.
        let room = unsafe { place.read() };
        let length = sense.len().min(usize::from(room));
        // SAFETY: the request's sense buffer has as much room, and it is not part of `sense`.
        unsafe { ptr::copy_nonoverlapping(sense.as_ptr(), buffer, length) };
        // SAFETY: the address of the length in this request.
        unsafe { place.write(length as u8) };
        length
    }

    /// Answers [`SrbFunction::DumpPointers`]. Returns how many bytes that were; `None` when the request has no room for
    /// them.
    pub fn write_dump_pointers(&mut self, limits: &DumpLimits) -> Option<u32> {
        if self.function() != SrbFunction::DumpPointers {
            return None;
        }
        limits.fill(self.parameters())
    }

    /// Ends the request: writes into it how. It is given back with [`Port::complete`](crate::Port::complete).
    pub fn end(self, completion: Completion) -> Ended<C> {
        let Fields { srb, scsi_status, places, data_length, .. } = self.extension().fields;
        debug_assert!(
            completion.transferred <= data_length || self.function() != SrbFunction::ExecuteScsi,
            "more was transferred than asked for"
        );
        if !scsi_status.is_null() {
            // SAFETY: the address of the status byte in this request.
            unsafe { scsi_status.write(completion.scsi_status.0) };
        }
        let srb: NonNull<u8> = srb.cast();
        // SAFETY: the field lies inside the SRB.
        let length = unsafe { srb.byte_add(usize::from(places.transfer_length)) }.cast::<u32>();
        // SAFETY: the request is ours until the port driver is told that it is complete.
        let asked = unsafe { length.read() };
        // SAFETY: as above.
        unsafe { length.write(completion.data_transfer_length(asked)) };
        self.end_with(completion.srb_status_byte())
    }

    /// Ends a request of EXECUTE_SCSI of which everything was done: all of its data was moved, so that `DataTransferLength` is
    /// what it says already.
    #[inline(always)]
    pub fn succeed(self) -> Ended<C> {
        let Fields { scsi_status, .. } = self.extension().fields;
        if scsi_status.is_null() {
            // Of another function.
            return self.end(Completion::success(0));
        }
        // SAFETY: the address of the status byte in this request.
        unsafe { scsi_status.write(ScsiStatus::GOOD.0) };
        self.end_with(SrbStatus::SUCCESS.0)
    }

    #[inline(always)]
    fn end_with(self, srb_status: u8) -> Ended<C> {
        // SAFETY: both kinds of SRB have this byte in the same place.
        let status = unsafe { self.srb().cast::<u8>().byte_add(SRB_STATUS_AT) };
        // SAFETY: the request is ours until the port driver is told that it is complete.
        unsafe { status.write(srb_status) };
        Ended(self)
    }
}

impl<C> Request<C> {
    #[inline(always)]
    fn fields(&self) -> &Fields {
        // SAFETY: `new` wrote the extension, which is this request's alone.
        unsafe { &self.0.as_ref().fields }
    }
}

impl<C> Ended<C> {
    /// The SRB, which is not ours any more.
    #[inline]
    pub fn into_srb(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).0.fields().srb
    }
}

/// Stricter than StorPort: a driver that loses a request fails its test at the place where it does.
#[cfg(feature = "fake")]
impl<C> Drop for Request<C> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a request was dropped without being completed: {self:?}");
        }
    }
}
