/* The interface between a storport miniport and the port driver. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

#include <wdm.h>

#include <srb.h>

#define STORPORT_API __declspec(dllimport)

typedef PHYSICAL_ADDRESS STOR_PHYSICAL_ADDRESS, *PSTOR_PHYSICAL_ADDRESS;

#define SCSI_MAXIMUM_BUSES_PER_ADAPTER 255
#define SCSI_MAXIMUM_TARGETS_PER_BUS 128
#define SCSI_MAXIMUM_LUNS_PER_TARGET 255
#define SCSI_MINIMUM_PHYSICAL_BREAKS 16
#define SCSI_MAXIMUM_PHYSICAL_BREAKS 255
#define SCSI_MAXIMUM_BUSES 8
#define SCSI_MAXIMUM_TARGETS 8
#define SCSI_MAXIMUM_LOGICAL_UNITS 8

/* What HwStorFindAdapter returns. */
#define SP_RETURN_NOT_FOUND 0x0
#define SP_RETURN_FOUND 0x1
#define SP_RETURN_ERROR 0x2
#define SP_RETURN_BAD_CONFIG 0x3

/* Error codes of StorPortLogError. */
#define SP_BUS_PARITY_ERROR 0x1
#define SP_UNEXPECTED_DISCONNECT 0x2
#define SP_INVALID_RESELECTION 0x3
#define SP_BUS_TIME_OUT 0x4
#define SP_PROTOCOL_ERROR 0x5
#define SP_INTERNAL_ADAPTER_ERROR 0x6
#define SP_REQUEST_TIMEOUT 0x7
#define SP_IRQ_NOT_RESPONDING 0x8
#define SP_BAD_FW_WARNING 0x9
#define SP_BAD_FW_ERROR 0xA
#define SP_LOST_WMI_MINIPORT_REQUEST 0xB

/* What StorPortExtendedFunction returns. */
#define STOR_STATUS_SUCCESS 0x0
#define STOR_STATUS_UNSUCCESSFUL 0xC1000001
#define STOR_STATUS_NOT_IMPLEMENTED 0xC1000002
#define STOR_STATUS_INSUFFICIENT_RESOURCES 0xC1000003
#define STOR_STATUS_BUFFER_TOO_SMALL 0xC1000004
#define STOR_STATUS_ACCESS_DENIED 0xC1000005
#define STOR_STATUS_INVALID_PARAMETER 0xC1000006
#define STOR_STATUS_INVALID_DEVICE_REQUEST 0xC1000007
#define STOR_STATUS_INVALID_IRQL 0xC1000008
#define STOR_STATUS_INVALID_DEVICE_STATE 0xC1000009
#define STOR_STATUS_INVALID_BUFFER_SIZE 0xC100000A
#define STOR_STATUS_UNSUPPORTED_VERSION 0xC100000B
#define STOR_STATUS_BUSY 0xC100000C

/* MapBuffers. */
#define STOR_MAP_NO_BUFFERS 0x0
#define STOR_MAP_ALL_BUFFERS 0x1
#define STOR_MAP_NON_READ_WRITE_BUFFERS 0x2
#define STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE 0x3

/* FeatureSupport of HW_INITIALIZATION_DATA, then that of PORT_CONFIGURATION_INFORMATION. */
#define STOR_FEATURE_VIRTUAL_MINIPORT 0x1
#define STOR_FEATURE_ATA_PASS_THROUGH 0x2
#define STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES 0x4
#define STOR_FEATURE_DUMP_POINTERS 0x8
#define STOR_FEATURE_DEVICE_NAME_NO_SUFFIX 0x10
#define STOR_FEATURE_DUMP_RESUME_CAPABLE 0x20
#define STOR_FEATURE_DEVICE_DESCRIPTOR_FROM_ATA_INFO_VPD 0x40
#define STOR_FEATURE_EXTRA_IO_INFORMATION 0x80
#define STOR_FEATURE_ADAPTER_CONTROL_PRE_FINDADAPTER 0x100
#define STOR_FEATURE_ADAPTER_NOT_REQUIRE_IO_PORT 0x200
#define STOR_FEATURE_DUMP_16_BYTE_ALIGNMENT 0x400
#define STOR_FEATURE_SET_ADAPTER_INTERFACE_TYPE 0x800

#define STOR_ADAPTER_FEATURE_STOP_UNIT_DURING_POWER_DOWN 0x2
#define STOR_ADAPTER_UNCACHED_EXTENSION_NUMA_NODE_PREFERRED 0x4
#define STOR_ADAPTER_DMA_V3_PREFERRED 0x8
#define STOR_ADAPTER_FEATURE_ABORT_COMMAND 0x10
#define STOR_ADAPTER_FEATURE_RICH_TEMPERATURE_THRESHOLD 0x20

/* Dma64BitAddresses. */
#define SCSI_DMA64_SYSTEM_SUPPORTED 0x80
#define SCSI_DMA64_MINIPORT_SUPPORTED 0x1
#define SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED 0x2
#define SCSI_DMA64_MINIPORT_FULL64BIT_NO_BOUNDARY_REQ_SUPPORTED 0x3
#define SCSI_DMA64_MINIPORT_64BIT_ONE_4GB_SUPPORTED 0x4

/* DumpMode. */
#define DUMP_MODE_CRASH 0x1
#define DUMP_MODE_HIBER 0x2
#define DUMP_MODE_MARK_MEMORY 0x3
#define DUMP_MODE_RESUME 0x4

#define DUMP_MINIPORT_VERSION_1 0x100
#define DUMP_MINIPORT_VERSION 0x200
#define DUMP_MINIPORT_NAME_LENGTH 0xF

/* StorPortInitializePerfOpts. */
#define STOR_PERF_DPC_REDIRECTION 0x1
#define STOR_PERF_CONCURRENT_CHANNELS 0x2
#define STOR_PERF_INTERRUPT_MESSAGE_RANGES 0x4
#define STOR_PERF_ADV_CONFIG_LOCALITY 0x8
#define STOR_PERF_OPTIMIZE_FOR_COMPLETION_DURING_STARTIO 0x10
#define STOR_PERF_DPC_REDIRECTION_CURRENT_CPU 0x20
#define STOR_PERF_NO_SGL 0x40
#define STOR_PERF_VERSION_2 0x2
#define STOR_PERF_VERSION_3 0x3
#define STOR_PERF_VERSION_4 0x4
#define STOR_PERF_VERSION_5 0x5
#define STOR_PERF_VERSION 0x5

#define STOR_DEVICE_CAPABILITIES_EX_VERSION_1 0x1
#define STATE_CHANGE_LUN 0x1
#define STATE_CHANGE_TARGET 0x2
#define STATE_CHANGE_BUS 0x4
#define RAID_ASYNC_NOTIFY_FLAG_MEDIA_STATUS 0x1
#define RAID_ASYNC_NOTIFY_FLAG_DEVICE_STATUS 0x2
#define RAID_ASYNC_NOTIFY_FLAG_DEVICE_OPERATION 0x4
#define RAID_ASYNC_NOTIFY_SUPPORTED_FLAGS 0x7
#define STOR_CURRENT_LOG_INTERFACE_REVISION 0x100
#define MARK_DUMP_MEMORY_FLAG_PHYSICAL_ADDRESS 0x1
#define MINIPORT_REG_SZ 0x1
#define MINIPORT_REG_BINARY 0x3
#define MINIPORT_REG_DWORD 0x4
#define MINIPORT_REG_MULTI_SZ 0x7

#define STORPORT_ETW_EVENT_KEYWORD_IO 0x1
#define STORPORT_ETW_EVENT_KEYWORD_PERFORMANCE 0x2
#define STORPORT_ETW_EVENT_KEYWORD_POWER 0x4
#define STORPORT_ETW_EVENT_KEYWORD_ENUMERATION 0x8
#define STORPORT_ETW_EVENT_KEYWORD_COMMAND_TRACE 0x10
#define STORPORT_ETW_MAX_DESCRIPTION_LENGTH 0x20
#define STORPORT_ETW_MAX_PARAM_NAME_LENGTH 0x10
#define EVENT_BUFFER_MAX_LENGTH 0x1000
#define EVENT_NAME_MAX_LENGTH 0x20
#define EVENT_MAX_PARAM_NAME_LEN 0x20

typedef enum _STOR_SYNCHRONIZATION_MODEL {
    StorSynchronizeHalfDuplex = 0,
    StorSynchronizeFullDuplex = 1,
} STOR_SYNCHRONIZATION_MODEL;

typedef enum _INTERRUPT_SYNCHRONIZATION_MODE {
    InterruptSupportNone = 0,
    InterruptSynchronizeAll = 1,
    InterruptSynchronizePerMessage = 2,
} INTERRUPT_SYNCHRONIZATION_MODE;

typedef enum _GETSGSTATUS {
    SG_ALLOCATED = 0,
    SG_BUFFER_TOO_SMALL = 1,
} GETSGSTATUS, *PGETSGSTATUS;

typedef enum _SCSI_ADAPTER_CONTROL_TYPE {
    ScsiQuerySupportedControlTypes = 0,
    ScsiStopAdapter = 1,
    ScsiRestartAdapter = 2,
    ScsiSetBootConfig = 3,
    ScsiSetRunningConfig = 4,
    ScsiPowerSettingNotification = 5,
    ScsiAdapterPower = 6,
    ScsiAdapterPoFxPowerRequired = 7,
    ScsiAdapterPoFxPowerActive = 8,
    ScsiAdapterPoFxPowerSetFState = 9,
    ScsiAdapterPoFxPowerControl = 10,
    ScsiAdapterPrepareForBusReScan = 11,
    ScsiAdapterSystemPowerHints = 12,
    ScsiAdapterFilterResourceRequirements = 13,
    ScsiAdapterPoFxMaxOperationalPower = 14,
    ScsiAdapterPoFxSetPerfState = 15,
    ScsiAdapterSurpriseRemoval = 16,
    ScsiAdapterSerialNumber = 17,
    ScsiAdapterControlMax = 18,
    MakeAdapterControlTypeSizeOfUlong = -1,
} SCSI_ADAPTER_CONTROL_TYPE, *PSCSI_ADAPTER_CONTROL_TYPE;

typedef enum _SCSI_ADAPTER_CONTROL_STATUS {
    ScsiAdapterControlSuccess = 0,
    ScsiAdapterControlUnsuccessful = 1,
} SCSI_ADAPTER_CONTROL_STATUS, *PSCSI_ADAPTER_CONTROL_STATUS;

typedef enum _RAID_SYSTEM_POWER {
    RaidSystemPowerUnknown = 0,
    RaidSystemPowerLowest = 1,
    RaidSystemPowerLow = 2,
    RaidSystemPowerMedium = 3,
    RaidSystemPowerHigh = 4,
} RAID_SYSTEM_POWER, *PRAID_SYSTEM_POWER;

typedef enum _SCSI_UNIT_CONTROL_TYPE {
    ScsiQuerySupportedUnitControlTypes = 0,
    ScsiUnitUsage = 1,
    ScsiUnitStart = 2,
    ScsiUnitPower = 3,
    ScsiUnitPoFxPowerInfo = 4,
    ScsiUnitPoFxPowerRequired = 5,
    ScsiUnitPoFxPowerActive = 6,
    ScsiUnitPoFxPowerSetFState = 7,
    ScsiUnitPoFxPowerControl = 8,
    ScsiUnitRemove = 9,
    ScsiUnitSurpriseRemoval = 10,
    ScsiUnitRichDescription = 11,
    ScsiUnitControlMax = 12,
    MakeUnitControlTypeSizeOfUlong = -1,
} SCSI_UNIT_CONTROL_TYPE, *PSCSI_UNIT_CONTROL_TYPE;

typedef enum _SCSI_UNIT_CONTROL_STATUS {
    ScsiUnitControlSuccess = 0,
    ScsiUnitControlUnsuccessful = 1,
} SCSI_UNIT_CONTROL_STATUS, *PSCSI_UNIT_CONTROL_STATUS;

typedef enum _SCSI_UC_DEVICE_USAGE_TYPE {
    ScsiDeviceUsageTypeUndefined = 0,
    ScsiDeviceUsageTypePaging = 1,
    ScsiDeviceUsageTypeHibernation = 2,
    ScsiDeviceUsageTypeDumpFile = 3,
    ScsiDeviceUsageTypeBoot = 4,
} SCSI_UC_DEVICE_USAGE_TYPE;

typedef enum _STOR_SPINLOCK {
    DpcLock = 1,
    StartIoLock = 2,
    InterruptLock = 3,
} STOR_SPINLOCK;

typedef enum _STOR_IO_PRIORITY_HINT {
    StorIoPriorityVeryLow = 0,
    StorIoPriorityLow = 1,
    StorIoPriorityNormal = 2,
    StorIoPriorityHigh = 3,
    StorIoPriorityCritical = 4,
    StorIoMaxPriorityTypes = 5,
    StorIoMaxPriorityValue = 65535,
} STOR_IO_PRIORITY_HINT, *PSTOR_IO_PRIORITY_HINT;

/* First argument of StorPortNotification: says which further arguments follow. */
typedef enum _SCSI_NOTIFICATION_TYPE {
    RequestComplete = 0,
    NextRequest = 1,
    NextLuRequest = 2,
    ResetDetected = 3,
    _obsolete1 = 4,
    _obsolete2 = 5,
    RequestTimerCall = 6,
    BusChangeDetected = 7,
    WMIEvent = 8,
    WMIReregister = 9,
    LinkUp = 10,
    LinkDown = 11,
    QueryTickCount = 12,
    BufferOverrunDetected = 13,
    TraceNotification = 14,
    GetExtendedFunctionTable = 15,
    EnablePassiveInitialization = 0x1000,
    InitializeDpc = 0x1001,
    IssueDpc = 0x1002,
    AcquireSpinLock = 0x1003,
    ReleaseSpinLock = 0x1004,
    StateChangeDetectedCall = 0x1005,
    IoTargetRequestServiceTime = 0x1006,
    AsyncNotificationDetected = 0x1007,
} SCSI_NOTIFICATION_TYPE, *PSCSI_NOTIFICATION_TYPE;

/* First argument of StorPortExtendedFunction, likewise. */
typedef enum _STORPORT_FUNCTION_CODE {
    ExtFunctionAllocatePool = 0,
    ExtFunctionFreePool = 1,
    ExtFunctionAllocateMdl = 2,
    ExtFunctionFreeMdl = 3,
    ExtFunctionBuildMdlForNonPagedPool = 4,
    ExtFunctionGetSystemAddress = 5,
    ExtFunctionGetOriginalMdl = 6,
    ExtFunctionCompleteServiceIrp = 7,
    ExtFunctionGetDeviceObjects = 8,
    ExtFunctionBuildScatterGatherList = 9,
    ExtFunctionPutScatterGatherList = 10,
    ExtFunctionAcquireMSISpinLock = 11,
    ExtFunctionReleaseMSISpinLock = 12,
    ExtFunctionGetMessageInterruptInformation = 13,
    ExtFunctionInitializePerformanceOptimizations = 14,
    ExtFunctionGetStartIoPerformanceParameters = 15,
    ExtFunctionLogSystemEvent = 16,
    ExtFunctionGetCurrentProcessorNumber = 17,
    ExtFunctionGetActiveGroupCount = 18,
    ExtFunctionGetGroupAffinity = 19,
    ExtFunctionGetActiveNodeCount = 20,
    ExtFunctionGetNodeAffinity = 21,
    ExtFunctionGetHighestNodeNumber = 22,
    ExtFunctionGetLogicalProcessorRelationship = 23,
    ExtFunctionAllocateContiguousMemorySpecifyCacheNode = 24,
    ExtFunctionFreeContiguousMemorySpecifyCache = 25,
    ExtFunctionSetPowerSettingNotificationGuids = 26,
    ExtFunctionInvokeAcpiMethod = 27,
    ExtFunctionGetRequestInfo = 28,
    ExtFunctionInitializeWorker = 29,
    ExtFunctionQueueWorkItem = 30,
    ExtFunctionFreeWorker = 31,
    ExtFunctionInitializeTimer = 32,
    ExtFunctionRequestTimer = 33,
    ExtFunctionFreeTimer = 34,
    ExtFunctionInitializeSListHead = 35,
    ExtFunctionInterlockedFlushSList = 36,
    ExtFunctionInterlockedPopEntrySList = 37,
    ExtFunctionInterlockedPushEntrySList = 38,
    ExtFunctionQueryDepthSList = 39,
    ExtFunctionGetActivityId = 40,
    ExtFunctionGetSystemPortNumber = 41,
    ExtFunctionGetDataInBufferMdl = 42,
    ExtFunctionGetDataInBufferSystemAddress = 43,
    ExtFunctionGetDataInBufferScatterGatherList = 44,
    ExtFunctionMarkDumpMemory = 45,
    ExtFunctionSetUnitAttributes = 46,
    ExtFunctionQueryPerformanceCounter = 47,
    ExtFunctionInitializePoFxPower = 48,
    ExtFunctionPoFxActivateComponent = 49,
    ExtFunctionPoFxIdleComponent = 50,
    ExtFunctionPoFxSetComponentLatency = 51,
    ExtFunctionPoFxSetComponentResidency = 52,
    ExtFunctionPoFxPowerControl = 53,
    ExtFunctionFlushDataBufferMdl = 54,
    ExtFunctionDeviceOperationAllowed = 55,
    ExtFunctionGetProcessorIndexFromNumber = 56,
    ExtFunctionPoFxSetIdleTimeout = 57,
    ExtFunctionMiniportEtwEvent2 = 58,
    ExtFunctionMiniportEtwEvent4 = 59,
    ExtFunctionMiniportEtwEvent8 = 60,
    ExtFunctionCurrentOsInstallationUpgrade = 61,
    ExtFunctionRegistryReadAdapterKey = 62,
    ExtFunctionRegistryWriteAdapterKey = 63,
    ExtFunctionSetAdapterBusType = 64,
    ExtFunctionPoFxRegisterPerfStates = 65,
    ExtFunctionPoFxSetPerfState = 66,
    ExtFunctionGetD3ColdSupport = 67,
    ExtFunctionInitializeRpmb = 68,
    ExtFunctionAllocateHmb = 69,
    ExtFunctionFreeHmb = 70,
    ExtFunctionPropagateIrpExtension = 71,
    ExtFunctionInterlockedInsertHeadList = 72,
    ExtFunctionInterlockedInsertTailList = 73,
    ExtFunctionInterlockedRemoveHeadList = 74,
    ExtFunctionInitializeSpinlock = 75,
    ExtFunctionGetPfns = 76,
    ExtFunctionInitializeCryptoEngine = 77,
    ExtFunctionGetRequestCryptoInfo = 78,
    ExtFunctionMiniportTelemetry = 79,
    ExtFunctionUpdateAdapterMaxIO = 80,
} STORPORT_FUNCTION_CODE, *PSTORPORT_FUNCTION_CODE;

typedef enum _STOR_EVENT_ASSOCIATION_ENUM {
    StorEventAdapterAssociation = 0,
    StorEventLunAssociation = 1,
    StorEventTargetAssociation = 2,
    StorEventInvalidAssociation = 3,
} STOR_EVENT_ASSOCIATION_ENUM;

typedef enum _STORPORT_ETW_LEVEL {
    StorportEtwLevelLogAlways = 0,
    StorportEtwLevelCritical = 1,
    StorportEtwLevelError = 2,
    StorportEtwLevelWarning = 3,
    StorportEtwLevelInformational = 4,
    StorportEtwLevelVerbose = 5,
    StorportEtwLevelMax = 5,
} STORPORT_ETW_LEVEL, *PSTORPORT_ETW_LEVEL;

typedef enum _STORPORT_ETW_EVENT_OPCODE {
    StorportEtwEventOpcodeInfo = 0,
    StorportEtwEventOpcodeStart = 1,
    StorportEtwEventOpcodeStop = 2,
    StorportEtwEventOpcodeDC_Start = 3,
    StorportEtwEventOpcodeDC_Stop = 4,
    StorportEtwEventOpcodeExtension = 5,
    StorportEtwEventOpcodeReply = 6,
    StorportEtwEventOpcodeResume = 7,
    StorportEtwEventOpcodeSuspend = 8,
    StorportEtwEventOpcodeSend = 9,
    StorportEtwEventOpcodeReceive = 240,
} STORPORT_ETW_EVENT_OPCODE, *PSTORPORT_ETW_EVENT_OPCODE;

typedef struct _PORT_CONFIGURATION_INFORMATION *PPORT_CONFIGURATION_INFORMATION;
typedef struct _STOR_DPC *PSTOR_DPC;
/* A structure that a function's parameters name first is known inside that declaration only. */
struct _HW_INITIALIZATION_DATA;

typedef BOOLEAN HW_INITIALIZE(PVOID DeviceExtension);
typedef HW_INITIALIZE *PHW_INITIALIZE;
typedef BOOLEAN HW_BUILDIO(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb);
typedef HW_BUILDIO *PHW_BUILDIO;
typedef BOOLEAN HW_STARTIO(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb);
typedef HW_STARTIO *PHW_STARTIO;
typedef BOOLEAN HW_INTERRUPT(PVOID DeviceExtension);
typedef HW_INTERRUPT *PHW_INTERRUPT;
typedef VOID HW_TIMER(PVOID DeviceExtension);
typedef HW_TIMER *PHW_TIMER;
typedef VOID HW_TIMER_EX(PVOID DeviceExtension, PVOID Context);
typedef HW_TIMER_EX *PHW_TIMER_EX;
typedef ULONG HW_FIND_ADAPTER(
    PVOID DeviceExtension,
    PVOID HwContext,
    PVOID BusInformation,
    PCHAR ArgumentString,
    PPORT_CONFIGURATION_INFORMATION ConfigInfo,
    PBOOLEAN Reserved3);
typedef HW_FIND_ADAPTER *PHW_FIND_ADAPTER;
typedef VOID HW_DMA_STARTED(PVOID DeviceExtension);
typedef HW_DMA_STARTED *PHW_DMA_STARTED;
typedef BOOLEAN HW_ADAPTER_STATE(PVOID DeviceExtension, PVOID Context, BOOLEAN SaveState);
typedef HW_ADAPTER_STATE *PHW_ADAPTER_STATE;
typedef BOOLEAN HW_RESET_BUS(PVOID DeviceExtension, ULONG PathId);
typedef HW_RESET_BUS *PHW_RESET_BUS;
typedef SCSI_ADAPTER_CONTROL_STATUS HW_ADAPTER_CONTROL(
    PVOID DeviceExtension,
    SCSI_ADAPTER_CONTROL_TYPE ControlType,
    PVOID Parameters);
typedef HW_ADAPTER_CONTROL *PHW_ADAPTER_CONTROL;
typedef SCSI_UNIT_CONTROL_STATUS HW_UNIT_CONTROL(
    PVOID DeviceExtension,
    SCSI_UNIT_CONTROL_TYPE ControlType,
    PVOID Parameters);
typedef HW_UNIT_CONTROL *PHW_UNIT_CONTROL;
typedef VOID HW_FREE_ADAPTER_RESOURCES(PVOID DeviceExtension);
typedef HW_FREE_ADAPTER_RESOURCES *PHW_FREE_ADAPTER_RESOURCES;
typedef VOID HW_PROCESS_SERVICE_REQUEST(PVOID DeviceExtension, PVOID Irp);
typedef HW_PROCESS_SERVICE_REQUEST *PHW_PROCESS_SERVICE_REQUEST;
typedef VOID HW_COMPLETE_SERVICE_IRP(PVOID DeviceExtension);
typedef HW_COMPLETE_SERVICE_IRP *PHW_COMPLETE_SERVICE_IRP;
typedef VOID HW_INITIALIZE_TRACING(PVOID Arg1, PVOID Arg2);
typedef HW_INITIALIZE_TRACING *PHW_INITIALIZE_TRACING;
typedef VOID HW_CLEANUP_TRACING(PVOID Arg1);
typedef HW_CLEANUP_TRACING *PHW_CLEANUP_TRACING;
typedef VOID HW_TRACING_ENABLED(PVOID HwDeviceExtension, BOOLEAN Enabled);
typedef HW_TRACING_ENABLED *PHW_TRACING_ENABLED;
typedef BOOLEAN HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE(PVOID HwDeviceExtension, ULONG MessageId);
typedef HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE *PHW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE;
typedef BOOLEAN HW_PASSIVE_INITIALIZE_ROUTINE(PVOID DeviceExtension);
typedef HW_PASSIVE_INITIALIZE_ROUTINE *PHW_PASSIVE_INITIALIZE_ROUTINE;
typedef VOID HW_DPC_ROUTINE(
    PSTOR_DPC Dpc,
    PVOID HwDeviceExtension,
    PVOID SystemArgument1,
    PVOID SystemArgument2);
typedef HW_DPC_ROUTINE *PHW_DPC_ROUTINE;
typedef VOID HW_WORKITEM(PVOID HwDeviceExtension, PVOID Context, PVOID Worker);
typedef HW_WORKITEM *PHW_WORKITEM;
typedef VOID HW_STATE_CHANGE(
    PVOID HwDeviceExtension,
    PVOID Context,
    SHORT AddressType,
    PVOID Address,
    ULONG Status);
typedef HW_STATE_CHANGE *PHW_STATE_CHANGE;
typedef BOOLEAN STOR_SYNCHRONIZED_ACCESS(PVOID HwDeviceExtension, PVOID Context);
typedef STOR_SYNCHRONIZED_ACCESS *PSTOR_SYNCHRONIZED_ACCESS;

typedef struct _ACCESS_RANGE {
    STOR_PHYSICAL_ADDRESS RangeStart;
    ULONG RangeLength;
    BOOLEAN RangeInMemory;
} ACCESS_RANGE, *PACCESS_RANGE;

typedef struct _MEMORY_REGION {
    PUCHAR VirtualBase;
    PHYSICAL_ADDRESS PhysicalBase;
    ULONG Length;
} MEMORY_REGION, *PMEMORY_REGION;

typedef struct _PORT_CONFIGURATION_INFORMATION {
    ULONG Length;
    ULONG SystemIoBusNumber;
    INTERFACE_TYPE AdapterInterfaceType;
    ULONG BusInterruptLevel;
    ULONG BusInterruptVector;
    KINTERRUPT_MODE InterruptMode;
    ULONG MaximumTransferLength;
    ULONG NumberOfPhysicalBreaks;
    ULONG DmaChannel;
    ULONG DmaPort;
    DMA_WIDTH DmaWidth;
    DMA_SPEED DmaSpeed;
    ULONG AlignmentMask;
    ULONG NumberOfAccessRanges;
    ACCESS_RANGE (*AccessRanges)[];
    PVOID MiniportDumpData;
    UCHAR NumberOfBuses;
    CCHAR InitiatorBusId[8];
    BOOLEAN ScatterGather;
    BOOLEAN Master;
    BOOLEAN CachesData;
    BOOLEAN AdapterScansDown;
    BOOLEAN AtdiskPrimaryClaimed;
    BOOLEAN AtdiskSecondaryClaimed;
    BOOLEAN Dma32BitAddresses;
    BOOLEAN DemandMode;
    UCHAR MapBuffers;
    BOOLEAN NeedPhysicalAddresses;
    BOOLEAN TaggedQueuing;
    BOOLEAN AutoRequestSense;
    BOOLEAN MultipleRequestPerLu;
    BOOLEAN ReceiveEvent;
    BOOLEAN RealModeInitialized;
    BOOLEAN BufferAccessScsiPortControlled;
    UCHAR MaximumNumberOfTargets;
    UCHAR SrbType;
    UCHAR AddressType;
    ULONG SlotNumber;
    ULONG BusInterruptLevel2;
    ULONG BusInterruptVector2;
    KINTERRUPT_MODE InterruptMode2;
    ULONG DmaChannel2;
    ULONG DmaPort2;
    DMA_WIDTH DmaWidth2;
    DMA_SPEED DmaSpeed2;
    ULONG DeviceExtensionSize;
    ULONG SpecificLuExtensionSize;
    ULONG SrbExtensionSize;
    UCHAR Dma64BitAddresses;
    BOOLEAN ResetTargetSupported;
    UCHAR MaximumNumberOfLogicalUnits;
    BOOLEAN WmiDataProvider;
    STOR_SYNCHRONIZATION_MODEL SynchronizationModel;
    PHW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE HwMSInterruptRoutine;
    INTERRUPT_SYNCHRONIZATION_MODE InterruptSynchronizationMode;
    MEMORY_REGION DumpRegion;
    ULONG RequestedDumpBufferSize;
    BOOLEAN VirtualDevice;
    UCHAR DumpMode;
    ULONG ExtendedFlags1;
    ULONG MaxNumberOfIO;
    ULONG MaxIOsPerLun;
    ULONG InitialLunQueueDepth;
    ULONG BusResetHoldTime;
    ULONG FeatureSupport;
} PORT_CONFIGURATION_INFORMATION;

typedef struct _HW_INITIALIZATION_DATA {
    ULONG HwInitializationDataSize;
    INTERFACE_TYPE AdapterInterfaceType;
    PHW_INITIALIZE HwInitialize;
    PHW_STARTIO HwStartIo;
    PHW_INTERRUPT HwInterrupt;
    PVOID HwFindAdapter;
    PHW_RESET_BUS HwResetBus;
    PHW_DMA_STARTED HwDmaStarted;
    PHW_ADAPTER_STATE HwAdapterState;
    ULONG DeviceExtensionSize;
    ULONG SpecificLuExtensionSize;
    ULONG SrbExtensionSize;
    ULONG NumberOfAccessRanges;
    PVOID Reserved;
    UCHAR MapBuffers;
    BOOLEAN NeedPhysicalAddresses;
    BOOLEAN TaggedQueuing;
    BOOLEAN AutoRequestSense;
    BOOLEAN MultipleRequestPerLu;
    BOOLEAN ReceiveEvent;
    USHORT VendorIdLength;
    PVOID VendorId;
    union {
        USHORT ReservedUshort;
        USHORT PortVersionFlags;
    };
    USHORT DeviceIdLength;
    PVOID DeviceId;
    PHW_ADAPTER_CONTROL HwAdapterControl;
    PHW_BUILDIO HwBuildIo;
    PHW_FREE_ADAPTER_RESOURCES HwFreeAdapterResources;
    PHW_PROCESS_SERVICE_REQUEST HwProcessServiceRequest;
    PHW_COMPLETE_SERVICE_IRP HwCompleteServiceIrp;
    PHW_INITIALIZE_TRACING HwInitializeTracing;
    PHW_CLEANUP_TRACING HwCleanupTracing;
    PHW_TRACING_ENABLED HwTracingEnabled;
    ULONG FeatureSupport;
    ULONG SrbTypeFlags;
    ULONG AddressTypeFlags;
    ULONG Reserved1;
    PHW_UNIT_CONTROL HwUnitControl;
} HW_INITIALIZATION_DATA, *PHW_INITIALIZATION_DATA;

/* What follows the port driver's dump data of a miniport that set STOR_FEATURE_DUMP_POINTERS. */
typedef struct _MINIPORT_DUMP_POINTERS {
    USHORT Version;
    USHORT Size;
    WCHAR DriverName[DUMP_MINIPORT_NAME_LENGTH];
    struct _ADAPTER_OBJECT *AdapterObject;
    PVOID MappedRegisterBase;
    ULONG CommonBufferSize;
    PVOID MiniportPrivateDumpData;
    ULONG SystemIoBusNumber;
    INTERFACE_TYPE AdapterInterfaceType;
    ULONG MaximumTransferLength;
    ULONG NumberOfPhysicalBreaks;
    ULONG AlignmentMask;
    ULONG NumberOfAccessRanges;
    ACCESS_RANGE (*AccessRanges)[];
    UCHAR NumberOfBuses;
    BOOLEAN Master;
    BOOLEAN MapBuffers;
    UCHAR MaximumNumberOfTargets;
} MINIPORT_DUMP_POINTERS, *PMINIPORT_DUMP_POINTERS;

typedef struct _STOR_SCATTER_GATHER_ELEMENT {
    STOR_PHYSICAL_ADDRESS PhysicalAddress;
    ULONG Length;
    ULONG_PTR Reserved;
} STOR_SCATTER_GATHER_ELEMENT, *PSTOR_SCATTER_GATHER_ELEMENT;

typedef struct _STOR_SCATTER_GATHER_LIST {
    ULONG NumberOfElements;
    ULONG_PTR Reserved;
    STOR_SCATTER_GATHER_ELEMENT List[];
} STOR_SCATTER_GATHER_LIST, *PSTOR_SCATTER_GATHER_LIST;

typedef struct _DPC_BUFFER {
    CSHORT Type;
    UCHAR Number;
    UCHAR Importance;
    struct {
        PVOID F;
        PVOID B;
    };
    PVOID DeferredRoutine;
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID DpcData;
} DPC_BUFFER;

typedef struct _STOR_DPC {
    DPC_BUFFER Dpc;
    ULONG_PTR Lock;
} STOR_DPC;

typedef struct _STOR_LOCK_HANDLE {
    STOR_SPINLOCK Lock;
    struct {
        struct {
            PVOID Next;
            PVOID Lock;
        } LockQueue;
        KIRQL OldIrql;
    } Context;
} STOR_LOCK_HANDLE, *PSTOR_LOCK_HANDLE;

typedef struct _MESSAGE_INTERRUPT_INFORMATION {
    ULONG MessageId;
    ULONG MessageData;
    STOR_PHYSICAL_ADDRESS MessageAddress;
    ULONG InterruptVector;
    ULONG InterruptLevel;
    KINTERRUPT_MODE InterruptMode;
} MESSAGE_INTERRUPT_INFORMATION, *PMESSAGE_INTERRUPT_INFORMATION;

typedef struct _PERF_CONFIGURATION_DATA {
    ULONG Version;
    ULONG Size;
    ULONG Flags;
    ULONG ConcurrentChannels;
    ULONG FirstRedirectionMessageNumber;
    ULONG LastRedirectionMessageNumber;
    ULONG DeviceNode;
    ULONG Reserved;
    PGROUP_AFFINITY MessageTargets;
} PERF_CONFIGURATION_DATA, *PPERF_CONFIGURATION_DATA;

typedef struct _STARTIO_PERFORMANCE_PARAMETERS {
    ULONG Version;
    ULONG Size;
    ULONG MessageNumber;
    ULONG ChannelNumber;
} STARTIO_PERFORMANCE_PARAMETERS, *PSTARTIO_PERFORMANCE_PARAMETERS;

typedef struct _SCSI_SUPPORTED_CONTROL_TYPE_LIST {
    ULONG MaxControlType;
    BOOLEAN SupportedTypeList[];
} SCSI_SUPPORTED_CONTROL_TYPE_LIST, *PSCSI_SUPPORTED_CONTROL_TYPE_LIST;

typedef struct _STOR_POWER_CONTROL_HEADER {
    ULONG Version;
    ULONG Size;
    PSTOR_ADDRESS Address;
} STOR_POWER_CONTROL_HEADER, *PSTOR_POWER_CONTROL_HEADER;

typedef struct _STOR_ADAPTER_CONTROL_POWER {
    STOR_POWER_CONTROL_HEADER Header;
    STOR_POWER_ACTION PowerAction;
    STOR_DEVICE_POWER_STATE PowerState;
} STOR_ADAPTER_CONTROL_POWER, *PSTOR_ADAPTER_CONTROL_POWER;

typedef struct _STOR_UNIT_CONTROL_POWER {
    PSTOR_ADDRESS Address;
    STOR_POWER_ACTION PowerAction;
    STOR_DEVICE_POWER_STATE PowerState;
} STOR_UNIT_CONTROL_POWER, *PSTOR_UNIT_CONTROL_POWER;

typedef struct _STOR_UC_DEVICE_USAGE {
    PSTOR_ADDRESS Address;
    SCSI_UC_DEVICE_USAGE_TYPE UsageType;
    BOOLEAN InUse;
} STOR_UC_DEVICE_USAGE, *PSTOR_UC_DEVICE_USAGE;

typedef struct _STOR_POWER_SETTING_INFO {
    GUID PowerSettingGuid;
    PVOID Value;
    ULONG ValueLength;
} STOR_POWER_SETTING_INFO, *PSTOR_POWER_SETTING_INFO;

typedef struct _STOR_SYSTEM_POWER_HINTS {
    ULONG Version;
    ULONG Size;
    RAID_SYSTEM_POWER SystemPower;
    ULONG ResumeLatencyMSec;
} STOR_SYSTEM_POWER_HINTS, *PSTOR_SYSTEM_POWER_HINTS;

typedef struct _STOR_UNIT_ATTRIBUTES {
    ULONG DeviceAttentionSupported : 1;
    ULONG AsyncNotificationSupported : 1;
    ULONG D3ColdNotSupported : 1;
    ULONG BypassIOSupported : 1;
    ULONG Reserved : 28;
} STOR_UNIT_ATTRIBUTES, *PSTOR_UNIT_ATTRIBUTES;

typedef struct _STOR_DEVICE_CAPABILITIES {
    USHORT Version;
    ULONG DeviceD1 : 1;
    ULONG DeviceD2 : 1;
    ULONG LockSupported : 1;
    ULONG EjectSupported : 1;
    ULONG Removable : 1;
    ULONG DockDevice : 1;
    ULONG UniqueID : 1;
    ULONG SilentInstall : 1;
    ULONG SurpriseRemovalOK : 1;
    ULONG NoDisplayInUI : 1;
} STOR_DEVICE_CAPABILITIES, *PSTOR_DEVICE_CAPABILITIES;

typedef struct _STOR_DEVICE_CAPABILITIES_EX {
    USHORT Version;
    USHORT Size;
    ULONG DeviceD1 : 1;
    ULONG DeviceD2 : 1;
    ULONG LockSupported : 1;
    ULONG EjectSupported : 1;
    ULONG Removable : 1;
    ULONG DockDevice : 1;
    ULONG UniqueID : 1;
    ULONG SilentInstall : 1;
    ULONG RawDeviceOK : 1;
    ULONG SurpriseRemovalOK : 1;
    ULONG NoDisplayInUI : 1;
    ULONG DefaultWriteCacheEnabled : 1;
    ULONG Reserved0 : 20;
    ULONG Address;
    ULONG UINumber;
    ULONG Reserved1[2];
} STOR_DEVICE_CAPABILITIES_EX, *PSTOR_DEVICE_CAPABILITIES_EX;

typedef struct _STOR_LOG_EVENT_DETAILS {
    ULONG InterfaceRevision;
    ULONG Size;
    ULONG Flags;
    STOR_EVENT_ASSOCIATION_ENUM EventAssociation;
    ULONG PathId;
    ULONG TargetId;
    ULONG LunId;
    BOOLEAN StorportSpecificErrorCode;
    ULONG ErrorCode;
    ULONG UniqueId;
    ULONG DumpDataSize;
    PVOID DumpData;
    ULONG StringCount;
    PWSTR *StringList;
} STOR_LOG_EVENT_DETAILS, *PSTOR_LOG_EVENT_DETAILS;

typedef struct _STOR_REQUEST_INFO_V1 {
    USHORT Version;
    USHORT Size;
    STOR_IO_PRIORITY_HINT PriorityHint;
    ULONG Flags;
    ULONG Key;
    ULONG Length;
    BOOLEAN IsWriteRequest;
    UCHAR Reserved[3];
} STOR_REQUEST_INFO_V1, *PSTOR_REQUEST_INFO_V1;

#define STOR_VENDOR_ID_LENGTH 16
#define STOR_MODEL_NUMBER_LENGTH 64
#define STOR_FIRMWARE_REVISION_LENGTH 16
#define STOR_RICH_DEVICE_DESCRIPTION_STRUCTURE_VERSION 1

typedef struct _STOR_RICH_DEVICE_DESCRIPTION {
    ULONG Version;
    ULONG Size;
    CHAR VendorId[STOR_VENDOR_ID_LENGTH + 1];
    CHAR ModelNumber[STOR_MODEL_NUMBER_LENGTH + 1];
    CHAR FirmwareRevision[STOR_FIRMWARE_REVISION_LENGTH + 1];
} STOR_RICH_DEVICE_DESCRIPTION, *PSTOR_RICH_DEVICE_DESCRIPTION;

typedef struct _STORPORT_TELEMETRY_EVENT {
    ULONG DriverVersion;
    ULONG EventId;
    UCHAR EventName[EVENT_NAME_MAX_LENGTH];
    ULONG EventVersion;
    ULONG Flags;
    ULONG EventBufferLength;
    PUCHAR EventBuffer;
    UCHAR ParameterName0[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue0;
    UCHAR ParameterName1[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue1;
    UCHAR ParameterName2[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue2;
    UCHAR ParameterName3[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue3;
    UCHAR ParameterName4[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue4;
    UCHAR ParameterName5[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue5;
    UCHAR ParameterName6[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue6;
    UCHAR ParameterName7[EVENT_MAX_PARAM_NAME_LEN];
    ULONGLONG ParameterValue7;
} STORPORT_TELEMETRY_EVENT, *PSTORPORT_TELEMETRY_EVENT;

/* Exports of the port driver. Whatever else the documentation describes is an inline function around one of the first
   two, or a macro: README.md lists what each passes. */
STORPORT_API VOID StorPortNotification(SCSI_NOTIFICATION_TYPE NotificationType, PVOID HwDeviceExtension, ...);
STORPORT_API ULONG StorPortExtendedFunction(STORPORT_FUNCTION_CODE FunctionCode, PVOID HwDeviceExtension, ...);
STORPORT_API VOID StorPortDebugPrint(ULONG DebugPrintLevel, PSTR DebugMessage, ...);
STORPORT_API ULONG NTAPI StorPortInitialize(
    PVOID Argument1,
    PVOID Argument2,
    struct _HW_INITIALIZATION_DATA *HwInitializationData,
    PVOID HwContext);
STORPORT_API PVOID NTAPI StorPortGetDeviceBase(
    PVOID HwDeviceExtension,
    INTERFACE_TYPE BusType,
    ULONG SystemIoBusNumber,
    STOR_PHYSICAL_ADDRESS IoAddress,
    ULONG NumberOfBytes,
    BOOLEAN InIoSpace);
STORPORT_API VOID NTAPI StorPortFreeDeviceBase(PVOID HwDeviceExtension, PVOID MappedAddress);
STORPORT_API PVOID NTAPI StorPortGetUncachedExtension(
    PVOID HwDeviceExtension,
    PPORT_CONFIGURATION_INFORMATION ConfigInfo,
    ULONG NumberOfBytes);
STORPORT_API ULONG NTAPI StorPortGetBusData(
    PVOID DeviceExtension,
    ULONG BusDataType,
    ULONG SystemIoBusNumber,
    ULONG SlotNumber,
    PVOID Buffer,
    ULONG Length);
STORPORT_API ULONG NTAPI StorPortSetBusDataByOffset(
    PVOID DeviceExtension,
    ULONG BusDataType,
    ULONG SystemIoBusNumber,
    ULONG SlotNumber,
    PVOID Buffer,
    ULONG Offset,
    ULONG Length);
STORPORT_API STOR_PHYSICAL_ADDRESS NTAPI StorPortGetPhysicalAddress(
    PVOID HwDeviceExtension,
    PSCSI_REQUEST_BLOCK Srb,
    PVOID VirtualAddress,
    ULONG *Length);
STORPORT_API PVOID NTAPI StorPortGetVirtualAddress(
    PVOID HwDeviceExtension,
    STOR_PHYSICAL_ADDRESS PhysicalAddress);
STORPORT_API STOR_PHYSICAL_ADDRESS NTAPI StorPortConvertUlongToPhysicalAddress(ULONG_PTR UlongAddress);
STORPORT_API PSTOR_SCATTER_GATHER_LIST NTAPI StorPortGetScatterGatherList(
    PVOID HwDeviceExtension,
    PSCSI_REQUEST_BLOCK Srb);
STORPORT_API BOOLEAN NTAPI StorPortValidateRange(
    PVOID HwDeviceExtension,
    INTERFACE_TYPE BusType,
    ULONG SystemIoBusNumber,
    STOR_PHYSICAL_ADDRESS IoAddress,
    ULONG NumberOfBytes,
    BOOLEAN InIoSpace);
STORPORT_API PVOID NTAPI StorPortGetLogicalUnit(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun);
STORPORT_API VOID NTAPI StorPortLogError(
    PVOID HwDeviceExtension,
    PSCSI_REQUEST_BLOCK Srb,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun,
    ULONG ErrorCode,
    ULONG UniqueId);
STORPORT_API VOID NTAPI StorPortCompleteRequest(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun,
    UCHAR SrbStatus);
STORPORT_API VOID NTAPI StorPortStallExecution(ULONG Delay);
STORPORT_API VOID NTAPI StorPortMoveMemory(PVOID WriteBuffer, PVOID ReadBuffer, ULONG Length);
STORPORT_API VOID NTAPI StorPortQuerySystemTime(PLARGE_INTEGER CurrentTime);
STORPORT_API BOOLEAN NTAPI StorPortSynchronizeAccess(
    PVOID HwDeviceExtension,
    PSTOR_SYNCHRONIZED_ACCESS SynchronizedAccessRoutine,
    PVOID Context);
STORPORT_API BOOLEAN NTAPI StorPortPause(PVOID HwDeviceExtension, ULONG Timeout);
STORPORT_API BOOLEAN NTAPI StorPortResume(PVOID HwDeviceExtension);
STORPORT_API BOOLEAN NTAPI StorPortPauseDevice(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun,
    ULONG Timeout);
STORPORT_API BOOLEAN NTAPI StorPortResumeDevice(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun);
STORPORT_API BOOLEAN NTAPI StorPortBusy(PVOID HwDeviceExtension, ULONG RequestsToComplete);
STORPORT_API BOOLEAN NTAPI StorPortReady(PVOID HwDeviceExtension);
STORPORT_API BOOLEAN NTAPI StorPortDeviceBusy(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun,
    ULONG RequestsToComplete);
STORPORT_API BOOLEAN NTAPI StorPortDeviceReady(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun);
STORPORT_API BOOLEAN NTAPI StorPortSetDeviceQueueDepth(
    PVOID HwDeviceExtension,
    UCHAR PathId,
    UCHAR TargetId,
    UCHAR Lun,
    ULONG Depth);
STORPORT_API PUCHAR NTAPI StorPortAllocateRegistryBuffer(PVOID HwDeviceExtension, PULONG Length);
STORPORT_API VOID NTAPI StorPortFreeRegistryBuffer(PVOID HwDeviceExtension, PUCHAR Buffer);
STORPORT_API BOOLEAN NTAPI StorPortRegistryRead(
    PVOID HwDeviceExtension,
    PUCHAR ValueName,
    ULONG Global,
    ULONG Type,
    PUCHAR Buffer,
    PULONG BufferLength);
STORPORT_API BOOLEAN NTAPI StorPortRegistryWrite(
    PVOID HwDeviceExtension,
    PUCHAR ValueName,
    ULONG Global,
    ULONG Type,
    PUCHAR Buffer,
    ULONG BufferLength);

STORPORT_API UCHAR NTAPI StorPortReadRegisterUchar(PVOID HwDeviceExtension, PUCHAR Register);
STORPORT_API VOID NTAPI StorPortWriteRegisterUchar(PVOID HwDeviceExtension, PUCHAR Register, UCHAR Value);
STORPORT_API VOID NTAPI StorPortReadRegisterBufferUchar(
    PVOID HwDeviceExtension,
    PUCHAR Register,
    PUCHAR Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWriteRegisterBufferUchar(
    PVOID HwDeviceExtension,
    PUCHAR Register,
    PUCHAR Buffer,
    ULONG Count);
STORPORT_API UCHAR NTAPI StorPortReadPortUchar(PVOID HwDeviceExtension, PUCHAR Port);
STORPORT_API VOID NTAPI StorPortWritePortUchar(PVOID HwDeviceExtension, PUCHAR Port, UCHAR Value);
STORPORT_API VOID NTAPI StorPortReadPortBufferUchar(
    PVOID HwDeviceExtension,
    PUCHAR Port,
    PUCHAR Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWritePortBufferUchar(
    PVOID HwDeviceExtension,
    PUCHAR Port,
    PUCHAR Buffer,
    ULONG Count);

STORPORT_API USHORT NTAPI StorPortReadRegisterUshort(PVOID HwDeviceExtension, PUSHORT Register);
STORPORT_API VOID NTAPI StorPortWriteRegisterUshort(PVOID HwDeviceExtension, PUSHORT Register, USHORT Value);
STORPORT_API VOID NTAPI StorPortReadRegisterBufferUshort(
    PVOID HwDeviceExtension,
    PUSHORT Register,
    PUSHORT Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWriteRegisterBufferUshort(
    PVOID HwDeviceExtension,
    PUSHORT Register,
    PUSHORT Buffer,
    ULONG Count);
STORPORT_API USHORT NTAPI StorPortReadPortUshort(PVOID HwDeviceExtension, PUSHORT Port);
STORPORT_API VOID NTAPI StorPortWritePortUshort(PVOID HwDeviceExtension, PUSHORT Port, USHORT Value);
STORPORT_API VOID NTAPI StorPortReadPortBufferUshort(
    PVOID HwDeviceExtension,
    PUSHORT Port,
    PUSHORT Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWritePortBufferUshort(
    PVOID HwDeviceExtension,
    PUSHORT Port,
    PUSHORT Buffer,
    ULONG Count);

STORPORT_API ULONG NTAPI StorPortReadRegisterUlong(PVOID HwDeviceExtension, PULONG Register);
STORPORT_API VOID NTAPI StorPortWriteRegisterUlong(PVOID HwDeviceExtension, PULONG Register, ULONG Value);
STORPORT_API VOID NTAPI StorPortReadRegisterBufferUlong(
    PVOID HwDeviceExtension,
    PULONG Register,
    PULONG Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWriteRegisterBufferUlong(
    PVOID HwDeviceExtension,
    PULONG Register,
    PULONG Buffer,
    ULONG Count);
STORPORT_API ULONG NTAPI StorPortReadPortUlong(PVOID HwDeviceExtension, PULONG Port);
STORPORT_API VOID NTAPI StorPortWritePortUlong(PVOID HwDeviceExtension, PULONG Port, ULONG Value);
STORPORT_API VOID NTAPI StorPortReadPortBufferUlong(
    PVOID HwDeviceExtension,
    PULONG Port,
    PULONG Buffer,
    ULONG Count);
STORPORT_API VOID NTAPI StorPortWritePortBufferUlong(
    PVOID HwDeviceExtension,
    PULONG Port,
    PULONG Buffer,
    ULONG Count);
