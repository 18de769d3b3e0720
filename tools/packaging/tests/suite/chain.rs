//! From an image to the ISO, read back with tools that are not ours.

use crate::support::{Recipe, TIME, context, template};
use packaging::catalogue::File;
use packaging::driver::{self, VIOSCSI, VIOSTOR};
use packaging::extract::extract;
use packaging::image::{checksum, stored_checksum};
use packaging::package::{self, Input, Package};
use packaging::verify::{Check, all_ok, verify_iso, verify_package};
use packaging::{Arch, Context, Driver, certificate, iso};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Links and packages one driver, everything under `root`.
fn run_one(driver: &'static Driver, root: &Path) -> Package {
    let (image, symbols) = Recipe::new(driver).link(&root.join("link").join(driver.name));
    let template = template(driver);
    let input = Input { driver, arch: Arch::Amd64, image: &image, symbols: &symbols, template: &template };
    package::build(&context(), input, &root.join("package")).unwrap()
}

/// The whole chain.
fn run(root: &Path) -> (Vec<Package>, PathBuf) {
    let packages: Vec<Package> = driver::ALL.into_iter().map(|driver| run_one(driver, root)).collect();
    let output = root.join("iso/virtio-storage.iso");
    iso::build(&context(), &packages, &output).unwrap();
    (packages, output)
}

fn failed(checks: &[Check]) -> Vec<String> {
    checks.iter().filter(|check| !check.ok).map(ToString::to_string).collect()
}

/// Standard output and error of a program, and whether it succeeded.
fn tool(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x01;
    fs::write(path, bytes).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn package_and_iso_pass_every_check() {
    let folder = TempDir::new().unwrap();
    let (packages, iso) = run(folder.path());

    for package in &packages {
        assert_eq!(package.warnings, Vec::<String>::new());
        let checks = verify_package(&package.folder, None).unwrap();
        assert!(all_ok(&checks), "{:#?}", failed(&checks));
        assert!(checks.len() >= 18, "{checks:#?}");
    }
    let checks = verify_iso(&iso).unwrap();
    assert!(all_ok(&checks), "{:#?}", failed(&checks));
    assert!(
        checks.iter().any(|check| check.name == "vioscsi/w11/amd64 vioscsi.cat signature"),
        "{checks:#?}"
    );
}

#[test]
fn a_package_has_its_five_files_and_no_key() {
    let folder = TempDir::new().unwrap();
    let package = run_one(&VIOSTOR, folder.path());

    assert_eq!(package.folder, folder.path().join("package/viostor/w11/amd64"));
    let files = ["viostor.cat", "viostor.inf", "viostor.pdb", "viostor.sys", "virtio-storage-test.cer"];
    assert_eq!(names(&package.folder), files);
    // Nothing half-made is left beside it.
    assert_eq!(names(&folder.path().join("package")), ["viostor"]);
    // The key, as PEM's base64 and as the bytes that stands for, is in none of them.
    let key = fs::read_to_string(context().certificate.key).unwrap();
    let line = key.lines().nth(10).unwrap().as_bytes();
    for name in files {
        let bytes = fs::read(package.folder.join(name)).unwrap();
        assert!(!bytes.windows(line.len()).any(|window| window == line), "{name} has the key");
    }
}

#[test]
fn a_stray_key_in_a_package_is_noticed() {
    let folder = TempDir::new().unwrap();
    let package = run_one(&VIOSTOR, folder.path());
    fs::copy(context().certificate.key, package.folder.join("viostor.txt")).unwrap();

    let checks = verify_package(&package.folder, None).unwrap();
    let failed = failed(&checks);
    assert!(failed.iter().any(|check| check.starts_with("not ok no key")), "{failed:#?}");
    assert!(failed.iter().any(|check| check.starts_with("not ok files")), "{failed:#?}");
}

#[test]
fn a_changed_byte_in_any_file_fails_the_package() {
    let folder = TempDir::new().unwrap();
    let package = run_one(&VIOSTOR, folder.path());
    let path = |extension: &str| package.folder.join(VIOSTOR.file(extension));
    let text = fs::read_to_string(path("inf")).unwrap();
    let in_a_string = text.find("\"Virtio block device (Rust)\"").unwrap() + 3;
    let cat = fs::read(path("cat")).unwrap();
    let hash = cat.windows(2).rposition(|pair| pair == [0x04, 0x20]).unwrap() + 5;

    for (extension, place, wanted) in [
        ("sys", 0x420, "not ok viostor.sys signature"),
        ("sys", 0x420, "not ok viostor.sys in viostor.cat"),
        ("sys", 0x420, "not ok viostor.sys checksum"),
        ("inf", in_a_string, "not ok viostor.inf SHA-256 in viostor.cat"),
        ("inf", in_a_string, "not ok viostor.inf SHA-1 in viostor.cat"),
        ("cat", hash, "not ok viostor.cat signature"),
    ] {
        flip(&path(extension), place);
        let failed = failed(&verify_package(&package.folder, None).unwrap());
        assert!(failed.iter().any(|check| check.starts_with(wanted)), "{extension}: {failed:#?}");
        flip(&path(extension), place);
    }
    assert!(all_ok(&verify_package(&package.folder, None).unwrap()));
}

#[test]
fn signing_leaves_the_checksum_right_and_another_certificate_is_refused() {
    let folder = TempDir::new().unwrap();
    let package = run_one(&VIOSCSI, folder.path());
    let image = package.folder.join("vioscsi.sys");

    let bytes = fs::read(&image).unwrap();
    assert_eq!(stored_checksum(&bytes), checksum(&bytes));
    assert_ne!(
        checksum(&bytes),
        checksum(&fs::read(folder.path().join("link/vioscsi/vioscsi.sys")).unwrap())
    );

    let other = certificate::load_or_create(&folder.path().join("other"), TIME).unwrap();
    let verify = |pem: &Path| {
        tool("osslsigncode", &["verify", "-CAfile", pem.to_str().unwrap(), "-in", image.to_str().unwrap()])
    };
    assert!(verify(&context().certificate.pem).0);
    assert!(!verify(&other.pem).0);
}

#[test]
fn an_image_is_not_in_another_drivers_catalogue() {
    let folder = TempDir::new().unwrap();
    let (packages, _) = run(folder.path());
    let [viostor, vioscsi] = packages.as_slice() else { panic!("{packages:?}") };
    let pem = context().certificate.pem;
    let verify = |catalogue: PathBuf, image: PathBuf| {
        let [pem, catalogue, image] = [&pem, &catalogue, &image].map(|path| path.to_str().unwrap());
        tool("osslsigncode", &["verify", "-CAfile", pem, "-catalog", catalogue, "-in", image])
    };

    let image = viostor.folder.join("viostor.sys");
    let (own, text) = verify(viostor.folder.join("viostor.cat"), image.clone());
    assert!(own, "{text}");
    assert!(!verify(vioscsi.folder.join("vioscsi.cat"), image.clone()).0);
    // The catalogue covers the unsigned image as well: the hash leaves the signature out.
    let unsigned = File::read(&folder.path().join("link/viostor/viostor.sys")).unwrap();
    assert_eq!(unsigned, File::read(&image).unwrap());
}

#[test]
fn two_runs_in_two_folders_are_bit_identical() {
    let (first, second) =
        (TempDir::new().unwrap(), TempDir::with_prefix("another-place-with-a-longer-name").unwrap());
    let (packages, iso) = run(first.path());
    let (other_packages, other_iso) = run(second.path());

    for (package, other) in packages.iter().zip(&other_packages) {
        for name in names(&package.folder) {
            let same =
                fs::read(package.folder.join(&name)).unwrap() == fs::read(other.folder.join(&name)).unwrap();
            assert!(same, "{name} differs");
        }
    }
    assert!(fs::read(iso).unwrap() == fs::read(other_iso).unwrap(), "the ISOs differ");
}

#[test]
fn the_iso_has_the_packages_files_under_the_names_windows_sees() {
    let folder = TempDir::new().unwrap();
    let (packages, iso) = run(folder.path());
    let iso_name = iso.to_str().unwrap();

    let (_, listing) = tool("7z", &["l", "-slt", iso_name]);
    for path in [
        "viostor/w11/amd64/viostor.inf",
        "vioscsi/w11/amd64/vioscsi.pdb",
        "$WinPEDriver$/viostor/viostor.sys",
        "$WinPEDriver$/vioscsi/vioscsi.cat",
        "cert/virtio-storage-test.cer",
        "data/info.json",
    ] {
        assert!(listing.contains(&format!("Path = {path}\n")), "{path} is not in {listing}");
    }
    assert!(!listing.contains("$WinPEDriver$/viostor/viostor.pdb"), "Setup needs no debug information");
    let (_, descriptor) = tool("xorriso", &["-no_rc", "-indev", iso_name, "-pvd_info"]);
    assert!(descriptor.contains("Volume Id    : VIRTIO_RS_0_1_0"), "{descriptor}");
    assert!(descriptor.contains("Creation Time: 2026010203040500"), "{descriptor}");

    let taken = folder.path().join("taken/viostor.sys");
    extract(&iso, &iso::path_of(&VIOSTOR, Arch::Amd64, "sys"), &taken).unwrap();
    extract(&iso, "viostor/w11/amd64/viostor.sys", &taken).unwrap(); // replaces
    assert!(fs::read(taken).unwrap() == fs::read(packages[0].folder.join("viostor.sys")).unwrap());
}

#[test]
fn what_is_not_on_the_iso_is_a_clear_message() {
    let folder = TempDir::new().unwrap();
    let (_, iso) = run(folder.path());

    let error =
        extract(&iso, "viostor/w10/x86/viostor.sys", &folder.path().join("x")).unwrap_err().to_string();
    assert!(error.contains("/viostor/w10/x86/viostor.sys could not be taken out of"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    let error =
        extract(Path::new("/nonexistent.iso"), "x", &folder.path().join("x")).unwrap_err().to_string();
    assert_eq!(error, "there is no ISO /nonexistent.iso; make it first");
}

#[test]
fn a_damaged_iso_fails() {
    let folder = TempDir::new().unwrap();
    let (packages, iso) = run(folder.path());
    let image = fs::read(packages[0].folder.join("viostor.sys")).unwrap();
    let bytes = fs::read(&iso).unwrap();
    // Both names of the file, in the driver's folder and in Setup's, are hard to tell apart here: change them all.
    let places: Vec<usize> = (0..bytes.len() - image.len())
        .step_by(2048)
        .filter(|start| bytes[*start..].starts_with(&image))
        .collect();
    assert!(!places.is_empty());
    for place in places {
        flip(&iso, place + 0x420);
    }

    let failed = failed(&verify_iso(&iso).unwrap());
    assert!(
        failed.iter().any(|check| check.contains("viostor/w11/amd64 viostor.sys signature")),
        "{failed:#?}"
    );
}

#[test]
fn the_certificate_is_for_code_signing_and_its_key_is_private() {
    let folder = TempDir::new().unwrap();
    let made = certificate::load_or_create(&folder.path().join("cert"), TIME).unwrap();

    let text =
        tool("openssl", &["x509", "-inform", "DER", "-in", made.cer.to_str().unwrap(), "-noout", "-text"]).1;
    for wanted in
        ["sha256WithRSAEncryption", "Public-Key: (2048 bit)", "Code Signing", "CA:FALSE", "Digital Signature"]
    {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    // Valid already at the moment the signatures claim.
    assert!(text.contains("Not Before: Jan  1 03:04:05 2026 GMT"), "{text}");
    assert_eq!(fs::metadata(&made.key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(folder.path().join("cert")).unwrap().permissions().mode() & 0o777, 0o700);
    // The second time it is the same one.
    let again = certificate::load_or_create(&folder.path().join("cert"), TIME + 1).unwrap();
    assert_eq!(fs::read(&made.cer).unwrap(), fs::read(&again.cer).unwrap());
}

#[test]
fn a_key_that_others_can_read_or_that_belongs_elsewhere_is_refused() {
    let folder = TempDir::new().unwrap();
    let first = certificate::load_or_create(&folder.path().join("first"), TIME).unwrap();
    let second = certificate::load_or_create(&folder.path().join("second"), TIME).unwrap();

    fs::copy(&second.key, &first.key).unwrap();
    let error = certificate::load_or_create(&folder.path().join("first"), TIME).unwrap_err().to_string();
    assert!(error.contains("does not belong to its certificate; remove "), "{error}");
    fs::set_permissions(&second.key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = certificate::load_or_create(&folder.path().join("second"), TIME).unwrap_err().to_string();
    assert!(error.contains("others may read "), "{error}");
}

#[test]
fn a_bad_input_leaves_the_package_that_was_there() {
    let folder = TempDir::new().unwrap();
    let package = run_one(&VIOSTOR, folder.path());
    let before = fs::read(package.folder.join("viostor.cat")).unwrap();
    let link = folder.path().join("link/viostor");
    let (image, symbols, template) = (link.join("viostor.sys"), link.join("viostor.pdb"), template(&VIOSTOR));
    let build = |image: &Path, symbols: &Path, template: &Path, context: &Context| {
        let input = Input { driver: &VIOSTOR, arch: Arch::Amd64, image, symbols, template };
        format!("{:#}", package::build(context, input, &folder.path().join("package")).unwrap_err())
    };
    let damaged = folder.path().join("damaged.sys");
    let wrong = folder.path().join("wrong.inx");
    fs::write(&damaged, &fs::read(&image).unwrap()[..900]).unwrap();
    fs::write(&wrong, fs::read_to_string(&template).unwrap().replace("PnpLockdown = 1", "PnpLockdown = 0"))
        .unwrap();

    let missing = build(Path::new("/nonexistent.sys"), &symbols, &template, &context());
    assert_eq!(missing, "there is no driver image /nonexistent.sys; build it first");
    let damaged = build(&damaged, &symbols, &template, &context());
    assert!(damaged.contains("damaged.sys: error ["), "{damaged}");
    let wrong = build(&image, &symbols, &wrong, &context());
    assert!(
        wrong.contains("wrong.inx: line ") && wrong.contains("error 1324: PnpLockdown is not 1"),
        "{wrong}"
    );
    let other_version =
        build(&image, &symbols, &template, &Context { version: "0.2.0".parse().unwrap(), ..context() });
    assert!(
        other_version.contains("[version-resource]: file version 0.1.0.0, DriverVer is 0.2.0.0"),
        "{other_version}"
    );
    let future = build(
        &image,
        &symbols,
        &template,
        &Context { time: packaging::context::now() + 172_800, ..context() },
    );
    assert!(future.contains("viostor.inx: ") && future.contains("is still to come"), "{future}");

    assert_eq!(fs::read(package.folder.join("viostor.cat")).unwrap(), before);
    assert_eq!(names(&folder.path().join("package")), ["viostor"]);
}
