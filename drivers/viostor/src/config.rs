//! What the device says of itself (virtio 1.3, 5.2.4), and what follows for StorPort.

use adapter::{Limits, Probe, ProbeError, Room};
use virtio::spec::blk::ZonedModel;
use virtio::spec::{Features, blk};

use crate::identity::Location;
use crate::limits::{Geometry, RangeLimits, Topology, WriteZeroes, is_conventional};
use crate::steps::{AtOnce, Copying};
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

/// The disk behind the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Size of a logical block.
    pub block_size: BlockSize,
    /// Number of logical blocks; of none, the disk is a drive without a medium.
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
    /// How data is copied, for a device that does not take a page wherever it lies.
    pub(crate) copying: Option<Copying>,
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

    /// Fits the disk into what a request of the ring has room for. Returns how much scratch memory that is.
    pub(crate) fn fit(&mut self, room: &Room) -> Result<AtOnce, ProbeError> {
        /// 256 KiB in one step.
        const MAX_TIMES: u16 = 64;
        let block = self.block_size.bytes();
        let most = u64::from(room.max_segments) * u64::from(room.max_segment_bytes);
        let blocks_of = |bytes: u32| {
            let bytes = u32::try_from(most).unwrap_or(u32::MAX).min(bytes);
            bytes - bytes % block
        };
        let bytes = blocks_of(AtOnce::WHOLE.bytes);
        if bytes == 0 {
            return Err(ProbeError::SegmentSize);
        }
        self.copying = room.bounce_bytes.map(|bounce| Copying {
            bytes: blocks_of(bounce),
            max_segments: room.max_segments,
            max_segment_bytes: room.max_segment_bytes,
        });
        // What the Block Limits page says is what StorPort is told (MaximumTransferLength).
        let size = room.max_segment_bytes - room.max_segment_bytes % PAGE_BYTES;
        let transfer = room.bounce_bytes.unwrap_or(longest_transfer(room.max_segments.into(), size));
        self.max_transfer_blocks = transfer / block;
        self.topology.limit(self.max_transfer_blocks);
        // Each time is a segment.
        let times = if room.max_segment_bytes < bytes { 1 } else { room.max_segments.clamp(1, MAX_TIMES) };
        Ok(AtOnce { bytes, times })
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
        copying: None,
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

/// Segments of a device that does not say how many it takes. The specification (1.3, 5.2.3) says nothing of such devices; Linux
/// gives them one (drivers/block/virtio_blk.c, sg_elems), and so does this driver.
const SEGMENTS_UNTOLD: u32 = 1;

/// Smallest unit of memory a segment is made of.
const PAGE_BYTES: u32 = 4096;

/// What is read of a configuration. A structure may end before a field of an accepted feature, although 5.2.4 has it there: a
/// driver needs the fields that it cannot do without, and no others (2.5.1). What they would say is then not said.
struct Fields<'p, P> {
    probe: &'p P,
    block_size: BlockSize,
}

impl<P: Probe> Fields<'_, P> {
    fn has(&self, feature: Features) -> bool {
        self.probe.features().contains(feature)
    }

    /// A field of this feature.
    fn told<const N: usize>(&self, feature: Features, offset: usize) -> Option<[u8; N]> {
        if self.has(feature) { self.probe.config(offset) } else { None }
    }

    /// A field without which the disk cannot be used right, where there is such a feature.
    fn needed(&self, feature: Features, offset: usize, otherwise: u32) -> Result<u32, ProbeError> {
        if self.has(feature) { bytes(self.probe, offset).map(u32::from_le_bytes) } else { Ok(otherwise) }
    }

    fn topology(&self, max_blocks: u32) -> Option<Topology> {
        let byte = |offset| self.told(Features::BLK_TOPOLOGY, offset).map(|[byte]| byte);
        Some(Topology::new(
            byte(blk::config::PHYSICAL_BLOCK_EXP)?,
            byte(blk::config::ALIGNMENT_OFFSET)?,
            u16::from_le_bytes(self.told(Features::BLK_TOPOLOGY, blk::config::MIN_IO_SIZE)?),
            u32::from_le_bytes(self.told(Features::BLK_TOPOLOGY, blk::config::OPT_IO_SIZE)?),
            max_blocks,
        ))
    }

    fn geometry(&self) -> Option<Geometry> {
        let [heads] = self.told(Features::BLK_GEOMETRY, blk::config::HEADS)?;
        let [sectors] = self.told(Features::BLK_GEOMETRY, blk::config::SECTORS)?;
        let cylinders = self.told(Features::BLK_GEOMETRY, blk::config::CYLINDERS)?;
        Geometry::new(u16::from_le_bytes(cylinders), heads, sectors)
    }

    fn discard(&self) -> Option<RangeLimits> {
        self.ranges(
            Features::BLK_DISCARD,
            blk::config::MAX_DISCARD_SECTORS,
            blk::config::MAX_DISCARD_SEG,
            Some(blk::config::DISCARD_SECTOR_ALIGNMENT),
        )
    }

    fn secure_erase(&self) -> Option<RangeLimits> {
        self.ranges(
            Features::BLK_SECURE_ERASE,
            blk::config::MAX_SECURE_ERASE_SECTORS,
            blk::config::MAX_SECURE_ERASE_SEG,
            Some(blk::config::SECURE_ERASE_SECTOR_ALIGNMENT),
        )
    }

    fn write_zeroes(&self) -> Option<WriteZeroes> {
        let limits = self.ranges(
            Features::BLK_WRITE_ZEROES,
            blk::config::MAX_WRITE_ZEROES_SECTORS,
            blk::config::MAX_WRITE_ZEROES_SEG,
            None,
        )?;
        let [may_unmap] = self.told(Features::BLK_WRITE_ZEROES, blk::config::WRITE_ZEROES_MAY_UNMAP)?;
        Some(WriteZeroes { limits, may_unmap: may_unmap != 0 })
    }

    /// Without its limits a command is not used.
    fn ranges(
        &self,
        feature: Features,
        sectors: usize,
        seg: usize,
        alignment: Option<usize>,
    ) -> Option<RangeLimits> {
        let word = |offset| self.told(feature, offset).map(u32::from_le_bytes);
        let alignment = alignment.map_or(Some(0), word)?;
        RangeLimits::new(self.block_size, word(sectors)?, word(seg)?, alignment)
    }

    /// Read after FEATURES_OK, like every field; the device then gets FAILED instead of DRIVER_OK, as 5.2.5 asks for. Zones
    /// that nothing is said of may be any.
    fn check_zones(&self) -> Result<(), ProbeError> {
        if self.has(Features::BLK_ZONED) {
            let model = bytes(self.probe, blk::config::ZONED_MODEL).map(|[model]| ZonedModel(model))?;
            if !is_conventional(model) {
                return Err(ProbeError::HostManaged);
            }
        }
        Ok(())
    }
}

fn bytes<const N: usize>(probe: &impl Probe, offset: usize) -> Result<[u8; N], ProbeError> {
    probe.config(offset).ok_or(ProbeError::ConfigTooShort)
}

pub(crate) fn read(probe: &impl Probe) -> Result<(Disk, Limits), ProbeError> {
    let features = probe.features();
    let block_bytes = if features.contains(Features::BLK_BLK_SIZE) {
        u32::from_le_bytes(bytes(probe, blk::config::BLK_SIZE)?)
    } else {
        SECTOR_BYTES
    };
    let block_size = BlockSize::new(block_bytes).ok_or(ProbeError::BlockSize)?;
    let fields = Fields { probe, block_size };
    fields.check_zones()?;
    let capacity = Sectors(u64::from_le_bytes(bytes(probe, blk::config::CAPACITY)?));
    // A disk without a block is a drive without a medium, until it grows. Nothing forbids it (5.2.4).
    let blocks = block_size.blocks_in(capacity);

    let size_max = match fields.needed(Features::BLK_SIZE_MAX, blk::config::SIZE_MAX, u32::MAX)? {
        // qemu-storage-daemon offers the feature and names no size. A limit of nothing cannot be meant.
        0 => u32::MAX,
        size_max => size_max,
    };
    // A request without any segment would be none, so 0 is not meant either.
    let max_segments = fields.needed(Features::BLK_SEG_MAX, blk::config::SEG_MAX, SEGMENTS_UNTOLD)?.max(1);
    // A segment is never longer than the whole transfer, so limiting that one keeps to SIZE_MAX.
    let max_transfer_blocks = longest_transfer(max_segments, size_max - size_max % PAGE_BYTES) / block_bytes;

    // A cache that cannot be flushed is none that a driver could do anything about: without FLUSH, `writeback` has to be 0
    // (5.2.5.2) and is not even looked at.
    let flushes = features.contains(Features::BLK_FLUSH);
    let writeback = fields.told(Features::BLK_CONFIG_WCE, blk::config::WRITEBACK);
    let mode_is_told = flushes && writeback.is_some();
    // What is not said may be either, and who has a cache flushes it.
    let write_cache = write_cache(features, || writeback).unwrap_or(true);

    let disk = Disk {
        block_size,
        blocks,
        read_only: features.contains(Features::BLK_RO),
        write_cache,
        flushes,
        default_write_cache: write_cache,
        write_cache_changes: mode_is_told,
        copying: None,
        max_transfer_blocks,
        topology: fields.topology(max_transfer_blocks).unwrap_or_default(),
        geometry: fields.geometry(),
        discard: fields.discard(),
        write_zeroes: fields.write_zeroes(),
        secure_erase: fields.secure_erase(),
        lifetime: features.contains(Features::BLK_LIFETIME),
        location: probe
            .function()
            .map(|function| Location { bus: function.bus, function: function.slot as u8 }),
    };
    let limits = Limits {
        targets: 1,
        logical_units: 1,
        max_segments,
        max_segment_bytes: size_max,
        max_transfer_bytes: u32::MAX,
        max_requests_per_lun: u32::MAX,
        caches_data: flushes,
        // 0 is not allowed (5.2.4), and cannot mean that there is none.
        request_queues: fields
            .told(Features::BLK_MQ, blk::config::NUM_QUEUES)
            .map_or(1, u16::from_le_bytes)
            .max(1),
        write_cache,
        leaves_out: false,
        event_bytes: 0,
    };
    Ok((disk, limits))
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
            .with(blk::config::SIZE_MAX, 7)
            .with(blk::config::SEG_MAX, 7);

        let (disk, limits) = read(&probe).expect("a usable configuration");

        assert_eq!(disk.block_size.bytes(), 512);
        assert_eq!((limits.max_segments, limits.max_segment_bytes), (1, u32::MAX));
        assert!(!disk.write_cache);
    }

    #[test]
    fn a_device_that_offers_size_max_and_names_no_size_is_used_without_that_limit() {
        let probe = FakeConfig::new(Features::BLK_SIZE_MAX, 8).with(blk::config::SIZE_MAX, 0);

        let (_, limits) = read(&probe).unwrap();

        assert_eq!(limits.max_segment_bytes, u32::MAX);
    }

    #[test]
    fn a_device_that_names_no_segments_gets_one() {
        let segments = |features| {
            let probe = FakeConfig::new(features, 8).with(blk::config::SEG_MAX, 0);
            read(&probe).expect("a usable configuration").1.max_segments
        };

        assert_eq!((segments(Features::BLK_SEG_MAX), segments(Features::empty())), (1, 1));
    }

    #[test]
    fn a_disk_fits_what_a_request_has_room_for() {
        let fit = |block_bytes, max_segments, max_segment_bytes, bounce_bytes| {
            let block_size = BlockSize::new(block_bytes).expect("a block size");
            let mut disk = Disk { block_size, ..disk_for_tests() };
            let at_once =
                disk.fit(&Room { max_segments, max_segment_bytes, bounce_bytes, in_steps: false })?;
            let copied = disk.copying.map_or(0, |copying| copying.bytes);
            Ok((at_once.bytes, at_once.times, copied, disk.max_transfer_blocks))
        };
        let copied = Some(64 << 10);

        assert_eq!(fit(512, 254, u32::MAX, None), Ok((4096, 64, 0, 253 * 8)));
        assert_eq!(fit(4096, 254, 0x1_1234, None), Ok((4096, 64, 0, 17)));
        assert_eq!(fit(512, 3, 4096, None), Ok((4096, 3, 0, 8)));
        assert_eq!(fit(512, 1, u32::MAX, copied), Ok((4096, 1, 64 << 10, 128)));
        assert_eq!(fit(512, 254, 100, copied), Ok((4096, 1, 25_088, 128)), "49 blocks");
        assert_eq!(fit(4096, 1, 5000, copied), Ok((4096, 1, 4096, 16)));
        assert_eq!(fit(512, 1, 1300, copied), Ok((1024, 1, 1024, 128)));
        assert_eq!(fit(4096, 1, 4095, copied), Err(ProbeError::SegmentSize));
        assert_eq!(fit(512, 5, 100, copied), Err(ProbeError::SegmentSize));
    }

    #[test]
    fn configurations_that_make_no_sense_are_declined() {
        let odd_block = FakeConfig::new(Features::BLK_BLK_SIZE, 80).with(blk::config::BLK_SIZE, 1000);
        let mut short = FakeConfig::new(Features::BLK_SEG_MAX, 80);
        short.length = 10;

        assert_eq!(read(&odd_block), Err(ProbeError::BlockSize));
        assert_eq!(read(&short), Err(ProbeError::ConfigTooShort));
    }

    #[test]
    fn a_disk_may_have_no_block_yet() {
        let (disk, _) = read(&FakeConfig::new(Features::empty(), 0)).expect("a usable configuration");

        assert_eq!(disk.blocks, 0);
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
        assert_eq!([zoned(1), zoned(3)], [Err(ProbeError::HostManaged); 2]);
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
    fn a_structure_that_ends_before_a_field_that_is_needed_is_declined() {
        let table = [
            (Features::BLK_SIZE_MAX, blk::config::SIZE_MAX),
            (Features::BLK_SEG_MAX, blk::config::SEG_MAX),
            (Features::BLK_BLK_SIZE, blk::config::BLK_SIZE),
            (Features::BLK_ZONED, blk::config::ZONED_MODEL),
        ];
        for (features, length) in table {
            let mut probe = FakeConfig::new(features, 8);
            probe.length = length;

            assert_eq!(read(&probe), Err(ProbeError::ConfigTooShort), "{features:?}");
        }
    }

    #[test]
    fn a_structure_that_ends_before_another_field_says_nothing_of_that() {
        let rest = Features::BLK_GEOMETRY
            | Features::BLK_TOPOLOGY
            | Features::BLK_FLUSH
            | Features::BLK_CONFIG_WCE
            | Features::BLK_MQ
            | Features::BLK_DISCARD
            | Features::BLK_WRITE_ZEROES
            | Features::BLK_SECURE_ERASE;
        for (length, named) in [
            (blk::config::SECTORS, 0),
            (blk::config::OPT_IO_SIZE, 1),
            (blk::config::WRITEBACK, 2),
            (blk::config::NUM_QUEUES, 3),
            (blk::config::DISCARD_SECTOR_ALIGNMENT, 4),
            (blk::config::WRITE_ZEROES_MAY_UNMAP, 5),
            (blk::config::SECURE_ERASE_SECTOR_ALIGNMENT, 6),
            (blk::config::BYTES, 7),
        ] {
            let mut probe = FakeConfig::new(rest, 8);
            probe.bytes[8..].fill(1);
            probe.length = length;

            let (disk, limits) = read(&probe).expect("a usable configuration");

            assert!(disk.write_cache && disk.flushes);
            let told = [
                disk.geometry.is_some(),
                disk.topology != Topology::default(),
                disk.write_cache_changes,
                limits.request_queues != 1,
                disk.discard.is_some(),
                disk.write_zeroes.is_some(),
                disk.secure_erase.is_some(),
            ];
            let expected: [bool; 7] = core::array::from_fn(|field| field < named);
            assert_eq!(told, expected, "{length} bytes");
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
        assert_eq!(longest(features, 254, 4000), 0, "what is copied is another matter");
        assert_eq!(longest(features - Features::BLK_SEG_MAX, 254, 65_536), 0);
    }
}
