//! Surprise removal: the device is gone before anybody says so. Its registers read as all ones and swallow what is written,
//! its configuration space as well, and it neither moves data nor interrupts any more.
//!
//! The driver's registers become a page of ones that cannot be written; `cpu/fault.rs` steps over the stores.

use core::sync::atomic::{AtomicBool, Ordering};

use stand::wdk::codes::*;

use super::{Address, Phase, control, port, queue, unit};
use crate::cpu::smp;
use crate::memory::paging::{self, Flags};
use crate::memory::{PAGE, frames};
use crate::pci::{self, command, virtio};

static GONE: AtomicBool = AtomicBool::new(false);

/// Whether an address belongs to the registers of a device that is gone.
pub fn is_register(address: u64) -> bool {
    // Takes no lock: the list does not change any more once the device is gone.
    GONE.load(Ordering::Acquire) && crate::memory::is_device(address)
}

/// Takes the device away, whatever it is doing.
pub fn pull_out() {
    let (function, bars, registers) = {
        let port = port();
        (port.function, port.bars.clone(), port.registers.clone())
    };
    let Some(function) = function else { return };
    let Some(ones) = frames::run(1) else { crate::stop!("no memory") };
    frames::fill(ones, 1, 0xFF);
    GONE.store(true, Ordering::Release);
    // The device first stops moving data; what it moved is there, what it did not move never will be.
    virtio::forget(function, &bars);
    function.set_command(command::NO_LINE, command::IO | command::MEMORY | command::MASTER);
    for (address, bytes, _) in registers {
        let first = address & !(PAGE - 1);
        for page in (first..address + bytes).step_by(PAGE as usize) {
            paging::map(page, ones, Flags::CONSTANT);
        }
    }
    pci::remove(function);
    smp::forget_everywhere();
}

/// What Storport does when PnP tells it of a surprise removal: the miniport hears of it, then of each unit. Which of the
/// two ways to tell the adapter comes first where a miniport has both is not documented; here the newer one is used
/// alone (ScsiAdapterSurpriseRemoval, below DISPATCH_LEVEL; ne-storport-scsi_adapter_control_type.md), else the PnP request.
pub fn tell() {
    if control::supports(SCSI_ADAPTER_SURPRISE_REMOVAL) {
        control::adapter_control(SCSI_ADAPTER_SURPRISE_REMOVAL, 0);
    } else {
        unit::pnp(STOR_SURPRISE_REMOVAL, None);
    }
    let addresses: alloc::vec::Vec<Address> = port().units.keys().copied().collect();
    for address in addresses {
        unit::tell(SCSI_UNIT_SURPRISE_REMOVAL, address);
    }
    smp::wake_all();
}

/// What follows: every request ends, the adapter is removed and stopped. It must do that without its device
/// (ne-storport-scsi_adapter_control_type.md, ScsiStopAdapter).
pub fn finish() -> bool {
    let ended = queue::wait(60_000, || port().active.is_empty() && port().waiting.is_empty());
    control::remove();
    debug_assert!(port().phase == Phase::Removed);
    ended
}
