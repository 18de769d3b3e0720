//! The driver's own half of a slot: what it has to know of a request, in memory the device cannot reach.

/// No slot, no table.
pub(crate) const NONE: u16 = u16::MAX;

/// One slot. Its number is the request's id and the index of its head descriptor.
#[derive(Debug)]
pub struct Slot<T> {
    /// The request; `Some` exactly while the device has it.
    pub(crate) token: Option<T>,
    /// Bytes the device may write: response and data.
    pub(crate) writable: u32,
    /// Bytes the device may say it wrote; more than `writable` only where the shape says so.
    pub(crate) claimable: u32,
    /// The large table in use, or `NONE`.
    pub(crate) large: u16,
    /// The head descriptor points at a large table and has to be turned back.
    pub(crate) redirected: bool,
    /// The next free slot, or `NONE`.
    pub(crate) next_free: u16,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { token: None, writable: 0, claimable: 0, large: NONE, redirected: false, next_free: NONE }
    }
}
