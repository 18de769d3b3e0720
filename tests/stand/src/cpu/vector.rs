//! What the vectors are for. They are chosen as on Windows: the upper half is the IRQL. DPCs are the software interrupt of
//! DISPATCH_LEVEL, sent by a processor to itself or to another, so that they run as soon as the IRQL falls below it.

/// Non-maskable interrupt.
pub const NMI_VECTOR: u8 = 2;
/// Nothing: the local APIC took back what it had begun.
pub const SPURIOUS_VECTOR: u8 = 0xFF;
/// Software interrupt for DPCs, IRQL 2.
pub const DPC_VECTOR: u8 = 0x2F;
/// `int 29h`: a program stops itself (RtlFailFast).
pub const FAST_FAIL: usize = 0x29;
/// First vector of message interrupts, IRQL 5 and up.
pub const FIRST_MESSAGE: u8 = 0x50;
/// Most messages one adapter gets.
pub const MESSAGES: u8 = 64;
/// Line interrupt (INTx), IRQL 9.
pub const LINE_VECTOR: u8 = 0x90;
/// Clock, IRQL 13.
pub const CLOCK_VECTOR: u8 = 0xD1;
/// A processor has something to look at, IRQL 3.
pub const WAKE_VECTOR: u8 = 0x30;
/// Translations have to be forgotten, IRQL 14 (IPI_LEVEL).
pub const FLUSH_VECTOR: u8 = 0xE1;
/// Stand still, IRQL 14.
pub const STILL_VECTOR: u8 = 0xE2;
