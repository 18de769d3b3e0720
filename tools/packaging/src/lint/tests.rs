//! Both INFs pass; each wrong change of one line is found under its code.

use super::*;
use crate::driver::{ALL, VIOSTOR};
use crate::stamp::stamp;
use std::path::Path;

/// 2026-01-02 03:04:05 UTC
const TIME: i64 = 1_767_323_045;
const VERSION: Version = Version([0, 1, 0, 0]);

fn expected(driver: &'static Driver, arch: Arch) -> Expected {
    Expected { driver, arch, version: VERSION }
}

fn stamped(driver: &Driver, arch: Arch) -> String {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inf").join(driver.file("inx"));
    String::from_utf8(stamp(&template, arch, TIME, VERSION).unwrap()).unwrap()
}

#[test]
fn both_infs_pass_without_a_warning() {
    for driver in ALL {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let findings = lint_at(stamped(driver, arch).as_bytes(), &expected(driver, arch), TIME);
            assert_eq!(findings, [], "{} {arch}", driver.name);
        }
    }
}

/// That a driver works behind a remapping IOMMU is claimed when it was run there on Windows. Virtio-win's drivers claimed it
/// and took it back.
#[test]
fn neither_inf_claims_dma_remapping() {
    for driver in ALL {
        let inf = stamped(driver, Arch::Amd64);
        let values: Vec<_> = inf.lines().filter(|line| line.contains("\"DmaRemappingCompatible\"")).collect();

        assert_eq!(
            values,
            ["HKR, \"Parameters\", \"DmaRemappingCompatible\", 0x00010001, 0"],
            "{}",
            driver.name
        );
    }
}

/// Code, what is replaced in viostor.inf, and by what.
const MUTATIONS: &[(&str, &str, &str)] = &[
    ("1001", "[Version]", "[Version2]"),
    ("1001", "$Windows NT$", "$Windows 95$"),
    ("1002", "[Disk]", "[Disk"),
    ("1002", "\"SCSI miniport\"", "\"SCSI miniport"),
    ("1003", "Virtio block device", "Virtio-Blockgerät"),
    ("1008", "DefaultDestDir = 13", "OtherFiles = 13"),
    ("1100", "[DriverFiles]\r\nviostor.sys", "[DriverFiles]\r\nviostor2.sys, viostor.sys"),
    ("1101", "DefaultDestDir = 13", "DefaultDestDir = 13, drivers"),
    ("1103", "viostor.sys = 1", "viostor.sys = 1, amd64"),
    ("1199", "NTamd64.10.0...16299\r\n\r\n;", "NT.10.0...16299\r\n\r\n;"),
    ("1199", "Devices, NTamd64.10.0...16299", "Devices"),
    ("1203", "CopyFiles = DriverFiles", "CopyFiles = Files"),
    ("1203", "CopyFiles = DriverFiles", "CopyFiles = viostor.sys"),
    ("1203", "Disk, PCI\\VEN_1AF4&DEV_1042", "Disk2, PCI\\VEN_1AF4&DEV_1042"),
    ("1203", "Service, EventLog", "Service, NoEventLog"),
    ("1204", "\"Rust virtio storage drivers\"", "\"Microsoft Corporation\""),
    (
        "1205",
        "[EventLog]\r\nAddReg = EventLogValues",
        "[EventLog]\r\nAddReg = EventLogValues\r\nAddProperty = EventLogValues",
    ),
    ("1209", "[EventLog]", "[DriverFiles]\r\n[EventLog]"),
    ("1211", "EventLog\r\n\r\n; SERVICE", "EventLog\r\nAddService = other, 2, Service\r\n\r\n; SERVICE"),
    ("1213", "viostor.sys = 1", "viostor.sys = 1\r\nviostor.cat = 1"),
    ("1214", "CatalogFile = viostor.cat", "CatalogFile = amd64\\viostor.cat"),
    ("1217", "01/02/2026", "1/2/2026"),
    ("1217", "01/02/2026", "13/02/2026"),
    ("1218", "0.1.0.0", "0.1.0"),
    ("1218", "0.1.0.0", "0.0.0.0"),
    ("1218", "0.1.0.0", "0.1.0.65535"),
    ("1222", "MSISupported, 0x00010001", "MSISupported, REG_DWORD"),
    ("1225", "MSISupported, 0x00010001", "MSISupported, 0x00000000"),
    ("1225", "\"BusType\", 0x00010001, 0x00000001", "\"BusType\", 0x00010001, SCSI"),
    ("1230", "viostor.sys = 1", "viostor64.sys = 1"),
    ("1233", "CatalogFile = viostor.cat", "; no catalogue"),
    ("1234", "Class       = SCSIAdapter", "; no class"),
    ("1234", "DriverVer   =", "DriverVersion ="),
    ("1235", "%%SystemRoot%%", "%SystemRoot%"),
    ("1235", "%DeviceName% = Disk", "%Device% = Disk"),
    ("1273", "viostor.sys = 1", "viostor.sys = 2"),
    ("1274", "NTamd64.10.0...16299\r\n\r\n;", "NT$ARCH$.10.0...16299\r\n\r\n;"),
    ("1275", "[DriverFiles]\r\nviostor.sys", "[DriverFiles]\r\nviostor.sys\r\nviostor.sys"),
    ("1280", "Class       = SCSIAdapter", "Class       = HDC"),
    ("1281", "4D36E97B", "4D36E96A"),
    ("1285", "[EventLog]", "[ClassInstall32]\r\nAddReg = EventLogValues\r\n[EventLog]"),
    ("1287", "NTamd64.10.0...16299\r\n\r\n;", "NTamd46.10.0...16299\r\n\r\n;"),
    ("1288", "NTamd64.10.0...16299\r\n\r\n;", "NTamd64.10.0\r\n\r\n;"),
    ("1288", "NTamd64.10.0...16299\r\n\r\n;", "NTamd64.6.3\r\n\r\n;"),
    ("1293", "ErrorControl   = 1", "; no error control"),
    ("1294", "[Strings]", "[Strings]\r\nDiskName = \"x\""),
    ("1295", "[Strings]", "[Strings.0407]\r\nDiskName = \"x\"\r\n[Strings]"),
    ("1296", "[Disk.Services]", "[Disk.Service]"),
    ("1296", "viostor, 0x00000002", "viostor, 0x00000000"),
    ("1297", "[Manufacturer]", "[Manufacturers]"),
    ("1300", "[EventLog]", "[Disk.CoInstallers]\r\nx = y\r\n[EventLog]"),
    ("1301", "CopyFiles = DriverFiles", "CopyFiles = DriverFiles\r\nDelReg = Interrupts"),
    ("1302", "CopyFiles = DriverFiles", "CopyFiles = DriverFiles\r\nDelFiles = DriverFiles"),
    ("1303", "HKR,, TypesSupported", "HKR,, CoInstallers32"),
    ("1320", "HKR, \"Parameters\", \"BusType\"", "HKLM, \"Parameters\", \"BusType\""),
    ("1321", "HKR, \"Parameters\", \"DmaRemappingCompatible\"", "HKR,, \"DmaRemappingCompatible\""),
    ("1322", "DefaultDestDir = 13", "DefaultDestDir = 12"),
    ("1324", "PnpLockdown = 1", "PnpLockdown = 0"),
    ("1326", "[DriverFiles]\r\nviostor.sys", "[DriverFiles]\r\nviostor.sys,,,2"),
    ("1330", "viostor.sys = 1", "viostor.sys = 1\r\nVIOSTOR.SYS = 1"),
    ("1333", "%DeviceName% = Disk, PCI\\VEN_1AF4&DEV_1042", "%DeviceName% = Two, PCI\\VEN_1AF4&DEV_1042"),
    ("1341", "%13%\\viostor.sys", "%12%\\viostor.sys"),
    ("1341", "%13%\\viostor.sys", "%13%\\vioscsi.sys"),
    ("2083", "[EventLog]", "[Unused]\r\nx = y\r\n[EventLog]"),
    ("2084", "[DriverFiles]\r\nviostor.sys", "[DriverFiles]\r\nviostor.sys,,,two"),
    ("2085", "[DriverFiles]\r\nviostor.sys", "[DriverFiles]\r\nviostor.sys,,,,\"D:P(A;;GA;;;SY)\""),
    ("22.9.7", "01/02/2026", "01/03/2026"),
    ("catalogue-name", "CatalogFile = viostor.cat", "CatalogFile = vioscsi.cat"),
    ("driver-version", "0.1.0.0", "0.2.0.0"),
    ("architecture", "NTamd64.10.0...16299\r\n\r\n;", "NTarm64.10.0...16299\r\n\r\n;"),
    ("hardware-ids", "DEV_1042&SUBSYS_11001AF4", "DEV_1041&SUBSYS_11001AF4"),
    ("hardware-ids", ", PCI\\VEN_1AF4&DEV_1042\r\n", "\r\n"),
    ("file-name", "viostor.sys = 1", "viostor.sys = 1\r\nhelper.dll = 1"),
    ("copy-inf", "CopyFiles = DriverFiles", "CopyFiles = DriverFiles\r\nCopyINF = other.inf"),
    ("service-name", "AddService = viostor", "AddService = viostor2"),
    ("service-type", "ServiceType    = 1", "ServiceType    = 16"),
    ("start-type", "StartType      = 0", "StartType      = 3"),
    ("error-control", "ErrorControl   = 1", "ErrorControl   = 3"),
    ("load-order", "\"SCSI miniport\"", "\"Base\""),
    ("bus-type", "\"BusType\", 0x00010001, 0x00000001", "\"BusType\", 0x00010001, 0x0000000A"),
    (
        "settings",
        "\"Parameters\", \"StorageSupportedFeatures\"",
        "\"Parameters\\Device\", \"PhysicalBreaks\"",
    ),
    ("pnp-interface", "\"5\", 0x00010001, 1", "\"5\", 0x00010001, 0"),
    ("msi", "MSISupported, 0x00010001, 1", "MSISupported, 0x00010001, 0"),
    ("message-limit", "MessageNumberLimit, 0x00010001, 257", "MessageNumberLimit, 0x00010001, 0"),
    ("event-log", "System32\\IoLogMsg.dll", "System32\\NetEvent.dll"),
    ("event-log", "TypesSupported, 0x00010001, 7", "TypesSupported, 0x00010001, 1"),
];

#[test]
fn every_mutation_fires_its_code() {
    let good = stamped(&VIOSTOR, Arch::Amd64);
    // A second install section that shares nothing with the first, for the rule about services set up in two ways.
    let second = "[Two]\r\nCopyFiles = DriverFiles\r\n[Two.Services]\r\nAddService = viostor, 2, Service2\r\n[Service2]\r\n";
    for (code, from, to) in MUTATIONS {
        assert!(good.contains(from), "{code}: the INF has no {from:?}");
        let mut bad = good.replacen(from, to, 1);
        if *code == "1333" {
            bad.push_str(second);
        }
        let findings = lint_at(bad.as_bytes(), &expected(&VIOSTOR, Arch::Amd64), TIME);
        assert!(
            findings.iter().any(|finding| finding.code == *code),
            "{code} for {to:?} not among {findings:#?}"
        );
    }
}

#[test]
fn every_rule_has_a_mutation() {
    for (code, ..) in RULES {
        assert!(MUTATIONS.iter().any(|mutation| mutation.0 == *code), "no mutation for {code}");
    }
}

#[test]
fn a_finding_names_its_line_and_what_to_do() {
    let bad = stamped(&VIOSTOR, Arch::Amd64).replace("PnpLockdown = 1", "PnpLockdown = 0");
    let line = 1 + bad.lines().position(|line| line.starts_with("PnpLockdown")).unwrap();
    let findings = lint_at(bad.as_bytes(), &expected(&VIOSTOR, Arch::Amd64), TIME);
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert!(finding.to_string().starts_with(&format!("line {line}: error 1324: ")), "{finding}");
}

#[test]
fn the_other_drivers_inf_is_refused() {
    let codes: Vec<_> =
        lint_at(stamped(&VIOSTOR, Arch::Amd64).as_bytes(), &expected(ALL[1], Arch::Amd64), TIME)
            .iter()
            .map(|finding| finding.code)
            .collect();
    for code in ["hardware-ids", "service-name", "catalogue-name", "bus-type"] {
        assert!(codes.contains(&code), "{code} not in {codes:?}");
    }
}
