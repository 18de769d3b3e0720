//! Whatever a driver does in whatever order, on a fake device that may lie: see the library's module of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    virtio_fuzz::call_sequences::run(input);
});
