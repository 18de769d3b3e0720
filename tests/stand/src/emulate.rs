//! Loads and stores whose other end is not memory: what the processor would have done, done by hand.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};

/// What an instruction does with a register of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// What happens.
    pub action: Action,
    /// Address of the next instruction.
    pub next: u64,
}

/// Load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load into a general register, which gets the value as [`loaded`] says.
    Load(Register),
    /// Store a general register.
    Store(Register),
    /// Store a constant.
    StoreImmediate(u64),
}

/// Reads one instruction at `address`; `None` for those that device registers are not accessed with (anything but MOV and
/// MOVZX between memory and a general register or a constant).
pub fn decode(code: &[u8], address: u64) -> Option<Access> {
    let instruction = Decoder::with_ip(64, code, address, DecoderOptions::NONE).decode();
    if instruction.is_invalid() || instruction.op_count() != 2 {
        return None;
    }
    let size = u8::try_from(instruction.memory_size().size()).ok()?;
    let general = |register: Register| register.is_gpr().then_some(register);
    let action = match (instruction.mnemonic(), instruction.op0_kind(), instruction.op1_kind()) {
        (Mnemonic::Mov | Mnemonic::Movzx, OpKind::Register, OpKind::Memory) => {
            Action::Load(general(instruction.op0_register())?)
        }
        (Mnemonic::Mov, OpKind::Memory, OpKind::Register) => {
            Action::Store(general(instruction.op1_register())?)
        }
        (Mnemonic::Mov, OpKind::Memory, _) => Action::StoreImmediate(instruction.immediate(1)),
        _ => return None,
    };
    Some(Access { size, action, next: instruction.next_ip() })
}

/// What a full register holds after a load into (a part of) it: 32 bits clear the upper half, 8 and 16 leave the rest.
pub fn loaded(old: u64, register: Register, value: u64) -> u64 {
    match register.size() {
        8 => value,
        4 => value & 0xFFFF_FFFF,
        2 => old & !0xFFFF | value & 0xFFFF,
        _ if is_high(register) => old & !0xFF00 | (value & 0xFF) << 8,
        _ => old & !0xFF | value & 0xFF,
    }
}

/// The part of a full register that a store stores.
pub fn stored(full: u64, register: Register) -> u64 {
    if is_high(register) { full >> 8 & 0xFF } else { full }
}

fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_stores_of_every_size_are_read() {
        let table: [(&[u8], u8, Action); 7] = [
            (&[0x8A, 0x07], 1, Action::Load(Register::AL)),
            (&[0x66, 0x8B, 0x07], 2, Action::Load(Register::AX)),
            (&[0x8B, 0x07], 4, Action::Load(Register::EAX)),
            (&[0x0F, 0xB6, 0x07], 1, Action::Load(Register::EAX)),
            (&[0x48, 0x89, 0x07], 8, Action::Store(Register::RAX)),
            (&[0x44, 0x88, 0x07], 1, Action::Store(Register::R8L)),
            (&[0xC6, 0x07, 0x0F], 1, Action::StoreImmediate(0x0F)),
        ];
        for (code, size, action) in table {
            let access = decode(code, 0x1000).unwrap();

            assert_eq!((access.size, access.action), (size, action), "{code:02x?}");
            assert_eq!(access.next, 0x1000 + code.len() as u64);
        }
    }

    #[test]
    fn what_also_calculates_is_refused() {
        // add [rdi], eax; xchg [rdi], eax; movaps xmm0, [rdi]; nonsense
        for code in [&[0x01, 0x07][..], &[0x87, 0x07], &[0x0F, 0x28, 0x07], &[0x06], &[]] {
            assert_eq!(decode(code, 0), None, "{code:02x?}");
        }
    }

    #[test]
    fn a_load_changes_as_much_of_the_register_as_the_processor_would() {
        let old = 0x1111_2222_3333_4444;

        assert_eq!(loaded(old, Register::EAX, 0xABCD), 0xABCD);
        assert_eq!(loaded(old, Register::AX, 0xABCD), 0x1111_2222_3333_ABCD);
        assert_eq!(loaded(old, Register::AL, 0xCD), 0x1111_2222_3333_44CD);
        assert_eq!(loaded(old, Register::AH, 0xCD), 0x1111_2222_3333_CD44);
        assert_eq!(stored(old, Register::AH), 0x44);
    }
}
