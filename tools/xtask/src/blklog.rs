//! QEMU's log of everything a disk was told (`blklogwrites`, the format of Linux's dm-log-writes), and the proof from it
//! that what the stand's suite `flush` was told is durable was durable.
//!
//! The log is a superblock and then entries, each a head of one sector and its data. A write is durable once an entry with
//! FLUSH comes after it, or if it has FUA itself. QEMU logs a request when it is done.
//!
//! The log is replayed once. What a cut (a loss of power) leaves of a block is at least what was flushed last, at most what
//! was written last. A batch begins when the one before has ended, so a block's generation never goes back; then a block
//! that was durable once is there, or a newer one is, after every later cut, and it is enough to look once.

use crate::machine::HostCheck;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use stand::stamp::{self, Mismatch, Stamp};

/// Node of the log, in the machines that have one.
pub const LOG: &str = "log0";

/// `WRITE_LOG_MAGIC` of the format.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One acknowledgement: the line `# durable: …` of the stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Which disk.
    pub owner: u32,
    /// Its logical block size.
    pub block_size: usize,
    /// The generation of the blocks.
    pub batch: u32,
    /// How many different blocks there are of it.
    pub blocks: usize,
    /// What made them durable.
    pub by: String,
}

impl Durable {
    /// Reads the line, without its `# `.
    pub fn parse(heading: &str) -> Option<Self> {
        let mut durable = Self { owner: 0, block_size: 0, batch: 0, blocks: 0, by: String::new() };
        for word in heading.strip_prefix("durable: ")?.split_ascii_whitespace() {
            let (key, value) = word.split_once('=')?;
            match key {
                "owner" => durable.owner = u32::from_str_radix(value.strip_prefix("0x")?, 16).ok()?,
                "block-size" => durable.block_size = value.parse().ok()?,
                "batch" => durable.batch = value.parse().ok()?,
                "blocks" => durable.blocks = value.parse().ok()?,
                "by" => value.clone_into(&mut durable.by),
                _ => {}
            }
        }
        (durable.block_size >= 64).then_some(durable)
    }

    /// The first batch that begins only after this one was acknowledged. A flush leaves the next one under way.
    fn follower(&self) -> u32 {
        if matches!(self.by.as_str(), "FUA" | "no-cache") { self.batch + 1 } else { self.batch + 2 }
    }
}

/// What an entry does, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Blocks written: their batch and address. With FUA they are durable at once.
    Write { blocks: Vec<(u32, u64)>, fua: bool },
    /// Something else written over blocks, or blocks discarded.
    Other { first: u64, blocks: u64 },
    /// Everything before is durable.
    Flush,
}

/// Proves every acknowledgement.
pub fn verify(log: &Path, said: &[Durable], seed: u64) -> HostCheck {
    let result = File::open(log)
        .with_context(|| format!("{} cannot be read", log.display()))
        .and_then(|file| read(BufReader::with_capacity(1 << 20, file), said, seed))
        .and_then(|entries| prove(&entries, said));
    HostCheck::of("log of writes", result)
}

/// Reads the log. Blocks with stamps of this run are the suite's.
fn read(mut log: impl Read + Seek, said: &[Durable], seed: u64) -> Result<Vec<Entry>> {
    let first = said.first().context("the stand said nothing was durable")?;
    let mut head = [0; 28];
    log.read_exact(&mut head).context("there is no superblock")?;
    let word =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    ensure!(word(&head, 0) == MAGIC, "it is no log of writes");
    let count = word(&head, 16);
    let sector = u64::from(u32::from_le_bytes(head[24..28].try_into().expect("four bytes")));
    ensure!((512..=4096).contains(&sector), "sectors of {sector} bytes");
    let mut entries = Vec::new();
    let mut at = sector;
    for number in 0..count {
        let mut head = [0; 32];
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut head).with_context(|| format!("entry {number} of {count} is missing"))?;
        let (place, sectors, flags) = (word(&head, 0), word(&head, 8), word(&head, 16));
        at += sector;
        if flags & FLUSH != 0 {
            entries.push(Entry::Flush);
        }
        if sectors == 0 {
            continue;
        }
        let (start, length) = (place * sector, sectors * sector);
        if flags & DISCARD != 0 {
            // No data follows.
            let size = first.block_size as u64;
            entries.push(Entry::Other { first: start / size, blocks: length.div_ceil(size) });
            continue;
        }
        let mut data = vec![0; usize::try_from(sectors * sector)?];
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut data).with_context(|| format!("the data of entry {number} is missing"))?;
        at += sectors * sector;
        let mut blocks = Vec::new();
        for (index, block) in data.chunks_exact(first.block_size).enumerate() {
            let lba = start / first.block_size as u64 + index as u64;
            // Asking for an impossible stamp brings the one that is there.
            let none = Stamp { lba: u64::MAX, generation: 0, seed, owner: first.owner };
            let found = match stamp::verify(block, &none) {
                Err(Mismatch::Other(found)) if (found.seed, found.owner) == (seed, first.owner) => found,
                _ => {
                    entries.push(Entry::Other { first: lba, blocks: 1 });
                    continue;
                }
            };
            if let Err(mismatch) = stamp::verify(block, &Stamp { lba, ..found }) {
                bail!("entry {number}: block {lba} is written with {mismatch:?}");
            }
            blocks.push((found.generation, lba));
        }
        entries.push(Entry::Write { blocks, fua: flags & FUA != 0 });
    }
    Ok(entries)
}

/// What is on the disk and in its cache at some place of the log: the generation of each block.
#[derive(Default)]
struct Replay {
    /// Durable.
    safe: BTreeMap<u64, u32>,
    /// Written, and not durable yet.
    cached: BTreeMap<u64, u32>,
    /// The blocks that were written of each batch.
    batches: BTreeMap<u32, BTreeSet<u64>>,
    flushes: usize,
}

impl Replay {
    fn generation(&self, lba: u64) -> Option<u32> {
        self.cached.get(&lba).or_else(|| self.safe.get(&lba)).copied()
    }

    fn step(&mut self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Write { blocks, fua } => {
                for &(batch, lba) in blocks {
                    if let Some(newer) = self.generation(lba).filter(|there| *there > batch) {
                        bail!("block {lba} goes back from batch {newer} to batch {batch}");
                    }
                    self.batches.entry(batch).or_default().insert(lba);
                    if *fua {
                        self.cached.remove(&lba);
                        self.safe.insert(lba, batch);
                    } else {
                        self.cached.insert(lba, batch);
                    }
                }
            }
            Entry::Other { first, blocks } => {
                let range = *first..first.saturating_add(*blocks);
                let lost = self.cached.range(range.clone()).chain(self.safe.range(range)).next();
                if let Some((lba, batch)) = lost {
                    bail!("block {lba} of batch {batch} is overwritten with what is not the suite's");
                }
            }
            Entry::Flush => {
                self.flushes += 1;
                self.safe.append(&mut self.cached);
            }
        }
        Ok(())
    }

    /// Every block of the batch is there after a cut here, or a newer one in its place.
    fn check(&self, durable: &Durable) -> Result<()> {
        let none = BTreeSet::new();
        let written = self.batches.get(&durable.batch).unwrap_or(&none);
        let is_safe = |lba: &&u64| self.safe.get(*lba).is_some_and(|there| *there >= durable.batch);
        let safe = written.iter().filter(is_safe).count();
        ensure!(
            safe == durable.blocks && written.len() == durable.blocks,
            "{safe} of {} blocks were durable when it was acknowledged; {} were in the cache, {} were written at all",
            durable.blocks,
            written.len() - safe,
            written.len()
        );
        Ok(())
    }
}

/// Replays the log. Each batch that was acknowledged must be durable before the first block that was written only after
/// the acknowledgement. There must be such a block: the stand flushes at its end, and QEMU may at its own.
fn prove(entries: &[Entry], said: &[Durable]) -> Result<String> {
    ensure!(!said.is_empty(), "the stand said nothing was durable");
    let mut open: Vec<&Durable> = said.iter().collect();
    let mut replay = Replay::default();
    for (number, entry) in entries.iter().enumerate() {
        if let Entry::Write { blocks, .. } = entry
            && let Some(newest) = blocks.iter().map(|(batch, _)| *batch).max()
        {
            for durable in open.extract_if(.., |durable| durable.follower() <= newest) {
                replay
                    .check(durable)
                    .with_context(|| format!("batch {} (by {})", durable.batch, durable.by))?;
            }
        }
        replay.step(entry).with_context(|| format!("entry {number}"))?;
    }
    if let Some(durable) = open.first() {
        bail!("batch {} (by {}): nothing was written after it", durable.batch, durable.by);
    }
    Ok(format!(
        "{} batches were durable when the stand was told so, and after every cut from then on ({} entries, {} flushes)",
        said.len(),
        entries.len(),
        replay.flushes
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn durable(batch: u32, blocks: usize, by: &str) -> Durable {
        Durable { owner: 0, block_size: 512, batch, blocks, by: by.to_owned() }
    }

    fn write(batch: u32, lbas: &[u64]) -> Entry {
        Entry::Write { blocks: lbas.iter().map(|lba| (batch, *lba)).collect(), fua: false }
    }

    #[test]
    fn a_flush_between_a_batch_and_the_one_after_the_next_makes_it_durable() {
        let entries = [write(1, &[1, 2]), write(2, &[9]), Entry::Flush, write(3, &[5])];

        prove(&entries, &[durable(1, 2, "SYNCHRONIZE-CACHE")]).unwrap();
    }

    #[test]
    fn a_flush_that_never_came_is_noticed() {
        let entries = [write(1, &[1, 2]), write(2, &[9]), write(3, &[5]), Entry::Flush];

        let error = prove(&entries, &[durable(1, 2, "SRB_FUNCTION_FLUSH")]).unwrap_err();

        assert!(format!("{error:#}").contains("0 of 2 blocks were durable"), "{error:#}");
    }

    #[test]
    fn a_flush_before_the_last_write_of_the_batch_is_not_enough() {
        let entries = [write(1, &[1]), Entry::Flush, write(1, &[2]), write(3, &[5])];

        assert!(prove(&entries, &[durable(1, 2, "SYNCHRONIZE-CACHE")]).is_err());
    }

    #[test]
    fn a_block_that_was_never_written_is_noticed() {
        let entries = [write(1, &[1]), Entry::Flush, write(3, &[5])];

        let error = prove(&entries, &[durable(1, 2, "SYNCHRONIZE-CACHE")]).unwrap_err();

        assert!(format!("{error:#}").contains("1 were written at all"), "{error:#}");
    }

    #[test]
    fn the_flush_of_the_end_proves_nothing() {
        let entries = [write(1, &[1]), Entry::Flush];

        let error = prove(&entries, &[durable(1, 1, "SYNCHRONIZE-CACHE")]).unwrap_err();

        assert!(error.to_string().contains("nothing was written after it"), "{error:#}");
    }

    #[test]
    fn no_acknowledgement_at_all_is_no_proof() {
        assert!(prove(&[write(1, &[1]), Entry::Flush], &[]).is_err());
    }

    #[test]
    fn a_block_that_goes_back_is_lost_in_the_later_cuts() {
        let old_again = [write(1, &[1]), write(2, &[1]), Entry::Flush, write(1, &[1]), write(3, &[9])];

        let error = prove(&old_again, &[durable(1, 1, "SYNCHRONIZE-CACHE")]).unwrap_err();

        assert!(format!("{error:#}").contains("goes back from batch 2 to batch 1"), "{error:#}");
    }

    #[test]
    fn what_is_not_the_suites_may_not_take_a_blocks_place() {
        let other = |first| Entry::Other { first, blocks: 8 };
        let entries = |first| [write(1, &[8]), Entry::Flush, write(3, &[99]), other(first)];

        prove(&entries(0), &[durable(1, 1, "SYNCHRONIZE-CACHE")]).unwrap();
        prove(&entries(9), &[durable(1, 1, "SYNCHRONIZE-CACHE")]).unwrap();
        assert!(prove(&entries(1), &[durable(1, 1, "SYNCHRONIZE-CACHE")]).is_err());
    }

    #[test]
    fn a_newer_block_is_as_good_as_the_one_that_was_promised() {
        let entries = [write(1, &[1, 2]), write(2, &[2]), Entry::Flush, write(3, &[5])];

        prove(&entries, &[durable(1, 2, "SRB_FUNCTION_SHUTDOWN")]).unwrap();
    }

    #[test]
    fn without_a_cache_the_next_batch_may_not_come_before_the_data_is_safe() {
        let safe = Entry::Write { blocks: vec![(1, 7)], fua: true };

        prove(&[safe, write(2, &[8])], &[durable(1, 1, "no-cache")]).unwrap();
        assert!(
            prove(&[write(1, &[7]), write(2, &[8]), Entry::Flush], &[durable(1, 1, "no-cache")]).is_err()
        );
    }

    #[test]
    fn the_stands_line_is_read() {
        let line = "durable: owner=0x1 block-size=4096 batch=7 blocks=81 by=FUA";

        let said = Durable::parse(line).unwrap();

        assert_eq!((said.owner, said.block_size, said.batch, said.blocks), (1, 4096, 7, 81));
        assert_eq!((said.by.as_str(), said.follower()), ("FUA", 8));
        assert_eq!(Durable::parse("final stamp: owner=0x1"), None);
    }

    /// A log as QEMU writes it.
    fn log(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let sector = |words: &[u64]| {
            let mut sector: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            sector.resize(512, 0);
            sector
        };
        bytes.extend(sector(&[MAGIC, 1, entries.len() as u64, 512]));
        for (place, flags, data) in entries {
            bytes.extend(sector(&[*place, data.len() as u64 / 512, *flags, 0]));
            bytes.extend_from_slice(data);
        }
        bytes
    }

    fn stamped(lba: u64, batch: u32) -> Vec<u8> {
        let mut block = vec![0; 512];
        stamp::fill(&mut block, &Stamp { lba, generation: batch, seed: 5, owner: 0 });
        block
    }

    #[test]
    fn a_log_of_qemu_is_read() {
        let bytes =
            log(&[(3, 0, &stamped(3, 1)), (0, FLUSH, &[]), (8, FUA, &stamped(8, 2)), (9, 0, &[0; 512])]);

        let entries = read(Cursor::new(bytes), &[durable(1, 1, "x")], 5).unwrap();

        let fua = Entry::Write { blocks: vec![(2, 8)], fua: true };
        let (other, nothing) = (Entry::Other { first: 9, blocks: 1 }, write(0, &[]));
        assert_eq!(entries, [write(1, &[3]), Entry::Flush, fua, other, nothing]);
    }

    #[test]
    fn a_discard_has_no_data() {
        let mut bytes = log(&[(3, DISCARD, &[0; 1024]), (3, 0, &stamped(3, 1))]);
        bytes.drain(1024..2048);

        let entries = read(Cursor::new(bytes), &[durable(1, 1, "x")], 5).unwrap();

        assert_eq!(entries, [Entry::Other { first: 3, blocks: 2 }, write(1, &[3])]);
    }

    /// A log of four batches, the flush for each while the next is under way, without these entries of it.
    fn run_without(dropped: impl Fn(usize, u64) -> bool) -> Result<String> {
        let place = |batch: usize, half: usize| (2 * batch + half) as u64;
        let block = |index: usize| stamped(place(index / 2, index % 2), index as u32 / 2);
        let blocks: Vec<Vec<u8>> = (0..10).map(block).collect();
        let half = |batch: usize, half: usize| (place(batch, half), 0, blocks[2 * batch + half].as_slice());
        let mut entries = vec![half(1, 0), half(1, 1)];
        for batch in 2..=4 {
            entries.extend([half(batch, 0), (0, FLUSH, &[]), half(batch, 1)]);
        }
        let left: Vec<_> = entries.iter().enumerate().filter(|(at, entry)| !dropped(*at, entry.1)).collect();
        let left: Vec<_> = left.into_iter().map(|(_, entry)| *entry).collect();
        let said = [durable(1, 2, "SYNCHRONIZE-CACHE"), durable(2, 2, "SRB_FUNCTION_SHUTDOWN")];
        prove(&read(Cursor::new(log(&left)), &said, 5)?, &said)
    }

    #[test]
    fn a_doctored_log_is_refused_whichever_flush_is_missing() {
        run_without(|_, _| false).unwrap();

        assert!(run_without(|_, flags| flags == FLUSH).is_err(), "all of them");
        assert!(run_without(|at, _| at == 3).is_err(), "the first");
        assert!(run_without(|at, _| at == 6).is_err(), "the second");
    }

    #[test]
    fn a_block_in_the_wrong_place_is_an_error() {
        let bytes = log(&[(4, 0, &stamped(3, 1))]);

        assert!(read(Cursor::new(bytes), &[durable(1, 1, "x")], 5).is_err());
    }

    #[test]
    fn a_log_that_ends_too_early_is_an_error() {
        let mut bytes = log(&[(3, 0, &stamped(3, 1))]);
        bytes.truncate(512 + 512 + 100);

        assert!(read(Cursor::new(bytes), &[durable(1, 1, "x")], 5).is_err());
        assert!(read(Cursor::new(vec![0; 600]), &[durable(1, 1, "x")], 5).is_err());
    }
}
