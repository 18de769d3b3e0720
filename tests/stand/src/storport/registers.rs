//! The register and port functions. On x64 the header makes most of them inline; storport.sys exports them as well.
//! The first argument is the device extension, the second the register or port, the third the value or a buffer, the
//! fourth how many. Buffers of registers are consecutive registers, buffers of a port are one port.

use crate::cpu::port;
use crate::kernel::export::Export;
use crate::memory::driver;

macro_rules! register {
    ($type:ty, $read:literal, $write:literal) => {
        [
            ($read, (|a| {
                // SAFETY: the address comes from StorPortGetDeviceBase; a wrong one faults and is reported.
                u64::from(unsafe { (a.get(1) as *const $type).read_volatile() })
            }) as Export),
            ($write, |a| {
                // SAFETY: as for reading.
                unsafe { (a.get(1) as *mut $type).write_volatile(a.get(2) as $type) };
                0
            }),
        ]
    };
}

macro_rules! register_buffer {
    ($type:ty, $read:literal, $write:literal) => {
        [
            (
                $read,
                (|a| {
                    for index in 0..a.get(3) & 0xFFFF_FFFF {
                        let offset = index * size_of::<$type>() as u64;
                        // SAFETY: as for one register.
                        let value = unsafe { ((a.get(1) + offset) as *const $type).read_volatile() };
                        driver::write($read, a.get(2) + offset, value);
                    }
                    0
                }) as Export,
            ),
            ($write, |a| {
                for index in 0..a.get(3) & 0xFFFF_FFFF {
                    let offset = index * size_of::<$type>() as u64;
                    let value: $type = driver::read($write, a.get(2) + offset);
                    // SAFETY: as for one register.
                    unsafe { ((a.get(1) + offset) as *mut $type).write_volatile(value) };
                }
                0
            }),
        ]
    };
}

macro_rules! port {
    ($type:ty, $in:ident, $out:ident, $read:literal, $write:literal) => {
        [
            ($read, (|a| u64::from(port::$in(a.get(1) as u16))) as Export),
            ($write, |a| {
                port::$out(a.get(1) as u16, a.get(2) as $type);
                0
            }),
        ]
    };
}

macro_rules! port_buffer {
    ($type:ty, $in:ident, $out:ident, $read:literal, $write:literal) => {
        [
            (
                $read,
                (|a| {
                    for index in 0..a.get(3) & 0xFFFF_FFFF {
                        let value = port::$in(a.get(1) as u16);
                        driver::write($read, a.get(2) + index * size_of::<$type>() as u64, value);
                    }
                    0
                }) as Export,
            ),
            ($write, |a| {
                for index in 0..a.get(3) & 0xFFFF_FFFF {
                    let value: $type = driver::read($write, a.get(2) + index * size_of::<$type>() as u64);
                    port::$out(a.get(1) as u16, value);
                }
                0
            }),
        ]
    };
}

type Pair = [(&'static str, Export); 2];
const R8: Pair = register!(u8, "StorPortReadRegisterUchar", "StorPortWriteRegisterUchar");
const R16: Pair = register!(u16, "StorPortReadRegisterUshort", "StorPortWriteRegisterUshort");
const R32: Pair = register!(u32, "StorPortReadRegisterUlong", "StorPortWriteRegisterUlong");
const R64: Pair = register!(u64, "StorPortReadRegisterUlong64", "StorPortWriteRegisterUlong64");
const RB8: Pair = register_buffer!(u8, "StorPortReadRegisterBufferUchar", "StorPortWriteRegisterBufferUchar");
const RB16: Pair =
    register_buffer!(u16, "StorPortReadRegisterBufferUshort", "StorPortWriteRegisterBufferUshort");
const RB32: Pair =
    register_buffer!(u32, "StorPortReadRegisterBufferUlong", "StorPortWriteRegisterBufferUlong");
const P8: Pair = port!(u8, read_u8, write_u8, "StorPortReadPortUchar", "StorPortWritePortUchar");
const P16: Pair = port!(u16, read_u16, write_u16, "StorPortReadPortUshort", "StorPortWritePortUshort");
const P32: Pair = port!(u32, read_u32, write_u32, "StorPortReadPortUlong", "StorPortWritePortUlong");
const PB8: Pair =
    port_buffer!(u8, read_u8, write_u8, "StorPortReadPortBufferUchar", "StorPortWritePortBufferUchar");
const PB16: Pair =
    port_buffer!(u16, read_u16, write_u16, "StorPortReadPortBufferUshort", "StorPortWritePortBufferUshort");
const PB32: Pair =
    port_buffer!(u32, read_u32, write_u32, "StorPortReadPortBufferUlong", "StorPortWritePortBufferUlong");

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = {
    const ALL: [Pair; 13] = [R8, R16, R32, R64, RB8, RB16, RB32, P8, P16, P32, PB8, PB16, PB32];
    ALL.as_flattened()
};
