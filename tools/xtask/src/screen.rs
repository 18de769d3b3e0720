//! What a person sees: lines that stay and, on a terminal, one line of progress that is overwritten.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a log without a terminal hears that a long step is still at work.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Longest progress line; a wrapped one could not be overwritten.
const WIDTH: usize = 100;

/// Standard output with at most one line that does not stay.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    pending: bool,
    last: Instant,
}

impl Screen {
    /// The standard output of this process.
    pub fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), pending: false, last: Instant::now() }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        let clear = if self.pending { "\r\x1b[K" } else { "" };
        self.pending = false;
        self.last = Instant::now();
        // A closed pipe (`./x run | head`) is no reason to stop half-way with a panic.
        let _ = writeln!(out, "{clear}{text}");
    }

    /// What is being done just now. On a terminal it replaces the previous such line; elsewhere it is printed when
    /// nothing has been for a while.
    pub fn progress(&mut self, text: &str) {
        if self.terminal {
            let mut out = std::io::stdout().lock();
            let text: String = text.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
            let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
            self.pending = true;
        } else if self.last.elapsed() > HEARTBEAT {
            self.line(&format!("  ... {text}"));
        }
    }

    /// Takes the line of progress away.
    pub fn clear(&mut self) {
        if self.pending {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
            self.pending = false;
        }
    }
}

/// A duration as a person reads it: `0.3 s`, `2 min 05 s`.
pub fn seconds(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        assert_eq!(seconds(Duration::from_millis(340)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
