//! Checks a stamped INF by the rules of Microsoft's InfVerif (`/w`, Windows drivers) that can matter for a storage
//! driver, and by what this project's drivers need.
//!
//! A finding has the line, the code and what to do. Codes of digits are those of InfVerif, `22.9.7` is Inf2Cat's;
//! words are rules of our own. InfVerif has some 200 codes; [`RULES`] lists the ones here.

mod files;
mod registry;
mod services;
mod structure;
#[cfg(test)]
mod tests;
mod version;

use crate::context::{Version, now};
use crate::driver::{Arch, Driver};
use crate::inf::{Encoding, Inf};
use std::fmt;

/// What an INF is held to besides the rules that hold for every driver.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Whose names and hardware ids it must have.
    pub driver: &'static Driver,
    /// The processor it was stamped for.
    pub arch: Arch,
    /// The version it was stamped with; the image's version resource has the same.
    pub version: Version,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line of the INF (and of its template), from 1.
    pub line: usize,
    /// Code, one of [`RULES`].
    pub code: &'static str,
    /// Whether the package must not ship like this.
    pub is_error: bool,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_error { "error" } else { "warning" };
        write!(f, "line {}: {level} {}: {}", self.line, self.code, self.what)
    }
}

/// All rules: code, whether breaking it is an error, and what it says.
pub const RULES: &[(&str, bool, &str)] = &[
    ("1001", true, "[Version] with Signature = \"$Windows NT$\""),
    ("1002", true, "INF syntax"),
    ("1003", true, "ASCII, or UTF-16LE with a byte order mark"),
    ("1008", true, "every list of files has a destination"),
    ("1100", true, "no file is renamed on its way into the driver store"),
    ("1101", true, "no file changes its folder on the way into the driver store (DestinationDirs)"),
    ("1103", true, "no file changes its folder on the way into the driver store (SourceDisksFiles)"),
    ("1199", true, "every models section names its processor"),
    ("1203", true, "every section that is named exists"),
    ("1204", true, "Provider is not Microsoft"),
    ("1205", false, "no section serves two directives"),
    ("1209", true, "no section twice"),
    ("1211", true, "not more than one service starts the device"),
    ("1213", true, "the catalogue is no source file"),
    ("1214", true, "CatalogFile is a plain name ending in .cat"),
    ("1217", true, "the date of DriverVer is MM/DD/YYYY"),
    ("1218", true, "the version of DriverVer is w.x.y.z, each below 65535, not 0.0.0.0"),
    ("1222", true, "the flags of a registry value are a number"),
    ("1225", true, "known registry values have their right type"),
    ("1230", true, "every copied file is in [SourceDisksFiles]"),
    ("1233", true, "[Version] names a CatalogFile"),
    ("1234", true, "[Version] names Class, ClassGuid, Provider and DriverVer"),
    ("1235", true, "every %token% is in [Strings]"),
    ("1273", true, "every source file is on a disk of [SourceDisksNames]"),
    ("1274", true, "no $placeholder$ is left"),
    ("1275", true, "no file is copied twice to one destination"),
    ("1280", true, "Class is SCSIAdapter"),
    ("1281", true, "ClassGuid is that of SCSIAdapter"),
    ("1285", true, "no [ClassInstall32] for Microsoft's classes"),
    ("1287", true, "the decoration is NT<processor>.<major>.<minor>...<build>"),
    ("1288", true, "the decoration asks for 10.0...16299 or later, the first with DIRID 13 for boot drivers"),
    ("1293", true, "a service has ServiceType, StartType, ErrorControl and ServiceBinary"),
    ("1294", true, "no string twice"),
    ("1295", true, "every language has the same strings"),
    ("1296", true, "every device gets a service"),
    ("1297", true, "the INF installs on some device"),
    ("1300", true, "no legacy sections"),
    ("1301", true, "no legacy directives"),
    ("1302", true, "nothing outside the package is deleted or renamed"),
    ("1303", true, "no co-installers"),
    ("1320", true, "registry values go under HKR"),
    ("1321", true, "a service's registry values go under Parameters"),
    ("1322", true, "every destination is DIRID 13, the driver store"),
    ("1324", true, "PnpLockdown = 1"),
    ("1326", false, "copy flags mean nothing in the driver store"),
    ("1330", true, "no source file twice"),
    ("1333", true, "the service is the same for all devices"),
    ("1341", true, "ServiceBinary is %13%\\ and a file that is copied"),
    ("2083", false, "no section unused"),
    ("2084", true, "copy flags are a number"),
    ("2085", true, "no security descriptor on a file in the driver store"),
    ("22.9.7", true, "the date of DriverVer is not in the future"),
    ("catalogue-name", true, "the catalogue is named after the driver"),
    ("driver-version", true, "DriverVer has the version of the image"),
    ("architecture", true, "the decoration is for the package's processor"),
    ("hardware-ids", true, "the ids are those the driver handles, in its order"),
    ("file-name", true, "the package copies the driver image and nothing else"),
    ("copy-inf", true, "no CopyINF"),
    ("service-name", true, "the service is named after the driver"),
    ("service-type", true, "ServiceType 1: kernel driver"),
    ("start-type", true, "StartType 0: at boot"),
    ("error-control", true, "ErrorControl 1: go on booting"),
    ("load-order", true, "LoadOrderGroup \"SCSI miniport\""),
    ("bus-type", true, "Parameters\\BusType is the driver's"),
    ("settings", true, "nothing under Parameters\\Device, which is the administrators'"),
    ("pnp-interface", true, "Parameters\\PnpInterface\\5 = 1: PCI devices come by Plug and Play"),
    ("msi", true, "MSISupported = 1"),
    ("message-limit", true, "MessageNumberLimit from 1 to 2048"),
    ("event-log", true, "EventMessageFile is IoLogMsg.dll, TypesSupported 7"),
];

/// Checks the bytes of a stamped INF.
pub fn lint(bytes: &[u8], expected: &Expected) -> Vec<Finding> {
    lint_at(bytes, expected, now())
}

/// Checks as on the day of `now`, seconds since 1970.
fn lint_at(bytes: &[u8], expected: &Expected, now: i64) -> Vec<Finding> {
    let inf = match Inf::parse(bytes) {
        Ok(inf) => inf,
        Err(error) => {
            let code = if crate::inf::decode(bytes).is_err() { "1003" } else { "1002" };
            return vec![Finding { line: error.line, code, is_error: true, what: error.what }];
        }
    };
    let mut linter = Linter { inf: &inf, expected, findings: Vec::new() };
    if inf.encoding == Encoding::Utf8 {
        linter.report(1, "1003", "UTF-8 beyond ASCII: stamp it, that writes UTF-16LE");
    }
    linter.version(now);
    linter.structure();
    linter.strings();
    linter.files();
    linter.registry();
    linter.services();
    linter.findings.sort_by_key(|finding| finding.line);
    linter.findings
}

struct Linter<'a> {
    inf: &'a Inf,
    expected: &'a Expected,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn report(&mut self, line: usize, code: &'static str, what: impl Into<String>) {
        let is_error = RULES.iter().find(|rule| rule.0 == code).is_none_or(|rule| rule.1);
        self.findings.push(Finding { line, code, is_error, what: what.into() });
    }

    fn require(&mut self, line: usize, code: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.report(line, code, what());
        }
    }

    /// The install sections of all models, each once.
    fn install_sections(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for models in self.inf.models_sections() {
            for entry in self.inf.sections_named(&models).flat_map(|section| &section.entries) {
                if !names.iter().any(|name| name.eq_ignore_ascii_case(entry.value(0))) {
                    names.push(entry.value(0).to_owned());
                }
            }
        }
        names
    }

    /// The section of that name, or the one Windows would take for it on our processor: `name.NTamd64`, `name.NT`,
    /// `name`. `suffix` is `.HW`, `.Services` or empty.
    fn decorated(&self, name: &str, suffix: &str) -> Option<&crate::inf::Section> {
        let arch = self.expected.arch.inf_name();
        let decorations = [format!(".NT{arch}"), ".NT".to_owned(), String::new()];
        decorations.iter().find_map(|decoration| self.inf.section(&format!("{name}{decoration}{suffix}")))
    }
}
