//! The fake's SRBs: memory for all that a [`Request`] points at, and what is in it when it comes back.
//!
//! UNSAFETY: the port driver's side of a request, which is pointers.

use std::mem::{MaybeUninit, offset_of};
use std::ptr::{self, NonNull};

use fake_device::Ram;
use virtio::memory::Segment;

use crate::request::{Element, Ended, Extension, Fields, Places, Request, SrbId};
use crate::srb::{
    Address, Completion, DataDirection, DumpLimits, Queueing, ScsiStatus, SrbFunction, SrbStatus,
};

/// How one request came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The number the request was given.
    pub tag: u64,
    /// How it ended.
    pub completion: Completion,
    /// What its length field says then.
    pub data_transfer_length: u32,
    /// Its mapped buffer.
    pub data: Vec<u8>,
    /// Its sense buffer, as far as it was written.
    pub sense: Vec<u8>,
    /// What the miniport said for itself in dump mode, when it was asked.
    pub dump_pointers: Option<DumpLimits>,
}

/// Describes a request before it is handed to a miniport.
#[derive(Clone, Debug)]
pub struct SrbBuilder {
    function: SrbFunction,
    address: Address,
    cdb: Vec<u8>,
    direction: DataDirection,
    queueing: Queueing,
    segments: Vec<Segment>,
    data: Vec<u8>,
    data_length: u32,
    sense_room: usize,
    tag: u64,
    aborted: Option<SrbId>,
}

impl SrbBuilder {
    /// A request with this CDB, for bus 0, target 0, unit 0, without data.
    pub fn execute(cdb: &[u8]) -> Self {
        Self::function(SrbFunction::ExecuteScsi).with_cdb(cdb)
    }

    /// A request for this function.
    pub fn function(function: SrbFunction) -> Self {
        Self {
            function,
            address: Address::default(),
            cdb: Vec::new(),
            direction: DataDirection::None,
            queueing: Queueing::default(),
            segments: Vec::new(),
            data: Vec::new(),
            data_length: 0,
            sense_room: 18,
            tag: 0,
            aborted: None,
        }
    }

    /// A request for this one to be aborted (`NextSrb`).
    pub fn abort(request: SrbId) -> Self {
        Self { aborted: Some(request), ..Self::function(SrbFunction::AbortCommand) }
    }

    fn with_cdb(mut self, cdb: &[u8]) -> Self {
        self.cdb = cdb.to_vec();
        self
    }

    /// For another unit.
    #[must_use]
    pub fn to(mut self, path: u8, target: u8, lun: u8) -> Self {
        self.address = Address { path, target, lun };
        self
    }

    /// About the data block of this GUID, as it lies in memory ([`SrbFunction::Wmi`]).
    #[must_use]
    pub fn about(mut self, guid: &[u8; 16]) -> Self {
        self.cdb = guid.to_vec();
        self
    }

    /// To be queued like this.
    #[must_use]
    pub fn queued(mut self, queueing: Queueing) -> Self {
        self.queueing = queueing;
        self
    }

    /// With a buffer that the device reads or writes.
    #[must_use]
    pub fn with_segments(mut self, direction: DataDirection, segments: &[Segment]) -> Self {
        self.direction = direction;
        self.segments = segments.to_vec();
        self.data_length = segments.iter().map(|segment| segment.length).sum();
        self
    }

    /// With a mapped buffer of `length` bytes that the miniport fills.
    #[must_use]
    pub fn with_data_in(mut self, length: usize) -> Self {
        self.direction = DataDirection::In;
        self.data = vec![0xee; length];
        self.data_length = length as u32;
        self
    }

    /// With a mapped buffer that the miniport reads.
    #[must_use]
    pub fn with_data_out(mut self, data: &[u8]) -> Self {
        self.direction = DataDirection::Out;
        self.data = data.to_vec();
        self.data_length = data.len() as u32;
        self
    }

    /// With both flags of a direction (`SRB_FLAGS_UNSPECIFIED_DIRECTION`).
    #[must_use]
    pub fn with_unspecified_direction(mut self) -> Self {
        self.direction = DataDirection::of_cdb(&self.cdb);
        self
    }

    /// With neither flag of a direction, whatever buffer there is.
    #[must_use]
    pub fn with_no_direction(mut self) -> Self {
        self.direction = DataDirection::None;
        self
    }

    /// With room for this many bytes of sense data.
    #[must_use]
    pub fn with_sense_room(mut self, bytes: usize) -> Self {
        self.sense_room = bytes;
        self
    }

    /// With a number that tells the request from others.
    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// The request.
    pub fn build<C: Copy>(self) -> Request<C> {
        self.mapped_in(None)
    }

    /// The request; the data of a read or write is mapped if it lies in this memory.
    pub(super) fn mapped_in<C: Copy>(mut self, memory: Option<Ram>) -> Request<C> {
        if let Some(memory) = &memory
            && self.data.is_empty()
        {
            for segment in &self.segments {
                let mut part = vec![0; segment.length as usize];
                memory.read(segment.address, &mut part).expect("the buffer lies in the memory");
                self.data.append(&mut part);
            }
        }
        let is_scsi = self.function == SrbFunction::ExecuteScsi;
        let data = self.data.clone();
        let elements = self.segments.iter();
        let elements = elements.map(|&Segment { address, length }| Element { address, length, reserved: 0 });
        let srb = NonNull::from(Box::leak(Box::new(Srb::<C> {
            block: Block {
                length: 0,
                function: 0,
                srb_status: PENDING,
                transfer_length: self.transfer_length(),
                buffer: ptr::null_mut(),
            },
            status: Status { scsi_status: 0, sense_length: self.sense_room as u8, sense: ptr::null_mut() },
            extension: MaybeUninit::uninit(),
            elements: elements.collect(),
            sense: vec![UNWRITTEN; self.sense_room],
            data,
            request: self,
            memory,
        })));
        let pointer = srb.as_ptr();
        // SAFETY: the memory was just leaked, and belongs to the request until it is completed.
        let this = unsafe { &mut *pointer };
        if !this.sense.is_empty() {
            this.status.sense = this.sense.as_mut_ptr();
        }
        this.block.buffer = match this.request.aborted {
            Some(SrbId(address)) => ptr::without_provenance_mut(address),
            None if this.data.is_empty() => ptr::null_mut(),
            None => this.data.as_mut_ptr(),
        };
        let fields = Fields {
            srb: srb.cast(),
            scsi_status: if is_scsi { &raw mut this.status.scsi_status } else { ptr::null_mut() },
            cdb: if this.request.cdb.is_empty() { ptr::null() } else { this.request.cdb.as_ptr() },
            function: this.request.function,
            data_length: if is_scsi { this.request.data_length } else { 0 },
            parameter_length: if is_scsi { 0 } else { this.data.len() as u32 },
            address: this.request.address,
            direction: if is_scsi { this.request.direction } else { DataDirection::None },
            queueing: this.request.queueing,
            cdb_bytes: this.request.cdb.len() as u8,
            places: Places {
                transfer_length: offset_of!(Block, transfer_length) as u8,
                buffer: offset_of!(Block, buffer) as u8,
                sense_length: offset_of!(Status, sense_length) as u8,
                sense: offset_of!(Status, sense) as u8,
            },
        };
        let extension = NonNull::from(&mut this.extension).cast::<Extension<C>>();
        // SAFETY: the extension is this request's alone; what the fields point at stays until `finish`.
        unsafe { Request::new(extension, fields) }
    }

    fn transfer_length(&self) -> u32 {
        if self.function == SrbFunction::ExecuteScsi { self.data_length } else { self.data.len() as u32 }
    }
}

/// What `SrbStatus` is before a request ends.
const PENDING: u8 = SrbStatus::PENDING.0;
/// What a sense buffer is full of.
const UNWRITTEN: u8 = 0xa5;

/// The part of an SRB that is the same in both kinds: `SrbStatus` in its place.
#[derive(Debug)]
#[repr(C)]
struct Block {
    length: u16,
    function: u8,
    srb_status: u8,
    transfer_length: u32,
    buffer: *mut u8,
}

/// The part that a SCSI command has.
#[derive(Debug)]
#[repr(C)]
struct Status {
    scsi_status: u8,
    sense_length: u8,
    sense: *mut u8,
}

/// An SRB and all that belongs to it.
#[repr(C)]
struct Srb<C> {
    block: Block,
    status: Status,
    extension: MaybeUninit<Extension<C>>,
    elements: Vec<Element>,
    sense: Vec<u8>,
    /// The mapped buffer, or the structure that comes with the function.
    data: Vec<u8>,
    /// As it was asked for; its data is what the buffer held at first.
    request: SrbBuilder,
    /// Where the segments are, if they are mapped.
    memory: Option<Ram>,
}

/// What the port driver does between `build_io` and `start_io`.
pub(super) fn prepare<C: Copy>(request: &mut Request<C>) {
    let srb: *mut Srb<C> = request.srb().cast().as_ptr();
    // SAFETY: the request was made by `mapped_in`, so this is its SRB.
    let elements = unsafe { &(*srb).elements };
    // SAFETY: as above.
    let maps_all = unsafe { (*srb).memory.is_some() };
    let (first, count) = (elements.as_ptr(), elements.len() as u32);
    // SAFETY: the list stays until the request is completed.
    unsafe { request.prepare(first, count) };
    if maps_all {
        // SAFETY: the data is in the mapped buffer as well.
        unsafe { request.set_mapped() };
    }
}

/// Takes a request back that has ended.
pub(super) fn finish<C>(ended: Ended<C>) -> Completed {
    let srb: NonNull<Srb<C>> = ended.into_srb().cast();
    // SAFETY: the request was made by `mapped_in` and ends here, so this is its SRB, and nobody uses it any more.
    let srb = unsafe { Box::from_raw(srb.as_ptr()) };
    let autosense = srb.block.srb_status & 0x80 != 0;
    let status = SrbStatus(srb.block.srb_status & !0x80);
    assert_ne!(status, SrbStatus::PENDING, "a request was completed that has not ended");
    let written = srb.sense.iter().any(|byte| *byte != UNWRITTEN);
    assert_eq!(autosense, written, "the autosense bit must say whether there is sense");
    srb.write_back();
    // A request that comes back busy keeps its length, and nothing was moved.
    let transferred = if status == SrbStatus::BUSY { 0 } else { srb.block.transfer_length };
    let scsi_status = ScsiStatus(srb.status.scsi_status);
    Completed {
        tag: srb.request.tag,
        completion: Completion { status, scsi_status, transferred, autosense },
        data_transfer_length: srb.block.transfer_length,
        sense: if autosense { srb.sense[..srb.status.sense_length.into()].to_vec() } else { Vec::new() },
        dump_pointers: srb.dump_pointers(),
        data: srb.data,
    }
}

impl<C> Srb<C> {
    /// What the miniport has put into a mapped buffer lies in the memory.
    fn write_back(&self) {
        let Some(memory) = &self.memory else { return };
        if self.request.direction != DataDirection::In || self.request.segments.is_empty() {
            return;
        }
        // What it has not touched is the device's.
        let mut changed = self.data.iter().zip(&self.request.data);
        for segment in &self.request.segments {
            for at in 0..u64::from(segment.length) {
                let Some((after, before)) = changed.next() else { return };
                if after != before {
                    memory.write(segment.address + at, &[*after]).expect("the buffer lies in the memory");
                }
            }
        }
    }

    /// What the miniport said for itself in dump mode, if it was asked and answered.
    fn dump_pointers(&self) -> Option<DumpLimits> {
        let word = |at: usize| Some(u32::from_ne_bytes(self.data.get(at..at + 4)?.try_into().ok()?));
        if self.request.function != SrbFunction::DumpPointers || self.data == self.request.data {
            return None;
        }
        Some(DumpLimits {
            max_transfer_bytes: word(DumpLimits::MAXIMUM_TRANSFER_LENGTH)?,
            max_segments: word(DumpLimits::NUMBER_OF_PHYSICAL_BREAKS)? + 1,
        })
    }
}

/// Gives a request up without completing it, where a test ends with requests outstanding.
pub fn forget<C>(request: Request<C>) {
    std::mem::forget(request);
}
