//! Runs a program as one step: its output is progress, and is shown whole only when it fails.

use crate::screen::{Screen, seconds};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Most lines of a failed step's output that are shown.
const SHOWN: usize = 80;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// How it ended; `None` when it was killed at its time limit.
    pub status: Option<ExitStatus>,
    /// Every line with the stream it came from, in the order of arrival.
    pub lines: Vec<(Stream, String)>,
}

impl Ended {
    /// Whether the exit code was 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The lines of one stream.
    pub fn of(&self, stream: Stream) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(from, _)| *from == stream).map(|(_, line)| line.as_str())
    }

    /// The last lines, for a message.
    pub fn tail(&self, count: usize) -> String {
        let from = self.lines.len().saturating_sub(count);
        self.lines[from..].iter().map(|(_, line)| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }
}

/// Kills the program when the runner leaves it alone, whatever the reason.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What [`stream`] reports while the program runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A line of its output.
    Line(Stream, &'a str),
    /// Nothing for a fifth of a second.
    Idle,
}

/// Runs the program and reports every line as it comes. It is killed after `limit`.
///
/// # Errors
/// When it cannot be started.
pub fn stream(
    command: &mut Command,
    limit: Option<Duration>,
    mut see: impl FnMut(Event<'_>),
) -> Result<Ended> {
    let program = command.get_program().to_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} could not be started", program.display()))?;
    let mut child = Guard(child);
    let started = Instant::now();
    let output = readers(&mut child.0);

    let mut lines: Vec<(Stream, String)> = Vec::new();
    let mut status = None;
    loop {
        match output.recv_timeout(if status.is_some() { LINGER } else { IDLE }) {
            Ok((stream, line)) => {
                see(Event::Line(stream, &line));
                lines.push((stream, line));
            }
            // Both streams are closed, so it is ending.
            Err(RecvTimeoutError::Disconnected) => break,
            // It is gone; whoever else holds its streams open is not waited for.
            Err(RecvTimeoutError::Timeout) if status.is_some() => break,
            Err(RecvTimeoutError::Timeout) => {
                see(Event::Idle);
                status = child.0.try_wait()?;
            }
        }
        if status.is_none() && limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Ok(Ended { status: None, lines });
        }
    }
    // A program that closed its output and goes on has until its limit, too.
    while status.is_none() {
        status = child.0.try_wait()?;
        if status.is_none() {
            if limit.is_some_and(|limit| started.elapsed() >= limit) {
                return Ok(Ended { status: None, lines });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(Ended { status, lines })
}

/// How long nothing has to come to be worth an [`Event::Idle`].
const IDLE: Duration = Duration::from_millis(200);
/// How long the last lines of a program that has ended may take.
const LINGER: Duration = Duration::from_millis(200);

fn readers(child: &mut Child) -> Receiver<(Stream, String)> {
    let (sender, receiver) = channel();
    if let Some(out) = child.stdout.take() {
        reader(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        reader(err, Stream::Err, sender);
    }
    receiver
}

/// Longest line that is taken as one: a program gone wild must not fill the memory.
const LONGEST_LINE: u64 = 64 << 10;

fn reader(from: impl Read + Send + 'static, stream: Stream, to: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                    if to.send((stream, line)).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

/// Runs the program as a step called `what`. Its output is progress only, unless it fails.
///
/// # Errors
/// When it cannot be started or its exit code is not 0; then the end of its output has been shown.
pub fn step(screen: &mut Screen, what: &str, command: &mut Command) -> Result<Ended> {
    let ended = watch(screen, what, command)?;
    if !ended.success() {
        let hidden = ended.lines.len().saturating_sub(SHOWN);
        if hidden > 0 {
            screen.line(&format!("    ({hidden} lines before these)"));
        }
        screen.line(&ended.tail(SHOWN));
        bail!("{what} failed ({})", status_text(&ended));
    }
    Ok(ended)
}

/// Runs the program with its last line as progress; its exit code is part of the answer.
///
/// # Errors
/// When it cannot be started.
pub fn watch(screen: &mut Screen, what: &str, command: &mut Command) -> Result<Ended> {
    let started = Instant::now();
    let mut last = String::new();
    screen.progress(what);
    let ended = stream(command, None, |event| {
        if let Event::Line(_, line) = event {
            last.clear();
            last.push_str(line.trim());
        }
        screen.progress(&format!("{what} ({}) {last}", seconds(started.elapsed())));
    })?;
    screen.clear();
    Ok(ended)
}

/// `exit code 1`, `killed by signal 11`, `killed at its time limit`.
pub fn status_text(ended: &Ended) -> String {
    use std::os::unix::process::ExitStatusExt;
    match ended.status {
        None => "killed at its time limit".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => status.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_collected() {
        let ended = stream(&mut shell("echo a; echo b >&2; exit 3"), None, |_| ()).unwrap();

        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(ended.of(Stream::Out).collect::<Vec<_>>(), ["a"]);
        assert_eq!(ended.of(Stream::Err).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_program_is_killed_at_its_limit() {
        let started = Instant::now();

        let ended = stream(&mut shell("echo begun; exec sleep 60"), Some(Duration::from_millis(300)), |_| ())
            .unwrap();

        assert!(ended.status.is_none());
        assert_eq!(ended.of(Stream::Out).collect::<Vec<_>>(), ["begun"]);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_prints_for_ever_is_killed_at_its_limit() {
        let ended =
            stream(&mut shell("while :; do echo x; done"), Some(Duration::from_millis(300)), |_| ()).unwrap();

        assert!(ended.status.is_none());
    }

    #[test]
    fn a_grandchild_with_open_streams_is_not_waited_for() {
        let started = Instant::now();

        let ended = stream(&mut shell("sleep 20 & echo done"), None, |_| ()).unwrap();

        assert!(ended.success());
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = stream(&mut Command::new("no-such-program"), None, |_| ()).unwrap_err();

        assert_eq!(error.to_string(), "no-such-program could not be started");
    }
}
