//! Counts that are kept: a file of Markdown with a table for each driver (`--table`), and what became better or worse since
//! one was written (`--than`).

use crate::bench_figures::{self as figures, Run, number};
use crate::boot::Starts;
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;

/// The columns, and what they mean in a sentence above the tables.
const COLUMNS: [(&str, &str); 13] = [
    (figures::BUILD_IO, "instructions of the driver's own in HwStorBuildIo"),
    (figures::START_IO, "in HwStorStartIo"),
    (figures::ISR, "in the interrupt routine"),
    (figures::DPC, "in DPCs, without what starts inside them"),
    (figures::OWN, "all of the driver's own"),
    (figures::COPIES, "instructions that memcpy, memset and the like are charged at"),
    (figures::TOTAL, "both"),
    (figures::BYTES_COPIED, "bytes that those were for"),
    (figures::CALLS, "calls of StorPort's functions"),
    (figures::DOORBELLS, "writes of the notification register"),
    (figures::INTERRUPTS, "interrupts"),
    (figures::LOCKED, "LOCK-prefixed instructions and exchanges"),
    (figures::BUSY, "requests given back busy"),
];

/// What a figure may grow by: at depth, doorbells depend on how soon the device comes.
const TOLERANCE: f64 = 1.02;

/// The file for these runs. `of` says what the images are, `starts` where StorPort started requests.
pub fn write(runs: &[Run], of: Option<&str>, starts: Starts) -> String {
    let mut text = String::from("# What requests cost\n\n");
    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
    let starts = match starts {
        Starts::Inside => "inside RequestComplete",
        Starts::Dpc => "in a DPC of StorPort's",
    };
    let _ = writeln!(
        text,
        "Counted{of} by `./x bench --table FILE`, which wrote this file. What the steps are and how it counts is in the stand's\n\
         README.md, \"Counting\". In the loops requests were started {starts}. All figures are per request; the last digits of\n\
         those at depth change from run to run.\n"
    );
    for (name, meaning) in COLUMNS {
        let _ = writeln!(text, "- {name}: {meaning}");
    }
    for run in runs {
        let image = &run.image;
        let _ = writeln!(text, "\n## {}\n", image.name);
        let _ = writeln!(text, "Image: {} bytes, {} of them code.", image.bytes, image.code);
        for (processors, held) in &run.held {
            let kinds = held.as_object().into_iter().flatten();
            let kinds: Vec<String> =
                kinds.map(|(name, bytes)| format!("{} {bytes}", name.replace('-', " "))).collect();
            let _ = writeln!(text, "Bytes of memory with {processors} processor(s): {}.", kinds.join(", "));
        }
        for why in &run.broken {
            let _ = writeln!(text, "Not all of it: {why}.");
        }
        text.push_str("\n| step |");
        for (name, _) in COLUMNS {
            let _ = write!(text, " {name} |");
        }
        text.push_str("\n| --- |");
        text.push_str(&" ---: |".repeat(COLUMNS.len()));
        text.push('\n');
        for step in &run.steps {
            let _ = write!(text, "| {} |", step.name);
            for (name, _) in COLUMNS {
                let _ = write!(text, " {} |", number(step.get(name)));
            }
            text.push('\n');
        }
    }
    text
}

/// A row of such a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    image: String,
    step: String,
    /// Figures by the name of their column.
    cells: Vec<(String, f64)>,
}

impl Row {
    fn get(&self, column: &str) -> Option<f64> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, value)| *value)
    }
}

/// Reads the rows of such a file. Columns may come and go.
///
/// # Errors
/// When it has no table, or a row is none.
pub fn read(text: &str) -> Result<Vec<Row>> {
    let (mut image, mut columns, mut rows) = (String::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            image = name.trim().to_owned();
            columns.clear();
        }
        let Some(cells) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["step", names @ ..] => columns = names.iter().map(|name| (*name).to_owned()).collect(),
            [first, ..] if first.starts_with("---") => {}
            [step, values @ ..] => {
                ensure!(
                    values.len() == columns.len(),
                    "{step} has {} figures, not {}",
                    values.len(),
                    columns.len()
                );
                let values = values.iter().map(|value| {
                    value.parse::<f64>().with_context(|| format!("{step} has the figure {value}"))
                });
                let values: Vec<f64> = values.collect::<Result<_>>()?;
                let cells = columns.iter().cloned().zip(values).collect();
                rows.push(Row { image: image.clone(), step: (*step).to_owned(), cells });
            }
            [] => {}
        }
    }
    if rows.is_empty() {
        bail!("there is no table in it");
    }
    Ok(rows)
}

/// What became of the rows of an older file, a line each, and whether none got worse: in its total, or by being given back busy.
pub fn compare(runs: &[Run], old: &[Row]) -> (Vec<String>, bool) {
    let mut lines = vec![String::new(), format!("  {:<14}{:<18}{:>10}{:>10}", "since", "", "total", "was")];
    let mut good = true;
    for row in old {
        let Some(run) = runs.iter().find(|run| run.image.name == row.image) else { continue };
        let place = format!("  {:<14}{:<18}", row.image, row.step);
        let Some(step) = run.steps.iter().find(|step| step.name == row.step) else {
            lines.push(format!("{place}not counted any more"));
            good = false;
            continue;
        };
        let mut worse = |column: &str| {
            let worse = row.get(column).is_some_and(|was| step.get(column) > was * TOLERANCE);
            good &= !worse;
            if worse { format!(" {column} WORSE") } else { String::new() }
        };
        let verdict = worse(figures::TOTAL) + &worse(figures::BUSY);
        let (now, was) = (step.get(figures::TOTAL), row.get(figures::TOTAL).unwrap_or(f64::NAN));
        lines.push(format!("{place}{:>10}{:>10} = {:.2}{verdict}", number(now), number(was), now / was));
    }
    (lines, good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_figures::tests::run;

    #[test]
    fn a_table_that_was_written_reads_as_the_same_figures() {
        let text = write(&[run("read-4k-qd1"), run("loop")], Some("a test"), Starts::Inside);

        let rows = read(&text).unwrap();

        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].image.as_str(), rows[0].step.as_str()), ("viostor.sys", "read-4k-qd1"));
        assert_eq!(
            (rows[0].get("own"), rows[0].get("copies"), rows[0].get("total")),
            (Some(200.0), Some(128.0), Some(328.0))
        );
        assert_eq!(rows[0].get("calls"), Some(1.2));
    }

    #[test]
    fn a_table_names_the_image_its_sizes_and_its_memory_and_no_path() {
        let text = write(&[run("a")], Some("a test"), Starts::Inside);

        assert!(text.contains("## viostor.sys\n\nImage: 4000 bytes, 3000 of them code.\n"), "{text}");
        assert!(text.contains("with 1 processor(s): srb extension 2000."), "{text}");
        assert!(text.contains("Counted of a test by"), "{text}");
        assert!(!text.contains("a/viostor.sys"), "{text}");
    }

    #[test]
    fn columns_may_come_and_go() {
        let rows =
            read("## a.sys\n| step | total | colour |\n| --- | ---: | ---: |\n| x | 3 | 7 |\n").unwrap();

        assert_eq!((rows[0].get("total"), rows[0].get("busy")), (Some(3.0), None));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for text in
            ["", "# heading\n", "| step | total |\n| x | 1 | 2 |\n", "| step | total |\n| x | many |\n"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    fn row(total: f64) -> Row {
        let cells = vec![("total".to_owned(), total), ("busy".to_owned(), 0.0)];
        Row { image: "viostor.sys".to_owned(), step: "a".to_owned(), cells }
    }

    #[test]
    fn a_total_that_grew_is_worse() {
        let (lines, good) = compare(&[run("a")], &[row(300.0)]);

        assert!(!good);
        assert!(lines.last().unwrap().ends_with("328       300 = 1.09 total WORSE"), "{lines:?}");
    }

    #[test]
    fn a_total_that_is_smaller_or_a_little_larger_is_not_worse() {
        for total in [656.0, 328.0, 325.0] {
            assert!(compare(&[run("a")], &[row(total)]).1, "{total}");
        }
    }

    #[test]
    fn a_step_that_is_gone_is_worse_and_an_image_that_was_not_asked_for_is_not() {
        let gone = Row { step: "b".to_owned(), ..row(1.0) };
        let other = Row { image: "vioscsi.sys".to_owned(), ..row(1.0) };

        assert!(!compare(&[run("a")], &[gone]).1);
        assert!(compare(&[run("a")], &[other]).1);
    }
}
