//! What was counted of driver images, for a person: steps down and figures across, calls by name, the targets, ratios.
//!
//! The targets are T1 to T12 of the project's performance goals: instructions per request, bytes written, calls, locks,
//! doorbells, interrupts, memory. Those that this bench does not measure are said so.

use crate::bench_figures::{self as figures, Run, number};
use crate::bench_rows;

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> String {
    let cells: String = cells.into_iter().map(|cell| format!("{cell:>13}")).collect();
    format!("  {name:<22}{cells}")
}

/// All of one image.
pub fn table(run: &Run) -> Vec<String> {
    let image = &run.image;
    let mut lines = vec![
        String::new(),
        format!("{}, {} bytes, {} of them code; per request", image.path, image.bytes, image.code),
        row("", figures::names().map(str::to_owned)),
    ];
    for step in &run.steps {
        lines.push(row(&step.name, figures::names().map(|name| number(step.get(name)))));
    }
    lines.push("  calls by name:".to_owned());
    for step in &run.steps {
        let calls: Vec<String> =
            step.calls.iter().map(|(name, count)| format!("{name} {}", number(*count))).collect();
        lines.push(format!("    {:<16}{}", step.name, calls.join(", ")));
    }
    for (processors, held) in &run.held {
        lines.push(format!("  memory held with {processors} processor(s): {held}"));
    }
    lines.extend(run.broken.iter().map(|why| format!("  not all of it: {why}")));
    lines.extend(targets(run));
    lines
}

/// A target: its number, what it is about, what was measured of it, and the most that it may be.
type Target = (&'static str, &'static str, Option<f64>, f64);

/// The targets, with what was measured of them; T1's instructions are without the interrupt routine's. Those of steps that were
/// not run are left out.
fn targets(run: &Run) -> Vec<String> {
    let get = |name: &str, figure: &str| {
        let step = run.steps.iter().find(|step| step.name == name)?;
        Some(step.get(figure))
    };
    let sum =
        |name: &str, one: &str, other: &str, sign: f64| Some(get(name, one)? + sign * get(name, other)?);
    let ratio = |name: &str, to: &str, figure: &str| Some(get(name, figure)? / get(to, figure)?);
    // As many in all, not for each request.
    let lines_of_two = |name: &str| {
        let step = run.raw.iter().find(|step| step["step"] == name)?;
        step["lines-of-two-queues"].as_f64()
    };
    let held = run.held.first().map(|(_, held)| held);
    let held = |kind: &str| held.and_then(|held| held[kind].as_f64());
    let targets: [Target; 29] = [
        (
            "T1",
            "instructions with copies, 4 KiB reads at depth 32",
            sum("read-4k-qd32", figures::TOTAL, figures::ISR, -1.0),
            300.0,
        ),
        (
            "T1",
            "instructions with copies, 4 KiB reads at depth 1",
            sum("read-4k-qd1", figures::TOTAL, figures::ISR, -1.0),
            380.0,
        ),
        (
            "T2",
            "bytes written to SRB extension and driver memory",
            sum("read-4k-qd32", figures::EXTENSION_BYTES, figures::DRIVER_BYTES, 1.0),
            256.0,
        ),
        ("T3", "cache lines of a submission", get("asleep-4k-qd1", figures::SUBMIT_LINES), 16.0),
        ("T3", "  of these written", get("asleep-4k-qd1", figures::SUBMIT_LINES_WRITTEN), 8.0),
        ("T3", "cache lines of a drain, depth 1", get("asleep-4k-qd1", figures::DRAIN_LINES), 9.0),
        ("T3", "cache lines of a drain for each of 32", get("asleep-4k-qd32", figures::DRAIN_LINES), 3.0),
        (
            "T4",
            "calls of StorPort's, less one for each interrupt",
            sum("read-4k-qd32", figures::CALLS, figures::INTERRUPTS, -1.0),
            3.0,
        ),
        (
            "T5",
            "locked instructions, depth 1 (lock and fence, twice)",
            get("read-4k-qd1", figures::LOCKED),
            4.0,
        ),
        (
            "T6",
            "doorbells, bursts of 32, device asleep",
            get("asleep-4k-qd32", figures::DOORBELLS),
            1.0 / 32.0,
        ),
        ("T6", "doorbells, loop of 32, I/O thread", get("thread-loop-4k-qd32", figures::DOORBELLS), 0.25),
        ("T6", "doorbells, device polls", get("polls-4k-qd32", figures::DOORBELLS), 0.0),
        ("T6", "doorbells, depth 1, device asleep", get("asleep-4k-qd1", figures::DOORBELLS), 1.0),
        (
            "T6",
            "doorbells less interrupts, loop of 32, device asleep",
            sum("asleep-loop-4k-qd32", figures::DOORBELLS, figures::INTERRUPTS, -1.0),
            0.0,
        ),
        ("T7", "interrupts, bursts of 32, device asleep", get("asleep-4k-qd32", figures::INTERRUPTS), 0.04),
        ("T7", "interrupts, loop of 32, I/O thread", get("thread-loop-4k-qd32", figures::INTERRUPTS), 0.25),
        (
            "T7",
            "interrupts during a drain, loop of 32, I/O thread",
            get("thread-loop-4k-qd32", figures::INTERRUPTS_IN_DRAIN),
            0.0,
        ),
        ("T7", "interrupts, depth 1, device asleep", get("asleep-4k-qd1", figures::INTERRUPTS), 1.0),
        (
            "T8",
            "instructions of drains, 256 reversed : 32 in order",
            ratio("reversed-4k-qd256", "fifo-4k-qd32", figures::DPC),
            1.05,
        ),
        (
            "T8",
            "instructions of drains, 256 shuffled : 32 in order",
            ratio("shuffled-4k-qd256", "fifo-4k-qd32", figures::DPC),
            1.05,
        ),
        ("T9", "bytes of SRB extension", held("srb-extension"), 1024.0),
        ("T9", "bytes of each further queue of 256", bench_rows::each_further_queue(&run.held), 32768.0),
        ("T10", "lines written for two of 2 queues", lines_of_two("isolated2-4k-qd32"), 0.0),
        ("T10", "lines written for two of 4 queues", lines_of_two("isolated-4k-qd32"), 0.0),
        ("T10", "lines written for two of 8 queues", lines_of_two("isolated8-4k-qd32"), 0.0),
        ("T11", "requests given back busy at depth 32", get("read-4k-qd32", figures::BUSY), 0.0),
        (
            "T11",
            "requests given back busy with more than the ring takes",
            get("refill-4k-qd384", figures::BUSY),
            0.0,
        ),
        ("-", "instructions of the interrupt routine, depth 1", get("read-4k-qd1", figures::ISR), 40.0),
        ("-", "register reads at depth 1", get("read-4k-qd1", figures::REGISTER_READS), 0.0),
    ];
    let mut lines = vec!["  targets:".to_owned()];
    for (number, what, measured, most) in targets {
        let Some(value) = measured.filter(|value| value.is_finite()) else { continue };
        let verdict = if value <= most { "met" } else { "not met" };
        lines.push(format!("    {number:<4} {what:<58} {:>8} of {most}: {verdict}", self::number(value)));
    }
    lines.push(
        "    T3 and T6 to T8 are with the stand's own device, which keeps a schedule; QEMU's takes each request while the doorbell is \
         written."
            .to_owned(),
    );
    lines.push("    T12 is a ratio to another driver: --against. Times are not measured".to_owned());
    lines
}

/// The first image's figures as parts of the second's, for the steps that both have.
pub fn ratios(one: &Run, other: &Run) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!("{} : {}", one.image.path, other.image.path),
        row("", figures::names().map(str::to_owned)),
    ];
    for step in &one.steps {
        let Some(against) = other.steps.iter().find(|other| other.name == step.name) else { continue };
        let cells = figures::names().map(|name| {
            let theirs = against.get(name);
            if theirs > 0.0 { format!("{:.2}", step.get(name) / theirs) } else { "-".to_owned() }
        });
        lines.push(row(&step.name, cells));
    }
    if let Some(mean) = crate::bench_page::mean_ratio(one, other) {
        lines
            .push(format!("  geometric mean of the instructions without the interrupt routine's: {mean:.3}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_figures::Step;
    use crate::bench_figures::tests::{line, run};

    #[test]
    fn every_step_is_a_row_of_all_figures() {
        let lines = table(&run("read-4k-qd32"));

        let row = lines.iter().find(|line| line.trim_start().starts_with("read-4k-qd32")).expect("a row");
        assert_eq!(row.split_whitespace().count(), 1 + figures::names().count());
        let text = lines.join("\n");
        assert!(text.contains("a/viostor.sys, 4000 bytes, 3000 of them code"), "{text}");
        assert!(text.contains("RequestComplete 1.00, memcpy 1.00"), "{text}");
    }

    #[test]
    fn what_a_machine_did_not_come_to_is_said() {
        let run = Run { broken: vec!["4 processors: stopped".to_owned()], ..run("a") };

        assert!(table(&run).iter().any(|line| line.contains("4 processors: stopped")));
    }

    #[test]
    fn targets_say_what_is_met_and_what_is_not() {
        let lines = targets(&run("read-4k-qd32")).join("\n");

        assert!(lines.contains("320 of 300: not met"), "{lines}");
        assert!(lines.contains("1.00 of 3: met"), "{lines}");
        assert!(lines.contains("2000 of 1024: not met"), "{lines}");
        assert!(!lines.contains("    T6 "), "what was not run has no verdict: {lines}");
    }

    #[test]
    fn targets_of_a_schedule_orders_and_queues_are_of_their_own_steps() {
        let step = |name: &str, field: &str, count: u64, drain: u64| {
            let mut step = line(name);
            step[field] = count.into();
            step["callbacks"]["HwStorDpcRoutine"]["instructions"] = drain.into();
            step
        };
        let raw = [
            step("asleep-4k-qd1", "submit-lines", 170, 920),
            step("thread-loop-4k-qd32", "interrupts-in-drain", 0, 920),
            step("fifo-4k-qd32", "busy", 0, 1000),
            step("reversed-4k-qd256", "busy", 0, 1060),
            step("shuffled-4k-qd256", "busy", 0, 1040),
            step("isolated-4k-qd32", "lines-of-two-queues", 3, 920),
        ];
        let run = Run { steps: raw.iter().map(Step::read).collect(), raw: raw.to_vec(), ..run("a") };

        let lines = targets(&run);

        let verdict = |what: &str| {
            let line = lines.iter().find(|line| line.contains(what)).expect("it is told");
            line.split_once(what).expect("it was found").1.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(verdict("cache lines of a submission"), "17.0 of 16: not met");
        assert_eq!(verdict("interrupts during a drain, loop of 32, I/O thread"), "0.00 of 0: met");
        assert_eq!(verdict("256 reversed : 32 in order"), "1.06 of 1.05: not met");
        assert_eq!(verdict("256 shuffled : 32 in order"), "1.04 of 1.05: met");
        assert_eq!(verdict("lines written for two of 4 queues"), "3.00 of 0: not met");
    }

    #[test]
    fn ratios_are_of_the_first_to_the_second() {
        let mut other = run("a");
        let mut slower = line("a");
        slower["callbacks"]["HwStorBuildIo"]["instructions"] = 4000.into();
        other.steps = vec![Step::read(&slower)];

        let lines = ratios(&run("a"), &other);

        let row = lines.last().expect("a row");
        assert!(row.trim_start().starts_with("a  "), "{row}");
        assert!(row.contains("0.25"), "{row}");
    }
}
