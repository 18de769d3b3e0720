/* Requests as the port driver hands them to a storport miniport, of both kinds: SCSI_REQUEST_BLOCK, used in dump mode,
   and STORAGE_REQUEST_BLOCK. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

#include <wdm.h>

/* SrbFunction, or Function of the old kind. */
#define SRB_FUNCTION_EXECUTE_SCSI 0x0
#define SRB_FUNCTION_CLAIM_DEVICE 0x1
#define SRB_FUNCTION_IO_CONTROL 0x2
#define SRB_FUNCTION_RECEIVE_EVENT 0x3
#define SRB_FUNCTION_RELEASE_QUEUE 0x4
#define SRB_FUNCTION_ATTACH_DEVICE 0x5
#define SRB_FUNCTION_RELEASE_DEVICE 0x6
#define SRB_FUNCTION_SHUTDOWN 0x7
#define SRB_FUNCTION_FLUSH 0x8
#define SRB_FUNCTION_PROTOCOL_COMMAND 0x9
#define SRB_FUNCTION_ABORT_COMMAND 0x10
#define SRB_FUNCTION_RELEASE_RECOVERY 0x11
#define SRB_FUNCTION_RESET_BUS 0x12
#define SRB_FUNCTION_RESET_DEVICE 0x13
#define SRB_FUNCTION_TERMINATE_IO 0x14
#define SRB_FUNCTION_FLUSH_QUEUE 0x15
#define SRB_FUNCTION_REMOVE_DEVICE 0x16
#define SRB_FUNCTION_WMI 0x17
#define SRB_FUNCTION_LOCK_QUEUE 0x18
#define SRB_FUNCTION_UNLOCK_QUEUE 0x19
#define SRB_FUNCTION_QUIESCE_DEVICE 0x1A
#define SRB_FUNCTION_RESET_LOGICAL_UNIT 0x20
#define SRB_FUNCTION_SET_LINK_TIMEOUT 0x21
#define SRB_FUNCTION_LINK_TIMEOUT_OCCURRED 0x22
#define SRB_FUNCTION_LINK_TIMEOUT_COMPLETE 0x23
#define SRB_FUNCTION_POWER 0x24
#define SRB_FUNCTION_PNP 0x25
#define SRB_FUNCTION_DUMP_POINTERS 0x26
#define SRB_FUNCTION_FREE_DUMP_POINTERS 0x27
#define SRB_FUNCTION_STORAGE_REQUEST_BLOCK 0x28

/* SrbStatus: a status in the low six bits, and two flags. */
#define SRB_STATUS_PENDING 0x0
#define SRB_STATUS_SUCCESS 0x1
#define SRB_STATUS_ABORTED 0x2
#define SRB_STATUS_ABORT_FAILED 0x3
#define SRB_STATUS_ERROR 0x4
#define SRB_STATUS_BUSY 0x5
#define SRB_STATUS_INVALID_REQUEST 0x6
#define SRB_STATUS_INVALID_PATH_ID 0x7
#define SRB_STATUS_NO_DEVICE 0x8
#define SRB_STATUS_TIMEOUT 0x9
#define SRB_STATUS_SELECTION_TIMEOUT 0xA
#define SRB_STATUS_COMMAND_TIMEOUT 0xB
#define SRB_STATUS_MESSAGE_REJECTED 0xD
#define SRB_STATUS_BUS_RESET 0xE
#define SRB_STATUS_PARITY_ERROR 0xF
#define SRB_STATUS_REQUEST_SENSE_FAILED 0x10
#define SRB_STATUS_NO_HBA 0x11
#define SRB_STATUS_DATA_OVERRUN 0x12
#define SRB_STATUS_UNEXPECTED_BUS_FREE 0x13
#define SRB_STATUS_PHASE_SEQUENCE_FAILURE 0x14
#define SRB_STATUS_BAD_SRB_BLOCK_LENGTH 0x15
#define SRB_STATUS_REQUEST_FLUSHED 0x16
#define SRB_STATUS_INVALID_LUN 0x20
#define SRB_STATUS_INVALID_TARGET_ID 0x21
#define SRB_STATUS_BAD_FUNCTION 0x22
#define SRB_STATUS_ERROR_RECOVERY 0x23
#define SRB_STATUS_NOT_POWERED 0x24
#define SRB_STATUS_LINK_DOWN 0x25
#define SRB_STATUS_INTERNAL_ERROR 0x30
#define SRB_STATUS_QUEUE_FROZEN 0x40
#define SRB_STATUS_AUTOSENSE_VALID 0x80
#define SRB_STATUS(Status) (Status & ~(SRB_STATUS_AUTOSENSE_VALID | SRB_STATUS_QUEUE_FROZEN))

/* SrbFlags. */
#define SRB_FLAGS_QUEUE_ACTION_ENABLE 0x2
#define SRB_FLAGS_DISABLE_DISCONNECT 0x4
#define SRB_FLAGS_DISABLE_SYNCH_TRANSFER 0x8
#define SRB_FLAGS_BYPASS_FROZEN_QUEUE 0x10
#define SRB_FLAGS_DISABLE_AUTOSENSE 0x20
#define SRB_FLAGS_DATA_IN 0x40
#define SRB_FLAGS_DATA_OUT 0x80
#define SRB_FLAGS_NO_DATA_TRANSFER 0x0
#define SRB_FLAGS_UNSPECIFIED_DIRECTION 0xC0
#define SRB_FLAGS_NO_QUEUE_FREEZE 0x100
#define SRB_FLAGS_ADAPTER_CACHE_ENABLE 0x200
#define SRB_FLAGS_FREE_SENSE_BUFFER 0x400
#define SRB_FLAGS_D3_PROCESSING 0x800
#define SRB_FLAGS_IS_ACTIVE 0x10000
#define SRB_FLAGS_ALLOCATED_FROM_ZONE 0x20000
#define SRB_FLAGS_SGLIST_FROM_POOL 0x40000
#define SRB_FLAGS_BYPASS_LOCKED_QUEUE 0x80000
#define SRB_FLAGS_NO_KEEP_AWAKE 0x100000
#define SRB_FLAGS_PORT_DRIVER_ALLOCSENSE 0x200000
#define SRB_FLAGS_PORT_DRIVER_SENSEHASPORT 0x400000
#define SRB_FLAGS_DONT_START_NEXT_PACKET 0x800000
#define SRB_FLAGS_PORT_DRIVER_RESERVED 0xF000000
#define SRB_FLAGS_CLASS_DRIVER_RESERVED 0xF0000000

/* RequestAttribute, or QueueAction of the old kind. */
#define SRB_SIMPLE_TAG_REQUEST 0x20
#define SRB_HEAD_OF_QUEUE_TAG_REQUEST 0x21
#define SRB_ORDERED_QUEUE_TAG_REQUEST 0x22

#define SRB_WMI_FLAGS_ADAPTER_REQUEST 0x1
#define SRB_POWER_FLAGS_ADAPTER_REQUEST 0x1
#define SRB_PNP_FLAGS_ADAPTER_REQUEST 0x1
#define SRB_IOCTL_FLAGS_ADAPTER_REQUEST 0x1

#define SRB_TYPE_SCSI_REQUEST_BLOCK 0x0
#define SRB_TYPE_STORAGE_REQUEST_BLOCK 0x1
#define SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK 0x1
#define SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK 0x2
#define ADDRESS_TYPE_FLAG_BTL8 0x1

#define SRBEX_DATA_SCSI_CDB_VAR_LENGTH_MAX 0xFFFFFFFF
#define SRB_SIGNATURE 0x53524258
#define STORAGE_REQUEST_BLOCK_VERSION_1 0x1

#define REQUEST_INFO_NO_CACHE_FLAG 0x1
#define REQUEST_INFO_PAGING_IO_FLAG 0x2
#define REQUEST_INFO_SEQUENTIAL_IO_FLAG 0x4
#define REQUEST_INFO_TEMPORARY_FLAG 0x8
#define REQUEST_INFO_WRITE_THROUGH_FLAG 0x10
#define REQUEST_INFO_HYBRID_WRITE_THROUGH_FLAG 0x20
#define REQUEST_INFO_NO_FILE_OBJECT_FLAG 0x40
#define REQUEST_INFO_VOLSNAP_IO_FLAG 0x80
#define REQUEST_INFO_STREAM_FLAG 0x100
#define REQUEST_INFO_VALID_CACHEPRIORITY_FLAG 0x80000000

/* ScsiStatus: the status byte of the SCSI architecture. */
#define SCSISTAT_GOOD 0x0
#define SCSISTAT_CHECK_CONDITION 0x2
#define SCSISTAT_CONDITION_MET 0x4
#define SCSISTAT_BUSY 0x8
#define SCSISTAT_INTERMEDIATE 0x10
#define SCSISTAT_INTERMEDIATE_COND_MET 0x14
#define SCSISTAT_RESERVATION_CONFLICT 0x18
#define SCSISTAT_COMMAND_TERMINATED 0x22
#define SCSISTAT_QUEUE_FULL 0x28

#define STORAGE_ADDRESS_TYPE_BTL8 0

#define STOR_ADDRESS_TYPE_UNKNOWN 0x0
#define STOR_ADDRESS_TYPE_BTL8 0x1
#define STOR_ADDRESS_TYPE_MAX 0xFFFF
#define STOR_ADDR_BTL8_ADDRESS_LENGTH 0x4

/* Address of a unit: the head that all kinds have, then the only kind there is. */
typedef struct DECLSPEC_ALIGN(8) _STOR_ADDRESS {
    USHORT Type;
    USHORT Port;
    ULONG AddressLength;
    UCHAR AddressData[1];
} STOR_ADDRESS, *PSTOR_ADDRESS;

typedef struct DECLSPEC_ALIGN(8) _STOR_ADDR_BTL8 {
    USHORT Type;
    USHORT Port;
    ULONG AddressLength;
    UCHAR Path;
    UCHAR Target;
    UCHAR Lun;
    UCHAR Reserved;
} STOR_ADDR_BTL8, *PSTOR_ADDR_BTL8;

typedef enum _STOR_DEVICE_POWER_STATE {
    StorPowerDeviceUnspecified = 0,
    StorPowerDeviceD0 = 1,
    StorPowerDeviceD1 = 2,
    StorPowerDeviceD2 = 3,
    StorPowerDeviceD3 = 4,
    StorPowerDeviceMaximum = 5,
} STOR_DEVICE_POWER_STATE, *PSTOR_DEVICE_POWER_STATE;

typedef enum {
    StorPowerActionNone = 0,
    StorPowerActionReserved = 1,
    StorPowerActionSleep = 2,
    StorPowerActionHibernate = 3,
    StorPowerActionShutdown = 4,
    StorPowerActionShutdownReset = 5,
    StorPowerActionShutdownOff = 6,
    StorPowerActionWarmEject = 7,
} STOR_POWER_ACTION, *PSTOR_POWER_ACTION;

typedef enum {
    StorStartDevice = 0x0,
    StorRemoveDevice = 0x2,
    StorStopDevice = 0x4,
    StorQueryCapabilities = 0x9,
    StorQueryResourceRequirements = 0xB,
    StorFilterResourceRequirements = 0xD,
    StorSurpriseRemoval = 0x17,
} STOR_PNP_ACTION, *PSTOR_PNP_ACTION;

typedef struct _SCSI_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR ScsiStatus;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    UCHAR QueueTag;
    UCHAR QueueAction;
    UCHAR CdbLength;
    UCHAR SenseInfoBufferLength;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    struct _SCSI_REQUEST_BLOCK *NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    union {
        ULONG InternalStatus;
        ULONG QueueSortKey;
        ULONG LinkTimeoutValue;
    };
    ULONG Reserved;
    UCHAR Cdb[16];
} SCSI_REQUEST_BLOCK, *PSCSI_REQUEST_BLOCK;

typedef struct _SCSI_POWER_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR SrbPowerFlags;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    STOR_DEVICE_POWER_STATE DevicePowerState;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    struct _SCSI_REQUEST_BLOCK *NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    STOR_POWER_ACTION PowerAction;
    ULONG Reserved;
    UCHAR Reserved5[16];
} SCSI_POWER_REQUEST_BLOCK, *PSCSI_POWER_REQUEST_BLOCK;

typedef struct _SCSI_PNP_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR PnPSubFunction;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    STOR_PNP_ACTION PnPAction;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    struct _SCSI_REQUEST_BLOCK *NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    ULONG SrbPnPFlags;
    ULONG Reserved;
    UCHAR Reserved4[16];
} SCSI_PNP_REQUEST_BLOCK, *PSCSI_PNP_REQUEST_BLOCK;

typedef struct _SCSI_WMI_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR WMISubFunction;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    UCHAR Reserved1;
    UCHAR WMIFlags;
    UCHAR Reserved2[2];
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID DataPath;
    PVOID Reserved3;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    ULONG Reserved4;
    ULONG Reserved6;
    UCHAR Reserved5[16];
} SCSI_WMI_REQUEST_BLOCK, *PSCSI_WMI_REQUEST_BLOCK;

/* Parts of a STORAGE_REQUEST_BLOCK, found through SrbExDataOffset. All begin as SRBEX_DATA does. */
typedef enum _SRBEXDATATYPE {
    SrbExDataTypeUnknown = 0,
    SrbExDataTypeBidirectional = 1,
    SrbExDataTypeScsiCdb16 = 64,
    SrbExDataTypeScsiCdb32 = 65,
    SrbExDataTypeScsiCdbVar = 66,
    SrbExDataTypeWmi = 96,
    SrbExDataTypePower = 97,
    SrbExDataTypePnP = 98,
    SrbExDataTypeIoInfo = 128,
    SrbExDataTypeMSReservedStart = (int)0xF0000000,
    SrbExDataTypeReserved = -1,
} SRBEXDATATYPE, *PSRBEXDATATYPE;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR Data[1];
} SRBEX_DATA, *PSRBEX_DATA;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_BIDIRECTIONAL {
    SRBEXDATATYPE Type;
    ULONG Length;
    ULONG DataInTransferLength;
    ULONG Reserved1;
    PVOID POINTER_ALIGN DataInBuffer;
} SRBEX_DATA_BIDIRECTIONAL, *PSRBEX_DATA_BIDIRECTIONAL;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_SCSI_CDB16 {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR CdbLength;
    UCHAR Reserved;
    ULONG Reserved1;
    PVOID POINTER_ALIGN SenseInfoBuffer;
    UCHAR POINTER_ALIGN Cdb[16];
} SRBEX_DATA_SCSI_CDB16, *PSRBEX_DATA_SCSI_CDB16;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_SCSI_CDB32 {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR CdbLength;
    UCHAR Reserved;
    ULONG Reserved1;
    PVOID POINTER_ALIGN SenseInfoBuffer;
    UCHAR POINTER_ALIGN Cdb[32];
} SRBEX_DATA_SCSI_CDB32, *PSRBEX_DATA_SCSI_CDB32;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_SCSI_CDB_VAR {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR Reserved[2];
    ULONG CdbLength;
    ULONG Reserved1[2];
    PVOID POINTER_ALIGN SenseInfoBuffer;
    UCHAR POINTER_ALIGN Cdb[1];
} SRBEX_DATA_SCSI_CDB_VAR, *PSRBEX_DATA_SCSI_CDB_VAR;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_WMI {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR WMISubFunction;
    UCHAR WMIFlags;
    UCHAR Reserved[2];
    ULONG Reserved1;
    PVOID POINTER_ALIGN DataPath;
} SRBEX_DATA_WMI, *PSRBEX_DATA_WMI;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_POWER {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR SrbPowerFlags;
    UCHAR Reserved[3];
    STOR_DEVICE_POWER_STATE DevicePowerState;
    STOR_POWER_ACTION PowerAction;
} SRBEX_DATA_POWER, *PSRBEX_DATA_POWER;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_PNP {
    SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR PnPSubFunction;
    UCHAR Reserved[3];
    STOR_PNP_ACTION PnPAction;
    ULONG SrbPnPFlags;
    ULONG Reserved1;
} SRBEX_DATA_PNP, *PSRBEX_DATA_PNP;

typedef struct DECLSPEC_ALIGN(8) _SRBEX_DATA_IO_INFO {
    SRBEXDATATYPE Type;
    ULONG Length;
    ULONG Flags;
    ULONG Key;
    ULONG RWLength;
    BOOLEAN IsWriteRequest;
    UCHAR CachePriority;
    UCHAR Reserved[2];
    ULONG Reserved1[2];
} SRBEX_DATA_IO_INFO, *PSRBEX_DATA_IO_INFO;

typedef struct DECLSPEC_ALIGN(8) _STORAGE_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR ReservedUchar[4];
    ULONG Signature;
    ULONG Version;
    ULONG SrbLength;
    ULONG SrbFunction;
    ULONG SrbFlags;
    ULONG ReservedUlong;
    ULONG RequestTag;
    USHORT RequestPriority;
    USHORT RequestAttribute;
    ULONG TimeOutValue;
    ULONG SystemStatus;
    ULONG ZeroGuard1;
    ULONG AddressOffset;
    ULONG NumSrbExData;
    ULONG DataTransferLength;
    PVOID POINTER_ALIGN DataBuffer;
    PVOID POINTER_ALIGN ZeroGuard2;
    PVOID POINTER_ALIGN OriginalRequest;
    PVOID POINTER_ALIGN ClassContext;
    PVOID POINTER_ALIGN PortContext;
    PVOID POINTER_ALIGN MiniportContext;
    struct _STORAGE_REQUEST_BLOCK POINTER_ALIGN *NextSrb;
    ULONG SrbExDataOffset[1];
} STORAGE_REQUEST_BLOCK, *PSTORAGE_REQUEST_BLOCK;

typedef struct DECLSPEC_ALIGN(8) _STORAGE_REQUEST_BLOCK_HEADER {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
} STORAGE_REQUEST_BLOCK_HEADER, *PSTORAGE_REQUEST_BLOCK_HEADER;
