//! The two drivers and what is fixed about each: names and hardware ids.
//!
//! They are those of virtio-win, so that one replaces the other in a guest. The lint holds the INF to this table.

use anyhow::{Result, bail};
use std::fmt;

/// One driver of this project.
#[derive(Debug, PartialEq, Eq)]
pub struct Driver {
    /// Service name and stem of every file name.
    pub name: &'static str,
    /// What the file's properties in Explorer say.
    pub description: &'static str,
    /// Hardware ids in the order of the INF, the exact id of a device before its vendor and device alone.
    pub hardware_ids: &'static [&'static str],
    /// `STORAGE_BUS_TYPE` that StorPort reports for the disks: BusTypeScsi is 1, BusTypeSas is 0xA.
    pub bus_type: u32,
}

/// One HBA with many targets: virtio-scsi, PCI 1AF4:1004 and 1AF4:1048.
pub const VIOSCSI: Driver = Driver {
    name: "vioscsi",
    description: "Virtio SCSI StorPort miniport",
    hardware_ids: &[
        r"PCI\VEN_1AF4&DEV_1004&SUBSYS_00081AF4&REV_00",
        r"PCI\VEN_1AF4&DEV_1004",
        r"PCI\VEN_1AF4&DEV_1048&SUBSYS_11001AF4&REV_01",
        r"PCI\VEN_1AF4&DEV_1048",
    ],
    bus_type: 0xA,
};

/// One disk: virtio-blk, PCI 1AF4:1001 and 1AF4:1042.
pub const VIOSTOR: Driver = Driver {
    name: "viostor",
    description: "Virtio block StorPort miniport",
    hardware_ids: &[
        r"PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00",
        r"PCI\VEN_1AF4&DEV_1001",
        r"PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01",
        r"PCI\VEN_1AF4&DEV_1042",
    ],
    bus_type: 0x1,
};

/// All drivers, in the order they are built and packaged.
pub const ALL: [&Driver; 2] = [&VIOSTOR, &VIOSCSI];

/// The driver of that name.
///
/// # Errors
/// When there is none.
pub fn by_name(name: &str) -> Result<&'static Driver> {
    match name {
        "vioscsi" => Ok(&VIOSCSI),
        "viostor" => Ok(&VIOSTOR),
        _ => bail!("no driver is called `{name}`; there are viostor and vioscsi"),
    }
}

impl Driver {
    /// `vioscsi.sys`, `vioscsi.inf` and so on.
    pub fn file(&self, extension: &str) -> String {
        format!("{}.{extension}", self.name)
    }
}

/// The processor an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The folder of a package. Capital letters for ARM64 are virtio-win's custom, which other tools look for.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "ARM64",
        }
    }

    /// What follows `NT` in an INF's section names.
    pub fn inf_name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The machine field of a PE image.
    pub fn machine(self) -> u16 {
        match self {
            Self::Amd64 => 0x8664,
            Self::Arm64 => 0xAA64,
        }
    }

    /// The operating systems a catalogue names: what Inf2Cat writes for `/os:10_X64,Server10_X64` and
    /// `/os:Server10_ARM64`.
    pub fn catalogue_os(self) -> &'static str {
        match self {
            Self::Amd64 => "_v100_X64,Server_v100_X64",
            Self::Arm64 => "Server_v100_ARM64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}
