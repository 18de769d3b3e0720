//! Each test that tests/regressions.md names exists, and each fault there has one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust source below a folder, without what was built.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a file is called: one that has its folder's name, by that.
fn file_name(path: &Path) -> String {
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match name(path).as_str() {
        "mod" | "lib" | "main" | "tests" => path.parent().map(name).unwrap_or_default(),
        other => other.to_owned(),
    }
}

/// The tests of a file: functions below `#[test]`, whatever other attributes they have.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().map(str::trim).find(|line| !line.starts_with("#["))?;
        line.strip_prefix("fn ")?.split_once("()").map(|(name, _)| name)
    })
}

fn all_tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["drivers", "tests", "tools"] {
        sources(&root().join(folder), &mut files);
    }
    let tests = files.iter().flat_map(|path| {
        let text = fs::read_to_string(path).expect("the file can be read");
        let file = file_name(path);
        tests_of(&text).map(|test| format!("{file}::{test}")).collect::<Vec<_>>()
    });
    tests.collect()
}

/// Whether the stand, or what measures with it, has this name.
fn is_the_stands(kind: &str, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    match kind {
        "rule" => read("tests/stand/src/rules.rs").contains(&quoted),
        "suite" => read("tests/stand/src/suite/mod.rs").contains(&format!("({quoted},")),
        "bench" => read("bench/viostor.txt").contains(&format!("/{name}/")),
        "check" => {
            let mut files = Vec::new();
            sources(&root().join("tests/stand/src"), &mut files);
            files.iter().any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(&quoted)))
        }
        _ => false,
    }
}

#[test]
fn every_fault_of_the_table_has_a_test_and_every_test_exists() {
    let table = read("tests/regressions.md");
    let tests = all_tests();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let shown_by = row.trim_end_matches(" |").rsplit_once(" | ").map_or("", |(_, tests)| tests);
        let names: Vec<_> = shown_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(row.to_owned());
        }
        for name in names {
            let exists = tests.contains(name)
                || name.split_once(':').is_some_and(|(kind, name)| is_the_stands(kind, name));
            if !exists {
                wrong.push(name.to_owned());
            }
        }
        count += 1;
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 50, "{count} rows were read");
}
