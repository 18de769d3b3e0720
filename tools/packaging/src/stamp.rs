//! Makes the INF of a package from its template (INX): architecture, DriverVer, line ends and encoding.
//!
//! The template is one that Microsoft's stampinf takes as well, so a Windows host with the WDK uses the same file.

use crate::context::{Version, civil, now};
use crate::driver::Arch;
use crate::inf::decode;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::Path;

/// The bytes of the INF for `arch`. DriverVer gets the day of `time` (seconds since 1970, UTC) and `version`.
///
/// # Errors
/// When the template cannot be read, has no `DriverVer` in `[Version]`, or a placeholder nobody fills; when the day is
/// still to come (Windows and Inf2Cat refuse such a package).
pub fn stamp(template: &Path, arch: Arch, time: i64, version: Version) -> Result<Vec<u8>> {
    let bytes = fs::read(template).with_context(|| format!("{} cannot be read", template.display()))?;
    let (text, _) = decode(&bytes).with_context(|| template.display().to_string())?;
    let text =
        stamp_text(&text, arch, time, now(), version).with_context(|| template.display().to_string())?;
    Ok(encode(&text))
}

/// `MM/DD/YYYY,w.x.y.z`
///
/// # Errors
/// When the moment is no date that Windows takes.
pub fn driver_ver(time: i64, version: Version) -> Result<String> {
    let (year, month, day) = civil(time)?.to_calendar_date();
    Ok(format!("{:02}/{day:02}/{year:04},{version}", u8::from(month)))
}

fn stamp_text(template: &str, arch: Arch, time: i64, now: i64, version: Version) -> Result<String> {
    let today = civil(now)?.date();
    ensure!(
        civil(time)?.date() <= today,
        "the date of the sources, {}, is still to come (today is {today}, UTC); \
         set the clock or SOURCE_DATE_EPOCH right",
        civil(time)?.date()
    );
    let driver_ver = driver_ver(time, version)?;
    let mut out = String::with_capacity(template.len() + 64);
    let (mut in_version, mut stamped) = (false, false);
    for (index, line) in template.lines().enumerate() {
        let mut line = line.replace("$ARCH$", arch.inf_name());
        let code = line.split(';').next().unwrap_or_default().trim().to_owned();
        if code.starts_with('[') {
            in_version = code.eq_ignore_ascii_case("[version]");
        }
        if in_version
            && let Some((key, _)) = code.split_once('=')
            && key.trim().eq_ignore_ascii_case("DriverVer")
        {
            let before = &line[..line.find('=').unwrap_or_default()];
            line = format!("{before}= {driver_ver}");
            stamped = true;
        }
        if let Some(name) = placeholder(&code)
            && name != "ARCH"
        {
            bail!("line {}: nobody fills the placeholder ${name}$; write its value, or $ARCH$", index + 1);
        }
        out.push_str(line.trim_end());
        out.push_str("\r\n");
    }
    ensure!(stamped, "no `DriverVer =` line in [Version]; add one, its value is filled in");
    Ok(out)
}

/// ASCII as it is; anything else as UTF-16LE with a byte order mark, which every Windows reads the same.
fn encode(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    let mark = [0xFF, 0xFE];
    mark.into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

/// The name in the first `$NAME$`. (`"$Windows NT$"` has a space and is none.)
pub(crate) fn placeholder(line: &str) -> Option<&str> {
    let mut pieces = line.split('$').skip(1);
    pieces.find(|piece| {
        !piece.is_empty()
            && line.contains(&format!("${piece}$"))
            && piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str =
        "[Version]\nSignature = \"$Windows NT$\"\nDriverVer = 0 ; x\n[M]\n%V% = D, NT$ARCH$.10.0\n";
    // 2026-01-02 03:04:05 UTC
    const TIME: i64 = 1_767_323_045;

    fn run(template: &str, time: i64, now: i64) -> Result<String> {
        stamp_text(template, Arch::Amd64, time, now, Version([1, 2, 3, 4]))
    }

    #[test]
    fn date_version_and_architecture_are_filled_in() {
        let text = run(TEMPLATE, TIME, TIME).unwrap();
        assert_eq!(
            text,
            "[Version]\r\nSignature = \"$Windows NT$\"\r\nDriverVer = 01/02/2026,1.2.3.4\r\n[M]\r\n%V% = D, NTamd64.10.0\r\n"
        );
        let arm = stamp_text(TEMPLATE, Arch::Arm64, TIME, TIME, Version([1, 0, 0, 0])).unwrap();
        assert!(arm.contains("NTarm64.10.0"), "{arm}");
    }

    #[test]
    fn a_future_date_is_refused_and_today_is_not() {
        let error = run(TEMPLATE, TIME + 86_400, TIME).unwrap_err().to_string();
        assert!(error.contains("2026-01-03, is still to come"), "{error}");
        // Later the same day in UTC: DriverVer has no time of day.
        assert!(run(TEMPLATE, TIME + 3600, TIME).is_ok());
    }

    #[test]
    fn an_unfilled_placeholder_is_refused_with_its_line() {
        let error = run(&TEMPLATE.replace("= D,", "= $DEVICES$,"), TIME, TIME).unwrap_err().to_string();
        assert!(error.starts_with("line 5: ") && error.contains("$DEVICES$"), "{error}");
    }

    #[test]
    fn a_template_without_driverver_is_refused() {
        assert!(run(&TEMPLATE.replace("DriverVer", "DriverVersion"), TIME, TIME).is_err());
        // Outside [Version] it does not count.
        assert!(run("[Version]\nA = 1\n[Other]\nDriverVer = 0\n", TIME, TIME).is_err());
    }

    #[test]
    fn ascii_stays_and_the_rest_becomes_utf16() {
        assert_eq!(encode("[A]\r\n"), b"[A]\r\n");
        assert_eq!(encode("é"), [0xFF, 0xFE, 0xE9, 0x00]);
    }
}
