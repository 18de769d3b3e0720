//! Reports of broken rules: the stand's records of the driver's stacks and the last events, unwound with the image's
//! unwind tables and with names and lines from its PDB.
//!
//! | record | meaning |
//! | --- | --- |
//! | `rule NAME PAGE SENTENCE` | the rule, and the page of the documentation it follows, or `-` |
//! | `image BASE SIZE` | where the image is |
//! | `stack STATE rip=… rsp=… … at=ADDRESS BYTES CALLBACK` | one call into the driver, the innermost first |
//! | `event MICROSECONDS PROCESSOR IRQL TEXT` | one event, in which `@HEX` is an address |
//!
//! Everything here may be damaged: a driver that overwrote its stack is just what the rules are for. Then there are fewer
//! frames, and never no report.

use anyhow::{Context as _, Result, ensure};
use object::Object as _;
use object::read::pe::PeFile64;
use pdb_addr2line::TypeFormatterFlags;
use pdb_addr2line::pdb::PDB;
use pe_unwind_info::x86_64::{FunctionTableEntries, Register, UnwindState, XmmRegister};
use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Most frames of one stack.
const FRAMES: usize = 100;
/// Largest image that is laid out.
const LARGEST: usize = 256 << 20;

/// One call into the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stack {
    /// The driver was interrupted: RIP is the next instruction. Otherwise it is where an import returns to.
    interrupted: bool,
    rip: u64,
    /// By the numbers that the instruction set gives them.
    registers: [u64; 16],
    /// Address of the first of the bytes.
    at: u64,
    bytes: Vec<u8>,
    callback: String,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    Rule { page: String, sentence: String },
    Image(Range<u64>),
    Stack(Stack),
    Event { microseconds: u64, processor: String, irql: String, text: String },
}

impl Record {
    fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        match kind {
            "rule" => {
                let mut words = rest.splitn(3, ' ').skip(1).map(str::to_owned);
                Some(Self::Rule { page: words.next()?, sentence: words.next()? })
            }
            "image" => {
                let (base, size) = rest.split_once(' ')?;
                let base = hex(base)?;
                Some(Self::Image(base..base.checked_add(hex(size)?)?))
            }
            "stack" => stack(rest).map(Self::Stack),
            "event" => {
                let mut words = rest.splitn(4, ' ');
                Some(Self::Event {
                    microseconds: words.next()?.parse().ok()?,
                    processor: words.next()?.to_owned(),
                    irql: words.next()?.to_owned(),
                    text: words.next()?.to_owned(),
                })
            }
            _ => None,
        }
    }
}

/// By number: that of the instruction set.
const REGISTERS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

fn stack(text: &str) -> Option<Stack> {
    let (state, mut rest) = text.split_once(' ')?;
    let mut stack = Stack {
        interrupted: state == "interrupt",
        rip: 0,
        registers: [0; 16],
        at: 0,
        bytes: Vec::new(),
        callback: String::new(),
    };
    while let Some((word, after)) = rest.split_once(' ')
        && let Some((name, value)) = word.split_once('=')
    {
        let value = u64::from_str_radix(value, 16).ok()?;
        match name {
            "rip" => stack.rip = value,
            "at" => stack.at = value,
            _ => stack.registers[REGISTERS.iter().position(|register| *register == name)?] = value,
        }
        rest = after;
    }
    let (bytes, callback) = rest.split_once(' ')?;
    callback.clone_into(&mut stack.callback);
    if bytes != "-" {
        let pairs = bytes.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        stack.bytes = pairs.map(byte).collect::<Option<_>>()?;
    }
    Some(stack)
}

/// The image as it is in memory.
struct Image {
    memory: Vec<u8>,
    /// As many bytes that are no epilogue.
    blank: Vec<u8>,
    functions: Range<usize>,
    sections: Vec<(Range<u64>, String)>,
    /// What its PDB must have, too.
    guid: Option<[u8; 16]>,
}

impl Image {
    fn read(path: &Path) -> Result<Self> {
        let file = std::fs::read(path)?;
        let pe = PeFile64::parse(&*file)?;
        let size = pe.nt_headers().optional_header.size_of_image.get(object::LittleEndian) as usize;
        ensure!(size <= LARGEST, "the image has {size} bytes");
        let mut memory = vec![0; size];
        let mut sections = Vec::new();
        for header in pe.section_table().iter() {
            let start = header.virtual_address.get(object::LittleEndian);
            let bytes = header.pe_data(&*file)?;
            let length = bytes.len().min(size.saturating_sub(start as usize));
            if length > 0 {
                memory[start as usize..start as usize + length].copy_from_slice(&bytes[..length]);
            }
            let virtual_size = header.virtual_size.get(object::LittleEndian).max(bytes.len() as u32);
            let name = String::from_utf8_lossy(header.raw_name()).into_owned();
            sections.push((u64::from(start)..u64::from(start) + u64::from(virtual_size), name));
        }
        let table = pe
            .data_directories()
            .get(object::pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION)
            .map_or((0, 0), |entry| entry.address_range());
        let start = (table.0 as usize).min(size);
        // Whole entries of 12 bytes only.
        let length = (table.1 as usize).min(size - start) / 12 * 12;
        let guid = pe.pdb_info().ok().flatten().map(|info| info.guid());
        Ok(Self { blank: vec![0; size], memory, functions: start..start + length, sections, guid })
    }

    /// The return addresses from the innermost frame on. Each is the address of the next instruction.
    fn unwind(&self, base: u64, stack: &Stack) -> Vec<u64> {
        let mut addresses = vec![stack.rip];
        let mut state = State { registers: stack.registers, at: stack.at, bytes: &stack.bytes };
        let (mut rip, mut exact) = (stack.rip, stack.interrupted);
        while addresses.len() < FRAMES {
            let before = state.registers[Register::RSP as usize];
            let offset = rip.checked_sub(base).and_then(|offset| u32::try_from(offset).ok());
            let next = match offset.filter(|offset| (*offset as usize) < self.memory.len()) {
                Some(offset) => {
                    // Its arithmetic and slices trust the tables and the stack.
                    catch_unwind(AssertUnwindSafe(|| self.step(&mut state, offset, exact))).ok().flatten()
                }
                // A call led nowhere: the return address is the last thing it pushed.
                None if exact => {
                    state.registers[Register::RSP as usize] = before.wrapping_add(8);
                    state.read_stack(before)
                }
                None => None,
            };
            let Some(next) = next else { break };
            // Stacks grow downwards, so that going on upwards must come to an end.
            if state.registers[Register::RSP as usize] <= before {
                break;
            }
            (rip, exact) = (next, false);
            addresses.push(rip);
        }
        addresses
    }

    fn step(&self, state: &mut State<'_>, offset: u32, exact: bool) -> Option<u64> {
        let table = FunctionTableEntries::parse(self.memory.get(self.functions.clone())?);
        // A jump is taken for the end of an epilogue, a tail call; a loop's is none. And after a call nobody is in an
        // epilogue, whatever the next instruction looks like.
        let epilogue = exact && !self.is_jump_within(&table, offset);
        let memory = |rva: u32| {
            let from = if rva == offset && !epilogue { &self.blank } else { &self.memory };
            from.get(rva as usize..)
        };
        table.unwind_frame(state, memory, offset)
    }

    fn is_jump_within(&self, table: &FunctionTableEntries<'_>, offset: u32) -> bool {
        let Some(function) = table.lookup(offset) else { return false };
        let code = self.memory.get(offset as usize..).unwrap_or_default();
        let target = match *code {
            [0xEB, near, ..] => i64::from(offset) + 2 + i64::from(near.cast_signed()),
            [0xE9, a, b, c, d, ..] => i64::from(offset) + 5 + i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => return false,
        };
        (i64::from(function.begin_address.get())..i64::from(function.end_address.get())).contains(&target)
    }

    fn section(&self, offset: u64) -> Option<&str> {
        self.sections.iter().find(|(range, _)| range.contains(&offset)).map(|(_, name)| name.as_str())
    }
}

/// Registers and stack while one is unwound.
struct State<'a> {
    registers: [u64; 16],
    at: u64,
    bytes: &'a [u8],
}

impl UnwindState for State<'_> {
    fn read_register(&mut self, register: Register) -> u64 {
        self.registers[register as usize]
    }

    fn read_stack(&mut self, address: u64) -> Option<u64> {
        let from = usize::try_from(address.checked_sub(self.at)?).ok()?;
        let word = self.bytes.get(from..from.checked_add(8)?)?;
        Some(u64::from_le_bytes(word.try_into().ok()?))
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.registers[register as usize] = value;
    }

    fn write_xmm_register(&mut self, _register: XmmRegister, _value: u128) {}
}

/// A function and the line in it, innermost first where functions are inlined.
type Names = Vec<String>;

/// Asks a PDB about addresses, which are counted from the image's start.
fn names(pdb: &Path, guid: Option<[u8; 16]>, offsets: &[u32]) -> Result<Vec<Names>> {
    let file = File::open(pdb)?;
    let mut pdb = PDB::open(file)?;
    let own = pdb.pdb_information()?.guid.to_bytes_le();
    ensure!(guid == Some(own), "it is of another build");
    let data = pdb_addr2line::ContextPdbData::try_from_pdb(pdb)?;
    let flags = TypeFormatterFlags::default() | TypeFormatterFlags::NO_ARGUMENTS;
    let context = data.make_context_with_formatter_flags(flags)?;
    let mut all = Vec::new();
    for offset in offsets {
        // One address that it stumbles over is no reason to know nothing of the others.
        let frames =
            context.find_frames(*offset).ok().flatten().map(|found| found.frames).unwrap_or_default();
        let text = |frame: pdb_addr2line::Frame<'_>| {
            let function = frame.function.unwrap_or_else(|| "?".to_owned());
            match (frame.file, frame.line) {
                (Some(file), Some(line)) => format!("{function} at {file}:{line}"),
                (Some(file), None) => format!("{function} at {file}"),
                (None, _) => function,
            }
        };
        all.push(frames.into_iter().map(text).collect());
    }
    Ok(all)
}

/// An address within the instruction that is meant. A return address is that of the next one, which may be on another
/// line, or in another function after a call that never returns.
fn code(address: u64, exact: bool) -> u64 {
    if exact { address } else { address.saturating_sub(1) }
}

/// The text up to an `@HEX`, the address, whether it is that of the instruction itself, and the text after it.
fn split(text: &str) -> Option<(&str, u64, bool, &str)> {
    let (before, rest) = text.split_once('@')?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    let address = u64::from_str_radix(&rest[..end], 16).ok()?;
    Some((before, address, !before.ends_with("from "), &rest[end..]))
}

/// The addresses in an event.
fn in_text(record: &Record) -> Option<u64> {
    let Record::Event { text, .. } = record else { return None };
    split(text).map(|(_, address, exact, _)| code(address, exact))
}

/// Where the image is.
struct Place<'a> {
    name: &'a str,
    image: Option<&'a Image>,
    range: Range<u64>,
}

impl Place<'_> {
    /// The addresses of a stack, and whether the first is that of an instruction and not one that is returned to.
    fn unwind(&self, record: &Record) -> Option<(Vec<u64>, bool)> {
        let Record::Stack(stack) = record else { return None };
        let addresses = match self.image {
            Some(image) => image.unwind(self.range.start, stack),
            None => vec![stack.rip],
        };
        Some((addresses, stack.interrupted))
    }

    /// `viostor.sys+0x1234 (.text)`
    fn text(&self, address: u64) -> String {
        if !self.range.contains(&address) {
            return format!("{address:#x}");
        }
        let offset = address - self.range.start;
        match self.image.and_then(|image| image.section(offset)) {
            Some(section) => format!("{}+{offset:#x} ({section})", self.name),
            None => format!("{}+{offset:#x}", self.name),
        }
    }
}

/// What the PDB knows.
struct Known<'a> {
    place: &'a Place<'a>,
    addresses: &'a [u64],
    names: &'a [Names],
}

impl Known<'_> {
    fn names(&self, address: u64, exact: bool) -> &[String] {
        let index = self.addresses.binary_search(&code(address, exact)).ok();
        index.and_then(|index| self.names.get(index)).map_or(&[], Vec::as_slice)
    }

    /// A line per function.
    fn frames(&self, addresses: &[u64], exact: bool) -> Vec<String> {
        let mut texts: Vec<(String, usize)> = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            if !self.place.range.contains(address) {
                // Below 4 GiB is the stand, which called the driver; that is where a whole stack ends.
                if *address >> 32 != 0 || index == 0 {
                    texts.push((format!("{address:#x}, which is not in the image"), 1));
                }
                continue;
            }
            let names = self.names(*address, exact && index == 0);
            let place = self.place.text(*address);
            let mut group: Vec<String> = names.iter().map(|name| format!("{name} (inlined)")).collect();
            match (group.last_mut(), names.last()) {
                (Some(outermost), Some(name)) => *outermost = format!("{name} [{place}]"),
                _ => group.push(place),
            }
            for text in group {
                match texts.last_mut() {
                    // A recursion that never ends would fill pages.
                    Some((last, count)) if *last == text => *count += 1,
                    _ => texts.push((text, 1)),
                }
            }
        }
        let mut number = 0;
        let line = |(text, count): (String, usize)| {
            number += 1;
            let first = number;
            number += count - 1;
            if count > 1 {
                format!("{first:>3} {text} ({count} times)")
            } else {
                format!("{first:>3} {text}")
            }
        };
        texts.into_iter().map(line).collect()
    }

    /// An event with a name for its address.
    fn replace(&self, text: &str) -> String {
        match split(text) {
            Some((before, address, exact, after)) => {
                let name = self.names(address, exact).first().cloned();
                format!("{before}{}{after}", name.unwrap_or_else(|| self.place.text(address)))
            }
            None => text.to_owned(),
        }
    }
}

/// Collects the records of a report and makes it readable.
pub struct Symbols {
    name: String,
    driver: PathBuf,
    pdbs: Vec<PathBuf>,
    records: Vec<Record>,
}

impl Symbols {
    /// For runs of this image. Its PDB is beside it, or in that folder.
    pub fn new(driver: &Path, folder: &Path) -> Self {
        let beside = driver.with_extension("pdb");
        let other = folder.join(beside.file_name().unwrap_or_default());
        Self {
            name: driver.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            driver: driver.to_owned(),
            pdbs: vec![beside, other],
            records: Vec::new(),
        }
    }

    /// Takes a line of the stand if it is a record.
    pub fn take(&mut self, line: &str) -> bool {
        // A report begins with its rule: anything else may be what the firmware prints.
        let record = Record::parse(line)
            .filter(|record| !self.records.is_empty() || matches!(record, Record::Rule { .. }));
        let taken = record.is_some();
        self.records.extend(record);
        taken
    }

    /// The report of the records so far, which are forgotten; empty if there are none.
    pub fn report(&mut self) -> Vec<String> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Vec::new();
        }
        let image = Image::read(&self.driver).ok();
        let range = records.iter().find_map(|record| match record {
            Record::Image(range) => Some(range.clone()),
            _ => None,
        });
        let place = Place { name: &self.name, image: image.as_ref(), range: range.unwrap_or_default() };
        let stacks: Vec<(Vec<u64>, bool)> =
            records.iter().filter_map(|record| place.unwind(record)).collect();

        // Everything that needs a name, asked for at once: reading a PDB takes longer than all the rest.
        let mut wanted: Vec<u64> = records.iter().flat_map(in_text).collect();
        for (stack, exact) in &stacks {
            wanted.extend(
                stack.iter().enumerate().map(|(index, address)| code(*address, *exact && index == 0)),
            );
        }
        wanted.retain(|address| place.range.contains(address));
        wanted.sort_unstable();
        wanted.dedup();
        let found = self.names(&place, &wanted);
        let (names, complaint) = match found {
            Ok(names) => (names, None),
            Err(complaint) => (Vec::new(), Some(complaint)),
        };
        let known = Known { place: &place, addresses: &wanted, names: &names };

        let mut lines = Vec::new();
        let mut stacks = stacks.iter();
        let events = records.iter().filter(|record| matches!(record, Record::Event { .. })).count();
        let mut first_event = true;
        for record in &records {
            match record {
                Record::Rule { page, sentence } if page == "-" => lines.push(format!("rule: {sentence}")),
                Record::Rule { page, sentence } => lines.push(format!("rule: {sentence} ({page})")),
                Record::Image(_) => {
                    if let Some(complaint) = &complaint {
                        lines.push(format!("no names: {complaint:#}"));
                    }
                }
                Record::Stack(stack) => {
                    let how = if stack.interrupted { "interrupted" } else { "in an import" };
                    lines.push(format!("{}, {how}:", stack.callback));
                    if let Some((addresses, exact)) = stacks.next() {
                        lines.extend(known.frames(addresses, *exact));
                    }
                }
                Record::Event { microseconds, processor, irql, text } => {
                    if std::mem::take(&mut first_event) {
                        lines.push(format!("last {events} events (ms, processor, IRQL):"));
                    }
                    lines.push(format!(
                        "  {:>6}.{:03} {processor} {irql:>2} {}",
                        microseconds / 1000,
                        microseconds % 1000,
                        known.replace(text)
                    ));
                }
            }
        }
        lines
    }

    fn names(&self, place: &Place<'_>, wanted: &[u64]) -> Result<Vec<Names>> {
        let image = place.image.context("the image cannot be read")?;
        let offsets: Vec<u32> = wanted
            .iter()
            .map(|address| u32::try_from(address - place.range.start).unwrap_or(u32::MAX))
            .collect();
        let mut result = Err(anyhow::anyhow!("there is no PDB beside the image"));
        for pdb in self.pdbs.iter().filter(|path| path.is_file()) {
            // Other people's PDBs, and a parser that may not have seen the like.
            result = catch_unwind(AssertUnwindSafe(|| names(pdb, image.guid, &offsets)))
                .unwrap_or_else(|_| Err(anyhow::anyhow!("its reader failed")))
                .with_context(|| format!("{} is of no use", pdb.file_name().unwrap_or_default().display()));
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "import rip=fffff80012341234 rsp=ffffd80000003fe8 rbx=1 rbp=2 at=ffffd80000003fe8 0102000000000000ffffffffffffffff HwStor StartIo";

    /// Code that needs 0x28 bytes of stack from 0x1000 to 0x1020, with a loop at 0x1010, and that of its caller from 0x1020
    /// to 0x1040, which saves RBX and takes RBP as its frame pointer.
    fn image() -> Image {
        let mut memory = vec![0x90; 0x3000];
        memory[0x1010..0x1012].copy_from_slice(&[0xEB, 0xFE]);
        memory[0x1014..0x1019].copy_from_slice(&[0x48, 0x83, 0xC4, 0x28, 0xC3]);
        // UNWIND_INFO: version 1, size of prologue, count of codes, frame register and offset; codes: offset, operation.
        memory[0x2000..0x2008].copy_from_slice(&[1, 4, 1, 0, 4, 0x42, 0, 0]);
        memory[0x2010..0x201A].copy_from_slice(&[1, 5, 3, 5, 5, 0x03, 2, 0x50, 1, 0x30]);
        for (index, entry) in [[0x1000u32, 0x1020, 0x2000], [0x1020, 0x1040, 0x2010]].iter().enumerate() {
            for (field, value) in entry.iter().enumerate() {
                let at = 0x2100 + index * 12 + field * 4;
                memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        Image {
            blank: vec![0; memory.len()],
            memory,
            functions: 0x2100..0x2118,
            sections: vec![(0x1000..0x2000, ".text".to_owned())],
            guid: None,
        }
    }

    const BASE: u64 = 0xFFFF_F800_0000_0000;
    const AT: u64 = 0xFFFF_D800_0000_0F00;

    fn call(interrupted: bool, offset: u64, words: &[u64]) -> Stack {
        let mut registers = [0; 16];
        registers[Register::RSP as usize] = AT;
        registers[Register::RBP as usize] = AT + 0x30;
        Stack {
            interrupted,
            rip: BASE + offset,
            registers,
            at: AT,
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            callback: "HwStorStartIo".to_owned(),
        }
    }

    #[test]
    fn records_are_read() {
        assert_eq!(
            Record::parse("rule deadlock page.md a lock is free"),
            Some(Record::Rule { page: "page.md".to_owned(), sentence: "a lock is free".to_owned() })
        );
        assert_eq!(Record::parse("image 1000 2000"), Some(Record::Image(0x1000..0x3000)));
        assert_eq!(
            Record::parse("event 1234567 3 2 import Foo(0x1) from @fff"),
            Some(Record::Event {
                microseconds: 1_234_567,
                processor: "3".to_owned(),
                irql: "2".to_owned(),
                text: "import Foo(0x1) from @fff".to_owned(),
            })
        );
        let stack = stack(STACK).unwrap();
        assert_eq!(
            (stack.interrupted, stack.rip, stack.at),
            (false, 0xFFFF_F800_1234_1234, 0xFFFF_D800_0000_3FE8)
        );
        assert_eq!((stack.registers[3], stack.registers[4], stack.registers[5]), (1, stack.at, 2));
        assert_eq!(
            (stack.bytes.len(), &stack.bytes[..3], &*stack.callback),
            (16, &[1, 2, 0][..], "HwStor StartIo")
        );
    }

    #[test]
    fn damaged_records_are_none() {
        for line in [
            "rule deadlock",
            "image 1000",
            "image 1000 -",
            "image ffffffffffffffff 1",
            "event 1 2",
            "event x 0 0 call",
            "stack import",
            "stack import rip=1",
            "stack import rip=xyz at=1 - name",
            "stack import rip=1 rzp=1 at=1 - name",
            "stack import rip=1 at=1 0102x3 name",
            "stack import rip=1 at=1 \u{FFFD}\u{FFFD} name",
            "",
        ] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
        let mut symbols = Symbols::new(Path::new("/nowhere/a.sys"), Path::new("/nowhere"));
        assert!(!symbols.take("event 1 0 0 call A"), "an event without a rule");
        assert!(symbols.report().is_empty());
    }

    #[test]
    fn frames_are_those_of_the_unwind_tables() {
        let mut words = [0; 12];
        words[5] = BASE + 0x1030;
        // Where the caller's frame pointer is: RBP, RBX and the return address.
        words[8] = 0x5000;

        let addresses = image().unwind(BASE, &call(false, 0x1008, &words));

        assert_eq!(addresses, [BASE + 0x1008, BASE + 0x1030, 0x5000]);
    }

    #[test]
    fn an_epilogue_is_gone_through_and_a_loop_is_none() {
        let mut words = [0; 8];
        words[0] = 0x6000;
        words[5] = 0x5000;

        let unwind = |interrupted, offset| image().unwind(BASE, &call(interrupted, offset, &words))[1];

        assert_eq!(unwind(true, 0x1018), 0x6000, "RET");
        assert_eq!(unwind(true, 0x1014), 0x5000, "ADD RSP");
        assert_eq!(unwind(true, 0x1010), 0x5000, "JMP to itself");
        assert_eq!(unwind(false, 0x1018), 0x5000, "after a call");
    }

    #[test]
    fn a_call_that_led_nowhere_has_a_caller() {
        let words = [BASE + 0x1008, 0, 0, 0, 0, 0, 0x5000];
        let mut stack = call(true, 0, &words);
        stack.rip = 0x10;

        assert_eq!(image().unwind(BASE, &stack), [0x10, BASE + 0x1008, 0x5000]);
    }

    #[test]
    fn damage_ends_a_stack_and_nothing_else() {
        let image = image();
        for fill in [0, 1, BASE + 0x1008, BASE + 0x1030, BASE + 0x2FFF, AT, u64::MAX] {
            for pointer in [0, 7, AT - 8, AT + 0x30, AT + 0x5F, u64::MAX] {
                for offset in [0, 0x1000, 0x1001, 0x1010, 0x1014, 0x1018, 0x1020, 0x1025, 0x103F, 0x2FFF] {
                    let mut stack = call(true, offset, &[fill; 12]);
                    stack.registers[Register::RBP as usize] = pointer;
                    assert!(image.unwind(BASE, &stack).len() <= FRAMES);
                    stack.registers[Register::RSP as usize] = pointer;
                    assert!(image.unwind(BASE, &stack).len() <= FRAMES);
                }
            }
        }
    }

    #[test]
    fn without_an_image_and_a_pdb_there_is_a_report_all_the_same() {
        let mut symbols = Symbols::new(Path::new("/nowhere/a.sys"), Path::new("/nowhere"));
        for line in [
            "rule deadlock - a lock is free",
            "image fffff80012340000 7000",
            &format!("stack {STACK}"),
            "event 1500 0 2 import Foo(0x1, 0x2) from @fffff80012341008",
        ] {
            assert!(symbols.take(line), "{line}");
        }

        let report = symbols.report();

        assert_eq!(
            report,
            [
                "rule: a lock is free",
                "no names: the image cannot be read",
                "HwStor StartIo, in an import:",
                "  1 a.sys+0x1234",
                "last 1 events (ms, processor, IRQL):",
                "       1.500 0  2 import Foo(0x1, 0x2) from a.sys+0x1008",
            ]
        );
        assert!(symbols.report().is_empty(), "a report comes once");
    }
}
