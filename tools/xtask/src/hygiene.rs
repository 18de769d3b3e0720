//! Rules of this tree that no compiler knows: where `unsafe` may stand, and what must not be committed.

use crate::stages::Tally;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// The only places with `unsafe`, and all of them have some: where physical addresses enter, where Windows' memory is
/// touched, and the machine under the driver.
const UNSAFE_ALLOWED: [&str; 8] = [
    "drivers/common/storport/src/kernel/",
    "drivers/common/storport/src/request/",
    "drivers/common/storport/src/fake/srb.rs",
    "drivers/common/virtio/src/memory.rs",
    // The memory of the judges as ours.
    "drivers/common/virtio/tests/loom.rs",
    "drivers/common/virtio/tests/rust_vmm.rs",
    // Memory of tests, which nobody else has.
    "tests/fake-device/src/ram.rs",
    "tests/stand/",
];

/// Crates that decide what the drivers do, which the compiler must hold to safe code.
const LOGIC: [&str; 4] =
    ["drivers/common/adapter", "drivers/common/scsi", "drivers/vioscsi", "drivers/viostor"];

/// Kinds of files that are made or bought, not written.
const FOREIGN: [&str; 14] =
    ["a", "cat", "dll", "exe", "img", "iso", "key", "lib", "obj", "p12", "pdb", "pem", "pfx", "sys"];

/// The one source of crates that lock files may name.
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Looks at every file that git knows or would take.
///
/// # Errors
/// When git cannot list them.
pub fn check(root: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let files = files(root)?;
    ensure!(!files.is_empty(), "git lists no files");
    let mut places = UNSAFE_ALLOWED.to_vec();
    for name in &files {
        // Deleted in the work tree, but not yet in git.
        let Ok(content) = std::fs::read(root.join(name)) else { continue };
        tally.count(name, check_file(name, &content));
        places.retain(|place| !uses(place, name, &content));
    }
    for place in UNSAFE_ALLOWED {
        tally.expect(&format!("{place}: has the unsafe code that it may have"), !places.contains(&place));
    }
    for name in LOGIC {
        let path = format!("{name}/src/lib.rs");
        let text = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        tally.expect(
            &format!("{path}: a logic crate carries #![forbid(unsafe_code)]"),
            text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]"),
        );
    }
    Ok(tally)
}

/// Files of the work tree, relative to `root`: committed or not, but none that git is told to ignore.
///
/// # Errors
/// When git is missing or this is no repository.
pub fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git could not be started")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let mut names: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn check_file(name: &str, content: &[u8]) -> Result<()> {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    ensure!(!FOREIGN.contains(&extension), "a .{extension} file has no place in the tree");
    let Ok(text) = std::str::from_utf8(content) else { return Ok(()) };
    for (index, line) in text.lines().enumerate() {
        if let Some(what) = forbidden(line) {
            bail!("line {}: {what}", index + 1);
        }
        if name.ends_with("Cargo.lock") && line.starts_with("source = ") && line != REGISTRY {
            bail!("line {}: a crate from elsewhere than crates.io", index + 1);
        }
    }
    if matches!(extension, "md" | "rs" | "sh" | "toml") {
        ensure!(!text.contains('\r'), "has carriage returns");
        ensure!(text.is_empty() || text.ends_with('\n'), "does not end with a newline");
    }
    if extension == "rs"
        && !UNSAFE_ALLOWED.iter().any(|place| name.starts_with(place))
        && let Some(line) = unsafe_line(text)
    {
        bail!("line {line}: unsafe code outside the few modules for it");
    }
    Ok(())
}

/// Whether the file needs it that unsafe code is allowed at `place`.
fn uses(place: &str, name: &str, content: &[u8]) -> bool {
    let code = || std::str::from_utf8(content).is_ok_and(|text| unsafe_line(text).is_some());
    name.starts_with(place) && name.ends_with(".rs") && code()
}

/// What is wrong with a line of any text file. The words are in two parts here, or this file would break its own rules.
fn forbidden(line: &str) -> Option<&'static str> {
    // The first part of a path, with a name after it: `$x/root/b` is another path, and "/home/" alone is none.
    let leads_to_name = |folder: &str| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + folder.len()..];
            before.is_none_or(|c| !c.is_ascii_alphanumeric() && !"_.-}>/".contains(c))
                && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.')
                // Nobody's folder, for examples.
                && !after.starts_with("someone/")
        })
    };
    for folder in ["root", "work", "home"] {
        if leads_to_name(&format!("/{folder}/")) {
            return Some("a path of one machine");
        }
    }
    if line.contains(concat!("C:\\", "Users\\")) {
        return Some("a path of one machine");
    }
    if line.contains("-----BEGIN ") && line.contains(concat!("PRIVATE ", "KEY-----")) {
        return Some("a private key");
    }
    for host in [concat!("index.", "crates.io"), concat!("static.", "crates.io"), concat!("pypi", ".org")] {
        if line.contains(host) {
            return Some("a registry's host");
        }
    }
    None
}

/// The first line, counted from 1, on which the word `unsafe` stands as code.
fn unsafe_line(source: &str) -> Option<usize> {
    let code = without_text(source);
    code.lines()
        .position(|line| {
            line.match_indices("unsafe").any(|(at, word)| {
                let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
                let before = line[..at].chars().next_back().is_some_and(part_of_name);
                let after = line[at + word.len()..].chars().next().is_some_and(part_of_name);
                !before && !after
            })
        })
        .map(|index| index + 1)
}

/// Rust source with comments, strings and characters blanked out; line breaks stay.
fn without_text(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    let starts = |at: usize, text: &str| bytes[at..].starts_with(text.as_bytes());
    while at < bytes.len() {
        let end = if starts(at, "//") {
            bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
        } else if starts(at, "/*") {
            end_of_comment(bytes, at)
        } else if let Some(hashes) = raw_string(bytes, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = at + 2 + hashes;
            source
                .get(body..)
                .and_then(|rest| rest.find(&close))
                .map_or(bytes.len(), |length| body + length + close.len())
        } else if bytes[at] == b'"' {
            end_of_quote(bytes, at, b'"')
        } else if bytes[at] == b'\'' && is_character(bytes, at) {
            end_of_quote(bytes, at, b'\'')
        } else {
            if bytes[at].is_ascii() {
                out.push(char::from(bytes[at]));
            } else {
                out.push('?');
            }
            at += 1;
            continue;
        };
        for byte in &bytes[at..end] {
            out.push(if *byte == b'\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The number of `#` of a raw string that starts here.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let in_a_name =
        at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b';
    if bytes[at] != b'r' || in_a_name {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

/// Whether the quote begins a character and not a lifetime.
fn is_character(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(first) => {
            let length = match first {
                0..0x80 => 1,
                0x80..0xE0 => 2,
                0xE0..0xF0 => 3,
                0xF0.. => 4,
            };
            bytes.get(at + 1 + length) == Some(&b'\'')
        }
        None => false,
    }
}

fn end_of_quote(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_counts_only_as_code() {
        let harmless = [
            "// unsafe",
            "/* a /* unsafe */ unsafe */",
            "let a = \"unsafe \\\" unsafe\";",
            "let a = r#\"unsafe \" unsafe\"#;",
            "let a = br\"unsafe\";",
            "#![forbid(unsafe_code)]",
            "let not_unsafe = '\"'; // unsafe",
            "fn f<'a>(a: &'a str) {} // unsafe",
        ];
        for source in harmless {
            assert_eq!(unsafe_line(source), None, "{source}");
        }
    }

    #[test]
    fn unsafe_code_is_found_on_its_line() {
        for source in [
            "// a\nunsafe { f() }",
            "/* \n */ #[unsafe(no_mangle)] fn f() {}",
            "let a = \"\n\"; unsafe fn f() {}",
            "let quote = '\"';\nunsafe impl Send for X {}",
            "fn f<'a>(a: &'a u8) {}\nunsafe { g('x') }",
            "let a = \"ä\\\\\";\nunsafe {}",
            "let r = 1;\nlet x = unsafe { y };",
        ] {
            assert_eq!(unsafe_line(source), Some(2), "{source}");
        }
    }

    #[test]
    fn unsafe_code_is_refused_outside_its_places() {
        let code = b"unsafe {}\n";

        assert!(check_file("drivers/viostor/src/lib.rs", code).is_err());
        assert!(check_file("tests/stand/src/main.rs", code).is_ok());
        assert!(check_file("drivers/common/storport/src/kernel/port.rs", code).is_ok());
        assert!(check_file("drivers/common/storport/src/port/mod.rs", code).is_err());
    }

    #[test]
    fn a_place_for_unsafe_code_without_any_is_not_used() {
        let place = "tests/stand/";

        assert!(uses(place, "tests/stand/src/main.rs", b"unsafe {}\n"));
        assert!(!uses(place, "tests/stand/src/main.rs", b"// unsafe\n"));
        assert!(!uses(place, "tests/stand/README.md", b"unsafe {}\n"));
        assert!(!uses(place, "tests/host/src/lib.rs", b"unsafe {}\n"));
    }

    #[test]
    fn what_must_not_be_committed_is_refused() {
        let lines = [
            concat!("see /", "root/x"),
            concat!("\"/", "home/maria/x\""),
            concat!("path=/", "work/main"),
            concat!("-----BEGIN RSA PRIVATE ", "KEY-----"),
            concat!("https://index.", "crates.io/x"),
        ];
        for line in lines {
            assert!(check_file("a.txt", line.as_bytes()).is_err(), "{line}");
        }
        assert!(check_file("drivers/a.sys", b"MZ").is_err());
        assert!(check_file("a.key", b"").is_err());
        assert!(check_file("a.rs", b"fn a() {}\r\n").is_err());
        assert!(check_file("a.rs", b"fn a() {}").is_err());
    }

    #[test]
    fn ordinary_text_passes() {
        let lines = [
            "$root/x",
            "target/root/x",
            "<root>/work/y",
            "/usr/lib",
            "\"/home/\"",
            "/home/someone/src",
            "C:\\src",
            "-----BEGIN CERTIFICATE-----",
        ];
        for line in lines {
            assert!(check_file("a.txt", line.as_bytes()).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_lock_file_names_one_registry() {
        assert!(check_file("Cargo.lock", format!("{REGISTRY}\n").as_bytes()).is_ok());
        assert!(check_file("Cargo.lock", b"source = \"git+https://example.com/x\"\n").is_err());
    }
}
