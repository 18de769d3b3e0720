//! The kit's headers against the facts about the genuine ones; and that a wrong header does not pass.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use wdk_build::CpuArchitecture;
use wdk_kit::{Declared, Exceptions, Facts, Layout, compare, exports};

/// Functions that compiled code calls without any header declaring them.
const CALLED_BY_COMPILED_CODE: [&str; 5] = ["__chkstk", "memcmp", "memcpy", "memmove", "memset"];

fn kit() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn layout() -> Layout {
    Layout::read(&kit().join("reference/wdk-layout.json")).expect("the layout can be read")
}

fn facts() -> Facts {
    Facts::read(&kit().join("reference/wdk-declarations.txt")).expect("the facts can be read")
}

/// The list of exceptions, with `more` at its end.
fn exceptions_and(more: &str) -> Exceptions {
    let list = fs::read_to_string(kit().join("reference/not-in-layout.txt")).expect("the list can be read");
    Exceptions::parse(&format!("{list}\n{more}")).expect("the list is well formed")
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
    compare(&declared(&root), &layout(), &facts(), &exceptions_and(""))
}

#[test]
fn all_declarations_agree_with_the_genuine_headers() {
    let declared = declared(&content_root("genuine"));
    let differences = compare(&declared, &layout(), &facts(), &exceptions_and(""));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Nothing declared would agree as well.
    assert!(declared.structs.len() > 50, "only {} structures", declared.structs.len());
    assert!(declared.enums.len() > 20, "only {} enumerations", declared.enums.len());
    assert!(declared.constants.len() > 200, "only {} constants", declared.constants.len());
    assert!(declared.facts.len() > 500, "only {} facts", declared.facts.len());
}

#[test]
fn both_architectures_have_the_same_layout() {
    let root = content_root("architectures");
    let arm = Declared::read(&root, CpuArchitecture::Arm64).expect("the headers can be read");
    assert_eq!(declared(&root), arm);
}

/// As it is with the genuine headers, which are written on a system that takes no notice of case.
#[test]
fn headers_are_found_in_any_spelling() {
    let root = content_root("spellings");
    let km = root.join("Include/10.0.16299.0/km");
    fs::rename(km.join("srb.h"), km.join("Srb.H")).expect("the header can be renamed");
    let text = fs::read_to_string(km.join("storport.h")).expect("the header can be read");
    let text = text.replace("<srb.h>", "<SRB.h>").replace("<wdm.h>", "<Wdm.h>");
    fs::write(km.join("storport.h"), text).expect("the header can be written");

    assert_eq!(declared(&root), declared(&content_root("one-spelling")));
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
    assert_eq!(differences, ["constant STOR_PERF_SGL: neither among the facts nor an exception"]);
}

/// As the documentation spells it (ns-storport-_srbex_data_pnp.md), and the kit did.
#[test]
fn a_name_that_only_the_documentation_has_is_reported() {
    let differences = differences_with("spelling", "srb.h", "StorSurpriseRemoval", "StorSupriseRemoval");
    assert_eq!(
        differences,
        ["value STOR_PNP_ACTION::StorSupriseRemoval: neither among the facts nor an exception"]
    );
}

#[test]
fn a_wrong_prototype_is_reported() {
    let differences = differences_with(
        "prototype",
        "storport.h",
        "STORPORT_API BOOLEAN NTAPI StorPortSynchronizeAccess",
        "STORPORT_API VOID NTAPI StorPortSynchronizeAccess",
    );
    assert!(
        matches!(&differences[..], [one] if one.starts_with("function StorPortSynchronizeAccess: is (PVOID")),
        "{differences:?}"
    );
}

#[test]
fn a_wrong_type_of_a_field_is_reported() {
    let differences = differences_with(
        "field",
        "storport.h",
        "    BOOLEAN StorportSpecificErrorCode;\n",
        "    ULONG StorportSpecificErrorCode;\n",
    );
    assert_eq!(
        differences,
        ["field _STOR_LOG_EVENT_DETAILS.StorportSpecificErrorCode: is ULONG, must be BOOLEAN"]
    );
}

#[test]
fn a_bit_field_at_another_place_is_reported() {
    let differences = differences_with(
        "bits",
        "storport.h",
        "    ULONG DeviceAttentionSupported : 1;\n    ULONG AsyncNotificationSupported : 1;\n",
        "    ULONG AsyncNotificationSupported : 1;\n    ULONG DeviceAttentionSupported : 1;\n",
    );
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert!(differences.iter().all(|difference| difference.starts_with("bits _STOR_UNIT_ATTRIBUTES.")));
}

#[test]
fn an_exception_that_is_in_the_layout_is_reported() {
    let exceptions = exceptions_and("struct _STOR_DPC storport/page.md");
    let differences = compare(&declared(&content_root("excess")), &layout(), &facts(), &exceptions);
    assert_eq!(differences, ["struct _STOR_DPC: is in the layout, so it is no exception"]);
}

#[test]
fn an_exception_that_is_among_the_facts_is_reported() {
    let exceptions = exceptions_and("function StorPortPause storport/page.md");
    let differences = compare(&declared(&content_root("known")), &layout(), &facts(), &exceptions);
    assert_eq!(differences, ["function StorPortPause: is among the facts, so it is no exception"]);
}

#[test]
fn an_exception_that_is_not_declared_is_reported() {
    let exceptions = exceptions_and("struct _GONE storport/page.md");
    let differences = compare(&declared(&content_root("stale")), &layout(), &facts(), &exceptions);
    assert_eq!(differences, ["struct _GONE: an exception that is not declared"]);
}

#[test]
fn few_names_are_covered_by_no_fact() {
    let list = fs::read_to_string(kit().join("reference/not-in-layout.txt")).expect("the list can be read");
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(entries <= 8, "{entries} names of the kit have nothing to be compared with");
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
    assert_eq!(declared.functions(), imports);
}
