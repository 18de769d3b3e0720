//! A device that writes anything into the shared memory: see the library's module of this name.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    virtio_fuzz::used_ring::run(input);
});

/// For stable, and for editors: without cargo-fuzz there is nothing to run.
#[cfg(not(fuzzing))]
fn main() {}
