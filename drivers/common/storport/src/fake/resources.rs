//! The fake's [`Resources`]: an adapter made of closures.

use std::ffi::CStr;

use virtio::memory::Region;
use virtio::transport::{Bar, ConfigSpace};

use super::port::FakePort;
use crate::port::{Configuration, PRIVATE_ALIGNMENT, Resources};

/// All the memory there is in dump mode ("Restrictions on Miniport Drivers that Manage the Boot Drive").
const DUMP_BYTES: usize = 32 << 10;

/// The resources of an adapter in memory.
pub struct FakeResources<'a, B, S> {
    /// The port driver the adapter gets.
    pub port: FakePort<B>,
    /// Its PCI configuration space.
    pub config_space: S,
    /// Maps a base address register.
    pub map_bar: Box<dyn FnMut(u8) -> Option<B> + 'a>,
    /// Allocates the uncached extension; `None` plays a machine without memory.
    pub allocate: Box<dyn FnMut(usize) -> Option<Region> + 'a>,
    /// What the miniport told about itself.
    pub configuration: Option<Configuration>,
    /// Processors that are active.
    pub processors: u16,
    /// Bytes of private memory that are left.
    pub private_room: usize,
    /// Where the function is.
    pub place: (u32, u32),
    /// Whether there is an uncached extension.
    pub has_memory: bool,
}

impl<B: Bar + Send + Sync + 'static, S: ConfigSpace + Clone> Resources for FakeResources<'_, B, S> {
    type Port = FakePort<B>;
    type ConfigSpace = S;

    fn port(&self) -> FakePort<B> {
        self.port.clone()
    }

    fn config_space(&self) -> S {
        self.config_space.clone()
    }

    fn map_bar(&mut self, index: u8) -> Option<B> {
        (self.map_bar)(index)
    }

    fn private<T: Send>(
        &mut self,
        count: usize,
        make: impl FnMut(usize) -> Option<T>,
    ) -> Option<&'static mut [T]> {
        let bytes = (count * size_of::<T>()).next_multiple_of(PRIVATE_ALIGNMENT);
        self.private_room = self.private_room.checked_sub(bytes).expect("there is as much as was asked for");
        let values: Box<[T]> = (0..count).map(make).collect::<Option<_>>()?;
        Some(Box::leak(values))
    }

    fn private_room(&self) -> usize {
        self.private_room
    }

    fn queues(&self) -> u16 {
        self.processors
    }

    fn place(&self) -> (u32, u32) {
        self.place
    }

    fn dump_mode(&self) -> bool {
        self.port.is_for_dump()
    }

    fn parameter(&mut self, name: &CStr) -> Option<u32> {
        self.port.parameter(name.to_str().ok()?)
    }

    fn configure(&mut self, configuration: &Configuration) {
        assert!(!self.has_memory, "the port driver was configured when it had used what it was told");
        self.configuration = Some(*configuration);
    }

    fn uncached_extension(&mut self, bytes: usize) -> Option<Region> {
        assert!(self.configuration.is_some(), "the uncached extension comes after the configuration");
        assert!(bytes.is_multiple_of(8), "the last {} bytes would be out of reach", bytes % 8);
        if self.dump_mode() && bytes > DUMP_BYTES {
            return None;
        }
        assert!(!self.has_memory, "there is one uncached extension");
        let memory = (self.allocate)(bytes);
        self.has_memory = memory.is_some();
        memory
    }
}
