//! The rules: what a miniport must not do. A broken rule stops the run, unlike a failed check of a suite.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name, as in the `not ok` line.
    pub name: &'static str,
    /// What must hold, in a sentence.
    pub sentence: &'static str,
    /// The page of Microsoft's documentation it follows; empty for a limit that the stand itself sets.
    pub page: &'static str,
}

const fn rule(name: &'static str, sentence: &'static str, page: &'static str) -> Rule {
    Rule { name, sentence, page }
}

/// Every rule, in the order of README.md.
pub const RULES: &[Rule] = &[
    // Requests.
    rule("srb-completed-twice", "an SRB is completed once", "nf-storport-storportnotification.md"),
    rule("srb-unknown", "only SRBs that the miniport has are named", "nf-storport-storportnotification.md"),
    rule(
        "list-of-no-command",
        "only a SCSI command has data: of a reset, its length says nothing",
        "nc-storport-hw_buildio.md",
    ),
    rule("srb-never-completed", "an SRB is completed within its time-out", "nc-storport-hw_startio.md"),
    rule(
        "srb-touched-after-completion",
        "the memory of an SRB belongs to the port driver again once it is completed",
        "nf-storport-storportnotification.md",
    ),
    rule(
        "abort-without-end",
        "an abort succeeds when the request that it is for has ended",
        "ns-srb-_scsi_request_block.md",
    ),
    rule(
        "dma-after-completion",
        "the device no longer writes to the memory of an SRB that is completed",
        "nf-storport-storportnotification.md",
    ),
    rule(
        "dma-outside-legal-memory",
        "the device reaches what it was given for that, in the direction of the request",
        "enabling-dma-remapping-for-device-drivers.md",
    ),
    rule(
        "data-transfer-length-grown",
        "DataTransferLength is at most what was asked for",
        "ns-srb-_scsi_request_block.md",
    ),
    rule(
        "srb-status",
        "SRB status, SCSI status and the sense flag do not contradict each other",
        "ns-srb-_scsi_request_block.md",
    ),
    rule(
        "srb-completed-pending",
        "a completed SRB has a status other than PENDING",
        "ns-srb-_scsi_request_block.md",
    ),
    rule(
        "srb-internal-error",
        "SRB_STATUS_INTERNAL_ERROR is for the port driver, whose system status counts then",
        "ns-srb-_storage_request_block.md",
    ),
    rule(
        "srb-damaged",
        "the miniport leaves Function and Signature alone",
        "ns-srb-_storage_request_block.md",
    ),
    rule("busy-for-ever", "a unit does not stay busy for ever", "nc-storport-hw_startio.md"),
    rule(
        "busy-length",
        "a request that comes back busy keeps its DataTransferLength, since it is sent again",
        "nc-storport-hw_startio.md",
    ),
    rule(
        "buildio-completed-and-true",
        "HwStorBuildIo returns FALSE for an SRB that it completed",
        "nc-storport-hw_buildio.md",
    ),
    rule(
        "complete-before-running",
        "SRBs are completed only when there can be any",
        "nf-storport-storportnotification.md",
    ),
    rule("pause-left", "what is paused is resumed", "nf-storport-storportpause.md"),
    // Levels and locks.
    rule("wrong-irql", "a function is called at an IRQL it allows", "managing-hardware-priorities.md"),
    rule(
        "irql-changed",
        "a callback returns at the IRQL it was called at",
        "managing-hardware-priorities.md",
    ),
    rule(
        "lock-not-released",
        "a callback releases what it acquired",
        "nf-storport-storportacquirespinlock.md",
    ),
    rule("lock-not-held", "only a lock that is held is released", "nf-storport-storportreleasespinlock.md"),
    rule("lock-order", "locks are released in reverse order", "nf-storport-storportacquirespinlock.md"),
    rule(
        "wrong-lock",
        "an interrupt routine does not acquire the StartIo lock",
        "nf-storport-storportacquirespinlock.md",
    ),
    rule("deadlock", "a lock is not acquired by its holder", "nf-storport-storportacquirespinlock.md"),
    rule(
        "dpc-not-initialized",
        "a DPC object is initialised before its use",
        "nf-storport-storportinitializedpc.md",
    ),
    rule(
        "dpc-object",
        "a DPC object is aligned, in memory that stays, and not queued when it is initialised",
        "nf-storport-storportinitializedpc.md",
    ),
    rule(
        "queue-depth-zero",
        "the depth of a unit's queue is at least 1",
        "nf-storport-storportsetdevicequeuedepth.md",
    ),
    // Dump mode.
    rule(
        "not-in-dump-mode",
        "what nobody is there for in dump mode is not called",
        "restrictions-on-miniport-drivers-that-manage-the-boot-drive.md",
    ),
    rule(
        "dump-timeout",
        "in dump mode a request is completed by calling HwStorInterrupt",
        "restrictions-on-miniport-drivers-that-manage-the-boot-drive.md",
    ),
    // Memory.
    rule("stack-overflow", "12 KiB of stack are enough", "using-the-kernel-stack.md"),
    rule(
        "write-to-read-only-section",
        "code and constants stay as they are",
        "bug-check-0xbe--attempted-write-to-readonly-memory.md",
    ),
    rule("no-execute", "only code is run", "bug-check-0xfc---attempted-execute-of-noexecute-memory.md"),
    rule("discarded-section", "what DriverEntry alone needs is not used later", "making-drivers-pageable.md"),
    rule("null-pointer", "nothing is at address 0", "bug-check-0xd1--driver-irql-not-less-or-equal.md"),
    rule("bad-pointer", "a pointer leads to memory", "bug-check-0x50--page-fault-in-nonpaged-area.md"),
    rule(
        "page-rights",
        "a page is used as it may be",
        "bug-check-0xbe--attempted-write-to-readonly-memory.md",
    ),
    rule(
        "access-outside-allocation",
        "a block is used within its bounds and its life",
        "bug-check-0xcd--page-fault-beyond-end-of-allocation.md",
    ),
    rule(
        "memory-leaked",
        "pool is given back before the adapter is removed",
        "nf-storport-storportallocatepool.md",
    ),
    rule("bad-free", "only a block of pool is freed, once", "nf-storport-storportfreepool.md"),
    rule(
        "foreign-result",
        "StorPort is given memory of the driver's own for the results that it writes",
        "nf-storport-storportstatechangedetected.md",
    ),
    rule(
        "foreign-address",
        "a physical address is asked for memory that the miniport has",
        "nf-storport-storportgetphysicaladdress.md",
    ),
    rule(
        "device-base-outside-ranges",
        "only the adapter's own address ranges are mapped",
        "nf-storport-storportgetdevicebase.md",
    ),
    rule(
        "uncached-extension-grown",
        "the uncached extension does not grow",
        "nf-storport-storportgetuncachedextension.md",
    ),
    rule(
        "uncached-extension-late",
        "the uncached extension is asked for in HwStorFindAdapter",
        "nf-storport-storportgetuncachedextension.md",
    ),
    rule(
        "bus-data-late",
        "StorPort's access to configuration space is for HwStorFindAdapter and ScsiSetRunningConfig",
        "nf-storport-storportgetbusdata.md",
    ),
    rule(
        "import-not-on-driver-stack",
        "an import is called on the stack the driver was given",
        "using-the-kernel-stack.md",
    ),
    // Start-up.
    rule(
        "hw-initialization-data",
        "the fields that must be TRUE are",
        "ns-storport-_hw_initialization_data~r1.md",
    ),
    rule(
        "hw-initialization-data-size",
        "HwInitializationDataSize is that of the structure",
        "ns-storport-_hw_initialization_data~r1.md",
    ),
    rule(
        "missing-callback",
        "the callbacks that must be there are",
        "ns-storport-_hw_initialization_data~r1.md",
    ),
    rule(
        "configuration-changed",
        "fields that only the port driver sets stay as they are",
        "ns-storport-_port_configuration_information.md",
    ),
    rule(
        "configuration-invalid",
        "the configuration allows requests",
        "ns-storport-_port_configuration_information.md",
    ),
    rule(
        "wrong-device-extension",
        "the device extension handed over is the miniport's own",
        "nf-storport-storportnotification.md",
    ),
    rule(
        "passive-init-late",
        "passive initialisation is asked for in HwStorInitialize",
        "nf-storport-storportenablepassiveinitialization.md",
    ),
    rule(
        "unknown-perf-flag",
        "only performance options that were offered are asked for",
        "nf-storport-storportinitializeperfopts.md",
    ),
    rule(
        "perf-opts-late",
        "optimisations are chosen in HwStorInitialize or the passive initialisation",
        "nf-storport-storportinitializeperfopts.md",
    ),
    rule(
        "limits-too-small",
        "the limits of a transfer allow a useful one",
        "ns-storport-_port_configuration_information.md",
    ),
    // Time.
    rule("call-too-long", "a callback returns", ""),
    rule(
        "interrupts-off-too-long",
        "interrupts are not held off for long",
        "introduction-to-interrupt-service-routines.md",
    ),
    rule(
        "over-budget",
        "interrupt routines and DPCs are short, counted in instructions",
        "guidelines-for-writing-dpc-routines.md",
    ),
    rule(
        "dpc-watchdog",
        "waits at DISPATCH_LEVEL and above end before Windows' watchdog does",
        "bug-check-0x133-dpc-watchdog-violation.md",
    ),
    rule("stall-too-long", "a stall is shorter than a millisecond", "nf-storport-storportstallexecution.md"),
    rule(
        "stalls-add-up",
        "at DISPATCH_LEVEL or above all stalls of a call are over within 100 microseconds",
        "guidelines-for-writing-dpc-routines.md",
    ),
    rule("stall-in-startio", "HwStorStartIo does not wait", "storport-spnowait.md"),
    rule("interrupt-storm", "an interrupt of the device is claimed", "nc-storport-hw_interrupt.md"),
    rule("time-limit", "a run comes to its end", ""),
    // Others.
    rule("exception", "no processor exception", "bug-check-0x7f--unexpected-kernel-mode-trap.md"),
    rule("fast-fail", "the image does not stop itself", "bug-check-0x139--kernel-security-check-failure.md"),
    rule("bugcheck", "the driver does not end the system", "nf-wdm-kebugcheckex.md"),
    rule("buffer-overrun", "the miniport reports no corruption", "nf-storport-storportnotification.md"),
    rule("stray-interrupt", "every interrupt belongs to somebody", "nf-storport-storportgetmsiinfo.md"),
    rule(
        "no-interrupt-routine",
        "there is a routine for the interrupts that are connected",
        "ns-storport-_port_configuration_information.md",
    ),
    rule("unknown-notification", "the notification exists", "nf-storport-storportnotification.md"),
    rule("foreign-bus", "a bus that changes is one of the adapter's", "nf-storport-storportnotification.md"),
    rule(
        "state-change-address",
        "the address of what has changed stays as it is until HwStorStateChange is called",
        "nf-storport-storportstatechangedetected.md",
    ),
    rule("unknown-lock", "the lock exists", "nf-storport-storportacquirespinlock.md"),
    rule(
        "log-event-details",
        "what goes to the system log says what it is",
        "ns-storport-_stor_log_event_details.md",
    ),
    rule("lock-count", "few locks are held at once", ""),
];

/// The rule of that name; `None` for a check that is no rule.
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn folder() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.file_name().is_some_and(|name| name != "rules.rs") {
                all.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }

    #[test]
    fn the_readme_lists_exactly_these() {
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        let section = readme.split("\n## Rules").nth(1).unwrap().split("\n**").next().unwrap();
        let section = section.split_once("\n- ").unwrap().1;
        let listed: BTreeSet<_> = section.split('`').skip(1).step_by(2).collect();

        let known: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();

        assert_eq!(listed, known);
        assert_eq!(known.len(), RULES.len(), "a rule is listed twice");
    }

    #[test]
    fn every_rule_is_looked_for_somewhere() {
        let mut all = String::new();
        sources(&folder().join("src"), &mut all);

        let unused: Vec<_> =
            RULES.iter().map(|rule| rule.name).filter(|name| !all.contains(&format!("\"{name}\""))).collect();

        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn checks_of_a_pass_are_no_rules() {
        assert_eq!(find("write-read"), None);
        assert_eq!(find("deadlock").unwrap().page, "nf-storport-storportacquirespinlock.md");
    }
}
