//! The kit's headers against the facts about the genuine ones; and that a wrong header does not pass.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use wdk_build::CpuArchitecture;
use wdk_kit::{Declared, Exceptions, Layout, compare, exports};

/// Functions that compiled code calls without any header declaring them.
const CALLED_BY_COMPILED_CODE: [&str; 5] = ["__chkstk", "memcmp", "memcpy", "memmove", "memset"];

fn kit() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn layout() -> Layout {
    Layout::read(&kit().join("reference/wdk-layout.json")).expect("the layout can be read")
}

fn exceptions() -> Exceptions {
    Exceptions::read(&kit().join("reference/not-in-layout.txt")).expect("the exceptions can be read")
}

/// Copies the kit's headers to a content root of the test `name`.
fn content_root(name: &str) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder can be made");
        for entry in fs::read_dir(from).expect("the folder can be read") {
            let entry = entry.expect("the folder can be read");
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).expect("the file can be copied");
            }
        }
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if root.exists() {
        fs::remove_dir_all(&root).expect("the former run's folder can be removed");
    }
    copy(&kit().join("include"), &root.join("Include/10.0.16299.0"));
    root
}

fn declared(root: &Path) -> Declared {
    Declared::read(root, CpuArchitecture::Amd64).expect("the headers can be read")
}

/// Differences that a header with `old` replaced by `new` has.
fn differences_with(name: &str, header: &str, old: &str, new: &str) -> Vec<String> {
    let root = content_root(name);
    let path = root.join("Include/10.0.16299.0/km").join(header);
    let text = fs::read_to_string(&path).expect("the header can be read");
    assert_eq!(text.matches(old).count(), 1, "the text to change is there once");
    fs::write(&path, text.replace(old, new)).expect("the header can be written");
    compare(&declared(&root), &layout(), &exceptions())
}

#[test]
fn all_declarations_agree_with_the_genuine_headers() {
    let declared = declared(&content_root("genuine"));
    let differences = compare(&declared, &layout(), &exceptions());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Nothing declared would agree as well.
    assert!(declared.structs.len() > 50, "only {} structures", declared.structs.len());
    assert!(declared.enums.len() > 20, "only {} enumerations", declared.enums.len());
    assert!(declared.constants.len() > 200, "only {} constants", declared.constants.len());
}

#[test]
fn both_architectures_have_the_same_layout() {
    let root = content_root("architectures");
    let arm = Declared::read(&root, CpuArchitecture::Arm64).expect("the headers can be read");
    assert_eq!(declared(&root), arm);
}

#[test]
fn a_wrong_offset_is_reported() {
    let differences = differences_with(
        "offset",
        "srb.h",
        "    USHORT RequestPriority;\n    USHORT RequestAttribute;\n",
        "    USHORT RequestAttribute;\n    USHORT RequestPriority;\n",
    );
    assert_eq!(
        differences,
        [
            "struct _STORAGE_REQUEST_BLOCK: RequestAttribute is at offset 36, must be at 38",
            "struct _STORAGE_REQUEST_BLOCK: RequestPriority is at offset 38, must be at 36",
        ]
    );
}

#[test]
fn a_wrong_size_is_reported() {
    let differences = differences_with("size", "storport.h", "    PHW_UNIT_CONTROL HwUnitControl;\n", "");
    assert_eq!(
        differences,
        [
            "struct _HW_INITIALIZATION_DATA: size is 200, must be 208",
            "struct _HW_INITIALIZATION_DATA: HwUnitControl is missing",
        ]
    );
}

#[test]
fn a_wrong_alignment_is_reported() {
    let differences = differences_with(
        "alignment",
        "srb.h",
        "typedef struct DECLSPEC_ALIGN(8) _STOR_ADDR_BTL8",
        "typedef struct _STOR_ADDR_BTL8",
    );
    assert_eq!(
        differences,
        [
            "struct _STOR_ADDR_BTL8: size is 12, must be 16",
            "struct _STOR_ADDR_BTL8: alignment is 4, must be 8",
        ]
    );
}

#[test]
fn a_wrong_enumeration_value_is_reported() {
    let differences = differences_with("value", "storport.h", "StartIoLock = 2", "StartIoLock = 4");
    assert_eq!(differences, ["enum _STOR_SPINLOCK: StartIoLock is 4, must be 2"]);
}

#[test]
fn an_unknown_enumeration_value_is_reported() {
    let differences = differences_with("unknown", "storport.h", "StartIoLock = 2", "StartLock = 2");
    assert_eq!(differences, ["enum _STOR_SPINLOCK: StartLock is not in the layout"]);
}

#[test]
fn a_wrong_constant_is_reported() {
    let differences = differences_with(
        "constant",
        "srb.h",
        "#define SRB_STATUS_BUSY 0x5\n",
        "#define SRB_STATUS_BUSY 0x6\n",
    );
    assert_eq!(differences, ["constant SRB_STATUS_BUSY: is 6, must be 5"]);
}

#[test]
fn something_nobody_knows_is_reported() {
    let differences =
        differences_with("invented", "storport.h", "#define STOR_PERF_NO_SGL", "#define STOR_PERF_SGL");
    assert_eq!(differences, ["constant STOR_PERF_SGL: neither in the layout nor an exception"]);
}

#[test]
fn an_exception_that_is_in_the_layout_is_reported() {
    let list = fs::read_to_string(kit().join("reference/not-in-layout.txt")).expect("the list can be read");
    let exceptions = Exceptions::parse(&format!("{list}\nenum _STOR_SPINLOCK storport/page.md\n"))
        .expect("the list is well formed");
    let differences = compare(&declared(&content_root("excess")), &layout(), &exceptions);
    assert_eq!(differences, ["enum _STOR_SPINLOCK: is in the layout, so it is no exception"]);
}

#[test]
fn an_exception_that_is_not_declared_is_reported() {
    let list = fs::read_to_string(kit().join("reference/not-in-layout.txt")).expect("the list can be read");
    let exceptions = Exceptions::parse(&format!("{list}\nstruct _GONE storport/page.md\n"))
        .expect("the list is well formed");
    let differences = compare(&declared(&content_root("stale")), &layout(), &exceptions);
    assert_eq!(differences, ["struct _GONE: an exception that is not declared"]);
}

#[test]
fn an_exception_without_a_page_is_refused() {
    assert!(Exceptions::parse("struct _GONE\n").is_err());
    assert!(Exceptions::parse("struct _GONE somewhere\n").is_err());
}

#[test]
fn every_function_has_an_import_and_every_import_a_function() {
    let declared = declared(&content_root("imports"));
    let mut imports = BTreeSet::new();
    for library in ["ntoskrnl", "hal", "storport", "wmilib"] {
        let names =
            exports(&kit().join("lib").join(library).with_extension("def")).expect("the list can be read");
        imports.extend(names);
    }
    for name in CALLED_BY_COMPILED_CODE {
        assert!(imports.remove(name), "{name} is not imported");
    }
    assert_eq!(declared.functions, imports);
}
