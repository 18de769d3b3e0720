//! The kernel command line: `KEY=VALUE` words that the runner passes with `-append`.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::device::{Kind, MOMENT};

/// How much of the machine is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Bus scan and the write and read-back pass.
    Full,
    /// Only find the units and print them.
    Scan,
    /// Only start the adapter.
    None,
}

/// What is wrong with the machine's disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// Nothing.
    #[default]
    None,
    /// Some sectors fail.
    Errors,
    /// The machine stops when the disk is full.
    Stop,
    /// The disk can be made to stop answering.
    Hang,
    /// What is behind the disk can be taken away.
    Gone,
    /// Task management functions are not answered.
    Deaf,
    /// The disks can be made to stop answering, and commands are aborted.
    Abort,
    /// Nothing; all units are reset at once.
    Together,
    /// Nothing; the driver is not to do resets.
    Ignored,
    /// Nothing; the driver is to stop the system instead of a reset.
    StopSystem,
}

/// What lies are about that are told in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Task management functions.
    Tasks,
    /// Events.
    Events,
}

/// What happens in the suite `dump`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DumpTrial {
    /// The system crashes, and the dump's SRBs are SCSI_REQUEST_BLOCKs.
    #[default]
    Crash,
    /// The system crashes, and they are of the type that the miniport asked for.
    Extended,
    /// The system hibernates.
    Hiber,
}

/// Where Storport starts the next request when one is completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    /// In a DPC of its own, after RequestComplete has returned.
    #[default]
    Dpc,
    /// Before RequestComplete returns: harder than any known Windows.
    Inside,
}

/// What Storport says of the processors at which messages arrive (PERF_CONFIGURATION_DATA, MessageTargets). Its page does not say
/// which message the first element is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Targets {
    /// An element for each message from 0 on.
    #[default]
    All,
    /// An element for each message of the range, from its first on.
    Range,
    /// Nothing.
    None,
}

/// What to do in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the driver image for messages.
    pub image: String,
    /// PCI functions the driver is for, as (vendor, device); the first match gets the driver.
    pub pci: Vec<(u16, u16)>,
    /// What to do with the units.
    pub io: Io,
    /// Seed of the data patterns and sizes.
    pub seed: u64,
    /// Most requests in flight in the pass.
    pub inflight: u32,
    /// The adapter is the stand's own model of such a device.
    pub model: Option<Kind>,
    /// Whether the model offers packed queues.
    pub packed: bool,
    /// The lie that it tells.
    pub lie: Option<String>,
    /// The lies that it tells one after the other.
    pub lies: Option<Subject>,
    /// The manner that it has.
    pub manner: Option<String>,
    /// The request with which the lie begins, counted from 1.
    pub moment: u32,
    /// Resets of the device until which it is honest.
    pub resets: u32,
    /// Whether the driver's instructions are counted, on the first processor.
    pub trace: bool,
    /// Where Storport starts the next request when one is completed.
    pub starts: Starts,
    /// What Storport says of messages' processors.
    pub targets: Targets,
    /// Whether SRBs are SCSI_REQUEST_BLOCKs, whatever the miniport asked for.
    pub old_srbs: bool,
    /// Whether the first processor serves all messages and runs the DPCs.
    pub gather: bool,
    /// Name of the driver's service: the last part of the registry path that DriverEntry gets.
    pub service: String,
    /// What is wrong with the disks, for the suite `faults`.
    pub faults: Faults,
    /// What happens in the suite `dump`.
    pub dump: DumpTrial,
    /// `dump`: to the disk with the highest address, not to the first.
    pub last_disk: bool,
    /// Whether the disks have no write cache, for the suite `flush`.
    pub no_cache: bool,
    /// Units that the machine has, for suites that count them; 0 is unknown.
    pub units: u32,
    /// `many-luns`: a unit that StorPort cannot address: target in the upper, LUN in the lower 16 bits; 0: there is none.
    pub far: u32,
    /// Whether the disks' target knows neither READ(16), WRITE(16) nor START STOP UNIT.
    pub few_commands: bool,
    /// `hotplug`: how often a unit comes, goes or changes under load, in place of the parts that look at one change; 0: not.
    pub churn: u32,
    /// Whether the device may miss what it is notified of right after its start.
    pub misses: bool,
    /// Longest run in seconds.
    pub limit: u32,
    /// Processor groups that drivers see.
    pub groups: u32,
    /// The suite to run in place of the pass; see `suite`.
    pub suite: Option<String>,
    /// Whether suites run as long as they can, not as short as they may.
    pub long: bool,
    /// Whether a broken rule does not end the run: to collect more than one.
    pub go_on: bool,
    /// `param.NAME=VALUE`: REG_DWORD values of the driver's `Parameters\Device` registry key.
    pub parameters: Vec<(String, u32)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            image: "driver.sys".to_owned(),
            pci: Vec::new(),
            io: Io::Full,
            seed: 1,
            inflight: 32,
            model: None,
            packed: false,
            lie: None,
            lies: None,
            manner: None,
            moment: MOMENT as u32,
            resets: 0,
            trace: false,
            starts: Starts::Dpc,
            targets: Targets::All,
            old_srbs: false,
            gather: false,
            service: "stand".to_owned(),
            faults: Faults::None,
            dump: DumpTrial::Crash,
            last_disk: false,
            no_cache: false,
            units: 0,
            far: 0,
            few_commands: false,
            churn: 0,
            misses: false,
            limit: 50,
            groups: 1,
            suite: None,
            long: false,
            go_on: false,
            parameters: Vec::new(),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads the command line. The error is a sentence for a person.
pub fn parse(line: &str) -> Result<Options, String> {
    let mut options = Options::default();
    for word in line.split_ascii_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("command line: '{word}' is not KEY=VALUE"));
        };
        let bad = || format!("command line: '{value}' is not a value for {key}");
        match key {
            "image" => options.image = value.to_owned(),
            "pci" => {
                for id in value.split(',') {
                    let (vendor, device) = id.split_once(':').ok_or_else(bad)?;
                    let vendor = u16::from_str_radix(vendor, 16).map_err(|_| bad())?;
                    let device = u16::from_str_radix(device, 16).map_err(|_| bad())?;
                    options.pci.push((vendor, device));
                }
            }
            "io" => {
                options.io = match value {
                    "full" => Io::Full,
                    "scan" => Io::Scan,
                    "none" => Io::None,
                    _ => return Err(bad()),
                }
            }
            "seed" => {
                let digits = value.strip_prefix("0x").unwrap_or(value);
                options.seed = u64::from_str_radix(digits, 16).map_err(|_| bad())?;
            }
            "model" => {
                options.model = match value {
                    "blk" => Some(Kind::Blk),
                    "scsi" => Some(Kind::Scsi),
                    _ => return Err(bad()),
                }
            }
            "packed" => options.packed = number(value).ok_or_else(bad)? != 0,
            "resets" => options.resets = number(value).ok_or_else(bad)?,
            "moment" => options.moment = number(value).ok_or_else(bad)?,
            "lie" => options.lie = Some(value.to_owned()),
            "lies" => {
                options.lies = match value {
                    "tasks" => Some(Subject::Tasks),
                    "events" => Some(Subject::Events),
                    _ => return Err(bad()),
                }
            }
            "manner" => options.manner = Some(value.to_owned()),
            "trace" => options.trace = number(value).ok_or_else(bad)? != 0,
            "gather" => options.gather = number(value).ok_or_else(bad)? != 0,
            "starts" => {
                options.starts = match value {
                    "dpc" => Starts::Dpc,
                    "inside" => Starts::Inside,
                    _ => return Err(bad()),
                }
            }
            "targets" => {
                options.targets = match value {
                    "all" => Targets::All,
                    "range" => Targets::Range,
                    "none" => Targets::None,
                    _ => return Err(bad()),
                }
            }
            "srb" => {
                if value != "old" {
                    return Err(bad());
                }
                options.old_srbs = true;
            }
            "service" => options.service = value.to_owned(),
            "faults" => {
                options.faults = match value {
                    "errors" => Faults::Errors,
                    "stop" => Faults::Stop,
                    "hang" => Faults::Hang,
                    "gone" => Faults::Gone,
                    "deaf" => Faults::Deaf,
                    "abort" => Faults::Abort,
                    "together" => Faults::Together,
                    "ignored" => Faults::Ignored,
                    "stop-system" => Faults::StopSystem,
                    _ => return Err(bad()),
                }
            }
            "dump" => {
                options.dump = match value {
                    "crash" => DumpTrial::Crash,
                    "extended" => DumpTrial::Extended,
                    "hiber" => DumpTrial::Hiber,
                    _ => return Err(bad()),
                }
            }
            "disk" => {
                if value != "last" {
                    return Err(bad());
                }
                options.last_disk = true;
            }
            "cache" => {
                if value != "off" {
                    return Err(bad());
                }
                options.no_cache = true;
            }
            "units" => options.units = number(value).ok_or_else(bad)?,
            "far" => options.far = number(value).ok_or_else(bad)?,
            "few-commands" => options.few_commands = number(value).ok_or_else(bad)? != 0,
            "churn" => options.churn = number(value).ok_or_else(bad)?,
            "misses" => options.misses = number(value).ok_or_else(bad)? != 0,
            "limit" => options.limit = number(value).filter(|n| *n > 0).ok_or_else(bad)?,
            "groups" => {
                options.groups = number(value).filter(|n| (1..=4).contains(n)).ok_or_else(bad)?;
            }
            "suite" => options.suite = Some(value.to_owned()),
            "long" => options.long = number(value).ok_or_else(bad)? != 0,
            "go-on" => options.go_on = number(value).ok_or_else(bad)? != 0,
            "inflight" => {
                options.inflight = number(value).filter(|n| (1..=1024).contains(n)).ok_or_else(bad)?;
            }
            _ => match key.strip_prefix("param.") {
                Some(name) if !name.is_empty() => {
                    options.parameters.push((name.to_owned(), number(value).ok_or_else(bad)?));
                }
                _ => return Err(format!("command line: unknown key '{key}'")),
            },
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let line = "image=a.sys pci=1af4:1001,1af4:1042 io=scan seed=ff inflight=8 model=scsi packed=1 lie=gone lies=events manner=bhyve moment=9 resets=3 trace=1 gather=1 starts=inside targets=range srb=old service=x faults=hang dump=hiber disk=last cache=off units=3 far=0x10012c few-commands=1 churn=7 misses=1 limit=9 groups=2 suite=power long=1 go-on=1 param.MaxQueues=0x10";
        let options = parse(line).unwrap();
        assert_eq!(options.image, "a.sys");
        assert_eq!(options.pci, [(0x1AF4, 0x1001), (0x1AF4, 0x1042)]);
        assert_eq!(options.io, Io::Scan);
        assert_eq!((options.seed, options.inflight), (0xFF, 8));
        assert_eq!(
            (options.model, options.packed, options.lie.as_deref()),
            (Some(Kind::Scsi), true, Some("gone"))
        );
        assert_eq!((options.manner.as_deref(), options.lies), (Some("bhyve"), Some(Subject::Events)));
        assert_eq!((options.moment, options.resets), (9, 3));
        assert_eq!((options.service.as_str(), options.trace), ("x", true));
        assert_eq!((options.dump, options.starts), (DumpTrial::Hiber, Starts::Inside));
        assert_eq!(options.targets, Targets::Range);
        assert_eq!((options.faults, options.units, options.limit), (Faults::Hang, 3, 9));
        assert_eq!((options.far, options.churn), (0x10_012c, 7));
        assert_eq!((options.groups, options.suite.as_deref(), options.long), (2, Some("power"), true));
        assert!(options.go_on && options.no_cache && options.gather && options.old_srbs);
        assert!(options.few_commands && options.last_disk && options.misses);
        assert_eq!(options.parameters, [("MaxQueues".to_owned(), 16)]);
    }

    #[test]
    fn every_kind_of_fault_has_a_word() {
        for (word, faults) in [
            ("errors", Faults::Errors),
            ("stop", Faults::Stop),
            ("hang", Faults::Hang),
            ("gone", Faults::Gone),
            ("deaf", Faults::Deaf),
            ("abort", Faults::Abort),
            ("together", Faults::Together),
            ("ignored", Faults::Ignored),
            ("stop-system", Faults::StopSystem),
        ] {
            assert_eq!(parse(&format!("faults={word}")).unwrap().faults, faults);
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert_eq!(parse("colour=red").unwrap_err(), "command line: unknown key 'colour'");
    }

    #[test]
    fn a_bad_value_is_named() {
        for line in [
            "pci=1af4",
            "model=nvme",
            "io=some",
            "seed=xyz",
            "inflight=0",
            "cache=on",
            "disk=first",
            "starts=soon",
            "targets=some",
            "srb=new",
            "lies=all",
            "param.X=y",
            "novalue",
        ] {
            assert!(parse(line).unwrap_err().starts_with("command line: '"), "{line}");
        }
    }
}
