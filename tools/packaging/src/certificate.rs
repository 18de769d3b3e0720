//! The throw-away certificate of the test signature: RSA-2048, SHA-256, for code signing, signed by itself.
//!
//! It stands for Microsoft's signature on machines in test-signing mode. It is made once under `target/cert` and used
//! again as long as it is there, so that all packages of one work tree carry the same one. Its key stays in that folder
//! with mode 0600; packages and ISO get the certificate alone, as DER for import on Windows.

use crate::context::{civil, now};
use crate::mode::{create_private_file, create_private_folder, require_private};
use crate::tool::OPENSSL;
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// File name of the certificate in packages and on the ISO.
pub const CER_FILE: &str = "virtio-storage-test.cer";

const SUBJECT: &str = "/O=Rust virtio storage drivers/CN=Rust virtio storage test signing";

/// Where the parts of a code-signing certificate are.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate as PEM, for the signing tool.
    pub pem: PathBuf,
    /// The certificate as DER, for import on Windows.
    pub cer: PathBuf,
    /// The private key as PEM. Never copied anywhere.
    pub key: PathBuf,
}

/// The certificate in `folder`, made now if there is none. `time` is the moment signatures will claim; the certificate
/// is valid from a day before it (or before now, if that is earlier) for ten years from now.
///
/// # Errors
/// When the folder cannot be written, or openssl is missing or fails.
pub fn load_or_create(folder: &Path, time: i64) -> Result<Certificate> {
    let certificate = Certificate {
        pem: folder.join("virtio-storage-test.crt.pem"),
        cer: folder.join(CER_FILE),
        key: folder.join("virtio-storage-test.key.pem"),
    };
    let context = || format!("the test certificate could not be made in {}", folder.display());
    create_private_folder(folder).with_context(context)?;
    // Two runs at once must not leave the key of one with the certificate of the other.
    let lock = fs::File::create(folder.join(".lock")).with_context(context)?;
    lock.lock().with_context(context)?;
    if !(certificate.pem.is_file() && certificate.cer.is_file() && certificate.key.is_file()) {
        create(folder, &certificate, time).with_context(context)?;
    }
    check(&certificate)?;
    Ok(certificate)
}

fn create(folder: &Path, certificate: &Certificate, time: i64) -> Result<()> {
    let work = tempfile::Builder::new().prefix(".new-").tempdir_in(folder)?;
    let path = |name: &str| work.path().join(name);

    // `openssl req -x509` starts validity at this very second, but a signature claims the date of the sources, and a
    // guest's clock may run hours behind. `openssl ca` takes the first day from us.
    fs::write(path("index.txt"), "")?;
    fs::write(
        path("ca.cnf"),
        format!(
            "[ca]\ndefault_ca = self\n\
             [self]\ndatabase = {folder}/index.txt\nnew_certs_dir = {folder}\nrand_serial = yes\ndefault_md = sha256\n\
             policy = any\nx509_extensions = code_signing\nunique_subject = no\npreserve = yes\n\
             [any]\norganizationName = optional\ncommonName = supplied\n\
             [code_signing]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
             extendedKeyUsage = critical,codeSigning\nsubjectKeyIdentifier = hash\n",
            folder = work.path().display()
        ),
    )?;
    // Made before openssl writes into it: the key is at no moment readable by others.
    create_private_file(&path("key.pem"))?;
    openssl(&[
        &"genpkey",
        &"-algorithm",
        &"RSA",
        &"-pkeyopt",
        &"rsa_keygen_bits:2048",
        &"-out",
        &path("key.pem"),
    ])?;
    openssl(&[
        &"req",
        &"-new",
        &"-sha256",
        &"-key",
        &path("key.pem"),
        &"-subj",
        &SUBJECT,
        &"-out",
        &path("csr.pem"),
    ])?;
    let day = 86_400;
    let first = asn1_time(civil(time.min(now()) - day)?);
    let last = asn1_time(civil(now() + 3650 * day)?);
    openssl(&[
        &"ca",
        &"-batch",
        &"-selfsign",
        &"-notext",
        &"-config",
        &path("ca.cnf"),
        &"-keyfile",
        &path("key.pem"),
        &"-startdate",
        &first,
        &"-enddate",
        &last,
        &"-in",
        &path("csr.pem"),
        &"-out",
        &path("crt.pem"),
    ])?;
    openssl(&[&"x509", &"-in", &path("crt.pem"), &"-outform", &"DER", &"-out", &path("crt.cer")])?;

    // The certificate last: an interrupted run leaves no pair that does not belong together.
    for (made, place) in
        [("key.pem", &certificate.key), ("crt.pem", &certificate.pem), ("crt.cer", &certificate.cer)]
    {
        fs::rename(path(made), place)?;
    }
    Ok(())
}

/// That key and certificate belong together, and that nobody else can read the key.
fn check(certificate: &Certificate) -> Result<()> {
    let advice = || {
        let folder = certificate.key.parent().unwrap_or(Path::new("."));
        format!("remove {} and it is made anew", folder.display())
    };
    require_private(&certificate.key)?;
    let of_certificate =
        openssl(&[&"x509", &"-in", &certificate.pem, &"-noout", &"-pubkey"]).with_context(advice)?;
    let of_key = openssl(&[&"pkey", &"-in", &certificate.key, &"-pubout"]).with_context(advice)?;
    ensure!(
        of_certificate == of_key,
        "the signing key {} does not belong to its certificate; {}",
        certificate.key.display(),
        advice()
    );
    Ok(())
}

fn openssl(arguments: &[&dyn AsRef<OsStr>]) -> Result<String> {
    Ok(OPENSSL.run(arguments.iter().map(|argument| argument.as_ref()))?.stdout)
}

/// YYYYMMDDhhmmssZ
fn asn1_time(date: OffsetDateTime) -> String {
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    format!("{year:04}{:02}{day:02}{hour:02}{minute:02}{second:02}Z", u8::from(month))
}
