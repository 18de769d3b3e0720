//! The dump port driver: it stands in for Storport when the system has crashed or hibernates, and runs a second copy of
//! the miniport that was loaded beside the first (restrictions-on-miniport-drivers-that-manage-the-boot-drive.md).
//!
//! What is known from the documentation: DriverEntry gets null for both arguments, HwStorFindAdapter the argument string
//! `dump=1` and PORT_CONFIGURATION_INFORMATION with DumpMode, all routines are called at HIGH_LEVEL, the disk must be
//! ready when HwStorInitialize returns, there is one request at a time, HwStorResetBus is not called, memory is short, and
//! what a miniport may call is in [`stand::dump`]. What is not documented and assumed here:
//!
//! - HwStorBuildIo, when there is one, comes before HwStorStartIo, as always; then HwStorInterrupt is called again and
//!   again until the request is completed, whether the device interrupts or not, for as long as TimeOutValue says.
//! - SRBs are SCSI_REQUEST_BLOCKs, whatever SrbTypeFlags ask for, and SrbType says so; a trial sends the type that was
//!   asked for instead, because no page promises either.
//! - SRB and extension are physically contiguous, in memory of the dump port's own.
//! - Message interrupts stay in the device as the first copy left them; nobody takes them.
//!
//! The first copy is left alone: its state is put away, its memory stays, its requests stay where they are.

use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stand::dump::{self, Answer};
use stand::wdk::codes::*;
use stand::wdk::config::{AccessRange, PortConfiguration};
use stand::wdk::names;
use stand::wdk::srb::Extra;

use super::request::{self, Data, Request};
use super::{Address, Phase, Port, memory, port, queue, start};
use crate::cpu::arguments::Arguments;
use crate::cpu::percpu::{self, DRIVER_STACK, Stack};
use crate::cpu::{apic, call, clock, freeze, irql, smp};
use crate::kernel::export;
use crate::loader;
use crate::memory::{PAGE, arena, dma, driver};

/// The uncached extension is at most this long: the page says that a miniport should not ask for more than 32 KiB of
/// memory. RequestedDumpBufferSize and CommonBufferSize (64 KiB at most, ns-storport-_miniport_dump_pointers.md) ask for a
/// region of its own.
const UNCACHED_MOST: u64 = 32 << 10;
const REGION_MOST: u32 = 64 << 10;
/// IRQL HIGH_LEVEL.
const HIGH: u8 = 15;
/// A crash waits so many ticks for the processor to be in the driver with so many requests under way, which makes the more
/// interesting crash.
const PATIENCE: u64 = 500;
const UNDER_WAY: usize = 4;
/// A busy answer is tried again so often.
const BUSY_LIMIT: u32 = 200;

/// What the running copy said for its second (SRB_FUNCTION_DUMP_POINTERS).
#[derive(Clone, Copy, Debug, Default)]
pub struct Pointers {
    /// MiniportPrivateDumpData.
    pub data: u64,
    /// MaximumTransferLength; 0 when it said nothing.
    pub most: u32,
    /// CommonBufferSize.
    pub buffer: u32,
}

/// How the second copy is started.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// DUMP_MODE_CRASH or DUMP_MODE_HIBER.
    pub mode: u8,
    /// STORAGE_REQUEST_BLOCKs for a miniport that asked for them.
    pub extended: bool,
    /// DriverEntry of the second copy.
    pub entry: u64,
    /// What the first said.
    pub pointers: Pointers,
}

static ON: AtomicBool = AtomicBool::new(false);
static DUE: AtomicU64 = AtomicU64::new(0);
/// How often HwStorInterrupt was called.
pub static POLLS: AtomicU32 = AtomicU32::new(0);
static THEN: crate::cpu::lock::Lock<Option<fn() -> !>> = crate::cpu::lock::Lock::new(None);
static FIRST: crate::cpu::lock::Lock<Option<Port>> = crate::cpu::lock::Lock::new(None);

/// The system will crash at a tick, or a little later, in the first processor's clock interrupt, and go on with `then`.
pub fn crash_at(tick: u64, then: fn() -> !) {
    *THEN.lock() = Some(then);
    DUE.store(tick, Ordering::SeqCst);
}

/// Called by the clock interrupt.
pub fn crash_if_due() {
    let due = DUE.load(Ordering::Relaxed);
    if due == 0 || percpu::number() != 0 || clock::ticks() < due {
        return;
    }
    let moment = percpu::current().depth > 0 && port().active.len() >= UNDER_WAY;
    if !moment && clock::ticks() < due + PATIENCE {
        return;
    }
    DUE.store(0, Ordering::SeqCst);
    let then = *THEN.lock();
    if let Some(then) = then {
        crash(then);
    }
}

/// The system crashes here and now. Nothing that is under way goes on: neither the other processors nor what this one was
/// doing.
pub fn crash(then: fn() -> !) -> ! {
    crate::cpu::disable_interrupts();
    let level = irql::raise(HIGH);
    let cpu = percpu::current();
    let requests = {
        // Stops the others before the first line is printed.
        let places = freeze::stop_others(smp::count(), |number| apic::send_nmi(smp::apic_id(number)));
        crate::note!(
            "crash: processor {} at IRQL {level} in {}, {} lock(s) held",
            cpu.number,
            percpu::current_callback(),
            cpu.locks
        );
        for (number, place, callback) in places {
            let place = if place == 0 { "a lock of the stand".into() } else { loader::place(place) };
            crate::note!("crash: processor {number} stopped in {callback}, at {place}");
        }
        port().active.len()
    };
    crate::note!("crash: {requests} request(s) with the miniport");
    // What is dumped lies anywhere. How Windows makes that reachable is not documented.
    dma::lift();
    // What was on the stacks stays there.
    for top in &mut cpu.tops {
        *top = arena::stack(DRIVER_STACK);
    }
    (cpu.depth, cpu.locks, cpu.in_isr, cpu.in_dpc) = (0, 0, false, false);
    clock::catch_up();
    then()
}

/// A number that changes with the memory of the first copy: its data sections and its device extension. The device may
/// still write to the rest.
pub fn first_memory() -> u64 {
    let own = |port: &Port| (port.extension, u64::from(port.hw.device_extension_size));
    let put_away = FIRST.lock().as_ref().map(own);
    let extension = put_away.or_else(|| Some(own(&port())));
    let sections = loader::data_of_first().into_iter().map(|section| (section.start, section.size));
    let mut sum = 0xCBF2_9CE4_8422_2325u64;
    for (address, size) in sections.chain(extension) {
        for word in driver::bytes("Storport", address, size as usize).chunks(8) {
            for byte in word {
                sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
            }
        }
    }
    sum
}

/// Asks the running copy what its second will need, if it wants to be asked (ns-storport-_miniport_dump_pointers.md). The
/// structure starts as Storport fills it for PORT_CONFIGURATION_INFORMATION. Before the crash.
pub fn ask_for_pointers(address: Address) -> Result<Pointers, String> {
    const SIZE: u16 = 112;
    let (wanted, config) = {
        let port = port();
        (port.hw.feature_support & STOR_FEATURE_DUMP_POINTERS != 0, port.config)
    };
    if !wanted {
        return Ok(Pointers::default());
    }
    let Some(range) = arena::scattered(u64::from(SIZE)) else { crate::stop!("no memory") };
    let at = range.address;
    ask_shortly(address, at)?;
    driver::write("Storport", at + 72, [config.system_io_bus_number, config.adapter_interface_type]);
    driver::write("Storport", at + 80, [SP_UNINITIALIZED_VALUE, config.number_of_physical_breaks]);
    driver::write("Storport", at + 88, [config.alignment_mask, config.number_of_access_ranges]);
    let bytes = [config.number_of_buses, 1, config.map_buffers, config.maximum_number_of_targets];
    driver::write("Storport", at + 104, bytes);
    let data = Data { address: at, length: u32::from(SIZE) };
    let request = Request::other(address, SRB_FUNCTION_DUMP_POINTERS, Extra::None, data, 10);
    let answer = queue::execute(request).answer;
    let [version, size]: [u16; 2] = driver::read("Storport", at);
    let pointers = Pointers {
        data: driver::read("Storport", at + 64),
        most: driver::read("Storport", at + 80),
        buffer: driver::read("Storport", at + 56),
    };
    arena::release(range);
    if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS || version != DUMP_MINIPORT_VERSION_1 || size != SIZE {
        return Err(alloc::format!("{}, version {version:#x}, size {size}", answer.text()));
    }
    Ok(pointers)
}

/// Asks with a structure that ends behind MiniportPrivateDumpData, which is enough for storahci (AhciHwStorBuildIo); nothing may
/// be written behind that.
fn ask_shortly(address: Address, at: u64) -> Result<(), String> {
    const SHORT: u32 = 72;
    let data = Data { address: at, length: SHORT };
    let answer =
        queue::execute(Request::other(address, SRB_FUNCTION_DUMP_POINTERS, Extra::None, data, 10)).answer;
    let behind: [u64; 5] = driver::read("Storport", at + u64::from(SHORT));
    if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS || behind != [0; 5] {
        return Err(alloc::format!("{SHORT} bytes: {}, behind them {behind:x?}", answer.text()));
    }
    Ok(())
}

/// DriverEntry, HwStorFindAdapter and HwStorInitialize of the second copy. The error says why it declined.
pub fn bring_up(how: &How) -> Result<(), String> {
    let first = core::mem::take(&mut *port());
    {
        let mut port = port();
        (port.function, port.table, port.next_tag) = (first.function, first.table, first.next_tag);
        port.bars.clone_from(&first.bars);
    }
    let asked = first.config.requested_dump_buffer_size.max(how.pointers.buffer);
    *FIRST.lock() = Some(first);
    loader::take_over();
    ON.store(true, Ordering::SeqCst);

    let status = call::driver("DriverEntry", Stack::Thread, how.entry, &[0, 0]) as u32;
    if status & 0x8000_0000 != 0 {
        return Err(alloc::format!("DriverEntry failed with status {status:#010x}"));
    }
    let hw = port().hw;
    if hw.hw_find_adapter == 0 {
        return Err("DriverEntry never called StorPortInitialize".into());
    }
    if hw.hw_interrupt == 0 {
        crate::broken!("no-interrupt-routine", "HwStorInterrupt is what is polled in dump mode, and is null");
    }
    find_adapter(how, asked)?;
    port().phase = Phase::Initialize;
    let extension = port().extension;
    let good = call::driver("HwStorInitialize", Stack::Thread, hw.hw_initialize, &[extension]) & 0xFF != 0;
    crate::console::check(
        good,
        "dump-initialize",
        format_args!("HwStorInitialize returned {}", if good { "TRUE" } else { "FALSE" }),
    );
    if !good {
        return Err("HwStorInitialize failed".into());
    }
    port().phase = Phase::Running;
    Ok(())
}

fn find_adapter(how: &How, asked: u32) -> Result<(), String> {
    let hw = port().hw;
    let size = u64::from(hw.device_extension_size).next_multiple_of(16).max(16);
    let (Some((own, _)), Some(page)) = (arena::contiguous(size), arena::scattered(2 * PAGE)) else {
        crate::stop!("no memory for the device extension")
    };
    let extension = own.address + own.pages * PAGE - size;
    let (config_at, ranges, text, again) =
        (page.address + 64, page.address + 512, page.address + PAGE, page.address + PAGE + 512);
    let bars = port().bars.clone();
    for index in 0..hw.number_of_access_ranges.min(64) as usize {
        let range = bars.get(index).map_or(AccessRange::default(), |bar| AccessRange {
            start: bar.address,
            length: bar.size as u32,
            in_memory: u8::from(bar.memory),
            ..AccessRange::default()
        });
        driver::write("Storport", ranges + 16 * index as u64, range);
    }
    driver::put("Storport", text, b"dump=1\0");
    let usual = start::configuration(&hw, ranges);
    let before = PortConfiguration {
        dump_mode: how.mode,
        miniport_dump_data: how.pointers.data,
        requested_dump_buffer_size: asked,
        dump_region: region(asked),
        srb_type: if how.extended { usual.srb_type } else { SRB_TYPE_SCSI_REQUEST_BLOCK as u8 },
        ..usual
    };
    driver::write("Storport", config_at, before);
    {
        let mut port = port();
        (port.extension, port.config, port.config_address) = (extension, before, config_at);
        port.phase = Phase::FindAdapter;
    }
    let arguments = [extension, 0, 0, text, config_at, again];
    let result = call::driver("HwStorFindAdapter", Stack::Thread, hw.hw_find_adapter, &arguments) as u32;
    if result != SP_RETURN_FOUND {
        return Err(alloc::format!("HwStorFindAdapter returned {result}, not SP_RETURN_FOUND"));
    }
    let after: PortConfiguration = driver::read("Storport", config_at);
    start::check_configuration(&before, &after);
    let mut port = port();
    port.config = after;
    let uncached = port.uncached.map_or(0, |(_, _, size)| size);
    drop(port);
    crate::ok!("dump-find-adapter", "SP_RETURN_FOUND");
    crate::note!(
        "dump: {} bytes and {} pages per request, {}, extension {} bytes, SRB extension {} bytes, uncached {uncached} bytes",
        after.maximum_transfer_length,
        after.number_of_physical_breaks,
        if after.srb_type == 0 { "SCSI_REQUEST_BLOCK" } else { "STORAGE_REQUEST_BLOCK" },
        hw.device_extension_size,
        after.srb_extension_size,
    );
    Ok(())
}

/// MEMORY_REGION of the size that was asked for: virtual and physical address, length.
fn region(bytes: u32) -> [u64; 3] {
    if bytes == 0 || bytes > REGION_MOST {
        return [0; 3];
    }
    let Some((range, physical)) = arena::contiguous(u64::from(bytes)) else { crate::stop!("no memory") };
    [range.address, physical, u64::from(bytes)]
}

/// Most bytes of one request.
pub fn most_bytes(pointers: &Pointers) -> u32 {
    let most = port().config.maximum_transfer_length;
    if pointers.most == 0 { most } else { most.min(pointers.most) }
}

/// Runs one request to its end, polling.
pub fn execute(mut request: Box<Request>) -> Box<Request> {
    queue::number(&mut request);
    loop {
        request = match attempt(request) {
            Ok(request) => return request,
            Err(busy) => busy,
        };
        if request.retries > BUSY_LIMIT {
            crate::broken!("busy-for-ever", "{} came back busy {BUSY_LIMIT} times", request.text());
        }
        clock::stall(2000);
    }
}

/// One try; the error is a request that came back busy.
fn attempt(mut request: Box<Request>) -> Result<Box<Request>, Box<Request>> {
    let (hw, extension) = {
        let port = port();
        (port.hw, port.extension)
    };
    let text = request.text();
    let end = clock::ticks() + u64::from(request.timeout) * 1000;
    let srb = {
        let mut port = port();
        let srb = request.build(&port);
        crate::report::started(request.tag, srb, request.data.length);
        port.active.insert(srb, request);
        port.statistics.requests += 1;
        srb
    };
    let is_active = || port().active.contains_key(&srb);
    let go = hw.hw_build_io == 0
        || call::driver("HwStorBuildIo", Stack::Thread, hw.hw_build_io, &[extension, srb]) & 0xFF != 0;
    if go && !is_active() {
        crate::not_ok!(
            "buildio-completed-and-true",
            "HwStorBuildIo completed the SRB and asked for HwStorStartIo"
        );
    }
    if go && is_active() {
        let taken =
            call::driver("HwStorStartIo", Stack::Thread, hw.hw_start_io, &[extension, srb]) & 0xFF != 0;
        if !taken && is_active() {
            // Not initiated (nc-storport-hw_startio.md): as if it were busy. SrbStatus is at offset 3 of both kinds.
            driver::write("Storport", srb + 3, SRB_STATUS_BUSY);
            request::complete(srb);
        }
    }
    let mut polls = 0;
    loop {
        clock::catch_up();
        {
            let mut port = port();
            if let Some(done) = port.done.pop_front() {
                return Ok(done);
            }
            if let Some(busy) = port.waiting.pop_front() {
                return Err(busy);
            }
        }
        if clock::ticks() >= end {
            crate::broken!("dump-timeout", "{text} is not completed by polling HwStorInterrupt");
        }
        POLLS.fetch_add(1, Ordering::Relaxed);
        polls += 1;
        crate::report::set_polling(polls > 3);
        call::driver("HwStorInterrupt", Stack::Isr(9), hw.hw_interrupt, &[extension]);
        crate::report::set_polling(false);
        clock::stall(20);
    }
}

/// What an import answers in dump mode; `None` when it does what it always does.
pub fn instead(export: &str, a: Arguments) -> Option<u64> {
    if !ON.load(Ordering::Relaxed) {
        return None;
    }
    let (name, answer) = match dump::answer(export) {
        Answer::Notification => {
            let kind = a.get(0) & 0xFFFF_FFFF;
            (names::notification(kind), dump::notification(kind, a.get(2) & 0xFFFF_FFFF))
        }
        Answer::Extended => {
            let code = a.get(0) & 0xFFFF_FFFF;
            (names::extended_function(code), dump::extended(code))
        }
        other => (export, other),
    };
    match answer {
        Answer::Usual | Answer::Notification | Answer::Extended => None,
        Answer::Nothing(result) => Some(result),
        Answer::Uncached => {
            let bytes = a.get(2) & 0xFFFF_FFFF;
            if bytes > UNCACHED_MOST {
                crate::note!(
                    "dump: {bytes} bytes of uncached extension are refused, {UNCACHED_MOST} is all there is"
                );
                return Some(0);
            }
            Some(memory::uncached_extension(a))
        }
        Answer::Synchronized => {
            let arguments = [a.get(0), a.get(2)];
            Some(call::driver("HwStorSynchronizedAccess", Stack::Nested, a.get(1), &arguments))
        }
        Answer::Forbidden(result) => {
            crate::not_ok!("not-in-dump-mode", "{name} in {}", export::whereabouts(a));
            Some(result)
        }
    }
}
