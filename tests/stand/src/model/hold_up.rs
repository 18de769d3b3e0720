//! A register write that holds up its processor for seconds, as the reset of a host does that waits for its storage: what else
//! stands still meanwhile.
//!
//! Time that a processor spends in such a write is virtual. It counts for Windows' DPC watchdog as a wait does (`watchdog.rs` has
//! the pages), and nothing is measured: another processor is made to start requests meanwhile, and the write returns when
//! that has come back from the driver. Who waits there for a lock of the driver's or of Storport's does not come back.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use stand::device::Device;
use stand::scsi;
use stand::wdk::codes::SRB_FUNCTION_RESET_LOGICAL_UNIT;
use stand::wdk::srb::Extra;

use super::{Ram, interrupt, with};
use crate::cpu::lock::Lock;
use crate::cpu::{apic, call, percpu, smp, translations, tsc};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, Phase, lock, port, queue};

/// Tells the requests of this file from those of suites.
const COOKIE: u64 = 0x484F << 32;
/// Where they go, and the seconds that they may take: longer than any reset of a suite.
const UNIT: Address = (0, 0, 0);
const TIMEOUT: u32 = 30;
/// Milliseconds of the time stamp counter after which another processor is taken for stuck, which decides no test that passes.
const STUCK: u64 = 6000;

/// A write that held up its processor.
#[derive(Clone, Debug)]
pub struct HoldUp {
    /// The callback that did it.
    pub callback: &'static str,
    /// Locks of Storport that its processor held.
    pub locks: Vec<&'static str>,
    /// Whether another processor got through the driver meanwhile; `None`: there is none, Storport lets nobody start requests, or it was tried before.
    pub others_go_on: Option<bool>,
}

/// Another processor was set to work since [`take`]: what it does may hold up a processor as well.
static TRIED: AtomicBool = AtomicBool::new(false);
static SEEN: Lock<Vec<HoldUp>> = Lock::new(Vec::new());

/// What was seen since the last time.
pub fn take() -> Vec<HoldUp> {
    queue::take_done(|cookie| cookie == COOKIE);
    TRIED.store(false, Ordering::SeqCst);
    core::mem::take(&mut *SEEN.lock())
}

/// A register was written, by the driver on this processor: holds that up, if it has to. Interrupts are off.
pub(super) fn after_write() {
    let milliseconds = with(Device::take_hold_up);
    if milliseconds == 0 {
        return;
    }
    let cpu = percpu::current();
    let locks = cpu.held[..cpu.locks].iter().flatten().map(|held| lock::name(held.kind)).collect();
    let callback = percpu::current_callback();
    call::is_held_up(milliseconds * 1000);
    let others_go_on = others_go_on();
    while with(|device| device.is_in_reset()) {
        let messages = with(|device| device.tick(&mut Ram));
        interrupt(&messages);
    }
    SEEN.lock().push(HoldUp { callback, locks, others_go_on });
}

/// Has another processor start a request that goes to the device, and one for a reset, and waits until it has.
fn others_go_on() -> Option<bool> {
    let count = smp::count();
    let is_held = {
        let port = port();
        port.phase != Phase::Running || port.held
    };
    if count < 2 || is_held || TRIED.swap(true, Ordering::SeqCst) {
        return None;
    }
    let other = (percpu::number() + 1) % count;
    let flush = Request::new(UNIT, scsi::synchronize_cache(), Data::default(), TIMEOUT);
    let reset = Request::other(UNIT, SRB_FUNCTION_RESET_LOGICAL_UNIT, Extra::None, Data::default(), TIMEOUT);
    for mut request in [flush, reset] {
        (request.urgent, request.pinned, request.cookie) = (true, Some(other), COOKIE);
        queue::submit(request);
    }
    let until = tsc() + STUCK * apic::tsc_per_ms();
    while tsc() < until {
        // The other one may have to wait until this one has done so.
        translations::forget();
        let waits = port().waiting.iter().any(|request| request.cookie == COOKIE);
        if !waits && !smp::others_are_starting() {
            return Some(true);
        }
        core::hint::spin_loop();
    }
    Some(false)
}
