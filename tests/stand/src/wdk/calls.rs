//! What the genuine header's inline functions hand to StorPort's two variadic functions, argument by argument: built from
//! `tools/wdk-kit/reference/storport-calls.json`, so that the stand takes no argument from where the drivers put it.

/// An argument after the code and the device extension.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name in the header.
    pub name: &'static str,
    /// It is 32 bits wide: what is above them means nothing.
    pub short: bool,
}

/// What is handed over with one code.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The code, without the name of its enumeration.
    pub code: &'static str,
    /// The arguments in their order.
    pub arguments: &'static [Argument],
}

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// Where an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from the code, which is argument 0.
    pub index: usize,
    short: bool,
}

impl Place {
    /// What was handed over, of what lies at the place.
    pub const fn value(self, word: u64) -> u64 {
        if self.short { word & 0xFFFF_FFFF } else { word }
    }
}

/// Where the argument `name` of `code` is. To be asked by the compiler, which refuses a name that the header has not.
pub const fn place(code: &str, name: &str) -> Place {
    let mut call = 0;
    while call < CALLS.len() {
        if equal(CALLS[call].code, code) {
            let arguments = CALLS[call].arguments;
            let mut index = 0;
            while index < arguments.len() {
                if equal(arguments[index].name, name) {
                    return Place { index: index + 2, short: arguments[index].short };
                }
                index += 1;
            }
        }
        call += 1;
    }
    panic!("the header hands over no such argument")
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_state_change_comes_last() {
        let status = place("StateChangeDetectedCall", "Status");

        assert_eq!(status.index, 7);
        assert_eq!(status.value(0x1234_5678_9ABC_DEF0), 0x1234_5678_9ABC_DEF0);
    }

    #[test]
    fn a_ulong_is_32_bits_of_its_place() {
        assert_eq!(place("StateChangeDetectedCall", "ChangedEntity").value(0xFFFF_FFFF_0000_0001), 1);
    }

    #[test]
    #[should_panic(expected = "no such argument")]
    fn a_name_that_the_header_has_not_is_refused() {
        place("IssueDpc", "Status");
    }
}
