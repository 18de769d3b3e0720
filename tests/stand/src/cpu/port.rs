//! I/O ports.

use core::arch::asm;

/// Writes bytes to one port.
pub fn write_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: reads only the slice; port writes touch no memory of ours.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(nostack, readonly, preserves_flags));
    }
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        /// Reads a port.
        pub fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: port reads touch no memory of ours.
            unsafe {
                asm!(concat!("in ", $register, ", dx"), out($register) value, in("dx") port,
                    options(nostack, nomem, preserves_flags));
            }
            value
        }

        /// Writes a port.
        pub fn $write(port: u16, value: $type) {
            // SAFETY: port writes touch no memory of ours.
            unsafe {
                asm!(concat!("out dx, ", $register), in($register) value, in("dx") port,
                    options(nostack, nomem, preserves_flags));
            }
        }
    };
}

access!(read_u8, write_u8, u8, "al");
access!(read_u16, write_u16, u16, "ax");
access!(read_u32, write_u32, u32, "eax");
