//! CDBs byte for byte.

use super::*;

#[test]
fn read_10_decodes_address_length_and_fua() {
    let command = Command::decode(&[0x28, 0x08, 0x01, 0x02, 0x03, 0x04, 0, 0x10, 0x20, 0]);

    let range = BlockRange { start: Lba(0x0102_0304), blocks: 0x1020 };
    assert_eq!(command, Ok(Command::Read(range, TransferFlags::FORCE_UNIT_ACCESS)));
}

#[test]
fn write_16_decodes_a_64_bit_address() {
    let command =
        Command::decode(&[0x8a, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0, 1, 2, 3, 0, 0]);

    let range = BlockRange { start: Lba(0x0102_0304_0506_0708), blocks: 0x0001_0203 };
    assert_eq!(command, Ok(Command::Write(range, TransferFlags::empty())));
}

#[test]
fn protection_information_is_refused() {
    let command = Command::decode(&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0]);

    assert_eq!(command, Err(Sense::invalid_cdb_bit(1, 7)));
}

#[test]
fn a_cdb_shorter_than_its_operation_code_says_is_refused() {
    for cdb in [&[0x28, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0x12, 0, 0], &[0x9e, 0x10]] {
        assert_eq!(Command::decode(cdb), Err(Sense::INVALID_FIELD_IN_CDB));
    }
}

#[test]
fn no_cdb_at_all_and_unknown_operation_codes_are_refused() {
    assert_eq!(Command::decode(&[]), Err(Sense::INVALID_OPERATION_CODE));
    assert_eq!(Command::decode(&[0x04, 0, 0, 0, 0, 0]), Err(Sense::INVALID_OPERATION_CODE));
    assert_eq!(Command::decode(&[0xff; 16]), Err(Sense::INVALID_OPERATION_CODE));
}

#[test]
fn a_page_code_without_evpd_is_refused() {
    assert_eq!(Command::decode(&[0x12, 0, 0x80, 0, 36, 0]), Err(Sense::invalid_cdb_byte(2)));
}

#[test]
fn other_service_actions_than_read_capacity_16_are_refused() {
    // Service action 0x12 is GET LBA STATUS.
    let mut cdb = [0; 16];
    cdb[0] = 0x9e;
    cdb[1] = 0x12;

    assert_eq!(Command::decode(&cdb), Err(Sense::invalid_cdb_bit(1, 4)));
}

#[test]
fn naca_is_refused_by_every_command_and_unknown_codes_stay_unknown() {
    assert_eq!(Command::decode(&[0, 0, 0, 0, 0, 0x04]), Err(Sense::invalid_cdb_bit(5, 2)));
    assert_eq!(Command::decode(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4]), Err(Sense::invalid_cdb_bit(9, 2)));
    assert_eq!(Command::decode(&[0x04, 0, 0, 0, 0, 0x04]), Err(Sense::INVALID_OPERATION_CODE));
}

#[test]
fn only_the_default_self_test_is_decoded() {
    assert_eq!(Command::decode(&[0x1d, 0x04, 0, 0, 0, 0]), Ok(Command::SelfTest));
    for (cdb, byte) in
        [([0x1d, 0, 0, 0, 0, 0], 1), ([0x1d, 0x24, 0, 0, 0, 0], 1), ([0x1d, 0x04, 0, 0, 8, 0], 3)]
    {
        assert_eq!(Command::decode(&cdb), Err(Sense::invalid_cdb_byte(byte)));
    }
}

#[test]
fn request_sense_decodes_format_and_length() {
    let command = Command::decode(&[0x03, 0x01, 0, 0, 252, 0]);

    assert_eq!(command, Ok(Command::RequestSense { descriptor: true, allocation_length: 252 }));
}

#[test]
fn mode_sense_6_decodes_control_page_and_length() {
    let command = Command::decode(&[0x1a, 0x08, 0x48, 0x00, 0xc0, 0]);

    let expected = ModeSense {
        ten: false,
        disable_block_descriptors: true,
        long_block_addresses: false,
        control: PageControl::Changeable,
        page: 8,
        subpage: 0,
        allocation_length: 0xc0,
    };
    assert_eq!(command, Ok(Command::ModeSense(expected)));
}

fn range(start: u64, blocks: u32) -> BlockRange {
    BlockRange { start: Lba(start), blocks }
}

/// A CDB with these bytes at its start, of the length its operation code has.
fn decode(start: &[u8]) -> Result<Command, Sense> {
    let mut cdb = [0; 16];
    cdb[..start.len()].copy_from_slice(start);
    Command::decode(&cdb[..OperationCode(cdb[0]).cdb_length().expect("a fixed length")])
}

#[test]
fn read_6_and_write_6_have_21_bits_of_address_and_up_to_256_blocks() {
    // The three highest bits were a logical unit number once.
    let read = decode(&[0x08, 0xff, 0x02, 0x03, 0x04]);
    let write = decode(&[0x0a, 0x01, 0x02, 0x03, 0x00]);

    assert_eq!(read, Ok(Command::Read(range(0x1f_0203, 4), TransferFlags::empty())));
    assert_eq!(write, Ok(Command::Write(range(0x01_0203, 256), TransferFlags::empty())));
}

#[test]
fn read_12_and_write_12_have_a_32_bit_length() {
    let read = decode(&[0xa8, 0x18, 1, 2, 3, 4, 5, 6, 7, 8, 0xff]);
    let write = decode(&[0xaa, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 0xff]);

    let both = TransferFlags::FORCE_UNIT_ACCESS | TransferFlags::DISABLE_PAGE_OUT;
    assert_eq!(read, Ok(Command::Read(range(0x0102_0304, 0x0506_0708), both)));
    assert_eq!(write, Ok(Command::Write(range(0x0102_0304, 0x0506_0708), TransferFlags::empty())));
}

#[test]
fn every_form_of_verify_decodes_what_is_compared() {
    let wanted = [Ok(ByteCheck::None), Ok(ByteCheck::Compare), Err(()), Ok(ByteCheck::CompareOneBlock)];
    for (bits, check) in (0_u8..).zip(wanted) {
        let flags = 0x10 | bits << 1;
        let ten = decode(&[0x2f, flags, 1, 2, 3, 4, 0, 5, 6]);
        let twelve = decode(&[0xaf, flags, 1, 2, 3, 4, 0, 0, 5, 6]);
        let sixteen = decode(&[0x8f, flags, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 5, 6]);

        let expected = check
            .map(|check| Command::Verify(range(0x0102_0304, 0x0506), check))
            .map_err(|()| Sense::invalid_cdb_bit(1, 2));
        assert_eq!([ten, twelve, sixteen], [expected; 3], "BYTCHK {bits:02b}");
    }
}

#[test]
fn every_form_of_write_and_verify_compares_all_or_nothing() {
    let wanted = [Ok(ByteCheck::None), Ok(ByteCheck::Compare), Err(()), Err(())];
    for (bits, check) in (0_u8..).zip(wanted) {
        let flags = bits << 1;
        let ten = decode(&[0x2e, flags, 1, 2, 3, 4, 0, 5, 6]);
        let twelve = decode(&[0xae, flags, 1, 2, 3, 4, 0, 0, 5, 6]);
        let sixteen = decode(&[0x8e, flags, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 5, 6]);

        let expected = check
            .map(|check| Command::WriteAndVerify(range(0x0102_0304, 0x0506), check))
            .map_err(|()| Sense::invalid_cdb_bit(1, 2));
        assert_eq!([ten, twelve, sixteen], [expected; 3], "BYTCHK {bits:02b}");
    }
}

#[test]
fn protection_information_is_refused_by_every_command_that_has_the_field() {
    for operation in [0x28, 0xa8, 0x88, 0x2a, 0xaa, 0x8a, 0x2e, 0xae, 0x8e, 0x2f, 0xaf, 0x8f, 0x41, 0x93] {
        for value in 1..8 {
            assert_eq!(
                decode(&[operation, value << 5]),
                Err(Sense::invalid_cdb_bit(1, 7)),
                "{operation:02x}"
            );
        }
    }
}

#[test]
fn synchronize_cache_decodes_range_and_immed() {
    let ten = decode(&[0x35, 0x02, 1, 2, 3, 4, 0, 5, 6]);
    let sixteen = decode(&[0x91, 0x04, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9, 10]);

    assert_eq!(ten, Ok(Command::SynchronizeCache { range: range(0x0102_0304, 0x0506), immediate: true }));
    let all = range(0x0102_0304_0506_0708, 0x090a);
    assert_eq!(sixteen, Ok(Command::SynchronizeCache { range: all, immediate: false }));
}

#[test]
fn unmap_decodes_anchor_and_length() {
    let anchored = decode(&[0x42, 0x01, 0, 0, 0, 0, 0, 0x12, 0x34]);
    let plain = decode(&[0x42, 0, 0, 0, 0, 0, 0x1f, 0, 24]);

    assert_eq!(anchored, Ok(Command::Unmap { anchor: true, parameter_length: 0x1234 }));
    assert_eq!(plain, Ok(Command::Unmap { anchor: false, parameter_length: 24 }));
}

#[test]
fn write_same_decodes_its_bits() {
    let ten = decode(&[0x41, 0x08, 1, 2, 3, 4, 0, 5, 6]);
    let sixteen = decode(&[0x93, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

    let expected = Command::WriteSame {
        range: range(0x0102_0304, 0x0506),
        unmap: true,
        anchor: false,
        no_data_out: false,
    };
    assert_eq!(ten, Ok(expected));
    let range = range(0x0102_0304_0506_0708, 0x090a_0b0c);
    assert_eq!(sixteen, Ok(Command::WriteSame { range, unmap: true, anchor: true, no_data_out: true }));
}

#[test]
fn write_same_refuses_obsolete_bits_and_anchors_without_unmap() {
    for operation in [0x41, 0x93] {
        assert_eq!(decode(&[operation, 0x02]), Err(Sense::invalid_cdb_bit(1, 1)));
        assert_eq!(decode(&[operation, 0x04]), Err(Sense::invalid_cdb_bit(1, 2)));
        assert_eq!(decode(&[operation, 0x06]), Err(Sense::invalid_cdb_bit(1, 2)));
        assert_eq!(decode(&[operation, 0x10]), Err(Sense::invalid_cdb_bit(1, 4)));
    }
    assert_eq!(decode(&[0x41, 0x01]), Err(Sense::invalid_cdb_bit(1, 0)), "only (16) has NDOB");
}

#[test]
fn sanitize_decodes_its_service_actions() {
    let table = [
        (0x01, SanitizeAction::Overwrite),
        (0x02, SanitizeAction::BlockErase),
        (0x03, SanitizeAction::CryptographicErase),
        (0x1f, SanitizeAction::ExitFailureMode),
    ];
    for (code, action) in table {
        let expected =
            Command::Sanitize { action, immediate: true, allow_unrestricted_exit: true, parameter_length: 0 };
        assert_eq!(decode(&[0x48, 0xa0 | code]), Ok(expected));
    }
    for reserved in [0x00, 0x04, 0x1e] {
        assert_eq!(decode(&[0x48, reserved]), Err(Sense::invalid_cdb_bit(1, 4)));
    }
}

#[test]
fn only_an_overwrite_has_parameters() {
    let overwrite = decode(&[0x48, 0x01, 0, 0, 0, 0, 0, 0x02, 0x04]);

    assert!(matches!(overwrite, Ok(Command::Sanitize { parameter_length: 0x0204, immediate: false, .. })));
    assert_eq!(decode(&[0x48, 0x02, 0, 0, 0, 0, 0, 0, 1]), Err(Sense::invalid_cdb_byte(7)));
}

#[test]
fn mode_select_decodes_its_bits_and_length() {
    let six = decode(&[0x15, 0x11, 0, 0, 0x18]);
    let ten = decode(&[0x55, 0x10, 0, 0, 0, 0, 0, 0x12, 0x34]);

    let expected =
        Command::ModeSelect { ten: false, page_format: true, save_pages: true, parameter_length: 0x18 };
    assert_eq!(six, Ok(expected));
    let expected =
        Command::ModeSelect { ten: true, page_format: true, save_pages: false, parameter_length: 0x1234 };
    assert_eq!(ten, Ok(expected));
    assert_eq!(decode(&[0x15, 0x12]), Err(Sense::invalid_cdb_bit(1, 1)), "RTD");
}

#[test]
fn mode_sense_10_decodes_llbaa_and_subpage() {
    let command = decode(&[0x5a, 0x10, 0xff, 0xff, 0, 0, 0, 0x12, 0x34]);

    let expected = ModeSense {
        ten: true,
        disable_block_descriptors: false,
        long_block_addresses: true,
        control: PageControl::Saved,
        page: 0x3f,
        subpage: 0xff,
        allocation_length: 0x1234,
    };
    assert_eq!(command, Ok(Command::ModeSense(expected)));
}

#[test]
fn start_stop_unit_decodes_its_bits() {
    let stop = decode(&[0x1b, 0x01, 0, 0x0f, 0x06]);
    let start = decode(&[0x1b, 0, 0, 0, 0x31]);

    let expected = Command::StartStopUnit {
        immediate: true,
        power_condition: 0,
        load_eject: true,
        start: false,
        no_flush: true,
    };
    assert_eq!(stop, Ok(expected));
    let expected = Command::StartStopUnit {
        immediate: false,
        power_condition: 3,
        load_eject: false,
        start: true,
        no_flush: false,
    };
    assert_eq!(start, Ok(expected));
}

#[test]
fn prevent_allow_decodes_its_two_bits() {
    assert_eq!(decode(&[0x1e, 0, 0, 0, 0xff]), Ok(Command::PreventAllow { prevent: 3 }));
    assert_eq!(decode(&[0x1e]), Ok(Command::PreventAllow { prevent: 0 }));
}

#[test]
fn log_sense_decodes_every_field() {
    let command = decode(&[0x4d, 0x01, 0x51, 0xff, 0, 0x01, 0x02, 0x03, 0x04]);

    let expected = Command::LogSense {
        save: true,
        control: 1,
        page: 0x11,
        subpage: 0xff,
        pointer: 0x0102,
        allocation_length: 0x0304,
    };
    assert_eq!(command, Ok(expected));
}

#[test]
fn report_supported_operation_codes_decodes_what_is_asked_about() {
    let code = OperationCode(0x9e);
    let table = [
        (0, ReportedCommands::All),
        (1, ReportedCommands::Code(code)),
        (2, ReportedCommands::Action(code, 0x0010)),
        (3, ReportedCommands::CodeOrAction(code, 0x0010)),
    ];
    for (options, commands) in table {
        let decoded = decode(&[0xa3, 0x0c, 0x80 | options, 0x9e, 0x00, 0x10, 0, 1, 2, 3]);

        let expected = Command::ReportSupportedOperationCodes {
            commands,
            timeouts: true,
            allocation_length: 0x0001_0203,
        };
        assert_eq!(decoded, Ok(expected));
    }
    for reserved in 4..8 {
        assert_eq!(decode(&[0xa3, 0x0c, reserved]), Err(Sense::invalid_cdb_bit(2, 2)));
    }
}

#[test]
fn other_service_actions_of_maintenance_in_are_refused() {
    // 0x0a is REPORT TARGET PORT GROUPS, 0x0d REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
    for action in [0x00, 0x0a, 0x0d, 0x1f] {
        assert_eq!(decode(&[0xa3, action]), Err(Sense::invalid_cdb_bit(1, 4)));
    }
}

#[test]
fn read_capacity_takes_an_address_only_with_pmi() {
    assert_eq!(decode(&[0x25]), Ok(Command::ReadCapacity10));
    assert_eq!(decode(&[0x25, 0, 0, 0, 0, 1]), Err(Sense::invalid_cdb_byte(2)));
    assert_eq!(decode(&[0x25, 0, 0, 0, 0, 1, 0, 0, 1]), Ok(Command::ReadCapacity10));
    assert_eq!(decode(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 1]), Err(Sense::invalid_cdb_byte(2)));
    let sixteen = decode(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 1]);
    assert_eq!(sixteen, Ok(Command::ReadCapacity16 { allocation_length: 32 }));
}

#[test]
fn what_is_not_implemented_is_unknown() {
    // FORMAT UNIT, RESERVE and RELEASE(6) and (10), PERSISTENT RESERVE IN and OUT, ATA PASS-THROUGH(12) and (16),
    // COMPARE AND WRITE, SECURITY PROTOCOL IN and OUT.
    for operation in [0x04, 0x16, 0x17, 0x56, 0x57, 0x5e, 0x5f, 0xa1, 0x85, 0x89, 0xa2, 0xb5] {
        assert_eq!(decode(&[operation]), Err(Sense::INVALID_OPERATION_CODE), "{operation:02x}");
    }
}

#[test]
fn a_transfer_that_is_decoded_in_short_is_the_command_that_is_decoded_at_length() {
    let bytes = [0x00, 0x01, 0x04, 0x08, 0x18, 0x20, 0xff];
    let mut short = 0;
    for code in 0..=u8::MAX {
        for (flags, control) in bytes.iter().flat_map(|flags| bytes.map(|control| (*flags, control))) {
            let cdb = [code, flags, 3, 4, 5, 6, 7, 8, 9, control, 11, 12, 13, 14, 15, control];
            for length in [0, 1, 9, 10, 12, 15, 16] {
                let command = Command::decode(&cdb[..length]);
                let transfer =
                    Transfer::decode(&cdb[..length]).map(|Transfer { range, flags, write }| match write {
                        true => Ok(Command::Write(range, flags)),
                        false => Ok(Command::Read(range, flags)),
                    });

                assert!(transfer.is_none() || transfer == Some(command), "{cdb:02x?}, {length} bytes");
                let common = matches!(code, 0x28 | 0x2a | 0x88 | 0x8a) && command.is_ok();
                assert_eq!(transfer.is_some(), common, "{cdb:02x?}, {length} bytes");
                short += usize::from(common);
            }
        }
    }
    assert!(short > 100);
}
