//! The parts of the stand that need no bare machine: what a driver image must look like, the layouts the driver reads
//! and writes, the SCSI a class driver speaks, the stamps on the disks, the command line.
//!
//! They build for the host too, where `cargo test -p stand` tests them. The machine itself (page tables, interrupts, the
//! kernel and the port driver the miniport sees) is the program in `main.rs`.
//!
//! Nothing here uses the drivers' own crates: the stand judges them, so it must not share their mistakes.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod charge;
pub mod class;
pub mod cmdline;
pub mod device;
pub mod dump;
pub mod emulate;
pub mod events;
pub mod image;
pub mod legal;
pub mod lines;
pub mod reply;
pub mod rules;
pub mod scsi;
pub mod spc;
pub mod split;
pub mod stamp;
pub mod watchdog;
pub mod wdk;
