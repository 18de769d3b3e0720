//! QEMU's trace of the task management functions that vioscsi sent, and the proof from it that each reset and each abort which the
//! stand asked for went to the unit, the target or the command it was for, and to no other.
//!
//! The words of a machine with a trace are [`ARGUMENTS`]. Of the address, `virtio_scsi_tmf_req` has the LUN alone
//! (hw/scsi/trace-events, in 7.2 as in 10.0). The target follows from what QEMU did: it gives each unit that it resets a unit
//! attention of its own (`scsi_device_set_ua`, hw/scsi/scsi-bus.c), and it does so between the function and its answer. Outside of
//! such a pair it is a reset of the whole device, which is no task management function.
//!
//! ABORT TASK bears the tag of the command that it is for (virtio 1.3, 5.6.6.2), and with [`ARGUMENTS_OF_ABORTS`] the trace has
//! the commands and their responses too: one that was aborted has VIRTIO_SCSI_S_ABORTED, before the function is answered.

use crate::machine::HostCheck;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
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

/// The same for aborts.
pub const ARGUMENTS_OF_ABORTS: &[&str] = &[
    "-trace",
    "virtio_scsi_tmf_req",
    "-trace",
    "virtio_scsi_tmf_resp",
    "-trace",
    "virtio_scsi_cmd_req",
    "-trace",
    "virtio_scsi_cmd_resp",
    "-D",
    "{folder}/tmf.trace",
];

/// Commands that must have been aborted, of two units at least: as many as the stand's suite wants.
const ENOUGH_ABORTS: usize = 24;
/// VIRTIO_SCSI_T_TMF_ABORT_TASK (virtio 1.3, 5.6.6.2).
const ABORT_TASK: u32 = 0;
/// VIRTIO_SCSI_S_ABORTED.
const ABORTED: u32 = 2;
/// VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET (virtio 1.3, 5.6.6.2).
const I_T_NEXUS_RESET: u32 = 4;
/// VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET.
const LOGICAL_UNIT_RESET: u32 = 5;
/// VIRTIO_SCSI_S_OK and VIRTIO_SCSI_S_FUNCTION_SUCCEEDED: QEMU says the first.
const DONE: [u32; 2] = [0, 10];
/// UNIT ATTENTION, and its additional sense code after resets of any kind (SPC-4).
const RESET_OCCURRED: (u32, u32) = (6, 0x29);

/// What the driver was asked for and said it had done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `# reset: of=…`
    Reset(Reset),
    /// `# reset: of=nothing`: no function may have come.
    Nothing,
    /// `# abort: target=… lun=…`: a command of this unit has ended because of it.
    Abort {
        /// Which target.
        target: u32,
        /// Which unit of it.
        lun: u32,
    },
}

impl Said {
    /// Reads the line, without its `# `.
    pub fn parse(heading: &str) -> Option<Self> {
        if heading == "reset: of=nothing" {
            return Some(Self::Nothing);
        }
        match heading.strip_prefix("abort: ") {
            Some(unit) => Some(Self::Abort { target: field(unit, "target")?, lun: field(unit, "lun")? }),
            None => Reset::parse(heading).map(Self::Reset),
        }
    }
}

/// One reset that the driver was asked for and said it had done: the line `# reset: …` of the stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Of the target, not of one unit.
    pub whole_target: bool,
    /// Which target.
    pub target: u32,
    /// The unit, or all units of the target.
    pub luns: BTreeSet<u32>,
    /// Resets of one group were asked for at once, in no order.
    pub group: Option<u32>,
}

impl Reset {
    /// Reads the line, without its `# `.
    pub fn parse(heading: &str) -> Option<Self> {
        let words = heading.strip_prefix("reset: ")?.split_ascii_whitespace();
        let (mut of, mut target, mut luns, mut group) = (None, None, BTreeSet::new(), None);
        for word in words {
            match word.split_once('=')? {
                ("of", what) => of = Some(what),
                ("group", number) => group = Some(number.parse().ok()?),
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
        Some(Self { whole_target, target: target?, luns, group })
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
    /// The command of this LUN and tag when the function came; `None` when there never was one.
    command: Option<Command>,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Command {
    under_way: bool,
    /// What the device said of it, before it answered the function.
    response: Option<u32>,
}

/// Whether a machine with these arguments writes the trace.
pub fn is_written(arguments: &[String]) -> bool {
    let has_place =
        |words: &&[&str]| words.last().is_some_and(|place| arguments.iter().any(|word| word == place));
    [ARGUMENTS, ARGUMENTS_OF_ABORTS].iter().any(has_place)
}

/// Proves every reset and every abort.
pub fn verify(trace: &Path, said: &[Said]) -> HostCheck {
    let result = std::fs::read_to_string(trace)
        .with_context(|| format!("{} cannot be read", trace.display()))
        .and_then(|text| read(&text))
        .and_then(|functions| prove(&functions, said));
    HostCheck::of("trace of functions", result)
}

/// Reads the trace.
fn read(text: &str) -> Result<Vec<Function>> {
    let mut functions: Vec<Function> = Vec::new();
    let mut commands: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    // What was reset since the last answer is what the next one is about: QEMU 10 takes several functions before it does the first.
    let mut units = BTreeSet::new();
    for line in text.lines() {
        // QEMU writes `process@seconds.microseconds:` before the event, and the event's name is the first word of its text.
        let mut words = line.split_ascii_whitespace();
        let Some(event) = words.next().and_then(|word| word.rsplit(':').next()) else { continue };
        let rest = words.collect::<Vec<_>>().join(" ");
        let rest = rest.strip_prefix(event).map_or(rest.as_str(), str::trim_start);
        let number = |name: &str| field(rest, name).with_context(|| format!("no '{name}' in: {line}"));
        let mut open = functions.iter_mut().filter(|function| function.response.is_none());
        match event {
            "virtio_scsi_cmd_req" => {
                commands.insert((number("lun")?, number("tag")?), true);
            }
            "virtio_scsi_cmd_resp" => {
                let (lun, tag, response) = (number("lun")?, number("tag")?, number("response")?);
                commands.insert((lun, tag), false);
                let is_meant = |function: &&mut Function| (function.lun, function.tag) == (lun, tag);
                for function in open.filter(is_meant) {
                    function.command.iter_mut().for_each(|command| command.response = Some(response));
                }
            }
            "virtio_scsi_tmf_req" => {
                let (lun, tag, subtype) = (number("lun")?, number("tag")?, number("subtype")?);
                let command = commands.get(&(lun, tag)).filter(|_| subtype == ABORT_TASK);
                let command = command.map(|under_way| Command { under_way: *under_way, response: None });
                functions.push(Function {
                    lun,
                    tag,
                    subtype,
                    units: BTreeSet::new(),
                    response: None,
                    command,
                });
            }
            "virtio_scsi_tmf_resp" => {
                let (lun, tag) = (number("lun")?, number("tag")?);
                let open = open.find(|open| (open.lun, open.tag) == (lun, tag));
                let open = open.with_context(|| format!("nobody asked for this answer: {line}"))?;
                (open.response, open.units) = (Some(number("response")?), std::mem::take(&mut units));
            }
            "scsi_device_set_ua" => {
                let unit = (number("target")?, number("lun")?);
                if (number("key")?, number("asc")?) == RESET_OCCURRED && open.next().is_some() {
                    units.insert(unit);
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

fn prove(functions: &[Function], said: &[Said]) -> Result<String> {
    let (mut resets, mut aborts) = (Vec::new(), Vec::new());
    for said in said {
        match said {
            Said::Reset(reset) => resets.push(reset.clone()),
            Said::Abort { lun, .. } => aborts.push(*lun),
            Said::Nothing => {
                ensure!(functions.is_empty(), "{} functions came to QEMU, and none should", functions.len());
                return Ok("no function came to QEMU".to_owned());
            }
        }
    }
    if aborts.is_empty() { prove_resets(functions, &resets) } else { prove_aborts(functions, &aborts) }
}

/// Each abort of the stand that has ended a command is an ABORT TASK at QEMU, for a command of that LUN; each of those was
/// answered, and the command that it is for, if it was under way, had ended with VIRTIO_SCSI_S_ABORTED before. There may be
/// more, for commands that had just ended by themselves.
fn prove_aborts(functions: &[Function], said: &[u32]) -> Result<String> {
    let (mut came, mut aborted) = (BTreeMap::new(), BTreeMap::new());
    for Function { lun, tag, subtype, response, command, .. } in functions {
        ensure!(*subtype == ABORT_TASK, "function {subtype} came (tag {tag:#x})");
        let Some(command) = command else {
            bail!("the abort of LUN {lun} and tag {tag:#x} is for no command")
        };
        ensure!(
            response.is_some_and(|response| DONE.contains(&response)),
            "the abort of tag {tag:#x} was answered {response:?}"
        );
        *came.entry(*lun).or_insert(0) += 1;
        if command.under_way {
            let ended = command.response;
            ensure!(ended == Some(ABORTED), "the command of tag {tag:#x} had ended as {ended:?}");
            *aborted.entry(*lun).or_insert(0) += 1;
        }
    }
    for lun in said.iter().chain(came.keys()).collect::<BTreeSet<_>>() {
        let of_said = said.iter().filter(|said| *said == lun).count();
        let of = |counts: &BTreeMap<u32, usize>| counts.get(lun).copied().unwrap_or_default();
        ensure!(
            (of(&aborted)..=of(&came)).contains(&of_said),
            "{of_said} aborts of LUN {lun} are said to be done, {} came to QEMU, which aborted {} commands",
            of(&came),
            of(&aborted)
        );
    }
    let all: usize = aborted.values().sum();
    ensure!(
        all >= ENOUGH_ABORTS && aborted.len() >= 2,
        "QEMU aborted {all} commands of {} LUNs: too few",
        aborted.len()
    );
    Ok(format!(
        "{} aborts of {} LUNs came to QEMU as such, each for one command; it aborted {all} of these and answered each",
        functions.len(),
        came.len()
    ))
}

/// Those of one group in the order of their units, which is that of neither side.
fn in_order(functions: &[Function], said: &[Reset]) -> Vec<(Function, Reset)> {
    let mut pairs = Vec::new();
    let mut functions = functions;
    for group in said.chunk_by(|one, next| one.group.is_some() && one.group == next.group) {
        let (of_group, rest) = functions.split_at(group.len().min(functions.len()));
        let (mut of_group, mut group) = (of_group.to_vec(), group.to_vec());
        if group.len() > 1 {
            of_group.sort_by(|one, other| one.units.cmp(&other.units));
            group.sort_by_key(Reset::units);
        }
        pairs.extend(of_group.into_iter().zip(group));
        functions = rest;
    }
    pairs
}

/// Each reset of the stand is a function at QEMU, in the same order, of the same kind, done to the same units; and there are no
/// others. Resets of a unit, of another unit of its target, and of another target must be among them.
fn prove_resets(functions: &[Function], said: &[Reset]) -> Result<String> {
    for (number, (function, reset)) in in_order(functions, said).iter().enumerate() {
        let Function { lun, tag, subtype, units, response, .. } = function;
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
    // Resets of all units at once are of no target.
    let all_units = said.iter().all(|reset| reset.group.is_some());
    let targets: BTreeSet<_> =
        said.iter().filter(|reset| all_units || reset.whole_target).map(|reset| reset.target).collect();
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
        of(true).map(|reset| reset.target).collect::<BTreeSet<_>>().len()
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
        Reset { whole_target: of == "target", target, luns: luns.iter().copied().collect(), group: None }
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
        let said: Vec<_> = said.iter().cloned().map(Said::Reset).collect();
        judge_all(trace, &said)
    }

    fn judge_all(trace: &str, said: &[Said]) -> Result<String, String> {
        read(trace).and_then(|functions| prove(&functions, said)).map_err(|error| format!("{error:#}"))
    }

    /// Commands of LUN 0 and LUN 3 by turns, each aborted, and what the stand says of that.
    fn aborts() -> (String, Vec<Said>) {
        let mut trace = String::new();
        let mut said = Vec::new();
        for tag in 1..=24 {
            let lun = tag % 2 * 3;
            trace += &format!(
                "virtio_scsi_cmd_req virtio_scsi_cmd_req lun={lun} tag={tag:#x} cmd=0x28\n\
                 virtio_scsi_tmf_req virtio_scsi_tmf_req lun={lun} tag={tag:#x} subtype=0\n\
                 virtio_scsi_cmd_resp virtio_scsi_cmd_resp lun={lun} tag={tag:#x} response=2 status=0x0\n\
                 virtio_scsi_tmf_resp virtio_scsi_tmf_resp lun={lun} tag={tag:#x} response=0\n"
            );
            said.push(Said::Abort { target: lun, lun });
        }
        (trace, said)
    }

    #[test]
    fn aborts_that_end_their_commands_pass() {
        let (trace, said) = aborts();

        let text = judge_all(&trace, &said).unwrap();

        assert!(text.starts_with("24 aborts of 2 LUNs came"), "{text}");
    }

    #[test]
    fn an_abort_with_another_tag_lun_function_or_end_fails() {
        let (trace, said) = aborts();
        let request = "virtio_scsi_tmf_req lun=0 tag=0x2 subtype=0";
        for (right, wrong, complaint) in [
            (request, "virtio_scsi_tmf_req lun=0 tag=0x99 subtype=0", "nobody asked for this answer"),
            (request, "virtio_scsi_tmf_req lun=3 tag=0x2 subtype=0", "nobody asked for this answer"),
            (request, "virtio_scsi_tmf_req lun=0 tag=0x2 subtype=5", "function 5 came"),
            ("cmd_req lun=0 tag=0x2 cmd", "cmd_req lun=0 tag=0x99 cmd", "is for no command"),
            ("tag=0x2 response=2", "tag=0x2 response=0", "had ended as Some(0)"),
            (
                "virtio_scsi_cmd_resp lun=0 tag=0x2 ",
                "virtio_scsi_cmd_resp lun=0 tag=0x99 ",
                "had ended as None",
            ),
            (
                "tmf_resp lun=0 tag=0x2 response=0",
                "tmf_resp lun=0 tag=0x2 response=3",
                "was answered Some(3)",
            ),
        ] {
            assert!(trace.contains(right), "{right}");

            let error = judge_all(&trace.replace(right, wrong), &said).unwrap_err();

            assert!(error.contains(complaint), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_abort_that_is_one_too_many_or_too_few_fails() {
        let (trace, said) = aborts();
        let more = [&said[..], &[Said::Abort { target: 0, lun: 0 }]].concat();

        assert!(judge_all(&trace, &more).unwrap_err().contains("13 aborts of LUN 0 are said"));
        assert!(judge_all(&trace, &said[1..]).unwrap_err().contains("11 aborts of LUN 3 are said"));
        assert!(judge_all("", &said).is_err());
    }

    #[test]
    fn resets_that_were_asked_for_at_once_pass_in_any_order_and_fail_when_one_is_missing() {
        let request = |lun, tag| format!("virtio_scsi_tmf_req lun={lun} tag={tag} subtype=5\n");
        let answer = |target, lun, tag| {
            format!(
                "scsi_device_set_ua target {target} lun {lun} key 0x06 asc 0x29 ascq 0x00\n\
                 virtio_scsi_tmf_resp lun={lun} tag={tag} response=0\n"
            )
        };
        // QEMU 10: all are taken, then done one by one.
        let taken = request(3, 1) + &request(1, 2) + &request(0, 3);
        let trace = taken + &answer(5, 3, 1) + &answer(0, 1, 2) + &answer(0, 0, 3);
        let said = |units: &[(u32, u32)]| -> Vec<Reset> {
            let one = |&(target, lun)| Reset { group: Some(1), ..reset("unit", target, &[lun]) };
            units.iter().map(one).collect()
        };

        let all = judge(&trace, &said(&[(0, 0), (0, 1), (5, 3)]));

        assert!(all.clone().is_ok_and(|text| text.starts_with("3 resets of 3 units")), "{all:?}");
        assert!(judge(&trace, &said(&[(0, 0), (0, 1)])).is_err());
        assert!(judge(&trace, &said(&[(0, 0), (0, 1), (4, 3)])).is_err());
        assert!(judge(&trace, &said(&[(0, 0), (0, 0), (5, 3)])).is_err());
    }

    #[test]
    fn a_function_fails_where_there_should_be_none() {
        let request = "virtio_scsi_tmf_req virtio_scsi_tmf_req lun=0 tag=0x1 subtype=5";

        assert_eq!(
            judge_all(request, &[Said::Nothing]).unwrap_err(),
            "1 functions came to QEMU, and none should"
        );
        assert_eq!(judge_all("", &[Said::Nothing]).unwrap(), "no function came to QEMU");
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
        let of_group = Reset { group: Some(4), ..reset("unit", 5, &[3]) };
        assert_eq!(Reset::parse("reset: of=unit target=5 luns=3 group=4"), Some(of_group));
        assert_eq!(Said::parse("abort: target=5 lun=3"), Some(Said::Abort { target: 5, lun: 3 }));
        assert_eq!(Said::parse("reset: of=nothing"), Some(Said::Nothing));
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
        let words: Vec<String> = ARGUMENTS_OF_ABORTS.iter().map(|word| (*word).to_owned()).collect();
        assert!(is_written(&words));
    }
}
