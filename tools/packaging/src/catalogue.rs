//! The catalogue (`.cat`): a signed list of the hashes of a package's files.
//!
//! It is PKCS #7 SignedData whose content is a certificate trust list. The structure was measured on genuine catalogues
//! of Microsoft's Inf2Cat, version 2 (SHA-256), and up to the signature ours have the same bytes:
//!
//! ```text
//! CTL
//!   subjectUsage      catalogue list
//!   listIdentifier    16 bytes; random in genuine ones, here taken from the content's hash
//!   thisUpdate        the date of the sources
//!   subjectAlgorithm  catalogue list member, version 2
//!   members           one for the SHA-1 and one for the SHA-256 of each file, ordered by hash
//!   extensions        OS, then HWIDn down to HWID1
//! ```
//!
//! An image is hashed as Authenticode hashes it, without checksum and signature, so it does not matter whether it is
//! signed before or after; every other file is hashed whole.

use anyhow::{Context as _, Result, bail};
use authenticode::{
    DigestInfo, SpcAttributeTypeAndOptionalValue, SpcIndirectDataContent, authenticode_digest,
};
use cms::cert::x509::attr::{Attribute, Attributes};
use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{EncapsulatedContentInfo, SignedData, SignerInfos};
use der::asn1::{Any, BmpString, ObjectIdentifier, OctetString, SetOfVec, UtcTime};
use der::{Decode, Encode, Sequence};
use object::read::pe::PeFile64;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::time::Duration;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// szOID_CTL
const TRUST_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.10.1");
/// szOID_CATALOG_LIST
const CATALOGUE_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.1");
/// szOID_CATALOG_LIST_MEMBER_V2
const LIST_MEMBER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.3");
/// CAT_NAMEVALUE_OBJID
const NAME_VALUE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.1");
/// CAT_MEMBERINFO2_OBJID
const MEMBER_INFO_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.3");
/// SPC_INDIRECT_DATA_OBJID
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// SPC_PE_IMAGE_DATA_OBJID
const PE_IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
/// SPC_CAB_DATA_OBJID; Inf2Cat gives it to every file that is no image.
const FLAT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.25");

/// SpcPeImageData as genuine catalogues have it: no flags, of which 5 bits are unused, and an empty file link.
const PE_IMAGE_VALUE: &[u8] = &[0x30, 0x0A, 0x03, 0x02, 0x05, 0xA0, 0xA0, 0x04, 0xA2, 0x02, 0x80, 0x00];
/// SpcLink of a flat file: [2] { [0] "" }.
const FLAT_VALUE: &[u8] = &[0xA2, 0x02, 0x80, 0x00];
/// Member info of an image and of a flat file.
const PE_MEMBER: &[u8] = &[0x80, 0x00];
const FLAT_MEMBER: &[u8] = &[0x82, 0x00];

/// CRYPTCAT_ATTR_NAMEASCII | CRYPTCAT_ATTR_DATAASCII | CRYPTCAT_ATTR_AUTHENTICATED
const NAME_VALUE_FLAGS: u32 = 0x1001_0001;
/// The attribute that says for which Windows a member is: 2 is Windows NT, 10.0 its version.
const OS_ATTRIBUTE: &str = "2:10.0";

/// A file's hashes, as a catalogue lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name without folder; the catalogue has it in lower case.
    pub name: String,
    /// How the file was hashed.
    pub kind: Kind,
    /// SHA-1, for readers older than Windows 8.
    pub sha1: [u8; 20],
    /// SHA-256, which counts.
    pub sha256: [u8; 32],
}

/// How a file is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A PE image: without its checksum and signature.
    Image,
    /// Anything else: all bytes.
    Flat,
}

impl File {
    /// Hashes the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is named like an image and is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let name = path.file_name().context("a file without a name")?.to_string_lossy().into_owned();
        Self::from_bytes(&name, &bytes).with_context(|| path.display().to_string())
    }

    /// Hashes the bytes of a file called `name`.
    ///
    /// # Errors
    /// When it is named like an image and is none.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let extension = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let kind = if matches!(extension.as_str(), "sys" | "dll" | "exe") { Kind::Image } else { Kind::Flat };
        let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
        match kind {
            Kind::Image => {
                let image = PeFile64::parse(bytes).context("not a 64-bit PE image")?;
                for digest in [&mut sha1 as &mut dyn sha2::digest::Update, &mut sha256] {
                    authenticode_digest(&image, digest).map_err(|error| {
                        anyhow::anyhow!("the image's headers contradict its length: {error}")
                    })?;
                }
            }
            Kind::Flat => {
                Digest::update(&mut sha1, bytes);
                Digest::update(&mut sha256, bytes);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            sha1: sha1.finalize().into(),
            sha256: sha256.finalize().into(),
        })
    }
}

/// What a catalogue says.
#[derive(Clone, Debug)]
pub struct Catalogue<'a> {
    /// The package's files: the INF and all it copies.
    pub files: &'a [File],
    /// Operating systems, as [`crate::Arch::catalogue_os`] has them.
    pub os: &'a str,
    /// Hardware ids in the order of the INF.
    pub hardware_ids: &'a [String],
    /// Seconds since 1970.
    pub time: i64,
}

#[derive(Sequence)]
struct TrustList {
    subject_usage: Vec<ObjectIdentifier>,
    list_identifier: OctetString,
    this_update: UtcTime,
    subject_algorithm: AlgorithmIdentifierOwned,
    members: Vec<Member>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Clone, Sequence)]
struct Member {
    tag: OctetString,
    attributes: Attributes,
}

#[derive(Clone, Sequence)]
struct Extension {
    name: ObjectIdentifier,
    value: OctetString,
}

#[derive(Sequence)]
struct NameValue {
    name: BmpString,
    flags: u32,
    /// UTF-16LE with a zero at the end.
    value: OctetString,
}

impl Catalogue<'_> {
    /// The unsigned catalogue, ready for [`crate::sign::sign_catalogue`].
    ///
    /// # Errors
    /// When two files have the same name or content, or a value does not fit its ASN.1 type.
    pub fn to_der(&self) -> Result<Vec<u8>> {
        let list = Any::from_der(&self.trust_list()?)?;
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::new(),
            encap_content_info: EncapsulatedContentInfo { econtent_type: TRUST_LIST, econtent: Some(list) },
            certificates: None,
            crls: None,
            signer_infos: SignerInfos(SetOfVec::new()),
        };
        let info = ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&signed)? };
        Ok(info.to_der()?)
    }

    /// The trust list alone: what is signed.
    ///
    /// # Errors
    /// As [`Catalogue::to_der`].
    pub fn trust_list(&self) -> Result<Vec<u8>> {
        let members = members(self.files)?;
        let mut extensions = vec![extension("OS", self.os)?];
        for (index, id) in self.hardware_ids.iter().enumerate().rev() {
            extensions.push(extension(&format!("HWID{}", index + 1), &id.to_lowercase())?);
        }
        // The same content has the same identifier, another content another.
        let mut hash = Sha256::new();
        hash.update(members.to_der()?);
        hash.update(extensions.to_der()?);
        let since = u64::try_from(self.time).context("a date before 1970")?;
        let list = TrustList {
            subject_usage: vec![CATALOGUE_LIST],
            list_identifier: OctetString::new(&hash.finalize()[..16])?,
            this_update: UtcTime::from_unix_duration(Duration::from_secs(since))
                .context("the catalogue's date does not fit UTCTime")?,
            subject_algorithm: AlgorithmIdentifierOwned {
                oid: LIST_MEMBER_V2,
                parameters: Some(Any::null()),
            },
            members,
            extensions,
        };
        Ok(list.to_der()?)
    }
}

/// The member list as DER, for comparing with that of a genuine catalogue.
///
/// # Errors
/// As [`Catalogue::to_der`].
pub fn member_list(files: &[File]) -> Result<Vec<u8>> {
    Ok(members(files)?.to_der()?)
}

fn members(files: &[File]) -> Result<Vec<Member>> {
    for (index, file) in files.iter().enumerate() {
        let twin = files[..index]
            .iter()
            .find(|other| other.name.eq_ignore_ascii_case(&file.name) || other.sha256 == file.sha256);
        if let Some(other) = twin {
            bail!("{} and {} have the same name or content", other.name, file.name);
        }
    }
    let mut members = Vec::new();
    for file in files {
        members.push(member(file, &file.sha1, None)?);
        members.push(member(file, &file.sha256, Some(indirect_data(file)?))?);
    }
    members.sort_by(|a, b| a.tag.as_bytes().cmp(b.tag.as_bytes()));
    Ok(members)
}

/// `SetOfVec` puts the attributes in DER order, which changes with the length of the name.
fn member(file: &File, tag: &[u8], indirect: Option<Attribute>) -> Result<Member> {
    let info = match file.kind {
        Kind::Image => PE_MEMBER,
        Kind::Flat => FLAT_MEMBER,
    };
    let mut attributes = vec![
        attribute(MEMBER_INFO_V2, Any::from_der(info)?)?,
        attribute(NAME_VALUE, Any::encode_from(&name_value("OSAttr", OS_ATTRIBUTE)?)?)?,
        attribute(NAME_VALUE, Any::encode_from(&name_value("File", &file.name.to_lowercase())?)?)?,
    ];
    attributes.extend(indirect);
    Ok(Member { tag: OctetString::new(tag)?, attributes: SetOfVec::try_from(attributes)? })
}

fn indirect_data(file: &File) -> Result<Attribute> {
    let (value_type, value) = match file.kind {
        Kind::Image => (PE_IMAGE_DATA, PE_IMAGE_VALUE),
        Kind::Flat => (FLAT_DATA, FLAT_VALUE),
    };
    let content = SpcIndirectDataContent {
        data: SpcAttributeTypeAndOptionalValue { value_type, value: Any::from_der(value)? },
        message_digest: DigestInfo {
            digest_algorithm: AlgorithmIdentifierOwned { oid: SHA256, parameters: Some(Any::null()) },
            digest: OctetString::new(file.sha256)?,
        },
    };
    attribute(INDIRECT_DATA, Any::encode_from(&content)?)
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Result<Attribute> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
}

fn extension(name: &str, value: &str) -> Result<Extension> {
    Ok(Extension { name: NAME_VALUE, value: OctetString::new(name_value(name, value)?.to_der()?)? })
}

fn name_value(name: &str, value: &str) -> Result<NameValue> {
    let utf16: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    Ok(NameValue {
        name: BmpString::from_utf8(name)?,
        flags: NAME_VALUE_FLAGS,
        value: OctetString::new(utf16)?,
    })
}
