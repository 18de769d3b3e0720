//! The fake's request.

use std::thread;

use fake_device::Ram;
use virtio::memory::Segment;

use super::port::Completed;
use crate::srb::{Address, Completion, DataDirection, DumpLimits, Queueing, Srb, SrbFunction};

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
        }
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
    pub fn build<C>(self) -> FakeSrb<C> {
        self.mapped_in(None)
    }

    /// The request; the data of a read or write is mapped if it lies in this memory.
    pub(super) fn mapped_in<C>(self, memory: Option<Ram>) -> FakeSrb<C> {
        FakeSrb(Box::new(State {
            request: self,
            memory,
            looked_at: false,
            sense: Vec::new(),
            dump_pointers: None,
            command: None,
            next: None,
            completed: false,
        }))
    }
}

/// A request of the fake port driver.
#[derive(Debug)]
pub struct FakeSrb<C>(Box<State<C>>);

#[derive(Debug)]
struct State<C> {
    request: SrbBuilder,
    /// Where the segments are, if they are mapped.
    memory: Option<Ram>,
    /// The miniport has looked at the segments' content, which lies in `request.data` since.
    looked_at: bool,
    sense: Vec<u8>,
    dump_pointers: Option<DumpLimits>,
    command: Option<C>,
    next: Option<FakeSrb<C>>,
    completed: bool,
}

impl<C> FakeSrb<C> {
    /// A request with this CDB and nothing else.
    pub fn execute(cdb: &[u8]) -> Self {
        SrbBuilder::execute(cdb).build()
    }

    /// What the request leaves behind when it is completed.
    pub(super) fn finish(mut self, completion: Completion) -> Completed {
        assert!(self.0.next.is_none(), "a request was completed while another was linked behind it");
        self.0.completed = true;
        if self.0.looked_at {
            self.write_back();
        }
        Completed {
            tag: self.0.request.tag,
            completion,
            data_transfer_length: completion.data_transfer_length(self.0.request.data_length),
            data: core::mem::take(&mut self.0.request.data),
            sense: core::mem::take(&mut self.0.sense),
            dump_pointers: self.0.dump_pointers,
        }
    }

    /// What the miniport has put into a mapped buffer lies in the memory.
    fn write_back(&mut self) {
        let State { request, memory, .. } = &*self.0;
        let Some(memory) = memory else { return };
        let mut rest = &request.data[..];
        for segment in &request.segments {
            let (part, others) = rest.split_at(segment.length as usize);
            if request.direction == DataDirection::In {
                memory.write(segment.address, part).expect("the buffer lies in the memory");
            }
            rest = others;
        }
    }

    /// Gives the request up without completing it, where a test ends with requests outstanding.
    pub fn forget(mut self) {
        self.0.completed = true;
    }
}

impl<C> Drop for State<C> {
    fn drop(&mut self) {
        if !self.completed && !thread::panicking() {
            panic!(
                "request {} ({:02x?}) was dropped without being completed",
                self.request.tag, self.request.cdb
            );
        }
    }
}

impl<C: Copy + Send> Srb<C> for FakeSrb<C> {
    fn function(&self) -> SrbFunction {
        self.0.request.function
    }

    fn address(&self) -> Address {
        self.0.request.address
    }

    fn cdb(&self) -> &[u8] {
        &self.0.request.cdb
    }

    fn direction(&self) -> DataDirection {
        self.0.request.direction
    }

    fn queueing(&self) -> Queueing {
        self.0.request.queueing
    }

    fn data_length(&self) -> u32 {
        self.0.request.data_length
    }

    fn segments(&self) -> impl ExactSizeIterator<Item = Segment> {
        assert!(self.0.command.is_some(), "the scatter/gather list was asked for before start_io");
        self.0.request.segments.iter().copied()
    }

    fn data(&mut self) -> &mut [u8] {
        let State { request, memory, looked_at, command, .. } = &mut *self.0;
        if let Some(memory) = memory
            && command.is_some()
            && !request.segments.is_empty()
            && !*looked_at
        {
            *looked_at = true;
            for segment in &request.segments {
                let mut part = vec![0; segment.length as usize];
                memory.read(segment.address, &mut part).expect("the buffer lies in the memory");
                request.data.append(&mut part);
            }
        }
        &mut request.data
    }

    fn parameters(&mut self) -> &mut [u8] {
        assert_ne!(self.0.request.function, SrbFunction::ExecuteScsi, "a SCSI command has data instead");
        &mut self.0.request.data
    }

    fn command(&self) -> Option<C> {
        self.0.command
    }

    fn set_command(&mut self, command: C) {
        self.0.command = Some(command);
    }

    fn write_sense(&mut self, sense: &[u8]) -> usize {
        let length = sense.len().min(self.0.request.sense_room);
        self.0.sense = sense[..length].to_vec();
        length
    }

    fn write_dump_pointers(&mut self, limits: &DumpLimits) -> Option<u32> {
        /// sizeof(MINIPORT_DUMP_POINTERS)
        const BYTES: u32 = 112;
        assert_eq!(self.0.request.function, SrbFunction::DumpPointers, "nobody asked for it");
        if self.0.request.data.len() < BYTES as usize {
            return None;
        }
        self.0.dump_pointers = Some(*limits);
        Some(BYTES)
    }

    fn take_next(&mut self) -> Option<Self> {
        self.0.next.take()
    }

    fn set_next(&mut self, next: Option<Self>) {
        assert!(self.0.next.is_none(), "a linked request was lost");
        self.0.next = next;
    }
}
