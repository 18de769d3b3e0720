//! The guest side of virtio over PCI: device, split ring, request slots. No operating system, no allocation.
//!
//! ```text
//!   driver memory (device cannot reach it)          shared memory (device reads and writes it)
//!   ┌─ RequestQueue ──────────────┐   descriptor i ──► table of slot i ─► header ─► data … ─► response
//!   │ Slot 0: token, what it may  │   ┌──────────────┬───────────┬───────────┬─────────┬────────────┐
//!   │         write, which table  │   │ descriptors  │ available │ used ring │ slots   │ large      │
//!   │ Slot 1 …                    │   │ (never change)│ ring      │ (device)  │ 0..size │ tables     │
//!   └─────────────────────────────┘   └──────────────┴───────────┴───────────┴─────────┴────────────┘
//! ```
//!
//! - Slot = tag = head descriptor. A request takes a free slot, which owns a header, a response and an indirect table in
//!   shared memory for ever; descriptor `i` of the ring points at slot `i`'s table and never changes for short
//!   requests. Requests with many segments borrow a large table.
//! - The driver keeps everything it needs in its own memory ([`queue::Slot`]). What the device writes, a used id and a
//!   length, is a claim: it is checked against the slot, and a lie is a [`queue::DeviceFault`].
//! - Who owns what: a slot's memory is the driver's while the slot is free or being filled, the device's from
//!   [`publish`](queue::RequestQueue::publish) until the used entry is taken, or until the device was reset.
//!
//! Reading order: [`memory`] (the only unsafe), [`spec`], [`transport`] (find, negotiate, start), [`queue`]; `fake`
//! (feature `fake`) is the device for tests, at register level. Section numbers are those of virtio 1.3.
#![cfg_attr(not(any(test, feature = "fake")), no_std)]
#![deny(missing_docs)]

pub mod memory;
pub mod queue;
pub mod spec;
pub mod transport;

#[cfg(feature = "fake")]
pub mod fake;
