//! Registry values: where they go and of which type they are.

use super::Linter;
use crate::inf::{Entry, Section};

const REG_DWORD: u32 = 0x0001_0001;
const REG_EXPAND_SZ: u32 = 0x0002_0000;
/// FLG_ADDREG_KEYONLY: a key without a value.
const KEY_ONLY: u32 = 0x10;

/// Values whose readers expect one type.
const TYPES: [(&str, u32); 10] = [
    ("MSISupported", REG_DWORD),
    ("MessageNumberLimit", REG_DWORD),
    ("DevicePolicy", REG_DWORD),
    ("DevicePriority", REG_DWORD),
    ("GroupPolicy", REG_DWORD),
    ("BusType", REG_DWORD),
    ("DmaRemappingCompatible", REG_DWORD),
    ("StorageSupportedFeatures", REG_DWORD),
    ("TypesSupported", REG_DWORD),
    ("EventMessageFile", REG_EXPAND_SZ),
];

/// Which section a list of values is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Device,
    Service,
    EventLog,
}

impl Linter<'_> {
    pub(super) fn registry(&mut self) {
        for (owner, list) in self.value_lists() {
            let Some(section) = self.inf.section(&list) else { continue };
            for entry in &section.entries {
                self.value(owner, entry);
            }
        }
        self.interrupts();
        self.event_log();
    }

    fn value(&mut self, owner: Owner, entry: &Entry) {
        let [root, key, name, flags, data] = [0, 1, 2, 3, 4].map(|index| self.inf.expand(entry.value(index)));
        let line = entry.line;
        self.require(line, "1320", root.eq_ignore_ascii_case("HKR"), || {
            format!("{root} is outside the driver's own keys: write HKR")
        });
        if owner == Owner::Service {
            let lower = key.to_ascii_lowercase();
            self.require(line, "1321", lower == "parameters" || lower.starts_with(r"parameters\"), || {
                format!("\"{key}\": a service's values go under Parameters")
            });
            // What an administrator has set there outlives an update, and a change from or to another driver of the name.
            self.require(line, "settings", !lower.starts_with(r"parameters\device"), || {
                format!("\"{key}\" is where administrators set values: leave it alone")
            });
        }
        self.require(line, "1303", !name.eq_ignore_ascii_case("CoInstallers32"), || {
            "Windows 10 runs no co-installers: remove it".to_owned()
        });
        let number = if flags.is_empty() { Some(0) } else { crate::inf::number(&flags) };
        let Some(number) = number else {
            return self.report(line, "1222", format!("the flags \"{flags}\" of {name} are no number"));
        };
        if number & KEY_ONLY != 0 {
            return;
        }
        let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
        if let Some((_, wanted)) = known {
            self.require(line, "1225", number == *wanted, || {
                format!("{name} has the type {number:#010x}, its readers expect {wanted:#010x}")
            });
        }
        if number == REG_DWORD {
            self.require(line, "1225", crate::inf::number(&data).is_some(), || {
                format!("{name} is a REG_DWORD, but \"{data}\" is no number")
            });
        }
    }

    /// The lists of values that AddReg names, and for what.
    fn value_lists(&self) -> Vec<(Owner, String)> {
        let mut lists: Vec<(Owner, String)> = Vec::new();
        let mut add = |owner: Owner, section: Option<&Section>| {
            for entry in section.iter().flat_map(|section| section.entries_of("AddReg")) {
                for list in entry.values.iter().filter(|list| !list.is_empty()) {
                    if !lists.contains(&(owner, list.clone())) {
                        lists.push((owner, list.clone()));
                    }
                }
            }
        };
        for install in self.install_sections() {
            for suffix in ["", ".HW"] {
                add(Owner::Device, self.decorated(&install, suffix));
            }
            for service in
                self.decorated(&install, ".Services").iter().flat_map(|own| own.entries_of("AddService"))
            {
                add(Owner::Service, self.inf.section(service.value(2)));
                add(Owner::EventLog, self.inf.section(service.value(3)));
            }
        }
        lists
    }

    /// The value `name` under the key that ends in `key`: its line and data.
    pub(super) fn registry_value(&self, owner: Owner, key: &str, name: &str) -> Option<(usize, String)> {
        let lists = self.value_lists();
        let entries = lists
            .iter()
            .filter(|(own, _)| *own == owner)
            .flat_map(|(_, list)| self.inf.sections_named(list))
            .flat_map(|section| &section.entries);
        entries
            .filter(|entry| {
                self.inf.expand(entry.value(1)).eq_ignore_ascii_case(key)
                    && self.inf.expand(entry.value(2)).eq_ignore_ascii_case(name)
            })
            .map(|entry| (entry.line, self.inf.expand(entry.value(4))))
            .next()
    }

    fn interrupts(&mut self) {
        const KEY: &str = r"Interrupt Management\MessageSignaledInterruptProperties";
        let line = self.inf.section("Manufacturer").map_or(1, |section| section.line);
        let supported = self.registry_value(Owner::Device, KEY, "MSISupported");
        self.require(
            supported.as_ref().map_or(line, |found| found.0),
            "msi",
            supported.is_some_and(|(_, data)| crate::inf::number(&data) == Some(1)),
            || format!(r"{KEY}\MSISupported is not 1: the device would get one shared interrupt"),
        );
        let limit = self.registry_value(Owner::Device, KEY, "MessageNumberLimit");
        self.require(
            limit.as_ref().map_or(line, |found| found.0),
            "message-limit",
            limit.is_some_and(|(_, data)| crate::inf::number(&data).is_some_and(|n| (1..=2048).contains(&n))),
            || format!(r"{KEY}\MessageNumberLimit is not from 1 to 2048: Windows would give one message"),
        );
    }

    fn event_log(&mut self) {
        let line = self.inf.section("Manufacturer").map_or(1, |section| section.line);
        let file = self.registry_value(Owner::EventLog, "", "EventMessageFile");
        let is_storports =
            |(_, data): &(usize, String)| data.eq_ignore_ascii_case(r"%SystemRoot%\System32\IoLogMsg.dll");
        self.require(
            file.as_ref().map_or(line, |found| found.0),
            "event-log",
            file.as_ref().is_some_and(is_storports),
            || {
                r"EventMessageFile is not %%SystemRoot%%\System32\IoLogMsg.dll: events would have no text"
                    .to_owned()
            },
        );
        let types = self.registry_value(Owner::EventLog, "", "TypesSupported");
        self.require(
            types.as_ref().map_or(line, |found| found.0),
            "event-log",
            types.is_some_and(|(_, data)| crate::inf::number(&data) == Some(7)),
            || "TypesSupported is not 7: errors, warnings and information".to_owned(),
        );
    }
}
