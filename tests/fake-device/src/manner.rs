//! Habits of devices in the field.
//!
//! A [`Lie`](super::Lie) breaks the rules to see what a driver makes of it. A manner is what a device really does, right or
//! wrong, and drivers have to work with it: with each of them the same scenario has to pass as with a device without any. So
//! every manner names the public source that it was read in.

use super::Options;

/// A request that was answered, as far as the used length could be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of the first buffer
    pub first: u32,
    /// Bytes of all buffers that the device reads
    pub readable: u32,
    /// Bytes of all buffers that the device writes
    pub writable: u32,
    /// Bytes from the start of those up to the last one that was written
    pub written: u32,
    /// The model answered with an error
    pub failed: bool,
}

/// How a device of type `M` is, and what it does besides.
pub struct Manner<M> {
    /// For the output of a test
    pub name: &'static str,
    /// Where it was seen: repository, file, and what stands there
    pub source: &'static str,
    /// What the device is like
    pub prepare: fn(&mut M, &mut Options),
    /// What it says of the bytes it has written; `None` is the truth
    pub used_length: Option<fn(Answered) -> u32>,
}

impl<M> Manner<M> {
    /// A device of this manner, before a driver has seen it.
    pub fn apply(&self, mut model: M, mut options: Options) -> (M, Options) {
        (self.prepare)(&mut model, &mut options);
        (model, options)
    }
}
