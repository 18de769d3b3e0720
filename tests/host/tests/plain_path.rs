//! The short path of plain reads and writes against what it is short for: the header that `chain` makes, and READ and WRITE as
//! SBC-3 has them (5.8 to 5.10, 5.29 to 5.31).

use adapter::{ChainData, Command, Facts, Probe, Requests};
use fake_device::leak;
use storport::fake::{SrbBuilder, forget};
use storport::srb::Queueing;
use storport::{BuildIo, DataDirection};
use vioscsi::Vioscsi;
use viostor::Viostor;
use viostor::units::Sectors;
use virtio::memory::{Segment, SharedMemory};
use virtio::queue::Direction;
use virtio::spec::{Features, blk, scsi as wire};
use zerocopy::IntoBytes;

/// A device's configuration, and the features it has.
struct Config {
    bytes: [u8; 96],
    features: Features,
}

impl Config {
    fn new(features: Features) -> Self {
        Self { bytes: [0; 96], features }
    }

    fn with(mut self, offset: usize, value: u64) -> Self {
        let bytes = value.to_le_bytes();
        let length = if offset == blk::config::CAPACITY { 8 } else { 4 };
        self.bytes[offset..offset + length].copy_from_slice(&bytes[..length]);
        self
    }
}

impl Probe for Config {
    fn features(&self) -> Features {
        self.features
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset..offset + N)?.try_into().ok()
    }
}

fn hba() -> Vioscsi {
    let config = Config::new(Features::VERSION_1)
        .with(wire::config::NUM_QUEUES, 1)
        .with(wire::config::SEG_MAX, 126)
        .with(wire::config::MAX_SECTORS, 0xffff)
        .with(wire::config::CMD_PER_LUN, 128)
        .with(wire::config::SENSE_SIZE, u64::from(wire::config::DEFAULT_SENSE_SIZE))
        .with(wire::config::CDB_SIZE, u64::from(wire::config::DEFAULT_CDB_SIZE))
        // The upper half of the word that it shares with max_channel.
        .with(wire::config::MAX_TARGET - 2, 0x00ff_0000)
        .with(wire::config::MAX_LUN, 16383);
    Vioscsi::probe(&config).expect("QEMU's configuration is usable").0
}

const BLOCKS: u64 = 1000;

fn disk(features: Features, block_bytes: u32) -> Viostor {
    let config = Config::new(Features::VERSION_1 | Features::BLK_BLK_SIZE | features)
        .with(blk::config::CAPACITY, BLOCKS * u64::from(block_bytes) / 512)
        .with(blk::config::BLK_SIZE, u64::from(block_bytes));
    Viostor::probe(&config).expect("a usable configuration").0
}

/// What the short path writes of a request, and the header that the long one makes.
fn headers<D: Requests>(device: &D, builder: SrbBuilder) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut request = builder.build();
    assert_eq!(device.build_io(&mut request), BuildIo::Start);
    let Some(Command::Request(command, None)) = request.command() else { panic!("it goes into the ring") };
    let long = device.chain(&request, command, 0x1234_5678);
    // Whatever an earlier request has left.
    let memory = leak(64, 0x1000);
    let block = memory.block(0, 64).expect("it is as long");
    block.write(0, &[0xff; 64]);

    let direction = device.write_header(&request, &command, 0x1234_5678, block);

    forget(request);
    let direction = direction?;
    match long.data {
        ChainData::Whole(whole) => assert_eq!(direction, whole),
        other => panic!("{other:?} is not the whole buffer"),
    }
    let mut short = vec![0; size_of::<D::Header>()];
    memory.read_bytes(0, &mut short);
    Some((short, long.header.as_bytes().to_vec()))
}

fn with_data(cdb: &[u8], direction: DataDirection, bytes: u32) -> SrbBuilder {
    SrbBuilder::execute(cdb).with_segments(direction, &[Segment { address: 0x10_0000, length: bytes }])
}

#[test]
fn the_short_header_of_a_scsi_command_is_the_long_one() {
    let hba = hba();
    for length in [6, 10, 12, 16] {
        let cdb: Vec<u8> = (0x31..).take(length).collect();
        for direction in [DataDirection::In, DataDirection::Out] {
            let builder = with_data(&cdb, direction, 4096).to(0, 7, 200);

            let (short, long) = headers(&hba, builder).expect("it is queued as usual");

            assert_eq!(short, long, "{length} bytes");
        }
    }
}

#[test]
fn what_is_queued_in_another_way_or_has_another_length_takes_the_long_way() {
    let hba = hba();
    let other = Queueing { attribute: storport::srb::TaskAttribute::Ordered, ..Queueing::default() };
    let read = with_data(&[0x28; 10], DataDirection::In, 512);

    assert_eq!(headers(&hba, read.clone().queued(other)), None);
    assert!(headers(&hba, read).is_some());
    for length in [1, 7, 9, 11, 13, 15, 17, 32] {
        assert_eq!(headers(&hba, with_data(&vec![0x5a; length], DataDirection::In, 512)), None, "{length}");
    }
}

#[test]
fn the_short_header_of_a_block_request_is_the_long_one() {
    let disk = disk(Features::empty(), 512);
    for (code, direction) in [(0x28, DataDirection::In), (0x2a, DataDirection::Out)] {
        let cdb = [code, 0, 0, 0, 1, 0x44, 0, 0, 8, 0];

        let (short, long) = headers(&disk, with_data(&cdb, direction, 4096)).expect("it is plain");

        assert_eq!(short, long);
    }
}

/// A READ or WRITE by its fields.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    code: u8,
    flags: u8,
    start: u64,
    blocks: u32,
    control: u8,
}

impl Transfer {
    fn cdb(self) -> Vec<u8> {
        let Self { code, flags, start, blocks, control } = self;
        let mut cdb = vec![code, flags];
        if code < 0x80 {
            cdb.extend((start as u32).to_be_bytes());
            cdb.push(0);
            cdb.extend((blocks as u16).to_be_bytes());
        } else {
            cdb.extend(start.to_be_bytes());
            cdb.extend(blocks.to_be_bytes());
            cdb.push(0);
        }
        cdb.push(control);
        cdb
    }

    fn writes(self) -> bool {
        self.code & 2 != 0
    }

    /// What the disk has to do for it; `None`: it is refused, or there is nothing to do.
    fn expected(self, device: &Disk) -> Option<viostor::Command> {
        const PROTECT: u8 = 0xe0;
        const FUA: u8 = 0x08;
        const NACA: u8 = 0x04;
        let beyond = self.start.checked_add(u64::from(self.blocks)).is_none_or(|end| end > BLOCKS);
        let refused = self.flags & PROTECT != 0 || self.control & NACA != 0 || beyond;
        if refused || self.blocks == 0 || self.writes() && device.read_only {
            return None;
        }
        let first = Sectors(self.start * u64::from(device.block_bytes / 512));
        Some(match self.writes() {
            false => viostor::Command::Read(first),
            true if self.flags & FUA != 0 && device.flushes => viostor::Command::WriteThrough(first),
            true => viostor::Command::Write(first),
        })
    }
}

struct Disk {
    block_bytes: u32,
    flushes: bool,
    read_only: bool,
}

#[test]
fn reads_and_writes_of_all_flags_ranges_and_disks_are_decoded_as_sbc_says() {
    let mut started = 0;
    for (block_bytes, flushes, read_only) in
        [(512, true, false), (4096, true, false), (512, false, false), (4096, false, true)]
    {
        let model = Disk { block_bytes, flushes, read_only };
        let flush = if flushes { Features::BLK_FLUSH } else { Features::empty() };
        let protect = if read_only { Features::BLK_RO } else { Features::empty() };
        let device = disk(flush | protect, block_bytes);
        let ranges = [
            (0, 1),
            (0, 0),
            (3, 8),
            (BLOCKS - 1, 1),
            (BLOCKS - 1, 2),
            (BLOCKS, 0),
            (BLOCKS, 1),
            (u64::from(u32::MAX), 1),
            (0, 1000),
            (1, 1000),
        ];
        for code in [0x28, 0x2a, 0x88, 0x8a] {
            for (flags, control) in (0..=u8::MAX).flat_map(|flags| [(flags, 0), (flags, 0x04), (flags, 0xc0)])
            {
                for (start, blocks) in ranges {
                    let transfer = Transfer { code, flags, start, blocks, control };
                    let direction = if transfer.writes() { DataDirection::Out } else { DataDirection::In };
                    let mut request = with_data(&transfer.cdb(), direction, blocks * block_bytes).build();

                    let decided = device.build_io(&mut request);

                    let command = (decided == BuildIo::Start).then(|| request.command());
                    let expected = transfer.expected(&model).map(|command| Some(Command::new(command)));
                    assert_eq!(command, expected, "{transfer:?} of {block_bytes}, flushes: {flushes}");
                    started += u32::from(command.is_some());
                    forget(request);
                }
            }
        }
    }
    assert!(started > 3000, "{started}");
}

#[test]
fn a_buffer_that_the_cdb_does_not_agree_with_is_not_transferred() {
    let disk = disk(Features::empty(), 512);
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    for (direction, bytes) in
        [(DataDirection::In, 512), (DataDirection::In, 2048), (DataDirection::Out, 1024)]
    {
        let mut request = with_data(&read, direction, bytes).build();

        let decided = disk.build_io(&mut request);

        assert!(matches!(decided, BuildIo::Complete(_)), "{direction:?}, {bytes} bytes");
        forget(request);
    }
}

#[test]
fn directions_are_the_rings() {
    let hba = hba();
    for (direction, expected) in
        [(DataDirection::In, Direction::FromDevice), (DataDirection::Out, Direction::ToDevice)]
    {
        let mut request = with_data(&[0x28; 10], direction, 512).build();
        assert_eq!(hba.build_io(&mut request), BuildIo::Start);
        let Some(Command::Request(command, None)) = request.command() else {
            panic!("it goes into the ring")
        };
        let memory = leak(64, 0x1000);
        let block = memory.block(0, 64).expect("it is as long");

        let written = hba.write_header(&request, &command, 1, block);

        assert_eq!(written, Some(expected));
        forget(request);
    }
}
