//! Test signatures, by osslsigncode: embedded in an image, or as the signature of a catalogue.
//!
//! One self-signed certificate and no chain: a catalogue's certificates must be in DER order, and Debian 12's
//! osslsigncode 2.5 does not sort them.

use crate::context::Context;
use crate::tool::OSSLSIGNCODE;
use anyhow::{Context as _, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

/// Text in the signature (`SpcSpOpusInfo`); signtool always writes that attribute.
const DESCRIPTION: &str = "virtio storage drivers";

/// Writes a signed copy of the driver image `input` to `output`, with page hashes. The image checksum is set anew.
///
/// # Errors
/// When osslsigncode is missing or refuses the image.
pub fn sign_image(context: &Context, input: &Path, output: &Path) -> Result<()> {
    sign(context, &["-ph"], input, output)
}

/// Writes a signed copy of the catalogue `input` to `output`.
///
/// # Errors
/// When osslsigncode is missing or refuses the catalogue.
pub fn sign_catalogue(context: &Context, input: &Path, output: &Path) -> Result<()> {
    sign(context, &[], input, output)
}

fn sign(context: &Context, extra: &[&str], input: &Path, output: &Path) -> Result<()> {
    // It refuses to overwrite.
    if output.exists() {
        fs::remove_file(output).with_context(|| format!("{} cannot be replaced", output.display()))?;
    }
    let time = context.time.to_string();
    let mut arguments: Vec<OsString> =
        ["sign", "-h", "sha256"].iter().chain(extra).map(OsString::from).collect();
    let options: [(&str, &OsStr); 6] = [
        ("-certs", context.certificate.pem.as_os_str()),
        ("-key", context.certificate.key.as_os_str()),
        ("-n", DESCRIPTION.as_ref()),
        // A fixed signing time makes the signature the same every time.
        ("-time", time.as_ref()),
        ("-in", input.as_os_str()),
        ("-out", output.as_os_str()),
    ];
    for (option, value) in options {
        arguments.push(option.into());
        arguments.push(value.into());
    }
    OSSLSIGNCODE.run(arguments).with_context(|| format!("{} could not be signed", input.display()))?;
    Ok(())
}
