//! The service: who starts the device, and how.

use super::Linter;
use super::registry::Owner;
use crate::inf::{Entry, number};

/// SPSVCINST_ASSOCSERVICE: this service is the device's function driver.
const FUNCTION_DRIVER: u32 = 0x2;

impl Linter<'_> {
    pub(super) fn services(&mut self) {
        let mut first: Option<String> = None;
        for install in self.install_sections() {
            let Some(line) = self.decorated(&install, "").map(|section| section.line) else { continue };
            let Some(section) = self.decorated(&install, ".Services") else {
                self.report(
                    line,
                    "1296",
                    format!("there is no [{install}.Services]: the device gets no driver"),
                );
                continue;
            };
            let line = section.line;
            let functions: Vec<Entry> = section
                .entries_of("AddService")
                .filter(|entry| entry.number(1).is_some_and(|flags| flags & FUNCTION_DRIVER != 0))
                .cloned()
                .collect();
            match functions.as_slice() {
                [] => self.report(line, "1296", "no AddService has the flag 2: the device gets no driver"),
                [service] => {
                    let own = service.value(2).to_ascii_lowercase();
                    let same = first.get_or_insert_with(|| own.clone()) == &own;
                    self.require(service.line, "1333", same, || {
                        format!("{} is set up in two ways: use one section", service.value(0))
                    });
                    self.service(service);
                }
                [_, second, ..] => {
                    self.report(second.line, "1211", "a second AddService with the flag 2: keep one")
                }
            }
        }
    }

    fn service(&mut self, service: &Entry) {
        let driver = self.expected.driver;
        let name = self.inf.expand(service.value(0));
        self.require(service.line, "service-name", name == driver.name, || {
            format!("the service is {name}: {} keeps its name over upgrades", driver.name)
        });
        let Some(section) = self.inf.section(service.value(2)) else { return };
        for key in ["ServiceType", "StartType", "ErrorControl", "ServiceBinary"] {
            self.require(section.line, "1293", section.entry(key).is_some(), || {
                format!("[{}] has no {key}: add it", section.name)
            });
        }
        let numbers = [
            ("ServiceType", 1, "service-type", "a kernel driver is 1"),
            ("StartType", 0, "start-type", "a disk that Windows starts from needs 0, at boot"),
            ("ErrorControl", 1, "error-control", "1 lets Windows start without the device"),
        ];
        for (key, wanted, code, why) in numbers {
            if let Some(entry) = section.entry(key) {
                let own = number(&self.inf.expand(entry.value(0)));
                self.require(entry.line, code, own == Some(wanted), || {
                    format!("{key} is {}: {why}", entry.value(0))
                });
            }
        }
        if let Some(entry) = section.entry("ServiceBinary") {
            let binary = self.inf.expand(entry.value(0));
            let copied = self.copied_names();
            let file = binary.strip_prefix(r"%13%\");
            let is_copied =
                file.is_some_and(|file| copied.iter().any(|name| name.eq_ignore_ascii_case(file)));
            self.require(entry.line, "1341", is_copied, || {
                format!(r"ServiceBinary is {binary}: write %13%\ and the file that CopyFiles copies")
            });
        }
        let group = section.entry("LoadOrderGroup").map(|entry| self.inf.expand(entry.value(0)));
        let line = section.entry("LoadOrderGroup").map_or(section.line, |entry| entry.line);
        self.require(line, "load-order", group.as_deref() == Some("SCSI miniport"), || {
            "LoadOrderGroup is not \"SCSI miniport\": the disks would come too late".to_owned()
        });
        let bus = self.registry_value(Owner::Service, "Parameters", "BusType");
        self.require(
            bus.as_ref().map_or(section.line, |found| found.0),
            "bus-type",
            bus.as_ref().is_some_and(|(_, data)| number(data) == Some(driver.bus_type)),
            || format!(r"Parameters\BusType is not {:#x}", driver.bus_type),
        );
        let interface = self.registry_value(Owner::Service, r"Parameters\PnpInterface", "5");
        self.require(
            interface.as_ref().map_or(section.line, |found| found.0),
            "pnp-interface",
            interface.as_ref().is_some_and(|(_, data)| number(data) == Some(1)),
            || {
                r"Parameters\PnpInterface\5 is not 1: StorPort would not take PCI devices from Plug and Play"
                    .to_owned()
            },
        );
    }
}
