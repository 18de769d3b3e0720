//! The verbs of `./x`. Each is one module; what they share is below them.
//!
//! ```text
//! ./x ─► setup   build ─► package ─► run         check ─► hygiene
//!                 │          │        │   stand            test, coverage, fuzz, bench ─► nightly, registry
//!                 drivers    fresh    └─► boot ─► qemu ─► command      (QEMU, always with a time limit), current_qemu
//!                                          │ └──► protocol             (what the stand prints)
//!           stand ─► suites ─► failed       ├────► machine              (disk images, devices, stamps)
//!                                          └────► host ─► qmp          (what the stand asks for), daemon, vhost_device_scsi
//! ```
//!
//! `x` asks `needs` what a verb lacks before it starts it; the verb `fresh` is `newcomer`, which does that on a bare Debian.
//! The module `fresh` says whether an output is up to date.
//!
//! `packaging` does the packaging, `stand` is the program that is booted; here they are only put together.

mod bench;
mod bench_driver;
mod bench_figures;
mod bench_kept;
mod bench_page;
mod bench_rows;
mod bench_table;
mod blklog;
mod boot;
mod build;
mod check;
mod command;
mod coverage;
mod current_qemu;
mod daemon;
mod drivers;
mod failed;
mod fresh;
mod fuzz;
mod host;
mod hygiene;
mod iscsi;
mod machine;
mod misdeeds;
mod needs;
mod newcomer;
mod nightly;
mod package;
mod protocol;
mod qemu;
mod qmp;
mod registry;
mod run;
mod screen;
mod setup;
mod stages;
mod stand_verb;
mod suites;
mod symbols;
mod test;
mod tmf;
mod vhost_device_scsi;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use needs::Need;
use screen::Screen;
use std::path::PathBuf;
use std::process::ExitCode;
use workspace::Workspace;

/// Windows virtio storage drivers, built, packaged and run on Linux.
#[derive(Debug, Parser)]
#[command(name = "x", bin_name = "./x", disable_help_subcommand = true)]
struct Arguments {
    /// The work tree, if not the one this program is in
    #[arg(long, global = true, hide = true)]
    root: Option<PathBuf>,
    /// Do nothing but name the Debian packages of what this verb needs and the machine lacks; `x` asks so
    #[arg(long, global = true, hide = true)]
    missing: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what is missing on this machine and show what is used
    Setup,
    /// Build viostor.sys and vioscsi.sys
    Build(drivers::BuildArguments),
    /// Stamp, check, catalogue and test-sign the drivers, and write the driver ISO
    Package(drivers::Arguments),
    /// Do all of that and try the drivers from the ISO on QEMU's disks
    Run(run::Arguments),
    /// Run all tests
    Test(test::Arguments),
    /// Try the ring's orderings in every interleaving
    Loom,
    /// Run the virtio crate's tests under Miri
    Miri,
    /// Fuzz the virtio crate: PCI capabilities, used ring, call sequences
    Fuzz(fuzz::Arguments),
    /// Count what a request costs, in instructions
    Bench(bench::Arguments),
    /// Try any StorPort miniport image for a virtio storage device on QEMU's disks
    Stand(stand_verb::Arguments),
    /// Run the README's commands on a bare Debian, as a newcomer does
    Fresh(newcomer::Arguments),
    /// Formatting, lints and the rules of this tree
    Check(check::Arguments),
}

impl Verb {
    /// What has to be on the machine besides Rust, and whether the caller brings the QEMU.
    fn needs(&self) -> (&'static [Need], bool) {
        match self {
            Self::Build(_) => (needs::TO_BUILD, false),
            Self::Package(_) => (needs::TO_PACKAGE, false),
            Self::Setup | Self::Test(_) => (needs::TO_TEST, false),
            Self::Run(options) => (needs::TO_RUN, options.boot.qemu.is_some()),
            Self::Stand(options) => options.needs(),
            Self::Bench(options) => (options.needs(), false),
            Self::Fuzz(_) => (&[needs::CXX], false),
            Self::Check(_) => (needs::TO_CHECK, false),
            Self::Fresh(_) => (&[needs::DEBOOTSTRAP], false),
            Self::Loom | Self::Miri => (&[], false),
        }
    }

    /// Whether it starts machines.
    fn boots(&self) -> bool {
        match self {
            Self::Run(_) | Self::Test(_) | Self::Bench(_) => true,
            Self::Stand(options) => options.suite != ["list"],
            _ => false,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut screen = Screen::new();
    let result = act(&arguments, &mut screen);
    screen.clear();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // One line, causes after colons: what is wrong, and where known what to do.
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked for. The answer says whether all is well; what is not has been printed then.
fn act(arguments: &Arguments, screen: &mut Screen) -> Result<bool> {
    if arguments.missing {
        let (needs, own_qemu) = arguments.verb.needs();
        screen.line(&needs::missing(needs, own_qemu).join(" "));
        return Ok(true);
    }
    let workspace = Workspace::find(arguments.root.as_deref())?;
    let _machines = arguments.verb.boots().then(|| workspace.occupy()).transpose()?;
    match &arguments.verb {
        Verb::Setup => setup::verb(&workspace, screen),
        Verb::Build(options) => drivers::verb(&workspace, screen, options),
        Verb::Package(options) => package::verb(&workspace, screen, options),
        Verb::Run(options) => run::verb(&workspace, screen, options),
        Verb::Test(options) => test::verb(&workspace, screen, options),
        Verb::Loom => test::loom_verb(&workspace, screen),
        Verb::Miri => test::miri_verb(&workspace, screen),
        Verb::Fuzz(options) => fuzz::verb(&workspace, screen, options),
        Verb::Bench(options) => bench::verb(&workspace, screen, options),
        Verb::Stand(options) => stand_verb::verb(&workspace, screen, options),
        Verb::Fresh(options) => newcomer::verb(&workspace, screen, options),
        Verb::Check(options) => check::verb(&workspace, screen, options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &str) -> Result<Verb, clap::Error> {
        Arguments::try_parse_from(words.split_whitespace()).map(|arguments| arguments.verb)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_verbs_are_those_of_the_script() {
        let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../x")).unwrap();
        for verb in Arguments::command().get_subcommands() {
            let line = format!("\n  {:<9} ", verb.get_name());
            assert!(script.contains(&line), "the usage of x lacks {}", verb.get_name());
        }
    }

    #[test]
    fn stand_takes_any_number_of_devices() {
        let verb =
            parse("x stand --driver a.sys --device virtio-blk --device virtio-scsi-pci,id=q --io scan")
                .unwrap();

        let Verb::Stand(options) = verb else { panic!("{verb:?}") };
        assert_eq!(options.device, ["virtio-blk", "virtio-scsi-pci,id=q"]);
        assert_eq!(options.io, boot::Io::Scan);
    }

    #[test]
    fn suites_need_no_driver_and_come_several_at_once() {
        let Verb::Stand(options) = parse("x stand --suite hotplug,power --long").unwrap() else {
            panic!("not stand")
        };

        assert_eq!(options.suite, ["hotplug", "power"]);
        assert!(options.long && options.driver.is_none());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for words in [
            "x stand",
            "x stand --driver a.sys --timeout 0",
            "x stand --driver a.sys --smp 0",
            "x stand --driver a.sys --seed lucky",
            "x stand --driver a.sys --pci 1af4",
            "x stand --driver a.sys --io most",
            "x stand --long --driver a.sys",
            "x stand --suite hotplug --io scan",
            "x stand --replay folder --driver a.sys",
            "x stand --replay folder --seed 1",
            "x run --smp 99",
            "x fuzz used_ring --time 0",
            "x fuzz --input a",
            "x frobnicate",
            "x",
        ] {
            let error = parse(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words}");
        }
    }

    #[test]
    fn seeds_are_hexadecimal() {
        let Verb::Run(options) = parse("x run --seed 0xfeed").unwrap() else { panic!("not run") };

        assert_eq!(options.boot.seed, 0xFEED);
    }
}
