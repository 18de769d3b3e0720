//! QEMU's monitor: one connection, commands one at a time, events kept until somebody asks for them.
//!
//! The commands come from the stand as JSON and the answers go back as JSON, so nothing here needs to know what QEMU's
//! types are. The crates that have them (`qapi` and its generated modules) would only be in the way: they take commands
//! of one QEMU version as Rust types, and know no event that is younger than they are. What is left of the protocol
//! (docs/interop/qmp-spec.rst of QEMU) is a greeting, an `id` that comes back, and one JSON value per line.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for QEMU's answer to a command. The stand gives up after 10 s, so it hears why.
const ANSWER: Duration = Duration::from_secs(8);

/// Everything that went over the connection, line by line, with the time since the start.
#[derive(Clone, Debug)]
pub struct Log {
    file: Arc<Mutex<File>>,
    started: Instant,
}

impl Log {
    /// An empty log file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { file: Arc::new(Mutex::new(file)), started: Instant::now() })
    }

    /// A line: `->` to QEMU, `<-` from it, `#` for a person.
    pub fn line(&self, direction: &str, text: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end the run that is being logged.
        let _ = writeln!(file, "{:>8.3} {direction} {text}", self.started.elapsed().as_secs_f64());
    }
}

/// A connection.
#[derive(Debug)]
pub struct Qmp {
    to: UnixStream,
    /// What QEMU says, in its order, read by a thread of its own: it must never have to wait for us.
    from: Receiver<Value>,
    events: VecDeque<Value>,
    number: u64,
    log: Log,
}

impl Qmp {
    /// Takes a connection that QEMU has made: greeting, then the end of the negotiation.
    ///
    /// # Errors
    /// When QEMU does not greet, or goes away.
    pub fn new(stream: UnixStream, log: Log) -> Result<Self> {
        stream.set_write_timeout(Some(ANSWER))?;
        let from = reader(stream.try_clone()?, log.clone());
        let mut qmp = Self { to: stream, from, events: VecDeque::new(), number: 0, log };
        let greeting = qmp.next(Instant::now() + ANSWER)?;
        ensure!(greeting.get("QMP").is_some(), "QEMU's monitor greets with {greeting}");
        qmp.execute(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(qmp)
    }

    /// Sends a command; the answer is its `return` value.
    ///
    /// # Errors
    /// When QEMU refuses it, with its words, does not answer in time, or is gone.
    pub fn execute(&mut self, command: &Value) -> Result<Value> {
        let mut command = command.clone();
        let object = command.as_object_mut().context("a QMP command is a JSON object")?;
        self.number += 1;
        object.insert("id".to_owned(), json!(self.number));
        let text = command.to_string();
        self.log.line("->", &text);
        send(&self.to, &text).context("QEMU's monitor takes no command")?;
        let end = Instant::now() + ANSWER;
        loop {
            let answer = self.next(end)?;
            if answer.get("event").is_some() {
                self.events.push_back(answer);
                continue;
            }
            // The answer to a command that was given up on may still come.
            if answer.get("id") != Some(&json!(self.number)) {
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{}", error.get("desc").and_then(Value::as_str).unwrap_or("an error without words"));
            }
            return Ok(answer.get("return").cloned().unwrap_or_default());
        }
    }

    /// Waits for an event of that name that was not asked for before; the answer is its `data`.
    ///
    /// # Errors
    /// When none comes in time, or QEMU is gone.
    pub fn event(&mut self, name: &str, limit: Duration) -> Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let found = self.events.iter().position(|event| event["event"] == name);
            if let Some(event) = found.and_then(|index| self.events.remove(index)) {
                return Ok(event.get("data").cloned().unwrap_or_else(|| json!({})));
            }
            let next = self.next(end).with_context(|| format!("no event {name}"))?;
            if next.get("event").is_some() {
                self.events.push_back(next);
            }
        }
    }

    fn next(&self, end: Instant) -> Result<Value> {
        match self.from.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(value) => Ok(value),
            Err(RecvTimeoutError::Timeout) => bail!("QEMU's monitor says nothing in time"),
            Err(RecvTimeoutError::Disconnected) => bail!("QEMU's monitor is closed"),
        }
    }
}

/// One line in one piece: two threads write.
fn send(mut stream: &UnixStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{text}\n").as_bytes())
}

fn reader(stream: UnixStream, log: Log) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(&stream).lines() {
            let Ok(line) = line else { return };
            log.line("<-", line.trim_end());
            let Ok(value) = serde_json::from_str::<Value>(&line) else {
                log.line("#", "that is no JSON");
                continue;
            };
            // QEMU has stopped the machine because of an error of a disk (werror=stop): the stand cannot ask for anything
            // now. Whoever looks after the machine has it go on, and the request is tried again.
            if value["event"] == "STOP" {
                let go_on = r#"{"execute": "cont", "id": "go on"}"#;
                log.line("->", go_on);
                let _ = send(&stream, go_on);
            }
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
pub mod tests {
    use super::*;

    #[test]
    fn a_machine_that_stopped_is_told_to_go_on() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let log = Log::create(&tempfile::tempdir().unwrap().path().join("log")).unwrap();
        fake(theirs, |command| match command["execute"].as_str() {
            Some("cont") => vec![json!({ "return": {} }), json!({ "event": "RESUME" })],
            Some("query-status") => vec![json!({ "event": "STOP" }), json!({ "return": {} })],
            _ => vec![json!({ "return": {} })],
        });
        let mut qmp = Qmp::new(ours, log).unwrap();

        qmp.execute(&json!({ "execute": "query-status" })).unwrap();

        qmp.event("RESUME", Duration::from_secs(5)).unwrap();
    }

    /// Plays QEMU: greets, then answers each line with the lines that `answer` gives for it.
    pub fn fake(stream: UnixStream, answer: impl Fn(&Value) -> Vec<Value> + Send + 'static) {
        std::thread::spawn(move || {
            let mut to = stream.try_clone().unwrap();
            writeln!(to, r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#).unwrap();
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                let command: Value = serde_json::from_str(&line).unwrap();
                for mut value in answer(&command) {
                    if value.get("event").is_none() {
                        value["id"] = command["id"].clone();
                    }
                    if writeln!(to, "{value}").is_err() {
                        return;
                    }
                }
            }
        });
    }

    fn connected(answer: impl Fn(&Value) -> Vec<Value> + Send + 'static) -> (Qmp, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        fake(theirs, answer);
        (Qmp::new(ours, Log::create(&folder.path().join("qmp.log")).unwrap()).unwrap(), folder)
    }

    #[test]
    fn an_event_before_the_answer_is_kept_for_later() {
        let (mut qmp, _folder) = connected(|command| match command["execute"].as_str() {
            Some("device_del") => {
                vec![
                    json!({ "event": "DEVICE_DELETED", "data": { "device": "a" } }),
                    json!({ "return": { "x": 1 } }),
                ]
            }
            _ => vec![json!({ "return": {} })],
        });

        let answer = qmp.execute(&json!({ "execute": "device_del" })).unwrap();
        let event = qmp.event("DEVICE_DELETED", Duration::from_secs(5)).unwrap();

        assert_eq!((answer, event), (json!({ "x": 1 }), json!({ "device": "a" })));
    }

    #[test]
    fn an_event_is_given_out_once() {
        let (mut qmp, _folder) =
            connected(|_| vec![json!({ "event": "RESUME", "data": {} }), json!({ "return": {} })]);

        qmp.event("RESUME", Duration::from_secs(5)).unwrap();
        let again = qmp.event("RESUME", Duration::from_millis(50)).unwrap_err();

        assert_eq!(format!("{again:#}"), "no event RESUME: QEMU's monitor says nothing in time");
    }

    #[test]
    fn a_refusal_keeps_qemus_words() {
        let (mut qmp, _folder) = connected(|command| {
            let fails = command["execute"] == "block_resize";
            let error = json!({ "error": { "class": "GenericError", "desc": "Cannot grow" } });
            vec![if fails { error } else { json!({ "return": {} }) }]
        });

        let error = qmp.execute(&json!({ "execute": "block_resize" })).unwrap_err();

        assert_eq!(error.to_string(), "Cannot grow");
    }

    #[test]
    fn both_directions_are_logged() {
        let (mut qmp, folder) = connected(|_| vec![json!({ "return": {} })]);

        qmp.execute(&json!({ "execute": "stop" })).unwrap();

        let log = std::fs::read_to_string(folder.path().join("qmp.log")).unwrap();
        assert!(log.contains(r#"-> {"execute":"stop","id":2}"#), "{log}");
        assert!(log.contains(r#"<- {"id":2,"return":{}}"#), "{log}");
    }
}
