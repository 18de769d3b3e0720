//! `churn=N`: N times a disk comes, goes or changes its size, or the CD-ROM its medium, in an order that the seed decides,
//! while all other disks are written, read back and verified.
//!
//! A disk that comes must be the one it was: the same identity byte for byte wherever it is plugged in, the size that it has by
//! now, and what was written before it went. The requests of one that goes must all end, with what the class driver takes for a
//! device that is gone ([`GONE`]); a request that ends twice, or not at all, breaks a rule of the stand. After each change a bus
//! scan finds the units that are there and no other.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use stand::class::{RETRIES, Status};
use stand::cmdline::Options;
use stand::scsi::{self, Command, Inquiry, Sense};
use stand::stamp::{self, MEDIUM_BLOCK, MEDIUM_GENERATION, SplitMix64, Stamp};

use super::{ANNOUNCE, MEDIUM_CHANGED, NO_MEDIUM, PLUGGED, is_news, negotiated};
use crate::host;
use crate::memory::{arena, driver};
use crate::scan::class::{self, Outcome, TIMEOUT};
use crate::scan::{CDROM, DISK, Unit};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, port, queue};
use crate::suite::load::Load;

/// Where the disks that come are plugged in: behind targets that are there and others, first and last ones.
const PLACES: [Address; 9] = [
    (0, 0, 5),
    (0, 0, 254),
    (0, 1, 3),
    (0, 2, 0),
    (0, 2, 7),
    (0, 77, 1),
    (0, 128, 0),
    (0, 254, 0),
    (0, 254, 254),
];
/// Bytes of a block of the disks that come; the runner has a node `hot0`, `hot1` … of [`PLUGGED`] bytes for each.
const BLOCKS: [u32; 4] = [512, 4096, 512, 512];
/// Transfers at once on a disk that stays, and on one that comes and goes.
const DEPTH: usize = 16;
const DEPTH_HOT: usize = 8;
/// Blocks that belong to one of the latter.
const SHARE_HOT: u64 = 256;
/// What a resize adds at least, and how many of these a disk that comes has at most more than at first.
const STEP: u64 = 1 << 20;
const STEPS: u64 = 16;
/// The nodes of the disks that stay, by LUN of target 0.
const STEADY: [&str; 2] = ["disk1", "disk2"];
/// The media: stamped, and all zeros.
const MEDIA: [&str; 2] = ["cd0", "cd1"];
/// What applications may be told of requests to a unit that has gone.
const GONE: [Status; 2] = [Status::NO_SUCH_DEVICE, Status::DEVICE_NOT_CONNECTED];
/// The same where other units of its target are left: QEMU has one of them look at the CDB (hw/scsi/scsi-bus.c,
/// scsi_device_find), and where that one's blocks are larger, there is not room for so many: VIRTIO_SCSI_S_OVERRUN
/// (hw/scsi/virtio-scsi.c, virtio_scsi_handle_cmd_req_prepare).
const GONE_FROM_TARGET: Status = Status::DATA_OVERRUN;
/// And of LUN 0 there, which is QEMU's own then and knows hardly a command (scsi_target_send_command).
const GONE_FROM_LUN_0: Status = Status::INVALID_DEVICE_REQUEST;
/// And of a request that the device ended on the way out and that was not sent again.
const ENDED: Status = Status::IO_TIMEOUT;
/// Tells this suite's commands from those of others.
const COOKIE: u64 = 0x4348 << 48;
/// Longest wait for requests of a unit that has gone, in milliseconds.
const LAST: u64 = TIMEOUT as u64 * 1000 + 30_000;
/// LOGICAL BLOCK ADDRESS OUT OF RANGE.
const OUT_OF_RANGE: Sense = Sense { key: 5, asc: 0x21, ascq: 0 };

/// A disk that comes and goes.
struct Hot {
    number: usize,
    /// Where it is; `None`: it is not there.
    place: Option<Address>,
    bytes: u64,
    /// INQUIRY, VPD 80 and VPD 83 of the first time.
    identity: Vec<Vec<u8>>,
    load: Option<Load>,
}

impl Hot {
    fn block(&self) -> u32 {
        BLOCKS[self.number]
    }

    fn node(&self) -> String {
        format!("hot{}", self.number)
    }

    fn serial(&self) -> String {
        format!("RUST-HOT-{}", self.number)
    }
}

/// What was done and seen.
#[derive(Default)]
struct Counts {
    plugs: u32,
    unplugs: u32,
    grown: u32,
    shrunk: u32,
    media: u32,
    /// Units that came back with data of theirs.
    returned: u32,
    /// Blocks that they were asked for then.
    returned_blocks: u64,
    announced: u32,
    scans: u32,
    /// Requests that ended because their unit had gone, by what the application is told.
    ends: BTreeMap<u32, u64>,
}

struct Churn<'a> {
    options: &'a Options,
    random: SplitMix64,
    steady: Load,
    sizes: [u64; 2],
    hot: Vec<Hot>,
    cdrom: Option<Address>,
    medium: usize,
    /// Units that never go.
    base: Vec<Address>,
    follows: bool,
    counts: Counts,
    commands: u64,
}

/// Does it all.
pub fn run(units: &[Unit], options: &Options) {
    let steady: Vec<Unit> = units
        .iter()
        .filter(|unit| unit.inquiry.device_type == DISK && unit.address.1 == 0)
        .cloned()
        .collect();
    let bytes = |unit: &Unit| unit.capacity.map(|capacity| capacity.blocks * u64::from(capacity.block_size));
    let sizes: Vec<u64> = steady.iter().filter_map(bytes).collect();
    let Ok(sizes) = <[u64; 2]>::try_from(sizes) else {
        crate::not_ok!("churn", "there are not the usual two disks");
        return;
    };
    let is_cdrom = |unit: &&Unit| unit.inquiry.device_type == CDROM && unit.capacity.is_some();
    let new = |number| Hot { number, place: None, bytes: PLUGGED, identity: Vec::new(), load: None };
    let mut churn = Churn {
        options,
        random: SplitMix64(options.seed ^ 0xC4_42),
        steady: Load::new(&steady, options, DEPTH),
        sizes,
        hot: (0..BLOCKS.len()).map(new).collect(),
        cdrom: units.iter().find(is_cdrom).map(|unit| unit.address),
        medium: 0,
        base: units.iter().map(|unit| unit.address).collect(),
        follows: negotiated(super::HOTPLUG) && negotiated(super::CHANGE),
        counts: Counts::default(),
        commands: 0,
    };
    if !churn.follows {
        crate::skip!("churn-announced", "the driver has not negotiated HOTPLUG and CHANGE");
    }
    churn.steady.start();
    let mut failed = None;
    for number in 0..options.churn {
        if let Err(why) = churn.change(number) {
            failed = Some((number, why));
            break;
        }
    }
    churn.report(failed);
}

impl Churn<'_> {
    /// One change of one unit.
    fn change(&mut self, number: u32) -> Result<(), String> {
        let hot = self.random.below(self.hot.len() as u64) as usize;
        port().rescan = false;
        let result = match (self.random.below(20), self.cdrom) {
            (0..=1, Some(cdrom)) => self.change_medium(cdrom).map_err(|why| format!("the medium: {why}")),
            (2..=7, _) => self.resize(hot).map_err(|why| format!("resize: {why}")),
            _ if self.hot[hot].place.is_some() => self.unplug(hot).map_err(|why| format!("unplug: {why}")),
            _ => self.plug(hot).map_err(|why| format!("plug: {why}")),
        };
        crate::progress!("change {} of {}", number + 1, self.options.churn);
        result
    }

    /// Whatever is under way goes on.
    fn step(&mut self) {
        self.steady.poll();
        for hot in &mut self.hot {
            if let (Some(_), Some(load)) = (hot.place, &mut hot.load) {
                load.poll();
            }
        }
    }

    fn qmp(&mut self, json: &str) -> Result<String, String> {
        host::qmp_while(json, || self.step()).map_err(|error| format!("the machine would not: {error}"))
    }

    fn wait(&mut self, limit: u64, mut until: impl FnMut(&mut Self) -> bool) -> bool {
        queue::wait(limit, || {
            self.step();
            until(self)
        })
    }

    /// nf-storport-storportnotification.md, BusChangeDetected; nf-storport-storportstatechangedetected.md.
    fn await_announcement(&mut self) -> Result<(), String> {
        if !self.follows {
            return Ok(());
        }
        if !self.wait(ANNOUNCE, |_| port().rescan) {
            return Err("the driver did not ask for a bus scan".into());
        }
        self.counts.announced += 1;
        Ok(())
    }

    /// Commands that read up to `length` bytes, all at once; the answers in their order. A unit attention is news: such a
    /// command is sent again, `tries` times in all.
    fn ask_all(
        &mut self,
        commands: &[(Address, Command)],
        length: u32,
        tries: u32,
    ) -> Vec<(Outcome, Vec<u8>)> {
        let mut buffers = Vec::new();
        let mut answers: Vec<Option<(Outcome, Vec<u8>)>> = commands.iter().map(|_| None).collect();
        let mut tries: Vec<u32> = commands.iter().map(|_| tries).collect();
        self.commands += 1;
        let cookie = COOKIE | (self.commands & 0xFFFF_FFFF) << 16;
        let send = |index: usize, data: Data| {
            let (address, command) = commands[index];
            let mut request = Request::new(address, command, data, TIMEOUT);
            request.cookie = cookie | index as u64;
            queue::submit(request);
        };
        for index in 0..commands.len() {
            let Some(range) = arena::scattered(u64::from(length.max(1))) else {
                crate::stop!("no memory for a buffer")
            };
            buffers.push(range);
            send(index, Data { address: if length == 0 { 0 } else { range.address }, length });
        }
        let done = self.wait(LAST, |_| {
            for request in queue::take_done(|other| other & !0xFFFF == cookie) {
                let index = (request.cookie & 0xFFFF) as usize;
                let outcome = Outcome::of(&request.answer);
                tries[index] -= 1;
                if tries[index] > 0
                    && matches!(outcome, Outcome::Sense(Sense { key: scsi::UNIT_ATTENTION, .. }))
                {
                    send(index, request.data);
                    continue;
                }
                let moved = request.answer.transferred.min(length) as usize;
                let good = matches!(outcome, Outcome::Good) && length > 0;
                let bytes =
                    if good { driver::bytes("class", request.data.address, moved) } else { Vec::new() };
                answers[index] = Some((outcome, bytes));
            }
            answers.iter().all(Option::is_some)
        });
        if !done {
            crate::stop!("commands neither ended nor timed out");
        }
        buffers.into_iter().for_each(arena::release);
        answers.into_iter().flatten().collect()
    }

    fn ask(&mut self, address: Address, command: Command, length: u32) -> Result<Vec<u8>, String> {
        let (outcome, bytes) = self.ask_all(&[(address, command)], length, 6).remove(0);
        match outcome {
            Outcome::Good => Ok(bytes),
            outcome => Err(format!("{} of {}: {outcome}", command.name, class::name(address))),
        }
    }

    /// What a bus scan finds: REPORT LUNS to each target, INQUIRY to each unit.
    fn scan(&mut self) -> Result<(), String> {
        const ROOM: u32 = 8 + 16 * 8;
        let targets = port().config.maximum_number_of_targets;
        let each: Vec<_> = (0..targets).map(|target| ((0, target, 0), scsi::report_luns(ROOM))).collect();
        let mut units = Vec::new();
        for ((address, _), (outcome, data)) in each.iter().zip(self.ask_all(&each, ROOM, 6)) {
            match outcome {
                Outcome::Good => units.extend(scsi::luns(&data).iter().map(|lun| (0, address.1, *lun))),
                Outcome::NoDevice => {}
                outcome => return Err(format!("REPORT LUNS of target {}: {outcome}", address.1)),
            }
        }
        let each: Vec<_> = units.iter().map(|unit| (*unit, scsi::inquiry(None, 36))).collect();
        let mut found = Vec::new();
        for ((address, _), (outcome, data)) in each.iter().zip(self.ask_all(&each, 36, 6)) {
            match scsi::parse_inquiry(&data) {
                Some(Inquiry { qualifier: 0, .. }) => found.push(*address),
                Some(_) => {}
                None => return Err(format!("INQUIRY of {}: {outcome}", class::name(*address))),
            }
        }
        let mut expected: Vec<_> =
            self.base.iter().copied().chain(self.hot.iter().filter_map(|hot| hot.place)).collect();
        expected.sort_unstable();
        found.sort_unstable();
        self.counts.scans += 1;
        if found == expected { Ok(()) } else { Err(format!("{found:?} are found, {expected:?} are there")) }
    }

    /// A disk comes.
    fn plug(&mut self, index: usize) -> Result<(), String> {
        let free: Vec<_> =
            PLACES.into_iter().filter(|place| self.hot.iter().all(|hot| hot.place != Some(*place))).collect();
        let place = free[self.random.below(free.len() as u64) as usize];
        let (node, serial, block) =
            (self.hot[index].node(), self.hot[index].serial(), self.hot[index].block());
        let (_, target, lun) = place;
        let wwn = 0x5000_C500_0000_0000_u64 + index as u64;
        self.qmp(&format!(
            r#"{{"execute":"device_add","arguments":{{"driver":"scsi-hd","id":"{node}-disk","bus":"scsi0.0","channel":0,"scsi-id":{target},"lun":{lun},"drive":"{node}","serial":"{serial}","wwn":{wwn},"logical_block_size":{block},"physical_block_size":{block}}}}}"#
        ))?;
        self.await_announcement()?;
        // The load does not begin before the disk is known to be the right one.
        let load = self.hot[index].load.take();
        self.hot[index].place = Some(place);
        self.scan()?;
        self.identify(index, place)?;
        self.check_size(place, self.hot[index].bytes, block)?;
        let load = match load {
            Some(mut load) => {
                load.move_to(place);
                load.retry(RETRIES);
                load.recheck();
                self.counts.returned += 1;
                load
            }
            None => self.new_load(place, self.hot[index].bytes, block),
        };
        let before = load.verified;
        self.hot[index].load = Some(load);
        self.load(index).start();
        let read = self.wait(LAST, |churn| churn.load(index).is_rechecked());
        if !read {
            return Err(format!("{serial}: what was written before is not read back in time"));
        }
        // Some of what is new as well.
        let until = self.load(index).done + 2 * DEPTH_HOT as u64;
        self.wait(LAST, |churn| churn.load(index).done >= until || churn.load(index).failures > 0);
        self.counts.returned_blocks += self.load(index).verified - before;
        self.is_well(index)?;
        self.counts.plugs += 1;
        Ok(())
    }

    fn load(&mut self, index: usize) -> &mut Load {
        match &mut self.hot[index].load {
            Some(load) => load,
            None => crate::stop!("the stand itself failed: no load for a disk that is there"),
        }
    }

    fn new_load(&self, place: Address, bytes: u64, block: u32) -> Load {
        let capacity =
            scsi::Capacity { blocks: bytes / u64::from(block), block_size: block, physical_exponent: 0 };
        let inquiry = Inquiry { device_type: DISK, ..Inquiry::default() };
        let unit = Unit { address: place, inquiry, capacity: Some(capacity) };
        let mut load = Load::on_part(&[unit], self.options, DEPTH_HOT, SHARE_HOT);
        load.retry_at_once();
        load
    }

    fn is_well(&mut self, index: usize) -> Result<(), String> {
        let load = self.load(index);
        if load.failures == 0 { Ok(()) } else { Err(load.faults.join("; ")) }
    }

    /// Whoever it was before, it is.
    fn identify(&mut self, index: usize, place: Address) -> Result<(), String> {
        let serial = self.hot[index].serial();
        let mut identity = Vec::new();
        for page in [None, Some(0x80), Some(0x83)] {
            identity.push(self.ask(place, scsi::inquiry(page, 255), 255)?);
        }
        let says = scsi::text(scsi::vpd(&identity[1], 0x80).unwrap_or_default());
        let names = scsi::identifiers(scsi::vpd(&identity[2], 0x83).unwrap_or_default());
        let wwn = format!("naa.{:016x}", 0x5000_C500_0000_0000_u64 + index as u64);
        if says != serial || !names.contains(&wwn) {
            return Err(format!("{} says that it is '{says}', {names:?}: not {serial}", class::name(place)));
        }
        let before = &mut self.hot[index].identity;
        if before.is_empty() {
            *before = identity;
        } else if *before != identity {
            return Err(format!("{serial} was {before:02x?} and is {identity:02x?}"));
        }
        Ok(())
    }

    fn check_size(&mut self, place: Address, bytes: u64, block: u32) -> Result<(), String> {
        let name = class::name(place);
        let data = self.ask(place, scsi::read_capacity_16(), 32)?;
        let capacity = scsi::parse_capacity_16(&data).unwrap_or_default();
        let blocks = bytes / u64::from(block);
        if (capacity.blocks, capacity.block_size) != (blocks, block) {
            return Err(format!("{name}: {capacity:?}, there are {blocks} blocks of {block} bytes"));
        }
        self.ask(place, scsi::transfer(false, blocks - 1, 1, false), block)?;
        let beyond = (place, scsi::transfer(false, blocks, 1, false));
        match self.ask_all(&[beyond], block, 6).remove(0).0 {
            Outcome::Sense(sense) if sense == OUT_OF_RANGE => Ok(()),
            outcome => Err(format!("{name}: a read behind the last block: {outcome}")),
        }
    }

    /// A disk goes, with requests under way.
    fn unplug(&mut self, index: usize) -> Result<(), String> {
        let Some(place) = self.hot[index].place else { return Ok(()) };
        self.is_well(index)?;
        let retries = if self.random.below(4) == 0 { 0 } else { RETRIES };
        self.load(index).retry(retries);
        let node = self.hot[index].node();
        let json = format!(r#"{{"execute":"device_del","arguments":{{"id":"{node}-disk"}}}}"#);
        let mut until_one_fails = || {
            if self.load(index).failures > 0 {
                // More of them would only make it unknown what is on the disk.
                self.load(index).stop();
            }
            self.step();
        };
        // The answer to device_del only says that it was asked for; the event, that it is done.
        host::qmp_while(&json, &mut until_one_fails)
            .and_then(|_| host::event_while("DEVICE_DELETED", &mut until_one_fails))
            .map_err(|error| format!("the machine would not: {error}"))?;
        self.load(index).stop();
        if !self.wait(LAST, |churn| churn.load(index).is_idle()) {
            crate::stop!("requests of a unit that has gone neither ended nor timed out");
        }
        self.hot[index].place = None;
        self.await_announcement()?;
        self.scan()?;
        // Not TEST UNIT READY: LUN 0 of a target that is there is QEMU's own, and good (hw/scsi/scsi-bus.c,
        // scsi_target_send_command).
        let read = scsi::transfer(false, 0, 1, false);
        let (outcome, data) = self.ask_all(&[(place, read)], self.hot[index].block(), 1).remove(0);
        let news = matches!(outcome, Outcome::Sense(Sense { key: scsi::UNIT_ATTENTION, .. }));
        if news || !data.is_empty() {
            return Err(format!("{}, which has gone: {outcome}, {} bytes", class::name(place), data.len()));
        }
        let load = self.load(index);
        let (statuses, wrong, faults) =
            (core::mem::take(&mut load.statuses), load.wrong, load.faults.join("; "));
        load.abandon();
        let shares = self.base.iter().chain(self.hot.iter().filter_map(|hot| hot.place.as_ref()));
        let shares = shares.filter(|other| other.1 == place.1).count() > 0;
        let allowed = |status: &u32| {
            GONE.iter().any(|gone| gone.0 == *status)
                || shares && *status == GONE_FROM_TARGET.0
                || shares && place.2 == 0 && *status == GONE_FROM_LUN_0.0
                || retries == 0 && *status == ENDED.0
        };
        if wrong > 0 || !statuses.keys().all(allowed) {
            return Err(format!("{}, which has gone: {faults}", class::name(place)));
        }
        for (status, count) in statuses {
            *self.counts.ends.entry(status).or_default() += count;
        }
        self.counts.unplugs += 1;
        Ok(())
    }

    /// A disk becomes larger, or, if it is one that comes and goes, smaller.
    fn resize(&mut self, index: usize) -> Result<(), String> {
        let hot = &self.hot[index];
        let (node, place, block, old, new) = match hot.place {
            Some(place) => {
                let other = hot.bytes / STEP + 1 + self.random.below(STEPS);
                let smallest = PLUGGED / STEP;
                let new = (smallest + (other - smallest) % (STEPS + 1)) * STEP;
                (hot.node(), place, hot.block(), hot.bytes, new)
            }
            None => {
                let disk = self.random.below(2) as usize;
                let old = self.sizes[disk];
                let block = if disk == 0 { 512 } else { 4096 };
                (STEADY[disk].to_string(), (0, 0, disk as u8), block, old, old + STEP)
            }
        };
        self.qmp(&format!(
            r#"{{"execute":"block_resize","arguments":{{"node-name":"{node}","size":{new}}}}}"#
        ))?;
        match self.hot[index].place {
            Some(_) => self.hot[index].bytes = new,
            None => self.sizes[usize::from(place.2)] = new,
        }
        self.await_announcement()?;
        self.check_size(place, new, block)?;
        if new > old {
            self.counts.grown += 1;
        } else {
            self.counts.shrunk += 1;
        }
        Ok(())
    }

    /// The tray opens, perhaps with another medium, and closes.
    fn change_medium(&mut self, cdrom: Address) -> Result<(), String> {
        let event = |churn: &mut Self| {
            host::event_while("DEVICE_TRAY_MOVED", || churn.step())
                .map_err(|error| format!("the machine would not: {error}"))
        };
        self.qmp(r#"{"execute":"blockdev-open-tray","arguments":{"id":"cdrom0"}}"#)?;
        event(self)?;
        let (outcome, _) = self.ask_all(&[(cdrom, scsi::test_unit_ready())], 0, 6).remove(0);
        let open = matches!(&outcome, Outcome::Sense(sense) if sense.key == scsi::NOT_READY && sense.asc == NO_MEDIUM);
        if !open {
            return Err(format!("the tray is open: {outcome}"));
        }
        if self.random.below(2) == 0 {
            self.medium = 1 - self.medium;
            self.qmp(r#"{"execute":"blockdev-remove-medium","arguments":{"id":"cdrom0"}}"#)?;
            let node = MEDIA[self.medium];
            self.qmp(&format!(
                r#"{{"execute":"blockdev-insert-medium","arguments":{{"id":"cdrom0","node-name":"{node}"}}}}"#
            ))?;
        }
        self.qmp(r#"{"execute":"blockdev-close-tray","arguments":{"id":"cdrom0"}}"#)?;
        event(self)?;
        let (mut heard, mut changed, mut ready) = (String::new(), false, false);
        for _ in 0..6 {
            let (outcome, _) = self.ask_all(&[(cdrom, scsi::test_unit_ready())], 0, 1).remove(0);
            heard = format!("{heard} [{outcome}]");
            changed |= is_news(&outcome, MEDIUM_CHANGED);
            ready = matches!(outcome, Outcome::Good);
            if ready {
                break;
            }
        }
        if !changed || !ready {
            return Err(format!("the tray is closed: TEST UNIT READY:{heard}"));
        }
        let mut block = self.ask(cdrom, scsi::transfer(false, 0, 1, false), MEDIUM_BLOCK as u32)?;
        let expected = Stamp { lba: 0, generation: MEDIUM_GENERATION, seed: self.options.seed, owner: 0 };
        block.resize(MEDIUM_BLOCK, 0x5C);
        let right = if self.medium == 0 {
            stamp::verify(&block, &expected).is_ok()
        } else {
            block.iter().all(|byte| *byte == 0)
        };
        if !right {
            return Err(format!("{} is not the medium", MEDIA[self.medium]));
        }
        self.counts.media += 1;
        Ok(())
    }

    /// The last requests end, everything is read once more, and the figures.
    fn report(mut self, failed: Option<(u32, String)>) {
        let mut blocks = 0;
        self.steady.verify();
        self.steady.report("churn-beside", "disks that stayed meanwhile");
        for hot in &mut self.hot {
            let Some(load) = &mut hot.load else { continue };
            if hot.place.is_some() && failed.is_none() {
                load.verify();
                load.report("churn-in-the-end", &format!("RUST-HOT-{}", hot.number));
            } else {
                load.abandon();
            }
            blocks += load.verified;
        }
        let counts = &self.counts;
        let done = counts.plugs + counts.unplugs + counts.grown + counts.shrunk + counts.media;
        let (number, why) =
            failed.map_or((done, String::new()), |(number, why)| (number, format!("; {why}")));
        crate::console::check(
            done == self.options.churn,
            "churn",
            format_args!(
                "{number} changes, seed {:x}: {} plugs, {} unplugs, {} resizes ({} to less), {} of the medium; {} announced{why}",
                self.options.seed,
                counts.plugs,
                counts.unplugs,
                counts.grown + counts.shrunk,
                counts.shrunk,
                counts.media,
                counts.announced,
            ),
        );
        crate::console::check(
            counts.returned > 0 && counts.returned_blocks > 0,
            "churn-came-back",
            format_args!(
                "{} disks came back, {} blocks held what was written before; {blocks} and {} blocks read back in all of those that come and that stay",
                counts.returned, counts.returned_blocks, self.steady.verified
            ),
        );
        let ends: Vec<String> =
            counts.ends.iter().map(|(status, count)| format!("{count} with {status:#010x}")).collect();
        crate::console::check(
            !counts.ends.is_empty(),
            "churn-ended",
            format_args!(
                "transfers to disks that were gone: {}; {} scans found what was there",
                ends.join(", "),
                counts.scans
            ),
        );
    }
}
