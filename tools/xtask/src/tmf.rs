//! QEMU's trace of the task management functions that vioscsi sent, and the proof from it that each reset which the stand asked
//! for went to the unit or the target it was for, and to no other.
//!
//! The words of a machine with a trace are [`ARGUMENTS`]. Of the address, `virtio_scsi_tmf_req` has the LUN alone
//! (hw/scsi/trace-events, in 7.2 as in 10.0). The target follows from what QEMU did: it gives each unit that it resets a unit
//! attention of its own (`scsi_device_set_ua`, hw/scsi/scsi-bus.c), and it does so between the function and its answer. Outside of
//! such a pair it is a reset of the whole device, which is no task management function.

use crate::machine::HostCheck;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Name of the trace in the folder of the image files.
pub const FILE: &str = "tmf.trace";
/// QEMU's arguments for it.
pub const ARGUMENTS: &[&str] = &[
    "-trace",
    "virtio_scsi_tmf_req",
    "-trace",
    "virtio_scsi_tmf_resp",
    "-trace",
    "scsi_device_set_ua",
    "-D",
    "{folder}/tmf.trace",
];

/// VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET (virtio 1.3, 5.6.6.2).
const I_T_NEXUS_RESET: u32 = 4;
/// VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET.
const LOGICAL_UNIT_RESET: u32 = 5;
/// VIRTIO_SCSI_S_OK and VIRTIO_SCSI_S_FUNCTION_SUCCEEDED: QEMU says the first.
const DONE: [u32; 2] = [0, 10];
/// UNIT ATTENTION, and its additional sense code after resets of any kind (SPC-4).
const RESET_OCCURRED: (u32, u32) = (6, 0x29);

/// One reset that the driver was asked for and said it had done: the line `# reset: …` of the stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Of the target, not of one unit.
    pub whole_target: bool,
    /// Which target.
    pub target: u32,
    /// The unit, or all units of the target.
    pub luns: BTreeSet<u32>,
}

impl Reset {
    /// Reads the line, without its `# `.
    pub fn parse(heading: &str) -> Option<Self> {
        let words = heading.strip_prefix("reset: ")?.split_ascii_whitespace();
        let (mut of, mut target, mut luns) = (None, None, BTreeSet::new());
        for word in words {
            match word.split_once('=')? {
                ("of", what) => of = Some(what),
                ("target", number) => target = Some(number.parse().ok()?),
                ("luns", list) => {
                    luns = list.split(',').map(|lun| lun.parse().ok()).collect::<Option<_>>()?
                }
                _ => {}
            }
        }
        let whole_target = match of? {
            "target" => true,
            "unit" if luns.len() == 1 => false,
            _ => return None,
        };
        Some(Self { whole_target, target: target?, luns })
    }

    fn subtype(&self) -> u32 {
        if self.whole_target { I_T_NEXUS_RESET } else { LOGICAL_UNIT_RESET }
    }

    fn units(&self) -> BTreeSet<(u32, u32)> {
        self.luns.iter().map(|lun| (self.target, *lun)).collect()
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.luns.first() {
            Some(lun) if !self.whole_target => write!(f, "the reset of unit {}:{lun}", self.target),
            _ => write!(f, "the reset of target {}", self.target),
        }
    }
}

/// A task management function as QEMU saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    lun: u32,
    tag: u32,
    subtype: u32,
    /// Units that were reset, as target and LUN.
    units: BTreeSet<(u32, u32)>,
    response: Option<u32>,
}

/// Whether a machine with these arguments writes the trace.
pub fn is_written(arguments: &[String]) -> bool {
    ARGUMENTS.last().is_some_and(|place| arguments.iter().any(|word| word == place))
}

/// Proves every reset.
pub fn verify(trace: &Path, said: &[Reset]) -> HostCheck {
    let result = std::fs::read_to_string(trace)
        .with_context(|| format!("{} cannot be read", trace.display()))
        .and_then(|text| read(&text))
        .and_then(|functions| prove(&functions, said));
    HostCheck::of("trace of resets", result)
}

/// Reads the trace.
fn read(text: &str) -> Result<Vec<Function>> {
    let mut functions: Vec<Function> = Vec::new();
    for line in text.lines() {
        // QEMU writes `process@seconds.microseconds:` before the event, and the event's name is the first word of its text.
        let mut words = line.split_ascii_whitespace();
        let Some(event) = words.next().and_then(|word| word.rsplit(':').next()) else { continue };
        let rest = words.collect::<Vec<_>>().join(" ");
        let rest = rest.strip_prefix(event).map_or(rest.as_str(), str::trim_start);
        let number = |name: &str| field(rest, name).with_context(|| format!("no '{name}' in: {line}"));
        let open = functions.last_mut().filter(|function| function.response.is_none());
        match event {
            "virtio_scsi_tmf_req" => {
                if let Some(open) = open {
                    bail!("another function before tag {:#x} was answered: {line}", open.tag);
                }
                let (lun, tag, subtype) = (number("lun")?, number("tag")?, number("subtype")?);
                functions.push(Function { lun, tag, subtype, units: BTreeSet::new(), response: None });
            }
            "virtio_scsi_tmf_resp" => {
                let tag = number("tag")?;
                let open = open.filter(|open| open.tag == tag);
                open.with_context(|| format!("nobody asked for this answer: {line}"))?.response =
                    Some(number("response")?);
            }
            "scsi_device_set_ua" => {
                let unit = (number("target")?, number("lun")?);
                if (number("key")?, number("asc")?) == RESET_OCCURRED
                    && let Some(open) = open
                {
                    open.units.insert(unit);
                }
            }
            _ => {}
        }
    }
    Ok(functions)
}

/// The number after a name, with a space or an equals sign between them.
fn field(text: &str, name: &str) -> Option<u32> {
    let words = text.split([' ', '=']).collect::<Vec<_>>();
    let value = words.windows(2).find(|pair| pair[0] == name)?[1];
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// Each reset of the stand is a function at QEMU, in the same order, of the same kind, done to the same units; and there are no
/// others. Resets of a unit, of another unit of its target, and of another target must be among them.
fn prove(functions: &[Function], said: &[Reset]) -> Result<String> {
    for (number, (function, reset)) in functions.iter().zip(said).enumerate() {
        let Function { lun, tag, subtype, units, response } = function;
        let wrong = |what: String| format!("{reset} (number {}, tag {tag:#x}) came as {what}", number + 1);
        ensure!(*subtype == reset.subtype(), wrong(format!("function {subtype}")));
        // Of the address of a target's reset, only the target counts.
        ensure!(reset.whole_target || reset.luns.contains(lun), wrong(format!("one of LUN {lun}")));
        ensure!(
            response.is_some_and(|response| DONE.contains(&response)),
            wrong(format!("one with the answer {response:?}"))
        );
        ensure!(*units == reset.units(), wrong(format!("one that has reset {units:?} as (target, LUN)")));
    }
    ensure!(
        functions.len() == said.len(),
        "the stand had {} resets done, and {} came to QEMU",
        said.len(),
        functions.len()
    );
    let of = |whole: bool| said.iter().filter(move |reset| reset.whole_target == whole);
    let units: BTreeSet<_> = of(false).flat_map(Reset::units).collect();
    let targets: BTreeSet<_> = of(true).map(|reset| reset.target).collect();
    let has_neighbours = units.iter().any(|(target, lun)| *lun != 0 && units.contains(&(*target, 0)));
    ensure!(
        has_neighbours && targets.len() >= 2,
        "units {units:?} and targets {targets:?} are too few to tell one from another"
    );
    Ok(format!(
        "{} resets of {} units and {} of {} targets came to QEMU as such, each reset these alone and was answered",
        of(false).count(),
        units.len(),
        of(true).count(),
        targets.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the suite `faults` had written, from its first function on: each of the units 0:0, 0:1, 1:0 and 5:3 reset, and then its
    /// target; resets of the device in between.
    const RECORDED: [&str; 2] = [include_str!("tmf/qemu-7.2.trace"), include_str!("tmf/qemu-10.0.trace")];
    /// The same of a vioscsi that was made to reset unit 0:1 for 0:0, and 0:0 for 0:1.
    const WRONG: [&str; 2] =
        [include_str!("tmf/qemu-7.2-wrong.trace"), include_str!("tmf/qemu-10.0-wrong.trace")];

    fn reset(of: &str, target: u32, luns: &[u32]) -> Reset {
        Reset { whole_target: of == "target", target, luns: luns.iter().copied().collect() }
    }

    fn said() -> Vec<Reset> {
        vec![
            reset("unit", 0, &[0]),
            reset("target", 0, &[0, 1]),
            reset("unit", 0, &[1]),
            reset("target", 0, &[0, 1]),
            reset("unit", 1, &[0]),
            reset("target", 1, &[0]),
            reset("unit", 5, &[3]),
            reset("target", 5, &[3]),
        ]
    }

    /// What is wrong with a trace, or the text when nothing is.
    fn judge(trace: &str, said: &[Reset]) -> Result<String, String> {
        read(trace).and_then(|functions| prove(&functions, said)).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn resets_that_came_as_they_were_sent_pass() {
        for trace in RECORDED {
            let text = judge(trace, &said()).unwrap();

            assert!(text.starts_with("4 resets of 4 units and 4 of 3 targets came"), "{text}");
        }
    }

    #[test]
    fn a_driver_that_names_the_neighbour_fails() {
        for trace in WRONG {
            let error = judge(trace, &said()[..4]).unwrap_err();

            assert!(error.ends_with("(number 1, tag 0x1) came as one of LUN 1"), "{error}");
        }
    }

    #[test]
    fn each_wrong_target_lun_or_function_fails() {
        let others = |right: &Reset| {
            let luns: Vec<u32> = right.luns.iter().copied().collect();
            let first = &luns[..1];
            let other_of = if right.whole_target {
                reset("unit", right.target, first)
            } else {
                reset("target", right.target, &luns)
            };
            let other_target = Reset { target: right.target + 1, ..right.clone() };
            let other_lun = Reset { luns: luns.iter().map(|lun| lun + 1).collect(), ..right.clone() };
            [other_of, other_target, other_lun]
        };
        for trace in RECORDED {
            for number in 0..said().len() {
                for other in others(&said()[number]) {
                    let mut said = said();
                    said[number] = other;

                    let error = judge(trace, &said).unwrap_err();

                    assert!(error.contains(&format!("(number {}, ", number + 1)), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_unit_that_is_reset_with_another_fails() {
        for trace in RECORDED {
            let answer = "virtio_scsi_tmf_resp virtio_scsi_tmf_resp lun=0 tag=0x5 response=0";
            let more = format!("scsi_device_set_ua target 5 lun 3 key 0x06 asc 0x29 ascq 0x00\n{answer}");

            let error = judge(&trace.replace(answer, &more), &said()).unwrap_err();

            assert!(
                error.ends_with("came as one that has reset {(1, 0), (5, 3)} as (target, LUN)"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_reset_that_is_one_too_many_or_too_few_fails() {
        for trace in RECORDED {
            let mut more = said();
            more.push(reset("unit", 0, &[0]));

            assert!(judge(trace, &said()[..7]).unwrap_err().ends_with("7 resets done, and 8 came to QEMU"));
            assert!(judge(trace, &more).unwrap_err().ends_with("9 resets done, and 8 came to QEMU"));
            assert!(judge("", &said()).is_err());
        }
    }

    #[test]
    fn a_reset_without_an_answer_or_with_another_than_good_fails() {
        let last = "virtio_scsi_tmf_resp virtio_scsi_tmf_resp lun=0 tag=0x8 response=";
        for trace in RECORDED {
            let never = trace.replace(&format!("{last}0"), "");
            // VIRTIO_SCSI_S_BAD_TARGET.
            let refused = trace.replace(&format!("{last}0"), &format!("{last}3"));
            let early = trace.replace("virtio_scsi_tmf_resp lun=0 tag=0x1 response=0", "");

            assert!(judge(&never, &said()).unwrap_err().ends_with("came as one with the answer None"));
            assert!(judge(&refused, &said()).unwrap_err().ends_with("came as one with the answer Some(3)"));
            assert!(judge(&early, &said()).is_err());
        }
    }

    #[test]
    fn resets_of_one_unit_alone_prove_nothing() {
        let function = "virtio_scsi_tmf_req lun=0 tag=0x1 subtype=5\n\
                        scsi_device_set_ua target 0 lun 0 key 0x06 asc 0x29 ascq 0x00\n\
                        virtio_scsi_tmf_resp lun=0 tag=0x1 response=0";

        let error = judge(function, &said()[..1]).unwrap_err();

        assert!(error.ends_with("are too few to tell one from another"), "{error}");
        assert!(judge("", &[]).is_err());
    }

    #[test]
    fn a_trace_with_process_and_time_is_read() {
        let function =
            "123@1700000000.123456:virtio_scsi_tmf_req virtio_scsi_tmf_req lun=3 tag=0x1f subtype=5";

        let functions = read(function).unwrap();

        assert_eq!((functions[0].lun, functions[0].tag, functions[0].subtype), (3, 0x1F, 5));
    }

    #[test]
    fn the_stands_line_is_read() {
        assert_eq!(Reset::parse("reset: of=target target=5 luns=3,4"), Some(reset("target", 5, &[3, 4])));
        assert_eq!(Reset::parse("reset: of=unit target=0 luns=1"), Some(reset("unit", 0, &[1])));
        for line in
            ["reset: of=unit target=0 luns=1,2", "reset: of=bus target=0 luns=1", "reset of all", "reset: "]
        {
            assert_eq!(Reset::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_machine_with_the_arguments_has_a_trace() {
        let words: Vec<String> = ARGUMENTS.iter().map(|word| (*word).to_owned()).collect();

        assert!(is_written(&words) && words.last().unwrap().ends_with(FILE));
        assert!(!is_written(&words[..2]));
    }
}
