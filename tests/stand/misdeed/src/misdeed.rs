//! What must not be done, each once, and when.

use core::sync::atomic::{AtomicU32, Ordering};

use wdk_sys::ntddk::KeBugCheckEx;
use wdk_sys::storage::{
    StorPortExtendedFunction, StorPortGetBusData, StorPortGetDeviceBase, StorPortGetPhysicalAddress,
    StorPortGetScatterGatherList, StorPortGetUncachedExtension, StorPortNotification, StorPortPause,
    StorPortResume, StorPortSetDeviceQueueDepth, StorPortStallExecution,
};
use wdk_sys::{
    _BUS_DATA_TYPE, _INTERFACE_TYPE, _SCSI_NOTIFICATION_TYPE, _STOR_SPINLOCK, _STORPORT_FUNCTION_CODE,
    HW_INITIALIZATION_DATA, PERF_CONFIGURATION_DATA, PHW_STATE_CHANGE, PHYSICAL_ADDRESS,
    PORT_CONFIGURATION_INFORMATION, PSCSI_REQUEST_BLOCK, PVOID, SCSISTAT_CHECK_CONDITION, SHORT,
    SRB_FUNCTION_EXECUTE_SCSI, SRB_STATUS_BUSY, SRB_STATUS_INTERNAL_ERROR, SRB_STATUS_PENDING,
    STATE_CHANGE_LUN, STOR_ADDR_BTL8, STOR_ADDR_BTL8_ADDRESS_LENGTH, STOR_ADDRESS_TYPE_BTL8, STOR_DPC,
    STOR_LOCK_HANDLE, ULONG,
};

use crate::{Extension, complete};

/// When a misdeed may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    FindAdapter,
    Initialize,
    BuildIo,
    /// The request is answered and not given back yet.
    StartIo,
    /// The request is given back.
    AfterCompletion,
    /// Before the adapter is known: the service's name tells the misdeed.
    DriverEntry,
    /// A READ(10) is answered and not given back yet.
    Read,
    /// The last request of a bus scan is answered and not given back yet.
    LastRequest,
    /// The same moments when the system has crashed.
    DumpFindAdapter,
    DumpStartIo,
}

macro_rules! misdeeds {
    ($($(#[$about:meta])* $name:ident = $number:literal at $moment:ident),* $(,)?) => {
        /// What the miniport is to do. The numbers are those of the stand's tests.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Misdeed {
            $($(#[$about])* $name = $number),*
        }

        impl Misdeed {
            pub(crate) fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn moment(self) -> Moment {
                match self {
                    $(Self::$name => Moment::$moment),*
                }
            }
        }
    };
}

misdeeds! {
    /// Gives a request back twice.
    CompletesTwice = 1 at AfterCompletion,
    /// Forgets a request.
    NeverCompletes = 2 at StartIo,
    /// Writes to a request that it gave back.
    TouchesCompleted = 3 at AfterCompletion,
    /// Says that more was moved than asked for.
    GrowsTransfer = 4 at StartIo,
    /// Success together with CHECK CONDITION.
    SuccessWithCheckCondition = 5 at StartIo,
    /// Gives a request back that it says is pending.
    CompletesPending = 6 at StartIo,
    /// Answers BUSY for ever.
    BusyForEver = 7 at StartIo,
    /// Gives a request back in HwStorBuildIo and has it started all the same.
    CompletesInBuildIo = 8 at BuildIo,
    /// Returns with the interrupt lock held.
    KeepsLock = 9 at StartIo,
    /// Releases a lock that it does not hold.
    ReleasesForeignLock = 10 at StartIo,
    /// Writes through a null pointer.
    NullPointer = 11 at StartIo,
    /// Writes to its own constants.
    WritesConstant = 12 at StartIo,
    /// Runs data.
    RunsData = 13 at StartIo,
    /// Uses more stack than there is.
    Recurses = 14 at StartIo,
    /// Asks for the uncached extension when it is too late.
    LateUncachedExtension = 15 at Initialize,
    /// Maps registers that are not its own.
    ForeignRegisters = 16 at FindAdapter,
    /// Does not come back.
    RunsForEver = 17 at StartIo,
    /// Waits for a whole millisecond without letting go.
    StallsForAMillisecond = 18 at StartIo,
    /// Asks StorPort for something that there is not.
    UnknownNotification = 19 at StartIo,
    /// Sets a queue depth of nothing.
    QueueDepthZero = 20 at StartIo,
    /// Divides by zero, in hardware.
    Exception = 21 at StartIo,
    /// Gives up the way the compiler does it.
    FastFail = 22 at StartIo,
    /// Reads memory that nobody gave it.
    ForeignAddress = 23 at StartIo,
    /// Ends the system.
    BugCheck = 24 at StartIo,
    /// Returns at another IRQL.
    LeavesIrql = 25 at AfterCompletion,
    /// Turns interrupts off and does not come back.
    InterruptsOff = 26 at StartIo,
    /// Asks for the uncached extension twice, for more.
    GrowsUncachedExtension = 27 at FindAdapter,
    /// Queues a DPC that was never initialised.
    UninitializedDpc = 28 at StartIo,
    /// Completes something that is no request.
    UnknownRequest = 29 at StartIo,
    /// Releases locks in the order in which it took them.
    LockOrder = 30 at StartIo,
    /// Takes a lock twice.
    Deadlock = 31 at StartIo,
    /// Allows transfers of no bytes only.
    ZeroTransferLength = 32 at FindAdapter,
    /// Changes what only StorPort sets.
    ChangesConfiguration = 33 at FindAdapter,
    /// Asks for passive initialisation when it is too late.
    LatePassiveInitialization = 34 at StartIo,
    /// Frees what it never got.
    BadFree = 35 at StartIo,
    /// Reads the registry above PASSIVE_LEVEL.
    RegistryAtDispatch = 36 at StartIo,
    /// Runs code that is gone after DriverEntry.
    RunsDiscarded = 37 at StartIo,
    /// Writes past a block of pool.
    PoolOverrun = 38 at StartIo,
    /// Never gives its pool back.
    LeaksPool = 39 at StartIo,
    /// Pauses the adapter for longer than it lives.
    LeavesPause = 40 at LastRequest,
    /// Asks for performance options of the future.
    UnknownPerfFlag = 41 at Initialize,
    /// Asks for performance options too late.
    LatePerfOptions = 42 at StartIo,
    /// Takes a lock that StorPort does not have.
    UnknownLock = 43 at StartIo,
    /// Takes ten locks.
    TakesTenLocks = 44 at StartIo,
    /// Makes a DPC object at an odd address.
    MisplacedDpc = 45 at FindAdapter,
    /// Makes another function of a request.
    DamagesSrb = 46 at StartIo,
    /// Completes something before there are requests.
    CompletesTooEarly = 47 at Initialize,
    /// Leaves MultipleRequestPerLu FALSE.
    LeavesFalse = 48 at DriverEntry,
    /// Passes a structure that is too small.
    SmallStructure = 49 at DriverEntry,
    /// Has no HwStorStartIo.
    NoStartIo = 50 at DriverEntry,
    /// Can move 256 bytes at once.
    TinyTransfers = 51 at FindAdapter,
    /// Runs its device extension.
    RunsExtension = 52 at StartIo,
    /// Asks for the address of memory that the request does not have.
    ForeignPhysicalAddress = 53 at StartIo,
    /// Calls in the name of another adapter.
    WrongExtension = 54 at StartIo,
    /// Says that its memory is damaged.
    ReportsOverrun = 55 at StartIo,
    /// Calls StorPort on a stack that is none.
    OwnStack = 56 at StartIo,
    /// Raises a vector that is not its own.
    StrayInterrupt = 57 at StartIo,
    /// Has no routine for its interrupt, and raises it.
    NoInterruptRoutine = 58 at StartIo,
    /// Raises its interrupt for ever and never claims it.
    InterruptStorm = 59 at StartIo,
    /// Takes the StartIo lock in the interrupt routine.
    StartIoLockInInterrupt = 60 at StartIo,
    /// Lets the device write to a request that is completed.
    DmaAfterCompletion = 61 at StartIo,
    /// Keeps a request for longer than the run may last.
    KeepsRequest = 62 at StartIo,
    /// Does in its interrupt routine what can wait.
    LongInterrupt = 63 at StartIo,
    /// Looks at configuration space when it is too late for that.
    LateBusData = 64 at StartIo,
    /// Answers BUSY as if all of the data were missing.
    BusyWithoutLength = 65 at StartIo,
    /// Gives a request back with the status that is StorPort's own.
    InternalError = 66 at StartIo,
    /// Logs something that does not say what it is.
    EmptyLogEvent = 67 at StartIo,
    /// Says that a request is aborted, and keeps it.
    AbortsNothing = 68 at Read,
    /// Finds its extension as it left it when it starts again, and believes all of it.
    BelievesExtension = 70 at FindAdapter,
    /// Has no place for the status of a state change.
    NoStatus = 71 at StartIo,
    /// Has the status of a state change written to its own constants.
    ConstantStatus = 72 at StartIo,
    /// Says that a bus has changed that it does not have.
    ForeignBus = 73 at StartIo,
    /// Says that the bus was reset, which holds it for more than an hour.
    LongResetHold = 74 at LastRequest,
    /// Waits for eleven seconds under StorPort's lock, a little at a time.
    StallsLittleByLittle = 75 at Initialize,
    /// Says which unit has changed, and then that it was another one.
    ChangesAddress = 76 at StartIo,
    /// Waits where there is no waiting.
    StallsInStartIo = 77 at StartIo,
    /// Waits for longer than a DPC may run, a little at a time.
    StallsAddUp = 78 at BuildIo,
    /// Asks for the data of what is no SCSI command.
    ListOfNoCommand = 79 at BuildIo,
    /// Lets the device write to the device extension.
    DmaToForeignMemory = 80 at StartIo,
    /// Lets the device read what it is to write.
    DmaAgainstDirection = 81 at StartIo,
    /// Lets the device read the data of a request that is completed.
    DmaFromCompleted = 82 at StartIo,
    /// Takes memory from the pool when the system has crashed.
    PoolInDump = 90 at DumpFindAdapter,
    /// Forgets a request of the dump.
    ForgetsDump = 91 at DumpStartIo,
}

/// Vectors of the line interrupt and of a message that no adapter has.
const LINE: u8 = 0x90;
const NOBODY: u8 = 0x7e;

/// Raises an interrupt from inside. The stand's vectors are not hidden from a driver.
macro_rules! raise {
    ($vector:expr) => {
        core::arch::asm!("int {vector}", vector = const $vector)
    };
}

/// Registers of QEMU's teaching device (docs/specs/edu.rst): source, destination, count and command of its copies, and
/// where its own buffer is.
mod edu {
    pub(super) const SOURCE: usize = 0x80;
    pub(super) const DESTINATION: usize = 0x88;
    pub(super) const COUNT: usize = 0x90;
    pub(super) const COMMAND: usize = 0x98;
    pub(super) const BUFFER: u64 = 0x4_0000;
    /// Start; from memory to the device, or from the device to memory.
    pub(super) const FROM_MEMORY: u64 = 1;
    pub(super) const TO_MEMORY: u64 = 1 | 2;
}

/// A function that is discarded once DriverEntry has returned.
#[unsafe(link_section = "INIT")]
#[inline(never)]
extern "C" fn discarded() {
    DATA.fetch_add(1, Ordering::Relaxed);
}

static CONSTANT: u32 = 7;
static DATA: AtomicU32 = AtomicU32::new(0xc3c3_c3c3);

/// Commits the misdeed of this adapter if its moment has come. `true`: the request must not be given back any more.
pub(crate) unsafe fn commit(extension: PVOID, moment: Moment, srb: PSCSI_REQUEST_BLOCK) -> bool {
    unsafe {
        let own = &mut *extension.cast::<Extension>();
        let Some(misdeed) = own.misdeed().filter(|misdeed| misdeed.moment() == moment) else {
            return false;
        };
        if own.done > 0 && misdeed != Misdeed::BusyForEver {
            return false;
        }
        own.done += 1;
        match misdeed {
            Misdeed::CompletesTwice => complete(extension, srb),
            Misdeed::NeverCompletes => return true,
            Misdeed::TouchesCompleted => (&raw mut (*srb).SrbStatus).write_volatile(0),
            Misdeed::GrowsTransfer => (*srb).DataTransferLength += 1 << 20,
            Misdeed::SuccessWithCheckCondition => {
                (*srb).SrbStatus = crate::GOOD;
                (*srb).ScsiStatus = SCSISTAT_CHECK_CONDITION as u8;
            }
            Misdeed::CompletesPending => (*srb).SrbStatus = SRB_STATUS_PENDING as u8,
            Misdeed::EmptyLogEvent => {
                let mut details = [0_u64; 9];
                StorPortExtendedFunction(
                    _STORPORT_FUNCTION_CODE::ExtFunctionLogSystemEvent,
                    extension,
                    details.as_mut_ptr(),
                    core::ptr::null_mut::<wdk_sys::ULONG>(),
                );
            }
            Misdeed::InternalError => (*srb).SrbStatus = SRB_STATUS_INTERNAL_ERROR as u8,
            Misdeed::BusyForEver => {
                (*srb).SrbStatus = SRB_STATUS_BUSY as u8;
                (*srb).DataTransferLength = own.asked;
            }
            Misdeed::BusyWithoutLength => {
                (*srb).SrbStatus = SRB_STATUS_BUSY as u8;
                (*srb).DataTransferLength = 0;
            }
            Misdeed::CompletesInBuildIo => {
                (*srb).SrbStatus = crate::GOOD;
                complete(extension, srb);
            }
            Misdeed::KeepsLock => {
                let mut handle = STOR_LOCK_HANDLE::default();
                acquire(extension, &raw mut handle);
            }
            Misdeed::ReleasesForeignLock => {
                let mut handle = STOR_LOCK_HANDLE::default();
                release(extension, &raw mut handle);
            }
            Misdeed::NullPointer => core::ptr::null_mut::<u32>().wrapping_add(4).write_volatile(1),
            Misdeed::WritesConstant => (&raw const CONSTANT).cast_mut().write_volatile(1),
            Misdeed::RunsData => {
                let run: extern "C" fn() = core::mem::transmute(&raw const DATA);
                run();
            }
            Misdeed::Recurses => {
                recurse(core::hint::black_box(1_000_000));
            }
            Misdeed::StallsLittleByLittle => {
                for _ in 0..12_000 {
                    StorPortStallExecution(900);
                }
            }
            Misdeed::StallsInStartIo => StorPortStallExecution(1),
            Misdeed::ListOfNoCommand => {
                if u32::from((*srb).Function) == SRB_FUNCTION_EXECUTE_SCSI {
                    // The next one may be it.
                    own.done = 0;
                } else {
                    StorPortGetScatterGatherList(extension, srb.cast());
                }
            }
            Misdeed::StallsAddUp => {
                for _ in 0..11 {
                    StorPortStallExecution(10);
                }
            }
            Misdeed::LongResetHold => {
                StorPortNotification(_SCSI_NOTIFICATION_TYPE::ResetDetected, extension);
            }
            Misdeed::BelievesExtension => {
                if own.kept.is_null() {
                    own.kept = StorPortGetUncachedExtension(extension, srb.cast(), 4096);
                }
                own.kept.cast::<u32>().write_volatile(1);
            }
            Misdeed::LateUncachedExtension => {
                StorPortGetUncachedExtension(extension, core::ptr::null_mut(), 4096);
            }
            Misdeed::LateBusData => {
                let mut id = [0_u8; 4];
                StorPortGetBusData(
                    extension,
                    _BUS_DATA_TYPE::PCIConfiguration as wdk_sys::ULONG,
                    0,
                    0,
                    id.as_mut_ptr().cast(),
                    id.len() as wdk_sys::ULONG,
                );
            }
            Misdeed::ForeignRegisters => {
                let mut address = PHYSICAL_ADDRESS::default();
                address.QuadPart = 0x1234_5000;
                StorPortGetDeviceBase(extension, _INTERFACE_TYPE::PCIBus, 0, address, 4096, 0);
            }
            Misdeed::RunsForEver => loop {
                core::hint::spin_loop();
            },
            Misdeed::StallsForAMillisecond => StorPortStallExecution(1000),
            Misdeed::UnknownNotification => StorPortNotification(9999, extension),
            Misdeed::QueueDepthZero => {
                StorPortSetDeviceQueueDepth(extension, 0, 0, 0, 0);
            }
            Misdeed::Exception => {
                core::arch::asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("ecx") _, out("edx") _, out("eax") _)
            }
            Misdeed::FastFail => core::arch::asm!("mov ecx, 5", "int 0x29", options(noreturn)),
            Misdeed::BugCheck => KeBugCheckEx(0xdead_beef, 1, 2, 3, 4),
            Misdeed::LeavesIrql => {
                core::arch::asm!("mov {level}, 11", "mov cr8, {level}", level = out(reg) _)
            }
            Misdeed::InterruptsOff => {
                core::arch::asm!("cli");
                loop {
                    core::hint::spin_loop();
                }
            }
            Misdeed::GrowsUncachedExtension => {
                let configuration = srb.cast::<core::ffi::c_void>();
                for bytes in [4096, 8192] {
                    StorPortGetUncachedExtension(extension, configuration.cast(), bytes);
                }
            }
            Misdeed::UninitializedDpc => {
                let mut queued: wdk_sys::LONG = 0;
                StorPortNotification(
                    _SCSI_NOTIFICATION_TYPE::IssueDpc,
                    extension,
                    (&raw mut own.space).cast::<core::ffi::c_void>(),
                    core::ptr::null_mut::<core::ffi::c_void>(),
                    core::ptr::null_mut::<core::ffi::c_void>(),
                    &raw mut queued,
                );
            }
            Misdeed::UnknownRequest => complete(extension, (&raw mut own.space).cast()),
            Misdeed::LockOrder => {
                let mut first = STOR_LOCK_HANDLE::default();
                let mut second = STOR_LOCK_HANDLE::default();
                let dpc = &raw mut own.dpc;
                acquire_as(extension, _STOR_SPINLOCK::DpcLock, dpc.cast(), &raw mut first);
                acquire(extension, &raw mut second);
                release(extension, &raw mut first);
                release(extension, &raw mut second);
            }
            Misdeed::Deadlock => {
                let mut handle = STOR_LOCK_HANDLE::default();
                acquire(extension, &raw mut handle);
                acquire(extension, &raw mut handle);
            }
            // In HwStorFindAdapter it is the configuration that comes along.
            Misdeed::ZeroTransferLength => {
                (*srb.cast::<PORT_CONFIGURATION_INFORMATION>()).MaximumTransferLength = 0;
            }
            Misdeed::ChangesConfiguration => {
                (*srb.cast::<PORT_CONFIGURATION_INFORMATION>()).SlotNumber += 1;
            }
            Misdeed::LatePassiveInitialization => {
                let mut enabled: wdk_sys::LONG = 0;
                StorPortNotification(
                    _SCSI_NOTIFICATION_TYPE::EnablePassiveInitialization,
                    extension,
                    crate::initialize as *const () as PVOID,
                    &raw mut enabled,
                );
            }
            Misdeed::BadFree => {
                StorPortExtendedFunction(_STORPORT_FUNCTION_CODE::ExtFunctionFreePool, extension, extension);
            }
            Misdeed::RegistryAtDispatch => {
                crate::registry_value(extension);
            }
            Misdeed::RunsDiscarded => discarded(),
            Misdeed::PoolOverrun => {
                let mut block: PVOID = core::ptr::null_mut();
                StorPortExtendedFunction(
                    _STORPORT_FUNCTION_CODE::ExtFunctionAllocatePool,
                    extension,
                    64 as wdk_sys::ULONG,
                    0x6b73_694d as wdk_sys::ULONG,
                    &raw mut block,
                );
                block.cast::<u8>().wrapping_add(4096).write_volatile(1);
            }
            Misdeed::LeaksPool | Misdeed::PoolInDump => {
                let mut block: PVOID = core::ptr::null_mut();
                allocate(extension, &raw mut block);
            }
            Misdeed::LeavesPause => {
                StorPortPause(extension, 3600);
            }
            Misdeed::UnknownPerfFlag => {
                perf_options(extension, 0x8000_0000);
            }
            Misdeed::LatePerfOptions => {
                perf_options(extension, 0);
            }
            Misdeed::UnknownLock => {
                let mut handle = STOR_LOCK_HANDLE::default();
                acquire_as(extension, 9, core::ptr::null_mut(), &raw mut handle);
            }
            Misdeed::TakesTenLocks => {
                for message in 0..10 as wdk_sys::ULONG {
                    let mut level: wdk_sys::ULONG = 0;
                    StorPortExtendedFunction(
                        _STORPORT_FUNCTION_CODE::ExtFunctionAcquireMSISpinLock,
                        extension,
                        message,
                        &raw mut level,
                    );
                }
            }
            Misdeed::MisplacedDpc => StorPortNotification(
                _SCSI_NOTIFICATION_TYPE::InitializeDpc,
                extension,
                (&raw mut own.space).cast::<u8>().wrapping_add(1),
                dpc_routine as *const () as PVOID,
            ),
            Misdeed::DamagesSrb => (*srb).Function = 0x55,
            Misdeed::CompletesTooEarly => complete(extension, (&raw mut own.space).cast()),
            // These are done where HW_INITIALIZATION_DATA is made.
            Misdeed::LeavesFalse | Misdeed::SmallStructure | Misdeed::NoStartIo => {}
            Misdeed::TinyTransfers => {
                (*srb.cast::<PORT_CONFIGURATION_INFORMATION>()).MaximumTransferLength = 256;
            }
            Misdeed::RunsExtension => {
                let run: extern "C" fn() = core::mem::transmute(&raw mut own.space);
                run();
            }
            Misdeed::ForeignPhysicalAddress => {
                let mut length: wdk_sys::ULONG = 0;
                StorPortGetPhysicalAddress(extension, srb.cast(), extension, &raw mut length);
            }
            Misdeed::WrongExtension => {
                StorPortResume(extension.wrapping_byte_add(8));
            }
            Misdeed::ReportsOverrun => {
                StorPortNotification(_SCSI_NOTIFICATION_TYPE::BufferOverrunDetected, extension);
            }
            Misdeed::OwnStack => {
                let top = (&raw mut own.space).cast::<u8>().wrapping_add(size_of_val(&own.space) - 64);
                core::arch::asm!(
                    "xchg rsp, r12",
                    "and rsp, -16",
                    "sub rsp, 32",
                    "call rax",
                    "mov rsp, r12",
                    inout("r12") top => _,
                    in("rax") StorPortStallExecution as *const (),
                    in("rcx") 1_usize,
                    clobber_abi("win64"),
                );
            }
            Misdeed::StrayInterrupt => raise!(NOBODY),
            Misdeed::NoInterruptRoutine | Misdeed::StartIoLockInInterrupt | Misdeed::LongInterrupt => {
                raise!(LINE)
            }
            Misdeed::InterruptStorm => loop {
                raise!(LINE);
            },
            Misdeed::DmaAfterCompletion => {
                let target = physical(extension, srb, (*srb).SrbExtension);
                copy_later(extension, target, edu::TO_MEMORY);
                complete(extension, srb);
                wait_for_copy(extension);
                return true;
            }
            Misdeed::NoStatus | Misdeed::ConstantStatus => {
                let mut unit = unit();
                let status = if misdeed == Misdeed::NoStatus {
                    core::ptr::null_mut()
                } else {
                    (&raw const CONSTANT).cast_mut()
                };
                state_change(extension, &raw mut unit, None, status);
            }
            Misdeed::ChangesAddress => {
                let place = (&raw mut own.space).cast::<STOR_ADDR_BTL8>();
                place.write_volatile(unit());
                let mut status = 0;
                state_change(extension, place, Some(state_changed), &raw mut status);
                (&raw mut (*place).Lun).write_volatile(1);
                // StorPort is done with the change before there is another request.
                some_milliseconds();
            }
            Misdeed::ForeignBus => {
                StorPortNotification(
                    _SCSI_NOTIFICATION_TYPE::BusChangeDetected,
                    extension,
                    7 as wdk_sys::ULONG,
                );
            }
            Misdeed::DmaToForeignMemory => {
                let target = physical(extension, core::ptr::null_mut(), (&raw mut own.space).cast());
                copy_later(extension, target, edu::TO_MEMORY);
                wait_for_copy(extension);
            }
            Misdeed::DmaAgainstDirection => {
                let source = physical(extension, srb, (*srb).DataBuffer);
                copy_later(extension, source, edu::FROM_MEMORY);
                wait_for_copy(extension);
            }
            Misdeed::DmaFromCompleted => {
                let source = physical(extension, srb, (*srb).DataBuffer);
                copy_later(extension, source, edu::FROM_MEMORY);
                complete(extension, srb);
                wait_for_copy(extension);
                return true;
            }
            Misdeed::KeepsRequest | Misdeed::ForgetsDump | Misdeed::AbortsNothing => return true,
            Misdeed::ForeignAddress => {
                let _ = (0xffff_9000_1234_5678_usize as *const u32).read_volatile();
            }
        }
    }
    false
}

unsafe fn acquire(extension: PVOID, handle: *mut STOR_LOCK_HANDLE) {
    unsafe { acquire_as(extension, _STOR_SPINLOCK::InterruptLock, core::ptr::null_mut(), handle) };
}

unsafe fn release(extension: PVOID, handle: *mut STOR_LOCK_HANDLE) {
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::ReleaseSpinLock,
            extension,
            handle.cast::<core::ffi::c_void>(),
        );
    }
}

/// The address of the first unit.
fn unit() -> STOR_ADDR_BTL8 {
    STOR_ADDR_BTL8 {
        Type: STOR_ADDRESS_TYPE_BTL8 as u16,
        AddressLength: STOR_ADDR_BTL8_ADDRESS_LENGTH,
        ..Default::default()
    }
}

unsafe extern "C" fn state_changed(
    _extension: PVOID,
    _context: PVOID,
    _address_type: SHORT,
    _address: PVOID,
    _status: ULONG,
) {
}

/// Says that a unit has changed, who is called when that is done with, and where the status goes.
unsafe fn state_change(
    extension: PVOID,
    address: *mut STOR_ADDR_BTL8,
    routine: PHW_STATE_CHANGE,
    status: *mut u32,
) {
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::StateChangeDetectedCall,
            extension,
            STATE_CHANGE_LUN,
            address,
            0 as ULONG,
            routine,
            core::ptr::null_mut::<core::ffi::c_void>(),
            status,
        );
    }
}

/// Makes the adapter's DPC object what it must be before its lock can be taken. In HwStorFindAdapter, at PASSIVE_LEVEL.
pub(crate) unsafe fn initialize_dpc(extension: PVOID) {
    unsafe {
        let dpc = &raw mut (*extension.cast::<Extension>()).dpc;
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::InitializeDpc,
            extension,
            dpc,
            dpc_routine as *const () as PVOID,
        );
    }
}

unsafe extern "C" fn dpc_routine(_dpc: *mut STOR_DPC, _extension: PVOID, _first: PVOID, _second: PVOID) {}

unsafe fn acquire_as(
    extension: PVOID,
    lock: wdk_sys::STOR_SPINLOCK,
    object: PVOID,
    handle: *mut STOR_LOCK_HANDLE,
) {
    unsafe {
        StorPortNotification(_SCSI_NOTIFICATION_TYPE::AcquireSpinLock, extension, lock, object, handle);
    }
}

unsafe fn allocate(extension: PVOID, block: *mut PVOID) {
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionAllocatePool,
            extension,
            64 as wdk_sys::ULONG,
            0x6b73_694d as wdk_sys::ULONG,
            block,
        );
    }
}

/// Asks for these flags, without asking first what there is.
unsafe fn perf_options(extension: PVOID, flags: wdk_sys::ULONG) {
    let mut data = PERF_CONFIGURATION_DATA {
        Version: 1,
        Size: size_of::<PERF_CONFIGURATION_DATA>() as wdk_sys::ULONG,
        Flags: flags,
        ..Default::default()
    };
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionInitializePerformanceOptimizations,
            extension,
            0 as wdk_sys::ULONG,
            &raw mut data,
        );
    }
}

unsafe fn physical(extension: PVOID, srb: PSCSI_REQUEST_BLOCK, address: PVOID) -> u64 {
    let mut length: wdk_sys::ULONG = 0;
    unsafe { StorPortGetPhysicalAddress(extension, srb.cast(), address, &raw mut length).QuadPart as u64 }
}

/// The device copies 64 bytes between its buffer and memory, a tenth of a second from now.
unsafe fn copy_later(extension: PVOID, memory: u64, command: u64) {
    let (source, destination) =
        if command == edu::TO_MEMORY { (edu::BUFFER, memory) } else { (memory, edu::BUFFER) };
    unsafe {
        let own = &mut *extension.cast::<Extension>();
        let register = |offset: usize| own.registers.cast::<u8>().wrapping_add(offset).cast::<u64>();
        register(edu::SOURCE).write_volatile(source);
        register(edu::DESTINATION).write_volatile(destination);
        register(edu::COUNT).write_volatile(64);
        register(edu::COMMAND).write_volatile(command);
    }
}

/// Until the device has done it. Many short stalls would be the last that the stand's report has to tell.
unsafe fn wait_for_copy(extension: PVOID) {
    unsafe {
        let own = &*extension.cast::<Extension>();
        let command = own.registers.cast::<u8>().wrapping_add(edu::COMMAND).cast::<u64>();
        while command.read_volatile() & edu::FROM_MEMORY != 0 {
            core::hint::spin_loop();
        }
        // The stand looks with each tick of its clock.
        some_milliseconds();
    }
}

/// Time passes without a stall, which would be a misdeed of its own: twenty milliseconds and more at up to 5 GHz.
fn some_milliseconds() {
    let since = unsafe { core::arch::x86_64::_rdtsc() };
    while unsafe { core::arch::x86_64::_rdtsc() }.wrapping_sub(since) < 100_000_000 {
        core::hint::spin_loop();
    }
}

/// What the interrupt routine does when it is called.
pub(crate) unsafe fn interrupted(extension: PVOID) {
    unsafe {
        let own = &*extension.cast::<Extension>();
        if own.misdeed() == Some(Misdeed::StartIoLockInInterrupt) {
            let mut handle = STOR_LOCK_HANDLE::default();
            acquire_as(extension, _STOR_SPINLOCK::StartIoLock, core::ptr::null_mut(), &raw mut handle);
        }
        if own.misdeed() == Some(Misdeed::LongInterrupt) {
            for round in 0..30_000_u32 {
                DATA.store(round, Ordering::Relaxed);
            }
        }
    }
}

/// Changes what DriverEntry tells StorPort, for the misdeed that the service is named after.
pub(crate) fn prepare(misdeed: Option<Misdeed>, data: &mut HW_INITIALIZATION_DATA) {
    match misdeed {
        Some(Misdeed::LeavesFalse) => data.MultipleRequestPerLu = 0,
        Some(Misdeed::SmallStructure) => data.HwInitializationDataSize -= 8,
        Some(Misdeed::NoStartIo) => data.HwStartIo = None,
        Some(Misdeed::NoInterruptRoutine) => data.HwInterrupt = None,
        _ => {}
    }
}

/// Needs a frame for each level, and what comes back, so that it is no loop.
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let frame = core::hint::black_box([depth; 64]);
    if depth == 0 {
        return DATA.load(Ordering::Relaxed);
    }
    recurse(depth - 1).wrapping_add(frame[(depth % 64) as usize])
}
