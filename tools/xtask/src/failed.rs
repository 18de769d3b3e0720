//! What is kept of a failed run: a folder to look into, and to run again with `./x stand --replay FOLDER`.
//!
//! | file | what |
//! | --- | --- |
//! | `debug.log` | all that the stand printed |
//! | `qmp.log` | all that went over QEMU's monitor, and what the stand asked for |
//! | `qemu.sh` | QEMU's command line, quoted for a shell |
//! | `recipe.json` | seed, machine, options: what `--replay` reads |
//! | `stand.elf` and the driver | the very binaries |
//!
//! Disk images are not kept: the recipe says how they are made.

use crate::boot::{self, Attempt, Io, Options, Show, Starts, Trial};
use crate::command::Stream;
use crate::machine::{Kind, Machine};
use crate::protocol::Report;
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const RECIPE: &str = "recipe.json";
const STAND: &str = "stand.elf";
/// Another number when an older recipe would be misunderstood.
const FORMAT: u32 = 1;

/// Everything that makes a run what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    format: u32,
    /// The QEMU that it ran on.
    pub qemu: PathBuf,
    /// Its version.
    pub qemu_version: String,
    /// The driver's file in the folder.
    driver: String,
    pci: String,
    kind: Option<Kind>,
    /// The devices.
    pub machine: Machine,
    io: Io,
    suite: Option<String>,
    words: Vec<String>,
    smp: u32,
    /// Hexadecimal.
    seed: String,
    timeout: u64,
    starts: Option<Starts>,
    parameters: Vec<String>,
    /// How the disk images were made, for a person.
    disks: Vec<String>,
}

impl Recipe {
    /// The driver image in the folder.
    pub fn driver(&self, folder: &Path) -> PathBuf {
        folder.join(&self.driver)
    }

    /// The trial, again.
    pub fn trial<'a>(&'a self, driver: &'a Path) -> Trial<'a> {
        Trial {
            io: self.io,
            suite: self.suite.clone(),
            words: self.words.clone(),
            ..Trial::new(driver, self.pci.as_str(), self.kind, &self.machine)
        }
    }

    /// How it was booted.
    ///
    /// # Errors
    /// When the seed is no number.
    pub fn options(&self) -> Result<Options> {
        let seed =
            u64::from_str_radix(&self.seed, 16).context("the recipe's seed is no hexadecimal number")?;
        let parameters = self.parameters.clone();
        Ok(Options {
            qemu: Some(self.qemu.clone()),
            timeout: self.timeout,
            starts: self.starts,
            smp: self.smp,
            seed,
            parameters,
            ..Options::default()
        })
    }
}

/// The stand in the folder.
pub fn stand(folder: &Path) -> PathBuf {
    folder.join(STAND)
}

/// Boots the machine once, as [`boot::boot`] does, and keeps the run under this name if it was not all well.
///
/// # Errors
/// As [`boot::attempt`], and when the run cannot be kept.
pub fn boot_or_keep(
    workspace: &Workspace,
    screen: &mut Screen,
    (qemu, options): (&Qemu, &Options),
    (name, trial): (&str, &Trial<'_>),
    show: Show,
) -> Result<Report> {
    let stand = workspace.stand();
    let attempt = boot::attempt(workspace, screen, (qemu, options), (&stand, trial), show)?;
    if boot::complaint(&attempt.report, options).is_some() {
        let program = (qemu.program.as_path(), qemu.name.as_str());
        let folder = keep(workspace, name, program, options, (trial, &attempt))?;
        screen.line(&format!("  kept in {}; ./x stand --replay runs it again", folder.display()));
    }
    Ok(attempt.report)
}

/// Keeps a failed run under `target/stand/failed`; the answer is its folder. One of the same name and seed is replaced.
///
/// # Errors
/// When something cannot be written.
fn keep(
    workspace: &Workspace,
    name: &str,
    (qemu, version): (&Path, &str),
    options: &Options,
    (trial, attempt): (&Trial<'_>, &Attempt),
) -> Result<PathBuf> {
    let folder = workspace.output("stand/failed").join(format!("{}-{:x}", word(name), options.seed));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be replaced", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let driver =
        trial.driver.file_name().context("a driver image has a name")?.to_string_lossy().into_owned();
    let recipe = Recipe {
        format: FORMAT,
        qemu: qemu.to_owned(),
        qemu_version: version.to_owned(),
        driver,
        pci: trial.pci.clone(),
        kind: trial.kind,
        machine: trial.machine.clone(),
        io: trial.io,
        suite: trial.suite.clone(),
        words: trial.words.clone(),
        smp: options.smp,
        seed: format!("{:x}", options.seed),
        timeout: options.timeout,
        starts: options.starts,
        parameters: options.parameters.clone(),
        disks: attempt.disks.clone(),
    };
    let mut log = String::new();
    for (stream, line) in &attempt.ended.lines {
        let mark = if *stream == Stream::Err { "[stderr] " } else { "" };
        log.push_str(&format!("{mark}{line}\n"));
    }
    let write = |name: &str, content: &str| {
        fs::write(folder.join(name), content).with_context(|| format!("{name} cannot be written"))
    };
    write("debug.log", &log)?;
    if !attempt.report.traces.is_empty() {
        write("report.txt", &(attempt.report.traces.join("\n") + "\n"))?;
    }
    write("qemu.sh", &command_line(&attempt.command))?;
    write(RECIPE, &serde_json::to_string_pretty(&recipe)?)?;
    let copy = |from: &Path, to: &Path| {
        fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))
    };
    copy(&attempt.qmp_log, &folder.join("qmp.log"))?;
    copy(&attempt.stand, &stand(&folder))?;
    copy(trial.driver, &recipe.driver(&folder))?;
    Ok(folder)
}

/// Reads a folder that [`keep`] made.
///
/// # Errors
/// When it is none, or one of another version of this program.
pub fn read(folder: &Path) -> Result<Recipe> {
    let path = folder.join(RECIPE);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} is no folder of a failed run: no {RECIPE} in it", folder.display()))?;
    let recipe: Recipe = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(recipe.format == FORMAT, "{} has format {}, not {FORMAT}", path.display(), recipe.format);
    ensure!(Path::new(&recipe.driver).components().count() == 1, "the driver is not in the folder itself");
    Ok(recipe)
}

/// A name as one word of a path.
fn word(name: &str) -> String {
    let mut text: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' }).collect();
    while text.contains("--") {
        text = text.replace("--", "-");
    }
    text.trim_matches('-').to_owned()
}

/// A command line that a shell takes as it is.
fn command_line(words: &[OsString]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(&word.to_string_lossy())).collect();
    format!("{}\n", quoted.join(" \\\n  "))
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Ended;
    use crate::protocol::sum_up;

    #[test]
    fn quoted_words_come_out_of_a_shell_as_they_went_in() {
        let words = ["a b", "it's", "", "$HOME", "x=1,y=2", "a\\b", "*"];
        let line = command_line(&[&["printf", "%s\\n"], &words[..]].concat().map_os());

        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();

        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.join("\n") + "\n");
    }

    trait MapOs {
        fn map_os(self) -> Vec<OsString>;
    }

    impl MapOs for Vec<&str> {
        fn map_os(self) -> Vec<OsString> {
            self.into_iter().map(OsString::from).collect()
        }
    }

    #[test]
    fn a_kept_run_is_read_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut workspace = Workspace::find(None).unwrap();
        workspace.target = folder.path().to_owned();
        let (driver, stand_file, log) =
            (folder.path().join("my.sys"), folder.path().join("elf"), folder.path().join("log"));
        for file in [&driver, &stand_file, &log] {
            fs::write(file, file.display().to_string()).unwrap();
        }
        let mut machine = Machine::both(",disable-legacy=on");
        machine.more.push("-S".to_owned());
        let trial = Trial {
            suite: Some("hotplug".to_owned()),
            words: vec!["long=1".to_owned()],
            ..Trial::new(&driver, "1af4:1042", Some(Kind::Blk), &machine)
        };
        let ended = Ended { status: None, lines: vec![(Stream::Out, "ok a: b".to_owned())] };
        let attempt = Attempt {
            report: sum_up(&ended),
            ended,
            command: vec!["qemu".into()],
            stand: stand_file.clone(),
            disks: vec!["disk0".to_owned()],
            qmp_log: log,
        };
        let options = Options { seed: 0xABC, smp: 3, starts: Some(Starts::Dpc), ..Options::default() };

        let kept =
            keep(&workspace, "hotplug viostor, a", (Path::new("/q"), "10.0"), &options, (&trial, &attempt))
                .unwrap();
        let recipe = read(&kept).unwrap();

        assert!(kept.ends_with("stand/failed/hotplug-viostor-a-abc"), "{}", kept.display());
        assert_eq!(fs::read_to_string(kept.join("debug.log")).unwrap(), "ok a: b\n");
        assert_eq!(fs::read(recipe.driver(&kept)).unwrap(), fs::read(&driver).unwrap());
        assert_eq!(fs::read(stand(&kept)).unwrap(), fs::read(&stand_file).unwrap());
        assert_eq!(recipe.machine, machine);
        let again = recipe.options().unwrap();
        assert_eq!((again.seed, again.smp, again.timeout), (0xABC, 3, 60));
        assert_eq!(again.starts, Some(Starts::Dpc));
        let copy = recipe.driver(&kept);
        let replayed = recipe.trial(&copy);
        assert_eq!(
            (&replayed.suite, &replayed.words, &replayed.pci),
            (&trial.suite, &trial.words, &trial.pci)
        );
    }

    #[test]
    fn another_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();

        let error = format!("{:#}", read(folder.path()).unwrap_err());

        assert!(error.contains("is no folder of a failed run"), "{error}");
    }
}
