//! Answers in words. Written against SPC-4 and SBC-3 alone, without the driver's own types.

use std::fmt::Write as _;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Sixteen bytes a line; a run of lines that are all zeroes becomes one.
pub fn dump(text: &mut String, label: &str, bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.chunks(16).collect();
    let mut label = label;
    let mut skipped = false;
    for (index, line) in lines.iter().enumerate() {
        let zero = |line: &[u8]| line.iter().all(|byte| *byte == 0);
        if index > 0 && zero(line) && zero(lines[index - 1]) && index + 1 < lines.len() {
            if !skipped {
                let _ = writeln!(text, "          *");
            }
            skipped = true;
            continue;
        }
        skipped = false;
        let shown: String = line
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        let _ = writeln!(text, "  {label:<7} {:04x}  {:<47}  {shown}", index * 16, hex(line));
        label = "";
    }
}

fn be(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes.iter().skip(at).take(length).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `name` for each bit that is set.
fn flags(byte: u8, names: &[(u8, &str)]) -> String {
    names.iter().map(|(bit, name)| format!("{name} {}", byte >> bit & 1)).collect::<Vec<_>>().join(", ")
}

pub fn nothing(_: &[u8]) -> String {
    String::new()
}

pub fn sense(data: &[u8]) -> String {
    let (format, key, code, qualifier, specific) = match data[0] & 0x7f {
        0x70 => ("fixed", data[2] & 0xf, data[12], data[13], [data[15], data[16], data[17]]),
        _ => ("descriptor", data[1] & 0xf, data[2], data[3], [0; 3]),
    };
    let meaning = match (key, code, qualifier) {
        (0x0, 0x00, 0x00) => "no sense",
        (0x3, 0x0c, 0x00) => "medium error, write error",
        (0x3, 0x11, 0x00) => "medium error, unrecovered read error",
        (0x5, 0x1a, 0x00) => "illegal request, parameter list length error",
        (0x5, 0x20, 0x00) => "illegal request, invalid command operation code",
        (0x5, 0x21, 0x00) => "illegal request, logical block address out of range",
        (0x5, 0x24, 0x00) => "illegal request, invalid field in CDB",
        (0x5, 0x26, 0x00) => "illegal request, invalid field in parameter list",
        (0x5, 0x39, 0x00) => "illegal request, saving parameters not supported",
        (0x7, 0x27, 0x00) => "data protect, write protected",
        (0xe, 0x1d, 0x00) => "miscompare",
        _ => "?",
    };
    let mut said = format!("{format} {key:x}/{code:02x}/{qualifier:02x} {meaning}");
    if specific[0] & 0x80 != 0 {
        let place = if specific[0] & 0x40 != 0 { "CDB" } else { "parameter list" };
        let _ = write!(said, ", byte {} of the {place}", be(&specific, 1, 2));
        if specific[0] & 0x08 != 0 {
            let _ = write!(said, ", bit {}", specific[0] & 7);
        }
    }
    said
}

pub fn inquiry(data: &[u8]) -> String {
    let versions: Vec<String> = data
        .get(58..74)
        .unwrap_or_default()
        .chunks(2)
        .map(|version| match be(version, 0, 2) {
            0 => String::new(),
            0x00a0 => "SAM-5".into(),
            0x0460 => "SPC-4".into(),
            0x04c0 => "SBC-3".into(),
            other => format!("{other:04x}"),
        })
        .filter(|version| !version.is_empty())
        .collect();
    format!(
        "peripheral {:02x}, RMB {}, version {:02x}, response data format {}, ADDITIONAL LENGTH {}, CMDQUE {}\n\
         '{}' '{}' '{}'\nfollows: {}",
        data[0],
        data[1] >> 7,
        data[2],
        data[3] & 0xf,
        data[4],
        data[7] >> 1 & 1,
        text(&data[8..16]),
        text(&data[16..32]),
        text(&data[32..36]),
        versions.join(" ")
    )
}

pub fn pages(data: &[u8]) -> String {
    format!("pages {}", hex(&data[4..]))
}

pub fn serial(data: &[u8]) -> String {
    format!("serial number '{}'", text(&data[4..]))
}

pub fn designators(data: &[u8]) -> String {
    let mut rest = &data[4..];
    let mut said = String::new();
    while let [code_set, kind, _, length, ..] = *rest {
        let (designator, behind) = rest.split_at(4 + usize::from(length));
        let value = match code_set & 0xf {
            2 | 3 => format!("'{}'", text(&designator[4..])),
            _ => hex(&designator[4..]),
        };
        let kind = match kind & 0x3f {
            0 => "vendor specific",
            1 => "T10 vendor ID",
            2 => "EUI-64",
            3 => "NAA",
            _ => "?",
        };
        let _ = writeln!(said, "{kind}: {value}");
        rest = behind;
    }
    said
}

pub fn block_limits(data: &[u8]) -> String {
    format!(
        "WSNZ {}, maximum compare and write {}\n\
         optimal transfer granularity {}, maximum transfer {}, optimal transfer {}, maximum prefetch {}\n\
         maximum unmap blocks {}, descriptors {}, optimal unmap granularity {}, UGAVALID {}, alignment {}\n\
         maximum write same {}",
        data[4] & 1,
        data[5],
        be(data, 6, 2),
        be(data, 8, 4),
        be(data, 12, 4),
        be(data, 16, 4),
        be(data, 20, 4),
        be(data, 24, 4),
        be(data, 28, 4),
        data[32] >> 7,
        be(data, 32, 4) & 0x7fff_ffff,
        be(data, 36, 8)
    )
}

pub fn characteristics(data: &[u8]) -> String {
    let rate = match be(data, 4, 2) {
        0 => "not reported".into(),
        1 => "none, solid state".into(),
        rate => format!("{rate} per minute"),
    };
    format!(
        "rotation {rate}, form factor {}, {}",
        data[7] & 0xf,
        flags(data[8], &[(1, "FUAB"), (0, "VBULS")])
    )
}

pub fn provisioning(data: &[u8]) -> String {
    let bits = [(7, "LBPU"), (6, "LBPWS"), (5, "LBPWS10"), (2, "LBPRZ"), (1, "ANC_SUP"), (0, "DP")];
    let kind = ["not reported", "resource", "thin"].get(usize::from(data[6] & 7)).unwrap_or(&"?");
    format!("{}, provisioning {kind}", flags(data[5], &bits))
}

pub fn luns(data: &[u8]) -> String {
    let luns: Vec<String> = data[8..].chunks(8).map(hex).collect();
    format!("{} bytes of LUNs: {}", be(data, 0, 4), luns.join(", "))
}

pub fn capacity_10(data: &[u8]) -> String {
    format!("last block {}, {} bytes each", be(data, 0, 4), be(data, 4, 4))
}

pub fn capacity_16(data: &[u8]) -> String {
    format!(
        "last block {}, {} bytes each, {}, physical block exponent {}, lowest aligned block {}, {}",
        be(data, 0, 8),
        be(data, 8, 4),
        flags(data[12], &[(0, "PROT_EN")]),
        data[13] & 0xf,
        be(data, 14, 2) & 0x3fff,
        flags(data[14], &[(7, "LBPME"), (6, "LBPRZ")])
    )
}

pub fn mode_6(data: &[u8]) -> String {
    mode(data, 4, usize::from(data[3]), data[2], false)
}

pub fn mode_10(data: &[u8]) -> String {
    mode(data, 8, be(data, 6, 2) as usize, data[3], data[4] & 1 != 0)
}

fn mode(data: &[u8], header: usize, descriptors: usize, device_specific: u8, long: bool) -> String {
    let mut said = flags(device_specific, &[(7, "WP"), (4, "DPOFUA")]);
    let (descriptor, mut rest) = data[header..].split_at(descriptors);
    match (descriptor.len(), long) {
        (0, _) => said.push_str(", no block descriptor"),
        (16, true) => {
            let _ = write!(said, ", {} blocks of {} bytes", be(descriptor, 0, 8), be(descriptor, 12, 4));
        }
        _ => {
            let _ = write!(said, ", {} blocks of {} bytes", be(descriptor, 0, 4), be(descriptor, 5, 3));
        }
    }
    while let [code, length, ..] = *rest {
        let (page, behind) = rest.split_at(2 + usize::from(length));
        let meaning = match code & 0x3f {
            0x01 => format!("error recovery: {}", flags(page[2], &[(7, "AWRE"), (6, "ARRE"), (2, "PER")])),
            0x04 => format!("geometry: {} cylinders, {} heads", be(page, 2, 3), page[5]),
            0x08 => format!("caching: {}", flags(page[2], &[(2, "WCE"), (0, "RCD")])),
            0x0a => format!(
                "control: {}, queue algorithm {}, {}",
                flags(page[2], &[(2, "D_SENSE"), (1, "GLTSD")]),
                page[3] >> 4,
                flags(page[4], &[(3, "SWP")])
            ),
            0x1c => format!(
                "informational exceptions: {}, MRIE {}",
                flags(page[2], &[(3, "DEXCPT")]),
                page[3] & 0xf
            ),
            _ => "?".into(),
        };
        let _ = write!(said, "\npage {:02x}, PS {}, {meaning}", code & 0x3f, code >> 7);
        rest = behind;
    }
    said
}

pub fn log_pages(data: &[u8]) -> String {
    format!("log pages {}", hex(&data[4..]))
}

pub fn wear(data: &[u8]) -> String {
    match data.get(4..12) {
        Some(parameter) => {
            format!("parameter {:04x}: {} % of the endurance used", be(parameter, 0, 2), parameter[7])
        }
        None => "no parameters".into(),
    }
}

pub fn operation_codes(data: &[u8]) -> String {
    let mut said = String::new();
    for entry in data[4..].chunks(8) {
        let _ = write!(said, "{:02x}", entry[0]);
        if entry[5] & 1 != 0 {
            let _ = write!(said, "/{:02x}", be(entry, 2, 2));
        }
        let _ = write!(said, " ({}) ", be(entry, 6, 2));
    }
    said.trim_end().into()
}

pub fn operation_code(data: &[u8]) -> String {
    let support = match data[1] & 7 {
        1 => "not supported",
        3 => "supported",
        _ => "?",
    };
    let length = be(data, 2, 2) as usize;
    let mut said = format!("{support}, usage {}", hex(&data[4..4 + length]));
    if data[1] & 0x80 != 0 {
        let _ = write!(said, ", timeouts {}", hex(&data[4 + length..]));
    }
    said
}
