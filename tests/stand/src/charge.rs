//! What the kernel's memory functions are charged at when a driver's instructions are counted.
//!
//! A driver imports memcpy and its like, so they run in the stand and are not stepped through; but on Windows they are work
//! that the driver asked for, in the same processor time as its own. What the kernel's own take is not counted here. They
//! are charged as a plain loop would be that moves 16 bytes at a time and 128 in a turn:
//!
//! | part | fill | move | compare |
//! | --- | --- | --- | --- |
//! | call, looking at the length, return | 12 | 12 | 12 |
//! | each 16 bytes begun | 1 (store) | 2 (load, store) | 3 (load, compare, branch), for each 8 bytes begun |
//! | each whole 128 bytes | 3 (add, count, branch) | 3 | 3 |
//!
//! So memset of 16 KiB is 0.09 instructions a byte, memcpy 0.15, and what has no byte costs 12.

/// Instructions around the loop.
pub const CALL: u64 = 12;
/// Instructions of a turn that move nothing.
const TURN: u64 = 3;
/// Bytes of a turn.
const TURN_BYTES: u64 = 128;

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One value everywhere.
    Fill,
    /// From one place to another.
    Move,
    /// Two places are read.
    Compare,
}

/// A memory function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// What it does.
    pub work: Work,
    /// Which of its arguments is the length in bytes, counted from 0.
    pub length: usize,
}

/// The memory function of this name, if it is one.
pub fn function(name: &str) -> Option<Function> {
    let (work, length) = match name {
        "memset" => (Work::Fill, 2),
        "RtlFillMemory" | "RtlZeroMemory" => (Work::Fill, 1),
        "memcpy" | "memmove" | "RtlCopyMemory" | "RtlMoveMemory" => (Work::Move, 2),
        "memcmp" | "RtlCompareMemory" => (Work::Compare, 2),
        _ => return None,
    };
    Some(Function { work, length })
}

impl Function {
    /// Instructions that so many bytes are charged at.
    pub fn instructions(self, bytes: u64) -> u64 {
        let steps = match self.work {
            Work::Fill => bytes.div_ceil(16),
            Work::Move => 2 * bytes.div_ceil(16),
            Work::Compare => 3 * bytes.div_ceil(8),
        };
        CALL + steps + TURN * (bytes / TURN_BYTES)
    }

    /// Whether its first argument is where it writes.
    pub fn writes(self) -> bool {
        self.work != Work::Compare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charged(name: &str, bytes: u64) -> u64 {
        function(name).expect("a memory function").instructions(bytes)
    }

    #[test]
    fn an_empty_call_costs_the_call() {
        for name in ["memset", "memcpy", "memcmp"] {
            assert_eq!(charged(name, 0), CALL, "{name}");
        }
    }

    #[test]
    fn a_part_of_sixteen_bytes_costs_as_much_as_all_of_them() {
        assert_eq!((charged("memset", 1), charged("memset", 16), charged("memset", 17)), (13, 13, 14));
        assert_eq!((charged("memcpy", 1), charged("memcpy", 16), charged("memcpy", 17)), (14, 14, 16));
        assert_eq!((charged("memcmp", 1), charged("memcmp", 8), charged("memcmp", 9)), (15, 15, 18));
    }

    #[test]
    fn a_turn_has_its_own_price_once_it_is_whole() {
        assert_eq!((charged("memcpy", 127), charged("memcpy", 128)), (12 + 16, 12 + 16 + 3));
    }

    #[test]
    fn long_fills_and_moves_have_the_price_a_byte_that_is_documented() {
        let a_byte = |name| (charged(name, 16 << 10) as f64 / f64::from(16 << 10) * 100.0).round();

        assert_eq!((a_byte("memset"), a_byte("memcpy")), (9.0, 15.0));
    }

    #[test]
    fn the_length_is_where_each_function_has_it() {
        let place = |name| function(name).map(|function| function.length);

        assert_eq!(
            (place("memset"), place("RtlFillMemory"), place("RtlZeroMemory")),
            (Some(2), Some(1), Some(1))
        );
        assert_eq!(
            (place("memmove"), place("RtlCopyMemory"), place("RtlCompareMemory")),
            (Some(2), Some(2), Some(2))
        );
    }

    #[test]
    fn other_imports_are_no_memory_functions() {
        for name in ["StorPortNotification", "strlen", "KeQueryPerformanceCounter"] {
            assert_eq!(function(name), None, "{name}");
        }
    }

    #[test]
    fn only_a_comparison_writes_nothing() {
        let writes = |name| function(name).expect("a memory function").writes();

        assert!(writes("memset") && writes("memcpy") && !writes("memcmp"));
    }
}
