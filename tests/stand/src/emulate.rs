//! Loads and stores whose other end is not memory: what the processor would have done, done by hand on a copy of its
//! registers. The instructions are those that compilers and READ_REGISTER_… functions use on device registers; any other is
//! refused, and then reported like every fault.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// The registers of a processor, as far as these instructions use them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15: the order of the encoding.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub flags: u64,
}

/// What addresses lead to. `None` for one that leads nowhere.
pub trait Bus {
    /// Reads 1, 2, 4 or 8 bytes.
    fn load(&mut self, address: u64, size: usize) -> Option<u64>;
    /// Writes 1, 2, 4 or 8 bytes.
    fn store(&mut self, address: u64, size: usize, value: u64) -> Option<()>;
}

/// Flags that arithmetic sets: carry, parity, auxiliary carry, zero, sign, overflow.
const CARRY: u64 = 1;
const PARITY: u64 = 1 << 2;
const AUXILIARY: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;
const STATUS: u64 = CARRY | PARITY | AUXILIARY | ZERO | SIGN | OVERFLOW;
/// Strings go downwards.
const DIRECTION: u64 = 1 << 10;

const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;

/// Does the instruction at RIP, whose memory operand is at `address`. `None`, with nothing changed, for one that is not known
/// here. A repeated string instruction does one element and stays where it is until the last, as at any fault.
pub fn step(code: &[u8], address: u64, registers: &mut Registers, bus: &mut impl Bus) -> Option<()> {
    let instruction = Decoder::with_ip(64, code, registers.rip, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return None;
    }
    match instruction.mnemonic() {
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => {
            return string(&instruction, registers, |registers, size| {
                let value = bus.load(registers.general[RSI], size)?;
                bus.store(registers.general[RDI], size, value)?;
                Some((true, true))
            });
        }
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
            return string(&instruction, registers, |registers, size| {
                bus.store(registers.general[RDI], size, registers.general[0] & ones(size))?;
                Some((false, true))
            });
        }
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => {
            return string(&instruction, registers, |registers, size| {
                let value = bus.load(registers.general[RSI], size)?;
                set(registers, accumulator(size), value)?;
                Some((true, false))
            });
        }
        _ => {}
    }
    let size = instruction.memory_size().size();
    if instruction.op_count() != 2 || !matches!(size, 1 | 2 | 4 | 8) {
        return None;
    }
    let memory_first = match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Memory, OpKind::Register) => get(registers, instruction.op1_register()).map(|_| true)?,
        (OpKind::Memory, _) => true,
        (OpKind::Register, OpKind::Memory) => get(registers, instruction.op0_register()).map(|_| false)?,
        _ => return None,
    };
    let other = match (memory_first, instruction.op1_kind()) {
        (true, OpKind::Register) => get(registers, instruction.op1_register())?,
        (true, _) => instruction.immediate(1) & ones(size),
        (false, _) => get(registers, instruction.op0_register())?,
    };
    let mut after = *registers;
    match (instruction.mnemonic(), memory_first) {
        (Mnemonic::Mov, true) => bus.store(address, size, other)?,
        (Mnemonic::Mov | Mnemonic::Movzx, false) => {
            set(&mut after, instruction.op0_register(), bus.load(address, size)?)?;
        }
        (Mnemonic::Movsx | Mnemonic::Movsxd, false) => {
            let value = bus.load(address, size)?;
            let shift = 64 - 8 * size as u32;
            set(&mut after, instruction.op0_register(), ((value << shift) as i64 >> shift) as u64)?;
        }
        (Mnemonic::Xchg, _) => {
            let value = bus.load(address, size)?;
            bus.store(address, size, other)?;
            let register = if memory_first { instruction.op1_register() } else { instruction.op0_register() };
            set(&mut after, register, value)?;
        }
        (mnemonic, _) => {
            // Refused before the device is touched: reading a register may have an effect.
            let operation = operation(mnemonic)?;
            let value = bus.load(address, size)?;
            let (left, right) = if memory_first { (value, other) } else { (other, value) };
            let (result, flags) = calculate(operation, size, left, right);
            after.flags = after.flags & !STATUS | flags;
            match (operation, memory_first) {
                (Operation::Compare | Operation::Test, _) => {}
                (_, true) => bus.store(address, size, result)?,
                (_, false) => set(&mut after, instruction.op0_register(), result)?,
            }
        }
    }
    after.rip = instruction.next_ip();
    *registers = after;
    Some(())
}

/// One element of a string instruction; `element` says which of RSI and RDI it used.
fn string(
    instruction: &Instruction,
    registers: &mut Registers,
    element: impl FnOnce(&mut Registers, usize) -> Option<(bool, bool)>,
) -> Option<()> {
    let repeated = instruction.has_rep_prefix();
    let mut after = *registers;
    if !repeated || after.general[RCX] != 0 {
        let size = instruction.memory_size().size();
        let (source, target) = element(&mut after, size)?;
        let step = if after.flags & DIRECTION == 0 { size as u64 } else { (size as u64).wrapping_neg() };
        for (used, index) in [(source, RSI), (target, RDI)] {
            if used {
                after.general[index] = after.general[index].wrapping_add(step);
            }
        }
        after.general[RCX] -= u64::from(repeated);
    }
    if !repeated || after.general[RCX] == 0 {
        after.rip = instruction.next_ip();
    }
    *registers = after;
    Some(())
}

fn accumulator(size: usize) -> Register {
    match size {
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Add,
    Subtract,
    /// Subtracts, and keeps the flags only.
    Compare,
    /// And, and keeps the flags only.
    Test,
}

fn operation(mnemonic: Mnemonic) -> Option<Operation> {
    Some(match mnemonic {
        Mnemonic::And => Operation::And,
        Mnemonic::Or => Operation::Or,
        Mnemonic::Xor => Operation::Xor,
        Mnemonic::Add => Operation::Add,
        Mnemonic::Sub => Operation::Subtract,
        Mnemonic::Cmp => Operation::Compare,
        Mnemonic::Test => Operation::Test,
        _ => return None,
    })
}

/// Result and status flags. AND, OR and XOR leave the auxiliary carry undefined; here it is zero, as processors have it.
fn calculate(operation: Operation, size: usize, left: u64, right: u64) -> (u64, u64) {
    let mask = ones(size);
    let top = mask ^ mask >> 1;
    let (left, right) = (left & mask, right & mask);
    let (result, carry, overflow) = match operation {
        Operation::And | Operation::Test => (left & right, false, 0),
        Operation::Or => (left | right, false, 0),
        Operation::Xor => (left ^ right, false, 0),
        Operation::Add => {
            let sum = left.wrapping_add(right) & mask;
            (sum, sum < left, (left ^ sum) & (right ^ sum))
        }
        Operation::Subtract | Operation::Compare => {
            let difference = left.wrapping_sub(right) & mask;
            (difference, left < right, (left ^ right) & (left ^ difference))
        }
    };
    let arithmetic = matches!(operation, Operation::Add | Operation::Subtract | Operation::Compare);
    let flag = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let flags = flag(carry, CARRY)
        | flag((result as u8).count_ones().is_multiple_of(2), PARITY)
        | flag(arithmetic && (left ^ right ^ result) & 0x10 != 0, AUXILIARY)
        | flag(result == 0, ZERO)
        | flag(result & top != 0, SIGN)
        | flag(overflow & top != 0, OVERFLOW);
    (result, flags)
}

/// So many bytes of ones.
fn ones(size: usize) -> u64 {
    if size >= 8 { !0 } else { (1 << (8 * size)) - 1 }
}

/// Number of a general register in the encoding, and where in it the named part begins.
fn place(register: Register) -> Option<(usize, u32)> {
    if !register.is_gpr() {
        return None;
    }
    let full = register.full_register();
    let high = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    Some((full.number(), if high { 8 } else { 0 }))
}

fn get(registers: &Registers, register: Register) -> Option<u64> {
    let (number, shift) = place(register)?;
    Some(registers.general[number] >> shift & ones(register.size()))
}

/// Sets a register or a part of one: 32 bits clear the upper half, 8 and 16 leave the rest.
fn set(registers: &mut Registers, register: Register, value: u64) -> Option<()> {
    let (number, shift) = place(register)?;
    let mask = ones(register.size());
    let kept = if register.size() == 4 { 0 } else { registers.general[number] & !(mask << shift) };
    registers.general[number] = kept | (value & mask) << shift;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::SplitMix64;
    use alloc::vec::Vec;

    /// Read or write, address, size, value.
    type Step = (char, u64, usize, u64);

    /// A device of one register that answers with its value, beside plain memory from 0x100 on; both note what is done.
    struct Fake {
        value: u64,
        log: Vec<Step>,
    }

    const DEVICE: u64 = 0xF000;

    impl Bus for Fake {
        fn load(&mut self, address: u64, size: usize) -> Option<u64> {
            let value = if address < 0x1000 { address } else { self.value & ones(size) };
            self.log.push(('r', address, size, value));
            (address != 0).then_some(value)
        }

        fn store(&mut self, address: u64, size: usize, value: u64) -> Option<()> {
            self.log.push(('w', address, size, value));
            (address != 0).then_some(())
        }
    }

    fn start() -> Registers {
        let mut registers = Registers { rip: 0x4000, flags: 0x202, ..Registers::default() };
        for (index, register) in registers.general.iter_mut().enumerate() {
            *register = 0x1111_2222_3333_4400 + index as u64;
        }
        registers
    }

    fn run(code: &[u8], value: u64) -> (Option<()>, Registers, Vec<Step>) {
        let (mut registers, mut bus) = (start(), Fake { value, log: Vec::new() });
        let done = step(code, DEVICE, &mut registers, &mut bus);
        (done, registers, bus.log)
    }

    #[test]
    fn loads_change_as_much_of_the_register_as_the_processor_would() {
        let value = 0x8877_6655_4433_22F1;
        // Code, size, register number, its value afterwards.
        let table: [(&[u8], usize, usize, u64); 10] = [
            (&[0x8A, 0x07], 1, 0, 0x1111_2222_3333_44F1), // mov al, [rdi]
            (&[0x8A, 0x27], 1, 0, 0x1111_2222_3333_F100), // mov ah, [rdi]
            (&[0x66, 0x8B, 0x07], 2, 0, 0x1111_2222_3333_22F1), // mov ax, [rdi]
            (&[0x8B, 0x0F], 4, 1, 0x4433_22F1),           // mov ecx, [rdi]
            (&[0x4D, 0x8B, 0x07], 8, 8, value),           // mov r8, [r15]
            (&[0x0F, 0xB6, 0x17], 1, 2, 0xF1),            // movzx edx, byte [rdi]
            (&[0x48, 0x0F, 0xB7, 0x17], 2, 2, 0x22F1),    // movzx rdx, word [rdi]
            (&[0x0F, 0xBE, 0x1F], 1, 3, 0xFFFF_FFF1),     // movsx ebx, byte [rdi]
            (&[0x48, 0x0F, 0xBE, 0x1F], 1, 3, 0xFFFF_FFFF_FFFF_FFF1), // movsx rbx, byte [rdi]
            (&[0x48, 0x63, 0x1F], 4, 3, 0x4433_22F1),     // movsxd rbx, dword [rdi]
        ];
        for (code, size, number, expected) in table {
            let (done, registers, log) = run(code, value);

            assert_eq!(done, Some(()), "{code:02x?}");
            assert_eq!(log, [('r', DEVICE, size, value & ones(size))], "{code:02x?}");
            let mut wanted = start();
            wanted.general[number] = expected;
            wanted.rip += code.len() as u64;
            assert_eq!(registers, wanted, "{code:02x?}");
        }
    }

    #[test]
    fn stores_of_every_size_and_of_constants_arrive() {
        let table: [(&[u8], usize, u64); 7] = [
            (&[0x88, 0x0F], 1, 0x01),                             // mov [rdi], cl
            (&[0x88, 0x2F], 1, 0x44),                             // mov [rdi], ch
            (&[0x44, 0x88, 0x07], 1, 0x08),                       // mov [rdi], r8b
            (&[0x66, 0x89, 0x0F], 2, 0x4401),                     // mov [rdi], cx
            (&[0x89, 0x0F], 4, 0x3333_4401),                      // mov [rdi], ecx
            (&[0x48, 0x89, 0x0F], 8, 0x1111_2222_3333_4401),      // mov [rdi], rcx
            (&[0x48, 0xC7, 0x07, 0xFE, 0xFF, 0xFF, 0xFF], 8, !1), // mov qword [rdi], -2
        ];
        for (code, size, value) in table {
            let (done, registers, log) = run(code, 0);

            assert_eq!((done, log), (Some(()), [('w', DEVICE, size, value)].into()), "{code:02x?}");
            assert_eq!(registers, Registers { rip: 0x4000 + code.len() as u64, ..start() }, "{code:02x?}");
        }
    }

    #[test]
    fn what_calculates_in_place_reads_and_writes_once() {
        // or dword [rdi], 0x10; lock and [rdi], cl; xchg [rdi], eax
        let (done, registers, log) = run(&[0x83, 0x0F, 0x10], 0x8000_0001);
        assert_eq!((done, registers.flags & STATUS), (Some(()), SIGN | PARITY));
        assert_eq!(log, [('r', DEVICE, 4, 0x8000_0001), ('w', DEVICE, 4, 0x8000_0011)]);

        let (done, registers, log) = run(&[0xF0, 0x20, 0x0F], 0xFE);
        assert_eq!((done, registers.flags & STATUS), (Some(()), ZERO | PARITY));
        assert_eq!(log, [('r', DEVICE, 1, 0xFE), ('w', DEVICE, 1, 0)]);

        let (done, registers, log) = run(&[0x87, 0x07], 0x1234_5678);
        assert_eq!((done, registers.general[0], registers.flags), (Some(()), 0x1234_5678, 0x202));
        assert_eq!(log, [('r', DEVICE, 4, 0x1234_5678), ('w', DEVICE, 4, 0x3333_4400)]);
    }

    #[test]
    fn what_only_looks_writes_nothing() {
        // test byte [rdi], 8; cmp byte [rdi], 0xff; cmp ecx, [rdi]
        let cases: [(&[u8], u64, u64); 3] = [
            (&[0xF6, 0x07, 0x08], 0x0B, 0),
            (&[0x80, 0x3F, 0xFF], 0xFF, ZERO | PARITY),
            (&[0x3B, 0x0F], 0x3333_4402, CARRY | SIGN | PARITY | AUXILIARY),
        ];
        for (code, value, flags) in cases {
            let (done, registers, log) = run(code, value);

            assert_eq!((done, registers.flags & STATUS), (Some(()), flags), "{code:02x?}");
            assert_eq!((log.len(), registers.general), (1, start().general), "{code:02x?}");
        }
    }

    #[test]
    fn a_repeated_string_instruction_goes_on_where_it_was() {
        // rep movsd from the device to memory at 0x100.
        let (mut registers, mut bus) = (start(), Fake { value: 7, log: Vec::new() });
        (registers.general[RCX], registers.general[RSI], registers.general[RDI]) = (2, DEVICE, 0x100);
        for (rip, left) in [(0x4000, 1), (0x4002, 0)] {
            assert_eq!(step(&[0xF3, 0xA5], DEVICE, &mut registers, &mut bus), Some(()));
            assert_eq!((registers.rip, registers.general[RCX]), (rip, left));
        }
        assert_eq!((registers.general[RSI], registers.general[RDI]), (DEVICE + 8, 0x108));
        let expected = [('r', DEVICE, 4, 7), ('w', 0x100, 4, 7), ('r', DEVICE + 4, 4, 7), ('w', 0x104, 4, 7)];
        assert_eq!(bus.log, expected);

        // lodsw and stosb, downwards.
        let (mut registers, mut bus) = (start(), Fake { value: 0xABCD, log: Vec::new() });
        registers.flags |= DIRECTION;
        (registers.general[RSI], registers.general[RDI]) = (DEVICE, DEVICE + 9);
        step(&[0x66, 0xAD], DEVICE, &mut registers, &mut bus).unwrap();
        step(&[0xAA], DEVICE + 9, &mut registers, &mut bus).unwrap();
        assert_eq!((registers.general[RSI], registers.general[RDI]), (DEVICE - 2, DEVICE + 8));
        assert_eq!(bus.log, [('r', DEVICE, 2, 0xABCD), ('w', DEVICE + 9, 1, 0xCD)]);
    }

    #[test]
    fn what_is_not_known_is_refused_before_anything_is_touched() {
        // movaps xmm0, [rdi]; imul eax, [rdi]; inc dword [rdi]; push [rdi]; mov ds, [rdi]; nonsense; nothing
        let cases: [&[u8]; 7] = [
            &[0x0F, 0x28, 0x07],
            &[0x0F, 0xAF, 0x07],
            &[0xFF, 0x07],
            &[0xFF, 0x37],
            &[0x8E, 0x1F],
            &[0x06],
            &[],
        ];
        for code in cases {
            assert_eq!(run(code, 1), (None, start(), Vec::new()), "{code:02x?}");
        }
    }

    #[test]
    fn an_end_that_leads_nowhere_changes_nothing() {
        let (mut registers, mut bus) = (start(), Fake { value: 7, log: Vec::new() });
        registers.general[RSI] = 0;
        let before = registers;

        assert_eq!(step(&[0xA4], 0x100, &mut registers, &mut bus), None);
        assert_eq!(registers, before);
    }

    /// The processor that runs the tests is the judge of the flags.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn flags_are_those_of_the_processor() {
        use core::arch::asm;
        macro_rules! real {
            ($instruction:literal, $left:expr, $right:expr, $type:ty, $class:ident) => {{
                let (mut value, flags): ($type, u64) = ($left as $type, 0u64);
                let mut flags = flags;
                // SAFETY: one calculation in registers; the flags are read through the stack.
                unsafe {
                    asm!($instruction, "pushfq", "pop {f}", f = out(reg) flags,
                        a = inout($class) value, b = in($class) $right as $type);
                }
                let _ = &mut flags;
                (value as u64, flags & STATUS)
            }};
        }
        let mut random = SplitMix64(5);
        let edges =
            [0, 1, 0xF, 0x10, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, i64::MIN as u64, !0];
        let pairs = edges.iter().flat_map(|left| edges.map(|right| (*left, right))).collect::<Vec<_>>();
        let more = (0..500).map(|_| (random.word(), random.word()));
        for (left, right) in pairs.into_iter().chain(more) {
            let table = [
                (Operation::Add, 8, real!("add {a}, {b}", left, right, u64, reg)),
                (Operation::Subtract, 8, real!("sub {a}, {b}", left, right, u64, reg)),
                (Operation::Add, 4, real!("add {a:e}, {b:e}", left, right, u32, reg)),
                (Operation::Subtract, 4, real!("sub {a:e}, {b:e}", left, right, u32, reg)),
                (Operation::Add, 2, real!("add {a:x}, {b:x}", left, right, u16, reg)),
                (Operation::Subtract, 1, real!("sub {a}, {b}", left, right, u8, reg_byte)),
                (Operation::Add, 1, real!("add {a}, {b}", left, right, u8, reg_byte)),
            ];
            for (operation, size, real) in table {
                assert_eq!(
                    calculate(operation, size, left, right),
                    real,
                    "{operation:?} {left:x} {right:x} {size}"
                );
            }
            let logic = [
                (Operation::And, real!("and {a}, {b}", left, right, u64, reg)),
                (Operation::Or, real!("or {a}, {b}", left, right, u64, reg)),
                (Operation::Xor, real!("xor {a}, {b}", left, right, u64, reg)),
            ];
            for (operation, (result, flags)) in logic {
                // The auxiliary carry is undefined after these.
                let (calculated, own) = calculate(operation, 8, left, right);
                assert_eq!((calculated, own & !AUXILIARY), (result, flags & !AUXILIARY), "{operation:?}");
            }
        }
    }
}
