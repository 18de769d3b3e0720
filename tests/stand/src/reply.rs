//! What the runner answers on the serial port: `N ok RESULT` or `N error TEXT`, one line for each `host` line.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest answer that is kept; a longer one is a runner gone wild.
const LONGEST: usize = 1 << 20;

/// The number of the request and what became of it. `None` for a line that is no answer.
pub fn parse(line: &str) -> Option<(u32, Result<String, String>)> {
    let (number, rest) = line.split_once(' ')?;
    let number = number.parse().ok()?;
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "ok" => Some((number, Ok(text.to_owned()))),
        "error" => Some((number, Err(text.to_owned()))),
        _ => None,
    }
}

/// Bytes as they come, until they are a line.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// No byte yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes a byte; answers with the line that it ends.
    pub fn push(&mut self, byte: u8) -> Option<String> {
        if byte != b'\n' {
            if self.0.len() < LONGEST {
                self.0.push(byte);
            }
            return None;
        }
        let line = core::mem::take(&mut self.0);
        Some(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
    }

    /// Whether a line has begun and not ended.
    pub fn is_partial(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_number_and_its_spaces() {
        assert_eq!(parse("7 ok {\"a\": [1, 2]}"), Some((7, Ok("{\"a\": [1, 2]}".to_owned()))));
        assert_eq!(parse("12 error no such node"), Some((12, Err("no such node".to_owned()))));
        assert_eq!(parse("3 ok"), Some((3, Ok(String::new()))));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for line in ["", "ok", "x ok {}", "1 maybe {}", "-1 ok {}"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn lines_are_put_together_byte_by_byte() {
        let mut lines = Lines::new();
        let found: Vec<String> =
            b"1 ok a\r\n2 error b\n3".iter().filter_map(|byte| lines.push(*byte)).collect();

        assert_eq!(found, ["1 ok a", "2 error b"]);
        assert!(lines.is_partial());
    }
}
