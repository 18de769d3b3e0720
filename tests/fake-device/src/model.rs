//! What the requests of a device mean.

use super::{Chain, Ram, Violation};
use virtio::spec::Features;

/// A device type: what it offers, and how it answers requests.
pub trait Model: Send + 'static {
    /// Device type (section 5), from which the PCI device id follows.
    const DEVICE_TYPE: u16;

    /// PCI class code, in the upper three bytes.
    const PCI_CLASS: u32 = 0x0180_0000;

    /// How many queues there are.
    fn queue_count(&self) -> u16;

    /// Features of the device type that are offered.
    fn features(&self) -> Features;

    /// The device configuration structure.
    fn config(&self) -> Vec<u8>;

    /// The feature without which the configuration byte at `offset` does not exist.
    fn config_feature(&self, _offset: usize) -> Features {
        Features::empty()
    }

    /// A driver that accepted `features` writes to the configuration; returns whether it may, there and in this width.
    fn write_config(&mut self, _offset: usize, _width: u32, _value: u32, _features: Features) -> bool {
        false
    }

    /// The device has taken a request, which it will answer later.
    fn arrives(&mut self, _queue: u16, _request: &mut Request<'_>) {}

    /// The requests that this one ends, and that the device answers before it: queue and id of each. Those that the device
    /// does not have are passed over.
    fn ends(&mut self, _queue: u16, _request: &Request<'_>) -> Vec<(u16, u16)> {
        Vec::new()
    }

    /// Answers a request.
    fn serve(&mut self, queue: u16, request: &mut Request<'_>) -> Served;

    /// What a buffer of a chain is, for people.
    fn label(&self, _queue: u16, _chain: &Chain, _position: usize) -> &'static str {
        "buffer"
    }

    /// The device was reset.
    fn reset(&mut self) {}
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It is answered.
    Done,
    /// The device keeps it, as it does with buffers for events.
    Kept,
}

/// A request: the bytes of its chain, and a record of what was written.
pub struct Request<'a> {
    ram: &'a Ram,
    chain: &'a Chain,
    features: Features,
    /// Bytes from the start of the writable part on that were written.
    pub(super) written: usize,
    pub(super) violations: Vec<Violation>,
    /// The model answered with an error.
    pub failed: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(ram: &'a Ram, chain: &'a Chain, features: Features) -> Self {
        Self { ram, chain, features, written: 0, violations: Vec::new(), failed: false }
    }

    /// The features that were negotiated.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The chain.
    pub fn chain(&self) -> &'a Chain {
        self.chain
    }

    /// Everything the device may read.
    pub fn readable(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in self.chain.pieces.iter().filter(|piece| !piece.writable) {
            let start = bytes.len();
            bytes.resize(start + piece.length as usize, 0);
            self.ram.read(piece.address, &mut bytes[start..]).expect("the walk checked the address");
        }
        bytes
    }

    /// Bytes the device may write.
    pub fn writable_bytes(&self) -> usize {
        self.chain.writable_bytes()
    }

    /// Writes at an offset of the writable part. What does not fit is left out.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut start = 0_usize;
        for piece in self.chain.pieces.iter().filter(|piece| piece.writable) {
            let end = start + piece.length as usize;
            let from = offset.max(start);
            let to = (offset + bytes.len()).min(end);
            if from < to {
                let address = piece.address + (from - start) as u64;
                self.ram
                    .write(address, &bytes[from - offset..to - offset])
                    .expect("the walk checked the address");
                self.written = self.written.max(to);
            }
            start = end;
        }
    }

    /// Writes behind the last buffer, where nothing of this request is.
    pub fn write_past_the_end(&mut self, bytes: &[u8]) {
        if let Some(last) = self.chain.pieces.last() {
            let address = last.address + u64::from(last.length);
            // There may be nothing at all.
            let _ = self.ram.write(address, bytes);
        }
    }

    /// Notes that the request breaks a rule of the device type unless `kept` holds.
    pub fn rule(&mut self, kept: bool, rule: &str) {
        if !kept {
            self.violations.push(Violation::Request(rule.to_owned()));
        }
    }
}
