//! WMI, a part of `srb-functions`: plays what the kernel's WMI and its consumers ask of a miniport. Which blocks there are, their
//! instances together and one by one, the methods of those that Windows knows, buffers too small, changes, events, and
//! requests with numbers that nobody honest sends. A miniport may have nothing to tell; what it tells has to be true to its
//! structure (stand::wdk::wmi and stand::wdk::hba_api name the pages).
//!
//! Which SRB status goes with what is documented for the library that miniports are linked with (scsiwmi.h): success, also for a
//! WNODE_TOO_SMALL, SRB_STATUS_DATA_OVERRUN where not even that fits, SRB_STATUS_ERROR for what cannot be changed or executed. Of
//! what does not exist only the IRP's failure is documented, so any refusal will do.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::stamp::SplitMix64;
use stand::wdk::codes::*;
use stand::wdk::hba_api::{self, ADAPTER_INFORMATION, Adapter, METHODS, PORT_METHODS, Port, SAS_PORT_BYTES};
use stand::wdk::srb::Extra;
use stand::wdk::wmi::{self, Block, Said, minor};

use super::srb_functions::{is_refusal, send, status};
use crate::memory::{PAGE, arena, driver};
use crate::storport::request::Data;
use crate::storport::{self, Address, control, exports};

/// What WMI offers at first; more when it is asked for.
const FIRST: usize = 512;
/// A GUID that nobody has.
const STRANGER: [u8; 16] = [0x5A; 16];
/// Room for what is special about a port of its type: more than any has.
const ROOM: u32 = 1024;
/// Rounds of requests with wrong numbers.
const ROUNDS: u32 = 400;

/// Asks for everything, of the adapter and of a unit.
pub fn run(unit: Address, options: &Options) {
    if storport::port().config.wmi_data_provider == 0 {
        crate::skip!("wmi", "the miniport wants to be asked nothing");
        return;
    }
    let Some(provider) = Provider::new(unit) else { return };
    let blocks = match provider.registration() {
        Ok(blocks) => blocks,
        Err(wrong) => {
            crate::console::check(false, "wmi-registration", format_args!("{wrong}"));
            return;
        }
    };
    let names: Vec<String> = blocks.iter().map(|block| wmi::guid_text(&block.guid)).collect();
    let what = if names.is_empty() { String::from("nothing to tell") } else { names.join(" ") };
    crate::ok!("wmi-registration", "{what}");
    report("wmi-registration-too-small", provider.small_registrations());
    for block in blocks.iter().filter(|block| !block.event) {
        report("wmi-block", provider.block(block));
    }
    report("wmi-strangers", provider.strangers(&blocks));
    report("wmi-unit", provider.of_unit(&blocks));
    let has = |guid: [u8; 16]| blocks.iter().any(|block| block.guid == guid);
    if has(ADAPTER_INFORMATION) {
        report("wmi-hba-adapter", provider.adapter());
    }
    if has(ADAPTER_INFORMATION) && has(PORT_METHODS) {
        report("wmi-hba-ports", provider.ports());
    }
    report("wmi-wrong-numbers", provider.wrong_numbers(&blocks, options.seed));
    if has(ADAPTER_INFORMATION) {
        report("wmi-same-after-restart", provider.restart());
    }
}

fn report(name: &str, outcome: Result<String, String>) {
    let passed = outcome.is_ok();
    let text = outcome.unwrap_or_else(|wrong| wrong);
    crate::console::check(passed, name, format_args!("{text}"));
}

/// A request as it came back.
struct Reply {
    before: Vec<u8>,
    after: Vec<u8>,
    status: u8,
    transferred: usize,
    text: String,
}

impl Reply {
    fn answer(&self) -> wmi::Answer<'_> {
        wmi::Answer { before: &self.before, after: &self.after, transferred: self.transferred }
    }

    /// It failed, and nothing was written.
    fn is_failure(&self) -> bool {
        is_refusal(self.status) && self.before == self.after
    }

    fn failed(&self, what: &str) -> Result<(), String> {
        if self.is_failure() { Ok(()) } else { Err(format!("{what}: {}, and not a failure", self.text)) }
    }
}

/// What the DataPath is.
#[derive(Clone, Copy)]
enum Path<'a> {
    Guid(&'a [u8; 16]),
    Number(u64),
}

/// The miniport, as WMI reaches it.
struct Provider {
    unit: Address,
    /// Where the GUID lies, and where buffers end.
    path: arena::Range,
    buffer: arena::Range,
}

impl Provider {
    fn new(unit: Address) -> Option<Self> {
        Some(Self { unit, path: arena::scattered(PAGE)?, buffer: arena::scattered(4 * PAGE)? })
    }

    /// Sends a request whose buffer ends where its pages do: the byte after it faults.
    fn ask(&self, minor: u8, adapter: bool, path: Path<'_>, before: Vec<u8>) -> Reply {
        let at = self.buffer.address + self.buffer.pages * PAGE - before.len() as u64;
        driver::put("WMI", at, &before);
        let path = match path {
            Path::Guid(guid) => {
                driver::put("WMI", self.path.address, guid);
                self.path.address
            }
            Path::Number(number) => number,
        };
        let extra = Extra::Wmi { sub_function: minor, adapter, path };
        let data = Data { address: at, length: before.len() as u32 };
        let answer = send(self.unit, SRB_FUNCTION_WMI, extra, data);
        let after = driver::bytes("WMI", at, before.len());
        let transferred = (answer.transferred as usize).min(before.len());
        Reply { status: status(&answer), transferred, text: answer.text(), before, after }
    }

    fn of_adapter(&self, minor: u8, guid: &[u8; 16], before: Vec<u8>) -> Reply {
        self.ask(minor, true, Path::Guid(guid), before)
    }

    /// As WMI does: when the buffer is too small, once more with one as long as it was told.
    fn converse(
        &self,
        minor: u8,
        guid: &[u8; 16],
        buffer: impl Fn(usize) -> Vec<u8>,
        read: impl Fn(&Reply) -> Result<Said, String>,
    ) -> Result<Vec<u8>, String> {
        let mut length = FIRST;
        for _ in 0..2 {
            let reply = self.of_adapter(minor, guid, buffer(length));
            if reply.status != SRB_STATUS_SUCCESS {
                return Err(format!("{} with {length} bytes", reply.text));
            }
            match read(&reply)? {
                Said::Data(data) => return Ok(data),
                Said::TooSmall(needed) => length = needed,
            }
        }
        Err(format!("{length} bytes, as it was told, are too small"))
    }

    /// Both kinds of registration, for both paths, say the same.
    fn registration(&self) -> Result<Vec<Block>, String> {
        let mut known: Option<Vec<Block>> = None;
        for (minor, path) in [
            (minor::REGINFO_EX, wmi::REGISTER),
            (minor::REGINFO_EX, wmi::UPDATE),
            (minor::REGINFO, wmi::REGISTER),
        ] {
            let reply = self.ask(minor, true, Path::Number(path), vec![0x5A; PAGE as usize]);
            let blocks = match reply.status {
                SRB_STATUS_SUCCESS => {
                    reply.answer().untouched()?;
                    wmi::registration(&reply.after[..reply.transferred], path)?
                }
                _ => reply.failed("a registration").map(|()| Vec::new())?,
            };
            if known.get_or_insert_with(|| blocks.clone()) != &blocks {
                return Err(format!("minor function {minor:#x} with path {path} registers something else"));
            }
        }
        Ok(known.unwrap_or_default())
    }

    /// A buffer that is too small has in its first word how long one has to be, and nothing else (irp-mn-reginfo-ex.md).
    fn small_registrations(&self) -> Result<String, String> {
        let whole = self.ask(minor::REGINFO_EX, true, Path::Number(wmi::REGISTER), vec![0; PAGE as usize]);
        if whole.status != SRB_STATUS_SUCCESS {
            return Ok(String::from("nothing to tell"));
        }
        for length in 0..whole.transferred {
            let reply = self.ask(minor::REGINFO_EX, true, Path::Number(wmi::REGISTER), vec![0x5A; length]);
            let told = if length < 4 { 0 } else { 4 };
            let size = wmi::word(&reply.after, 0) as usize;
            let right = reply.status == SRB_STATUS_DATA_OVERRUN
                && (told == 0 || size == whole.transferred)
                && reply.after[told..] == reply.before[told..];
            if !right {
                return Err(format!("{length} bytes of {}: {}, {size}", whole.transferred, reply.text));
            }
        }
        Ok(format!("{} lengths below {}", whole.transferred, whole.transferred))
    }

    fn all_data(&self, block: &Block) -> Result<Vec<u8>, String> {
        let earliest = exports::system_time();
        let read =
            |reply: &Reply| reply.answer().all_data(block.instances, (earliest, exports::system_time()));
        let buffer = |length| wmi::ask_all_data(&block.guid, length);
        self.converse(minor::QUERY_ALL_DATA, &block.guid, buffer, read)
    }

    /// `at`: where WMI wants the data; the name of the instance comes before it.
    fn instance(&self, guid: &[u8; 16], instance: u32, at: usize) -> Result<Vec<u8>, String> {
        let buffer = |length| wmi::ask_single_instance(guid, instance, at, length);
        self.converse(minor::QUERY_SINGLE_INSTANCE, guid, buffer, |reply| reply.answer().single_instance())
    }

    fn method(&self, number: u32, input: &[u8]) -> Result<Vec<u8>, String> {
        let at = wmi::METHOD_ITEM_BYTES;
        let buffer = |length| wmi::ask_method(&PORT_METHODS, 0, number, at, input, length);
        self.converse(minor::EXECUTE_METHOD, &PORT_METHODS, buffer, |reply| reply.answer().method())
    }

    /// Everything that can be asked of a block without knowing what it is.
    fn block(&self, block: &Block) -> Result<String, String> {
        let Block { guid, instances, .. } = block;
        let all = self.all_data(block).map_err(|wrong| format!("all data: {wrong}"))?;
        for instance in 0..*instances {
            for at in [wmi::SINGLE_INSTANCE_BYTES, 136] {
                let data = self.instance(guid, instance, at);
                let data = data.map_err(|wrong| format!("instance {instance} at {at}: {wrong}"))?;
                if instance == 0 && data.len() != all.len() {
                    return Err(format!("{} bytes among all data, {} alone", all.len(), data.len()));
                }
            }
        }
        self.lengths(block, all.len())?;
        let asked = |buffer| self.of_adapter(minor::QUERY_SINGLE_INSTANCE, guid, buffer);
        let at = wmi::SINGLE_INSTANCE_BYTES;
        for beyond in [*instances, u32::MAX] {
            asked(wmi::ask_single_instance(guid, beyond, at, 8192)).failed("an instance too many")?;
        }
        asked(wmi::ask_by_name(guid, 8192)).failed("an instance by a name that it does not have")?;
        for inside in [0, at - 8] {
            asked(wmi::ask_single_instance(guid, 0, inside, 8192)).failed("data inside the structure")?;
        }
        for minor in minor::CONTROL {
            let reply = self.of_adapter(minor, guid, vec![0x5A; 48]);
            if reply.status != SRB_STATUS_SUCCESS || reply.transferred != 0 || reply.before != reply.after {
                return Err(format!("minor function {minor:#x}: {}", reply.text));
            }
        }
        if [ADAPTER_INFORMATION, PORT_METHODS].contains(guid) {
            self.read_only(block, &all)?;
        }
        Ok(format!("{}: {} bytes, {instances} instance(s)", wmi::guid_text(guid), all.len()))
    }

    /// Around the least length with which a block fits, and that of a WNODE_TOO_SMALL.
    fn lengths(&self, block: &Block, data: usize) -> Result<(), String> {
        let needed = wmi::SINGLE_INSTANCE_BYTES + data;
        let least = wmi::TOO_SMALL_BYTES;
        for length in [0, 1, 47, 48, least - 1, least, least + 1, 63, 64, 65, needed - 1, needed, needed + 1]
        {
            let buffer = wmi::ask_single_instance(&block.guid, 0, wmi::SINGLE_INSTANCE_BYTES, length);
            let reply = self.of_adapter(minor::QUERY_SINGLE_INSTANCE, &block.guid, buffer);
            let said = || reply.answer().single_instance();
            let right = match reply.status {
                SRB_STATUS_SUCCESS if length >= needed => matches!(said()?, Said::Data(_)),
                SRB_STATUS_SUCCESS if length >= least => {
                    matches!(said()?, Said::TooSmall(size) if size == needed)
                }
                SRB_STATUS_DATA_OVERRUN => length < least && reply.before == reply.after,
                _ => false,
            };
            if !right {
                return Err(format!("a buffer of {length} bytes for {needed}: {}", reply.text));
            }
        }
        Ok(())
    }

    /// The classes of the HBA API have nothing to be written (hbaapi.mof): it fails, and changes nothing
    /// (nc-scsiwmi-pscsiwmi_set_datablock.md).
    fn read_only(&self, block: &Block, all: &[u8]) -> Result<(), String> {
        let other: Vec<u8> = all.iter().map(|byte| !byte).collect();
        let change = wmi::ask_change_instance(&block.guid, &other);
        let reply = self.of_adapter(minor::CHANGE_SINGLE_INSTANCE, &block.guid, change);
        reply.failed("a change of an instance")?;
        for item in [1, 2, u32::MAX] {
            let change = wmi::ask_change_item(&block.guid, item);
            self.of_adapter(minor::CHANGE_SINGLE_ITEM, &block.guid, change).failed("a change of an item")?;
        }
        if self.all_data(block)? != all {
            return Err(String::from("it was changed all the same"));
        }
        Ok(())
    }

    /// A block that nobody registered, methods that there are not, operations that nobody has heard of.
    fn strangers(&self, blocks: &[Block]) -> Result<String, String> {
        let requests = [
            (minor::QUERY_ALL_DATA, wmi::ask_all_data(&STRANGER, 8192)),
            (minor::QUERY_SINGLE_INSTANCE, wmi::ask_single_instance(&STRANGER, 0, 64, 8192)),
            (minor::CHANGE_SINGLE_INSTANCE, wmi::ask_change_instance(&STRANGER, &[0; 8])),
            (minor::CHANGE_SINGLE_ITEM, wmi::ask_change_item(&STRANGER, 1)),
            (minor::EXECUTE_METHOD, wmi::ask_method(&STRANGER, 0, 1, 72, &[0; 8], 8192)),
        ];
        let control = minor::CONTROL.map(|minor| (minor, vec![0x5A; 48]));
        for (minor, buffer) in requests.into_iter().chain(control) {
            self.of_adapter(minor, &STRANGER, buffer).failed("a block that nobody has")?;
        }
        for minor in [0x0A, 0x0C, 0x7F, 0xFF] {
            self.of_adapter(minor, &STRANGER, vec![0x5A; 8192]).failed("an unknown minor function")?;
        }
        for Block { guid, .. } in blocks.iter().filter(|block| !block.event) {
            let known =
                |method| *guid == PORT_METHODS && METHODS.iter().any(|(number, ..)| *number == method);
            for method in [0, 1, 9, 11, u32::MAX].into_iter().filter(|method| !known(*method)) {
                let buffer = wmi::ask_method(guid, 0, method, 72, &[0; 64], 8192);
                let what = format!("method {method} of {}", wmi::guid_text(guid));
                self.of_adapter(minor::EXECUTE_METHOD, guid, buffer).failed(&what)?;
            }
        }
        Ok(String::from("all refused"))
    }

    /// What is asked of a logical unit says nothing of the adapter.
    fn of_unit(&self, blocks: &[Block]) -> Result<String, String> {
        let registration =
            self.ask(minor::REGINFO_EX, false, Path::Number(wmi::REGISTER), vec![0x5A; PAGE as usize]);
        let mut replies = vec![registration];
        for Block { guid, .. } in blocks {
            let buffer = wmi::ask_all_data(guid, 8192);
            replies.push(self.ask(minor::QUERY_ALL_DATA, false, Path::Guid(guid), buffer));
        }
        for reply in &replies {
            let nothing = reply.status == SRB_STATUS_SUCCESS && reply.transferred == 0;
            if reply.before != reply.after || !nothing && !is_refusal(reply.status) {
                return Err(reply.text.clone());
            }
        }
        Ok(format!("{} requests, nothing told", replies.len()))
    }

    fn adapter(&self) -> Result<String, String> {
        let adapter = Adapter::read(&self.instance(&ADAPTER_INFORMATION, 0, wmi::SINGLE_INSTANCE_BYTES)?)?;
        let told = adapter.strings.iter().filter(|text| !text.is_empty()).map(|text| format!("'{text}'"));
        let told: Vec<String> = told.collect();
        Ok(format!("id {:016x}, {} port(s), {}", adapter.id, adapter.ports, told.join(" ")))
    }

    /// The output of a method to these words, with its status.
    fn call(&self, number: u32, words: &[u32]) -> Result<(u32, Vec<u8>), String> {
        let input: Vec<u8> = words.iter().copied().flat_map(u32::to_le_bytes).collect();
        let output = self.method(number, &input).map_err(|wrong| format!("method {number}: {wrong}"))?;
        Ok((hba_api::status(number, &output)?, output))
    }

    /// The same, which has to succeed.
    fn call_well(&self, number: u32, words: &[u32]) -> Result<Vec<u8>, String> {
        match self.call(number, words)? {
            (hba_api::OK, output) => Ok(output),
            (status, _) => Err(format!("method {number} to {words:?}: HBAStatus {status}")),
        }
    }

    /// The same, which has to fail.
    fn call_in_vain(&self, number: u32, words: &[u32]) -> Result<(), String> {
        match self.call(number, words)? {
            (hba_api::OK, _) => Err(format!("method {number} to {words:?}: HBA_STATUS_OK")),
            _ => Ok(()),
        }
    }

    fn ports(&self) -> Result<String, String> {
        let Adapter { ports, .. } =
            Adapter::read(&self.instance(&ADAPTER_INFORMATION, 0, wmi::SINGLE_INSTANCE_BYTES)?)?;
        let mut told = Vec::new();
        for port in 0..ports {
            told.push(self.port(port)?);
        }
        for beyond in [ports, u32::MAX] {
            for (number, _, input, _) in METHODS.into_iter().filter(|(number, ..)| !matches!(number, 4 | 10))
            {
                let words = match number {
                    2 => [beyond, ROOM, 0],
                    5 => [beyond, hba_api::SSP, 0],
                    _ => [beyond, 0, ROOM],
                };
                self.call_in_vain(number, &words[..input / 4])?;
            }
        }
        // Nobody has such a name.
        self.call_in_vain(4, &[u32::MAX, u32::MAX, 0, 0, ROOM])?;
        let refreshed = self.method(10, &[])?;
        if !refreshed.is_empty() {
            return Err(format!("SM_RefreshInformation says {} bytes", refreshed.len()));
        }
        for (number, name, input, output) in METHODS {
            self.bad_calls(number, input, output).map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(told.join(", "))
    }

    fn port(&self, index: u32) -> Result<String, String> {
        let kind = wmi::word(&self.call_well(1, &[index])?, 4);
        let attributes = self.call_well(2, &[index, ROOM])?;
        let port = Port::read(&attributes)?;
        if port.kind != kind {
            return Err(format!("port {index}: PortType {kind} and {}", port.kind));
        }
        let [high, low] = [0, 4].map(|at| wmi::word(&port.name, at));
        if self.call_well(4, &[high, low, 0, 0, ROOM])? != attributes {
            return Err(format!("port {index} is another one by its name"));
        }
        let least = SAS_PORT_BYTES as u32;
        self.call_well(2, &[index, least])?;
        let (status, short) = self.call(2, &[index, least - 1])?;
        if status != hba_api::MORE_DATA || wmi::word(&short, 16) != 0 {
            return Err(format!("port {index} with too little room: HBAStatus {status}"));
        }
        for discovered in 0..port.discovered.min(4) {
            self.call_well(3, &[index, discovered, ROOM])?;
        }
        self.call_in_vain(3, &[index, port.discovered, ROOM])?;
        for phy in 0..port.phys.min(4) {
            self.call_well(8, &[index, phy])?;
            let statistics = self.call_well(6, &[index, phy, 9])?;
            let [total, there] = [4, 8].map(|at| wmi::word(&statistics, at));
            if there > 9 || there > total {
                return Err(format!("port {index}, phy {phy}: {there} of {total} counters"));
            }
        }
        self.call_in_vain(8, &[index, port.phys])?;
        self.call_in_vain(6, &[index, port.phys, 9])?;
        // It is a SAS port.
        self.call_in_vain(7, &[index, 0])?;
        let counters = hba_api::counters(&self.call_well(5, &[index, hba_api::SSP])?)?;
        self.call_in_vain(5, &[index, 0x8000])?;
        Ok(format!(
            "port {index}: {:016x}, state {}, counters {counters:?}",
            u64::from_be_bytes(port.name),
            port.state
        ))
    }

    /// Inputs that are cut off or lie beyond the buffer, and outputs that do not fit.
    fn bad_calls(&self, method: u32, input: usize, output: usize) -> Result<(), String> {
        const AT: usize = wmi::METHOD_ITEM_BYTES;
        let asked = |buffer| self.of_adapter(minor::EXECUTE_METHOD, &PORT_METHODS, buffer);
        let ask = |at, input: &[u8], length| wmi::ask_method(&PORT_METHODS, 0, method, at, input, length);
        for short in 0..input {
            asked(ask(AT, &vec![0; short], 1024)).failed("an input that is too short")?;
        }
        let words = vec![0; input];
        if input > 0 {
            asked(ask(AT, &words, AT + input - 1)).failed("an input that ends behind the buffer")?;
            asked(ask(8, &words, 1024)).failed("an input inside the structure")?;
            asked(ask(usize::MAX & !7, &[], 1024)).failed("an input that is nowhere")?;
        }
        let mut other = ask(AT, &words, 1024);
        wmi::set(&mut other, 52, 1);
        asked(other).failed("of another instance")?;
        for length in AT + input..AT + output {
            let reply = asked(ask(AT, &words, length));
            let small = reply.status == SRB_STATUS_SUCCESS
                && matches!(reply.answer().method()?, Said::TooSmall(needed) if needed >= AT + output);
            if !small {
                return Err(format!("{length} bytes for {}: {}", AT + output, reply.text));
            }
        }
        Ok(())
    }

    /// Fields at their limits and beyond, buffers of every length. Whatever the answer, nothing is written that is not told.
    fn wrong_numbers(&self, blocks: &[Block], seed: u64) -> Result<String, String> {
        let mut random = SplitMix64(seed);
        let mut answered = 0;
        for _ in 0..ROUNDS {
            let most = if random.below(4) == 0 { 3 * PAGE } else { 700 };
            let length = random.below(most) as usize;
            let mut buffer: Vec<u8> = (0..length).map(|_| random.word() as u8).collect();
            let values = [0, 1, 8, 28, 64, 72, 0x80, 0x1_0080, u32::MAX, u32::MAX - 71, length as u32];
            for at in (0..100).step_by(4) {
                let value = values[random.below(values.len() as u64) as usize];
                if random.below(8) != 0 {
                    wmi::set(&mut buffer, at, value);
                }
            }
            let minor = random.below(13) as u8;
            let guid = match blocks.get(random.below(blocks.len() as u64 + 1) as usize) {
                Some(block) => block.guid,
                None => STRANGER,
            };
            let registers = matches!(minor, minor::REGINFO | minor::REGINFO_EX);
            let path = if registers { Path::Number(random.word()) } else { Path::Guid(&guid) };
            let reply = self.ask(minor, true, path, buffer);
            let known = reply.status == SRB_STATUS_SUCCESS || reply.status == SRB_STATUS_DATA_OVERRUN;
            answered += u32::from(known);
            // The word that says how long a registration is counts as told.
            let told = if registers { reply.transferred.max(length.min(4)) } else { reply.transferred };
            let right = reply.after[told..] == reply.before[told..];
            if !right || !known && !is_refusal(reply.status) {
                return Err(format!("minor function {minor:#x}, {length} bytes: {}", reply.text));
            }
        }
        Ok(format!("{ROUNDS} requests, {answered} answered"))
    }

    /// UniqueAdapterId and the names of ports stay when the adapter was stopped and started again.
    fn restart(&self) -> Result<String, String> {
        let before = (self.adapter()?, self.ports().ok());
        if !control::stop_and_restart() {
            return Err(String::from("the adapter does not start again"));
        }
        let after = (self.adapter()?, self.ports().ok());
        if before != after { Err(format!("{before:?}, then {after:?}")) } else { Ok(before.0) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        arena::release(self.path);
        arena::release(self.buffer);
    }
}
