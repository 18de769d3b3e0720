//! PCI configuration space and registers that say anything: see the library's module of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    virtio_fuzz::capabilities::run(input);
});
