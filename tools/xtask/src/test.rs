//! `./x test`: everything, from unit tests to both drivers on QEMU, with one count at the end.

use crate::bench_driver;
use crate::boot::{self, Io, Show, Trial};
use crate::build::MISDEED;
use crate::command::{Ended, Stream, step, watch};
use crate::coverage;
use crate::current_qemu;
use crate::drivers;
use crate::failed;
use crate::fuzz;
use crate::hygiene;
use crate::machine::{Kind, Machine};
use crate::misdeeds;
use crate::nightly::Nightly;
use crate::package;
use crate::protocol::{Broken, Report};
use crate::qemu::Qemu;
use crate::run::{image_from_iso, kind};
use crate::screen::{Screen, seconds};
use crate::stages::{Stage, Tally, work_through};
use crate::suites::{self, SUITES, Subject, Suite};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use packaging::{Arch, Driver, driver, verify};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What to test.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only stages whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// A further QEMU besides those on PATH; may be given several times
    #[arg(long, value_name = "PATH")]
    qemu: Vec<PathBuf>,
    /// A current QEMU besides those on PATH: that of Debian's backports, where it can be had
    #[arg(long)]
    current_qemu: bool,
    /// Instead, which lines of the virtio crate its own tests reach; fails below 95 %
    #[arg(long, conflicts_with_all = ["filter", "qemu", "current_qemu"])]
    coverage: bool,
}

/// A variant of the machine that both drivers must work on.
struct Variant {
    name: &'static str,
    /// Properties of both controllers, each after a comma.
    properties: &'static str,
    smp: u32,
    /// What driver and device must have agreed on, so that the variant is what it says.
    with: &'static [&'static str],
    /// What they must not have agreed on.
    without: &'static [&'static str],
}

const VARIANTS: [Variant; 11] = [
    Variant {
        name: "modern, 2 CPUs",
        properties: ",disable-legacy=on",
        smp: 2,
        with: &["modern interface", "VERSION_1", "INDIRECT_DESC", "EVENT_IDX"],
        without: &["RING_PACKED"],
    },
    Variant {
        name: "transitional, 1 CPU",
        properties: "",
        smp: 1,
        with: &["modern interface", "VERSION_1"],
        without: &[],
    },
    Variant {
        name: "modern, no event index, 4 CPUs",
        properties: ",disable-legacy=on,event_idx=off",
        smp: 4,
        with: &["modern interface"],
        without: &["EVENT_IDX"],
    },
    Variant {
        name: "no indirect descriptors",
        properties: ",disable-legacy=on,indirect_desc=off",
        smp: 2,
        with: &["modern interface"],
        without: &["INDIRECT_DESC"],
    },
    Variant {
        name: "packed ring",
        properties: ",disable-legacy=on,packed=on",
        smp: 2,
        with: &["RING_PACKED", "INDIRECT_DESC", "EVENT_IDX"],
        without: &[],
    },
    Variant {
        name: "packed ring, no event index",
        properties: ",disable-legacy=on,packed=on,event_idx=off",
        smp: 2,
        with: &["RING_PACKED"],
        without: &["EVENT_IDX"],
    },
    Variant {
        name: "packed ring, no indirect descriptors",
        properties: ",disable-legacy=on,packed=on,indirect_desc=off",
        smp: 1,
        with: &["RING_PACKED"],
        without: &["INDIRECT_DESC"],
    },
    Variant {
        name: "notification through an I/O port",
        properties: ",disable-legacy=on,modern-pio-notify=on",
        smp: 2,
        with: &["modern interface"],
        without: &[],
    },
    Variant {
        name: "behind an IOMMU",
        properties: ",disable-legacy=on,iommu_platform=on",
        smp: 2,
        with: &["ACCESS_PLATFORM", "IOMMU"],
        without: &[],
    },
    Variant {
        name: "legacy",
        properties: ",disable-modern=on,disable-legacy=off",
        smp: 2,
        with: &["legacy interface", "EVENT_IDX"],
        without: &["VERSION_1"],
    },
    Variant {
        name: "legacy, line interrupt, no tables",
        properties: ",disable-modern=on,disable-legacy=off,vectors=0,indirect_desc=off",
        smp: 1,
        with: &["legacy interface"],
        without: &["VERSION_1", "INDIRECT_DESC"],
    },
];

/// Runs the verb.
///
/// # Errors
/// When there is no usable QEMU. Whatever fails later counts as a failed test.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    if arguments.coverage {
        return coverage::verb(workspace, screen);
    }
    let started = Instant::now();
    let mut qemus = qemus(workspace, &arguments.qemu)?;
    let mut without = None;
    if arguments.current_qemu {
        match current_qemu::get(workspace, screen, &qemus[0]) {
            Ok(qemu) => qemus.push(qemu),
            Err(reason) => {
                without = Some(format!("a current QEMU, which was not to be had: {reason:#}"));
            }
        }
        screen.clear();
    }
    let names: Vec<&str> = qemus.iter().map(|qemu| qemu.name.as_str()).collect();
    screen.line(&format!("QEMU {}", names.join(" and ")));
    if let Some(without) = &without {
        screen.line(&format!("not tried: {without}"));
    }
    // Packages, ISO and stand are made once, by the first stage that needs them.
    let made = Made::default();
    let made = &made;

    let mut stages = vec![
        Stage::new("unit and host tests", |screen| cargo_test(workspace, screen, &[])),
        Stage::new(LOOM_STAGE, |screen| loom(workspace, screen)),
        Stage::new("fuzz targets with their seeds", |screen| fuzz_seeds(workspace, screen)),
        Stage::new("the stand's logic", |screen| {
            cargo_test(workspace, screen, &["--package", "stand", "--lib"])
        }),
        Stage::new("build and package", |screen| {
            made.get(workspace, screen)?;
            Ok(Tally { passed: 1, failed: Vec::new(), ..Tally::default() })
        }),
        Stage::new("packages and ISO read back", |screen| {
            made.get(workspace, screen)?;
            read_back(workspace)
        }),
        Stage::new("same bytes in another folder", |screen| {
            made.get(workspace, screen)?;
            reproduce(workspace, screen)
        }),
    ];
    for qemu in &qemus {
        for variant in &VARIANTS {
            for driver in driver::ALL {
                let name = format!("{}, QEMU {}, {}", driver.name, qemu.name, variant.name);
                stages.push(Stage::new(name, move |screen| {
                    made.get(workspace, screen)?;
                    works(workspace, screen, qemu, driver, variant)
                }));
            }
        }
    }
    for (further, qemu) in qemus.iter().enumerate() {
        for suite in SUITES {
            // Where the device is the stand's own, another QEMU shows nothing new.
            if further > 0 && !suite.has_devices_of_qemu() {
                continue;
            }
            for driver in driver::ALL {
                if suite.trials(kind(driver), false).next().is_none() {
                    continue;
                }
                let name = format!("suite {}, QEMU {}, {}", suite.name, qemu.name, driver.name);
                stages.push(Stage::new(name, move |screen| {
                    made.get(workspace, screen)?;
                    run_suite(workspace, screen, qemu, driver, suite)
                }));
            }
        }
    }
    stages.push(Stage::new("the stand's rules catch what they are for", |screen| {
        made.get(workspace, screen)?;
        misdeeds::stage(workspace, screen, &qemus[0])
    }));
    stages.push(Stage::new("requests cost what is kept in bench/", |screen| {
        made.get(workspace, screen)?;
        bench_driver::stage(workspace, screen, &qemus[0])
    }));
    stages.push(Stage::new("damaged images", |screen| {
        made.get(workspace, screen)?;
        damaged(workspace, screen, &qemus[0])
    }));

    let mut total = work_through(screen, stages, &arguments.filter);
    total.skipped.extend(without);
    screen.line(&format!("all stages took {}", seconds(started.elapsed())));
    if !total.failed.is_empty() {
        screen.line("failed:");
        for failure in &total.failed {
            screen.line(&format!("  {failure}"));
        }
    }
    if !total.skipped.is_empty() {
        screen.line(&format!("{} not tried, because driver or machine do not have it", total.skipped.len()));
    }
    screen.line(&format!("{} passed, {} failed", total.passed, total.failed.len()));
    Ok(total.failed.is_empty())
}

/// What the later stages need, or that it could not be made.
#[derive(Default)]
struct Made(OnceCell<bool>);

impl Made {
    fn get(&self, workspace: &Workspace, screen: &mut Screen) -> Result<()> {
        if let Some(done) = self.0.get() {
            ensure!(*done, "not tried: there is nothing to try it with");
            return Ok(());
        }
        let result = package::make(workspace, screen, &drivers::Arguments::default())
            .and_then(|()| boot::build_stand(workspace, screen));
        self.0.set(result.is_ok()).unwrap_or_default();
        result.map(|_| ())
    }
}

/// Every QEMU on the search path and those given.
fn qemus(workspace: &Workspace, given: &[PathBuf]) -> Result<Vec<Qemu>> {
    let mut qemus = vec![Qemu::find(None)?];
    for path in given {
        qemus.push(Qemu::find(Some(&workspace.path_of_caller(path)))?);
    }
    Ok(qemus)
}

/// `./x loom`: the stage of that name alone.
///
/// # Errors
/// Cargo could not be started.
pub fn loom_verb(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    let stage = Stage::new(LOOM_STAGE, |screen| loom(workspace, screen));
    let total = work_through(screen, vec![stage], &[]);
    screen.line(&format!("{} passed, {} failed", total.passed, total.failed.len()));
    Ok(total.failed.is_empty())
}

const LOOM_STAGE: &str = "ring in every interleaving (loom)";

/// The ring's tests under loom. The flag changes every crate, so they have a folder of their own.
fn loom(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    cargo.args([
        "test",
        "--no-fail-fast",
        "--release",
        "--package",
        "virtio",
        "--test",
        "loom",
        "--target-dir",
    ]);
    cargo.arg(workspace.output("loom")).env("RUSTFLAGS", "--cfg loom");
    counted(screen, &mut cargo)
}

/// `./x miri`: the tests of the virtio crate and of the fake device under Miri, but for those with rust-vmm's memory,
/// which Miri cannot map. Not part of `./x test`: it needs a nightly toolchain.
///
/// # Errors
/// The toolchain cannot be installed.
pub fn miri_verb(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    let nightly = Nightly::install(screen, &["miri", "rust-src"])?;
    let stage = Stage::new("virtio under Miri", |screen| {
        let mut cargo = nightly.run(workspace, "cargo");
        let packages = ["--package", "virtio", "--package", "fake-device"];
        cargo.args(["miri", "test"]).args(packages).args(["--lib", "--tests", "--target-dir"]);
        cargo.arg(workspace.output("miri"));
        // A test's memory lives for ever. A word written in two widths is our tests' doing, and Miri's weak memory
        // emulation stops at it; orderings are loom's business.
        cargo.env("MIRIFLAGS", "-Zmiri-ignore-leaks -Zmiri-disable-weak-memory-emulation");
        counted(screen, &mut cargo)
    });
    let total = work_through(screen, vec![stage], &[]);
    screen.line(&format!("{} passed, {} failed", total.passed, total.failed.len()));
    Ok(total.failed.is_empty())
}

/// `cargo test`; counts what the test programs say.
fn cargo_test(workspace: &Workspace, screen: &mut Screen, what: &[&str]) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast"]).args(what);
    counted(screen, &mut cargo)
}

/// What the fuzz targets make of their seeds, and that those are committed as they are. With stable and no fuzzer.
fn fuzz_seeds(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast", "--locked", "--lib"]).current_dir(workspace.root.join(fuzz::CRATE));
    counted(screen, &mut cargo)
}

fn counted(screen: &mut Screen, cargo: &mut Command) -> Result<Tally> {
    let ended = watch(screen, "cargo test", cargo)?;
    let tally = count_tests(&ended);
    if !tally.failed.is_empty() {
        screen.line(&ended.tail(100));
    }
    Ok(tally)
}

/// Adds up the `test result:` lines.
fn count_tests(ended: &Ended) -> Tally {
    let mut tally = Tally::default();
    let mut said_failed = 0;
    for line in ended.of(Stream::Out) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let number = |what: &str| -> usize {
                let before = counts.split(what).next().unwrap_or_default();
                before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
            };
            tally.passed += number(" passed;");
            said_failed += number(" failed;");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            tally.failed.push(name.to_owned());
        }
    }
    // A name can be lost among a test's own output; the count cannot.
    while tally.failed.len() < said_failed {
        tally.failed.push("a test (its name is in the output)".to_owned());
    }
    if !ended.success() && tally.failed.is_empty() {
        let error = ended.lines.iter().map(|(_, line)| line).find(|line| line.starts_with("error"));
        tally.failed.push(error.map_or("cargo test failed".to_owned(), |line| format!("cargo test: {line}")));
    }
    tally
}

/// Both packages and the ISO, as programs that are not ours see them.
fn read_back(workspace: &Workspace) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut add = |checks: Vec<verify::Check>| {
        for check in checks {
            tally.expect(&check.to_string(), check.ok);
        }
    };
    for driver in driver::ALL {
        add(verify::verify_package(
            &packaging::package::folder(&workspace.packages(), driver, Arch::Amd64),
            None,
        )?);
    }
    add(verify::verify_iso(&workspace.iso())?);
    Ok(tally)
}

/// This program's file. Building the tests has replaced it meanwhile; what runs is still to be had from the kernel.
fn this_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(if program.exists() { program } else { PathBuf::from("/proc/self/exe") })
}

/// Builds and packages a copy of the tree in another folder, with the same certificate and date, and compares.
fn reproduce(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    let copy = workspace.output("reproduce/in-a-folder-of-another-length/tree");
    for name in hygiene::files(&workspace.root)? {
        let (from, to) = (workspace.root.join(&name), copy.join(&name));
        let Ok(content) = std::fs::read(&from) else {
            // Deleted here but not yet in git.
            let _ = std::fs::remove_file(&to);
            continue;
        };
        // What is the same keeps its date, so that cargo does not build it again.
        if std::fs::read(&to).is_ok_and(|old| old == content) {
            continue;
        }
        std::fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        std::fs::copy(&from, &to).with_context(|| format!("{} cannot be written", to.display()))?;
    }
    let target = copy.join("target");
    std::fs::create_dir_all(&target)?;
    let mut cp = Command::new("cp");
    let _ = std::fs::remove_dir_all(target.join("cert"));
    step(screen, "cp", cp.arg("-a").arg(workspace.output("cert")).arg(&target))?;

    let time = packaging::context::source_date(&workspace.root)?;
    let mut again = Command::new(this_program()?);
    again.arg("--root").arg(&copy).arg("package").env("CARGO_TARGET_DIR", &target);
    again.env("SOURCE_DATE_EPOCH", time.to_string()).current_dir(&copy);
    step(screen, "building in another folder", &mut again)?;

    let mut tally = Tally::default();
    for folder in ["drivers/amd64", "package", "iso"] {
        for file in files_below(&workspace.output(folder))? {
            let name = file.strip_prefix(&workspace.target)?;
            let compared = [".sys", ".pdb", ".inf", ".cat", ".iso"];
            // The driver with misdeeds is built for a later stage, so it is there from an earlier run; no package has it.
            let is_product = name.file_stem().is_none_or(|stem| stem != MISDEED);
            if !is_product || !compared.iter().any(|end| name.to_string_lossy().ends_with(end)) {
                continue;
            }
            let same = std::fs::read(&file)? == std::fs::read(target.join(name)).unwrap_or_default();
            tally.expect(&format!("{} differs when built in another folder", name.display()), same);
        }
    }
    ensure!(tally.passed + tally.failed.len() >= 13, "there are fewer files to compare than there should be");
    Ok(tally)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// The driver from the ISO on a machine it must work on.
fn works(
    workspace: &Workspace,
    screen: &mut Screen,
    qemu: &Qemu,
    driver: &'static Driver,
    variant: &Variant,
) -> Result<Tally> {
    let options = boot::Options { smp: variant.smp, ..boot::Options::default() };
    let image = image_from_iso(workspace, driver)?;
    let kind = kind(driver);
    let machine = Machine::both(variant.properties);
    let trial = Trial::new(&image, kind.ids(), Some(kind), &machine);
    let name = format!("{}, {}", driver.name, variant.name);
    let report = failed::boot_or_keep(workspace, screen, (qemu, &options), (&name, &trial), Show::Progress)?;
    let mut tally =
        Tally { passed: report.passed as usize, failed: report.failed.clone(), ..Tally::default() };
    if !report.traces.is_empty() {
        screen.line(&report.traces.join("\n"));
    }
    if report.broken.is_some() {
        tally.failed.extend(boot::complaint(&report, &options));
    }
    ensure!(tally.passed + tally.failed.len() > 0, "nothing was checked");
    let agreed = |what: &&&str| report.agreed.iter().any(|agreed| agreed == **what);
    for missing in variant.with.iter().filter(|what| !agreed(what)) {
        tally.failed.push(format!("agreed on {:?}, without {missing}", report.agreed));
    }
    for unwanted in variant.without.iter().filter(agreed) {
        tally.failed.push(format!("agreed on {:?}, with {unwanted}", report.agreed));
    }
    Ok(tally)
}

/// The short version of a suite, with the driver from the ISO.
fn run_suite(
    workspace: &Workspace,
    screen: &mut Screen,
    qemu: &Qemu,
    driver: &'static Driver,
    suite: &Suite,
) -> Result<Tally> {
    let image = image_from_iso(workspace, driver)?;
    let kind = kind(driver);
    let subject = Subject { image: &image, kind, pci: kind.ids() };
    let with = (qemu, &boot::Options::default());
    let outcome = suites::run(workspace, screen, with, (suite, false), subject, Show::Progress)?;
    Ok(Tally { passed: outcome.passed, failed: outcome.failed, skipped: outcome.skipped })
}

/// Files that are no driver the stand could run: each must end with a message, soon.
fn damaged(workspace: &Workspace, screen: &mut Screen, qemu: &Qemu) -> Result<Tally> {
    let image = std::fs::read(image_from_iso(workspace, &driver::VIOSTOR)?)?;
    let mut tally = Tally::default();
    for (name, content, word) in damaged_images(&image)? {
        let path = workspace.output("run").join("damaged.sys");
        std::fs::write(&path, &content)?;
        let machine = Machine::both(",disable-legacy=on");
        let trial = Trial { io: Io::None, ..Trial::new(&path, Kind::Blk.ids(), None, &machine) };
        let options = boot::Options { timeout: 20, ..boot::Options::default() };
        let result = boot::boot(workspace, screen, (qemu, &options), &trial, Show::Progress);
        let judged = match result {
            // The runner itself saw it.
            Err(_) => Ok(()),
            Ok(Report { broken: Some(Broken::Stopped(reason)), .. }) if reason.contains(word) => Ok(()),
            Ok(report) => Err(anyhow::anyhow!("not refused with a word about `{word}`: {:?}", report.broken)),
        };
        tally.count(name, judged);
    }
    Ok(tally)
}

/// Name, content, and a word that the message must contain.
fn damaged_images(image: &[u8]) -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let header =
        image.get(0x3C..0x40).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize));
    let header = header
        .filter(|at| image.get(*at..*at + 4) == Some(b"PE\0\0"))
        .context("viostor.sys is no PE image")?;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = image.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let import = b"StorPortInitialize\0";
    let Some(import) = image.windows(import.len()).position(|window| window == import) else {
        bail!("viostor.sys does not import StorPortInitialize")
    };
    Ok(vec![
        ("an empty file", Vec::new(), "empty"),
        ("a text", b"This is not a driver.\n".repeat(100), ""),
        ("one byte", b"M".to_vec(), ""),
        ("only the DOS header", image[..0x40].to_vec(), ""),
        ("half of the headers", image[..header + 0x40].to_vec(), ""),
        ("half of the file", image[..image.len() / 2].to_vec(), ""),
        ("an ARM64 image", with(header + 4, &0xAA64_u16.to_le_bytes()), ""),
        ("a section count of 65535", with(header + 6, &[0xFF, 0xFF]), ""),
        ("an entry point outside the image", with(header + 0x28, &0x7FFF_FFF0_u32.to_le_bytes()), ""),
        ("an import nobody exports", with(import, b"StorPortInitialisX"), "StorPortInitialisX"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(code: i32, lines: &[&str]) -> Ended {
        Ended {
            status: Some(ExitStatus::from_raw(code << 8)),
            lines: lines.iter().map(|line| (Stream::Out, (*line).to_owned())).collect(),
        }
    }

    #[test]
    fn results_of_all_test_programs_are_added_up() {
        let tally = count_tests(&ended(
            101,
            &[
                "test a::b ... ok",
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                "test c::d ... FAILED",
                "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            ],
        ));

        assert_eq!(tally, Tally { passed: 15, failed: vec!["c::d".to_owned()], ..Tally::default() });
    }

    #[test]
    fn tests_that_do_not_compile_are_a_failure() {
        let tally = count_tests(&ended(101, &["error: could not compile `x`"]));

        assert_eq!(
            tally,
            Tally {
                passed: 0,
                failed: vec!["cargo test: error: could not compile `x`".to_owned()],
                ..Tally::default()
            }
        );
    }

    #[test]
    fn a_failure_without_a_name_is_counted() {
        let tally =
            count_tests(&ended(101, &["test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"]));

        assert_eq!((tally.passed, tally.failed.len()), (3, 2));
    }

    #[test]
    fn damaged_images_differ_from_the_good_one() {
        let mut image = vec![0; 0x400];
        image[0x3C] = 0x80;
        image[0x80..0x84].copy_from_slice(b"PE\0\0");
        image[0x200..0x213].copy_from_slice(b"StorPortInitialize\0");

        let cases = damaged_images(&image).unwrap();

        assert!(cases.iter().all(|(_, content, _)| *content != image));
        assert!(damaged_images(b"MZ").is_err());
    }
}
