//! `./x bench --html FILE`: what was counted as one page of curves over depth, segments and queues, and tables. It needs neither a
//! network nor a script, and is to be read on a light and on a dark screen.

use crate::bench_figures::Run;
use crate::bench_rows::{Rows, rows};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is drawn.
const FIGURE: &str = "instructions";

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #d5dae0; --soft: #57606a;
        --ours: #0860c4; --other: #b04a00; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171a; --ink: #e3e7eb; --faint: #363c43; --soft: #9aa4af; --ours: #6cb0ff; --other: #ff9d57; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; max-width: 76rem;
       margin: 2rem auto; padding: 0 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--faint); }
.ours { stroke: var(--ours); fill: none; stroke-width: 2; } .other { stroke: var(--other); fill: none; stroke-width: 2;
        stroke-dasharray: 6 4; }
circle.ours { fill: var(--ours); } circle.other { fill: var(--other); stroke-dasharray: none; }
svg text.ours { fill: var(--ours); stroke: none; } svg text.other { fill: var(--other); stroke: none; }
span.ours { color: var(--ours); } span.other { color: var(--other); }
table { border-collapse: collapse; margin: .5rem 0; } td, th { padding: .1rem .8rem .1rem 0; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid var(--faint); }
";

/// One step as a point of curves.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    /// What follows how: the name without sizes and numbers.
    load: String,
    operation: String,
    bytes: u64,
    /// Requests at once, of each processor where the name says so.
    depth: u64,
    processors: u64,
    segments: f64,
    value: f64,
}

impl Point {
    /// Of a line of the stand about a step; none when it does not say what it is about, or is a first request.
    fn of(step: &Value, rows: &Rows) -> Option<Self> {
        let text = |field: &str| step[field].as_str();
        let number = |field: &str| text(field)?.parse::<u64>().ok();
        let name = text("step")?;
        if text("state") == Some("first") {
            return None;
        }
        let processors = step["processors"].as_u64()?;
        let depth = name.split('-').find_map(|word| word.strip_prefix("qd")?.parse().ok());
        let load: Vec<&str> = name
            .split('-')
            .filter(|word| !word.starts_with(|first: char| first.is_ascii_digit()) && !word.starts_with("qd"))
            .map(|word| word.trim_end_matches(|last: char| last.is_ascii_digit()))
            .collect();
        Some(Self {
            load: load.join(" "),
            operation: text("operation")?.to_owned(),
            bytes: number("bytes")?,
            depth: depth.or_else(|| number("depth"))?,
            processors,
            segments: step["segments"].as_f64()? / step["requests"].as_f64()?.max(1.0),
            value: *rows.get(&format!("cpus-{processors}/{name}/{FIGURE}"))?,
        })
    }
}

/// A curve's points, by what is on the axis.
type Curve = Vec<(f64, f64)>;

/// Curves by their titles, of points that differ in nothing but what is on the axis.
fn curves(
    points: &[Point],
    title: impl Fn(&Point) -> Option<String>,
    x: impl Fn(&Point) -> f64,
) -> BTreeMap<String, Curve> {
    let mut curves = BTreeMap::<String, Curve>::new();
    for point in points {
        if let Some(title) = title(point) {
            curves.entry(title).or_default().push((x(point), point.value));
        }
    }
    for curve in curves.values_mut() {
        curve.sort_by(|one, other| one.0.total_cmp(&other.0));
        curve.dedup_by_key(|(x, _)| *x);
    }
    curves.retain(|_, curve| curve.len() > 2);
    curves
}

/// An axis' name and its curves.
type Family = (&'static str, BTreeMap<String, Curve>);

fn families(run: &Run, rows: &Rows) -> Vec<Family> {
    let points: Vec<Point> = run.raw.iter().filter_map(|step| Point::of(step, rows)).collect();
    let one = |point: &Point| point.processors == 1;
    let over_depth = curves(
        &points,
        |point| one(point).then(|| format!("{}, {}, over depth", named(point), size(point.bytes))),
        |point| point.depth as f64,
    );
    let over_segments = curves(
        &points,
        |point| one(point).then(|| format!("{}, {} at once, over segments", named(point), point.depth)),
        |point| point.segments,
    );
    let over_queues = curves(
        &points,
        |point| {
            let load = matches!(point.load.as_str(), "read" | "queues each" | "queues");
            let each = if point.load == "queues" && point.depth > 1 { "in all" } else { "on each" };
            // One queue alone is the first point of the curve in which each queue has so many.
            (load && point.operation == "read")
                .then(|| format!("read, {}, {} at once {each}, over queues", size(point.bytes), point.depth))
        },
        |point| point.processors as f64,
    );
    vec![("requests at once", over_depth), ("segments of a request", over_segments), ("queues", over_queues)]
}

fn named(point: &Point) -> String {
    if point.load == point.operation {
        point.load.clone()
    } else {
        format!("{} ({})", point.operation, point.load)
    }
}

fn size(bytes: u64) -> String {
    if bytes >= 1024 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") }
}

/// Sides of a chart, and what is left free for its labels: left, right, top, bottom.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 240.0;
const FREE: (f64, f64, f64, f64) = (44.0, 16.0, 12.0, 36.0);

fn chart(title: &str, axis: &str, series: &[(&str, &Curve)]) -> Markup {
    let all = || series.iter().flat_map(|(_, curve)| curve.iter());
    let least = all().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let most = all().map(|(x, _)| *x).fold(least * 2.0, f64::max);
    let step = nice(all().map(|(_, y)| *y).fold(1.0, f64::max) / 4.0);
    // Above the highest point there is room for its label.
    let top = (all().map(|(_, y)| *y).fold(1.0, f64::max) * 1.08 / step).ceil() * step;
    let last = |curve: &Curve| curve.last().map_or(0.0, |(_, y)| *y);
    let highest = series.iter().map(|(_, curve)| last(curve)).fold(0.0, f64::max);
    // The label of a lower curve is below it, and of one that is as high as the first not said twice.
    let label = |index: usize, y: f64| {
        if y < highest { Some(16.0) } else { (index == 0 || last(series[0].1) < highest).then_some(-8.0) }
    };
    let (left, right, above, below) = FREE;
    // Depths and segments double from point to point.
    let at_x = |x: f64| left + (x / least).log2() / (most / least).log2() * (WIDTH - left - right);
    let at_y = |y: f64| HEIGHT - below - y / top * (HEIGHT - above - below);
    let mut marks: Vec<f64> = Vec::new();
    for x in std::iter::successors(Some(least), |x| Some(x * 2.0)).take_while(|x| *x <= most * 1.01) {
        if marks.last().is_none_or(|last| at_x(x) - at_x(*last) >= 24.0) {
            marks.push(x);
        }
    }
    let lines = (0..=(top / step).round() as u32).map(|line| f64::from(line) * step);
    html! {
        figure {
            figcaption { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
                @for y in lines {
                    line class="grid" x1=(left) x2=(WIDTH - right) y1=(place(at_y(y))) y2=(place(at_y(y))) {}
                    text x=(left - 6.0) y=(place(at_y(y) + 4.0)) text-anchor="end" { (y) }
                }
                @for x in &marks {
                    text x=(place(at_x(*x))) y=(HEIGHT - below + 16.0) text-anchor="middle" { (x.round()) }
                }
                text x=(WIDTH - right) y=(HEIGHT - 4.0) text-anchor="end" { (axis) }
                @for (index, (class, curve)) in series.iter().enumerate() {
                    polyline class=(class) points=(curve.iter().map(|(x, y)| format!("{},{}", place(at_x(*x)), place(at_y(*y)))).collect::<Vec<_>>().join(" ")) {}
                    @for (x, y) in curve.iter() {
                        circle class=(class) cx=(place(at_x(*x))) cy=(place(at_y(*y))) r="3" {
                            title { (x.round()) " " (axis) ": " (format!("{y:.0}")) }
                        }
                    }
                    @if let Some((x, y)) = curve.last() {
                        @if let Some(away) = label(index, *y) {
                            text class=(class) x=(place(at_x(*x))) y=(place(at_y(*y) + away)) text-anchor="end" { (format!("{y:.0}")) }
                        }
                    }
                }
            }
        }
    }
}

/// A coordinate as text.
fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// A round number that is not less.
fn nice(value: f64) -> f64 {
    let unit = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * unit)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

/// A part of the page for one image, and for another one beside it.
fn part(run: &Run, other: Option<&Run>) -> Markup {
    let ours = rows(run);
    let theirs = other.map(rows);
    let other_families =
        other.zip(theirs.as_ref()).map(|(run, rows)| families(run, rows)).unwrap_or_default();
    let cell = |value: Option<&f64>| value.map_or("–".to_owned(), f64::to_string);
    html! {
        h2 { span class="ours" { "━ " (run.image.name) } @if let Some(other) = other { " and " span class="other" { "╍ " (other.image.path) } } }
        @for why in run.broken.iter().chain(other.iter().flat_map(|run| &run.broken)) { p { "Not all of it: " (why) } }
        @if let Some(mean) = other.and_then(|other| mean_ratio(run, other)) {
            p { "Instructions: " strong { (format!("{mean:.2}")) } " times the other's, as the geometric mean of all steps that both have." }
        }
        @for (index, (axis, curves)) in families(run, &ours).iter().enumerate() {
            h3 { "Over " (axis) }
            div class="charts" {
                @for (title, curve) in curves {
                    @let beside = other_families.get(index).and_then(|(_, curves)| curves.get(title));
                    (chart(title, axis, &[("ours", Some(curve)), ("other", beside)].into_iter().filter_map(|(class, curve)| Some((class, curve?))).collect::<Vec<_>>()))
                }
            }
        }
        h3 { "Everything" }
        details {
            summary { (ours.len()) " rows" }
            table {
                tr { th { "row" } th { (run.image.name) } @if theirs.is_some() { th { "other" } th { "ratio" } } }
                @for (name, value) in &ours {
                    tr {
                        td { (name) } td { (value) }
                        @if let Some(theirs) = &theirs {
                            @let beside = theirs.get(name);
                            td { (cell(beside)) }
                            td { @if let Some(beside) = beside.filter(|beside| **beside > 0.0) { (format!("{:.2}", value / beside)) } @else { "–" } }
                        }
                    }
                }
            }
        }
    }
}

/// The geometric mean of the ratios of instructions, over the steps that both have.
pub fn mean_ratio(run: &Run, other: &Run) -> Option<f64> {
    let (ours, theirs) = (rows(run), rows(other));
    let suffix = format!("/{FIGURE}");
    let logarithms: Vec<f64> = ours
        .iter()
        .filter(|(name, _)| name.ends_with(&suffix))
        .filter_map(|(name, value)| {
            let other = theirs.get(name)?;
            (*value > 0.0 && *other > 0.0).then(|| (value / other).ln())
        })
        .collect();
    (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

/// The page.
pub fn page(runs: &[Run], other: Option<&Run>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "What requests cost" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "What requests cost" }
                p {
                    "Instructions per request, counted by " code { "./x bench" } ": the driver's own and its copies, without StorPort's "
                    "and the interrupt routine's. Counts, no times."
                }
                @for run in runs { (part(run, other)) }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_figures::tests::{line, run};

    /// A run with reads of three depths, and of three numbers of queues.
    fn curved() -> Run {
        let mut run = run("a");
        for (name, depth, processors) in [
            ("read-4k-qd1", 1, 1),
            ("read-4k-qd8", 8, 1),
            ("read-4k-qd32", 32, 1),
            ("queues2-4k-qd1", 1, 2),
            ("queues-4k-qd1", 1, 4),
        ] {
            let mut step = line(name);
            for (field, text) in
                [("operation", "read"), ("bytes", "4096"), ("state", "steady"), ("device", "qemu")]
            {
                step[field] = text.into();
            }
            (step["depth"], step["processors"]) = (depth.to_string().into(), processors.into());
            run.raw.push(step);
        }
        run
    }

    /// The body, which is XML also to those who know no HTML.
    fn body(page: &str) -> roxmltree::Document<'_> {
        let start = page.find("<body>").expect("a body");
        let end = page.find("</body>").expect("its end") + "</body>".len();
        roxmltree::Document::parse(&page[start..end]).expect("well-formed")
    }

    fn titles(page: &str) -> Vec<String> {
        let body = body(page);
        let captions = body.descendants().filter(|node| node.has_tag_name("figcaption"));
        captions.filter_map(|node| node.text().map(str::to_owned)).collect()
    }

    #[test]
    fn there_is_a_curve_over_depth_and_one_over_queues() {
        let page = page(&[curved()], None);

        assert_eq!(titles(&page), ["read, 4 KiB, over depth", "read, 4 KiB, 1 at once on each, over queues"]);
    }

    #[test]
    fn the_others_curve_is_beside_ours() {
        let page = page(&[curved()], Some(&curved()));

        let body = body(&page);
        let lines = |class: &str| {
            body.descendants()
                .filter(|node| node.has_tag_name("polyline") && node.attribute("class") == Some(class))
                .filter_map(|node| node.attribute("points").map(|points| points.split(' ').count()))
                .collect::<Vec<_>>()
        };
        assert_eq!((lines("ours"), lines("other")), (vec![3, 3], vec![3, 3]));
    }

    #[test]
    fn names_are_text_and_no_markup() {
        let mut run = curved();
        run.image.name = "<b>&\"".to_owned();
        run.broken = vec!["</body><script>".to_owned()];

        let page = page(&[run], None);

        assert!(!page.contains("<script"), "{page}");
        assert!(
            body(&page).descendants().any(|node| node.text().is_some_and(|text| text.contains("<b>&\"")))
        );
    }

    #[test]
    fn nothing_is_fetched_and_nothing_runs() {
        let page = page(&[curved()], None);

        for word in ["http:", "https:", "src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn the_mean_is_geometric_and_over_what_both_have() {
        let (mut one, mut other) = (curved(), curved());
        for (run, counts) in [(&mut one, [100, 400]), (&mut other, [200, 200])] {
            run.raw.truncate(2);
            for (step, count) in run.raw.iter_mut().zip(counts) {
                step["callbacks"] = serde_json::json!({ "HwStorBuildIo": { "instructions": count } });
            }
        }
        one.raw.push(line("alone"));

        let mean = mean_ratio(&one, &other).expect("a mean");

        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        assert_eq!(mean_ratio(&run("a"), &Run::default()), None);
    }
}
