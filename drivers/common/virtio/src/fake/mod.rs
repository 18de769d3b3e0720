//! A virtio-pci device in memory, for host tests.

mod ram;

pub use ram::Ram;
