//! Reads a package or an ISO back with programs that are not ours, and tries whether a changed byte is noticed.
//!
//! The answer is a list of [`Check`]s, for the project's end-to-end test and for a person. What is asked of whom:
//! signatures and the image's membership of osslsigncode, the INF's membership of `openssl asn1parse` (osslsigncode has
//! no opinion on flat files), the certificate of `openssl x509`, the ISO of 7z (Joliet) and xorriso (Rock Ridge).

use crate::certificate::CER_FILE;
use crate::context::Version;
use crate::driver::{self, Arch, Driver};
use crate::extract::{extract, extract_all};
use crate::image::{self, checksum, stored_checksum};
use crate::inf::Inf;
use crate::iso::SETUP_FOLDER;
use crate::lint;
use crate::package::{WINDOWS, folder};
use crate::tool::{OPENSSL, OSSLSIGNCODE};
use anyhow::{Context as _, Result, bail, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about, such as `viostor.cat signature`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", if self.ok { "ok" } else { "not ok" }, self.name, self.detail)
    }
}

/// Checks the package in `package`, a folder of `<driver>.{inf,sys,cat}` and, where they are, `.pdb` and `.cer`. A
/// folder without a certificate needs `certificate`.
///
/// # Errors
/// When nothing can be said: the folder or its INF cannot be read, or a tool is missing.
pub fn verify_package(package: &Path, certificate: Option<&Path>) -> Result<Vec<Check>> {
    let verifier = Verifier::new(package, certificate)?;
    let mut checks = Checks(Vec::new());
    verifier.names(&mut checks);
    verifier.certificate(&mut checks);
    verifier.inf(&mut checks)?;
    verifier.image(&mut checks)?;
    verifier.signatures(&mut checks)?;
    verifier.membership(&mut checks)?;
    verifier.changed_bytes(&mut checks)?;
    Ok(checks.0)
}

/// Checks the ISO: that both of its trees are the same, what is on it, and every package in it.
///
/// # Errors
/// When nothing can be said: the file cannot be read, or a tool is missing.
pub fn verify_iso(iso: &Path) -> Result<Vec<Check>> {
    let work = tempfile::tempdir()?;
    let (joliet, rock_ridge) = (work.path().join("joliet"), work.path().join("rock-ridge"));
    extract_all(iso, &joliet)?;
    extract(iso, "/", &rock_ridge)?;
    let mut checks = Checks(Vec::new());

    let (windows_view, linux_view) = (read_tree(&joliet)?, read_tree(&rock_ridge)?);
    checks.add("ISO trees", windows_view == linux_view && !windows_view.is_empty(), || {
        format!("{} files by 7z (Joliet), {} by xorriso (Rock Ridge)", windows_view.len(), linux_view.len())
    });
    let keys: Vec<_> =
        windows_view.iter().filter(|(name, bytes)| is_key(name, bytes)).map(|(name, _)| name).collect();
    checks.add("ISO has no key", keys.is_empty(), || format!("{keys:?} among {} files", windows_view.len()));
    let certificate = joliet.join("cert").join(CER_FILE);
    checks.add("ISO certificate", certificate.is_file(), || format!("cert/{CER_FILE}"));
    let info: Option<serde_json::Value> =
        windows_view.get("data/info.json").and_then(|bytes| serde_json::from_slice(bytes).ok());
    let listed: Vec<String> = info
        .as_ref()
        .and_then(|info| info["drivers"].as_array())
        .into_iter()
        .flatten()
        .filter_map(|driver| driver["inf_path"].as_str().map(str::to_owned))
        .collect();
    checks.add(
        "ISO manifest",
        !listed.is_empty() && listed.iter().all(|path| windows_view.contains_key(path)),
        || format!("data/info.json names {listed:?}"),
    );

    for driver in driver::ALL {
        let mut found = false;
        for arch in [Arch::Amd64, Arch::Arm64] {
            let package = folder(&joliet, driver, arch);
            if !package.is_dir() {
                continue;
            }
            found = true;
            let prefix = format!("{}/{WINDOWS}/{arch} ", driver.name);
            let package_checks = verify_package(&package, Some(&certificate))?;
            checks.0.extend(
                package_checks.into_iter().map(|check| Check { name: prefix.clone() + &check.name, ..check }),
            );
        }
        checks
            .add(&format!("ISO has {}", driver.name), found, || format!("{}/{WINDOWS}/<arch>", driver.name));
        let setup = format!("{SETUP_FOLDER}/{}/", driver.name);
        let same = ["inf", "sys", "cat"].iter().all(|extension| {
            let name = driver.file(extension);
            let own = windows_view.get(&(setup.clone() + &name));
            let place = |arch: Arch| windows_view.get(&format!("{}/{WINDOWS}/{arch}/{name}", driver.name));
            own.is_some() && [Arch::Amd64, Arch::Arm64].into_iter().any(|arch| place(arch) == own)
        });
        checks.add(&format!("ISO Setup folder {}", driver.name), same, || {
            format!("{setup} has the package's files")
        });
    }
    Ok(checks.0)
}

/// Whether every check is as it should be.
pub fn all_ok(checks: &[Check]) -> bool {
    !checks.is_empty() && checks.iter().all(|check| check.ok)
}

struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &str, ok: bool, detail: impl FnOnce() -> String) {
        self.0.push(Check { name: name.to_owned(), ok, detail: detail() });
    }
}

struct Verifier {
    package: PathBuf,
    driver: &'static Driver,
    arch: Arch,
    inf: Inf,
    inf_bytes: Vec<u8>,
    cer: PathBuf,
    /// The certificate as PEM, and copies of files with a changed byte.
    work: tempfile::TempDir,
}

impl Verifier {
    fn new(package: &Path, certificate: Option<&Path>) -> Result<Self> {
        let driver = driver::ALL
            .into_iter()
            .find(|driver| package.join(driver.file("inf")).is_file())
            .with_context(|| format!("{} has neither viostor.inf nor vioscsi.inf", package.display()))?;
        let inf_bytes = fs::read(package.join(driver.file("inf")))?;
        let inf = Inf::parse(&inf_bytes).with_context(|| driver.file("inf"))?;
        let names_arm =
            inf.models_sections().iter().any(|name| name.to_ascii_lowercase().contains(".ntarm64"));
        let arch = if names_arm { Arch::Arm64 } else { Arch::Amd64 };
        let own = package.join(CER_FILE);
        let cer = match certificate {
            _ if own.is_file() => own,
            Some(path) => path.to_owned(),
            None => bail!("{} has no {CER_FILE}; name the certificate", package.display()),
        };
        let work = tempfile::tempdir()?;
        let verifier = Self { package: package.to_owned(), driver, arch, inf, inf_bytes, cer, work };
        OPENSSL
            .run([
                "x509".as_ref(),
                "-inform".as_ref(),
                "DER".as_ref(),
                "-in".as_ref(),
                verifier.cer.as_os_str(),
                "-out".as_ref(),
                verifier.pem().as_os_str(),
            ])
            .with_context(|| verifier.cer.display().to_string())?;
        Ok(verifier)
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.package.join(self.driver.file(extension))
    }

    fn pem(&self) -> PathBuf {
        self.work.path().join("certificate.pem")
    }

    fn names(&self, checks: &mut Checks) {
        let names: BTreeSet<String> = read_tree(&self.package).unwrap_or_default().into_keys().collect();
        let mut wanted: BTreeSet<String> =
            ["inf", "sys", "cat"].map(|extension| self.driver.file(extension)).into();
        let missing: Vec<_> = wanted.difference(&names).cloned().collect();
        wanted.extend([self.driver.file("pdb"), CER_FILE.to_owned()]);
        let others: Vec<_> = names.difference(&wanted).cloned().collect();
        checks.add("files", missing.is_empty() && others.is_empty(), || {
            format!("{} files; missing {missing:?}, not expected {others:?}", names.len())
        });
        let keys: Vec<_> = read_tree(&self.package)
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, bytes)| is_key(name, bytes))
            .map(|(name, _)| name)
            .collect();
        checks.add("no key", keys.is_empty(), || format!("{keys:?} among {} files", names.len()));
    }

    fn certificate(&self, checks: &mut Checks) {
        let text = OPENSSL.try_run([
            "x509".as_ref(),
            "-in".as_ref(),
            self.pem().as_os_str(),
            "-noout".as_ref(),
            "-text".as_ref(),
        ]);
        let text = text.map(|output| output.stdout).unwrap_or_default();
        for (what, mark) in [
            ("SHA-256 signature", "Signature Algorithm: sha256WithRSAEncryption"),
            ("RSA 2048", "Public-Key: (2048 bit)"),
            ("for code signing", "Code Signing"),
            ("no authority", "CA:FALSE"),
        ] {
            checks
                .add(&format!("certificate {what}"), text.contains(mark), || format!("openssl x509: {mark}"));
        }
    }

    /// The version in DriverVer.
    fn version(&self) -> Result<Version> {
        let entry = self.inf.entry("Version", "DriverVer").context("the INF has no DriverVer")?;
        entry.value(1).parse()
    }

    fn inf(&self, checks: &mut Checks) -> Result<()> {
        let name = self.driver.file("inf");
        let expected = lint::Expected { driver: self.driver, arch: self.arch, version: self.version()? };
        let findings = lint::lint(&self.inf_bytes, &expected);
        checks.add(&format!("{name} rules"), findings.is_empty(), || match findings.first() {
            Some(first) => format!("{} findings, the first: {first}", findings.len()),
            None => format!("{} rules hold", lint::RULES.len()),
        });
        Ok(())
    }

    fn image(&self, checks: &mut Checks) -> Result<()> {
        let name = self.driver.file("sys");
        let bytes = fs::read(self.file("sys")).with_context(|| name.clone())?;
        let (stored, right) = (stored_checksum(&bytes), checksum(&bytes));
        checks.add(&format!("{name} checksum"), right.is_some() && stored == right, || {
            format!("{:#x} in the signed image, computed {:#x}", stored.unwrap_or(0), right.unwrap_or(0))
        });
        let symbols = self.file("pdb");
        let expected = image::Expected {
            arch: self.arch,
            version: Some(self.version()?),
            symbols: symbols.is_file().then_some(symbols.as_path()),
            file_name: Some(&name),
        };
        let (errors, warnings): (Vec<_>, Vec<_>) = image::check_file(&self.file("sys"), &expected)?
            .into_iter()
            .partition(|finding| finding.is_error);
        checks.add(&format!("{name} rules"), errors.is_empty(), || match errors.first() {
            Some(first) => format!("{} findings, the first: {first}", errors.len()),
            None => {
                let mut text = format!("{} rules hold", image::RULES.len() - warnings.len());
                for warning in &warnings {
                    let _ = write!(text, "; {warning}");
                }
                text
            }
        });
        Ok(())
    }

    fn signatures(&self, checks: &mut Checks) -> Result<()> {
        let (sys, cat) = (self.file("sys"), self.file("cat"));
        for (name, file, catalogue) in [
            (format!("{} signature", self.driver.file("sys")), &sys, None),
            (format!("{} signature", self.driver.file("cat")), &cat, None),
            (
                format!("{} in {}", self.driver.file("sys"), self.driver.file("cat")),
                &sys,
                Some(cat.as_path()),
            ),
        ] {
            let (ok, detail) = self.osslsigncode(file, catalogue)?;
            checks.add(&name, ok, || format!("osslsigncode: {detail}"));
        }
        Ok(())
    }

    fn osslsigncode(&self, file: &Path, catalogue: Option<&Path>) -> Result<(bool, String)> {
        let pem = self.pem();
        let mut arguments: Vec<&OsStr> = vec!["verify".as_ref(), "-CAfile".as_ref(), pem.as_os_str()];
        if let Some(catalogue) = catalogue {
            arguments.extend(["-catalog".as_ref(), catalogue.as_os_str()]);
        }
        arguments.extend(["-in".as_ref(), file.as_os_str()]);
        let output = OSSLSIGNCODE.try_run(arguments)?;
        // An image whose signature is missing altogether ends with exit code 1 as well.
        Ok((output.success, output.last_line()))
    }

    /// The tags (hashes) that `openssl asn1parse` finds in a catalogue.
    fn tags(&self, catalogue: &Path) -> Result<BTreeSet<String>> {
        let output = OPENSSL.run([
            "asn1parse".as_ref(),
            "-inform".as_ref(),
            "DER".as_ref(),
            "-in".as_ref(),
            catalogue.as_os_str(),
        ])?;
        let tags = output.stdout.lines().filter_map(|line| line.split_once("[HEX DUMP]:"));
        Ok(tags.map(|(_, tag)| tag.trim().to_owned()).collect())
    }

    fn membership(&self, checks: &mut Checks) -> Result<()> {
        let tags = self.tags(&self.file("cat"))?;
        let [sha1, sha256] = digests(&self.inf_bytes);
        for (what, digest) in [("SHA-1", sha1), ("SHA-256", sha256)] {
            checks.add(
                &format!("{} {what} in {}", self.driver.file("inf"), self.driver.file("cat")),
                tags.contains(&digest),
                || format!("{digest} among {} values of openssl asn1parse", tags.len()),
            );
        }
        let text = fs::read(self.file("cat"))?;
        let ids = self.inf.hardware_ids();
        let is_listed = |id: &String| {
            let utf16: Vec<u8> =
                id.to_lowercase().encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
            text.windows(utf16.len()).any(|window| window == utf16)
        };
        checks.add(
            &format!("hardware ids in {}", self.driver.file("cat")),
            !ids.is_empty() && ids.iter().all(is_listed),
            || format!("{} ids of the INF", ids.len()),
        );
        Ok(())
    }

    /// One changed byte in each file must be refused by whoever just accepted it.
    fn changed_bytes(&self, checks: &mut Checks) -> Result<()> {
        for (extension, catalogue) in [("sys", None), ("cat", None), ("sys", Some(self.file("cat")))] {
            let name = self.driver.file(extension);
            let bytes = fs::read(self.file(extension))?;
            // In the middle of an image's first section, or of the catalogue's member list.
            let place = if extension == "sys" { first_section(&bytes)? } else { member_list(&bytes)? };
            let changed = self.changed(extension, &bytes, place)?;
            let (accepted, detail) = self.osslsigncode(&changed, catalogue.as_deref())?;
            let by = if catalogue.is_some() { " by the catalogue" } else { "" };
            checks.add(&format!("{name} with byte {place:#x} changed is refused{by}"), !accepted, || {
                format!("osslsigncode: {detail}")
            });
        }
        let place = self.inf_bytes.len() / 2;
        let changed = self.changed("inf", &self.inf_bytes, place)?;
        let tags = self.tags(&self.file("cat"))?;
        let known = digests(&fs::read(changed)?).iter().filter(|digest| tags.contains(*digest)).count();
        checks.add(
            &format!("{} with byte {place:#x} changed is refused", self.driver.file("inf")),
            known == 0,
            || format!("{known} of its 2 hashes are in the catalogue"),
        );
        Ok(())
    }

    fn changed(&self, extension: &str, bytes: &[u8], place: usize) -> Result<PathBuf> {
        let mut changed = bytes.to_vec();
        *changed.get_mut(place).context("a file too short to change")? ^= 1;
        let path = self.work.path().join(self.driver.file(extension));
        fs::write(&path, changed)?;
        Ok(path)
    }
}

fn first_section(bytes: &[u8]) -> Result<usize> {
    let image = object::read::pe::PeFile64::parse(bytes)?;
    let section = image.section_table().iter().next().copied().context("an image without sections")?;
    let (start, _) = section.pe_file_range();
    Ok(usize::try_from(start)? + 4)
}

/// A byte of the first member's hash: the first octet string of 20 or 32 bytes after the list's OID.
fn member_list(bytes: &[u8]) -> Result<usize> {
    // 1.3.6.1.4.1.311.12.1.3
    let oid = [0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0C, 0x01, 0x03];
    let start =
        bytes.windows(oid.len()).position(|window| window == oid).context("no catalogue of version 2")?;
    let is_hash = |pair: &[u8]| matches!(pair, [0x04, 20 | 32]);
    let tag = bytes[start..].windows(2).position(is_hash).context("a catalogue without members")?;
    Ok(start + tag + 2)
}

/// SHA-1 and SHA-256 as openssl prints them.
fn digests(bytes: &[u8]) -> [String; 2] {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02X}")).collect();
    [hex(&Sha1::digest(bytes)), hex(&Sha256::digest(bytes))]
}

fn is_key(name: &str, bytes: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let by_name = [".key", ".pem", ".pfx", ".p12", ".pvk"].iter().any(|extension| lower.ends_with(extension));
    let mark = b"PRIVATE KEY";
    by_name || bytes.windows(mark.len()).any(|window| window == mark)
}

/// All files below `folder`, by their paths with `/` between.
fn read_tree(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a file name that is not Unicode")?;
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{prefix}{name}/"), files)?;
            } else {
                files.insert(format!("{prefix}{name}"), fs::read(entry.path())?);
            }
        }
        Ok(())
    }
    ensure!(folder.is_dir(), "there is no folder {}", folder.display());
    let mut files = BTreeMap::new();
    walk(folder, "", &mut files)?;
    Ok(files)
}
