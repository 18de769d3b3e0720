//! Base address registers: what the firmware assigned, and addresses where it did not (qboot assigns none).

use alloc::vec::Vec;

use super::{Function, command};
use crate::cpu::lock::Lock;

/// One base address register with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Register number, 0 to 5.
    pub index: u8,
    /// Bus address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Memory, not I/O ports.
    pub memory: bool,
}

struct Pool {
    memory: u64,
    ports: u64,
}

/// Free addresses: above Q35's PCI configuration space, and ports nothing on the board uses.
static FREE: Lock<Pool> = Lock::new(Pool { memory: 0xC800_0000, ports: 0xD000 });

/// Reads a function's registers and gives addresses to those that have none.
pub fn assign(function: Function) -> Vec<Bar> {
    let mut bars = Vec::new();
    let old = function.read_u16(4);
    function.set_command(0, command::IO | command::MEMORY);
    let mut index = 0u8;
    while index < 6 {
        let offset = 0x10 + 4 * u16::from(index);
        let low = function.read_u32(offset);
        let (memory, wide) = (low & 1 == 0, low & 7 == 4);
        function.write_u32(offset, !0);
        let mask = function.read_u32(offset);
        function.write_u32(offset, low);
        let high = if wide { function.read_u32(offset + 4) } else { 0 };
        let mask = if memory {
            u64::from(mask & !0xF) | 0xFFFF_FFFF_0000_0000
        } else {
            u64::from(mask & !3) | !0xFFFF
        };
        if mask & 0xFFFF_FFFF != 0 && (memory || mask & 0xFFFF != 0) {
            let size = mask.wrapping_neg() & if memory { !0 } else { 0xFFFF };
            let mut address = u64::from(high) << 32 | u64::from(low & if memory { !0xF } else { !3 });
            if address == 0 {
                address = claim(memory, size);
                function.write_u32(offset, address as u32);
                if wide {
                    function.write_u32(offset + 4, (address >> 32) as u32);
                }
            }
            bars.push(Bar { index, address, size, memory });
        }
        index += if wide { 2 } else { 1 };
    }
    function.write_u16(4, old);
    bars
}

fn claim(memory: bool, size: u64) -> u64 {
    let mut free = FREE.lock();
    let next = if memory { &mut free.memory } else { &mut free.ports };
    let address = next.next_multiple_of(size.max(if memory { 4096 } else { 32 }));
    *next = address + size;
    address
}
