//! QEMU's log of everything a disk was told (`blklogwrites`, the format of Linux's dm-log-writes), and the proof from it
//! that what the stand's suite `flush` was told is durable was durable.
//!
//! The log is a superblock and then entries, each a head of one sector and its data. A write is durable once an entry with
//! FLUSH comes after it, or if it has FUA itself. QEMU logs a request when it is done.

use crate::machine::HostCheck;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use stand::stamp::{self, Mismatch, Stamp};

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
        if self.by.contains("FLUSH") || self.by.contains("SYNCHRONIZE") {
            self.batch + 2
        } else {
            self.batch + 1
        }
    }
}

/// What an entry does, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Blocks written: their batch and address. With FUA they are durable at once.
    Write { blocks: Vec<(u32, u64)>, fua: bool },
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

/// Reads the log. Only blocks with stamps of this run count; whatever else is written is not the suite's.
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
        if sectors == 0 || flags & DISCARD != 0 {
            continue;
        }
        let mut data = vec![0; usize::try_from(sectors * sector)?];
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut data).with_context(|| format!("the data of entry {number} is missing"))?;
        at += sectors * sector;
        let mut blocks = Vec::new();
        for (index, block) in data.chunks_exact(first.block_size).enumerate() {
            let lba = place * sector / first.block_size as u64 + index as u64;
            // Asking for an impossible stamp brings the one that is there.
            let none = Stamp { lba: u64::MAX, generation: 0, seed, owner: first.owner };
            let Err(Mismatch::Other(found)) = stamp::verify(block, &none) else { continue };
            if found.seed != seed || found.owner != first.owner {
                continue;
            }
            if let Err(mismatch) = stamp::verify(block, &Stamp { lba, ..found }) {
                bail!("entry {number}: block {lba} is written with {mismatch:?}");
            }
            blocks.push((found.generation, lba));
        }
        entries.push(Entry::Write { blocks, fua: flags & FUA != 0 });
    }
    Ok(entries)
}

fn prove(entries: &[Entry], said: &[Durable]) -> Result<String> {
    for durable in said {
        prove_one(entries, durable)
            .with_context(|| format!("batch {} (by {})", durable.batch, durable.by))?;
    }
    let flushes = entries.iter().filter(|entry| matches!(entry, Entry::Flush)).count();
    Ok(format!(
        "{} batches were durable when the stand was told so ({} entries, {flushes} flushes)",
        said.len(),
        entries.len()
    ))
}

/// In the part of the log before the first block that was written after the acknowledgement, every block of the batch is
/// durable.
fn prove_one(entries: &[Entry], durable: &Durable) -> Result<()> {
    let later = |entry: &Entry| match entry {
        Entry::Write { blocks, .. } => blocks.iter().any(|(batch, _)| *batch >= durable.follower()),
        Entry::Flush => false,
    };
    let end = entries.iter().position(later).unwrap_or(entries.len());
    let (mut cached, mut safe) = (BTreeSet::new(), BTreeSet::new());
    for entry in &entries[..end] {
        match entry {
            Entry::Write { blocks, fua } => {
                let mine = blocks.iter().filter(|(batch, _)| *batch == durable.batch).map(|(_, lba)| *lba);
                if *fua { safe.extend(mine) } else { cached.extend(mine) }
            }
            Entry::Flush => safe.append(&mut cached),
        }
    }
    let lost = cached.difference(&safe).count();
    ensure!(
        safe.len() == durable.blocks,
        "{} of {} blocks were durable when it was acknowledged; {lost} were in the cache, the others nowhere",
        safe.len(),
        durable.blocks
    );
    Ok(())
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
        let entries = [write(1, &[1]), Entry::Flush];

        assert!(prove(&entries, &[durable(1, 2, "SYNCHRONIZE-CACHE")]).is_err());
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
        let other = Entry::Write { blocks: vec![], fua: false };
        assert_eq!(entries, [write(1, &[3]), Entry::Flush, fua, other]);
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
