//! A run from top to bottom.

use alloc::vec::Vec;

use stand::cmdline::{self, Io};
use stand::device::Outcome;

use crate::boot::BootInfo;
use crate::cpu::trace::{self, Map, Where};
use crate::cpu::{apic, clock, descriptors, percpu, smp, startup};
use crate::kernel::{import, processor};
use crate::memory::{arena, dma};
use crate::pci::iommu::Iommu;
use crate::pci::{self, bars, msix, virtio};
use crate::storport::{self, control, exports, request, start, stray};
use crate::{acpi, console, loader, model, pass, scan, suite};

/// Runs the driver image through everything the command line asks for.
pub fn run(boot: BootInfo) -> ! {
    percpu::start(0, arena::stack);
    descriptors::start(0);
    let options = cmdline::parse(&boot.command_line).unwrap_or_else(|error| {
        console::line("stop ", format_args!("{error}"));
        console::exit(2)
    });
    crate::report::set_go_on(options.go_on);
    clock::limit_run(options.limit);
    apic::start();
    let tables = acpi::read(boot.rsdp);
    if let Some((address, first)) = tables.io_apic {
        apic::route_lines(address, first);
        apic::start_watchdog();
    }
    processor::start(options.groups, tables.processors.len().clamp(1, percpu::PROCESSORS) as u32);
    smp::join(processor::place(0).1);
    crate::cpu::enable_interrupts();
    let Some((ecam, first, last)) = tables.ecam else {
        crate::stop!("no MCFG table: start QEMU with -machine q35")
    };
    if boot.image.is_empty() {
        crate::stop!("no driver image: start QEMU with -initrd DRIVER.sys");
    }
    let functions = pci::start(ecam, first, last);
    let all: Vec<_> = functions.iter().map(|f| (*f, bars::assign(*f))).collect();
    // Addresses are assigned while there is one processor; see `smp::alone`.
    startup::start(&tables.processors);
    crate::note!(
        "stand: {} MiB of RAM, {} processor(s), TSC {} MHz, seed {:x}",
        boot.ram >> 20,
        smp::count(),
        apic::tsc_per_ms() / 1000,
        options.seed
    );
    let entry = loader::load(&options.image, boot.image, import::resolve);
    let mut mine = None;
    for (function, bars) in all {
        function.set_command(pci::command::NO_LINE, 0);
        if !options.pci.contains(&function.id()) {
            continue;
        }
        if mine.is_none() {
            mine = Some((function, bars));
        } else {
            storport::port().others.push((function, bars));
        }
    }
    let Some((function, bars)) = model::start(&options).or(mine) else {
        let mut ids = alloc::string::String::new();
        for (vendor, device) in &options.pci {
            ids = alloc::format!("{ids} {vendor:04x}:{device:04x}");
        }
        crate::stop!("no PCI function for this driver (wanted{ids})");
    };
    let device = function.id().1;
    let table = msix::find(function, &bars);
    crate::note!(
        "device: {function} {:04x}:{device:04x}, {} address range(s), {} MSI-X messages",
        function.id().0,
        bars.len(),
        table.map_or(0, |table| table.size)
    );
    storport::port().parameters.clone_from(&options.parameters);
    storport::port().starts = options.starts;
    storport::port().targets = options.targets;
    storport::port().old_srbs = options.old_srbs;
    storport::port().few_commands = options.few_commands;
    storport::port().ladder.misses = options.misses;
    if options.gather {
        msix::gather();
    }
    start::driver_entry(entry, &options.service);
    loader::discard();
    start::assign(function, &bars, table);
    if let Some(registers) = tables.iommu.filter(|_| !model::is_there()) {
        dma::enforce(Iommu::start(registers, function));
        crate::note!("the device is behind an IOMMU");
    }
    start::find_adapter();
    start::bring_up();
    if model::is_there() && model::outcome() == Outcome::Down {
        crate::not_ok!(
            "hostile-declined",
            "nothing can be done with such a device, but the miniport took it"
        );
    }
    if let Some(agreement) = virtio::read(function, &bars) {
        crate::note!("virtio: {} interface, status {:#04x}", agreement.interface(), agreement.status);
        crate::note!("  offered:    {}", virtio::names(agreement.device, device));
        crate::note!("  negotiated: {}", virtio::names(agreement.driver, device));
        let ready = agreement.status & 0xC4 == 4;
        console::check(ready, "driver-ok", format_args!("device status {:#04x}", agreement.status));
    }
    if options.trace {
        let map = Map { doorbells: (0, 0), is_extension: request::is_extension };
        trace::start(map, Where::Here);
    }
    if let (true, Some(name)) = (model::is_there(), &options.suite) {
        // A bus scan of a device that lies would stop at the first lie.
        suite::run(name, &[], &options);
    } else if options.io != Io::None {
        let units = scan::scan();
        match &options.suite {
            Some(name) => suite::run(name, &units, &options),
            None if options.io == Io::Full => pass::run(&units, &options),
            None => {}
        }
    }
    control::shut_down();
    stray::look();
    crate::note!("{}", exports::summary());
    crate::note!("{} ms in the guest", clock::ticks());
    console::end()
}
