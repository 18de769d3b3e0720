//! The register and port functions. On x64 the header makes most of them inline; storport.sys exports them as well.
//! The first argument is the device extension, the second the register or port.

use crate::cpu::port;
use crate::kernel::Export;

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

const BYTES: [(&str, Export); 2] = register!(u8, "StorPortReadRegisterUchar", "StorPortWriteRegisterUchar");
const SHORTS: [(&str, Export); 2] =
    register!(u16, "StorPortReadRegisterUshort", "StorPortWriteRegisterUshort");
const LONGS: [(&str, Export); 2] = register!(u32, "StorPortReadRegisterUlong", "StorPortWriteRegisterUlong");
const QUADS: [(&str, Export); 2] =
    register!(u64, "StorPortReadRegisterUlong64", "StorPortWriteRegisterUlong64");

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    BYTES[0],
    BYTES[1],
    SHORTS[0],
    SHORTS[1],
    LONGS[0],
    LONGS[1],
    QUADS[0],
    QUADS[1],
    ("StorPortReadPortUchar", |a| u64::from(port::read_u8(a.get(1) as u16))),
    ("StorPortReadPortUshort", |a| u64::from(port::read_u16(a.get(1) as u16))),
    ("StorPortReadPortUlong", |a| u64::from(port::read_u32(a.get(1) as u16))),
    ("StorPortWritePortUchar", |a| {
        port::write_u8(a.get(1) as u16, a.get(2) as u8);
        0
    }),
    ("StorPortWritePortUshort", |a| {
        port::write_u16(a.get(1) as u16, a.get(2) as u16);
        0
    }),
    ("StorPortWritePortUlong", |a| {
        port::write_u32(a.get(1) as u16, a.get(2) as u32);
        0
    }),
];
