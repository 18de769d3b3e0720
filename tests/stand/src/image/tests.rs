//! A small driver image made by hand, and everything that can be wrong with it.

use super::{BadImage, Image};

const BASE: u64 = 0x1_4000_0000;
const LOADED: u64 = 0xFFFF_F800_1234_0000;

fn put<const N: usize>(file: &mut [u8], at: usize, bytes: [u8; N]) {
    file[at..at + N].copy_from_slice(&bytes);
}

/// One code section (0x1000), one read-only section with import tables and load configuration (0x2000), one data
/// section with the cookie and a relocated pointer (0x3000), one with relocations (0x4000).
fn driver() -> Vec<u8> {
    let mut file = vec![0u8; 0x400 + 4 * 0x200];
    put(&mut file, 0, *b"MZ");
    put(&mut file, 0x3C, 0x80u32.to_le_bytes());
    put(&mut file, 0x80, *b"PE\0\0");
    put(&mut file, 0x84, 0x8664u16.to_le_bytes());
    put(&mut file, 0x86, 4u16.to_le_bytes());
    put(&mut file, 0x94, 240u16.to_le_bytes());
    put(&mut file, 0x96, 0x22u16.to_le_bytes());
    let optional = 0x98;
    put(&mut file, optional, 0x20Bu16.to_le_bytes());
    put(&mut file, optional + 16, 0x1000u32.to_le_bytes());
    put(&mut file, optional + 24, BASE.to_le_bytes());
    put(&mut file, optional + 32, 0x1000u32.to_le_bytes());
    put(&mut file, optional + 36, 0x200u32.to_le_bytes());
    put(&mut file, optional + 56, 0x5000u32.to_le_bytes());
    put(&mut file, optional + 60, 0x400u32.to_le_bytes());
    put(&mut file, optional + 68, 1u16.to_le_bytes());
    put(&mut file, optional + 108, 16u32.to_le_bytes());
    for (entry, rva, size) in [(1, 0x2000u32, 40u32), (5, 0x4000, 16), (10, 0x2100, 0x70)] {
        put(&mut file, optional + 112 + entry * 8, rva.to_le_bytes());
        put(&mut file, optional + 116 + entry * 8, size.to_le_bytes());
    }
    let names = [*b".text\0\0\0", *b".rdata\0\0", *b".data\0\0\0", *b".reloc\0\0"];
    let flags = [0x6000_0020u32, 0x4000_0040, 0xC000_0040, 0x4200_0040];
    for (index, (name, flags)) in names.into_iter().zip(flags).enumerate() {
        let at = optional + 240 + index * 40;
        put(&mut file, at, name);
        put(&mut file, at + 8, 0x200u32.to_le_bytes());
        put(&mut file, at + 12, (0x1000 * (index as u32 + 1)).to_le_bytes());
        put(&mut file, at + 16, 0x200u32.to_le_bytes());
        put(&mut file, at + 20, (0x400 + 0x200 * index as u32).to_le_bytes());
        put(&mut file, at + 36, flags.to_le_bytes());
    }
    let rdata = 0x600;
    put(&mut file, rdata, 0x2040u32.to_le_bytes());
    put(&mut file, rdata + 12, 0x2060u32.to_le_bytes());
    put(&mut file, rdata + 16, 0x2050u32.to_le_bytes());
    put(&mut file, rdata + 0x40, 0x2080u64.to_le_bytes());
    put(&mut file, rdata + 0x50, 0x2080u64.to_le_bytes());
    put(&mut file, rdata + 0x60, *b"storport.sys\0");
    put(&mut file, rdata + 0x82, *b"StorPortInitialize\0");
    put(&mut file, rdata + 0x100, 0x70u32.to_le_bytes());
    put(&mut file, rdata + 0x158, (BASE + 0x3000).to_le_bytes());
    let data = 0x800;
    put(&mut file, data + 8, (BASE + 0x1000).to_le_bytes());
    let relocations = 0xA00;
    put(&mut file, relocations, 0x2000u32.to_le_bytes());
    put(&mut file, relocations + 4, 10u32.to_le_bytes());
    put(&mut file, relocations + 8, 0xA158u16.to_le_bytes());
    file.truncate(0xC00);
    file
}

/// The relocation block above, with a second one for the pointer in `.data`.
fn with_data_relocation(mut file: Vec<u8>) -> Vec<u8> {
    put(&mut file, 0xA04, 12u32.to_le_bytes());
    put(&mut file, 0xA0C, 0x3000u32.to_le_bytes());
    put(&mut file, 0xA10, 12u32.to_le_bytes());
    put(&mut file, 0xA14, 0xA008u16.to_le_bytes());
    put(&mut file, 0x98 + 116 + 5 * 8, 24u32.to_le_bytes());
    file
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn reason(file: &[u8]) -> String {
    match Image::parse(file) {
        Err(error) => error.to_string(),
        Ok(image) => match image.lay_out(LOADED, 1, |_, _| None) {
            Err(error) => error.to_string(),
            Ok(_) => "no error".into(),
        },
    }
}

#[test]
fn a_good_image_is_relocated_bound_and_given_its_cookie() {
    let file = with_data_relocation(driver());
    let image = Image::parse(&file).unwrap();

    let layout = image
        .lay_out(LOADED, 0xC00C1E, |dll, name| {
            (dll == "storport.sys" && name == "StorPortInitialize").then_some(0xF00D)
        })
        .unwrap();

    assert_eq!(layout.relocations, 2);
    assert_eq!(word(&layout.bytes, 0x3008), LOADED + 0x1000);
    assert_eq!(word(&layout.bytes, 0x3000), 0xC00C1E);
    assert_eq!(word(&layout.bytes, 0x2050), 0xF00D);
    assert_eq!(layout.imports, [("storport.sys".to_string(), "StorPortInitialize".to_string())]);
}

#[test]
fn section_rights_follow_the_headers() {
    let file = driver();
    let image = Image::parse(&file).unwrap();
    let rights: Vec<_> =
        image.sections.iter().map(|s| (s.rights.write, s.rights.execute, s.discardable)).collect();
    assert_eq!(
        rights,
        [(false, true, false), (false, false, false), (true, false, false), (false, false, true)]
    );
}

#[test]
fn an_unresolvable_import_is_named() {
    assert_eq!(reason(&with_data_relocation(driver())), "unresolved import storport.sys!StorPortInitialize");
}

#[test]
fn every_truncation_is_refused_without_a_panic() {
    let file = with_data_relocation(driver());
    for length in 0..file.len() {
        let text = reason(&file[..length]);
        let expected =
            text.starts_with("not a PE") || text.starts_with("truncated") || text.starts_with("malformed");
        assert!(expected, "cut at {length:#x}: {text}");
    }
}

#[test]
fn no_single_damaged_byte_of_headers_and_tables_panics() {
    let good = with_data_relocation(driver());
    for at in (0..0x240).chain(0x600..0x760).chain(0xA00..0xA20) {
        for value in [0, 0xFF, 0x80, good[at] ^ 1] {
            let mut file = good.clone();
            file[at] = value;
            let _ = reason(&file);
        }
    }
}

#[test]
fn another_machine_is_named() {
    let mut file = driver();
    put(&mut file, 0x84, 0xAA64u16.to_le_bytes());
    assert_eq!(Image::parse(&file).err(), Some(BadImage::WrongMachine(0xAA64)));
    assert_eq!(reason(&file), "wrong machine type 0xaa64 (ARM64), this host runs x64 (0x8664)");
}

#[test]
fn a_program_is_not_a_driver() {
    let mut file = driver();
    put(&mut file, 0x98 + 68, 3u16.to_le_bytes());
    assert_eq!(reason(&file), "subsystem 3 is not a kernel driver's (native, 1)");
}

#[test]
fn a_text_file_is_not_a_pe_image() {
    assert_eq!(reason(b"[Version]\r\nSignature=x\r\n"), "not a PE image (no MZ signature)");
    assert_eq!(reason(b""), "not a PE image (no MZ signature)");
}

#[test]
fn an_entry_point_outside_code_is_refused() {
    let mut file = driver();
    put(&mut file, 0x98 + 16, 0x3000u32.to_le_bytes());
    assert_eq!(reason(&file), "malformed: entry point 0x3000 lies in no code section");
}
