//! The machine and the words of one trial.

use crate::boot::Options;
use crate::machine::{Daemon, Drive, EmptyUnits, Kind, Machine, Program};
use crate::qemu::Version;

/// The machine and the options of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What is special about it: unique among the suite's trials for this kind.
    pub name: &'static str,
    /// The kind of driver that it is for.
    pub kind: Kind,
    /// Properties of the usual controller with its usual disks, each after a comma; `None` when `devices` has another.
    pub controller: Option<&'static str>,
    /// Disks that store nothing, on the usual SCSI controller.
    pub empty_units: EmptyUnits,
    /// Further QEMU `-device` strings.
    pub devices: &'static [&'static str],
    /// Further disks, for `devices` to name: node name and bytes.
    pub drives: &'static [(&'static str, u64)],
    /// Further arguments of QEMU.
    pub qemu: &'static [&'static str],
    /// A daemon to start first, its arguments, and its socket.
    pub daemon: Option<(Program, &'static [&'static str], &'static str)>,
    /// Number of processors.
    pub smp: u32,
    /// Further `KEY=VALUE` words for the stand.
    pub words: &'static [&'static str],
    /// The lie that the stand's device model tells.
    pub lie: Option<&'static str>,
    /// The manner that it has.
    pub manner: Option<&'static str>,
    /// Only with `--long`.
    pub long_only: bool,
    /// The oldest QEMU that can do it, if not every one can.
    pub oldest_qemu: Option<Version>,
    /// The newest QEMU with which it is known to work, if there is one with which it does not.
    pub newest_qemu: Option<Version>,
    /// Seconds after which it is given up, short and long. The caller's limit holds when it is longer.
    pub seconds: (u64, u64),
}
/// virtio-blk with one disk, to be changed by struct update.
pub(super) const BLK: Setting = Setting {
    name: "modern, 2 CPUs",
    kind: Kind::Blk,
    controller: Some(",disable-legacy=on"),
    empty_units: EmptyUnits { targets: 0, full: 0, luns: 0 },
    devices: &[],
    drives: &[],
    qemu: &[],
    daemon: None,
    smp: 2,
    words: &[],
    lie: None,
    manner: None,
    long_only: false,
    oldest_qemu: None,
    newest_qemu: None,
    seconds: (60, 3600),
};
/// virtio-scsi with two disks and a CD-ROM, to be changed by struct update.
pub(super) const SCSI: Setting = Setting { kind: Kind::Scsi, ..BLK };
/// For a controller with an I/O thread, `io0`.
pub(super) const IO_THREAD: &[&str] = &["-object", "iothread,id=io0"];

impl Setting {
    /// The machine.
    pub fn machine(&self) -> Machine {
        let mut machine = Machine::default();
        if let Some(properties) = self.controller {
            machine.add(self.kind, properties);
        }
        machine.add_empty_units(self.empty_units);
        for device in self.devices {
            machine.raw(device);
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        machine.drives =
            self.drives.iter().map(|(node, size)| Drive { node: (*node).to_owned(), size: *size }).collect();
        machine.more.extend(words(self.qemu));
        machine.daemon = self.daemon.map(|(program, arguments, socket)| Daemon {
            program,
            arguments: words(arguments),
            socket: socket.to_owned(),
        });
        machine
    }

    pub(super) fn words(&self, long: bool) -> Vec<String> {
        let long = long.then(|| "long=1".to_owned());
        let lie = self.lie.map(|lie| format!("lie={lie}"));
        let manner = self.manner.map(|manner| format!("manner={manner}"));
        self.words.iter().map(|word| (*word).to_owned()).chain(lie).chain(manner).chain(long).collect()
    }

    pub(super) fn options(&self, given: &Options, long: bool) -> Options {
        let seconds = if long { self.seconds.1 } else { self.seconds.0 };
        Options { smp: self.smp, timeout: given.timeout.max(seconds), ..given.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_machine_has_all_that_its_setting_says() {
        let setting = Setting {
            controller: None,
            devices: &["virtio-blk-pci,drive=more"],
            drives: &[("more", 1 << 20)],
            qemu: &["-object", "memory-backend-memfd,id=mem"],
            daemon: Some((Program::Storage, &["--export", "x={temp}/s"], "{temp}/s")),
            ..BLK
        };
        let machine = setting.machine();
        let folder = tempfile::tempdir().unwrap();
        let mut images = crate::machine::Images::make(folder.path(), 1).unwrap();
        images.add(&machine.drives).unwrap();

        let places = crate::machine::Places { folder: folder.path(), temp: Path::new("/t"), port: 7 };
        let words = machine.arguments(&images, places);

        assert_eq!(words[..2], ["-object", "memory-backend-memfd,id=mem"]);
        assert!(words.iter().any(|word| word.contains("node-name=more,")), "{words:?}");
        assert_eq!(words[words.len() - 2..], ["-device", "virtio-blk-pci,drive=more"]);
        assert_eq!(machine.daemon.unwrap().socket, "{temp}/s");
    }
}
