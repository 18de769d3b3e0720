//! What was counted of driver images, for a person: steps down and figures across, calls by name, the targets, ratios.
//!
//! The targets are T1 to T12 of the project's performance goals: instructions per request, bytes written, calls, locks,
//! doorbells, interrupts, memory. Those that this bench does not measure are said so.

use crate::bench_figures::{self as figures, Run, Step, number};

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

/// The targets, with what was measured of them.
fn targets(run: &Run) -> Vec<String> {
    let step = |name: &str| run.steps.iter().find(|step| step.name == name);
    let mut lines = vec!["  targets:".to_owned()];
    let mut target =
        |number: &str, what: &str, step: Option<&Step>, measured: fn(&Step) -> f64, most: f64| {
            let Some(step) = step else { return };
            let value = measured(step);
            let verdict = if value <= most { "met" } else { "not met" };
            lines.push(format!("    {number:<4} {what:<58} {:>8} of {most}: {verdict}", self::number(value)));
        };
    let (qd1, qd32) = (step("read-4k-qd1"), step("read-4k-qd32"));
    let total = |step: &Step| step.get(figures::TOTAL);
    target("T1", "instructions with copies, 4 KiB reads at depth 32", qd32, total, 300.0);
    target("T1", "instructions with copies, 4 KiB reads at depth 1", qd1, total, 380.0);
    let written = |step: &Step| step.get(figures::EXTENSION_BYTES) + step.get(figures::DRIVER_BYTES);
    target("T2", "bytes written to SRB extension and driver memory", qd32, written, 256.0);
    let calls = |step: &Step| step.get(figures::CALLS) - step.get(figures::INTERRUPTS);
    target("T4", "calls of StorPort's, less one for each interrupt", qd32, calls, 3.0);
    let locked = |step: &Step| step.get(figures::LOCKED);
    target("T5", "locked instructions, depth 1 (lock and fence, twice)", qd1, locked, 4.0);
    let doorbells = |step: &Step| step.get(figures::DOORBELLS);
    target("T6", "doorbells at depth 32", qd32, doorbells, 0.25);
    target("T6", "doorbells at depth 1", qd1, doorbells, 1.0);
    let interrupts = |step: &Step| step.get(figures::INTERRUPTS);
    target("T7", "interrupts at depth 32", qd32, interrupts, 0.25);
    target("T7", "interrupts at depth 1", qd1, interrupts, 1.0);
    let busy = |step: &Step| step.get(figures::BUSY);
    target("T11", "requests given back busy at depth 32", qd32, busy, 0.0);
    target(
        "T11",
        "requests given back busy with more than the ring takes",
        step("refill-4k-qd384"),
        busy,
        0.0,
    );
    target("-", "register reads at depth 1", qd1, |step| step.get(figures::REGISTER_READS), 0.0);
    let held = run.held.first().map(|(_, held)| held);
    let extension = held.and_then(|held| held["srb-extension"].as_f64()).unwrap_or(f64::NAN);
    let verdict = if extension <= 1024.0 { "met" } else { "not met" };
    lines.push(format!("    T9   {:<58} {extension:>8} of 1024: {verdict}", "bytes of SRB extension"));
    lines.push(
        "    Doorbells at depth: at worst, since the device takes each request while the doorbell is written."
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

        assert!(lines.contains("328 of 300: not met"), "{lines}");
        assert!(lines.contains("1.00 of 3: met"), "{lines}");
        assert!(lines.contains("2000 of 1024: not met"), "{lines}");
        assert!(lines.contains("0.50 of 0.25: not met"), "{lines}");
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
