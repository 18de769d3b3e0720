//! Sections and strings: which exist, which are named, and by whom; models and their decorations.

use super::Linter;
use crate::inf::{Entry, Part, Section, parts};
use std::collections::{BTreeMap, BTreeSet};

/// Directives whose values are names of sections.
const LISTS: [&str; 14] = [
    "CopyFiles",
    "AddReg",
    "DelReg",
    "BitReg",
    "DelFiles",
    "RenFiles",
    "Ini2Reg",
    "UpdateInis",
    "UpdateIniFields",
    "LogConfig",
    "ProfileItems",
    "RegisterDlls",
    "UnregisterDlls",
    "AddProperty",
];
/// Directives that change something outside the package, or that Windows no longer obeys.
const LEGACY: [&str; 9] = [
    "DelReg",
    "BitReg",
    "Ini2Reg",
    "UpdateInis",
    "UpdateIniFields",
    "LogConfig",
    "ProfileItems",
    "RegisterDlls",
    "UnregisterDlls",
];
const DELETING: [&str; 3] = ["DelFiles", "RenFiles", "DelService"];
const LEGACY_SECTIONS: [&str; 3] = [".coinstallers", ".logconfigoverride", ".factdef"];
/// Sections that belong to an install section by their name's end.
const SUFFIXES: [&str; 8] =
    [".HW", ".Services", ".Events", ".Filters", ".Components", ".Software", ".Interfaces", ".Wdf"];

/// The first build whose boot drivers may stay in the driver store: Windows 10 version 1709.
const FIRST_BUILD: u32 = 16299;

impl Linter<'_> {
    pub(super) fn structure(&mut self) {
        self.placeholders();
        self.models();
        self.references();
        self.legacy();
    }

    fn placeholders(&mut self) {
        let mut found = Vec::new();
        for section in &self.inf.sections {
            let mut check = |line: usize, text: &str| {
                if let Some(name) = crate::stamp::placeholder(text) {
                    found.push((line, format!("${name}$ is left: stamp the template")));
                }
            };
            check(section.line, &section.name);
            for entry in &section.entries {
                check(entry.line, entry.key.as_deref().unwrap_or_default());
                entry.values.iter().for_each(|value| check(entry.line, value));
            }
        }
        for (line, what) in found {
            self.report(line, "1274", what);
        }
    }

    fn models(&mut self) {
        let manufacturers: Vec<Entry> = match self.inf.section("Manufacturer") {
            Some(section) => section.entries.clone(),
            None => return self.report(1, "1297", "no [Manufacturer]: the INF installs on nothing"),
        };
        for entry in &manufacturers {
            self.require(entry.line, "1199", entry.values.len() > 1, || {
                format!("{} is for no processor: add NT$ARCH$.10.0...{FIRST_BUILD}", entry.value(0))
            });
            for decoration in entry.values.iter().skip(1) {
                self.decoration(entry.line, decoration);
            }
        }
        let ids = self.inf.hardware_ids();
        let line = manufacturers.first().map_or(1, |entry| entry.line);
        if ids.is_empty() {
            return self.report(line, "1297", "the models have no hardware id: the INF installs on nothing");
        }
        let wanted = self.expected.driver.hardware_ids;
        let same =
            ids.len() == wanted.len() && ids.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b));
        self.require(line, "hardware-ids", same, || {
            let differing = ids.iter().find(|id| !wanted.iter().any(|other| other.eq_ignore_ascii_case(id)));
            match differing {
                Some(id) => format!("{id} is none that {} handles", self.expected.driver.name),
                None => format!(
                    "not the ids that {} handles, in its order: {wanted:?}",
                    self.expected.driver.name
                ),
            }
        });
    }

    fn decoration(&mut self, line: usize, decoration: &str) {
        let lower = decoration.to_ascii_lowercase();
        let mut fields = lower.strip_prefix("nt").unwrap_or_default().splitn(2, '.');
        let (arch, os) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if !lower.starts_with("nt") {
            return self.report(line, "1287", format!("{decoration} does not start with NT"));
        }
        match arch {
            "" => self.report(line, "1199", format!("{decoration} is for no processor: write NT$ARCH$")),
            "x86" | "ia64" | "amd64" | "arm" | "arm64" => {
                let wanted = self.expected.arch.inf_name();
                self.require(line, "architecture", arch == wanted, || {
                    format!("{decoration} is not for {wanted}: write NT$ARCH$")
                });
            }
            // Not yet stamped: another rule's finding.
            _ if arch.contains('$') => {}
            _ => self.report(line, "1287", format!("{decoration}: there is no processor {arch}")),
        }
        // major.minor, product type, suite mask and build: `10.0...16299`.
        let numbers: Vec<&str> = os.split('.').collect();
        let well_formed = numbers.len() <= 5
            && numbers.iter().all(|number| number.is_empty() || crate::inf::number(number).is_some());
        if !well_formed {
            return self.report(
                line,
                "1287",
                format!("{decoration} is not NT<processor>.<major>.<minor>...<build>"),
            );
        }
        let field =
            |index: usize| numbers.get(index).and_then(|number| crate::inf::number(number)).unwrap_or(0);
        let version = (field(0), field(1), field(4));
        self.require(line, "1288", version >= (10, 0, FIRST_BUILD), || {
            format!(
                "{decoration} lets the driver on Windows that cannot start it from the driver store: \
                     write 10.0...{FIRST_BUILD}"
            )
        });
    }

    /// Follows every name of a section from the ones that Windows knows by themselves.
    fn references(&mut self) {
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut missing = Vec::new();
        let mut open: Vec<String> = Vec::new();
        let mut name_section =
            |name: &str, by: &str, line: usize, inf: &crate::inf::Inf, open: &mut Vec<String>| {
                let lower = name.to_ascii_lowercase();
                if inf.section(name).is_none() {
                    missing.push((line, format!("{by} names the section [{name}], which does not exist")));
                    return;
                }
                if !named.contains_key(&lower) {
                    open.push(lower.clone());
                }
                named.entry(lower).or_default().insert(by.to_ascii_lowercase());
            };
        let manufacturer = self.inf.section("Manufacturer").map_or(1, |section| section.line);
        for name in self.inf.models_sections() {
            name_section(&name, "Manufacturer", manufacturer, self.inf, &mut open);
        }
        let models = std::mem::take(&mut open);
        for entry in
            models.iter().flat_map(|name| self.inf.sections_named(name)).flat_map(|section| &section.entries)
        {
            let install = entry.value(0);
            match self.decorated(install, "") {
                Some(section) => {
                    let (name, line) = (section.name.clone(), section.line);
                    name_section(&name, "Models", line, self.inf, &mut open);
                    for suffix in SUFFIXES {
                        if let Some(section) = self.decorated(install, suffix) {
                            name_section(&section.name, "Models", section.line, self.inf, &mut open);
                        }
                    }
                }
                None => name_section(install, "Models", entry.line, self.inf, &mut open),
            }
        }
        while let Some(name) = open.pop() {
            for entry in self.inf.sections_named(&name).flat_map(|section| &section.entries) {
                let Some(key) = entry.key.as_deref() else { continue };
                if LISTS.iter().any(|list| list.eq_ignore_ascii_case(key)) {
                    for value in
                        entry.values.iter().filter(|value| !value.starts_with('@') && !value.is_empty())
                    {
                        name_section(value, key, entry.line, self.inf, &mut open);
                    }
                }
                if key.eq_ignore_ascii_case("AddService") {
                    for (value, by) in
                        [(entry.value(2), "AddService"), (entry.value(3), "AddService (event log)")]
                    {
                        if !value.is_empty() {
                            name_section(value, by, entry.line, self.inf, &mut open);
                        }
                    }
                }
            }
        }
        for (line, what) in missing {
            self.report(line, "1203", what);
        }
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for Section { name, line, .. } in &self.inf.sections {
            let lower = name.to_ascii_lowercase();
            self.require(*line, "1209", seen.insert(lower.clone()), || {
                format!("[{name}] a second time: join them")
            });
            let by_itself = [
                "version",
                "manufacturer",
                "strings",
                "sourcedisksnames",
                "sourcedisksfiles",
                "destinationdirs",
            ]
            .iter()
            .any(|known| {
                lower == *known || lower.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'))
            });
            match named.get(&lower) {
                Some(by) => self.require(*line, "1205", by.len() < 2, || {
                    let by: Vec<_> = by.iter().map(String::as_str).collect();
                    format!("[{name}] serves {}: give each its own section", by.join(" and "))
                }),
                None => self.require(*line, "2083", by_itself || is_legacy(&lower).is_some(), || {
                    format!("[{name}] is used by nothing: remove it, or name it")
                }),
            }
        }
    }

    fn legacy(&mut self) {
        let mut findings = Vec::new();
        for section in &self.inf.sections {
            let lower = section.name.to_ascii_lowercase();
            if let Some(code) = is_legacy(&lower) {
                findings.push((
                    section.line,
                    code,
                    format!("[{}]: Windows 10 has no place for it", section.name),
                ));
            }
            for entry in &section.entries {
                let Some(key) = entry.key.as_deref() else { continue };
                let is = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(key));
                if is(&LEGACY) {
                    findings.push((entry.line, "1301", format!("{key} is a legacy directive: remove it")));
                }
                if is(&DELETING) {
                    findings.push((
                        entry.line,
                        "1302",
                        format!("{key} reaches outside the package: remove it"),
                    ));
                }
                if is(&["CopyINF"]) {
                    findings.push((
                        entry.line,
                        "copy-inf",
                        "CopyINF installs another package: remove it".to_owned(),
                    ));
                }
            }
        }
        for (line, code, what) in findings {
            self.report(line, code, what);
        }
    }

    pub(super) fn strings(&mut self) {
        let mut findings = Vec::new();
        let languages: Vec<&Section> = self
            .inf
            .sections
            .iter()
            .filter(|section| {
                let name = section.name.to_ascii_lowercase();
                name == "strings" || name.starts_with("strings.")
            })
            .collect();
        for language in &languages {
            let mut seen = BTreeSet::new();
            for entry in &language.entries {
                let name = entry.name().to_ascii_lowercase();
                if !seen.insert(name) {
                    findings.push((entry.line, "1294", format!("the string {} a second time", entry.name())));
                }
            }
            let count = languages[0].entries.len();
            if language.entries.len() != count {
                let own = language.entries.len();
                findings.push((
                    language.line,
                    "1295",
                    format!("[{}] has {own} strings, [{}] has {count}", language.name, languages[0].name),
                ));
            }
        }
        let is_defined = |token: &str| {
            languages.iter().any(|l| l.entries.iter().any(|e| e.name().eq_ignore_ascii_case(token)))
        };
        for entry in self.inf.sections.iter().flat_map(|section| &section.entries) {
            for text in entry.key.iter().chain(&entry.values) {
                for part in parts(text) {
                    if let Part::Token(token) = part
                        && !is_defined(token)
                    {
                        let what = format!(
                            "%{token}% is not in [Strings]: define it, or write %% for a percent sign"
                        );
                        findings.push((entry.line, "1235", what));
                    }
                }
            }
        }
        for (line, code, what) in findings {
            self.report(line, code, what);
        }
    }
}

fn is_legacy(name: &str) -> Option<&'static str> {
    if name == "classinstall32" || name.starts_with("classinstall32.") {
        return Some("1285");
    }
    LEGACY_SECTIONS.iter().any(|suffix| name.ends_with(suffix)).then_some("1300")
}
