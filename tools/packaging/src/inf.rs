//! Reads an INF: sections, entries and strings, each with the line it stands on.
//!
//! Only the syntax is read here; what it means is for [`crate::lint`] to judge. The parser of the crate `inf-rs` keeps
//! no line numbers, and a message without one sends its reader searching.

use std::fmt;

/// An INF file taken apart.
#[derive(Clone, Debug, Default)]
pub struct Inf {
    /// Sections in the order of the file.
    pub sections: Vec<Section>,
    /// How the file was encoded.
    pub encoding: Encoding,
}

/// Encodings an INF may have on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Every byte below 0x80: the same in every ANSI code page.
    #[default]
    Ascii,
    /// UTF-16LE with a byte order mark.
    Utf16,
    /// UTF-8 beyond ASCII. Fine in our templates; Windows takes it for the local ANSI code page.
    Utf8,
}

/// `[name]` and what follows it.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name without brackets, as written.
    pub name: String,
    /// Line of the brackets, from 1.
    pub line: usize,
    /// Entries in order.
    pub entries: Vec<Entry>,
}

/// One line of a section: `key = value, value` or `value, value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Line it starts on, from 1.
    pub line: usize,
    /// What stands before `=`, if there is one.
    pub key: Option<String>,
    /// Values without their quotes; `%tokens%` are still in them.
    pub values: Vec<String>,
}

/// Why a file is no INF, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for SyntaxError {}

/// The text of a file and how it was encoded.
///
/// # Errors
/// When it is neither ASCII, nor UTF-8, nor UTF-16LE with a byte order mark.
pub fn decode(bytes: &[u8]) -> Result<(String, Encoding), SyntaxError> {
    let bad = |what: &str| SyntaxError { line: 1, what: what.to_owned() };
    if let Some(rest) = bytes.strip_prefix(&[0xFF, 0xFE]) {
        if rest.len() % 2 != 0 {
            return Err(bad("UTF-16 with half a character at the end"));
        }
        let units: Vec<u16> = rest.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        let text = String::from_utf16(&units).map_err(|_| bad("not valid UTF-16"))?;
        return Ok((text, Encoding::Utf16));
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let text = str::from_utf8(bytes).map_err(|_| bad("neither ASCII nor UTF-16LE with a byte order mark"))?;
    if text.contains('\0') {
        return Err(bad("a zero byte: UTF-16 without its byte order mark, or no text at all"));
    }
    let encoding = if text.is_ascii() { Encoding::Ascii } else { Encoding::Utf8 };
    Ok((text.to_owned(), encoding))
}

impl Inf {
    /// Takes the bytes of an INF apart.
    ///
    /// # Errors
    /// With the first line that is no INF syntax.
    pub fn parse(bytes: &[u8]) -> Result<Self, SyntaxError> {
        let (text, encoding) = decode(bytes)?;
        let mut inf = Self { sections: Vec::new(), encoding };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, first)) = lines.next() {
            let mut line = without_comment(first).trim().to_owned();
            // A backslash at the end carries on in the next line. In the quoted part of a path it does not stand last.
            while line.ends_with('\\') {
                line.pop();
                let Some((_, next)) = lines.next() else { break };
                line.push_str(without_comment(next).trim());
            }
            if line.is_empty() {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let name = rest.strip_suffix(']').map(str::trim).filter(|name| !name.is_empty());
                let Some(name) = name else {
                    return Err(SyntaxError {
                        line: number,
                        what: format!("`{line}` is no section name in brackets"),
                    });
                };
                inf.sections.push(Section { name: name.to_owned(), line: number, entries: Vec::new() });
                continue;
            }
            let entry = entry(number, &line)?;
            match inf.sections.last_mut() {
                Some(section) => section.entries.push(entry),
                None => {
                    return Err(SyntaxError {
                        line: number,
                        what: "text before the first section".to_owned(),
                    });
                }
            }
        }
        Ok(inf)
    }

    /// The sections of that name; Windows takes several of one name for one.
    pub fn sections_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Section> {
        self.sections.iter().filter(move |section| section.name.eq_ignore_ascii_case(name))
    }

    /// The first section of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name.eq_ignore_ascii_case(name))
    }

    /// The entry `key` of section `section`.
    pub fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        self.section(section)?.entry(key)
    }

    /// The first value of `key` in `section`, its string tokens replaced.
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        Some(self.expand(self.entry(section, key)?.value(0)))
    }

    /// Replaces `%token%` by its string and `%%` by `%`. Directory numbers (`%13%`) and undefined tokens stay.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Percent => out.push('%'),
                Part::Token(token) => match self.entry("Strings", token) {
                    Some(entry) => out.push_str(entry.value(0)),
                    None => {
                        out.push('%');
                        out.push_str(token);
                        out.push('%');
                    }
                },
            }
        }
        out
    }

    /// The hardware and compatible ids of all models, in the order of the file, each once.
    pub fn hardware_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for section in self.models_sections() {
            for entry in self.sections_named(&section).flat_map(|section| &section.entries) {
                for id in entry.values.iter().skip(1).map(|id| self.expand(id)).filter(|id| !id.is_empty()) {
                    if !ids.iter().any(|known| known.eq_ignore_ascii_case(&id)) {
                        ids.push(id);
                    }
                }
            }
        }
        ids
    }

    /// The names of the models sections that `[Manufacturer]` leads to, with their decorations.
    pub fn models_sections(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.sections_named("Manufacturer").flat_map(|section| &section.entries) {
            let base = entry.value(0);
            if entry.values.len() < 2 {
                names.push(base.to_owned());
            }
            names.extend(entry.values.iter().skip(1).map(|decoration| format!("{base}.{decoration}")));
        }
        names
    }

    /// File names in `[SourceDisksFiles]`, plain or with an architecture.
    pub fn source_files(&self) -> Vec<String> {
        let is_files = |section: &&Section| {
            let name = section.name.to_ascii_lowercase();
            name == "sourcedisksfiles" || name.starts_with("sourcedisksfiles.")
        };
        let entries = self.sections.iter().filter(is_files).flat_map(|section| &section.entries);
        entries.map(|entry| self.expand(entry.name())).collect()
    }
}

impl Section {
    /// The first entry of that key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.key.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(key)))
    }

    /// All entries of that key.
    pub fn entries_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.key.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(key)))
    }
}

impl Entry {
    /// Value `index`, or the empty string.
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// What a line of a file list names: its key, or its first value when it has no `=`.
    pub fn name(&self) -> &str {
        self.key.as_deref().unwrap_or_else(|| self.value(0))
    }

    /// Value `index` as a number, decimal or 0x.
    pub fn number(&self, index: usize) -> Option<u32> {
        number(self.value(index))
    }
}

/// A number as INF files write it.
pub fn number(text: &str) -> Option<u32> {
    let lower = text.trim().to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => lower.parse().ok(),
    }
}

/// A piece of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Plain text, or a directory number with its percent signs.
    Text(&'a str),
    /// `%%`.
    Percent,
    /// `%token%`: the name of a string.
    Token(&'a str),
}

/// Takes a value apart at its percent signs. A lone percent sign is text.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        let after = &rest[start + 1..];
        let Some(length) = after.find('%') else { break };
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let token = &after[..length];
        parts.push(if token.is_empty() {
            Part::Percent
        } else if token.bytes().all(|byte| byte.is_ascii_digit()) {
            Part::Text(&rest[start..start + length + 2])
        } else {
            Part::Token(token)
        });
        rest = &after[length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => return &line[..index],
            _ => {}
        }
    }
    line
}

/// Splits `key = value, value` outside quotes; two quotes inside quotes are one quote.
fn entry(line: usize, text: &str) -> Result<Entry, SyntaxError> {
    let mut key = None;
    let mut values = Vec::new();
    let mut value = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut characters = text.chars().peekable();
    let finish = |value: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(value);
        // Spaces count only inside quotes.
        if std::mem::take(was_quoted) { text } else { text.trim().to_owned() }
    };
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                value.push('"');
            }
            '"' => {
                if !quoted && !was_quoted {
                    value = value.trim_start().to_owned();
                }
                quoted = !quoted;
                was_quoted = true;
            }
            '=' if !quoted && key.is_none() && values.is_empty() => {
                key = Some(finish(&mut value, &mut was_quoted))
            }
            ',' if !quoted => values.push(finish(&mut value, &mut was_quoted)),
            // Spaces between a closing quote and the next comma are not part of the value.
            ' ' | '\t' if !quoted && was_quoted => {}
            _ => value.push(character),
        }
    }
    if quoted {
        return Err(SyntaxError { line, what: "a quote that is not closed".to_owned() });
    }
    values.push(finish(&mut value, &mut was_quoted));
    if key.as_deref() == Some("") {
        return Err(SyntaxError { line, what: "nothing before `=`".to_owned() });
    }
    Ok(Entry { line, key, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_keys_values_and_lines() {
        let inf = Inf::parse(
            b"; top\r\n[A]\r\nKey = one, \"two, ; = 2\" , three ; end\r\n\r\nlone,,\"\"\"q\"\"\"\r\n",
        )
        .unwrap();
        let [key, lone] = inf.sections[0].entries.as_slice() else { panic!("{inf:?}") };
        assert_eq!((key.line, key.key.as_deref()), (3, Some("Key")));
        assert_eq!(key.values, ["one", "two, ; = 2", "three"]);
        assert_eq!((lone.line, lone.key.as_deref()), (5, None));
        assert_eq!(lone.values, ["lone", "", "\"q\""]);
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line() {
        let inf = Inf::parse(b"[A]\nK = 1, \\\n 2\nL = 3\n").unwrap();
        assert_eq!(inf.entry("a", "k").unwrap().values, ["1", "2"]);
        assert_eq!(inf.entry("A", "L").unwrap().line, 4);
    }

    #[test]
    fn tokens_are_replaced_and_directory_numbers_kept() {
        let inf = Inf::parse(b"[Strings]\nName = \"the disk\"\n").unwrap();
        assert_eq!(inf.expand(r"%13%\%name%, 100%%, %other%"), r"%13%\the disk, 100%, %other%");
    }

    #[test]
    fn utf16_with_its_mark_reads_like_ascii() {
        let text = "[Version]\r\nClass = X\r\n";
        let mut bytes = vec![0xFF, 0xFE];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let inf = Inf::parse(&bytes).unwrap();
        assert_eq!(inf.encoding, Encoding::Utf16);
        assert_eq!(inf.value("Version", "Class").as_deref(), Some("X"));
    }

    #[test]
    fn what_is_no_inf_is_refused_with_its_line() {
        let line = |text: &[u8]| Inf::parse(text).unwrap_err().line;
        assert_eq!(line(b"[A]\n[B\n"), 2);
        assert_eq!(line(b"\nloose = 1\n[A]\n"), 2);
        assert_eq!(line(b"[A]\nK = \"open\n"), 2);
        assert_eq!(line(b"[A]\n= 1\n"), 2);
        assert!(Inf::parse(b"MZ\x90\0\x03\0").is_err());
        assert!(Inf::parse(&[0xFF, 0xFE, 0x41]).is_err());
    }
}
