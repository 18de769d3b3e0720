//! The catalogue against bytes that are not ours.
//!
//! `genuine-members.hex` is the member list of a catalogue that Microsoft signed (viostor 100.85.104.20800), and the
//! extensions below are from the same. `two-files.hex` was composed from the documented structure by other code.

use packaging::Arch;
use packaging::catalogue::{Catalogue, File, Kind, member_list};
use packaging::driver::{VIOSCSI, VIOSTOR};

/// 2026-01-02 03:04:05 UTC
const TIME: i64 = 1_767_323_045;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The files of the genuine catalogue, by their digests.
fn genuine_files() -> [File; 2] {
    let file = |name: &str, kind, sha1, sha256| File {
        name: name.to_owned(),
        kind,
        sha1: hex(sha1).try_into().unwrap(),
        sha256: hex(sha256).try_into().unwrap(),
    };
    [
        file(
            "viostor.inf",
            Kind::Flat,
            "ABDBC900801268F8DEB555459FDCBCB5AF78071C",
            "5E138B21DA77C6B7E97F3016DAF0F4DAF94020CC3FE9A4370F2B7F72B05560B8",
        ),
        file(
            "viostor.sys",
            Kind::Image,
            "4A55F3FC81FA605E2B5B3D9D05BCC06D36E04D64",
            "F1F0A79D22DDE425149D1622DBCF8B5858C72C94912CBD6CC96C142593D3E585",
        ),
    ]
}

fn own_files() -> [File; 2] {
    [
        File { name: "vioscsi.inf".to_owned(), kind: Kind::Flat, sha1: [0x40; 20], sha256: [0x10; 32] },
        File { name: "VIOSCSI.SYS".to_owned(), kind: Kind::Image, sha1: [0x20; 20], sha256: [0x30; 32] },
    ]
}

fn ids(driver: &packaging::Driver) -> Vec<String> {
    driver.hardware_ids.iter().map(|id| (*id).to_owned()).collect()
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .unwrap_or_else(|| panic!("{wanted:02x?} is missing"))
}

#[test]
fn member_list_equals_the_genuine_one_byte_for_byte() {
    let list = member_list(&genuine_files()).unwrap();
    assert_eq!(list, hex(include_str!("fixtures/genuine-members.hex")));
}

#[test]
fn hardware_id_extensions_equal_the_genuine_ones_in_their_order() {
    // HWID4, HWID3 and HWID2 of the genuine catalogue: its INF names the same ids in the same order as ours.
    let genuine = [
        "06 0A 2B060104018237 0C0201 04 42 30401E0A00480057004900440034020410010001042C7000630069005C00760065006E005F0031\
         0061006600340026006400650076005F0031003000340032000000",
        "04 70 306E1E0A00480057004900440033020410010001045A7000630069005C00760065006E005F00310061006600340026006400650076\
         005F00310030003400320026007300750062007300790073005F003100310030003000310061006600340026007200650076005F0030003100\
         0000",
        "04 42 30401E0A00480057004900440032020410010001042C7000630069005C00760065006E005F00310061006600340026006400650076\
         005F0031003000300031000000",
    ];
    let ids = ids(&VIOSTOR);
    let catalogue =
        Catalogue { files: &genuine_files(), os: Arch::Amd64.catalogue_os(), hardware_ids: &ids, time: TIME };
    let list = catalogue.trust_list().unwrap();
    let mut last = position(&list, &[0x00, 0x4F, 0x00, 0x53, 0x02]); // "OS"
    for extension in genuine {
        let place = position(&list, &hex(extension));
        assert!(place > last, "out of order");
        last = place;
    }
}

#[test]
fn the_whole_unsigned_catalogue_equals_one_made_elsewhere() {
    let ids = ids(&VIOSCSI);
    let catalogue =
        Catalogue { files: &own_files(), os: Arch::Amd64.catalogue_os(), hardware_ids: &ids, time: TIME };
    assert_eq!(catalogue.to_der().unwrap(), hex(include_str!("fixtures/two-files.hex")));
}

#[test]
fn members_are_ordered_by_hash_whatever_the_order_of_the_files() {
    let [inf, sys] = own_files();
    let list = member_list(&[sys.clone(), inf.clone()]).unwrap();
    assert_eq!(list, member_list(&[inf, sys]).unwrap());
    // SHA-256 of the INF, SHA-1 of the image, SHA-256 of the image, SHA-1 of the INF.
    let places =
        [vec![0x10; 32], vec![0x20; 20], vec![0x30; 32], vec![0x40; 20]].map(|tag| position(&list, &tag));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn attributes_are_in_der_order_which_changes_with_the_length_of_the_name() {
    let list_with = |name: &str| {
        let [inf, _] = own_files();
        member_list(&[File { name: name.to_owned(), ..inf }]).unwrap()
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let (os, file) = (utf16("OSAttr"), utf16("File"));
    // "File" is shorter than "OSAttr": with a name as short as "2:10.0" its attribute is the smaller one.
    let short = list_with("a.inf");
    assert!(position(&short, &file) < position(&short, &os));
    let long = list_with("vioscsi.inf");
    assert!(position(&long, &file) > position(&long, &os));
}

#[test]
fn the_list_identifier_follows_the_content_and_not_the_date() {
    let ids = ids(&VIOSCSI);
    let identifier = |files: &[File], time| {
        let catalogue = Catalogue { files, os: "", hardware_ids: &ids, time };
        let list = catalogue.trust_list().unwrap();
        let start = position(&list, &hex("06 0A 2B060104018237 0C0101 04 10")) + 14;
        list[start..start + 16].to_vec()
    };
    let [inf, sys] = own_files();
    let first = identifier(&[inf.clone(), sys.clone()], TIME);
    assert_eq!(first, identifier(&[inf.clone(), sys.clone()], TIME + 1));
    assert_ne!(first, identifier(&[inf, File { sha256: [0x31; 32], ..sys }], TIME));
}

#[test]
fn the_same_file_twice_is_refused() {
    let [inf, sys] = own_files();
    assert!(member_list(&[inf.clone(), inf.clone()]).is_err());
    assert!(member_list(&[inf, File { name: "Vioscsi.INF".to_owned(), ..sys }]).is_err());
}

#[test]
fn a_file_named_like_an_image_that_is_none_is_refused() {
    assert!(File::from_bytes("x.sys", b"no image").is_err());
    assert_eq!(File::from_bytes("x.inf", b"").unwrap().kind, Kind::Flat);
}
