//! The table of log entries in inf/README.md is the list of events in `adapter::log_events`.

use std::path::Path;

use adapter::Event;

const README: &str = "../../inf/README.md";
const BEGIN: &str = "<!-- log entries: written by `UPDATE=1 cargo test -p host-tests --test log_table`, from adapter::log_events -->\n";
const END: &str = "<!-- end of log entries -->\n";

fn table() -> String {
    let row = |&event: &Event| {
        let (id, detail) = match event.detail() {
            Some(detail) => (format!("{:#06x}nnnn", event.code() >> 16), format!(" `nnnn`: {detail}.")),
            None => (format!("{:#010x}", event.code()), String::new()),
        };
        let logged = if event.is_logged() { "yes" } else { "" };
        format!("| `{id}` | {:?} | {logged} | {}{detail} |\n", event.level(), event.text())
    };
    let head = "| unique id | level | logged | what happened |\n|---|---|---|---|\n";
    core::iter::once(head.to_owned()).chain(Event::ALL.iter().map(row)).collect()
}

#[test]
fn the_table_for_administrators_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(README);
    let text = std::fs::read_to_string(&path).expect("the file is in the tree");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins with a comment");
    let (written, after) = rest.split_once(END).expect("the table ends with a comment");

    let table = format!("\n{}\n", table());

    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, [before, BEGIN, &table, END, after].concat()).expect("the file can be written");
    } else {
        assert!(
            written == table,
            "inf/README.md is out of date: UPDATE=1 cargo test -p host-tests --test log_table"
        );
    }
}
