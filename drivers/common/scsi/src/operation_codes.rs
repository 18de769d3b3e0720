//! REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35): which commands there are, and which bits of a CDB are looked at.

use crate::cdb::{OperationCode, ReportedCommands, service_action};
use crate::parameter_data::ParameterData;
use crate::sense::Sense;

/// A command that [`Command::decode`](crate::cdb::Command::decode) knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// OPERATION CODE
    pub code: OperationCode,
    /// SERVICE ACTION, where the operation code has any.
    pub action: Option<u16>,
    /// CDB USAGE DATA: the operation code, the service action, and ones for all other bits that are looked at.
    pub usage: &'static [u8],
}

/// NACA, the only bit of CONTROL that is looked at.
const CONTROL: u8 = 0x04;
/// Byte 1 of reads and writes: protection, DPO, FUA.
const TRANSFER: u8 = 0xf8;
/// Byte 1 of VERIFY and WRITE AND VERIFY: protection, DPO, BYTCHK.
const CHECKED: u8 = 0xf6;

const fn plain(usage: &'static [u8]) -> Entry {
    Entry { code: OperationCode(usage[0]), action: None, usage }
}

const fn action(action: u8, usage: &'static [u8]) -> Entry {
    Entry { code: OperationCode(usage[0]), action: Some(action as u16), usage }
}

/// Every command that is decoded, in ascending order. Which of them a disk has is the disk's business.
#[rustfmt::skip]
pub const ENTRIES: &[Entry] = &[
    plain(&[0x00, 0, 0, 0, 0, CONTROL]),
    plain(&[0x03, 0x01, 0, 0, 0xff, CONTROL]),
    plain(&[0x08, 0x1f, 0xff, 0xff, 0xff, CONTROL]),
    plain(&[0x0a, 0x1f, 0xff, 0xff, 0xff, CONTROL]),
    plain(&[0x12, 0x01, 0xff, 0xff, 0xff, CONTROL]),
    plain(&[0x15, 0x13, 0, 0, 0xff, CONTROL]),
    plain(&[0x1a, 0x08, 0xff, 0xff, 0xff, CONTROL]),
    plain(&[0x1b, 0x01, 0, 0, 0xf7, CONTROL]),
    plain(&[0x1d, 0xf4, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x1e, 0, 0, 0, 0x03, CONTROL]),
    plain(&[0x25, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, CONTROL]),
    plain(&[0x28, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x2a, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x2e, CHECKED, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x2f, CHECKED, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x42, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    action(0x01, &[0x48, 0xa1, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    action(0x02, &[0x48, 0xa2, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    action(0x03, &[0x48, 0xa3, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    action(0x1f, &[0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x4d, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, CONTROL]),
    plain(&[0x55, 0x13, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CONTROL]),
    plain(&[0x88, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0x8a, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0x8e, CHECKED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0x8f, CHECKED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0x91, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0x93, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    action(service_action::READ_CAPACITY_16, &[
        0x9e, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, CONTROL,
    ]),
    plain(&[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    action(service_action::REPORT_SUPPORTED_OPERATION_CODES, &[
        0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL,
    ]),
    plain(&[0xa8, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0xaa, TRANSFER, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0xae, CHECKED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
    plain(&[0xaf, CHECKED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL]),
];

/// A command timeouts descriptor that says nothing: no nominal processing time and no recommended time-out.
const NO_TIMEOUTS: [u8; 12] = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Answers what is asked about; `has` says which of [`ENTRIES`] the disk has.
///
/// # Errors
/// A service action is asked for of an operation code that has none, or none of one that has some.
pub fn report(
    data: &mut ParameterData<'_>,
    commands: ReportedCommands,
    timeouts: bool,
    has: impl Fn(&Entry) -> bool,
) -> Result<(), Sense> {
    let (code, wanted, strict) = match commands {
        ReportedCommands::All => {
            all(data, timeouts, has);
            return Ok(());
        }
        ReportedCommands::Code(code) => (code, None, true),
        ReportedCommands::Action(code, action) => (code, Some(action), true),
        ReportedCommands::CodeOrAction(code, action) => (code, Some(action), false),
    };
    let mut of_code = ENTRIES.iter().filter(|entry| entry.code == code && has(entry)).peekable();
    let actions = of_code.peek().map(|entry| entry.action.is_some());
    let found = match (actions, wanted) {
        (None, _) => None,
        (Some(true), Some(action)) => of_code.find(|entry| entry.action == Some(action)),
        (Some(false), None) => of_code.next(),
        // SPC-4, table 258: without service actions, the requested one has to be zero.
        (Some(false), Some(0)) if !strict => of_code.next(),
        (Some(false), Some(_)) if !strict => None,
        _ => return Err(Sense::invalid_cdb_bit(2, 2)),
    };
    one(data, found, timeouts);
    Ok(())
}

fn all(data: &mut ParameterData<'_>, timeouts: bool, has: impl Fn(&Entry) -> bool) {
    /// SERVACTV: SERVICE ACTION is valid.
    const ACTION_VALID: u8 = 0x01;
    /// CTDP: a command timeouts descriptor follows.
    const TIMEOUTS: u8 = 0x02;
    data.push(&[0; 4]);
    for entry in ENTRIES.iter().filter(|entry| has(entry)) {
        let [high, low] = entry.action.unwrap_or(0).to_be_bytes();
        let flags =
            if entry.action.is_some() { ACTION_VALID } else { 0 } | if timeouts { TIMEOUTS } else { 0 };
        data.push(&[entry.code.0, 0, high, low, 0, flags, 0, entry.usage.len() as u8]);
        if timeouts {
            data.push(&NO_TIMEOUTS);
        }
    }
    let length = data.length() as u32 - 4;
    data.set(0, &length.to_be_bytes());
}

fn one(data: &mut ParameterData<'_>, entry: Option<&Entry>, timeouts: bool) {
    // SUPPORT: not supported, supported as the standard says.
    const NOT_SUPPORTED: u8 = 0x01;
    const SUPPORTED: u8 = 0x03;
    /// CTDP: a command timeouts descriptor follows.
    const TIMEOUTS: u8 = 0x80;
    let Some(entry) = entry else {
        data.push(&[0, NOT_SUPPORTED, 0, 0]);
        return;
    };
    data.push(&[0, SUPPORTED | if timeouts { TIMEOUTS } else { 0 }, 0, entry.usage.len() as u8]);
    data.push(entry.usage);
    if timeouts {
        data.push(&NO_TIMEOUTS);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::cdb::Command;
    use crate::parameter_data::collect;

    fn reported(commands: ReportedCommands, timeouts: bool, codes: &[u8]) -> Result<Vec<u8>, Sense> {
        let mut result = Ok(());
        let data = collect(|data| {
            result = report(data, commands, timeouts, |entry| codes.contains(&entry.code.0));
        });
        result.map(|()| data)
    }

    #[test]
    fn entries_ascend_and_have_the_length_of_their_code() {
        let order = |entry: &Entry| (entry.code.0, entry.action);
        assert!(ENTRIES.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])));
        for entry in ENTRIES {
            assert_eq!(entry.code.cdb_length(), Some(entry.usage.len()), "{entry:02x?}");
            assert_eq!(entry.usage[0], entry.code.0);
            let action = entry.action.map_or(0, |action| action as u8);
            assert_eq!(entry.usage[1] & action, action, "{entry:02x?}");
        }
    }

    #[test]
    fn every_operation_code_that_is_decoded_has_an_entry_and_no_other() {
        for code in 0..=u8::MAX {
            let unknown =
                Command::decode(&[&[code][..], &[0; 15]].concat()) == Err(Sense::INVALID_OPERATION_CODE);

            assert_eq!(ENTRIES.iter().any(|entry| entry.code.0 == code), !unknown, "{code:02x}");
        }
    }

    #[test]
    fn a_bit_that_refuses_a_command_is_one_that_is_looked_at() {
        for entry in ENTRIES {
            for bit in 8..entry.usage.len() * 8 {
                let (byte, mask) = (bit / 8, 1 << (bit % 8));
                let mut cdb: Vec<u8> = Vec::from([0; 16]);
                cdb[0] = entry.code.0;
                cdb[1] = entry.action.map_or(0, |action| action as u8);
                let plain = Command::decode(&cdb);
                cdb[byte] ^= mask;
                if Command::decode(&cdb) != plain {
                    let action = entry.action.is_some() && byte == 1 && mask & 0x1f != 0;
                    let told = entry.usage[byte] & mask != 0;
                    assert!(told || action, "{:02x}, byte {byte}, mask {mask:02x}", entry.code.0);
                }
            }
        }
    }

    #[test]
    fn the_list_has_eight_bytes_for_each_command() {
        let data = reported(ReportedCommands::All, false, &[0x00, 0x9e]).unwrap();

        assert_eq!(data[..4], [0, 0, 0, 16]);
        assert_eq!(data[4..12], [0x00, 0, 0, 0, 0, 0x00, 0, 6]);
        assert_eq!(data[12..], [0x9e, 0, 0, 0x10, 0, 0x01, 0, 16]);
    }

    #[test]
    fn timeouts_that_are_asked_for_say_nothing() {
        let all = reported(ReportedCommands::All, true, &[0x12]).unwrap();
        let one = reported(ReportedCommands::Code(OperationCode(0x12)), true, &[0x12]).unwrap();

        assert_eq!(all[..4], [0, 0, 0, 20]);
        assert_eq!(all[4..12], [0x12, 0, 0, 0, 0, 0x02, 0, 6]);
        assert_eq!(all[12..], [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(one[..10], [0, 0x83, 0, 6, 0x12, 0x01, 0xff, 0xff, 0xff, 0x04]);
        assert_eq!(one[10..], [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_command_that_is_not_there_is_not_supported() {
        for commands in [
            ReportedCommands::Code(OperationCode(0x04)),
            ReportedCommands::Code(OperationCode(0x42)),
            ReportedCommands::Action(OperationCode(0x9e), 0x12),
            ReportedCommands::Action(OperationCode(0x04), 0),
            ReportedCommands::CodeOrAction(OperationCode(0x9e), 0x12),
            ReportedCommands::CodeOrAction(OperationCode(0x12), 1),
        ] {
            assert_eq!(reported(commands, false, &[0x12, 0x9e]).unwrap(), [0, 1, 0, 0], "{commands:02x?}");
        }
    }

    #[test]
    fn a_command_that_is_there_is_supported_in_each_way_of_asking() {
        let inquiry = [0, 3, 0, 6, 0x12, 0x01, 0xff, 0xff, 0xff, 0x04];
        let code = OperationCode(0x12);
        for commands in [ReportedCommands::Code(code), ReportedCommands::CodeOrAction(code, 0)] {
            assert_eq!(reported(commands, false, &[0x12]).unwrap(), inquiry);
        }
        let code = OperationCode(0x9e);
        for commands in [ReportedCommands::Action(code, 0x10), ReportedCommands::CodeOrAction(code, 0x10)] {
            assert_eq!(reported(commands, false, &[0x9e]).unwrap()[..6], [0, 3, 0, 16, 0x9e, 0x10]);
        }
    }

    #[test]
    fn service_actions_are_asked_for_where_there_are_some_and_only_there() {
        let refused = Err(Sense::invalid_cdb_bit(2, 2));

        assert_eq!(reported(ReportedCommands::Code(OperationCode(0x9e)), false, &[0x9e]), refused);
        assert_eq!(reported(ReportedCommands::Action(OperationCode(0x12), 0), false, &[0x12]), refused);
    }
}
