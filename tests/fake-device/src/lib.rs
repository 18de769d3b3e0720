//! A virtio-pci device in memory, for tests of the virtio crate and of the drivers.
//!
//! ```text
//!   driver ── ConfigSpace ──► FakeConfigSpace   capability list, MSI-X capability, ids
//!          ── Bar ──────────► FakeBar           common, notify, isr and device structure, register by register;
//!                                               or those of a legacy device
//!          ── SharedMemory ─► Ram ◄──────────── rings, split or packed, and chains, walked and checked
//!                                               Model: what the requests mean (disk::Disk, hba::Hba)
//! ```
//!
//! [`FakeDevice`] follows the specification to the letter and is stricter than hardware: whatever the driver does that
//! the specification forbids becomes a [`Violation`], and a test ends with
//! [`assert_no_violations`](FakeDevice::assert_no_violations). Nothing runs by itself: a notification is remembered
//! until the test calls [`run`](FakeDevice::run), and interrupts are collected until the test takes them, so every
//! order of events can be played, and a forgotten notification shows as a request that never ends.
//!
//! It lies when told to ([`Lie`]): then the question is what the driver makes of it. And it can have the habits of a device
//! in the field ([`Manner`], [`DISK_MANNERS`], [`HBA_MANNERS`]): those have to make no difference.
#![deny(missing_docs)]

mod chain;
mod config_access;
mod config_space;
mod device;
pub mod disk;
pub mod hba;
mod legacy_registers;
mod lie;
mod manners;
mod model;
mod packed_ring;
mod queue;
mod queue_resets;
mod ram;
mod registers;
mod split_ring;
mod violation;

pub use chain::{Chain, Piece};
pub use config_access::FakeConfigAccess;
pub use config_space::FakeConfigSpace;
pub use device::{FakeDevice, Interrupt, Options, Order};
pub use lie::Lie;
pub use manners::{Answered, DISK_MANNERS, HBA_MANNERS, Manner};
pub use model::{Model, Request, Served};
pub use ram::{Ram, leak};
pub use registers::FakeBar;
pub use violation::Violation;
