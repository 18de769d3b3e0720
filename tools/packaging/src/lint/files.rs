//! Which files are copied, from where and to where.

use super::Linter;
use crate::inf::Section;
use std::collections::BTreeSet;

/// The driver store, where the file stays.
const DRIVER_STORE: &str = "13";

/// One file of one list.
struct Copy {
    line: usize,
    list: String,
    target: String,
    source: String,
    flags: String,
    security: String,
}

impl Linter<'_> {
    pub(super) fn files(&mut self) {
        self.destinations();
        self.sources();
        self.copies();
    }

    fn destinations(&mut self) {
        let Some(section) = self.inf.section("DestinationDirs") else { return };
        for entry in &section.entries {
            let (list, folder) = (entry.name().to_owned(), entry.value(0).to_owned());
            self.require(entry.line, "1322", folder == DRIVER_STORE, || {
                format!(
                    "{list} goes to DIRID {folder}: write 13, so that the file runs from the driver store"
                )
            });
            let sub = entry.value(1).to_owned();
            self.require(entry.line, "1101", sub.is_empty(), || {
                format!("{list} goes to the folder {sub}, but the package has none")
            });
        }
    }

    fn sources(&mut self) {
        let is = |section: &&Section, name: &str| {
            let lower = section.name.to_ascii_lowercase();
            lower == name || lower.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        };
        let disks: BTreeSet<String> = self
            .inf
            .sections
            .iter()
            .filter(|section| is(section, "sourcedisksnames"))
            .flat_map(|section| &section.entries)
            .map(|entry| entry.name().to_owned())
            .collect();
        let files = self.inf.sections.iter().filter(|section| is(section, "sourcedisksfiles"));
        for section in files.collect::<Vec<_>>() {
            let mut seen = BTreeSet::new();
            for entry in &section.entries {
                let name = self.inf.expand(entry.name());
                let disk = self.inf.expand(entry.value(0));
                self.require(entry.line, "1273", disks.contains(&disk), || {
                    format!("{name} is on disk \"{disk}\", which is not in [SourceDisksNames]")
                });
                let folder = entry.value(1).to_owned();
                self.require(entry.line, "1103", folder.is_empty(), || {
                    format!("{name} comes from the folder {folder}, but the package has none")
                });
                self.require(entry.line, "1330", seen.insert(name.to_ascii_lowercase()), || {
                    format!("{name} a second time")
                });
                let wanted = self.expected.driver.file("sys");
                self.require(entry.line, "file-name", name == wanted, || {
                    format!("{name}: packaging has {wanted} and nothing else")
                });
            }
        }
    }

    fn copies(&mut self) {
        let sources: BTreeSet<String> =
            self.inf.source_files().iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut targets = BTreeSet::new();
        for Copy { line, list, target, source, flags, security } in self.copied_files() {
            self.require(line, "1100", source.is_empty() || source.eq_ignore_ascii_case(&target), || {
                format!("{source} would become {target}: the driver store keeps names")
            });
            let wanted = if source.is_empty() { &target } else { &source };
            self.require(line, "1230", sources.contains(&wanted.to_ascii_lowercase()), || {
                format!("{wanted} is not in [SourceDisksFiles]: add it")
            });
            self.require(line, "1275", targets.insert(target.to_ascii_lowercase()), || {
                format!("{target} is copied a second time")
            });
            match crate::inf::number(&flags) {
                _ if flags.is_empty() => {}
                None => self.report(
                    line,
                    "2084",
                    format!("the copy flags of {target}, \"{flags}\", are no number"),
                ),
                Some(0) => {}
                Some(_) => {
                    self.report(line, "1326", format!("the copy flags {flags} of {target}: leave them away"))
                }
            }
            self.require(line, "2085", security.is_empty(), || {
                format!("{target} has a security descriptor: the driver store has its own")
            });
            let has_destination = self.inf.section("DestinationDirs").is_some_and(|section| {
                section.entry("DefaultDestDir").is_some() || (list != "@" && section.entry(&list).is_some())
            });
            self.require(line, "1008", has_destination, || {
                format!("{target} has no destination: write DefaultDestDir = 13 in [DestinationDirs]")
            });
        }
    }

    /// All files that `CopyFiles` names, directly (`@file`) or by lists.
    fn copied_files(&self) -> Vec<Copy> {
        let mut copies = Vec::new();
        let mut lists: BTreeSet<String> = BTreeSet::new();
        for install in self.install_sections() {
            let Some(section) = self.decorated(&install, "") else { continue };
            for entry in section.entries_of("CopyFiles") {
                for value in &entry.values {
                    match value.strip_prefix('@') {
                        Some(file) => copies.push(Copy {
                            line: entry.line,
                            list: "@".to_owned(),
                            target: file.to_owned(),
                            source: String::new(),
                            flags: String::new(),
                            security: String::new(),
                        }),
                        None => {
                            lists.insert(value.to_ascii_lowercase());
                        }
                    }
                }
            }
        }
        for section in lists.iter().filter_map(|list| self.inf.section(list)) {
            for entry in &section.entries {
                let text = |index: usize| self.inf.expand(entry.value(index));
                copies.push(Copy {
                    line: entry.line,
                    list: section.name.clone(),
                    target: text(0),
                    source: text(1),
                    flags: text(3),
                    security: text(4),
                });
            }
        }
        copies
    }

    /// The names of the files that end up in the driver store.
    pub(super) fn copied_names(&self) -> Vec<String> {
        self.copied_files().into_iter().map(|copy| copy.target).collect()
    }
}
