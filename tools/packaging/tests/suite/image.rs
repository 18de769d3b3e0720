//! The image rules: a good image breaks none; an image with one fault breaks the rule of that name.
//!
//! Most faulty images are linked that way; a few are good ones with changed header bytes.

use crate::support::{Machine, Recipe, VERSION};
use object::pe;
use packaging::driver::VIOSTOR;
use packaging::image::{Expected, Finding, RULES, check_file, checksum, file_version, stored_checksum};
use packaging::{Arch, Version};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Linked {
    _folder: TempDir,
    image: PathBuf,
    symbols: PathBuf,
}

fn link(change: impl FnOnce(&mut Recipe)) -> Linked {
    let folder = TempDir::new().unwrap();
    let mut recipe = Recipe::new(&VIOSTOR);
    change(&mut recipe);
    let (image, symbols) = recipe.link(folder.path());
    Linked { _folder: folder, image, symbols }
}

fn expected(arch: Arch, symbols: &Path) -> Expected<'_> {
    Expected { arch, version: Some(VERSION), symbols: Some(symbols), file_name: Some("viostor.sys") }
}

fn check(linked: &Linked) -> Vec<Finding> {
    check_file(&linked.image, &expected(Arch::Amd64, &linked.symbols)).unwrap()
}

/// Rules that the image breaks, without repetition.
fn rules(findings: &[Finding]) -> Vec<&'static str> {
    let mut rules: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Changes the bytes of a good image and sets its checksum right again.
fn patched(patch: impl FnOnce(&mut Vec<u8>, usize)) -> Linked {
    let linked = link(|_| {});
    let mut bytes = fs::read(&linked.image).unwrap();
    let header = u32::from_le_bytes(bytes[0x3C..0x40].try_into().unwrap()) as usize;
    patch(&mut bytes, header);
    if let Some(right) = checksum(&bytes) {
        bytes[header + 88..header + 92].copy_from_slice(&right.to_le_bytes());
    }
    fs::write(&linked.image, bytes).unwrap();
    linked
}

/// Header of the section called `name`.
fn section(bytes: &[u8], name: &str) -> usize {
    let mut wanted = name.as_bytes().to_vec();
    wanted.resize(8, 0);
    bytes.windows(8).position(|window| window == wanted).unwrap_or_else(|| panic!("no section {name}"))
}

#[test]
fn a_good_image_breaks_no_rule_on_either_processor() {
    assert_eq!(check(&link(|_| {})), []);
    let arm = link(|recipe| recipe.machine = Machine::Arm64);
    assert_eq!(check_file(&arm.image, &expected(Arch::Arm64, &arm.symbols)).unwrap(), []);
}

#[test]
fn an_image_for_the_other_processor_is_found() {
    let arm = link(|recipe| recipe.machine = Machine::Arm64);
    let findings = check(&arm);
    assert_eq!(rules(&findings), ["machine"]);
    assert_eq!(
        findings[0].to_string(),
        "error [machine]: machine 0xaa64, for amd64 it is 0x8664: build for the other target"
    );
}

#[test]
fn faults_made_by_the_linker_are_found_by_name() {
    type Change = fn(&mut Recipe);
    let faults: &[(&str, Change)] = &[
        ("subsystem", |r| r.with.push("/subsystem:console,10.00".into())),
        ("os-version", |r| r.with.push("/subsystem:native,6.01".into())),
        ("checksum", |r| r.without.push("/release")),
        ("write-execute", |r| r.data_flags |= pe::IMAGE_SCN_MEM_EXECUTE),
        ("write-execute", |r| r.with.push("/section:.text,ERW".into())),
        ("imports-executable", |r| r.with.push("/merge:.rdata=.text".into())),
        ("relocatable", |r| r.with.push("/dynamicbase:no".into())),
        ("nx", |r| r.with.push("/nxcompat:no".into())),
        ("high-entropy", |r| r.with.push("/highentropyva:no".into())),
        ("guard-cf", |r| r.without.push("/guard:cf")),
        ("integrity-check", |r| r.without.push("/integritycheck")),
        ("terminal-server-aware", |r| r.with.push("/tsaware".into())),
        ("discardable", |r| r.without.push("/section:.rsrc")),
        ("discardable", |r| {
            r.without.push("/section:INIT");
            r.extra_section =
                Some(("INIT", pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_EXECUTE | pe::IMAGE_SCN_MEM_READ));
        }),
        ("paged", |r| {
            let flags = pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_EXECUTE | pe::IMAGE_SCN_MEM_READ;
            r.extra_section = Some(("PAGEcode", flags | pe::IMAGE_SCN_MEM_NOT_PAGED));
        }),
        ("import-module", |r| r.imports.push(("kernel32.dll", "CreateFileW"))),
        ("import-forbidden", |r| r.imports.push(("hal.dll", "ExAllocatePoolWithTag"))),
        ("exports", |r| r.with.push("/export:DriverEntry /export:Extra=DriverEntry".into())),
        ("unwind", |r| r.unwind = false),
        ("security-cookie", |r| r.load_config = false),
        ("version-resource", |r| r.version = None),
        ("version-resource", |r| r.version = Some(Version([0, 1, 0, 1]))),
        ("pdb-path", |r| {
            r.without.push("/pdbaltpath");
            r.with.push(r"/pdbaltpath:C:\build\viostor.pdb".into());
        }),
        ("leaked-path", |r| r.text = "/home/someone/src/lib.rs"),
    ];
    for (rule, change) in faults {
        let linked = link(|recipe| {
            change(recipe);
            // One option a time.
            recipe.with = recipe
                .with
                .iter()
                .flat_map(|text| text.split(" /"))
                .map(|text| format!("/{}", text.trim_start_matches('/')))
                .collect();
        });
        let found = rules(&check(&linked));
        assert!(found.contains(rule), "{rule} is not among {found:?}");
    }
}

#[test]
fn faults_in_the_bytes_are_found_by_name() {
    type Patch = fn(&mut Vec<u8>, usize);
    // Offsets into the optional header, which starts 24 bytes behind the PE signature; its directories at 112.
    let faults: &[(&str, Patch)] = &[
        ("pe", |bytes, _| bytes.truncate(0x100)),
        ("pe", |bytes, header| bytes[header] = b'N'),
        ("alignment", |bytes, header| {
            bytes[header + 24 + 32..][..4].copy_from_slice(&0x200u32.to_le_bytes())
        }),
        ("entry", |bytes, header| bytes[header + 24 + 16..][..4].copy_from_slice(&[0; 4])),
        ("entry", |bytes, header| {
            let data = section(bytes, ".data");
            let start = bytes[data + 12..data + 16].to_vec();
            bytes[header + 24 + 16..][..4].copy_from_slice(&start);
        }),
        ("relocatable", |bytes, header| bytes[header + 24 + 112 + 5 * 8..][..8].copy_from_slice(&[0; 8])),
        ("relocatable", |bytes, header| bytes[header + 22] |= 0x01), // IMAGE_FILE_RELOCS_STRIPPED
        ("relocation-straddle", |bytes, _| {
            let table = section(bytes, ".reloc");
            let file = u32::from_le_bytes(bytes[table + 20..table + 24].try_into().unwrap()) as usize;
            // The first entry of the first block: DIR64 at 0xFFC of its page.
            bytes[file + 8..file + 10].copy_from_slice(&0xAFFCu16.to_le_bytes());
        }),
        ("import-late", |bytes, header| bytes[header + 24 + 112 + 13 * 8] = 0x10),
        ("import-late", |bytes, header| bytes[header + 24 + 112 + 11 * 8] = 0x10),
        ("tls", |bytes, header| bytes[header + 24 + 112 + 9 * 8] = 0x10),
        ("managed", |bytes, header| bytes[header + 24 + 112 + 14 * 8] = 0x10),
        ("import-ordinal", |bytes, header| {
            // The import table's first name list, by its address: make its first entry an ordinal.
            let address =
                |at: usize, bytes: &[u8]| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let rdata = section(bytes, ".rdata");
            let to_file = address(rdata + 20, bytes).wrapping_sub(address(rdata + 12, bytes));
            let table = address(header + 24 + 112 + 8, bytes).wrapping_add(to_file);
            let names = address(table, bytes).wrapping_add(to_file);
            bytes[names..names + 8].copy_from_slice(&0x8000_0000_0000_0007_u64.to_le_bytes());
        }),
        ("length", |bytes, _| bytes.extend([0; 3])),
    ];
    for (rule, patch) in faults {
        let found = rules(&check(&patched(patch)));
        assert!(found.contains(rule), "{rule} is not among {found:?}");
    }
}

#[test]
fn no_damage_to_the_headers_stops_the_checker() {
    let linked = link(|_| {});
    let good = fs::read(&linked.image).unwrap();
    let damaged = linked.image.with_extension("bad");
    let expected = Expected { symbols: None, ..expected(Arch::Amd64, &linked.symbols) };
    for place in 0..0x400 {
        let mut bytes = good.clone();
        bytes[place] = !bytes[place];
        fs::write(&damaged, &bytes).unwrap();
        // At least the checksum is wrong.
        assert!(!check_file(&damaged, &expected).unwrap().is_empty(), "byte {place:#x}");
        fs::write(&damaged, &good[..place * good.len() / 0x400]).unwrap();
        assert!(!check_file(&damaged, &expected).unwrap().is_empty(), "{place}");
    }
}

#[test]
fn another_builds_pdb_is_found() {
    let (mut one, other) = (link(|_| {}), link(|recipe| recipe.text = "another program"));
    assert_eq!(check(&one), []);
    one.symbols = other.symbols.clone();
    assert_eq!(rules(&check(&one)), ["pdb-match"]);
    fs::write(&other.symbols, "no PDB").unwrap();
    assert_eq!(rules(&check(&one)), ["pdb-match"]);
}

#[test]
fn every_rule_is_broken_by_some_test_here() {
    let text = include_str!("image.rs");
    for (rule, ..) in RULES {
        assert!(text.contains(&format!("\"{rule}\"")), "no image here breaks {rule}");
    }
}

#[test]
fn the_checksum_is_what_the_linker_computes() {
    let linked = link(|_| {});
    let bytes = fs::read(&linked.image).unwrap();
    assert_eq!(checksum(&bytes), stored_checksum(&bytes));
    assert_ne!(stored_checksum(&bytes), Some(0));
    assert_eq!(checksum(b"MZ"), None);
}

#[test]
fn the_version_resource_reads_back() {
    let linked = link(|recipe| recipe.version = Some(Version([100, 2, 30000, 4])));
    let version = file_version(&fs::read(&linked.image).unwrap()).unwrap().unwrap();
    assert_eq!(version.file, Version([100, 2, 30000, 4]));
    assert_eq!(version.product, version.file);
    assert_eq!(version.file_type, 3);
    assert_eq!(version.string("FileVersion"), Some("100.2.30000.4"));
    assert_eq!(version.string("CompanyName"), Some("Rust virtio storage drivers"));
    assert_eq!(version.string("OriginalFilename"), Some("viostor.sys"));
}
