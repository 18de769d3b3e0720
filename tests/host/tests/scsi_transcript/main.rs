//! What viostor says to each command, as `sg_inq`, `sg_vpd`, `sg_modes` and their sisters would show it: CDB, data, how it
//! ended, what the answer means, and what the device was asked for. Kept as text, one file for each kind of disk, in which a
//! change of an answer is a change to be read.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p host-tests --test scsi_transcript` writes the files anew.

mod decode;

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use fake_device::disk::{Disk, RangeLimits};
use host_tests::cdb::{inquiry, inquiry_page, read10, read16, synchronize_cache10, write10, write16};
use host_tests::{DiskBench, reading, writing};
use storport::SrbStatus;
use storport::fake::{Completed, SrbBuilder};

/// The data that goes with a command.
#[derive(Clone)]
enum Data {
    None,
    /// Room for an answer.
    In(usize),
    /// Blocks that the device writes or reads.
    Blocks(usize),
    /// A parameter list, or a block.
    Out(Vec<u8>),
}

struct Step {
    title: &'static str,
    cdb: Vec<u8>,
    data: Data,
    decode: fn(&[u8]) -> String,
}

fn step(title: &'static str, cdb: &[u8], data: Data, decode: fn(&[u8]) -> String) -> Step {
    Step { title, cdb: cdb.to_vec(), data, decode }
}

/// A command without data to read anything from.
fn plain(title: &'static str, cdb: &[u8]) -> Step {
    step(title, cdb, Data::None, decode::nothing)
}

fn asks(title: &'static str, cdb: &[u8], decode: fn(&[u8]) -> String) -> Step {
    step(title, cdb, Data::In(1024), decode)
}

/// A block of the sixteen-byte commands.
fn sixteen(operation: u8, byte_1: u8, block: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = read16(block, blocks);
    (cdb[0], cdb[1]) = (operation, byte_1);
    cdb.to_vec()
}

fn ten(operation: u8, byte_1: u8, block: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = read10(block, blocks);
    (cdb[0], cdb[1]) = (operation, byte_1);
    cdb.to_vec()
}

fn unmap_list(block: u64, blocks: u32) -> Vec<u8> {
    [&[0, 22, 0, 16, 0, 0, 0, 0][..], &block.to_be_bytes(), &blocks.to_be_bytes(), &[0; 4]].concat()
}

fn mode_list(page: &[u8], length: usize) -> Vec<u8> {
    let mut list = [&[0; 4], page].concat();
    list.resize(4 + length, 0);
    list
}

/// Every command, roughly as a utility would go through them.
fn session(block_bytes: usize) -> Vec<Step> {
    let read_capacity_16 = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let pattern: Vec<u8> = host_tests::pattern(9, block_bytes);
    let block = |content: &[u8]| Data::Out(content.to_vec());
    vec![
        plain("TEST UNIT READY", &[0; 6]),
        asks("INQUIRY", &inquiry(255), decode::inquiry),
        asks("INQUIRY, 36 bytes as StorPort asks", &inquiry(36), decode::inquiry),
        asks("INQUIRY, a page code without EVPD", &[0x12, 0, 0x83, 0, 255, 0], decode::nothing),
        asks("INQUIRY, supported pages", &inquiry_page(0x00, 255), decode::pages),
        asks("INQUIRY, unit serial number", &inquiry_page(0x80, 255), decode::serial),
        asks("INQUIRY, device identification", &inquiry_page(0x83, 255), decode::designators),
        asks("INQUIRY, extended INQUIRY data", &inquiry_page(0x86, 255), decode::nothing),
        asks("INQUIRY, block limits", &inquiry_page(0xb0, 255), decode::block_limits),
        asks("INQUIRY, block device characteristics", &inquiry_page(0xb1, 255), decode::characteristics),
        asks("INQUIRY, logical block provisioning", &inquiry_page(0xb2, 255), decode::provisioning),
        asks("REPORT LUNS", &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0], decode::luns),
        asks("REPORT LUNS, well known", &[0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0], decode::luns),
        asks("REPORT LUNS, a reserved selection", &[0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 255, 0, 0], decode::luns),
        asks("READ CAPACITY(10)", &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], decode::capacity_10),
        asks("READ CAPACITY(10), an address without PMI", &ten(0x25, 0, 1, 0), decode::capacity_10),
        asks("READ CAPACITY(16)", &read_capacity_16, decode::capacity_16),
        asks("GET LBA STATUS", &sixteen(0x9e, 0x12, 0, 64), decode::nothing),
        asks("MODE SENSE(6), all pages", &[0x1a, 0, 0x3f, 0, 255, 0], decode::mode_6),
        asks("MODE SENSE(10), all pages", &[0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 1, 0, 0], decode::mode_10),
        asks("MODE SENSE(6), what can be changed", &[0x1a, 8, 0x7f, 0, 255, 0], decode::mode_6),
        asks("MODE SENSE(6), default caching page", &[0x1a, 8, 0x88, 0, 255, 0], decode::mode_6),
        asks("MODE SENSE(6), saved caching page", &[0x1a, 8, 0xc8, 0, 255, 0], decode::mode_6),
        asks("MODE SENSE(6), a page that is not there", &[0x1a, 8, 0x02, 0, 255, 0], decode::mode_6),
        asks("MODE SENSE(6), a subpage that is not there", &[0x1a, 8, 0x0a, 1, 255, 0], decode::mode_6),
        step(
            "MODE SELECT(6), WCE off",
            &[0x15, 0x10, 0, 0, 24, 0],
            Data::Out(mode_list(&[0x08, 0x12], 20)),
            decode::nothing,
        ),
        asks("MODE SENSE(6), caching page", &[0x1a, 8, 0x08, 0, 255, 0], decode::mode_6),
        step(
            "MODE SELECT(6), WCE on",
            &[0x15, 0x10, 0, 0, 24, 0],
            Data::Out(mode_list(&[0x08, 0x12, 0x04], 20)),
            decode::nothing,
        ),
        step(
            "MODE SELECT(6), the control page as it is",
            &[0x15, 0x10, 0, 0, 16, 0],
            Data::Out(mode_list(&[0x0a, 0x0a, 0x02, 0x10], 12)),
            decode::nothing,
        ),
        step(
            "MODE SELECT(6), SP",
            &[0x15, 0x11, 0, 0, 16, 0],
            Data::Out(mode_list(&[0x0a, 0x0a, 0x02, 0x10], 12)),
            decode::nothing,
        ),
        asks("REQUEST SENSE", &[0x03, 0, 0, 0, 252, 0], decode::sense),
        asks("REQUEST SENSE, descriptor format", &[0x03, 1, 0, 0, 252, 0], decode::sense),
        plain("SEND DIAGNOSTIC, default self-test", &[0x1d, 0x04, 0, 0, 0, 0]),
        plain("SEND DIAGNOSTIC, extended self-test", &[0x1d, 0x40, 0, 0, 0, 0]),
        plain("START STOP UNIT, start", &[0x1b, 0, 0, 0, 1, 0]),
        plain("START STOP UNIT, stop", &[0x1b, 0, 0, 0, 0, 0]),
        plain("START STOP UNIT, stop without a flush", &[0x1b, 0, 0, 0, 4, 0]),
        plain("START STOP UNIT, eject", &[0x1b, 0, 0, 0, 2, 0]),
        plain("START STOP UNIT, standby", &[0x1b, 0, 0, 0, 0x30, 0]),
        plain("PREVENT ALLOW MEDIUM REMOVAL, prevent", &[0x1e, 0, 0, 0, 1, 0]),
        plain("PREVENT ALLOW MEDIUM REMOVAL, persistent", &[0x1e, 0, 0, 0, 2, 0]),
        asks("LOG SENSE, supported pages", &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255, 0], decode::log_pages),
        asks("LOG SENSE, solid state media", &[0x4d, 0, 0x51, 0, 0, 0, 0, 0, 255, 0], decode::wear),
        asks("LOG SENSE, temperature", &[0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 255, 0], decode::nothing),
        asks(
            "REPORT SUPPORTED OPERATION CODES",
            &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0],
            decode::operation_codes,
        ),
        asks(
            "REPORT SUPPORTED OPERATION CODES, UNMAP",
            &[0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 1, 0, 0, 0],
            decode::operation_code,
        ),
        asks(
            "REPORT SUPPORTED OPERATION CODES, GET LBA STATUS, with timeouts",
            &[0xa3, 0x0c, 0x82, 0x9e, 0, 0x12, 0, 0, 1, 0, 0, 0],
            decode::operation_code,
        ),
        asks(
            "REPORT SUPPORTED OPERATION CODES, WRITE(16), with timeouts",
            &[0xa3, 0x0c, 0x81, 0x8a, 0, 0, 0, 0, 1, 0, 0, 0],
            decode::operation_code,
        ),
        step("WRITE(10)", &write10(8, 2), Data::Blocks(2), decode::nothing),
        step("WRITE(10), FUA", &ten(0x2a, 0x08, 8, 2), Data::Blocks(2), decode::nothing),
        step("WRITE(16)", &write16(10, 1), Data::Blocks(1), decode::nothing),
        step("WRITE(12)", &[0xaa, 0, 0, 0, 0, 11, 0, 0, 0, 1, 0, 0], Data::Blocks(1), decode::nothing),
        step("WRITE(6)", &[0x0a, 0, 0, 12, 1, 0], Data::Blocks(1), decode::nothing),
        step("WRITE(10), protection information", &ten(0x2a, 0x20, 8, 1), Data::Blocks(1), decode::nothing),
        step("READ(10)", &read10(8, 2), Data::Blocks(2), decode::nothing),
        step("READ(6), 256 blocks", &[0x08, 0, 0, 0, 0, 0], Data::Blocks(256), decode::nothing),
        step("READ(16), past the end", &read16(u64::MAX, 1), Data::Blocks(1), decode::nothing),
        plain("READ(16), no blocks", &read16(0, 0)),
        plain("SYNCHRONIZE CACHE(10)", &synchronize_cache10()),
        plain("SYNCHRONIZE CACHE(16), IMMED", &sixteen(0x91, 0x02, 0, 0)),
        step("WRITE AND VERIFY(10)", &ten(0x2e, 0, 8, 1), Data::Blocks(1), decode::nothing),
        step("WRITE(10), a block of another pattern", &write10(13, 1), Data::Blocks(1), decode::nothing),
        plain("VERIFY(10)", &ten(0x2f, 0, 0, 2)),
        step(
            "VERIFY(10), BYTCHK 01b",
            &ten(0x2f, 0x02, 64, 1),
            block(&vec![0; block_bytes]),
            decode::nothing,
        ),
        step(
            "VERIFY(16), BYTCHK 01b, other data",
            &sixteen(0x8f, 0x02, 64, 1),
            block(&pattern),
            decode::nothing,
        ),
        plain("VERIFY(10), BYTCHK 10b", &ten(0x2f, 0x04, 0, 1)),
        step("WRITE SAME(10)", &ten(0x41, 0, 16, 4), block(&pattern), decode::nothing),
        step(
            "WRITE SAME(16), zeroes",
            &sixteen(0x93, 0, 16, 4),
            block(&vec![0; block_bytes]),
            decode::nothing,
        ),
        plain("WRITE SAME(16), UNMAP and NDOB", &sixteen(0x93, 0x09, 16, 4)),
        plain("WRITE SAME(16), NDOB, to the end", &sixteen(0x93, 0x01, 16, 0)),
        step("UNMAP", &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], Data::Out(unmap_list(16, 8)), decode::nothing),
        step(
            "UNMAP, past the end",
            &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            Data::Out(unmap_list(u64::MAX, 1)),
            decode::nothing,
        ),
        step(
            "UNMAP, ANCHOR",
            &[0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0],
            Data::Out(unmap_list(16, 8)),
            decode::nothing,
        ),
        plain("SANITIZE, block erase", &ten(0x48, 0x02, 0, 0)),
        plain("FORMAT UNIT", &[0x04, 0, 0, 0, 0, 0]),
        step("COMPARE AND WRITE", &sixteen(0x89, 0, 0, 1), Data::None, decode::nothing),
        plain("RESERVE(6)", &[0x16, 0, 0, 0, 0, 0]),
        plain("RELEASE(6)", &[0x17, 0, 0, 0, 0, 0]),
        asks("PERSISTENT RESERVE IN", &[0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0], decode::nothing),
        step(
            "PERSISTENT RESERVE OUT",
            &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            Data::Out(vec![0; 24]),
            decode::nothing,
        ),
        plain("TEST UNIT READY, NACA", &[0, 0, 0, 0, 0, 4]),
    ]
}

fn execute(bench: &DiskBench, step: &Step, block_bytes: usize) -> Completed {
    let request = match &step.data {
        Data::None => SrbBuilder::execute(&step.cdb),
        Data::In(room) => SrbBuilder::execute(&step.cdb).with_data_in(*room),
        Data::Out(data) => SrbBuilder::execute(&step.cdb).with_data_out(data),
        Data::Blocks(blocks) => {
            let buffer = bench.buffer(blocks * block_bytes);
            let reads = matches!(step.cdb[0], 0x08 | 0x28 | 0x88 | 0xa8);
            if reads { reading(&step.cdb, &[buffer]) } else { writing(&step.cdb, &[buffer]) }
        }
    };
    bench.execute(request)
}

/// How a command ended, in words.
fn ending(completed: &Completed) -> String {
    let transferred = completed.completion.transferred;
    match completed.completion.srb_status_byte() {
        0x01 if transferred == 0 => "good".into(),
        0x01 => format!("good, {transferred} bytes"),
        0x84 => format!("check condition: {}", decode::sense(&completed.sense)),
        other => format!("SRB status {other:02x}"),
    }
}

fn transcript(title: &str, disk: Disk) -> String {
    let block_bytes = disk.block_bytes.unwrap_or(512) as usize;
    let bench = DiskBench::with_disk(disk);
    let mut text = format!("{title}\n");
    for step in session(block_bytes) {
        bench.device.trace();
        let completed = execute(&bench, &step, block_bytes);
        let good = completed.completion.status == SrbStatus::SUCCESS;
        let _ = writeln!(text, "\n{}\n  cdb     {}", step.title, decode::hex(&step.cdb));
        match &step.data {
            Data::Out(data) if data.len() < 64 => decode::dump(&mut text, "out", data),
            Data::Out(data) => {
                let _ = writeln!(text, "  out     {} bytes", data.len());
            }
            Data::Blocks(blocks) => {
                let _ = writeln!(text, "  data    {blocks} block(s)");
            }
            Data::In(_) if good => {
                decode::dump(&mut text, "in", &completed.data[..completed.completion.transferred as usize]);
            }
            Data::In(_) | Data::None => {}
        }
        for line in bench.device.take_trace() {
            let _ = writeln!(text, "  device  {line}");
        }
        let _ = writeln!(text, "  ends    {}", ending(&completed));
        if good && matches!(step.data, Data::In(_)) {
            let answer = &completed.data[..completed.completion.transferred as usize];
            for line in (step.decode)(answer).lines() {
                let _ = writeln!(text, "  says    {line}");
            }
        }
    }
    bench.device.assert_no_violations();
    text.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scsi_transcript").join(name);
    if env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, text).expect("the transcript can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let differs = kept.lines().zip(text.lines()).position(|(kept, new)| kept != new);
    if let Some(at) = differs {
        let line = |text: &str| text.lines().nth(at).unwrap_or_default().to_string();
        panic!(
            "{name}, line {}: kept\n{}\nnow\n{}\n(UPDATE_TRANSCRIPTS=1 writes it anew)",
            at + 1,
            line(&kept),
            line(text)
        );
    }
    assert_eq!(kept.lines().count(), text.lines().count(), "{name} has another number of lines");
}

#[test]
fn a_512n_disk_says_what_it_said() {
    let mut disk = Disk::new(1 << 33);
    disk.geometry = Some((260, 16, 63));
    disk.writeback = Some(1);

    compare(
        "512n.txt",
        &transcript("A disk of 4 TiB with blocks of 512 bytes, a volatile cache and a geometry", disk),
    );
}

#[test]
fn a_512e_disk_with_discard_says_what_it_said() {
    let limits = RangeLimits { max_sectors: 1 << 21, max_seg: 16, alignment: 128 };
    let mut disk = Disk::new(1 << 14);
    disk.topology = Some((3, 1, 8, 2048));
    disk.discard = Some(limits);
    disk.write_zeroes = Some((limits, true));
    disk.secure_erase = Some(RangeLimits { max_sectors: u32::MAX, ..limits });
    disk.lifetime = Some([1, 0, 3]);

    let title = "A disk of 8 MiB with blocks of 512 bytes on physical ones of 4096, discard, write zeroes, secure erase and \
                 lifetime";
    compare("512e-discard.txt", &transcript(title, disk));
}

#[test]
fn a_4kn_read_only_disk_says_what_it_said() {
    let mut disk = Disk::new(1 << 18);
    disk.block_bytes = Some(4096);
    disk.read_only = true;
    disk.flush = false;
    disk.serial = None;

    let title = "A read-only disk of 128 MiB with blocks of 4096 bytes, without a volatile cache and without a serial number";
    compare("4kn-read-only.txt", &transcript(title, disk));
}
