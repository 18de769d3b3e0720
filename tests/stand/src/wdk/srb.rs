//! The two request blocks and how Storport fills them.

use crate::layout;
use crate::wdk::codes::*;

/// SCSI_REQUEST_BLOCK (ns-srb-_scsi_request_block.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct ScsiRequestBlock {
    pub length: u16,
    pub function: u8,
    pub srb_status: u8,
    pub scsi_status: u8,
    pub path_id: u8,
    pub target_id: u8,
    pub lun: u8,
    pub queue_tag: u8,
    pub queue_action: u8,
    pub cdb_length: u8,
    pub sense_info_buffer_length: u8,
    pub srb_flags: u32,
    pub data_transfer_length: u32,
    pub time_out_value: u32,
    pub data_buffer: u64,
    pub sense_info_buffer: u64,
    pub next_srb: u64,
    pub original_request: u64,
    pub srb_extension: u64,
    pub internal_status: u32,
    pub reserved: u32,
    pub cdb: [u8; 16],
}

layout!(ScsiRequestBlock, 88, {
    function: 2, srb_status: 3, scsi_status: 4, path_id: 5, target_id: 6, lun: 7, queue_tag: 8, queue_action: 9,
    cdb_length: 10, sense_info_buffer_length: 11, srb_flags: 12, data_transfer_length: 16, time_out_value: 20,
    data_buffer: 24, sense_info_buffer: 32, next_srb: 40, original_request: 48, srb_extension: 56, reserved: 68, cdb: 72,
});

/// STORAGE_REQUEST_BLOCK up to and with its first extended-data offset (ns-srb-_storage_request_block.md), followed by
/// the BTL8 address and one SRBEX_DATA_SCSI_CDB32 block, as Storport lays it out in one piece.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct StorageRequestBlock {
    pub length: u16,
    pub function: u8,
    pub srb_status: u8,
    pub reserved_uchar: [u8; 4],
    pub signature: u32,
    pub version: u32,
    pub srb_length: u32,
    pub srb_function: u32,
    pub srb_flags: u32,
    pub reserved_ulong: u32,
    pub request_tag: u32,
    pub request_priority: u16,
    pub request_attribute: u16,
    pub time_out_value: u32,
    pub system_status: u32,
    pub zero_guard1: u32,
    pub address_offset: u32,
    pub num_srb_ex_data: u32,
    pub data_transfer_length: u32,
    pub data_buffer: u64,
    pub zero_guard2: u64,
    pub original_request: u64,
    pub class_context: u64,
    pub port_context: u64,
    pub miniport_context: u64,
    pub next_srb: u64,
    pub srb_ex_data_offset: [u32; 2],
    pub address: Btl8,
    pub cdb: SrbExCdb,
}

layout!(StorageRequestBlock, 200, {
    function: 2, srb_status: 3, reserved_uchar: 4, signature: 8, version: 12, srb_length: 16, srb_function: 20,
    srb_flags: 24, request_tag: 32, request_priority: 36, request_attribute: 38, time_out_value: 40, system_status: 44,
    zero_guard1: 48, address_offset: 52, num_srb_ex_data: 56, data_transfer_length: 60, data_buffer: 64,
    zero_guard2: 72, original_request: 80, class_context: 88, port_context: 96, miniport_context: 104, next_srb: 112,
    srb_ex_data_offset: 120, address: 128, cdb: 144,
});

/// STOR_ADDR_BTL8 (ns-storport-_stor_addr_btl8.md).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct Btl8 {
    pub kind: u16,
    pub port: u16,
    pub address_length: u32,
    pub path: u8,
    pub target: u8,
    pub lun: u8,
    pub reserved: u8,
    pub padding: u32,
}

layout!(Btl8, 16, { kind: 0, port: 2, address_length: 4, path: 8, target: 9, lun: 10, reserved: 11 });

/// SRBEX_DATA_SCSI_CDB32; SRBEX_DATA_SCSI_CDB16 is the same with a CDB of 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct SrbExCdb {
    pub kind: u32,
    pub length: u32,
    pub scsi_status: u8,
    pub sense_info_buffer_length: u8,
    pub cdb_length: u8,
    pub reserved: u8,
    pub reserved1: u32,
    pub sense_info_buffer: u64,
    pub cdb: [u8; 32],
}

layout!(SrbExCdb, 56, {
    kind: 0, length: 4, scsi_status: 8, sense_info_buffer_length: 9, cdb_length: 10, sense_info_buffer: 16, cdb: 24,
});

/// Offset of the extended data in the block.
pub const EX_DATA_AT: u32 = 144;

/// What requests of other functions than EXECUTE_SCSI carry besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// SRB_FUNCTION_PNP: the action, and whether it is about the adapter
    /// (ns-storport-_srbex_data_pnp.md, ns-storport-_scsi_pnp_request_block.md).
    Pnp {
        /// STOR_PNP_ACTION.
        action: u32,
        /// About the adapter, not one unit.
        adapter: bool,
    },
    /// SRB_FUNCTION_POWER (ns-storport-_srbex_data_power.md, ns-storport-_scsi_power_request_block.md).
    Power {
        /// STOR_DEVICE_POWER_STATE.
        state: u32,
        /// STOR_POWER_ACTION.
        action: u32,
        /// About the adapter, not one unit.
        adapter: bool,
    },
    /// SRB_FUNCTION_WMI (ns-storport-_srbex_data_wmi.md, ns-storport-_scsi_wmi_request_block.md).
    Wmi {
        /// IRP_MN_… of the WMI request.
        sub_function: u8,
        /// About the adapter, not one unit.
        adapter: bool,
        /// DataPath.
        path: u64,
    },
    /// SRB_FUNCTION_ABORT_COMMAND (ns-srb-_scsi_request_block.md): the request that NextSrb names.
    Abort {
        /// Its SRB.
        srb: u64,
        /// Its number, which the miniport does not get: the SRB's memory is used again.
        tag: u32,
    },
}

impl Extra {
    /// NextSrb.
    fn next_srb(self) -> u64 {
        match self {
            Extra::Abort { srb, .. } => srb,
            _ => 0,
        }
    }

    /// The extended data block: Type, Length, and what follows, as 24 bytes.
    pub fn block(self) -> Option<[u32; 6]> {
        // Length counts what follows Type and Length.
        const LENGTH: u32 = 16;
        match self {
            Extra::None | Extra::Abort { .. } => None,
            Extra::Pnp { action, adapter } => {
                let flags = if adapter { SRB_PNP_FLAGS_ADAPTER_REQUEST } else { 0 };
                Some([SRBEX_PNP, LENGTH, 0, action, flags, 0])
            }
            Extra::Power { state, action, adapter } => {
                let flags = if adapter { u32::from(SRB_POWER_FLAGS_ADAPTER_REQUEST) } else { 0 };
                Some([SRBEX_POWER, LENGTH, flags, state, action, 0])
            }
            Extra::Wmi { sub_function, adapter, path } => {
                let flags = if adapter { u32::from(SRB_WMI_FLAGS_ADAPTER_REQUEST) } else { 0 };
                let head = u32::from(sub_function) | flags << 8;
                Some([SRBEX_WMI, LENGTH, head, 0, path as u32, (path >> 32) as u32])
            }
        }
    }
}

/// Everything Storport knows about a request when it fills the block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill {
    /// SRB function, for instance [`SRB_FUNCTION_EXECUTE_SCSI`].
    pub function: u8,
    /// Path, target, LUN.
    pub address: (u8, u8, u8),
    /// CDB bytes; the rest is zero.
    pub cdb: [u8; 32],
    /// CDB length, at most 32.
    pub cdb_length: u8,
    /// SRB_FLAGS_*.
    pub flags: u32,
    /// Data transfer length in bytes.
    pub length: u32,
    /// The driver's virtual address of the data, or 0.
    pub data_buffer: u64,
    /// Virtual address of the sense buffer, or 0.
    pub sense_buffer: u64,
    /// Size of the sense buffer in bytes.
    pub sense_length: u8,
    /// Virtual address of the SRB extension, or 0.
    pub extension: u64,
    /// Request tag.
    pub tag: u32,
    /// Time-out in seconds.
    pub timeout: u32,
    /// What a function other than EXECUTE_SCSI carries.
    pub extra: Extra,
}

/// Fills the old block. A CDB of more than 16 bytes does not fit: `None`.
pub fn scsi_request_block(fill: &Fill) -> Option<ScsiRequestBlock> {
    let mut cdb = [0; 16];
    cdb.copy_from_slice(&fill.cdb[..16]);
    let block = ScsiRequestBlock {
        length: 88,
        function: fill.function,
        path_id: fill.address.0,
        target_id: fill.address.1,
        lun: fill.address.2,
        queue_tag: fill.tag as u8,
        queue_action: SRB_SIMPLE_TAG_REQUEST,
        cdb_length: fill.cdb_length,
        sense_info_buffer_length: fill.sense_length,
        srb_flags: fill.flags,
        data_transfer_length: fill.length,
        time_out_value: fill.timeout,
        data_buffer: fill.data_buffer,
        sense_info_buffer: fill.sense_buffer,
        next_srb: fill.extra.next_srb(),
        srb_extension: fill.extension,
        cdb,
        ..ScsiRequestBlock::default()
    };
    let block = match fill.extra {
        Extra::None | Extra::Abort { .. } => block,
        // The blocks of these functions put other members into the same places.
        Extra::Pnp { action, adapter } => {
            let flags = if adapter { SRB_PNP_FLAGS_ADAPTER_REQUEST } else { 0 };
            ScsiRequestBlock { scsi_status: 0, internal_status: flags, ..at_8(block, action) }
        }
        Extra::Power { state, action, adapter } => {
            let flags = if adapter { SRB_POWER_FLAGS_ADAPTER_REQUEST } else { 0 };
            ScsiRequestBlock { scsi_status: flags, internal_status: action, ..at_8(block, state) }
        }
        Extra::Wmi { sub_function, adapter, path } => {
            let flags = if adapter { SRB_WMI_FLAGS_ADAPTER_REQUEST } else { 0 };
            ScsiRequestBlock {
                scsi_status: sub_function,
                sense_info_buffer: path,
                ..at_8(block, u32::from(flags) << 8)
            }
        }
    };
    (fill.cdb_length <= 16).then_some(block)
}

/// Puts a word where QueueTag to SenseInfoBufferLength are.
fn at_8(block: ScsiRequestBlock, word: u32) -> ScsiRequestBlock {
    let [queue_tag, queue_action, cdb_length, sense_info_buffer_length] = word.to_le_bytes();
    ScsiRequestBlock { queue_tag, queue_action, cdb_length, sense_info_buffer_length, ..block }
}

/// Fills the extended block. SRB_FUNCTION_EXECUTE_SCSI carries CDB data; what others carry ([`Extra::block`]) goes to the
/// same place, [`EX_DATA_AT`].
pub fn storage_request_block(fill: &Fill) -> StorageRequestBlock {
    let scsi = fill.function == SRB_FUNCTION_EXECUTE_SCSI;
    let has_data = scsi || fill.extra.block().is_some();
    let wide = fill.cdb_length > 16;
    let cdb = SrbExCdb {
        kind: if wide { SRBEX_SCSI_CDB32 } else { SRBEX_SCSI_CDB16 },
        // Length counts what follows the Type and Length members (ns-srb-_srbex_data.md).
        length: if wide { 48 } else { 32 },
        sense_info_buffer_length: fill.sense_length,
        cdb_length: fill.cdb_length,
        sense_info_buffer: fill.sense_buffer,
        cdb: fill.cdb,
        ..SrbExCdb::default()
    };
    StorageRequestBlock {
        // The old header's Length is the size of the fixed part so that both kinds can be told apart by Function.
        length: 128,
        function: SRB_FUNCTION_STORAGE_REQUEST_BLOCK,
        signature: SRB_SIGNATURE,
        version: 1,
        srb_length: match (scsi, wide) {
            (true, true) => 200,
            (true, false) => 184,
            (false, _) if has_data => 168,
            (false, _) => 144,
        },
        srb_function: u32::from(fill.function),
        srb_flags: fill.flags,
        request_tag: fill.tag,
        request_attribute: u16::from(SRB_SIMPLE_TAG_REQUEST),
        time_out_value: fill.timeout,
        address_offset: 128,
        num_srb_ex_data: u32::from(has_data),
        data_transfer_length: fill.length,
        data_buffer: fill.data_buffer,
        miniport_context: fill.extension,
        next_srb: fill.extra.next_srb(),
        srb_ex_data_offset: [if has_data { EX_DATA_AT } else { 0 }, 0],
        address: Btl8 {
            kind: STOR_ADDRESS_TYPE_BTL8,
            address_length: 4,
            path: fill.address.0,
            target: fill.address.1,
            lun: fill.address.2,
            ..Btl8::default()
        },
        cdb: if scsi { cdb } else { SrbExCdb::default() },
        ..StorageRequestBlock::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cdb_length: u8) -> Fill {
        Fill {
            address: (0, 3, 7),
            cdb: [0x28; 32],
            cdb_length,
            length: 4096,
            extension: 0x1000,
            ..Fill::default()
        }
    }

    #[test]
    fn a_storage_request_block_points_to_its_address_and_cdb() {
        let srb = storage_request_block(&sample(10));
        assert_eq!(srb.address, Btl8 { kind: 1, address_length: 4, target: 3, lun: 7, ..Btl8::default() });
        assert_eq!((srb.address_offset, srb.srb_ex_data_offset[0], srb.num_srb_ex_data), (128, 144, 1));
        assert_eq!((srb.cdb.kind, srb.cdb.cdb_length, srb.srb_length), (0x40, 10, 184));
        assert_eq!(srb.miniport_context, 0x1000);
    }

    #[test]
    fn a_long_cdb_gets_the_wide_block() {
        let srb = storage_request_block(&sample(32));
        assert_eq!((srb.cdb.kind, srb.cdb.length, srb.srb_length), (0x41, 48, 200));
    }

    #[test]
    fn a_reset_carries_no_cdb() {
        let fill = Fill { function: SRB_FUNCTION_RESET_BUS, ..sample(0) };
        let srb = storage_request_block(&fill);
        assert_eq!((srb.num_srb_ex_data, srb.srb_function, srb.srb_length), (0, 0x12, 144));
    }

    #[test]
    fn an_abort_names_its_request_in_both_kinds_of_block() {
        let extra = Extra::Abort { srb: 0x5000, tag: 9 };
        let fill = Fill { function: SRB_FUNCTION_ABORT_COMMAND, extra, ..sample(0) };

        let srb = storage_request_block(&fill);
        let old = scsi_request_block(&fill).unwrap();

        assert_eq!(
            (srb.next_srb, srb.srb_function, srb.num_srb_ex_data, srb.srb_length),
            (0x5000, 0x10, 0, 144)
        );
        assert_eq!((old.next_srb, old.function), (0x5000, 0x10));
    }

    #[test]
    fn a_pnp_request_has_its_action_in_both_kinds_of_block() {
        let extra = Extra::Pnp { action: STOR_SURPRISE_REMOVAL, adapter: true };
        let fill = Fill { function: SRB_FUNCTION_PNP, extra, ..sample(0) };

        let srb = storage_request_block(&fill);
        let old = scsi_request_block(&fill).unwrap();

        assert_eq!((srb.num_srb_ex_data, srb.srb_ex_data_offset[0], srb.srb_length), (1, 144, 168));
        assert_eq!(extra.block().unwrap(), [0x62, 16, 0, 0x17, 1, 0]);
        // PnPAction at 8, SrbPnPFlags at 64.
        assert_eq!((old.queue_tag, old.queue_action, old.internal_status), (0x17, 0, 1));
    }

    #[test]
    fn the_old_block_refuses_a_long_cdb() {
        assert!(scsi_request_block(&sample(32)).is_none());
        assert_eq!(scsi_request_block(&sample(16)).unwrap().cdb, [0x28; 16]);
    }
}
