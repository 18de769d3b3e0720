//! `[Version]`: class, provider, date, version, catalogue.

use super::Linter;
use crate::context::{Version, civil};
use time::{Date, Month};

const CLASS: &str = "SCSIAdapter";
const CLASS_GUID: &str = "{4D36E97B-E325-11CE-BFC1-08002BE10318}";

impl Linter<'_> {
    pub(super) fn version(&mut self, now: i64) {
        let Some(section) = self.inf.section("Version") else {
            return self.report(1, "1001", "no [Version] section: this is no INF for Windows");
        };
        let line = |key: &str| section.entry(key).map_or(section.line, |entry| entry.line);
        let value = |key: &str| self.inf.value("Version", key).filter(|value| !value.is_empty());

        let signature = value("Signature").unwrap_or_default();
        self.require(line("Signature"), "1001", signature.eq_ignore_ascii_case("$Windows NT$"), || {
            format!("Signature is \"{signature}\": write \"$Windows NT$\"")
        });
        for key in ["Class", "ClassGuid", "Provider", "DriverVer"] {
            self.require(section.line, "1234", value(key).is_some(), || {
                format!("[Version] has no {key}: add it")
            });
        }
        if let Some(class) = value("Class") {
            self.require(line("Class"), "1280", class.eq_ignore_ascii_case(CLASS), || {
                format!("Class is {class}: a storage controller is {CLASS}")
            });
        }
        if let Some(guid) = value("ClassGuid") {
            self.require(line("ClassGuid"), "1281", guid.eq_ignore_ascii_case(CLASS_GUID), || {
                format!("ClassGuid is {guid}: that of {CLASS} is {CLASS_GUID}")
            });
        }
        if let Some(provider) = value("Provider") {
            self.require(
                line("Provider"),
                "1204",
                !provider.to_ascii_lowercase().contains("microsoft"),
                || format!("Provider is \"{provider}\": name who wrote the driver"),
            );
        }
        let lockdown = section.entry("PnpLockdown").and_then(|entry| entry.number(0));
        self.require(line("PnpLockdown"), "1324", lockdown == Some(1), || {
            "PnpLockdown is not 1: set it, so that only installations change the files".to_owned()
        });
        self.catalogue_file();
        self.driver_ver(now);
    }

    fn catalogue_file(&mut self) {
        let Some(section) = self.inf.section("Version") else { return };
        let keys: Vec<_> = section
            .entries
            .iter()
            .filter(|entry| {
                entry.key.as_deref().is_some_and(|key| key.to_ascii_lowercase().starts_with("catalogfile"))
            })
            .collect();
        if keys.is_empty() {
            return self.report(
                section.line,
                "1233",
                "no CatalogFile: without a catalogue nothing can be signed",
            );
        }
        let wanted = self.expected.driver.file("cat");
        for entry in keys {
            let name = self.inf.expand(entry.value(0));
            let plain = name.to_ascii_lowercase().ends_with(".cat") && !name.contains(['\\', '/', ':', ' ']);
            self.require(entry.line, "1214", plain, || {
                format!("CatalogFile is \"{name}\": write a plain name.cat")
            });
            let listed = self.inf.source_files().iter().any(|file| file.eq_ignore_ascii_case(&name));
            self.require(entry.line, "1213", !listed, || {
                format!("{name} is in [SourceDisksFiles]: take it out")
            });
            self.require(entry.line, "catalogue-name", !plain || name == wanted, || {
                format!("CatalogFile is {name}: packaging writes {wanted}")
            });
        }
    }

    fn driver_ver(&mut self, now: i64) {
        let Some(entry) = self.inf.entry("Version", "DriverVer") else { return };
        let (date_text, version_text) = (self.inf.expand(entry.value(0)), self.inf.expand(entry.value(1)));
        match date(&date_text) {
            None => self.report(entry.line, "1217", format!("the date \"{date_text}\" is not MM/DD/YYYY")),
            Some(date) => {
                let today = civil(now).map(time::OffsetDateTime::date).unwrap_or(Date::MAX);
                self.require(entry.line, "22.9.7", date <= today, || {
                    format!("the date {date} is still to come (today is {today}, UTC)")
                });
            }
        }
        let four = version_text.split('.').count() == 4 && version_text.bytes().all(|byte| byte != b'+');
        match version_text.parse::<Version>() {
            Ok(version) if four => {
                let wanted = self.expected.version;
                self.require(entry.line, "driver-version", version == wanted, || {
                    format!("DriverVer says {version}, the image is {wanted}: stamp the INF again")
                });
            }
            _ => self.report(
                entry.line,
                "1218",
                format!("the version \"{version_text}\" is not w.x.y.z with numbers below 65535, not all 0"),
            ),
        }
    }
}

/// MM/DD/YYYY with all its digits.
fn date(text: &str) -> Option<Date> {
    let [month, day, year] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(digits(month, 2) && digits(day, 2) && digits(year, 4)) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}
