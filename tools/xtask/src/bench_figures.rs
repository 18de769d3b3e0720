//! What the stand's suite `bench` counted of a driver image, per request: its lines `count {JSON}` read into figures by name.

use serde_json::Value;

/// A driver image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Path for a person.
    pub path: String,
    /// File name.
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its sections that can be executed.
    pub code: u64,
}

/// Everything counted of one image.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The image.
    pub image: Image,
    /// The version of the QEMU that it was counted in.
    pub qemu: String,
    /// The memory it holds, by number of processors.
    pub held: Vec<(u64, Value)>,
    /// The steps, in the stand's order.
    pub steps: Vec<Step>,
    /// As the stand counted them.
    pub raw: Vec<Value>,
    /// Why machines could not be run to their end.
    pub broken: Vec<String>,
}

/// One step of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The stand's name for it.
    pub name: String,
    /// One for each of [`FIGURES`], in their order.
    figures: Vec<f64>,
    /// Calls by name: Storport's, then others.
    pub calls: Vec<(String, f64)>,
}

/// How a figure is made of a `count` line.
enum Source {
    /// Instructions in these callbacks.
    In(&'static [&'static str]),
    /// Sums of these fields over all callbacks.
    Of(&'static [&'static str]),
    /// A field of the line.
    Whole(&'static str),
    /// The sum of this object of calls.
    Calls(&'static str),
}

/// Calls of Storport's functions by name. T4 is about these: the kernel's memory functions are among the others.
const STORPORT_CALLS: &str = "storport-calls";
const OTHER_CALLS: &str = "other-calls";

/// The callbacks that are interrupt routines: of the line, and of messages.
pub const INTERRUPT_ROUTINES: [&str; 2] = ["HwStorInterrupt", "HwMSInterruptRoutine"];

/// All figures.
const FIGURES: [(&str, Source); 24] = [
    (BUILD_IO, Source::In(&["HwStorBuildIo"])),
    (START_IO, Source::In(&["HwStorStartIo"])),
    (ISR, Source::In(&INTERRUPT_ROUTINES)),
    (DPC, Source::In(&["HwStorDpcRoutine"])),
    (OWN, Source::Of(&["instructions"])),
    (COPIES, Source::Of(&["memory-instructions"])),
    (TOTAL, Source::Of(&["instructions", "memory-instructions"])),
    (BYTES_COPIED, Source::Of(&["memory-bytes"])),
    (CALLS, Source::Calls(STORPORT_CALLS)),
    ("other calls", Source::Calls(OTHER_CALLS)),
    (DOORBELLS, Source::Of(&["doorbell-stores"])),
    (INTERRUPTS, Source::Whole("interrupts")),
    (LOCKED, Source::Of(&["locked"])),
    ("fences", Source::Of(&["fences"])),
    (EXTENSION_BYTES, Source::Of(&["srb-extension-bytes"])),
    (DRIVER_BYTES, Source::Of(&["driver-bytes"])),
    ("stack B", Source::Of(&["stack-bytes"])),
    (REGISTER_READS, Source::Of(&["register-reads"])),
    ("segments", Source::Whole("segments")),
    (BUSY, Source::Whole("busy")),
    (INTERRUPTS_IN_DRAIN, Source::Whole("interrupts-in-drain")),
    (SUBMIT_LINES, Source::Whole("submit-lines")),
    (SUBMIT_LINES_WRITTEN, Source::Whole("submit-lines-written")),
    (DRAIN_LINES, Source::Whole("drain-lines")),
];

/// Instructions in HwStorBuildIo, of the driver's own.
pub const BUILD_IO: &str = "BuildIo";
/// The same in HwStorStartIo.
pub const START_IO: &str = "StartIo";
/// The same in the interrupt routine.
pub const ISR: &str = "ISR";
/// The same in DPCs.
pub const DPC: &str = "DPC";
/// All instructions of the driver's own.
pub const OWN: &str = "own";
/// Instructions that memory functions are charged at.
pub const COPIES: &str = "copies";
/// Both.
pub const TOTAL: &str = "total";
/// Bytes that memory functions were for.
pub const BYTES_COPIED: &str = "bytes copied";
/// Calls of Storport's.
pub const CALLS: &str = "calls";
/// Writes of the register that tells the device.
pub const DOORBELLS: &str = "doorbells";
/// Interrupts.
pub const INTERRUPTS: &str = "interrupts";
/// LOCK-prefixed instructions and exchanges.
pub const LOCKED: &str = "locked";
/// Bytes written to the SRB extension.
pub const EXTENSION_BYTES: &str = "ext B";
/// Bytes written to memory of the driver's.
pub const DRIVER_BYTES: &str = "driver B";
/// Reads of registers.
pub const REGISTER_READS: &str = "reg reads";
/// Requests that came back busy.
pub const BUSY: &str = "busy";
/// Interrupts that came during a drain.
pub const INTERRUPTS_IN_DRAIN: &str = "in drain";
/// Cache lines of a submission.
pub const SUBMIT_LINES: &str = "submit L";
/// Those of them that are written.
pub const SUBMIT_LINES_WRITTEN: &str = "written L";
/// Cache lines of drains.
pub const DRAIN_LINES: &str = "drain L";

/// The names of all figures, in their order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIGURES.iter().map(|(name, _)| *name)
}

impl Step {
    /// Reads a line of the stand.
    pub fn read(value: &Value) -> Self {
        let requests = value["requests"].as_u64().unwrap_or(0).max(1) as f64;
        let of = |owner: &str| value[owner].as_object().into_iter().flatten();
        let total = |source: &Source| -> u64 {
            match source {
                Source::In(callbacks) => sum(value, Some(callbacks), "instructions"),
                Source::Of(fields) => fields.iter().map(|field| sum(value, None, field)).sum(),
                Source::Whole(field) => value[*field].as_u64().unwrap_or(0),
                Source::Calls(owner) => of(owner).filter_map(|(_, count)| count.as_u64()).sum(),
            }
        };
        let calls = [STORPORT_CALLS, OTHER_CALLS].into_iter().flat_map(of);
        Self {
            name: value["step"].as_str().unwrap_or("?").to_owned(),
            figures: FIGURES.iter().map(|(_, source)| total(source) as f64 / requests).collect(),
            calls: calls
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0) as f64 / requests))
                .collect(),
        }
    }

    /// A figure by its name; not a number when there is none.
    pub fn get(&self, name: &str) -> f64 {
        let index = names().position(|other| other == name);
        index.and_then(|index| self.figures.get(index)).copied().unwrap_or(f64::NAN)
    }
}

/// Sums a field over callbacks.
fn sum(value: &Value, names: Option<&[&str]>, field: &str) -> u64 {
    let callbacks = value["callbacks"].as_object().into_iter().flatten();
    callbacks
        .filter(|(name, _)| names.is_none_or(|names| names.contains(&name.as_str())))
        .filter_map(|(_, counts)| counts[field].as_u64())
        .sum()
}

/// A figure for a person: three digits that count.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A line as the stand prints it.
    pub fn line(step: &str) -> Value {
        json!({
            "step": step, "processors": 1, "requests": 10, "segments": 30, "busy": 0, "interrupts": 2,
            "callbacks": {
                "HwStorBuildIo": { "instructions": 1000, "locked": 0, "srb-extension-bytes": 720 },
                "HwStorStartIo": { "memory-calls": 10, "memory-bytes": 7720, "memory-instructions": 1280 },
                "HwMSInterruptRoutine": { "instructions": 80, "locked": 0 },
                "HwStorDpcRoutine": { "instructions": 920, "locked": 20, "doorbell-stores": 5, "driver-bytes": 100 },
            },
            "storport-calls": { "RequestComplete": 10, "IssueDpc": 2 },
            "other-calls": { "memcpy": 10 },
        })
    }

    /// A run of one step.
    pub fn run(step: &str) -> Run {
        let name = "viostor.sys".to_owned();
        Run {
            image: Image { path: "a/viostor.sys".to_owned(), name, bytes: 4000, code: 3000 },
            held: vec![(1, json!({ "srb-extension": 2000 }))],
            steps: vec![Step::read(&line(step))],
            ..Run::default()
        }
    }

    #[test]
    fn totals_become_figures_per_request() {
        let step = Step::read(&line("a"));

        assert_eq!((step.get(OWN), step.get(BUILD_IO), step.get(ISR)), (200.0, 100.0, 8.0));
        assert_eq!((step.get(DOORBELLS), step.get(LOCKED), step.get("segments")), (0.5, 2.0, 3.0));
        assert_eq!(step.calls.len(), 3);
    }

    #[test]
    fn memory_functions_are_apart_and_in_the_total_and_no_calls_of_storports() {
        let step = Step::read(&line("a"));

        assert_eq!((step.get(COPIES), step.get(BYTES_COPIED)), (128.0, 772.0));
        assert_eq!(step.get(TOTAL), step.get(OWN) + step.get(COPIES));
        assert_eq!((step.get(CALLS), step.get("other calls")), (1.2, 1.0));
    }

    #[test]
    fn a_figure_that_does_not_exist_is_no_number() {
        assert!(Step::read(&line("a")).get("colour").is_nan());
        assert!(Step::default().get(TOTAL).is_nan());
    }

    #[test]
    fn a_line_without_callbacks_has_figures_of_zero() {
        let step = Step::read(&json!({ "step": "idle", "requests": 0 }));

        assert_eq!((step.name.as_str(), step.get(TOTAL), step.get(CALLS)), ("idle", 0.0, 0.0));
    }

    #[test]
    fn three_digits_count() {
        assert_eq!([1282.4, 12.34, 1.234].map(number), ["1282", "12.3", "1.23"]);
    }
}
