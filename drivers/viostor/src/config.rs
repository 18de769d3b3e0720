//! What the device says of itself (virtio 1.3, 5.2.4), and what follows for StorPort.

use adapter::{Limits, Probe};
use virtio::spec::blk::ZonedModel;
use virtio::spec::{Features, blk};

use crate::identity::Location;
use crate::limits::{Geometry, RangeLimits, Topology, WriteZeroes, is_conventional};
use crate::units::{BlockSize, SECTOR_BYTES, Sectors};

/// virtio-blk features that are used when offered.
pub(crate) const FEATURES: Features = Features::BLK_SIZE_MAX
    .union(Features::BLK_SEG_MAX)
    .union(Features::BLK_GEOMETRY)
    .union(Features::BLK_RO)
    .union(Features::BLK_BLK_SIZE)
    .union(Features::BLK_FLUSH)
    .union(Features::BLK_DISCARD)
    .union(Features::BLK_WRITE_ZEROES)
    .union(Features::BLK_SECURE_ERASE)
    .union(Features::BLK_TOPOLOGY)
    .union(Features::BLK_MQ)
    .union(Features::BLK_CONFIG_WCE)
    .union(Features::BLK_LIFETIME)
    .union(Features::BLK_ZONED);

/// Log numbers for configurations that cannot be used.
pub mod declined {
    /// The configuration structure ends before a field that belongs to it.
    pub const CONFIG_TOO_SHORT: u32 = 100;
    /// The logical block size is not a power of two between 512 and 4096.
    pub const BLOCK_SIZE: u32 = 101;
    /// The disk has no whole block.
    pub const NO_CAPACITY: u32 = 102;
    /// A segment may not even hold a page.
    pub const SEGMENT_SIZE: u32 = 103;
    /// The disk has zones that must be written in order (host-managed), which Windows' file systems do not do.
    pub const HOST_MANAGED: u32 = 104;
}

/// The disk behind the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Size of a logical block.
    pub block_size: BlockSize,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Writing is refused.
    pub read_only: bool,
    /// A completed write may still be in a volatile cache until a flush.
    pub write_cache: bool,
    /// The device takes flushes. They are sent whatever [`write_cache`](Self::write_cache) says: to a disk that writes through
    /// they cost little, and where `writeback` is not what the device does (qemu-storage-daemon has it at 0) they save data.
    pub flushes: bool,
    /// [`write_cache`](Self::write_cache) as it was found after the reset.
    pub default_write_cache: bool,
    /// MODE SELECT may change [`write_cache`](Self::write_cache).
    pub write_cache_changes: bool,
    /// Longest transfer in logical blocks, as far as the device's own limits say; 0 when they say nothing.
    pub max_transfer_blocks: u32,
    /// Physical blocks and advice on transfers.
    pub topology: Topology,
    /// Cylinders and heads.
    pub geometry: Option<Geometry>,
    /// The discard command.
    pub discard: Option<RangeLimits>,
    /// The write zeroes command.
    pub write_zeroes: Option<WriteZeroes>,
    /// The secure erase command.
    pub secure_erase: Option<RangeLimits>,
    /// The device tells how worn it is.
    pub lifetime: bool,
    /// Where it is plugged in, as far as the adapter knows.
    pub location: Option<Location>,
}

impl Disk {
    /// Most logical blocks of one WRITE SAME. It has to end in time, whatever is written: as much as (10) can name, or what
    /// the device writes zeroes to in one request.
    pub(crate) fn max_write_same_blocks(&self) -> u64 {
        let zeroes = self.write_zeroes.map_or(0, |zeroes| zeroes.limits.blocks_per_request(self.block_size));
        zeroes.clamp(u64::from(u16::MAX), u64::from(u32::MAX))
    }
}

/// 1 GiB in blocks of 512 bytes, with a volatile cache and nothing else.
#[cfg(test)]
pub(crate) fn disk_for_tests() -> Disk {
    Disk {
        block_size: BlockSize::new(512).expect("a block size"),
        blocks: 1 << 21,
        read_only: false,
        write_cache: true,
        flushes: true,
        default_write_cache: true,
        write_cache_changes: false,
        max_transfer_blocks: 0,
        topology: Topology::default(),
        geometry: None,
        discard: None,
        write_zeroes: None,
        secure_erase: None,
        lifetime: false,
        location: None,
    }
}

/// Without SEG_MAX the device names no limit but the queue's size (virtio 1.3, 5.2.3).
const SEGMENTS_UNLIMITED: u32 = u32::MAX;

/// Smallest unit of memory a segment is made of.
const PAGE_BYTES: u32 = 4096;

/// What is read of a configuration. A structure that ends before a field of an accepted feature is not to be trusted in
/// any other.
struct Fields<'p, P> {
    probe: &'p P,
    block_size: BlockSize,
}

impl<P: Probe> Fields<'_, P> {
    fn has(&self, feature: Features) -> bool {
        self.probe.features().contains(feature)
    }

    fn byte(&self, offset: usize) -> Result<u8, u32> {
        bytes(self.probe, offset).map(|[byte]| byte)
    }

    fn half(&self, offset: usize) -> Result<u16, u32> {
        bytes(self.probe, offset).map(u16::from_le_bytes)
    }

    fn word(&self, offset: usize) -> Result<u32, u32> {
        bytes(self.probe, offset).map(u32::from_le_bytes)
    }

    fn optional(&self, feature: Features, offset: usize, otherwise: u32) -> Result<u32, u32> {
        if self.has(feature) { self.word(offset) } else { Ok(otherwise) }
    }

    fn topology(&self, max_blocks: u32) -> Result<Topology, u32> {
        if !self.has(Features::BLK_TOPOLOGY) {
            return Ok(Topology::default());
        }
        Ok(Topology::new(
            self.byte(blk::config::PHYSICAL_BLOCK_EXP)?,
            self.byte(blk::config::ALIGNMENT_OFFSET)?,
            self.half(blk::config::MIN_IO_SIZE)?,
            self.word(blk::config::OPT_IO_SIZE)?,
            max_blocks,
        ))
    }

    fn geometry(&self) -> Result<Option<Geometry>, u32> {
        if !self.has(Features::BLK_GEOMETRY) {
            return Ok(None);
        }
        let (heads, sectors) = (self.byte(blk::config::HEADS)?, self.byte(blk::config::SECTORS)?);
        Ok(Geometry::new(self.half(blk::config::CYLINDERS)?, heads, sectors))
    }

    fn discard(&self) -> Result<Option<RangeLimits>, u32> {
        self.ranges(
            Features::BLK_DISCARD,
            blk::config::MAX_DISCARD_SECTORS,
            blk::config::MAX_DISCARD_SEG,
            Some(blk::config::DISCARD_SECTOR_ALIGNMENT),
        )
    }

    fn secure_erase(&self) -> Result<Option<RangeLimits>, u32> {
        self.ranges(
            Features::BLK_SECURE_ERASE,
            blk::config::MAX_SECURE_ERASE_SECTORS,
            blk::config::MAX_SECURE_ERASE_SEG,
            Some(blk::config::SECURE_ERASE_SECTOR_ALIGNMENT),
        )
    }

    fn write_zeroes(&self) -> Result<Option<WriteZeroes>, u32> {
        let limits = self.ranges(
            Features::BLK_WRITE_ZEROES,
            blk::config::MAX_WRITE_ZEROES_SECTORS,
            blk::config::MAX_WRITE_ZEROES_SEG,
            None,
        )?;
        let Some(limits) = limits else { return Ok(None) };
        let may_unmap = self.byte(blk::config::WRITE_ZEROES_MAY_UNMAP)? != 0;
        Ok(Some(WriteZeroes { limits, may_unmap }))
    }

    fn ranges(
        &self,
        feature: Features,
        sectors: usize,
        seg: usize,
        alignment: Option<usize>,
    ) -> Result<Option<RangeLimits>, u32> {
        if !self.has(feature) {
            return Ok(None);
        }
        let alignment = alignment.map_or(Ok(0), |offset| self.word(offset))?;
        Ok(RangeLimits::new(self.block_size, self.word(sectors)?, self.word(seg)?, alignment))
    }

    /// Read after FEATURES_OK, like every field; the device then gets FAILED instead of DRIVER_OK, as 5.2.5 asks for.
    fn check_zones(&self) -> Result<(), u32> {
        if self.has(Features::BLK_ZONED) {
            let model = ZonedModel(self.byte(blk::config::ZONED_MODEL)?);
            if !is_conventional(model) {
                return Err(declined::HOST_MANAGED);
            }
        }
        Ok(())
    }
}

fn bytes<const N: usize>(probe: &impl Probe, offset: usize) -> Result<[u8; N], u32> {
    probe.config(offset).ok_or(declined::CONFIG_TOO_SHORT)
}

pub(crate) fn read(probe: &impl Probe) -> Result<(Disk, Limits), u32> {
    let features = probe.features();
    let block_bytes = if features.contains(Features::BLK_BLK_SIZE) {
        u32::from_le_bytes(bytes(probe, blk::config::BLK_SIZE)?)
    } else {
        SECTOR_BYTES
    };
    let block_size = BlockSize::new(block_bytes).ok_or(declined::BLOCK_SIZE)?;
    let fields = Fields { probe, block_size };
    fields.check_zones()?;
    let capacity = Sectors(u64::from_le_bytes(bytes(probe, blk::config::CAPACITY)?));
    let blocks = block_size.blocks_in(capacity);
    if blocks == 0 {
        return Err(declined::NO_CAPACITY);
    }

    // A segment is never longer than the whole transfer, so limiting that one keeps to SIZE_MAX.
    let size_max = match fields.optional(Features::BLK_SIZE_MAX, blk::config::SIZE_MAX, u32::MAX)? {
        // qemu-storage-daemon offers the feature and names no size. A limit of nothing cannot be meant.
        0 => u32::MAX,
        size_max => size_max,
    };
    let max_transfer_bytes = size_max - size_max % PAGE_BYTES;
    if max_transfer_bytes == 0 {
        return Err(declined::SEGMENT_SIZE);
    }
    let max_segments = fields.optional(Features::BLK_SEG_MAX, blk::config::SEG_MAX, SEGMENTS_UNLIMITED)?;
    let max_transfer_blocks = longest_transfer(max_segments, max_transfer_bytes) / block_bytes;

    // A cache that cannot be flushed is none that a driver could do anything about: without FLUSH, `writeback` has to be 0
    // (5.2.5.2) and is not even looked at.
    let flushes = features.contains(Features::BLK_FLUSH);
    let mode_is_told = flushes && features.contains(Features::BLK_CONFIG_WCE);
    let write_cache = write_cache(features, || bytes(probe, blk::config::WRITEBACK).ok())
        .ok_or(declined::CONFIG_TOO_SHORT)?;

    let disk = Disk {
        block_size,
        blocks,
        read_only: features.contains(Features::BLK_RO),
        write_cache,
        flushes,
        default_write_cache: write_cache,
        write_cache_changes: mode_is_told,
        max_transfer_blocks,
        topology: fields.topology(max_transfer_blocks)?,
        geometry: fields.geometry()?,
        discard: fields.discard()?,
        write_zeroes: fields.write_zeroes()?,
        secure_erase: fields.secure_erase()?,
        lifetime: features.contains(Features::BLK_LIFETIME),
        location: probe.place().map(|(bus, slot)| Location { bus, function: slot as u8 }),
    };
    let limits = Limits {
        targets: 1,
        logical_units: 1,
        max_segments,
        max_transfer_bytes,
        max_requests_per_lun: u32::MAX,
        caches_data: flushes,
        // 0 is not allowed (5.2.4), and cannot mean that there is none.
        request_queues: if fields.has(Features::BLK_MQ) { fields.half(blk::config::NUM_QUEUES)? } else { 1 }
            .max(1),
    };
    Ok((disk, limits))
}

impl Disk {
    /// Tells of no longer transfers than so many segments allow: what the Block Limits page says is what StorPort is told
    /// (MaximumTransferLength).
    pub(crate) fn limit_transfers(&mut self, max_segments: u32) {
        let blocks = longest_transfer(max_segments, u32::MAX) / self.block_size.bytes();
        let limited = match self.max_transfer_blocks {
            0 => blocks,
            told => told.min(blocks),
        };
        self.max_transfer_blocks = limited;
        if self.topology.optimal_blocks > limited {
            self.topology.optimal_blocks = 0;
        }
    }
}

/// Whether a completed write may still be in a volatile cache; `None`: the field that says so cannot be read.
pub(crate) fn write_cache(features: Features, writeback: impl FnOnce() -> Option<[u8; 1]>) -> Option<bool> {
    if !features.contains(Features::BLK_FLUSH) {
        Some(false)
    } else if features.contains(Features::BLK_CONFIG_WCE) {
        Some(writeback()? != [0])
    } else {
        Some(true)
    }
}

/// Bytes that fit into one request whatever the buffer's alignment is: `max_segments` pages of which the first may begin
/// in its middle. 0 when there is no limit to tell of; a limit below a page is too small to tell of.
fn longest_transfer(max_segments: u32, max_transfer_bytes: u32) -> u32 {
    const UNLIMITED: u32 = u32::MAX - u32::MAX % PAGE_BYTES;
    match max_segments.saturating_sub(1).saturating_mul(PAGE_BYTES).min(max_transfer_bytes) {
        UNLIMITED.. => 0,
        bytes => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FakeConfig {
        features: Features,
        bytes: [u8; blk::config::BYTES],
        length: usize,
    }

    impl FakeConfig {
        fn new(features: Features, capacity: u64) -> Self {
            let mut bytes = [0; blk::config::BYTES];
            bytes[..8].copy_from_slice(&capacity.to_le_bytes());
            Self { features, bytes, length: blk::config::BYTES }
        }

        fn with(mut self, offset: usize, value: u32) -> Self {
            self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            self
        }

        fn with_byte(mut self, offset: usize, value: u8) -> Self {
            self.bytes[offset] = value;
            self
        }
    }

    impl Probe for FakeConfig {
        fn features(&self) -> Features {
            self.features
        }

        fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            self.bytes[..self.length].get(offset..offset + N)?.try_into().ok()
        }
    }

    #[test]
    fn a_4k_disk_is_counted_in_its_own_blocks() {
        let probe = FakeConfig::new(Features::BLK_BLK_SIZE, 80).with(blk::config::BLK_SIZE, 4096);

        let (disk, _) = read(&probe).expect("a usable configuration");

        assert_eq!((disk.blocks, disk.block_size.bytes()), (10, 4096));
    }

    #[test]
    fn fields_whose_feature_was_not_negotiated_are_not_read() {
        let probe = FakeConfig::new(Features::empty(), 8)
            .with(blk::config::BLK_SIZE, 7)
            .with(blk::config::SEG_MAX, 1);

        let (disk, limits) = read(&probe).expect("a usable configuration");

        assert_eq!(disk.block_size.bytes(), 512);
        assert_eq!(limits.max_segments, u32::MAX);
        assert!(!disk.write_cache);
    }

    #[test]
    fn a_device_that_offers_size_max_and_names_no_size_is_used_without_that_limit() {
        let probe = FakeConfig::new(Features::BLK_SIZE_MAX, 8).with(blk::config::SIZE_MAX, 0);

        let (_, limits) = read(&probe).unwrap();

        assert_eq!(limits.max_transfer_bytes, u32::MAX - 4095);
    }

    #[test]
    fn size_max_limits_the_whole_transfer() {
        let probe = FakeConfig::new(Features::BLK_SIZE_MAX, 8).with(blk::config::SIZE_MAX, 65_536 + 100);

        let (_, limits) = read(&probe).expect("a usable configuration");

        assert_eq!(limits.max_transfer_bytes, 65_536);
    }

    #[test]
    fn configurations_that_make_no_sense_are_declined() {
        let odd_block = FakeConfig::new(Features::BLK_BLK_SIZE, 80).with(blk::config::BLK_SIZE, 1000);
        let tiny_segment = FakeConfig::new(Features::BLK_SIZE_MAX, 80).with(blk::config::SIZE_MAX, 100);
        let mut short = FakeConfig::new(Features::BLK_SEG_MAX, 80);
        short.length = 10;

        assert_eq!(read(&odd_block), Err(declined::BLOCK_SIZE));
        assert_eq!(read(&tiny_segment), Err(declined::SEGMENT_SIZE));
        assert_eq!(read(&short), Err(declined::CONFIG_TOO_SHORT));
        assert_eq!(read(&FakeConfig::new(Features::empty(), 0)), Err(declined::NO_CAPACITY));
    }

    #[test]
    fn the_cache_mode_is_what_writeback_says_where_it_says_anything() {
        let both = Features::BLK_FLUSH | Features::BLK_CONFIG_WCE;
        let table = [
            (Features::empty(), 1, false),
            (Features::BLK_FLUSH, 0, true),
            (both, 0, false),
            (both, 1, true),
            (both, 0xff, true),
            (Features::BLK_CONFIG_WCE, 1, false),
        ];
        for (features, writeback, expected) in table {
            let probe = FakeConfig::new(features, 8).with_byte(blk::config::WRITEBACK, writeback);

            let (disk, limits) = read(&probe).expect("a usable configuration");

            assert_eq!(
                (disk.write_cache, disk.default_write_cache),
                (expected, expected),
                "{features:?}, {writeback}"
            );
            let flushes = features.contains(Features::BLK_FLUSH);
            assert_eq!((disk.flushes, limits.caches_data), (flushes, flushes), "{features:?}");
        }
    }

    #[test]
    fn host_managed_disks_and_zones_of_an_unknown_kind_are_declined() {
        let zoned = |model| {
            let probe = FakeConfig::new(Features::BLK_ZONED, 8).with_byte(blk::config::ZONED_MODEL, model);
            read(&probe).map(|(disk, _)| disk.blocks)
        };

        assert_eq!([zoned(0), zoned(2)], [Ok(8), Ok(8)]);
        assert_eq!([zoned(1), zoned(3)], [Err(declined::HOST_MANAGED); 2]);
    }

    #[test]
    fn topology_geometry_and_lifetime_are_read_with_their_features_only() {
        let features = Features::BLK_TOPOLOGY | Features::BLK_GEOMETRY | Features::BLK_LIFETIME;
        let probe = |features| {
            FakeConfig::new(features, 8)
                .with(blk::config::CYLINDERS, 0x3f10_0203)
                .with(blk::config::PHYSICAL_BLOCK_EXP, 0x0008_0103)
                .with(blk::config::OPT_IO_SIZE, 0x800)
        };

        let (with, _) = read(&probe(features)).expect("a usable configuration");
        let (without, _) = read(&probe(Features::empty())).expect("a usable configuration");

        assert_eq!(with.topology, Topology::new(3, 1, 8, 0x800, 0));
        assert_eq!(with.geometry, Some(Geometry { cylinders: 0x0203, heads: 0x10 }));
        assert!(with.lifetime);
        assert_eq!((without.topology, without.geometry), (Topology::default(), None));
        assert!(!without.lifetime);
    }

    #[test]
    fn commands_for_ranges_are_read_with_their_features_only() {
        let features = Features::BLK_DISCARD | Features::BLK_WRITE_ZEROES | Features::BLK_SECURE_ERASE;
        let fields = [
            (blk::config::MAX_DISCARD_SECTORS, 64),
            (blk::config::MAX_DISCARD_SEG, 4),
            (blk::config::DISCARD_SECTOR_ALIGNMENT, 16),
            (blk::config::MAX_WRITE_ZEROES_SECTORS, 128),
            (blk::config::MAX_WRITE_ZEROES_SEG, 5),
            (blk::config::WRITE_ZEROES_MAY_UNMAP, 1),
            (blk::config::MAX_SECURE_ERASE_SECTORS, 256),
            (blk::config::MAX_SECURE_ERASE_SEG, 6),
            (blk::config::SECURE_ERASE_SECTOR_ALIGNMENT, 32),
        ];
        let probe = |features| {
            fields.iter().fold(FakeConfig::new(features, 8), |probe, (at, value)| probe.with(*at, *value))
        };

        let (with, _) = read(&probe(features)).expect("a usable configuration");
        let (without, _) = read(&probe(Features::empty())).expect("a usable configuration");

        let limits = |max_sectors, max_ranges, alignment_sectors| RangeLimits {
            max_sectors,
            max_ranges,
            alignment_sectors,
        };
        assert_eq!(with.discard, Some(limits(64, 4, 16)));
        assert_eq!(with.write_zeroes, Some(WriteZeroes { limits: limits(128, 5, 1), may_unmap: true }));
        assert_eq!(with.secure_erase, Some(limits(256, 6, 32)));
        assert_eq!((without.discard, without.write_zeroes, without.secure_erase), (None, None, None));
    }

    #[test]
    fn a_structure_that_ends_before_a_field_of_an_accepted_feature_is_declined() {
        let table = [
            (Features::BLK_GEOMETRY, blk::config::SECTORS),
            (Features::BLK_TOPOLOGY, blk::config::OPT_IO_SIZE),
            (Features::BLK_FLUSH | Features::BLK_CONFIG_WCE, blk::config::WRITEBACK),
            (Features::BLK_DISCARD, blk::config::DISCARD_SECTOR_ALIGNMENT),
            (Features::BLK_WRITE_ZEROES, blk::config::WRITE_ZEROES_MAY_UNMAP),
            (Features::BLK_SECURE_ERASE, blk::config::SECURE_ERASE_SECTOR_ALIGNMENT),
            (Features::BLK_ZONED, blk::config::ZONED_MODEL),
        ];
        for (features, length) in table {
            let mut probe = FakeConfig::new(features, 8);
            probe.length = length;

            assert_eq!(read(&probe), Err(declined::CONFIG_TOO_SHORT), "{features:?}");
        }
    }

    #[test]
    fn the_longest_transfer_is_told_where_the_device_limits_it() {
        let features = Features::BLK_SEG_MAX | Features::BLK_SIZE_MAX | Features::BLK_BLK_SIZE;
        let longest = |features, seg_max, size_max| {
            let probe = FakeConfig::new(features, 80)
                .with(blk::config::BLK_SIZE, 4096)
                .with(blk::config::SEG_MAX, seg_max)
                .with(blk::config::SIZE_MAX, size_max);
            read(&probe).expect("a usable configuration").0.max_transfer_blocks
        };

        assert_eq!(longest(features, 254, 0), 253);
        assert_eq!(longest(features, 254, 65_536), 16);
        assert_eq!(longest(features - Features::BLK_SEG_MAX, 254, 65_536), 16);
        assert_eq!(longest(Features::BLK_BLK_SIZE, 254, 65_536), 0);
    }
}
