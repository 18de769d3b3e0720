//! `x` and what is behind it, on machines where something is missing. The machines are folders with the few programs
//! that the script may use, real ones and stand-ins; nothing is installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What every system has, as far as the script uses it.
const BASIC: [&str; 17] = [
    "sh", "awk", "cat", "chmod", "cut", "df", "dirname", "env", "grep", "head", "id", "mkdir", "rm", "sed",
    "tail", "tr", "uname",
];

struct Computer {
    folder: TempDir,
}

impl Computer {
    /// A machine with nothing but the basics.
    fn bare() -> Self {
        let computer = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(computer.path("bin")).unwrap();
        fs::create_dir(computer.path("home")).unwrap();
        let search = std::env::var_os("PATH").unwrap();
        for name in BASIC {
            let real =
                std::env::split_paths(&search).map(|folder| folder.join(name)).find(|path| path.is_file());
            symlink(
                real.unwrap_or_else(|| panic!("this machine has no {name}")),
                computer.path("bin").join(name),
            )
            .unwrap();
        }
        // Plenty of room, whatever this machine has.
        computer.with("df", "echo head; echo x 1 1 99999999 1% /")
    }

    /// One with Rust, what that needs to link, and whatever a verb asks for.
    fn complete() -> Self {
        Self::bare().with_rust("1.95.0").with("cc", "").with("git", "")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a program that does `script`.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.path("bin").join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.path("bin").join(name)).unwrap();
        self
    }

    /// The verb will find that it lacks these packages.
    fn lacking(self, packages: &str) -> Self {
        fs::write(self.path("home/missing"), packages).unwrap();
        self
    }

    /// Rust with all targets, and a cargo that says what is missing, or else only how it was called.
    fn with_rust(self, version: &str) -> Self {
        for target in ["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc", "x86_64-unknown-none"] {
            fs::create_dir_all(self.path("sysroot/lib/rustlib").join(target)).unwrap();
        }
        let sysroot = self.path("sysroot").display().to_string();
        self.with(
            "rustc",
            &format!("case $1 in --print) echo {sysroot};; *) echo 'rustc {version} (x 2026-01-01)';; esac"),
        )
        .with("rustup", "echo \"rustup $*\" >&2; exit 1")
        .with(
            "cargo",
            "case \"$*\" in\n\"xtask --missing \"*) [ ! -e \"$HOME/missing\" ] || cat \"$HOME/missing\" ;;\n\
             *) echo \"cargo $*\" ;;\nesac",
        )
    }

    fn x(&self, arguments: &[&str]) -> Answer {
        let output = Command::new("/bin/sh")
            .arg(tree().join("x"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Answer::new(&output)
    }
}

#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// It failed with one line that has all the words; a line may come before that says what is being done.
    #[track_caller]
    fn is_refusal(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let mut lines = self.err.lines().filter(|line| !line.starts_with("x: building the tool behind ./x"));
        let line = lines.next().unwrap_or_default();
        assert_eq!(lines.next(), None, "{self:?}");
        assert!(line.starts_with("x: "), "{self:?}");
        for word in words {
            assert!(line.contains(word), "{word}: {self:?}");
        }
    }
}

#[test]
fn without_a_verb_the_verbs_are_listed() {
    for arguments in [&[][..], &["--help"], &["help"]] {
        let answer = Computer::bare().x(arguments);

        assert_eq!(answer.code, Some(0), "{answer:?}");
        for verb in [
            "setup", "build", "package", "run", "test", "loom", "miri", "fuzz", "bench", "stand", "fresh",
            "check",
        ] {
            assert_eq!(
                answer.out.lines().filter(|line| line.starts_with(&format!("  {verb} "))).count(),
                1,
                "{verb}"
            );
        }
    }
}

#[test]
fn an_unknown_verb_is_named_and_is_a_usage_error() {
    let answer = Computer::bare().x(&["frobnicate"]);

    assert_eq!(answer.code, Some(2));
    assert_eq!(answer.err.lines().next(), Some("x: there is no verb 'frobnicate'"));
}

#[test]
fn without_rust_it_says_where_to_get_it() {
    Computer::bare().x(&["run"]).is_refusal(&["Rust is not installed", "rustup"]);
}

#[test]
fn rust_in_its_usual_folder_is_found_without_path() {
    let computer = Computer::complete();
    let home = computer.path("home/.cargo/bin");
    fs::create_dir_all(&home).unwrap();
    for name in ["cargo", "rustc", "rustup"] {
        fs::rename(computer.path("bin").join(name), home.join(name)).unwrap();
    }

    let answer = computer.x(&["run"]);

    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn an_old_rust_is_refused_with_its_version() {
    Computer::complete().with_rust("1.84.1").x(&["build"]).is_refusal(&["1.84.1", "1.95", "rustup update"]);
}

#[test]
fn missing_targets_without_rustup_are_named() {
    let computer = Computer::complete().without("rustup");
    fs::remove_dir_all(computer.path("sysroot/lib/rustlib/x86_64-unknown-none")).unwrap();

    computer.x(&["build"]).is_refusal(&["x86_64-unknown-none", "rustup"]);
}

#[test]
fn missing_targets_are_added() {
    let log = "echo \"$*\" >> \"$HOME/rustup.log\"";
    let computer = Computer::complete().with("rustup", log);
    fs::remove_dir_all(computer.path("sysroot/lib/rustlib/x86_64-unknown-none")).unwrap();

    let answer = computer.x(&["build"]);

    assert_eq!(answer.code, Some(0), "{answer:?}");
    let log = fs::read_to_string(computer.path("home/rustup.log")).unwrap();
    assert_eq!(log, "--quiet target add x86_64-unknown-none\n");
}

#[test]
fn without_room_it_says_how_much_is_needed_and_where() {
    let computer = Computer::complete().with("df", "echo head; echo x 9 9 204800 99% /");

    computer.x(&["run"]).is_refusal(&["200 MiB are free", "3072 MiB are needed", "CARGO_TARGET_DIR"]);
}

#[test]
fn without_apt_the_packages_are_listed() {
    let answer = Computer::complete().lacking("xorriso qemu-system-x86").x(&["run"]);

    answer.is_refusal(&["missing: xorriso qemu-system-x86 ", "no apt-get"]);
}

#[test]
fn without_a_linker_its_package_is_listed_before_anything_is_built() {
    let computer = Computer::complete().with("cc", "echo 'cannot find crt1.o' >&2; exit 1");

    computer.x(&["run"]).is_refusal(&["missing: gcc libc6-dev "]);
}

#[test]
fn apt_is_asked_for_what_is_missing_and_only_for_that() {
    // `install` brings the program; every call is noted.
    let computer = Computer::complete().lacking("xorriso").with("id", "echo 0").with(
        "apt-get",
        "echo \"$*\" >> \"$HOME/apt.log\"\ncase $* in *install*) rm \"$HOME/missing\" ;; esac",
    );

    let answer = computer.x(&["package"]);

    assert_eq!(answer.code, Some(0), "{answer:?}");
    let log = fs::read_to_string(computer.path("home/apt.log")).unwrap();
    assert_eq!(log, "update -q\ninstall -y -q --no-install-recommends xorriso\n");
    assert!(answer.err.contains("installing with apt-get: xorriso"), "{answer:?}");
}

#[test]
fn everything_of_qemu_comes_from_where_the_newest_is() {
    let computer = Computer::complete()
        .lacking("xorriso qemu-system-x86 qemu-utils")
        .with("id", "echo 0")
        .with("apt-cache", "echo '        100 mirror bookworm-backports/main amd64 Packages'")
        .with(
            "apt-get",
            "echo \"$*\" >> \"$HOME/apt.log\"\ncase $* in *qemu*) rm -f \"$HOME/missing\" ;; esac",
        );

    let answer = computer.x(&["test"]);

    assert_eq!(answer.code, Some(0), "{answer:?}");
    let log = fs::read_to_string(computer.path("home/apt.log")).unwrap();
    let install = "install -y -q --no-install-recommends";
    let qemu = "-t bookworm-backports qemu-system-x86 qemu-system-data qemu-utils";
    assert_eq!(log, format!("update -q\n{install} xorriso\n{install} {qemu}\n"));
}

#[test]
fn what_is_missing_after_an_install_that_went_well_is_said_last() {
    let computer = Computer::complete().lacking("libclang-dev").with("id", "echo 0").with("apt-get", "");

    let answer = computer.x(&["build"]);

    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.lines().last().unwrap().starts_with("x: missing: libclang-dev, also"), "{answer:?}");
}

#[test]
fn a_machine_that_has_all_is_not_touched() {
    let touch = "echo \"$*\" >> \"$HOME/touched\"; exit 1";
    let computer = Computer::complete().with("apt-get", touch).with("sudo", touch).with("rustup", touch);

    for verb in [
        "setup", "build", "package", "run", "test", "loom", "miri", "fuzz", "bench", "stand", "fresh",
        "check",
    ] {
        let answer = computer.x(&[verb]);

        assert_eq!(answer.code, Some(0), "{verb}: {answer:?}");
    }
    assert!(!computer.path("home/touched").exists());
}

#[test]
fn an_apt_that_fails_is_reported_with_its_words() {
    let computer = Computer::complete()
        .lacking("xorriso")
        .with("id", "echo 0")
        .with("apt-get", "echo 'E: Unable to locate package xorriso' >&2; exit 100");

    let answer = computer.x(&["package"]);

    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains("E: Unable to locate package xorriso"), "{answer:?}");
    assert!(
        answer.err.lines().last().unwrap().starts_with("x: missing: xorriso. apt-get could not install"),
        "{answer:?}"
    );
}

#[test]
fn without_root_and_sudo_the_command_is_given() {
    let computer = Computer::complete().lacking("xorriso").with("apt-get", "exit 1").with("id", "echo 1000");

    computer.x(&["package"]).is_refusal(&["missing: xorriso", "Not root", "apt-get install xorriso"]);
}

#[test]
fn the_arguments_reach_cargo_as_they_are() {
    let answer = Computer::complete().x(&["stand", "--driver", "a b.sys"]);

    assert_eq!(answer.out.lines().last(), Some("cargo xtask stand --driver a b.sys"), "{answer:?}");
}

#[test]
fn help_of_a_verb_needs_nothing_but_rust() {
    let computer =
        Computer::complete().lacking("qemu-system-x86").with("df", "echo head; echo x 9 9 1 99% /");

    assert_eq!(computer.x(&["run", "--help"]).code, Some(0));
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// What the program behind the script finds to be missing for a verb, on a machine with nothing on its search path.
fn missing(words: &[&str], libclang: &Path) -> Vec<String> {
    let computer = Computer::bare();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("--missing")
        .args(words)
        .env("PATH", computer.path("bin"))
        .env("LIBCLANG_PATH", libclang)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_file_with_the_name_of_libclang_is_no_libclang() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libclang.so");
    fs::write(&library, "").unwrap();

    assert!(missing(&["build"], &library).contains(&"libclang-dev".to_owned()));
}

#[test]
fn only_what_the_verb_uses_is_missing() {
    let nowhere = Path::new("/nowhere");
    let run = missing(&["run"], nowhere);

    for package in ["osslsigncode", "openssl", "xorriso", "p7zip-full", "qemu-system-x86"] {
        assert!(run.contains(&package.to_owned()), "{package}: {run:?}");
    }
    for words in [&["test"][..], &["setup"], &["stand", "--suite", "vhost-user"]] {
        assert!(missing(words, nowhere).contains(&"qemu-utils".to_owned()), "{words:?}");
    }
    assert!(!run.contains(&"qemu-utils".to_owned()));
    assert!(!missing(&["package"], nowhere).contains(&"qemu-system-x86".to_owned()));
    assert_eq!(missing(&["stand", "--driver", "a.sys"], nowhere), ["qemu-system-x86"]);
    assert_eq!(missing(&["stand", "--driver", "a.sys", "--qemu=/a/qemu"], nowhere), [""; 0]);
    assert_eq!(missing(&["stand", "--suite", "list"], nowhere), [""; 0]);
    assert_eq!(missing(&["bench", "virtio"], nowhere), ["valgrind"]);
    assert_eq!(missing(&["fuzz", "used_ring"], nowhere), ["g++"]);
    assert!(missing(&["check"], nowhere).contains(&"shellcheck".to_owned()));
}

/// The program behind the script, in this tree, with a target folder of its own.
fn xtask(computer: &Computer, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .env("CARGO_TARGET_DIR", computer.path("target"))
        .current_dir(computer.folder.path())
        .env("XTASK_CALLER_DIR", computer.folder.path())
        .output()
        .unwrap();
    Answer::new(&output)
}

#[test]
fn an_old_qemu_is_refused_before_anything_is_built() {
    let computer =
        Computer::bare().with("old-qemu", "echo 'QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)'");
    fs::write(computer.path("viostor.sys"), "MZ").unwrap();

    for arguments in [&["run"][..], &["stand", "--driver", "viostor.sys"]] {
        let answer = xtask(&computer, &[arguments, &["--qemu", "bin/old-qemu"]].concat());

        answer.is_refusal(&["is QEMU 6.2, which is too old", "7.2 or later"]);
    }
}

#[test]
fn a_qemu_that_is_not_there_is_refused() {
    let computer = Computer::bare();

    xtask(&computer, &["run", "--qemu", "bin/nothing"]).is_refusal(&["there is no QEMU", "bin/nothing"]);
}

#[test]
fn files_that_cannot_be_a_driver_are_refused() {
    let computer = Computer::bare();
    fs::write(computer.path("empty.sys"), "").unwrap();

    xtask(&computer, &["stand", "--driver", "nothing.sys"])
        .is_refusal(&["there is no driver image", "nothing.sys"]);
    xtask(&computer, &["stand", "--driver", "empty.sys"]).is_refusal(&["is empty"]);
    xtask(&computer, &["stand", "--driver", "bin"]).is_refusal(&["is no file"]);
}

#[test]
fn a_second_process_is_kept_out_of_the_disk_images_of_the_first() {
    let computer = Computer::bare();
    fs::create_dir_all(computer.path("target")).unwrap();
    let first = fs::File::create(computer.path("target/machines.lock")).unwrap();
    first.lock().unwrap();

    for arguments in
        [&["run"][..], &["test"], &["stand", "--driver", "viostor.sys"], &["stand", "--replay", "bin"]]
    {
        xtask(&computer, arguments).is_refusal(&["another ./x runs machines in", "target"]);
    }
    assert_eq!(xtask(&computer, &["stand", "--suite", "list"]).code, Some(0));

    first.unlock().unwrap();
    xtask(&computer, &["stand", "--driver", "nothing.sys"]).is_refusal(&["there is no driver image"]);
}

#[test]
fn a_wrong_wdk_root_is_refused() {
    let answer = xtask(&Computer::bare(), &["build", "--wdk-root", "bin"]);

    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("--wdk-root"), "{answer:?}");
}

#[test]
fn without_a_target_the_fuzz_targets_are_listed() {
    let answer = xtask(&Computer::bare(), &["fuzz", "--root", &tree().display().to_string()]);

    let names: Vec<_> = answer.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["call_sequences", "capabilities", "used_ring"], "{answer:?}");
}

#[test]
fn an_unknown_fuzz_target_is_refused_before_anything_is_installed() {
    xtask(&Computer::bare(), &["fuzz", "everything", "--root", &tree().display().to_string()])
        .is_refusal(&["no fuzz target 'everything'", "call_sequences, capabilities, used_ring"]);
}

#[test]
fn without_valgrind_bench_says_how_to_get_it() {
    let computer = Computer::bare();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "virtio", "--root"])
        .arg(tree())
        .env("PATH", computer.path("bin"))
        .env("CARGO_TARGET_DIR", computer.path("target"))
        .output()
        .unwrap();

    Answer::new(&output).is_refusal(&["no valgrind", "apt-get install valgrind"]);
}
