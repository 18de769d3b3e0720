//! What was counted of a driver image as rows of one number each: the form in which figures are
//! [kept](crate::bench_kept) and compared.
//!
//! Instructions and bytes are per request, with two decimals. Events (calls, doorbells, interrupts, locked instructions) are
//! per thousand requests, as whole numbers: one doorbell for 32 requests is 31. What the stand counts besides what is known
//! here becomes a row by the stand's own name, so that a new step or a new count needs no change of this file.
//!
//! Not all rows are kept: one that is another in the next run of the same driver would fail for nothing. See [`is_steady`].

use crate::bench_figures::{INTERRUPT_ROUTINES, Run};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rows by name.
pub type Rows = BTreeMap<String, f64>;

/// What a step says about itself, and what is kept under another name.
const NOT_COSTS: [&str; 3] = ["processors", "requests", "segments"];
/// Counts of callbacks that are no rows: totals of others, how often and how long one callback ran, stores (their bytes are
/// rows), and the stack, which is written in every call.
const NOT_ROWS: [&str; 5] = ["calls", "most", "memory-calls", "stack-bytes", "doorbell-bytes"];
/// StorPort's calls that are register writes: those are counted as such, and those to the doorbell hang on the device.
const REGISTER_WRITES: &str = "StorPortWriteRegister";
/// Instructions that count for T1, a request's own with its copies; the interrupt routine is apart.
const INSTRUCTIONS: &str = "instructions";

/// Cache lines of a submission, an interrupt and a drain, by the beginnings of their names.
const LINES: [&str; 3] = ["submit-lines", "isr-lines", "drain-lines"];

/// Rows of each step, whatever ran in it.
const ALWAYS: [&str; 9] = [
    INSTRUCTIONS,
    "instructions-build-io",
    "instructions-copies",
    "instructions-dpc",
    "instructions-isr",
    "instructions-other",
    "instructions-start-io",
    "copied-bytes",
    "doorbells",
];

/// All rows of one image.
pub fn rows(run: &Run) -> Rows {
    rows_where(run, |_, _| true)
}

/// The rows that are kept: those that are the same whenever and wherever the same image is counted.
pub fn steady_rows(run: &Run) -> Rows {
    rows_where(run, is_steady)
}

/// Whether a count of a step is kept.
///
/// Cache lines hang on which slots a driver takes for the requests of a burst, and so how many of them share a line; that hangs on
/// how earlier requests ended, in one drain or in several, and that on when QEMU's device answered. From run to run they move by
/// up to a tenth. With the stand's own device, which has no clock, they are kept. `lines-of-two-queues` is 0 or a fault.
/// All other counts moved by no more than 0.03 % in runs on a machine at rest and a busy one: the gate allows 1 %.
fn is_steady(step: &Value, figure: &str) -> bool {
    !(is_of_qemu(step) && LINES.iter().any(|lines| figure.starts_with(lines)))
}

fn is_of_qemu(step: &Value) -> bool {
    step["device"] == "qemu"
}

/// The steps that were made with QEMU's device, by what their rows begin with: the [step of](step_of) a row.
pub fn steps_of_qemu(run: &Run) -> BTreeSet<String> {
    run.raw.iter().filter(|step| is_of_qemu(step)).map(name_of).collect()
}

/// What all rows of the step of this row begin with.
pub fn step_of(row: &str) -> &str {
    row.rsplit_once('/').map_or(row, |(step, _)| step)
}

/// The rows of the counts of a step that are asked for, and those of memory and of the image.
fn rows_where(run: &Run, wanted: impl Fn(&Value, &str) -> bool) -> Rows {
    let mut rows = Rows::new();
    rows.insert("image/bytes".to_owned(), run.image.bytes as f64);
    rows.insert("image/code-bytes".to_owned(), run.image.code as f64);
    for (processors, held) in &run.held {
        leaves(&format!("memory/cpus-{processors}"), held, &mut rows);
    }
    memory(run, &mut rows);
    for step in &run.raw {
        of_step(step, &wanted, &mut rows);
    }
    rows
}

/// Bytes that an adapter holds with so many queues, and what each more costs.
fn memory(run: &Run, rows: &mut Rows) {
    for (cpus, held) in &run.held {
        rows.insert(format!("memory/cpus-{cpus}/adapter"), of_adapter(held));
    }
    if let Some(each) = each_further_queue(&run.held) {
        rows.insert("memory/each-further-queue".to_owned(), round(each));
    }
}

/// Bytes of an adapter, whatever its requests need.
fn of_adapter(held: &Value) -> f64 {
    ["device-extension", "uncached-extension", "pool"].iter().filter_map(|kind| held[*kind].as_f64()).sum()
}

/// Processors of the largest machine on which a further queue has the depth of the one before: with many they share what
/// StorPort has under way at most.
const LIKE_THE_OTHERS: u64 = 8;

/// Bytes that an adapter needs for a queue more where it has several. The first one has a depth of its own.
pub fn each_further_queue(held: &[(u64, Value)]) -> Option<f64> {
    let mut largest = held.iter().rev().filter(|(queues, _)| *queues <= LIKE_THE_OTHERS);
    let ((many, more), (few, less)) = (largest.next()?, largest.next()?);
    (many > few).then(|| (of_adapter(more) - of_adapter(less)) / (many - few) as f64)
}

/// Rows of one line of the stand about a step, as far as they are wanted.
fn of_step(step: &Value, wanted: impl Fn(&Value, &str) -> bool, rows: &mut Rows) {
    let name = name_of(step);
    let requests = step["requests"].as_f64().unwrap_or(0.0).max(1.0);
    let mut totals = BTreeMap::<String, f64>::new();
    for figure in ALWAYS {
        totals.insert(figure.to_owned(), 0.0);
    }
    let mut add = |figure: &str, count: f64| *totals.entry(figure.to_owned()).or_default() += count;
    for (callback, counts) in step["callbacks"].as_object().into_iter().flatten() {
        let interrupt = INTERRUPT_ROUTINES.contains(&callback.as_str());
        for (field, count) in counts.as_object().into_iter().flatten() {
            let Some(count) = count.as_f64() else { continue };
            match field.as_str() {
                INSTRUCTIONS if interrupt => add("instructions-isr", count),
                INSTRUCTIONS => {
                    add(INSTRUCTIONS, count);
                    add(row_of(callback), count);
                }
                "memory-instructions" => {
                    add(if interrupt { "instructions-isr" } else { INSTRUCTIONS }, count);
                    add("instructions-copies", count);
                }
                "memory-bytes" => add("copied-bytes", count),
                "doorbell-stores" => add("doorbells", count),
                field if NOT_ROWS.contains(&field) || field.ends_with("-stores") => {}
                field => add(field, count),
            }
        }
    }
    for (field, value) in step.as_object().into_iter().flatten() {
        match value {
            Value::Number(count) if !NOT_COSTS.contains(&field.as_str()) => {
                add(field, count.as_f64().unwrap_or(f64::NAN));
            }
            Value::Object(calls) if field != "callbacks" => {
                // A call of none of these names is a row all the same.
                add(field, 0.0);
                for (_, count) in calls.iter().filter(|(name, _)| !name.starts_with(REGISTER_WRITES)) {
                    add(field, count.as_f64().unwrap_or(0.0));
                }
            }
            _ => {}
        }
    }
    for (figure, total) in totals.into_iter().filter(|(figure, _)| wanted(step, figure)) {
        let value =
            if is_amount(&figure) { round(total / requests) } else { (total * 1000.0 / requests).round() };
        rows.insert(format!("{name}/{figure}"), value);
    }
}

/// How a step is named in a row: by its machine's processors, each of which has a queue, and itself.
fn name_of(step: &Value) -> String {
    let processors = step["processors"].as_u64().unwrap_or(1);
    format!("cpus-{processors}/{}", step["step"].as_str().unwrap_or("?"))
}

/// The row of a callback's instructions. What is rare has one together: not every run has a timer in it.
fn row_of(callback: &str) -> &'static str {
    match callback {
        "HwStorBuildIo" => "instructions-build-io",
        "HwStorStartIo" => "instructions-start-io",
        "HwStorDpcRoutine" => "instructions-dpc",
        _ => "instructions-other",
    }
}

/// Whether a figure is an amount for each request, and no event that is counted for a thousand.
pub fn is_amount(figure: &str) -> bool {
    figure.starts_with(INSTRUCTIONS) || figure.ends_with("bytes")
}

/// Every number of a value, by its path.
fn leaves(name: &str, value: &Value, rows: &mut Rows) {
    match value {
        Value::Number(number) => {
            rows.insert(name.to_owned(), number.as_f64().map_or(f64::NAN, round));
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                leaves(&format!("{name}/{field}"), value, rows);
            }
        }
        _ => {}
    }
}

/// To two decimals, which is how rows are written.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_figures::tests::{line, run};
    use serde_json::json;

    fn of(step: Value) -> Rows {
        let mut rows = Rows::new();
        of_step(&step, |_, _| true, &mut rows);
        rows
    }

    #[test]
    fn instructions_have_copies_in_them_and_the_interrupt_routine_apart() {
        let rows = of(line("a"));

        assert_eq!(rows["cpus-1/a/instructions"], 100.0 + 92.0 + 128.0);
        assert_eq!(rows["cpus-1/a/instructions-isr"], 8.0);
        assert_eq!(rows["cpus-1/a/instructions-build-io"], 100.0);
        assert_eq!(rows["cpus-1/a/instructions-copies"], 128.0);
        assert_eq!(rows["cpus-1/a/copied-bytes"], 772.0);
    }

    #[test]
    fn events_are_per_thousand_requests_and_register_writes_no_calls() {
        let mut step = line("a");
        step["storport-calls"]["StorPortWriteRegisterUshort"] = 10.into();

        let rows = of(step);

        assert_eq!(rows["cpus-1/a/doorbells"], 500.0);
        assert_eq!(rows["cpus-1/a/interrupts"], 200.0);
        assert_eq!(rows["cpus-1/a/storport-calls"], 1200.0);
    }

    #[test]
    fn what_is_not_known_here_is_a_row_by_its_own_name() {
        let step = json!({
            "step": "new", "processors": 8, "requests": 2, "bytes": "512", "lines-touched": 9,
            "callbacks": { "HwStorBuildIo": { "instructions": 4, "zeroed-bytes": 3 }, "HwStorTimer": { "instructions": 2 } },
        });

        let rows = of(step);

        assert_eq!(rows["cpus-8/new/lines-touched"], 4500.0);
        assert_eq!(rows["cpus-8/new/zeroed-bytes"], 1.5);
        assert_eq!(rows["cpus-8/new/instructions"], 3.0);
        assert_eq!(rows.get("cpus-8/new/bytes"), None);
    }

    /// A step with one count of lines of each kind.
    fn with_lines(device: &str) -> Value {
        let mut step = line("a");
        step["device"] = device.into();
        for count in ["submit-lines", "isr-lines-written", "drain-lines-image", "lines-of-two-queues"] {
            step[count] = 10.into();
        }
        step
    }

    #[test]
    fn lines_are_kept_of_the_stands_device_and_not_of_qemus() {
        let mut run = run("a");
        let lines_of =
            |rows: Rows| -> Vec<String> { rows.into_keys().filter(|name| name.contains("lines")).collect() };
        let all = ["drain-lines-image", "isr-lines-written", "lines-of-two-queues", "submit-lines"];

        run.raw = vec![with_lines("asleep")];
        assert_eq!(lines_of(steady_rows(&run)), all.map(|figure| format!("cpus-1/a/{figure}")));
        run.raw = vec![with_lines("qemu")];
        assert_eq!(lines_of(steady_rows(&run)), ["cpus-1/a/lines-of-two-queues"]);
        assert_eq!(lines_of(rows(&run)), all.map(|figure| format!("cpus-1/a/{figure}")));
    }

    #[test]
    fn memory_is_of_the_adapter_and_of_each_further_queue() {
        let mut run = run("a");
        run.held = vec![
            (
                1,
                json!({ "device-extension": 100, "uncached-extension": 1000, "srb-extension": 128, "deep": { "lun": 7 } }),
            ),
            (2, json!({ "device-extension": 110, "uncached-extension": 1500, "srb-extension": 128 })),
            (
                4,
                json!({ "device-extension": 130, "uncached-extension": 1600, "srb-extension": 128, "pool": 8 }),
            ),
        ];

        let rows = rows(&run);

        assert_eq!((rows["image/bytes"], rows["image/code-bytes"]), (4000.0, 3000.0));
        assert_eq!((rows["memory/cpus-1/adapter"], rows["memory/cpus-4/adapter"]), (1100.0, 1738.0));
        assert_eq!(rows["memory/each-further-queue"], 64.0);
        assert_eq!(rows["memory/cpus-1/srb-extension"], 128.0);
        assert_eq!(rows["memory/cpus-1/deep/lun"], 7.0);
    }
}
