//! What the driver passes to a function it calls.

/// The arguments of an import.
#[derive(Clone, Copy)]
pub struct Arguments(u64);

impl Arguments {
    /// Those at an address, which lies on a stack of the driver.
    pub fn on_stack(address: u64) -> Self {
        Arguments(address)
    }

    /// Argument `index`, counted from 0.
    pub fn get(self, index: usize) -> u64 {
        // SAFETY: the address was checked to lie on the driver's stack, which stays mapped; reading beyond the last
        // argument reads the caller's frame.
        unsafe { ((self.0 + 8 * index as u64) as *const u64).read() }
    }

    /// Address of an argument: a `va_list`.
    pub fn list(self, index: usize) -> u64 {
        self.0 + 8 * index as u64
    }

    /// Arguments behind a `va_list` pointer the driver passed.
    pub fn at(list: u64) -> Self {
        Arguments(list)
    }

    /// Where the import returns to.
    pub fn caller(self) -> u64 {
        // SAFETY: as in `get`: the return address lies below the arguments.
        unsafe { ((self.0 - 8) as *const u64).read() }
    }
}
