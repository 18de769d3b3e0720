//! `x` and what is behind it, on machines where something is missing. The machines are folders with the few programs
//! that the script may use, real ones and stand-ins; nothing is installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What every system has, as far as the script uses it.
const BASIC: [&str; 16] = [
    "sh", "awk", "cat", "chmod", "cut", "df", "dirname", "env", "grep", "head", "id", "mkdir", "sed", "tail",
    "tr", "uname",
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

    /// One with Rust and every program that a verb may need.
    fn complete() -> Self {
        let computer = Self::bare().with_rust("1.95.0");
        [
            "cc",
            "c++",
            "valgrind",
            "git",
            "llvm-rc",
            "osslsigncode",
            "openssl",
            "xorriso",
            "7z",
            "qemu-system-x86_64",
            "shellcheck",
        ]
        .iter()
        .fold(computer, |computer, name| computer.with(name, ""))
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

    /// Rust with all targets, and a cargo that only says how it was called.
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
        .with("cargo", "echo \"cargo $*\"")
    }

    fn x(&self, arguments: &[&str]) -> Answer {
        let output = Command::new("/bin/sh")
            .arg(tree().join("x"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("LIBCLANG_PATH", self.libclang())
            .env("CARGO_TARGET_DIR", self.path("target"))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Answer::new(&output)
    }

    fn libclang(&self) -> PathBuf {
        let folder = self.path("llvm");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libclang.so"), "").unwrap();
        folder
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

    /// It failed with one line that has all the words.
    #[track_caller]
    fn is_refusal(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("x: "), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {self:?}");
        }
    }
}

#[test]
fn without_a_verb_the_verbs_are_listed() {
    for arguments in [&[][..], &["--help"], &["help"]] {
        let answer = Computer::bare().x(arguments);

        assert_eq!(answer.code, Some(0), "{answer:?}");
        for verb in
            ["setup", "build", "package", "run", "test", "loom", "miri", "fuzz", "bench", "stand", "check"]
        {
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
    let computer = Computer::complete().without("qemu-system-x86_64").without("xorriso");

    let answer = computer.x(&["run"]);

    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains("Debian packages contain: xorriso qemu-system-x86\n"), "{answer:?}");
    assert!(answer.err.contains("no apt-get"), "{answer:?}");
}

#[test]
fn what_a_verb_does_not_need_may_be_missing() {
    let computer = Computer::complete().without("qemu-system-x86_64").without("xorriso");

    assert_eq!(computer.x(&["build"]).code, Some(0));
    assert_eq!(computer.x(&["stand", "--qemu=/somewhere/qemu"]).code, Some(0));
}

#[test]
fn apt_is_asked_for_what_is_missing_and_only_for_that() {
    // `install` brings the program; every call is noted.
    let computer = Computer::complete().without("xorriso").with("id", "echo 0").with(
        "apt-get",
        "echo \"$*\" >> \"$HOME/apt.log\"\ncase $* in *install*) echo '#!/bin/sh' > \"${0%/*}/xorriso\"; chmod +x \"${0%/*}/xorriso\";; esac",
    );

    let answer = computer.x(&["package"]);

    assert_eq!(answer.code, Some(0), "{answer:?}");
    let log = fs::read_to_string(computer.path("home/apt.log")).unwrap();
    assert_eq!(log, "update -q\ninstall -y -q --no-install-recommends xorriso\n");
    assert!(answer.err.contains("installing with apt-get: xorriso"), "{answer:?}");
}

#[test]
fn a_machine_that_has_all_is_not_touched() {
    let touch = "echo \"$*\" >> \"$HOME/touched\"; exit 1";
    let computer = Computer::complete().with("apt-get", touch).with("sudo", touch).with("rustup", touch);

    for verb in
        ["setup", "build", "package", "run", "test", "loom", "miri", "fuzz", "bench", "stand", "check"]
    {
        let answer = computer.x(&[verb]);

        assert_eq!(answer.code, Some(0), "{verb}: {answer:?}");
    }
    assert!(!computer.path("home/touched").exists());
}

#[test]
fn an_apt_that_fails_is_reported_with_its_words() {
    let computer = Computer::complete()
        .without("xorriso")
        .with("id", "echo 0")
        .with("apt-get", "echo 'E: Unable to locate package xorriso' >&2; exit 100");

    let answer = computer.x(&["package"]);

    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains("E: Unable to locate package xorriso"), "{answer:?}");
    assert!(
        answer.err.lines().last().unwrap().starts_with("x: apt-get could not install: xorriso"),
        "{answer:?}"
    );
}

#[test]
fn without_root_and_sudo_the_command_is_given() {
    let computer = Computer::complete().without("xorriso").with("apt-get", "exit 1").with("id", "echo 1000");

    computer.x(&["package"]).is_refusal(&["not root", "apt-get install xorriso"]);
}

#[test]
fn the_arguments_reach_cargo_as_they_are() {
    let answer = Computer::complete().x(&["stand", "--driver", "a b.sys"]);

    assert_eq!(answer.out.lines().last(), Some("cargo xtask stand --driver a b.sys"), "{answer:?}");
}

#[test]
fn help_of_a_verb_needs_nothing_but_rust() {
    let computer =
        Computer::complete().without("qemu-system-x86_64").with("df", "echo head; echo x 9 9 1 99% /");

    assert_eq!(computer.x(&["run", "--help"]).code, Some(0));
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
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
