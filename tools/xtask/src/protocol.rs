//! What the stand prints, line by line, and what a whole run of it amounts to.
//!
//! | line | meaning |
//! | --- | --- |
//! | `# text` | for a person |
//! | `~ text` | progress |
//! | `ok NAME: detail`, `not ok NAME: detail` | one check |
//! | `skip NAME: why` | not tried: the driver or the machine has it not |
//! | `count {JSON}` | what was counted in one step of the suite `bench` |
//! | `log SOURCE: text` | what the driver logged |
//! | `host N VERB ARGUMENT` | the runner is asked for something; see `host` |
//! | `rule …`, `image …`, `stack …`, `event …` | the report of a broken rule, see `symbols` |
//! | `stop REASON` | the stand cannot go on |
//! | `end passed=N failed=M` | the last line of a complete run |
//!
//! The stand ends QEMU through `isa-debug-exit`: a value `v` becomes the exit code `v << 1 | 1`.

use crate::blklog::Durable;
use crate::command::{Ended, Stream, status_text};
use crate::tmf::Said;
use stand::stamp::FINAL_GENERATION;

/// Exit code when every check passed.
pub const ALL_PASSED: i32 = 0x10 << 1 | 1;
/// Exit code when a check failed.
pub const CHECK_FAILED: i32 = 0x11 << 1 | 1;
/// Exit code when the stand could not go on and said why.
pub const STOPPED: i32 = 0x12 << 1 | 1;

/// One line of the stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Information for a person.
    Heading(&'a str),
    /// Progress; the next one replaces it.
    Progress(&'a str),
    /// A check and what it found.
    Check {
        /// Whether it passed.
        passed: bool,
        /// `NAME: detail`.
        text: &'a str,
    },
    /// Something not tried, `NAME: why`.
    Skip(&'a str),
    /// What was counted, as JSON.
    Count(&'a str),
    /// What the driver or the machine logged.
    Log(&'a str),
    /// `N VERB ARGUMENT`: something that the runner shall do.
    Host(&'a str),
    /// Why the stand cannot go on.
    Stop(&'a str),
    /// The count of a complete run.
    End {
        /// Checks that passed.
        passed: u32,
        /// Checks that did not.
        failed: u32,
    },
    /// Anything else, such as what the firmware prints.
    Other(&'a str),
}

impl<'a> Line<'a> {
    /// Reads one line.
    pub fn parse(line: &'a str) -> Self {
        let rest = |prefix| line.strip_prefix(prefix);
        if line == "#" {
            Self::Heading("")
        } else if let Some(text) = rest("# ") {
            Self::Heading(text)
        } else if let Some(text) = rest("~ ") {
            Self::Progress(text)
        } else if let Some(text) = rest("ok ") {
            Self::Check { passed: true, text }
        } else if let Some(text) = rest("not ok ") {
            Self::Check { passed: false, text }
        } else if let Some(text) = rest("skip ") {
            Self::Skip(text)
        } else if let Some(text) = rest("count ") {
            Self::Count(text)
        } else if let Some(text) = rest("log ") {
            Self::Log(text)
        } else if let Some(text) = rest("host ") {
            Self::Host(text)
        } else if let Some(text) = rest("stop ") {
            Self::Stop(text)
        } else if let Some(counts) = rest("end ").and_then(end) {
            counts
        } else {
            Self::Other(line)
        }
    }
}

fn end(text: &str) -> Option<Line<'_>> {
    let (passed, failed) = text.strip_prefix("passed=")?.split_once(" failed=")?;
    Some(Line::End { passed: passed.parse().ok()?, failed: failed.trim_end().parse().ok()? })
}

/// What one boot of the stand amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Checks that passed.
    pub passed: u32,
    /// `NAME: detail` of those that failed.
    pub failed: Vec<String>,
    /// `NAME: why` of what was not tried.
    pub skipped: Vec<String>,
    /// What was counted, as JSON.
    pub counts: Vec<String>,
    /// What the driver logged.
    pub logs: Vec<String>,
    /// The stamps it left on disks.
    pub stamps: Vec<FinalStamp>,
    /// What it was told is durable.
    pub durables: Vec<Durable>,
    /// The resets of units and targets and the aborts that the driver did.
    pub functions: Vec<Said>,
    /// The reports of broken rules, readable: the driver's stacks and the last events.
    pub traces: Vec<String>,
    /// What driver and device agreed on: the interface (`legacy interface`, for example) and the names of the
    /// features; `IOMMU` when there is one.
    pub agreed: Vec<String>,
    /// Why it did not come to its end; `None` for a complete run.
    pub broken: Option<Broken>,
}

/// What a heading says of the agreement between driver and device, if it is about that.
fn agreed(heading: &str) -> Vec<String> {
    let heading = heading.trim();
    if let Some(rest) = heading.strip_prefix("virtio: ") {
        return rest.split(',').take(1).map(str::to_owned).collect();
    }
    if heading == "the device is behind an IOMMU" {
        return vec!["IOMMU".to_owned()];
    }
    let features = heading.strip_prefix("negotiated:").unwrap_or_default();
    features.split_whitespace().map(str::to_owned).collect()
}

/// Why a run is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The stand said why it cannot go on.
    Stopped(String),
    /// It was killed at its time limit.
    TimedOut,
    /// It ended in a way the stand does not end, or contradicted itself.
    Crashed(String),
}

/// `# final stamp: owner=… blocks=… block-size=… seed=… [first=… generation=…]`: what the host will find in a disk's image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalStamp {
    /// Which disk: path, target and LUN as `stand::stamp::owner` packs them.
    pub owner: u32,
    /// How many logical blocks from the first one on.
    pub blocks: u64,
    /// Size of a logical block in bytes.
    pub block_size: usize,
    /// Seed of the run.
    pub seed: u64,
    /// The first block of them; 0 when the line does not say.
    pub first: u64,
    /// Their generation; [`FINAL_GENERATION`] when the line does not say.
    pub generation: u32,
}

impl FinalStamp {
    fn parse(heading: &str) -> Option<Self> {
        let (owner, generation) = (u32::MAX, FINAL_GENERATION);
        let mut stamp = Self { owner, blocks: 0, block_size: 0, seed: 0, first: 0, generation };
        for word in heading.strip_prefix("final stamp: ")?.split_ascii_whitespace() {
            let (key, value) = word.split_once('=')?;
            match key {
                "owner" => stamp.owner = number(value, 10)?.try_into().ok()?,
                "blocks" => stamp.blocks = number(value, 10)?,
                "block-size" => stamp.block_size = number(value, 10)?.try_into().ok()?,
                // As on the stand's command line: hexadecimal with or without 0x.
                "seed" => stamp.seed = number(value, 16)?,
                "first" => stamp.first = number(value, 10)?,
                "generation" => stamp.generation = number(value, 10)?.try_into().ok()?,
                _ => {}
            }
        }
        (stamp.owner != u32::MAX && stamp.block_size >= 64).then_some(stamp)
    }
}

fn number(text: &str, radix: u32) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => u64::from_str_radix(text, radix).ok(),
    }
}

/// Sums up the output and the exit code of one boot.
pub fn sum_up(ended: &Ended) -> Report {
    let mut report = Report {
        passed: 0,
        failed: Vec::new(),
        skipped: Vec::new(),
        counts: Vec::new(),
        logs: Vec::new(),
        stamps: Vec::new(),
        durables: Vec::new(),
        functions: Vec::new(),
        traces: Vec::new(),
        agreed: Vec::new(),
        broken: None,
    };
    let mut stop = None;
    let mut end = None;
    for line in ended.of(Stream::Out) {
        match Line::parse(line) {
            Line::Check { passed: true, .. } => report.passed += 1,
            Line::Check { passed: false, text } => report.failed.push(text.to_owned()),
            Line::Stop(reason) => stop = Some(reason.to_owned()),
            Line::End { passed, failed } => end = Some((passed, failed)),
            Line::Heading(text) => {
                report.stamps.extend(FinalStamp::parse(text));
                report.durables.extend(Durable::parse(text));
                report.functions.extend(Said::parse(text));
                report.agreed.extend(agreed(text));
            }
            Line::Skip(text) => report.skipped.push(text.to_owned()),
            Line::Count(text) => report.counts.push(text.to_owned()),
            Line::Log(text) => report.logs.push(text.to_owned()),
            Line::Progress(_) | Line::Host(_) | Line::Other(_) => {}
        }
    }
    let seen = (report.passed, u32::try_from(report.failed.len()).unwrap_or(u32::MAX));
    let crashed = |text: String| Some(Broken::Crashed(text));
    report.broken = match (ended.status.map(|status| status.code()), stop, end) {
        (None, ..) => Some(Broken::TimedOut),
        (Some(Some(STOPPED)), Some(reason), _) => Some(Broken::Stopped(reason)),
        (Some(Some(code @ (ALL_PASSED | CHECK_FAILED))), None, Some(counts)) => {
            if counts != seen {
                let ((passed, failed), (said_passed, said_failed)) = (seen, counts);
                crashed(format!(
                    "it counted {said_passed} passed and {said_failed} failed, but printed {passed} and {failed}"
                ))
            } else if (code == ALL_PASSED) != (counts.1 == 0) {
                crashed(format!("its exit code {code} contradicts {} failed checks", counts.1))
            } else {
                None
            }
        }
        (Some(Some(ALL_PASSED | CHECK_FAILED)), None, None) => crashed("its last line is missing".to_owned()),
        (Some(_), Some(reason), _) => crashed(format!("it stopped ({reason}) with {}", status_text(ended))),
        (Some(_), None, _) => crashed(format!("QEMU ended with {}", status_text(ended))),
    };
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(code: Option<i32>, lines: &[&str]) -> Ended {
        Ended {
            status: code.map(|code| ExitStatus::from_raw(code << 8)),
            lines: lines.iter().map(|line| (Stream::Out, (*line).to_owned())).collect(),
        }
    }

    #[test]
    fn every_kind_of_line_is_known() {
        assert_eq!(agreed("  negotiated: FLUSH RING_PACKED"), ["FLUSH", "RING_PACKED"]);
        assert_eq!(agreed("virtio: legacy interface, status 0x07"), ["legacy interface"]);
        assert!(agreed("  offered:    FLUSH").is_empty());
        assert_eq!(agreed("the device is behind an IOMMU"), ["IOMMU"]);
        assert_eq!(Line::parse("# LUN 0: 128 MiB"), Line::Heading("LUN 0: 128 MiB"));
        assert_eq!(Line::parse("~ writing 30 %"), Line::Progress("writing 30 %"));
        assert_eq!(Line::parse("ok a: b"), Line::Check { passed: true, text: "a: b" });
        assert_eq!(Line::parse("not ok a: b"), Line::Check { passed: false, text: "a: b" });
        assert_eq!(Line::parse("log driver: hello"), Line::Log("driver: hello"));
        assert_eq!(Line::parse("skip unmap: not offered"), Line::Skip("unmap: not offered"));
        assert_eq!(Line::parse("host 1 event STOP"), Line::Host("1 event STOP"));
        assert_eq!(Line::parse("count {}"), Line::Count("{}"));
        assert_eq!(Line::parse("stop no such import"), Line::Stop("no such import"));
        assert_eq!(Line::parse("end passed=12 failed=0"), Line::End { passed: 12, failed: 0 });
        assert_eq!(Line::parse("okay"), Line::Other("okay"));
        assert_eq!(Line::parse("end passed=x failed=0"), Line::Other("end passed=x failed=0"));
        assert_eq!(Line::parse(""), Line::Other(""));
    }

    #[test]
    fn a_complete_run_is_counted() {
        let report = sum_up(&ended(Some(33), &["# hello", "ok a: 1", "ok b: 2", "end passed=2 failed=0"]));

        assert_eq!((report.passed, report.failed.len(), report.broken), (2, 0, None));
    }

    #[test]
    fn a_failed_check_is_kept_with_its_detail() {
        let report = sum_up(&ended(Some(35), &["ok a: 1", "not ok b: bad", "end passed=1 failed=1"]));

        assert_eq!(report.failed, ["b: bad"]);
        assert_eq!(report.broken, None);
    }

    #[test]
    fn a_stop_keeps_its_reason() {
        let report = sum_up(&ended(Some(37), &["ok a: 1", "stop storport.sys has no Foo"]));

        assert_eq!(report.broken, Some(Broken::Stopped("storport.sys has no Foo".to_owned())));
    }

    #[test]
    fn the_time_limit_is_not_a_crash() {
        assert_eq!(sum_up(&ended(None, &["ok a: 1"])).broken, Some(Broken::TimedOut));
    }

    #[test]
    fn a_run_that_contradicts_itself_has_crashed() {
        let cases: &[(i32, &[&str])] = &[
            (33, &["ok a: 1"]),
            (33, &["ok a: 1", "end passed=2 failed=0"]),
            (33, &["not ok a: 1", "end passed=0 failed=1"]),
            (35, &["ok a: 1", "end passed=1 failed=0"]),
            (37, &["ok a: 1", "end passed=1 failed=0"]),
            (33, &["stop but all is well"]),
            (0, &["ok a: 1", "end passed=1 failed=0"]),
            (1, &[]),
        ];
        for (code, lines) in cases {
            let report = sum_up(&ended(Some(*code), lines));
            assert!(matches!(report.broken, Some(Broken::Crashed(_))), "{code} {lines:?}: {report:?}");
        }
    }

    #[test]
    fn the_final_stamp_line_is_read() {
        let line = "# final stamp: owner=65538 blocks=4096 block-size=512 seed=0x5eed";

        let report = sum_up(&ended(Some(33), &[line, "end passed=0 failed=0"]));

        assert_eq!(
            report.stamps,
            [FinalStamp {
                owner: 0x1_0002,
                blocks: 4096,
                block_size: 512,
                seed: 0x5EED,
                first: 0,
                generation: FINAL_GENERATION
            }]
        );
    }

    #[test]
    fn a_final_stamp_line_may_name_another_place_and_generation() {
        let line = "# final stamp: owner=0 blocks=8 block-size=512 seed=1 first=131072 generation=0xd0d0";

        let report = sum_up(&ended(Some(33), &[line, "end passed=0 failed=0"]));

        assert_eq!((report.stamps[0].first, report.stamps[0].generation), (131_072, 0xD0D0));
    }

    #[test]
    fn a_broken_final_stamp_line_is_no_stamp() {
        for line in ["# final stamp: owner=x", "# final stamp: blocks=1", "# final stamp"] {
            assert_eq!(sum_up(&ended(Some(33), &[line])).stamps, [], "{line}");
        }
    }
}
