//! A device that writes anything into the shared memory: see the library's module of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    virtio_fuzz::used_ring::run(input);
});
