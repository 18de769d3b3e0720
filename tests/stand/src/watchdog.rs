//! Time that a miniport waits away at DISPATCH_LEVEL or above: how much of it a call may, and Windows' DPC watchdog (bug check
//! 0x133). What is counted is what it asks StorPortStallExecution and KeStallExecutionProcessor for, so that the verdict is the
//! same on every machine.
//!
//! While the adapter works a call stalls for [`STALLS`] microseconds at most, all its stalls together, and HwStorStartIo not at
//! all ([`most_stalls`]).
//!
//! The watchdog: bug-check-0x133-dpc-watchdog-violation.md: one limit holds for a single DPC or interrupt routine, another for all of the
//! time since the IRQL rose to DISPATCH_LEVEL. Their values are the system's (nf-wdm-kequerydpcwatchdoginformation.md); these
//! are the smallest that Microsoft has published, in ticks of 1/64 s: 282h in "Determining the source of Bug Check 0x133
//! errors on Windows Server 2012", and 1E00h as the period of the other.

/// Most microseconds of all stalls of one call. guidelines-for-writing-dpc-routines.md has two sentences: a DPC runs for no more
/// than 100 microseconds, and what needs longer is left to a timer; nor may it ask for longer delays than that. All that is
/// called at DISPATCH_LEVEL holds off DPCs as a DPC does, and an interrupt routine more than that. (A typical stall should be
/// shorter than 50 microseconds, nf-wdm-kestallexecutionprocessor.md, which forbids no longer one.)
pub const STALLS: u64 = 100;

/// Most microseconds that the stalls of a call of this name may take together at DISPATCH_LEVEL or above; `None` where no such
/// rule holds.
///
/// HwStorStartIo must not wait (storport-spnowait.md). What starts and stops the adapter may: it is called once, no request can
/// wait for it, and at DIRQL there are no timers and DPCs to leave the waiting to. The length of each stall and the watchdog
/// bound it. After a crash nobody else runs, and polling is all there is.
pub fn most_stalls(callback: &str, crashed: bool) -> Option<u64> {
    match callback {
        _ if crashed => None,
        "DriverEntry" | "HwStorFindAdapter" | "HwStorInitialize" | "HwStorAdapterControl" => None,
        "HwStorStartIo" => Some(0),
        _ => Some(STALLS),
    }
}

/// Microseconds of a tick.
const TICK: u64 = 15_625;
/// Most microseconds of one call.
pub const SINGLE: u64 = 0x282 * TICK;
/// Most microseconds until the IRQL falls below DISPATCH_LEVEL.
pub const SERIES: u64 = 0x1E00 * TICK;

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// That of one call.
    Single,
    /// That of all calls since the IRQL rose.
    Series,
}

/// Waits since the IRQL of a processor rose to DISPATCH_LEVEL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchdog {
    series: u64,
}

impl Watchdog {
    /// None yet.
    pub const NEW: Self = Watchdog { series: 0 };

    /// The IRQL has fallen.
    pub fn rest(&mut self) {
        self.series = 0;
    }

    /// A call at DISPATCH_LEVEL or above waits; `call` is what it has waited so far, in microseconds.
    pub fn wait(&mut self, call: &mut u64, microseconds: u64) -> Option<Violation> {
        *call += microseconds;
        self.series += microseconds;
        if *call > SINGLE {
            Some(Violation::Single)
        } else {
            (self.series > SERIES).then_some(Violation::Series)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_io_never_stalls_and_other_calls_a_little_unless_the_adapter_starts_or_stops() {
        let most = |callback| most_stalls(callback, false);

        assert_eq!(most("HwStorStartIo"), Some(0));
        let briefly =
            ["HwStorBuildIo", "HwStorDpcRoutine", "HwStorResetBus", "HwStorTimer", "HwStorInterrupt"];
        assert_eq!(briefly.map(most), [Some(100); 5]);
        let starts_and_stops = ["HwStorFindAdapter", "HwStorInitialize", "HwStorAdapterControl"];
        assert_eq!(starts_and_stops.map(most), [None; 3]);
        assert_eq!(most_stalls("HwStorStartIo", true), None, "after a crash");
    }

    #[test]
    fn one_call_may_wait_ten_seconds_and_no_longer() {
        let (mut watchdog, mut call) = (Watchdog::NEW, 0);

        assert_eq!(watchdog.wait(&mut call, SINGLE), None);
        assert_eq!(watchdog.wait(&mut call, 1), Some(Violation::Single));
        assert_eq!(SINGLE / 1_000_000, 10);
    }

    #[test]
    fn many_calls_may_wait_two_minutes_together() {
        let mut watchdog = Watchdog::NEW;
        let calls = SERIES / 1_000_000;
        for _ in 0..calls {
            assert_eq!(watchdog.wait(&mut 0, 1_000_000), None);
        }

        assert_eq!(calls, 120);
        assert_eq!(watchdog.wait(&mut 0, 1), Some(Violation::Series));
    }

    #[test]
    fn below_dispatch_level_the_series_ends() {
        let mut watchdog = Watchdog::NEW;
        watchdog.wait(&mut 0, SERIES);

        watchdog.rest();

        assert_eq!(watchdog.wait(&mut 0, 1), None);
    }
}
