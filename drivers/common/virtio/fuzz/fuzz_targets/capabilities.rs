//! PCI configuration space and registers that say anything: see the library's module of this name.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    virtio_fuzz::capabilities::run(input);
});

/// For stable, and for editors: without cargo-fuzz there is nothing to run.
#[cfg(not(fuzzing))]
fn main() {}
