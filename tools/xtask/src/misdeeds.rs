//! What misdeed.sys does, and the rule of the stand that must notice: each rule is seen to catch what it is for.

use crate::boot::{self, Show, Trial};
use crate::drivers;
use crate::machine::{IOMMU, Machine};
use crate::protocol::{Broken, Report};
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::stages::Tally;
use crate::workspace::Workspace;
use anyhow::Result;

/// One misdeed.
struct Misdeed {
    /// Its number in the source of misdeed.sys, tests/stand/misdeed/src/misdeed.rs.
    number: u32,
    what: &'static str,
    rule: &'static str,
    /// Words for the stand besides `io=scan`.
    words: &'static [&'static str],
    /// Whether the machine has an IOMMU.
    iommu: bool,
}

const fn misdeed(number: u32, what: &'static str, rule: &'static str) -> Misdeed {
    with(number, what, rule, &[])
}

/// One that an IOMMU notices.
const fn dma(number: u32, what: &'static str) -> Misdeed {
    Misdeed { iommu: true, ..misdeed(number, what, "dma-outside-legal-memory") }
}

const fn with(
    number: u32,
    what: &'static str,
    rule: &'static str,
    words: &'static [&'static str],
) -> Misdeed {
    Misdeed { number, what, rule, words, iommu: false }
}

const MISDEEDS: &[Misdeed] = &[
    misdeed(1, "completes a request twice", "srb-completed-twice"),
    misdeed(2, "forgets a request", "srb-never-completed"),
    misdeed(3, "writes to a request that it gave back", "srb-touched-after-completion"),
    misdeed(4, "says that more was moved than asked for", "data-transfer-length-grown"),
    misdeed(5, "says success and CHECK CONDITION", "srb-status"),
    misdeed(6, "completes a request as pending", "srb-completed-pending"),
    misdeed(7, "answers BUSY for ever", "busy-for-ever"),
    misdeed(8, "completes in HwStorBuildIo and returns TRUE", "buildio-completed-and-true"),
    misdeed(9, "returns with a lock", "lock-not-released"),
    misdeed(10, "releases a lock that it does not hold", "lock-not-held"),
    misdeed(11, "writes through a null pointer", "null-pointer"),
    misdeed(12, "writes to its constants", "write-to-read-only-section"),
    misdeed(13, "runs data", "no-execute"),
    misdeed(14, "uses too much stack", "stack-overflow"),
    misdeed(15, "asks for its uncached extension too late", "uncached-extension-late"),
    misdeed(16, "maps registers that are not its own", "device-base-outside-ranges"),
    misdeed(17, "does not come back", "call-too-long"),
    misdeed(18, "stalls for a whole millisecond", "stall-too-long"),
    misdeed(19, "asks for a notification that there is not", "unknown-notification"),
    misdeed(20, "sets a queue depth of nothing", "queue-depth-zero"),
    misdeed(21, "divides by zero", "exception"),
    misdeed(22, "fails fast", "fast-fail"),
    misdeed(23, "reads memory that is not its own", "bad-pointer"),
    misdeed(24, "ends the system", "bugcheck"),
    misdeed(25, "returns at another IRQL", "irql-changed"),
    misdeed(26, "turns interrupts off and does not come back", "interrupts-off-too-long"),
    misdeed(27, "asks for its uncached extension twice, for more", "uncached-extension-grown"),
    misdeed(28, "queues a DPC that was never initialised", "dpc-not-initialized"),
    misdeed(29, "completes what is no request", "srb-unknown"),
    misdeed(30, "releases locks in the order in which it took them", "lock-order"),
    misdeed(31, "takes a lock twice", "deadlock"),
    misdeed(32, "allows transfers of no bytes only", "configuration-invalid"),
    misdeed(33, "changes what only StorPort sets", "configuration-changed"),
    misdeed(34, "asks for passive initialisation too late", "passive-init-late"),
    misdeed(35, "frees what it never got", "bad-free"),
    misdeed(36, "reads the registry above PASSIVE_LEVEL", "wrong-irql"),
    misdeed(37, "runs code that is gone after DriverEntry", "discarded-section"),
    misdeed(38, "writes past a block of pool", "access-outside-allocation"),
    misdeed(39, "keeps memory when it is removed", "memory-leaked"),
    misdeed(40, "pauses the adapter and leaves it so", "pause-left"),
    misdeed(41, "asks for a performance option that nobody offered", "unknown-perf-flag"),
    misdeed(42, "asks for performance options while requests flow", "perf-opts-late"),
    misdeed(43, "takes a lock that there is not", "unknown-lock"),
    misdeed(44, "takes more locks than anybody needs", "lock-count"),
    misdeed(45, "makes a DPC object where none can be", "dpc-object"),
    misdeed(46, "changes the function of a request", "srb-damaged"),
    misdeed(47, "completes a request before there are any", "complete-before-running"),
    with(48, "sets no TRUE where TRUE must be", "hw-initialization-data", &["service=misdeed-48"]),
    with(49, "has a structure of another size", "hw-initialization-data-size", &["service=misdeed-49"]),
    with(50, "has no HwStorStartIo", "missing-callback", &["service=misdeed-50"]),
    with(51, "can move less than a block", "limits-too-small", &["io=full"]),
    misdeed(52, "runs its device extension", "page-rights"),
    misdeed(53, "asks for the address of what is not the request's", "foreign-address"),
    misdeed(54, "names another device extension", "wrong-device-extension"),
    misdeed(55, "finds its memory damaged", "buffer-overrun"),
    misdeed(56, "calls with a stack of its own", "import-not-on-driver-stack"),
    misdeed(57, "raises an interrupt that nobody has", "stray-interrupt"),
    with(
        58,
        "raises its interrupt without a routine for it",
        "no-interrupt-routine",
        &["service=misdeed-58"],
    ),
    misdeed(59, "does not claim what it raises again and again", "interrupt-storm"),
    misdeed(60, "takes the StartIo lock in its interrupt routine", "wrong-lock"),
    misdeed(61, "has the device write to a completed request", "dma-after-completion"),
    with(62, "keeps a request longer than the run may last", "time-limit", &["limit=4"]),
    with(63, "does much in its interrupt routine", "over-budget", &["trace=1"]),
    misdeed(64, "looks at configuration space while requests flow", "bus-data-late"),
    misdeed(65, "answers BUSY and says that nothing was moved", "busy-length"),
    misdeed(66, "completes with the status that is StorPort's own", "srb-internal-error"),
    misdeed(67, "logs something that does not say what it is", "log-event-details"),
    with(68, "aborts a request and keeps it", "abort-without-end", &["suite=srb-functions"]),
    with(70, "believes its extension when it starts again", "access-outside-allocation", &["suite=power"]),
    misdeed(71, "has no place for the status of a state change", "foreign-result"),
    misdeed(72, "has a status written to its constants", "foreign-result"),
    misdeed(73, "says that a bus has changed that it does not have", "foreign-bus"),
    misdeed(74, "holds the bus for an hour after a reset", "pause-left"),
    misdeed(75, "waits ten seconds under a lock, little by little", "dpc-watchdog"),
    misdeed(76, "changes an address that StorPort has", "state-change-address"),
    misdeed(77, "stalls in HwStorStartIo", "stall-in-startio"),
    misdeed(78, "stalls for more than 100 microseconds, little by little", "stalls-add-up"),
    misdeed(79, "asks for the data of what is no SCSI command", "list-of-no-command"),
    dma(80, "has the device write to memory that is not for devices"),
    dma(81, "has the device read what it is to write"),
    dma(82, "has the device read the data of a completed request"),
    with(90, "takes memory from the pool after a crash", "not-in-dump-mode", &["suite=dump"]),
    with(91, "forgets a request of the dump", "dump-timeout", &["suite=dump"]),
];

/// Rules found broken while no call into the driver is under way.
const WITHOUT_STACK: &[&str] = &[
    "srb-never-completed",
    "busy-for-ever",
    "buildio-completed-and-true",
    "lock-not-released",
    "irql-changed",
    "configuration-invalid",
    "configuration-changed",
    // Looked for when the driver is through.
    "limits-too-small",
    "dma-after-completion",
    "memory-leaked",
    "pause-left",
    "time-limit",
    // Between two calls.
    "dump-timeout",
    "state-change-address",
    // The stack is what is wrong.
    "import-not-on-driver-stack",
];

/// What is missing in the report of a broken rule: the driver's function that broke it, by name, and what went before.
fn missing_in(report: &[String], rule: &str) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut stacks = report.iter().take_while(|line| !line.starts_with("last "));
    // `  1 function at file:line [image+offset (section)]`
    let named = stacks.any(|line| line.contains(" at ") && line.contains("[misdeed.sys+0x"));
    if WITHOUT_STACK.contains(&rule) == named {
        missing.push("a stack, or none");
    }
    let events = report.iter().skip_while(|line| !line.starts_with("last ")).skip(1);
    // There is less to say of what DriverEntry does.
    let least = if rule.starts_with("hw-init") || rule == "missing-callback" { 1 } else { 8 };
    if events.clone().count() < least {
        missing.push("the last events");
    }
    // The first thing the driver ever does.
    let led = ["call HwStorFindAdapter", "call DriverEntry", "start request"];
    // A storm leaves nothing else among the last events, nor do ten seconds of stalls.
    let alone = matches!(rule, "interrupt-storm" | "dpc-watchdog");
    if !alone && !events.clone().any(|line| led.iter().any(|call| line.contains(call))) {
        missing.push("what led to it");
    }
    missing
}

/// Every rule that misdeed.sys can break is noticed, by its name; and nothing is wrong when it breaks none.
pub fn stage(workspace: &Workspace, screen: &mut Screen, qemu: &Qemu) -> Result<Tally> {
    let image = drivers::build_misdeed(workspace, screen)?;
    // QEMU's device for teaching: registers, and an engine that copies to and from memory when told to.
    let mut machine = Machine::default();
    machine.raw("edu");
    let mut behind_iommu = machine.clone();
    behind_iommu.more.extend(["-device".to_owned(), IOMMU.to_owned()]);
    let mut tally = Tally::default();
    let mut commit = |number: u32, words: &[&str], iommu: bool| -> Result<Report> {
        let parameters = vec![format!("Misdeed={number}")];
        let options = boot::Options { smp: 1, parameters, ..boot::Options::default() };
        let pci = "1234:11e8".to_owned();
        let words = [&["io=scan"], words].concat().iter().map(|word| (*word).to_owned()).collect();
        let trial =
            Trial { words, ..Trial::new(&image, pci, None, if iommu { &behind_iommu } else { &machine }) };
        boot::boot(workspace, screen, (qemu, &options), &trial, Show::Progress)
    };
    for (words, iommu) in [
        (&[][..], false),
        (&[], true),
        (&["suite=dump"], false),
        (&["suite=dump"], true),
        (&["suite=power"], false),
    ] {
        let honest = commit(0, words, iommu)?;
        tally.expect(
            &format!("without a misdeed, {words:?}, IOMMU {iommu}: {:?} {:?}", honest.failed, honest.broken),
            honest.failed.is_empty() && honest.broken.is_none() && honest.passed > 0,
        );
    }
    for Misdeed { number, what, rule, words, iommu } in MISDEEDS {
        let report = commit(*number, words, *iommu)?;
        let noticed = report.failed.iter().any(|failure| failure.starts_with(&format!("{rule}:")));
        tally.expect(&format!("{what}: no {rule}, but {:?} {:?}", report.failed, report.broken), noticed);
        let stopped = matches!(&report.broken, Some(Broken::Stopped(_)));
        tally.expect(&format!("{what}: went on after {rule}: {:?}", report.broken), stopped);
        let missing = missing_in(&report.traces, rule);
        let missing_text = format!("{what}: the report has not {missing:?}:\n{}", report.traces.join("\n"));
        tally.expect(&missing_text, missing.is_empty());
        if *number == 4 {
            // From the function that StorPort called, with its line, to the import.
            let named = report.traces.iter().any(|line| {
                line.contains("::start_io at ")
                    && line.contains("misdeed/src/lib.rs:")
                    && line.contains("[misdeed.sys+0x")
            });
            tally.expect(&format!("{what}: no start_io in\n{}", report.traces.join("\n")), named);
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_rule_of_the_stand_is_proved_by_a_misdeed() {
        let proved: BTreeSet<&str> = MISDEEDS.iter().map(|misdeed| misdeed.rule).collect();
        let rules: BTreeSet<&str> = stand::rules::RULES.iter().map(|rule| rule.name).collect();

        assert_eq!(rules.difference(&proved).collect::<Vec<_>>(), Vec::<&&str>::new(), "not proved");
        assert_eq!(proved.difference(&rules).collect::<Vec<_>>(), Vec::<&&str>::new(), "no rules");
    }

    #[test]
    fn rules_without_a_stack_are_rules() {
        let proved: BTreeSet<&str> = MISDEEDS.iter().map(|misdeed| misdeed.rule).collect();
        let known: BTreeSet<&str> = WITHOUT_STACK.iter().copied().collect();

        assert_eq!(known.difference(&proved).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert_eq!(known.len(), WITHOUT_STACK.len(), "none is listed twice");
    }

    #[test]
    fn every_misdeed_has_a_number_of_its_own() {
        let numbers: BTreeSet<u32> = MISDEEDS.iter().map(|misdeed| misdeed.number).collect();

        assert_eq!(numbers.len(), MISDEEDS.len());
    }
}
