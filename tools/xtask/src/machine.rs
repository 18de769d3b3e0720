//! The machine the stand boots on: its disk images and devices.
//!
//! | node | image file | what it is in the machine of [`Machine::both`] |
//! | --- | --- | --- |
//! | `disk0` | 128 MiB | virtio-blk, 512-byte blocks |
//! | `disk1` | 64 MiB | virtio-scsi target 0 LUN 0, 512-byte blocks |
//! | `disk2` | 64 MiB | virtio-scsi target 0 LUN 1, 4096-byte blocks |
//! | `cd0` | 8 MiB, stamped | virtio-scsi target 1 LUN 0, a CD-ROM |

use crate::protocol::FinalStamp;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use stand::stamp::{self, FINAL_BYTES, MEDIUM_BLOCK, MEDIUM_GENERATION, Mismatch, Stamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// The PCI functions viostor is for.
pub const BLK_IDS: &str = "1af4:1001,1af4:1042";
/// The PCI functions vioscsi is for.
pub const SCSI_IDS: &str = "1af4:1004,1af4:1048";

/// QEMU's IOMMU, a device that must come before those behind it. Virtio devices are behind it when [`BEHIND_IOMMU`] is among
/// their properties, and then the machine has one.
pub const IOMMU: &str = "intel-iommu";
const BEHIND_IOMMU: &str = "iommu_platform=on";

/// Which kind of virtio device a driver is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// virtio-blk.
    Blk,
    /// virtio-scsi.
    Scsi,
}

impl Kind {
    /// The PCI functions, as the stand's `pci=` wants them.
    pub fn ids(self) -> &'static str {
        match self {
            Self::Blk => BLK_IDS,
            Self::Scsi => SCSI_IDS,
        }
    }

    /// The kind a QEMU `-device` string is of, by its name.
    pub fn of_device(device: &str) -> Option<Self> {
        let name = device.split(',').next().unwrap_or_default().trim_start_matches("driver=");
        let is = |stem: &str| name.starts_with(stem);
        if is("virtio-blk") || is("vhost-user-blk") {
            Some(Self::Blk)
        } else if is("virtio-scsi") || is("vhost-scsi") || is("vhost-user-scsi") {
            Some(Self::Scsi)
        } else {
            None
        }
    }

    /// The kind that an image of this name drives in virtio-win and here.
    pub fn of_image(path: &Path) -> Option<Self> {
        match path.file_stem()?.to_str()?.to_ascii_lowercase().as_str() {
            "viostor" => Some(Self::Blk),
            "vioscsi" => Some(Self::Scsi),
            _ => None,
        }
    }
}

/// A disk of the machine.
#[derive(Clone, Copy, Debug)]
struct Disk<'a> {
    node: &'a str,
    size: u64,
    /// Who sees it under which owner number.
    kind: Kind,
    owner: u32,
}

const DISKS: [Disk<'_>; 3] = [
    Disk { node: "disk0", size: 128 * MIB, kind: Kind::Blk, owner: 0 },
    Disk { node: "disk1", size: 64 * MIB, kind: Kind::Scsi, owner: 0 },
    Disk { node: "disk2", size: 64 * MIB, kind: Kind::Scsi, owner: 1 },
];
const MEDIUM: &str = "cd0";
const MEDIUM_SIZE: u64 = 8 * MIB;

/// Image files in a folder.
#[derive(Clone, Debug)]
pub struct Images {
    folder: PathBuf,
    seed: u64,
    /// Disks besides the usual ones.
    more: Vec<Drive>,
}

/// A disk besides the usual ones: empty, under a node name of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Node name, which is also the name of the image file. Behind unit L of target T it is `unit-T-L`, where the stand says
    /// what it leaves there.
    pub node: String,
    /// Bytes.
    pub size: u64,
}

impl Drive {
    /// The disk that it is, if its name says so.
    fn unit(&self) -> Option<Disk<'_>> {
        let (target, lun) = self.node.strip_prefix("unit-")?.split_once('-')?;
        let owner = stamp::owner(0, target.parse().ok()?, lun.parse().ok()?);
        Some(Disk { node: &self.node, size: self.size, kind: Kind::Scsi, owner })
    }
}

impl Images {
    /// Makes empty disks and a stamped medium in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(folder: &Path, seed: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let images = Self { folder: folder.to_owned(), seed, more: Vec::new() };
        for disk in DISKS {
            images.empty(disk.node, disk.size)?;
        }
        let path = images.path(MEDIUM);
        images.write_medium(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(images)
    }

    /// Makes further empty disks.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&mut self, drives: &[Drive]) -> Result<()> {
        for drive in drives {
            self.empty(&drive.node, drive.size)?;
            self.more.push(drive.clone());
        }
        Ok(())
    }

    /// How they are made, for a person.
    pub fn recipe(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            DISKS.iter().map(|disk| format!("{}: {} bytes, empty", disk.node, disk.size)).collect();
        lines.extend(self.more.iter().map(|disk| format!("{}: {} bytes, empty", disk.node, disk.size)));
        lines.push(format!("{MEDIUM}: {MEDIUM_SIZE} bytes, stamped with seed {:x}", self.seed));
        lines
    }

    fn empty(&self, node: &str, size: u64) -> Result<()> {
        let path = self.path(node);
        // Sparse: takes no room until the drivers write.
        File::create(&path)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The file behind a node.
    pub fn path(&self, node: &str) -> PathBuf {
        self.folder.join(format!("{node}.img"))
    }

    fn medium_stamp(&self, lba: u64) -> Stamp {
        Stamp { lba, generation: MEDIUM_GENERATION, seed: self.seed, owner: 0 }
    }

    fn write_medium(&self, path: &Path) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut block = [0; MEDIUM_BLOCK];
        for lba in 0..MEDIUM_SIZE / MEDIUM_BLOCK as u64 {
            stamp::fill(&mut block, &self.medium_stamp(lba));
            file.write_all(&block)?;
        }
        file.flush()
    }

    fn arguments(&self) -> Vec<String> {
        let node = |node: &str, more: &str| {
            // A comma in a file name is written twice.
            let file = self.path(node).display().to_string().replace(',', ",,");
            [
                "-blockdev".to_owned(),
                format!("driver=raw,node-name={node},file.driver=file,file.filename={file}{more}"),
            ]
        };
        let disks = DISKS.iter().flat_map(|disk| node(disk.node, ""));
        let more = self.more.iter().flat_map(|drive| node(&drive.node, ""));
        disks.chain(node(MEDIUM, ",read-only=on")).chain(more).collect()
    }

    /// Reads the image files back after a run of a driver of this kind: are the stamps that the stand says it left in
    /// the files? One check per disk, and one for the medium: name, detail, passed.
    pub fn verify(&self, kind: Kind, stamps: &[FinalStamp]) -> Vec<HostCheck> {
        let mut checks: Vec<HostCheck> = DISKS
            .iter()
            .filter(|disk| disk.kind == kind)
            .map(|disk| {
                let said = stamps.iter().rev().find(|stamp| stamp.owner == disk.owner);
                let result = match said {
                    None => Err(anyhow::anyhow!("the stand did not say what it left there")),
                    Some(said) => self.verify_disk(disk, said),
                };
                HostCheck::new(disk.node, result)
            })
            .collect();
        if kind == Kind::Scsi {
            checks.push(HostCheck::new(MEDIUM, self.verify_medium()));
        }
        checks
    }

    /// The same for only those disks that the stand says something of: a suite leaves stamps where it has use for them.
    pub fn verify_said(&self, kind: Kind, stamps: &[FinalStamp]) -> Vec<HostCheck> {
        let usual = DISKS.iter().filter(|disk| disk.kind == kind).copied();
        usual
            .chain(self.more.iter().filter_map(Drive::unit))
            .flat_map(|disk| {
                // What is said last of a place holds.
                let mine = stamps.iter().filter(|stamp| stamp.owner == disk.owner);
                let places: BTreeMap<u64, &FinalStamp> = mine.map(|said| (said.first, said)).collect();
                places
                    .into_values()
                    .map(|said| HostCheck::new(disk.node, self.verify_disk(&disk, said)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn verify_disk(&self, disk: &Disk<'_>, said: &FinalStamp) -> Result<String> {
        let bytes = said.blocks * said.block_size as u64;
        // The region at the start has a size that is known; elsewhere it is as large as the stand says.
        let expected = if said.first == 0 { FINAL_BYTES.min(disk.size) } else { 1 };
        let room = disk.size.saturating_sub(said.first * said.block_size as u64);
        if bytes < expected || bytes > room || said.seed != self.seed {
            bail!(
                "the stand says it left {bytes} bytes of seed {:x}, not {expected} of {:x}",
                said.seed,
                self.seed
            );
        }
        let stamp = |lba| Stamp { lba, generation: said.generation, seed: said.seed, owner: said.owner };
        let place = said.first..said.first + said.blocks;
        verify_blocks(&self.path(disk.node), said.block_size, place, stamp)?;
        let (blocks, size, first) = (said.blocks, said.block_size, said.first);
        Ok(format!("{blocks} blocks of {size} bytes from {first} on hold what the driver was told to write"))
    }

    fn verify_medium(&self) -> Result<String> {
        let blocks = MEDIUM_SIZE / MEDIUM_BLOCK as u64;
        let path = self.path(MEDIUM);
        let size = path.metadata()?.len();
        if size != MEDIUM_SIZE {
            bail!("the medium has {size} bytes instead of {MEDIUM_SIZE}");
        }
        verify_blocks(&path, MEDIUM_BLOCK, 0..blocks, |lba| self.medium_stamp(lba))?;
        Ok(format!("{blocks} blocks of {MEDIUM_BLOCK} bytes are as before"))
    }
}

/// One look of the host at an image file.
#[derive(Debug)]
pub struct HostCheck {
    /// Whether it is as it should be.
    pub passed: bool,
    /// `NAME: detail`, like the stand's checks.
    pub text: String,
}

impl HostCheck {
    fn new(node: &str, result: Result<String>) -> Self {
        Self::of(&format!("image file {node}"), result)
    }

    /// A look at something else.
    pub fn of(what: &str, result: Result<String>) -> Self {
        let passed = result.is_ok();
        let detail = result.unwrap_or_else(|error| format!("{error:#}"));
        Self { passed, text: format!("{what}: {detail}") }
    }
}

fn verify_blocks(
    path: &Path,
    block_size: usize,
    blocks: Range<u64>,
    stamp: impl Fn(u64) -> Stamp,
) -> Result<()> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut file = std::io::BufReader::with_capacity(1 << 20, file);
    file.seek(SeekFrom::Start(blocks.start * block_size as u64))?;
    let mut block = vec![0; block_size];
    for lba in blocks {
        file.read_exact(&mut block).with_context(|| format!("block {lba} cannot be read"))?;
        match stamp::verify(&block, &stamp(lba)) {
            Ok(()) => {}
            Err(Mismatch::NoStamp(bytes)) => bail!("block {lba} has no stamp but begins with {bytes:02x?}"),
            Err(Mismatch::Other(found)) => bail!("block {lba} holds another one: {found:?}"),
            Err(Mismatch::Filler(at)) => bail!("block {lba} is wrong from byte {at} on"),
        }
    }
    Ok(())
}

/// Disks that store nothing ([`Machine::add_empty_units`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyUnits {
    /// Targets, with one unit each.
    pub targets: u8,
    /// So many of them have more units:
    pub full: u8,
    /// so many more.
    pub luns: u8,
}

/// QEMU's arguments for disks and devices, and the PCI functions the driver is for.
///
/// In devices, further arguments and those of the daemon, `{folder}` is the folder of the image files and `{temp}` a short
/// path for sockets; both are there when QEMU starts. `{port}` is a free TCP port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    devices: Vec<String>,
    /// Disks besides the usual ones, for devices to name.
    pub drives: Vec<Drive>,
    /// Further arguments, before the devices.
    pub more: Vec<String>,
    /// A daemon that must run first: it has the device, over vhost-user, or what is behind it.
    pub daemon: Option<Daemon>,
}

/// The programs that there are for [`Daemon`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// qemu-storage-daemon.
    #[default]
    Storage,
    /// vhost-device-scsi.
    VhostDeviceScsi,
    /// tgtd, which QEMU's iSCSI driver reaches.
    ScsiTarget,
}

/// A device in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Which.
    #[serde(default)]
    pub program: Program,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The socket or file that is there when it is ready.
    pub socket: String,
}

/// What `{folder}`, `{temp}` and `{port}` stand for.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The folder of the image files.
    pub folder: &'a Path,
    /// A short path.
    pub temp: &'a Path,
    /// A TCP port of this machine's that was free.
    pub port: u16,
}

impl Places<'_> {
    /// Puts the paths in.
    pub fn fill(&self, text: &str) -> String {
        let path = |path: &Path| path.display().to_string().replace(',', ",,");
        let text = text.replace("{folder}", &path(self.folder)).replace("{temp}", &path(self.temp));
        text.replace("{port}", &self.port.to_string())
    }
}

impl Machine {
    /// One virtio-blk disk and one virtio-scsi HBA: the machine of `./x run`. `options` go to both controllers.
    pub fn both(options: &str) -> Self {
        let mut machine = Self::default();
        machine.add(Kind::Blk, options);
        machine.add(Kind::Scsi, options);
        machine
    }

    /// Adds the controller of that kind with its disks. `options` are further properties, each after a comma.
    pub fn add(&mut self, kind: Kind, options: &str) {
        match kind {
            Kind::Blk => {
                self.raw(&format!("virtio-blk-pci,id=blk0,drive=disk0,serial=RUST-BLK-0001{options}"));
            }
            Kind::Scsi => {
                self.raw(&format!("virtio-scsi-pci,id=scsi0{options}"));
                let unit = |driver: &str, target: u8, lun: u8, more: &str| {
                    format!("{driver},bus=scsi0.0,channel=0,scsi-id={target},lun={lun},{more}")
                };
                self.raw(&unit("scsi-hd", 0, 0, "drive=disk1,serial=RUST-SCSI-0001"));
                let large_blocks = "logical_block_size=4096,physical_block_size=4096";
                self.raw(&unit(
                    "scsi-hd",
                    0,
                    1,
                    &format!("drive=disk2,serial=RUST-SCSI-0002,{large_blocks}"),
                ));
                self.raw(&unit("scsi-cd", 1, 0, "id=cdrom0,drive=cd0"));
            }
        }
    }

    /// Adds disks that store nothing: `targets` targets from 2 on with one unit each, and `luns` more units of each of the
    /// first `full` of them. Unit L of target T has the serial number `T<T>L<L>`.
    pub fn add_empty_units(&mut self, EmptyUnits { targets, full, luns }: EmptyUnits) {
        const FIRST: u8 = 2;
        let singles = (FIRST..FIRST.saturating_add(targets)).map(|target| (target, 0));
        let more = (FIRST..FIRST + full).flat_map(|target| (1..=luns).map(move |lun| (target, lun)));
        for (target, lun) in singles.chain(more) {
            let node = format!("empty-{target}-{lun}");
            self.more.extend([
                "-blockdev".to_owned(),
                format!("driver=null-co,node-name={node},size=1048576,read-zeroes=on"),
            ]);
            self.raw(&format!(
                "scsi-hd,bus=scsi0.0,channel=0,scsi-id={target},lun={lun},drive={node},serial=T{target}L{lun}"
            ));
        }
    }

    /// Whether there is no device at all: then the disks' files are nobody's.
    pub fn is_bare(&self) -> bool {
        self.devices.is_empty()
    }

    /// Adds a QEMU `-device` string as it is.
    pub fn raw(&mut self, device: &str) {
        self.devices.push(device.to_owned());
    }

    /// All arguments.
    pub fn arguments(&self, images: &Images, places: Places<'_>) -> Vec<String> {
        let more = self.more.iter().map(|word| places.fill(word));
        let devices = self.devices.iter().flat_map(|device| ["-device".to_owned(), places.fill(device)]);
        let behind = self.devices.iter().any(|device| device.split(',').any(|word| word == BEHIND_IOMMU));
        let iommu = if behind { vec!["-device".to_owned(), IOMMU.to_owned()] } else { Vec::new() };
        iommu.into_iter().chain(more).chain(images.arguments()).chain(devices).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stand::stamp::FINAL_GENERATION;

    const SEED: u64 = 0x5EED;

    fn stamped(images: &Images, disk: &Disk<'_>, block_size: usize) -> FinalStamp {
        let blocks = FINAL_BYTES / block_size as u64;
        let mut file = File::options().write(true).open(images.path(disk.node)).unwrap();
        for lba in 0..blocks {
            let mut block = vec![0; block_size];
            let stamp = Stamp { lba, generation: FINAL_GENERATION, seed: SEED, owner: disk.owner };
            stamp::fill(&mut block, &stamp);
            file.write_all(&block).unwrap();
        }
        let generation = FINAL_GENERATION;
        FinalStamp { owner: disk.owner, blocks, block_size, seed: SEED, first: 0, generation }
    }

    #[test]
    fn stamps_that_are_in_the_files_pass() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(folder.path(), SEED).unwrap();
        let stamps = [stamped(&images, &DISKS[1], 512), stamped(&images, &DISKS[2], 4096)];

        let checks = images.verify(Kind::Scsi, &stamps);

        assert_eq!(checks.len(), 3);
        assert!(checks.iter().all(|check| check.passed), "{checks:?}");
    }

    #[test]
    fn a_block_that_never_reached_the_file_fails() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(folder.path(), SEED).unwrap();
        let stamp = stamped(&images, &DISKS[0], 512);
        File::options().write(true).open(images.path("disk0")).unwrap().set_len(MIB).unwrap();
        File::options().write(true).open(images.path("disk0")).unwrap().set_len(128 * MIB).unwrap();

        let checks = images.verify(Kind::Blk, &[stamp]);

        assert!(!checks[0].passed);
        assert!(checks[0].text.contains("block 2048 has no stamp"), "{}", checks[0].text);
    }

    #[test]
    fn a_disk_the_stand_says_nothing_about_fails() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(folder.path(), SEED).unwrap();

        let checks = images.verify(Kind::Blk, &[]);

        assert!(!checks[0].passed);
    }

    #[test]
    fn stamps_at_another_place_are_looked_for_there() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(folder.path(), SEED).unwrap();
        let said = FinalStamp {
            owner: 0,
            blocks: 1,
            block_size: 512,
            seed: SEED,
            first: 1000,
            generation: stamp::DUMP_GENERATION,
        };
        let before = stamped(&images, &DISKS[0], 512);
        let missing = images.verify_said(Kind::Blk, &[before, said]);
        let mut block = [0; 512];
        stamp::fill(&mut block, &Stamp { lba: 5000, generation: said.generation, seed: SEED, owner: 0 });
        let mut file = File::options().write(true).open(images.path("disk0")).unwrap();
        file.seek(SeekFrom::Start(5000 * 512)).unwrap();
        file.write_all(&block).unwrap();

        let there = images.verify_said(Kind::Blk, &[before, FinalStamp { first: 5000, ..said }]);

        assert_eq!(missing.iter().map(|check| check.passed).collect::<Vec<_>>(), [true, false]);
        assert!(there.iter().all(|check| check.passed) && there.len() == 2, "{there:?}");
    }

    #[test]
    fn a_further_disk_that_is_named_after_its_unit_is_looked_at_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut images = Images::make(folder.path(), SEED).unwrap();
        let drives = ["unit-254-7", "other"].map(|node| Drive { node: node.to_owned(), size: MIB });
        images.add(&drives).unwrap();
        let disk = drives[0].unit().unwrap();
        let generation = stamp::DUMP_GENERATION;
        let said = FinalStamp { owner: 0xFE07, blocks: 1, block_size: 512, seed: SEED, first: 9, generation };

        let checks = images.verify_said(Kind::Scsi, &[said]);

        assert_eq!((disk.owner, drives[1].unit().is_none()), (0xFE07, true));
        assert!(
            checks.len() == 1 && !checks[0].passed && checks[0].text.contains("unit-254-7"),
            "{checks:?}"
        );
    }

    #[test]
    fn a_changed_medium_fails() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(folder.path(), SEED).unwrap();
        File::options().write(true).open(images.path(MEDIUM)).unwrap().write_all(b"x").unwrap();

        let checks = images.verify(Kind::Scsi, &[]);

        assert!(!checks.last().unwrap().passed);
    }

    #[test]
    fn kinds_are_known_by_device_and_by_image() {
        assert_eq!(Kind::of_device("virtio-blk-pci,drive=disk0"), Some(Kind::Blk));
        assert_eq!(Kind::of_device("virtio-scsi-pci-transitional"), Some(Kind::Scsi));
        assert_eq!(Kind::of_device("nvme,serial=x"), None);
        assert_eq!(Kind::of_image(Path::new("/a/VioScsi.sys")), Some(Kind::Scsi));
        assert_eq!(Kind::of_image(Path::new("viostor.sys")), Some(Kind::Blk));
        assert_eq!(Kind::of_image(Path::new("other.sys")), None);
    }

    #[test]
    fn a_comma_in_a_path_reaches_qemu_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::make(&folder.path().join("a,b"), SEED).unwrap();

        assert!(images.arguments()[1].contains("a,,b/disk0.img"));
    }
}
