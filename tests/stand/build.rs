//! Links the bare-metal program with our own linker script, so that `cargo build --target x86_64-unknown-none` needs no
//! flags from outside.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=src/boot/stand.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo:rustc-link-arg-bins=-T{folder}/src/boot/stand.ld");
        // The target links position-independent programs; nobody would relocate this one.
        println!("cargo:rustc-link-arg-bins=--no-pie");
        println!("cargo:rustc-link-arg-bins=--build-id=none");
    }
}
