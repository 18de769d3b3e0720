//! The stand: a bare-metal x86-64 program that plays Windows' kernel and Storport for one miniport image.
//!
//! Reading order: `boot` (entry), `memory` and `cpu` (the machine), `loader` (the image), `kernel` (ntoskrnl's side of the
//! imports), `storport` (the port driver), `scan`, `pass` and `suite` (what class drivers
//! and tests do with it). `run` below is the life of
//! a run from top to bottom.
//!
//! It builds for x86_64-unknown-none. For any other target this is an empty program, so that the library beside it can
//! be tested on the host.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod acpi;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod host;
#[cfg(target_os = "none")]
mod kernel;
#[cfg(target_os = "none")]
mod loader;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod model;
#[cfg(target_os = "none")]
mod pass;
#[cfg(target_os = "none")]
mod pci;
#[cfg(target_os = "none")]
mod report;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod scan;
#[cfg(target_os = "none")]
mod storport;
#[cfg(target_os = "none")]
mod suite;

#[cfg(target_os = "none")]
use run::run;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "stand: a program for the bare machine; build it with --target x86_64-unknown-none and run it in QEMU"
    );
    std::process::exit(2);
}
