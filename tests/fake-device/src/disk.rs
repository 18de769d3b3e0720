//! virtio-blk (5.2): a disk in memory that remembers what was asked of it.

use std::collections::{BTreeSet, HashMap};

use zerocopy::FromBytes;

use super::{Chain, Model, Request, Served};
use virtio::spec::Features;
use virtio::spec::blk::{RangeFlags, RequestHeader, RequestType, SectorRange, Status, config};

/// Bytes of a sector, whatever the block size is.
pub const SECTOR_BYTES: usize = 512;

/// Bytes of the header, of the identity, and of what GET_LIFETIME answers.
const HEADER_BYTES: usize = 16;
const ID_BYTES: usize = 20;
const LIFETIME_BYTES: usize = 6;

/// One request, in the order in which the disk did them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was asked for
    pub kind: RequestType,
    /// The first sector
    pub sector: u64,
    /// Bytes of data
    pub bytes: usize,
    /// How it ended
    pub status: Status,
}

/// What the configuration says of a command for ranges of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// Most sectors of a range
    pub max_sectors: u32,
    /// Most ranges of a request
    pub max_seg: u32,
    /// Sectors whose multiples a range had better start and end at
    pub alignment: u32,
}

/// A disk. The fields may be changed before a driver sees it, and with
/// [`change_config`](super::FakeDevice::change_config) afterwards.
#[derive(Debug)]
pub struct Disk {
    /// Capacity in sectors
    pub sectors: u64,
    /// Logical block size in bytes; offered as VIRTIO_BLK_F_BLK_SIZE when it is some
    pub block_bytes: Option<u32>,
    /// Most data segments; offered as VIRTIO_BLK_F_SEG_MAX when it is some
    pub seg_max: Option<u32>,
    /// Longest data segment; offered as VIRTIO_BLK_F_SIZE_MAX when it is some
    pub size_max: Option<u32>,
    /// VIRTIO_BLK_F_RO
    pub read_only: bool,
    /// VIRTIO_BLK_F_FLUSH
    pub flush: bool,
    /// `physical_block_exp`, `alignment_offset`, `min_io_size`, `opt_io_size`; offered as VIRTIO_BLK_F_TOPOLOGY when it is
    /// some
    pub topology: Option<(u8, u8, u16, u32)>,
    /// `cylinders`, `heads`, `sectors`; offered as VIRTIO_BLK_F_GEOMETRY when it is some
    pub geometry: Option<(u16, u8, u8)>,
    /// `writeback`; offered as VIRTIO_BLK_F_CONFIG_WCE when it is some
    pub writeback: Option<u8>,
    /// Limits of discards; offered as VIRTIO_BLK_F_DISCARD when it is some
    pub discard: Option<RangeLimits>,
    /// Limits of write zeroes, and `write_zeroes_may_unmap`; offered as VIRTIO_BLK_F_WRITE_ZEROES when it is some. There
    /// is no alignment.
    pub write_zeroes: Option<(RangeLimits, bool)>,
    /// Limits of secure erases; offered as VIRTIO_BLK_F_SECURE_ERASE when it is some
    pub secure_erase: Option<RangeLimits>,
    /// What GET_LIFETIME answers; offered as VIRTIO_BLK_F_LIFETIME when it is some
    pub lifetime: Option<[u16; 3]>,
    /// `zoned.model`; offered as VIRTIO_BLK_F_ZONED when it is some
    pub zoned: Option<u8>,
    /// What GET_ID answers; `None` plays a device that does not know the request
    pub serial: Option<[u8; ID_BYTES]>,
    /// How GET_ID and GET_LIFETIME end; what is not OK answers nothing.
    pub question_status: Status,
    /// Bytes of the serial number that are written; the device says so of all 20 all the same.
    pub id_bytes: usize,
    /// Bytes that the status is written with: more than one go past the buffer that it has.
    pub status_bytes: usize,
    /// The status of a request that failed is written to the first byte that the device may write instead of the last one.
    pub status_goes_astray: bool,
    /// Request queues; with one, nothing is said of them.
    pub queues: u16,
    /// Features offered besides, that this model gives no meaning to
    pub other_features: Features,
    content: HashMap<u64, [u8; SECTOR_BYTES]>,
    bad: HashMap<u64, Status>,
    bad_flush: Option<Status>,
    log: Vec<Entry>,
    ranges: Vec<(RequestType, SectorRange)>,
    /// Sectors whose last write is not flushed yet.
    volatile: BTreeSet<u64>,
}

impl Disk {
    /// A disk of so many sectors, writable, with a volatile cache, like QEMU's default.
    pub fn new(sectors: u64) -> Self {
        let mut serial = [0; ID_BYTES];
        serial[..9].copy_from_slice(b"FAKE-0001");
        Self {
            sectors,
            block_bytes: Some(512),
            seg_max: Some(254),
            size_max: None,
            read_only: false,
            flush: true,
            topology: None,
            geometry: None,
            writeback: None,
            discard: None,
            write_zeroes: None,
            secure_erase: None,
            lifetime: None,
            zoned: None,
            serial: Some(serial),
            question_status: Status::OK,
            id_bytes: ID_BYTES,
            status_bytes: 1,
            status_goes_astray: false,
            queues: 1,
            other_features: Features::empty(),
            content: HashMap::new(),
            bad: HashMap::new(),
            bad_flush: None,
            log: Vec::new(),
            ranges: Vec::new(),
            volatile: BTreeSet::new(),
        }
    }

    /// The same with so many request queues.
    #[must_use]
    pub fn with_queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// What lies in a sector.
    pub fn sector(&self, sector: u64) -> [u8; SECTOR_BYTES] {
        self.content.get(&sector).copied().unwrap_or([0; SECTOR_BYTES])
    }

    /// Changes a sector behind the driver's back.
    pub fn set_sector(&mut self, sector: u64, content: [u8; SECTOR_BYTES]) {
        self.content.insert(sector, content);
    }

    /// Requests that touch this sector fail with `status`; `None` heals it.
    pub fn set_bad_sector(&mut self, sector: u64, status: Option<Status>) {
        match status {
            Some(status) => self.bad.insert(sector, status),
            None => self.bad.remove(&sector),
        };
    }

    /// Flushes fail with `status`; `None` heals them.
    pub fn set_bad_flush(&mut self, status: Option<Status>) {
        self.bad_flush = status;
    }

    /// The requests so far.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// Forgets the requests so far.
    pub fn clear_log(&mut self) {
        self.log.clear();
    }

    /// Sectors that were written since the last flush.
    pub fn volatile_sectors(&self) -> Vec<u64> {
        self.volatile.iter().copied().collect()
    }

    fn check_rules(&self, request: &mut Request<'_>, header: &RequestHeader) {
        let kind = RequestType(header.kind.get());
        let features = request.features();
        request.rule(header.reserved.get() == 0, "5.2.6: the reserved field of the header is zero");
        let data: Vec<_> = data_pieces(request.chain()).collect();
        // Nothing says what a device takes that names no number; Firecracker takes one (parse in its
        // src/vmm/src/devices/virtio/block/virtio/request.rs), as Linux expects of such devices. A number of 0 is none.
        let most = match self.seg_max {
            Some(most @ 1..) if features.contains(Features::BLK_SEG_MAX) => most,
            _ => 1,
        };
        request.rule(data.len() <= most as usize, "5.2.4: a request has at most seg_max segments");
        if features.contains(Features::BLK_SIZE_MAX)
            && let Some(most @ 1..) = self.size_max
        {
            // A limit of nothing is none.
            let kept = data.iter().all(|bytes| *bytes <= most);
            request.rule(kept, "5.2.4: a segment has at most size_max bytes");
        }
        let bytes: u64 = data.iter().map(|bytes| u64::from(*bytes)).sum();
        match kind {
            RequestType::IN | RequestType::OUT => {
                let blocks = u64::from(self.block_bytes.unwrap_or(512));
                request.rule(bytes > 0, "5.2.6: a read or write has data");
                request.rule(bytes.is_multiple_of(blocks), "5.2.6: a read or write moves whole blocks");
                let end = header.sector.get().checked_add(bytes / SECTOR_BYTES as u64);
                let inside = end.is_some_and(|end| end <= self.sectors);
                request.rule(inside, "5.2.6.1: a request stays on the disk");
                let writes = kind == RequestType::OUT;
                request.rule(!(writes && self.read_only), "5.2.6.1: nothing is written to a read-only disk");
            }
            RequestType::FLUSH => {
                request.rule(header.sector.get() == 0, "5.2.6.1: the sector of a flush is zero");
                request.rule(bytes == 0, "5.2.6: a flush has no data");
                let offered = features.contains(Features::BLK_FLUSH);
                request.rule(offered, "5.2.6.1: a flush needs VIRTIO_BLK_F_FLUSH");
            }
            RequestType::GET_ID => {
                request.rule(bytes == ID_BYTES as u64, "5.2.6: the identity has 20 bytes");
            }
            RequestType::GET_LIFETIME => {
                request.rule(bytes == LIFETIME_BYTES as u64, "5.2.6: the lifetime has 6 bytes");
                let offered = features.contains(Features::BLK_LIFETIME);
                request.rule(offered, "5.2.6.1: GET_LIFETIME needs VIRTIO_BLK_F_LIFETIME");
            }
            RequestType::DISCARD | RequestType::WRITE_ZEROES | RequestType::SECURE_ERASE => {
                request.rule(header.sector.get() == 0, "5.2.6.1: the sector of a request for ranges is zero");
                self.check_ranges(request, kind);
            }
            _ => request.rule(false, "5.2.6: the request type is one that was offered"),
        }
        let whole_status =
            request.chain().pieces.last().is_some_and(|piece| piece.writable && piece.length == 1);
        request.rule(whole_status, "5.2.6: the status is a byte of its own");
    }

    /// The feature, limits and flags of a request for ranges.
    fn limits_of(&self, kind: RequestType) -> (Features, Option<RangeLimits>, RangeFlags) {
        match kind {
            RequestType::DISCARD => (Features::BLK_DISCARD, self.discard, RangeFlags::empty()),
            RequestType::WRITE_ZEROES => {
                let limits = self.write_zeroes.map(|(limits, _)| limits);
                (Features::BLK_WRITE_ZEROES, limits, RangeFlags::UNMAP)
            }
            _ => (Features::BLK_SECURE_ERASE, self.secure_erase, RangeFlags::empty()),
        }
    }

    fn check_ranges(&self, request: &mut Request<'_>, kind: RequestType) {
        let (feature, limits, flags) = self.limits_of(kind);
        let readable = request.readable();
        let (ranges, rest) = ranges_in(&readable);
        request.rule(request.features().contains(feature), "5.2.6.1: a request for ranges needs its feature");
        request.rule(rest == 0 && !ranges.is_empty(), "5.2.6: the data is one range or more");
        request.rule(!self.read_only, "5.2.6.1: nothing is written to a read-only disk");
        let Some(limits) = limits else {
            return;
        };
        let most = if limits.max_seg == 0 { 1 } else { limits.max_seg as usize };
        request.rule(ranges.len() <= most, "5.2.6.1: there are at most as many ranges as the device takes");
        let blocks = u64::from(self.block_bytes.unwrap_or(512)) / SECTOR_BYTES as u64;
        for range in &ranges {
            let (first, count) = (range.sector.get(), u64::from(range.count.get()));
            let short = limits.max_sectors == 0 || range.count.get() <= limits.max_sectors;
            request.rule(short, "5.2.6.1: a range has at most as many sectors as the device takes");
            let inside = first.checked_add(count).is_some_and(|end| end <= self.sectors);
            request.rule(inside && count > 0, "5.2.6.1: a range lies on the disk");
            let whole = first.is_multiple_of(blocks) && count.is_multiple_of(blocks);
            request.rule(whole, "5.2.6: a range is one of whole blocks");
            let known = range.flags.get() & !flags.bits() == 0;
            request.rule(known, "5.2.6.1: a range has only flags that its request knows");
        }
    }

    /// Discarded and erased sectors hold what nobody wrote there, so that nobody can rely on it.
    fn execute_ranges(&mut self, kind: RequestType, out: &[u8]) -> Status {
        let fill = if kind == RequestType::WRITE_ZEROES { 0 } else { 0xd1 };
        let mut status = Status::OK;
        for range in ranges_in(&[&[0; HEADER_BYTES], out].concat()).0 {
            let (first, count) = (range.sector.get(), range.count.get());
            match self.first_bad(first, count as usize * SECTOR_BYTES) {
                Some(bad) => status = bad,
                None => {
                    for sector in first..first + u64::from(count) {
                        self.content.insert(sector, [fill; SECTOR_BYTES]);
                        self.volatile.insert(sector);
                    }
                    self.ranges.push((kind, range));
                }
            }
        }
        status
    }

    /// The ranges of the requests for them so far.
    pub fn ranges(&self) -> &[(RequestType, SectorRange)] {
        &self.ranges
    }

    fn first_bad(&self, sector: u64, bytes: usize) -> Option<Status> {
        let end = sector.saturating_add((bytes / SECTOR_BYTES) as u64);
        if end > self.sectors {
            return Some(Status::IOERR);
        }
        (sector..end).find_map(|sector| self.bad.get(&sector).copied())
    }

    fn execute(&mut self, request: &mut Request<'_>, header: &RequestHeader, out: &[u8]) -> (Status, usize) {
        let sector = header.sector.get();
        let room = request.writable_bytes().saturating_sub(1);
        match RequestType(header.kind.get()) {
            RequestType::IN => {
                if let Some(status) = self.first_bad(sector, room) {
                    return (status, room);
                }
                for (index, at) in (sector..).zip((0..room).step_by(SECTOR_BYTES)) {
                    let content = self.sector(index);
                    request.write(at, &content[..SECTOR_BYTES.min(room - at)]);
                }
                (Status::OK, room)
            }
            RequestType::OUT => {
                if self.read_only {
                    return (Status::IOERR, out.len());
                }
                if let Some(status) = self.first_bad(sector, out.len()) {
                    return (status, out.len());
                }
                for (index, content) in (sector..).zip(out.as_chunks::<SECTOR_BYTES>().0) {
                    self.content.insert(index, *content);
                    self.volatile.insert(index);
                }
                (Status::OK, out.len())
            }
            RequestType::FLUSH => match self.bad_flush {
                Some(status) => (status, 0),
                None => {
                    self.volatile.clear();
                    (Status::OK, 0)
                }
            },
            RequestType::GET_ID | RequestType::GET_LIFETIME if self.question_status != Status::OK => {
                (self.question_status, room)
            }
            RequestType::GET_ID => match self.serial {
                Some(serial) => {
                    request.write(0, &serial[..self.id_bytes.min(room)]);
                    (Status::OK, room)
                }
                None => (Status::UNSUPP, room),
            },
            RequestType::GET_LIFETIME => match self.lifetime {
                Some(lifetime) => {
                    let bytes: Vec<u8> = lifetime.iter().flat_map(|word| word.to_le_bytes()).collect();
                    request.write(0, &bytes[..LIFETIME_BYTES.min(room)]);
                    (Status::OK, room)
                }
                None => (Status::UNSUPP, room),
            },
            kind @ (RequestType::DISCARD | RequestType::WRITE_ZEROES | RequestType::SECURE_ERASE)
                if self.limits_of(kind).1.is_some() =>
            {
                (self.execute_ranges(kind, out), out.len())
            }
            _ => (Status::UNSUPP, 0),
        }
    }
}

/// The ranges behind a header, and the bytes that are none.
fn ranges_in(readable: &[u8]) -> (Vec<SectorRange>, usize) {
    let data = readable.get(HEADER_BYTES..).unwrap_or_default();
    let (whole, rest) = data.as_chunks::<{ size_of::<SectorRange>() }>();
    (whole.iter().map(|bytes| zerocopy::transmute!(*bytes)).collect(), rest.len())
}

/// Lengths of the data buffers: all but header and status.
fn data_pieces(chain: &Chain) -> impl Iterator<Item = u32> {
    let last = chain.pieces.len().saturating_sub(1);
    chain.pieces.iter().take(last).skip(1).map(|piece| piece.length)
}

impl Model for Disk {
    const DEVICE_TYPE: u16 = 2;
    const PCI_CLASS: u32 = 0x0100_0000;

    fn queue_count(&self) -> u16 {
        self.queues
    }

    fn features(&self) -> Features {
        let mut features = self.other_features;
        features.set(Features::BLK_BLK_SIZE, self.block_bytes.is_some());
        features.set(Features::BLK_SEG_MAX, self.seg_max.is_some());
        features.set(Features::BLK_SIZE_MAX, self.size_max.is_some());
        features.set(Features::BLK_RO, self.read_only);
        features.set(Features::BLK_FLUSH, self.flush);
        features.set(Features::BLK_TOPOLOGY, self.topology.is_some());
        features.set(Features::BLK_GEOMETRY, self.geometry.is_some());
        features.set(Features::BLK_CONFIG_WCE, self.writeback.is_some());
        features.set(Features::BLK_DISCARD, self.discard.is_some());
        features.set(Features::BLK_WRITE_ZEROES, self.write_zeroes.is_some());
        features.set(Features::BLK_SECURE_ERASE, self.secure_erase.is_some());
        features.set(Features::BLK_LIFETIME, self.lifetime.is_some());
        features.set(Features::BLK_ZONED, self.zoned.is_some());
        features.set(Features::BLK_MQ, self.queues > 1);
        features
    }

    fn config(&self) -> Vec<u8> {
        // What no feature announces holds something that must not be believed.
        let mut bytes: Vec<u8> = [0xef, 0xbe, 0xad, 0xde].repeat(config::BYTES / 4);
        let mut put =
            |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(config::CAPACITY, &self.sectors.to_le_bytes());
        let words = [
            (config::SIZE_MAX, self.size_max),
            (config::SEG_MAX, self.seg_max),
            (config::BLK_SIZE, self.block_bytes),
        ];
        for (offset, value) in words {
            if let Some(value) = value {
                put(offset, &value.to_le_bytes());
            }
        }
        if let Some((cylinders, heads, sectors)) = self.geometry {
            put(config::CYLINDERS, &cylinders.to_le_bytes());
            put(config::HEADS, &[heads, sectors]);
        }
        if let Some((exponent, offset, min_io, opt_io)) = self.topology {
            put(config::PHYSICAL_BLOCK_EXP, &[exponent, offset]);
            put(config::MIN_IO_SIZE, &min_io.to_le_bytes());
            put(config::OPT_IO_SIZE, &opt_io.to_le_bytes());
        }
        if let Some(writeback) = self.writeback {
            put(config::WRITEBACK, &[writeback]);
        }
        let zeroes = self.write_zeroes.map(|(limits, _)| limits);
        let ranges = [
            (config::MAX_DISCARD_SECTORS, config::MAX_DISCARD_SEG, self.discard),
            (config::MAX_WRITE_ZEROES_SECTORS, config::MAX_WRITE_ZEROES_SEG, zeroes),
            (config::MAX_SECURE_ERASE_SECTORS, config::MAX_SECURE_ERASE_SEG, self.secure_erase),
        ];
        for (sectors, seg, limits) in ranges {
            if let Some(limits) = limits {
                put(sectors, &limits.max_sectors.to_le_bytes());
                put(seg, &limits.max_seg.to_le_bytes());
            }
        }
        if let Some(limits) = self.discard {
            put(config::DISCARD_SECTOR_ALIGNMENT, &limits.alignment.to_le_bytes());
        }
        if let Some((_, may_unmap)) = self.write_zeroes {
            put(config::WRITE_ZEROES_MAY_UNMAP, &[u8::from(may_unmap)]);
        }
        if let Some(limits) = self.secure_erase {
            put(config::SECURE_ERASE_SECTOR_ALIGNMENT, &limits.alignment.to_le_bytes());
        }
        if self.queues > 1 {
            put(config::NUM_QUEUES, &self.queues.to_le_bytes());
        }
        if let Some(model) = self.zoned {
            put(config::ZONED_MODEL, &[model]);
        }
        bytes
    }

    fn config_feature(&self, offset: usize) -> Features {
        match offset {
            config::SIZE_MAX => Features::BLK_SIZE_MAX,
            config::SEG_MAX => Features::BLK_SEG_MAX,
            config::CYLINDERS..config::BLK_SIZE => Features::BLK_GEOMETRY,
            config::BLK_SIZE => Features::BLK_BLK_SIZE,
            config::PHYSICAL_BLOCK_EXP..config::WRITEBACK => Features::BLK_TOPOLOGY,
            config::WRITEBACK => Features::BLK_CONFIG_WCE,
            config::NUM_QUEUES => Features::BLK_MQ,
            config::MAX_DISCARD_SECTORS..config::MAX_WRITE_ZEROES_SECTORS => Features::BLK_DISCARD,
            config::MAX_WRITE_ZEROES_SECTORS..=config::WRITE_ZEROES_MAY_UNMAP => Features::BLK_WRITE_ZEROES,
            config::MAX_SECURE_ERASE_SECTORS..=config::SECURE_ERASE_SECTOR_ALIGNMENT => {
                Features::BLK_SECURE_ERASE
            }
            config::ZONED_MODEL => Features::BLK_ZONED,
            _ => Features::empty(),
        }
    }

    fn write_config(&mut self, offset: usize, width: u32, value: u32, features: Features) -> bool {
        let may = offset == config::WRITEBACK && width == 1 && features.contains(Features::BLK_CONFIG_WCE);
        if may {
            self.writeback = Some(value as u8);
        }
        may
    }

    fn serve(&mut self, _queue: u16, request: &mut Request<'_>) -> Served {
        let readable = request.readable();
        let room = request.writable_bytes();
        let Ok((header, out)) = RequestHeader::read_from_prefix(&readable) else {
            request.rule(false, "5.2.6: a request starts with a header of 16 bytes");
            return Served::Done;
        };
        if room == 0 {
            request.rule(false, "5.2.6: a request ends with a status byte");
            return Served::Done;
        }
        self.check_rules(request, &header);
        let (status, bytes) = self.execute(request, &header, out);
        let mut word = u64::from(status.0).to_le_bytes().to_vec();
        word.truncate(self.status_bytes);
        let astray = self.status_goes_astray && status != Status::OK;
        request.write(if astray { 0 } else { room - 1 }, &word[..1]);
        request.write_past_the_end(&word[1..]);
        request.failed = status != Status::OK;
        self.log.push(Entry {
            kind: RequestType(header.kind.get()),
            sector: header.sector.get(),
            bytes,
            status,
        });
        Served::Done
    }

    fn label(&self, _queue: u16, chain: &Chain, position: usize) -> &'static str {
        if position == 0 && chain.pieces[0].length as usize == HEADER_BYTES {
            "header"
        } else if position + 1 == chain.pieces.len() {
            "status"
        } else {
            "data"
        }
    }
}
