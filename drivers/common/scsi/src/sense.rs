//! Sense data: why a command ended with CHECK CONDITION (SPC-4, 4.5).

use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Sense key (SPC-4, table 48). Not an `enum`: a device may answer with one we have no name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// Nothing to report.
    pub const NO_SENSE: Self = Self(0x0);
    /// The command was done, after the unit had helped itself.
    pub const RECOVERED_ERROR: Self = Self(0x1);
    /// The unit cannot be reached.
    pub const NOT_READY: Self = Self(0x2);
    /// The medium failed.
    pub const MEDIUM_ERROR: Self = Self(0x3);
    /// The device failed.
    pub const HARDWARE_ERROR: Self = Self(0x4);
    /// The command or one of its fields is not valid.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something changed since the last command.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// The medium is write protected.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// The command was aborted.
    pub const ABORTED_COMMAND: Self = Self(0xb);
    /// What was sent and what lies on the medium differ.
    pub const MISCOMPARE: Self = Self(0xe);
}

/// Sense key with additional sense code and qualifier (SPC-4, annex D).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// The class of the problem.
    pub key: SenseKey,
    /// ADDITIONAL SENSE CODE
    pub code: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER
    pub qualifier: u8,
    /// SENSE KEY SPECIFIC: for an illegal request the field that is at fault, else zeroes.
    pub key_specific: KeySpecific,
}

/// SENSE KEY SPECIFIC (SPC-4, 4.5.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySpecific(pub [u8; 3]);

impl KeySpecific {
    /// SKSV: there is something in it.
    const VALID: u8 = 0x80;
    /// C/D: the field is one of the CDB, not of the parameter list.
    const IN_CDB: u8 = 0x40;
    /// BPV: BIT POINTER is valid.
    const BIT_VALID: u8 = 0x08;

    /// A field pointer (SPC-4, 4.5.2.4.2).
    const fn field(flags: u8, byte: u16) -> Self {
        let [high, low] = byte.to_be_bytes();
        Self([Self::VALID | flags, high, low])
    }
}

impl Sense {
    /// There is nothing to report.
    pub const NONE: Self = Self::new(SenseKey::NO_SENSE, 0x00, 0x00);
    /// The operation code is not implemented.
    pub const INVALID_OPERATION_CODE: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x20, 0x00);
    /// There is no medium.
    pub const MEDIUM_NOT_PRESENT: Self = Self::new(SenseKey::NOT_READY, 0x3a, 0x00);
    /// The block address lies past the last block.
    pub const LBA_OUT_OF_RANGE: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x21, 0x00);
    /// The length of the parameter list is not what the list needs.
    pub const PARAMETER_LIST_LENGTH_ERROR: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x1a, 0x00);
    /// A field of the CDB has a value that is not supported. See [`invalid_cdb_byte`](Self::invalid_cdb_byte).
    pub const INVALID_FIELD_IN_CDB: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x24, 0x00);
    /// The logical unit does not exist.
    pub const LOGICAL_UNIT_NOT_SUPPORTED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x25, 0x00);
    /// A field of the parameter list has a value that is not supported. See
    /// [`invalid_parameter_byte`](Self::invalid_parameter_byte).
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x00);
    /// Saved mode pages do not exist.
    pub const SAVING_PARAMETERS_NOT_SUPPORTED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x39, 0x00);
    /// The medium cannot be written to.
    pub const WRITE_PROTECTED: Self = Self::new(SenseKey::DATA_PROTECT, 0x27, 0x00);
    /// A read failed.
    pub const UNRECOVERED_READ_ERROR: Self = Self::new(SenseKey::MEDIUM_ERROR, 0x11, 0x00);
    /// A write, or making writes durable, failed.
    pub const WRITE_ERROR: Self = Self::new(SenseKey::MEDIUM_ERROR, 0x0c, 0x00);
    /// What was sent and what lies on the medium differ.
    pub const MISCOMPARE: Self = Self::new(SenseKey::MISCOMPARE, 0x1d, 0x00);
    /// The unit has another size than before.
    pub const CAPACITY_DATA_HAS_CHANGED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x09);
    /// Mode pages, or the write protection, are not as they were.
    pub const MODE_PARAMETERS_CHANGED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x01);
    /// The device failed in a way that no other code describes.
    pub const INTERNAL_TARGET_FAILURE: Self = Self::new(SenseKey::HARDWARE_ERROR, 0x44, 0x00);

    /// Puts the three parts together.
    pub const fn new(key: SenseKey, code: u8, qualifier: u8) -> Self {
        Self { key, code, qualifier, key_specific: KeySpecific([0; 3]) }
    }

    /// [`INVALID_FIELD_IN_CDB`](Self::INVALID_FIELD_IN_CDB) with the first byte of the field.
    pub const fn invalid_cdb_byte(byte: u16) -> Self {
        let key_specific = KeySpecific::field(KeySpecific::IN_CDB, byte);
        Self { key_specific, ..Self::INVALID_FIELD_IN_CDB }
    }

    /// [`INVALID_FIELD_IN_CDB`](Self::INVALID_FIELD_IN_CDB) with the first byte of the field, and the field's highest bit
    /// in it.
    pub const fn invalid_cdb_bit(byte: u16, bit: u8) -> Self {
        let flags = KeySpecific::IN_CDB | KeySpecific::BIT_VALID | (bit & 0x07);
        Self { key_specific: KeySpecific::field(flags, byte), ..Self::INVALID_FIELD_IN_CDB }
    }

    /// [`INVALID_FIELD_IN_PARAMETER_LIST`](Self::INVALID_FIELD_IN_PARAMETER_LIST) with the first byte of the field.
    pub const fn invalid_parameter_byte(byte: u16) -> Self {
        Self { key_specific: KeySpecific::field(0, byte), ..Self::INVALID_FIELD_IN_PARAMETER_LIST }
    }

    /// The fixed format for a current error (SPC-4, 4.5.3).
    pub fn fixed(self) -> FixedSense {
        FixedSense {
            response_code: FixedSense::CURRENT_ERROR,
            segment_number: 0,
            key: self.key.0 & 0x0f,
            information: U32::new(0),
            additional_length: (size_of::<FixedSense>() - 8) as u8,
            command_specific: U32::new(0),
            code: self.code,
            qualifier: self.qualifier,
            field_replaceable_unit: 0,
            key_specific: self.key_specific.0,
        }
    }
}

impl Sense {
    /// The descriptor format for a current error, without descriptors (SPC-4, table 27).
    pub const fn descriptor(self) -> [u8; 8] {
        [0x72, self.key.0 & 0x0f, self.code, self.qualifier, 0, 0, 0, 0]
    }
}

/// Fixed-format sense data (SPC-4, table 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FixedSense {
    /// RESPONSE CODE, with VALID in bit 7
    pub response_code: u8,
    /// Obsolete
    pub segment_number: u8,
    /// SENSE KEY in the low four bits
    pub key: u8,
    /// INFORMATION, valid with bit 7 of the response code
    pub information: U32,
    /// ADDITIONAL SENSE LENGTH
    pub additional_length: u8,
    /// COMMAND-SPECIFIC INFORMATION
    pub command_specific: U32,
    /// ADDITIONAL SENSE CODE
    pub code: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER
    pub qualifier: u8,
    /// FIELD REPLACEABLE UNIT CODE
    pub field_replaceable_unit: u8,
    /// SENSE KEY SPECIFIC
    pub key_specific: [u8; 3],
}

static_assertions::const_assert_eq!(size_of::<FixedSense>(), 18);

impl FixedSense {
    /// RESPONSE CODE of a current error in fixed format.
    pub const CURRENT_ERROR: u8 = 0x70;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_sense_without_descriptors_is_its_header() {
        assert_eq!(Sense::LBA_OUT_OF_RANGE.descriptor(), [0x72, 5, 0x21, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_field_pointer_names_byte_and_bit() {
        assert_eq!(Sense::invalid_cdb_byte(0x0102).key_specific.0, [0xc0, 0x01, 0x02]);
        assert_eq!(Sense::invalid_cdb_bit(1, 7).key_specific.0, [0xcf, 0, 1]);
        assert_eq!(Sense::invalid_parameter_byte(6).key_specific.0, [0x80, 0, 6]);
        assert_eq!(Sense::invalid_cdb_bit(1, 7).fixed().as_bytes()[12..], [0x24, 0, 0, 0xcf, 0, 1]);
    }

    #[test]
    fn fixed_sense_has_the_bytes_of_spc_table_53() {
        let sense = Sense::INVALID_FIELD_IN_CDB.fixed();

        assert_eq!(sense.as_bytes(), [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0]);
    }
}
