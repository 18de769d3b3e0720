//! The table of suites: which machines each is tried on, and the running of them.
//!
//! A suite is a part of the stand (tests/stand/src/suite) of the same name. One trial is one boot: a machine for one kind
//! of driver, with the suite's name on the stand's command line. To add a suite, add it to the table here, and its trials
//! to the file of its subject; `./x stand --suite` and `./x test` take it from this table.
//!
//! What a trial can say of its machine is in `setting`, how trials are run and summed up in `trial`. Every other file has the
//! trials of one subject, with the words for QEMU that only they need.

mod dump;
mod faults;
mod flush;
mod load;
mod model;
mod power;
mod queues;
mod setting;
mod trial;
mod units;
mod vhost_user;

use crate::machine::Kind;
use anyhow::{Result, bail};
pub use setting::Setting;
pub use trial::{Outcome, Subject, run, summary};

/// A suite.
#[derive(Debug)]
pub struct Suite {
    /// Its name, also on the stand's command line.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// The boots that it consists of, besides those that the lies and manners of `model` make.
    pub trials: &'static [Setting],
}

/// All suites.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "data-integrity",
        about: "random sizes, places, alignments and depths from every processor, each block verified",
        trials: load::DATA_INTEGRITY,
    },
    Suite {
        name: "dump",
        about: "the system crashes under load, and a second copy of the driver writes the dump by polling",
        trials: dump::TRIALS,
    },
    Suite {
        name: "faults",
        about: "blocks that fail, stops of the machine, a device that is silent or has lost its disk, resets under load",
        trials: faults::TRIALS,
    },
    Suite {
        name: "flush",
        about: "what was acknowledged as durable is, proved from a log of all that the disk was told",
        trials: flush::TRIALS,
    },
    Suite {
        name: model::HOSTILE,
        about: "a device that lies: each of its lies, and the truth",
        trials: model::HOSTILE_TRIALS,
    },
    Suite {
        name: "hotplug",
        about: "disks that grow, LUNs that come and go under load, the CD tray",
        trials: units::HOTPLUG,
    },
    Suite {
        name: "interrupts",
        about: "the line, and every number of messages a driver has a plan for",
        trials: queues::INTERRUPTS,
    },
    Suite {
        name: model::MANNERS,
        about: "devices with the habits of others than QEMU's, and with limits as small as there are: the whole pass",
        trials: model::MANNERS_TRIALS,
    },
    Suite {
        name: "many-luns",
        about: "every target and two hundred units of one, all found and all at work at once",
        trials: units::MANY_LUNS,
    },
    Suite {
        name: "multi-queue",
        about: "1 to 4 processors with 1 to 8 queues, fewer messages than queues, processor groups",
        trials: queues::MULTI_QUEUE,
    },
    Suite {
        name: "multipath",
        about: "one disk behind two adapters: the same identity, the same data, through one and the other and the first again",
        trials: units::MULTIPATH,
    },
    Suite {
        name: "pass-through",
        about: "a tape, a changer and a disk with persistent reservations that are not QEMU's: an iSCSI target behind scsi-generic",
        trials: units::PASS_THROUGH,
    },
    Suite {
        name: "power",
        about: "the adapter stopped, unpowered and restarted 100 times under load; rebalances to fewer messages",
        trials: power::POWER,
    },
    Suite {
        name: "scsi-compliance",
        about: "every command and field, every allocation length, against SPC-4 and SBC-3",
        trials: units::COMPLIANCE,
    },
    Suite {
        name: "srb-functions",
        about: "every SRB function, also unknown ones, and addresses without a unit",
        trials: units::SRB_FUNCTIONS,
    },
    Suite {
        name: "stress",
        about: "the work of data-integrity two hundred times over",
        trials: load::STRESS,
    },
    Suite {
        name: "surprise-removal",
        about: "the controller gone under load: registers read as ones, nothing comes back",
        trials: power::SURPRISE_REMOVAL,
    },
    Suite {
        name: "transport",
        about: "rings and transports that the machines of ./x test do not have",
        trials: queues::TRANSPORT,
    },
    Suite {
        name: "vhost-user",
        about: "the same on devices of other implementations: qemu-storage-daemon, vhost-device-scsi",
        trials: vhost_user::TRIALS,
    },
];

impl Suite {
    /// The trials for this kind of driver, in the short or the long version.
    pub fn trials(&self, kind: Kind, long: bool) -> impl Iterator<Item = Setting> {
        let lies = (self.name == model::HOSTILE).then(|| model::lies(kind)).into_iter().flatten();
        let manners = (self.name == model::MANNERS).then(|| model::manners(kind)).into_iter().flatten();
        let all = self.trials.iter().copied().chain(lies).chain(manners);
        all.filter(move |trial| trial.kind == kind && (long || !trial.long_only))
    }

    /// Whether any of its trials has a device of QEMU's.
    pub fn has_devices_of_qemu(&self) -> bool {
        self.trials.iter().any(|trial| trial.controller.is_some() || !trial.devices.is_empty())
    }
}

/// The suites of these names.
///
/// # Errors
/// When there is none of a name.
pub fn find(names: &[String]) -> Result<Vec<&'static Suite>> {
    let known = || SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| match SUITES.iter().find(|suite| suite.name == name) {
            Some(suite) => Ok(suite),
            None => bail!("there is no suite {name}; there are: {}, and `list` prints them", known()),
        })
        .collect()
}

/// The table for a person.
pub fn list() -> Vec<String> {
    let mut lines = Vec::new();
    for suite in SUITES {
        lines.push(format!("{:<16} {}", suite.name, suite.about));
        for trial in suite.trials {
            let kind = if trial.kind == Kind::Blk { "virtio-blk" } else { "virtio-scsi" };
            let long = if trial.long_only { ", only with --long" } else { "" };
            lines.push(format!("{:<16}   {kind}, {}{long}", "", trial.name));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::setting::{BLK, SCSI};
    use super::*;
    use crate::boot::Options;
    use std::collections::BTreeSet;

    #[test]
    fn every_suite_is_named_once_and_has_words_for_a_person() {
        let names: BTreeSet<&str> = SUITES.iter().map(|suite| suite.name).collect();

        assert_eq!(names.len(), SUITES.len());
        for suite in SUITES {
            assert!(suite.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", suite.name);
            assert!(suite.name != "list" && !suite.about.is_empty(), "{}", suite.name);
        }
    }

    #[test]
    fn every_trial_is_named_once_and_some_are_short() {
        for suite in SUITES {
            let names: BTreeSet<_> =
                suite.trials.iter().map(|trial| (trial.kind == Kind::Blk, trial.name)).collect();

            assert_eq!(names.len(), suite.trials.len(), "{}", suite.name);
            assert!(suite.trials.iter().any(|trial| !trial.long_only), "{}", suite.name);
        }
    }

    #[test]
    fn only_the_suites_of_the_stands_own_device_need_none_of_qemu() {
        let without = SUITES.iter().filter(|suite| !suite.has_devices_of_qemu()).map(|suite| suite.name);

        assert_eq!(without.collect::<Vec<_>>(), [model::HOSTILE, model::MANNERS]);
    }

    #[test]
    fn every_suite_of_the_table_is_one_of_the_stand() {
        let stand = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/stand/src/suite/mod.rs");
        let source = std::fs::read_to_string(stand).unwrap();
        for suite in SUITES {
            assert!(
                source.contains(&format!("(\"{}\",", suite.name)),
                "the stand has no suite {}",
                suite.name
            );
        }
    }

    #[test]
    fn every_word_is_one_that_the_stand_takes() {
        for trial in SUITES.iter().flat_map(|suite| suite.trials) {
            stand::cmdline::parse(&trial.words(true).join(" ")).unwrap();
        }
    }

    #[test]
    fn an_unknown_suite_is_refused_with_the_known_ones() {
        let error = find(&["hotplug".to_owned(), "x".to_owned()]).unwrap_err().to_string();

        assert!(error.starts_with("there is no suite x; there are: data-integrity, "), "{error}");
    }

    #[test]
    fn long_trials_are_left_out_of_the_short_version() {
        const LONG: Suite = Suite {
            name: "x",
            about: "x",
            trials: &[BLK, Setting { name: "b", long_only: true, ..BLK }, SCSI],
        };

        assert_eq!((LONG.trials(Kind::Blk, false).count(), LONG.trials(Kind::Blk, true).count()), (1, 2));
        assert_eq!(BLK.words(true), ["long=1"]);
        assert_eq!(BLK.options(&Options::default(), true).timeout, 3600);
    }
}
