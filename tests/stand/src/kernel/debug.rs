//! DbgPrint and its family, and bugchecks.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt::Write;

use super::export::Export;
use crate::cpu::arguments::Arguments;
use crate::cpu::lock::Lock;
use crate::memory::driver;
use crate::storport::{Address, port};

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("DbgPrint", |a| print("DbgPrint", &format("DbgPrint", a.get(0), Arguments::at(a.list(1))))),
    ("DbgPrintEx", |a| print("DbgPrint", &format("DbgPrintEx", a.get(2), Arguments::at(a.list(3))))),
    ("vDbgPrintEx", |a| print("DbgPrint", &format("vDbgPrintEx", a.get(2), Arguments::at(a.get(3))))),
    ("vDbgPrintExWithPrefix", |a| {
        let prefix = driver::text("vDbgPrintExWithPrefix", a.get(0), 512);
        print("DbgPrint", &(prefix + &format("vDbgPrintExWithPrefix", a.get(3), Arguments::at(a.get(4)))))
    }),
    ("_snprintf", |a| store(a.get(0), a.get(1), &format("_snprintf", a.get(2), Arguments::at(a.list(3))))),
    ("_vsnprintf", |a| store(a.get(0), a.get(1), &format("_vsnprintf", a.get(2), Arguments::at(a.get(3))))),
    ("sprintf", |a| store(a.get(0), 4096, &format("sprintf", a.get(1), Arguments::at(a.list(2))))),
    ("KeBugCheck", |a| bugcheck(a, 1)),
    ("KeBugCheckEx", |a| bugcheck(a, 5)),
];

/// Prints what the driver said, line by line.
pub fn print(source: &str, text: &str) -> u64 {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        crate::driver_log!(source, "{line}");
    }
    0
}

fn store(to: u64, size: u64, text: &str) -> u64 {
    let mut bytes: Vec<u8> = text.bytes().take(size as usize).collect();
    let whole = bytes.len() < size as usize;
    if whole {
        bytes.push(0);
    }
    driver::put("_snprintf", to, &bytes);
    if whole { bytes.len() as u64 - 1 } else { u64::MAX }
}

/// The code and the address with which the driver is to stop the system for a reset that it has been asked for.
static EXPECTED: Lock<Option<(u64, Address)>> = Lock::new(None);

/// From now on the driver may stop the system, with this code, an SRB that asks for a reset of this unit, and its address.
pub fn expect_bugcheck(code: u64, address: Address) {
    *EXPECTED.lock() = Some((code, address));
}

/// Whether these are the parameters of the bugcheck that is expected.
fn is_expected(a: Arguments) -> bool {
    let Some((code, address)) = *EXPECTED.lock() else { return false };
    let (path, target, lun) = address;
    let is_reset =
        port().active.get(&a.get(1)).is_some_and(|request| request.is_reset() && request.address == address);
    let parameters = [a.get(2), a.get(3), a.get(4)];
    is_reset && a.get(0) & 0xFFFF_FFFF == code && parameters == [path, target, lun].map(u64::from)
}

fn bugcheck(a: Arguments, words: usize) -> u64 {
    let mut text = String::new();
    for word in 0..words {
        let _ = write!(text, "{}{:#x}", if word == 0 { "" } else { " " }, a.get(word));
    }
    if words == 5 && is_expected(a) {
        crate::ok!("bugcheck-on-reset", "KeBugCheckEx: {text}");
        crate::console::end();
    }
    crate::not_ok!("bugcheck", "the driver called KeBugCheckEx: {text}");
    crate::stop!("bugcheck {:#x} in {}", a.get(0) & 0xFFFF_FFFF, super::export::whereabouts(a))
}

/// Formats as the kernel's printf family does, without floating point.
pub fn format(function: &str, text: u64, arguments: Arguments) -> String {
    let template = driver::text(function, text, 1024);
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let index = Cell::new(0);
    let next = || {
        index.set(index.get() + 1);
        arguments.get(index.get() - 1)
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero, mut alternate) = (false, false, false);
        while let Some(flag) = chars.next_if(|c| "-0#+ ".contains(*c)) {
            left |= flag == '-';
            zero |= flag == '0';
            alternate |= flag == '#';
        }
        let number = |chars: &mut core::iter::Peekable<core::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                return Some(next() as u32 as usize);
            }
            let mut value = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                value = Some(value.unwrap_or(0) * 10 + digit as usize - '0' as usize);
            }
            value
        };
        let width = number(&mut chars).unwrap_or(0).min(512);
        let precision = chars.next_if_eq(&'.').map(|_| number(&mut chars).unwrap_or(0));
        let (mut long, mut wide, mut short) = (false, false, 0);
        loop {
            match chars.peek() {
                Some('l' | 'w') => {
                    chars.next();
                    long |= wide;
                    wide = true;
                }
                Some('h') => {
                    chars.next();
                    short += 1;
                }
                Some('I') => {
                    chars.next();
                    if chars.next_if_eq(&'3').is_some() {
                        chars.next();
                    } else {
                        long = true;
                        if chars.next_if_eq(&'6').is_some() {
                            chars.next();
                        }
                    }
                }
                Some('z' | 'j' | 't') => {
                    chars.next();
                    long = true;
                }
                _ => break,
            }
        }
        let Some(conversion) = chars.next() else { break };
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let raw = next();
        let value = match (long, short) {
            (true, _) => raw,
            (_, 0) => raw & 0xFFFF_FFFF,
            (_, 1) => raw & 0xFFFF,
            _ => raw & 0xFF,
        };
        let most = precision.unwrap_or(512).min(512);
        let piece = match conversion {
            'd' | 'i' if long => alloc::format!("{}", raw as i64),
            'd' | 'i' => alloc::format!("{}", value as i32),
            'u' => alloc::format!("{value}"),
            'x' if alternate => alloc::format!("{value:#x}"),
            'x' => alloc::format!("{value:x}"),
            'X' => alloc::format!("{value:X}"),
            'o' => alloc::format!("{value:o}"),
            'p' => alloc::format!("{raw:016X}"),
            'c' | 'C' => String::from(char::from(raw as u8)),
            's' | 'S' | 'Z' if raw == 0 => String::from("(null)"),
            'Z' => {
                let length = usize::from(driver::read::<u16>(function, raw)).min(512);
                let buffer = driver::read::<u64>(function, raw + 8);
                if wide {
                    driver::wide_text(function, buffer, length / 2)
                } else {
                    driver::text(function, buffer, length)
                }
            }
            's' if wide => driver::wide_text(function, raw, most),
            'S' if short == 0 => driver::wide_text(function, raw, most),
            's' | 'S' => driver::text(function, raw, most),
            other => alloc::format!("%{other}"),
        };
        let pad = width.saturating_sub(piece.chars().count());
        let fill = if zero && !left { '0' } else { ' ' };
        if !left {
            out.extend(core::iter::repeat_n(fill, pad));
        }
        out.push_str(&piece);
        if left {
            out.extend(core::iter::repeat_n(' ', pad));
        }
    }
    out
}
