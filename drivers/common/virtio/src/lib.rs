//! The guest side of virtio over PCI: device, rings, request slots. No operating system, no allocation.
//!
//! ```text
//!   driver memory (device cannot reach it)          shared memory (device reads and writes it)
//!   ┌─ RequestQueue ──────────────┐   descriptor ─► table of slot i ─► header ─► data … ─► response
//!   │ Slot 0: token, what it may  │   ┌───────────────────────────┬──────────────────┬───────────┬────────┐
//!   │         write, where its    │   │ ring: split or packed     │ table and header │ responses │ large  │
//!   │         descriptors are     │   │ (three areas, 2.6)        │ of slots 0..n    │           │ tables │
//!   │ Slot 1 …                    │   └───────────────────────────┴──────────────────┴───────────┴────────┘
//!   └─────────────────────────────┘
//! ```
//!
//! - A request takes a free slot, which owns a header, a response and a table of descriptors in shared memory for ever.
//!   The slot's number is the request's id: in a split ring the head descriptor, which points at the slot's table and
//!   changes only for other requests than short ones; in a packed ring the buffer id.
//! - Requests with many segments borrow a large table. Where there is none, or the device takes no tables, the chain goes
//!   into the ring's own descriptors.
//! - The driver keeps everything it needs in its own memory ([`queue::Slot`]). What the device writes, a used id and a
//!   length, is a claim: it is checked against the slot, and a lie is a [`queue::DeviceFault`].
//! - Events have a queue of their own ([`queue::EventQueue`]): buffers that the device fills, and gets back.
//! - Who owns what: a slot's memory is the driver's while the slot is free or being filled, the device's from
//!   [`publish`](queue::RequestQueue::publish) until the used entry is taken, or until the device was reset.
//!
//! Reading order: [`memory`] (the only unsafe), [`spec`], [`transport`] (find, negotiate, start), [`interrupts`], [`queue`].
//! Section numbers are those of virtio 1.3. The device for tests, at register level, is a crate of its own, `fake-device`.
//!
#![doc = include_str!("../CONFORMANCE.md")]
#![cfg_attr(not(test), no_std)]
#![deny(missing_docs)]

pub mod interrupts;
pub mod memory;
pub mod queue;
pub mod spec;
pub mod transport;
