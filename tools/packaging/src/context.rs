//! What a package depends on besides its input files: the moment, the version and the certificate.

use crate::certificate::Certificate;
use crate::tool;
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

/// Everything besides the input files that decides what comes out.
#[derive(Clone, Debug)]
pub struct Context {
    /// The moment that every date in the output says, in seconds since 1970, UTC. From [`source_date`].
    pub time: i64,
    /// The version of the drivers: DriverVer, version resource and `info.json`.
    pub version: Version,
    /// What signs the images and the catalogues.
    pub certificate: Certificate,
}

/// A version of four numbers, as DriverVer and the version resource have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u16; 4]);

impl FromStr for Version {
    type Err = anyhow::Error;

    /// Reads one to four numbers with dots between them; those left out are 0. A pre-release or build suffix of a
    /// crate version (`-rc.1`, `+git`) has no place in DriverVer and is refused.
    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = [0; 4];
        let parts: Vec<&str> = text.split('.').collect();
        ensure!(parts.len() <= 4, "version `{text}` has more than four numbers");
        for (number, part) in numbers.iter_mut().zip(&parts) {
            *number = part
                .parse()
                .ok()
                .filter(|number| *number < u16::MAX)
                .with_context(|| format!("version `{text}`: `{part}` is not a number below 65535"))?;
        }
        ensure!(numbers != [0; 4], "version `{text}`: Windows takes 0.0.0.0 for no version at all");
        Ok(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// The moment of the sources in seconds since 1970: `SOURCE_DATE_EPOCH`, or the date of the last commit of the work
/// tree at `root`.
///
/// # Errors
/// When the variable is not a number, or there is neither the variable nor a repository.
pub fn source_date(root: &Path) -> Result<i64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text
            .trim()
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, not seconds since 1970"));
    }
    let text = tool::GIT
        .run(["-C".as_ref(), root.as_os_str(), "log".as_ref(), "-1".as_ref(), "--format=%ct".as_ref()])
        .context("no date for the package: set SOURCE_DATE_EPOCH, or build in a git work tree")?
        .stdout;
    text.trim().parse().with_context(|| format!("git gave `{}` for the date of the last commit", text.trim()))
}

/// The present moment in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A moment as a date and time of day in UTC.
///
/// # Errors
/// When the moment is before 1980 or after 2049: ISO 9660, UTCTime and Windows' file times agree on these years.
pub fn civil(time: i64) -> Result<OffsetDateTime> {
    let date = OffsetDateTime::from_unix_timestamp(time)
        .with_context(|| format!("{time} seconds since 1970 is no date"))?;
    if !(1980..2050).contains(&date.year()) {
        bail!("the date of the sources, {} ({time} seconds since 1970), is not in 1980 to 2049", date.date());
    }
    Ok(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_version_gets_a_fourth_number() {
        assert_eq!("0.1.0".parse::<Version>().unwrap(), Version([0, 1, 0, 0]));
        assert_eq!("100.6.101.58000".parse::<Version>().unwrap().to_string(), "100.6.101.58000");
    }

    #[test]
    fn versions_that_windows_refuses_are_refused() {
        for text in ["0.0.0", "1.2.3-rc.1", "1.65535", "1.2.3.4.5", "", "1..2", "1.-2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn dates_outside_what_all_formats_can_say_are_refused() {
        assert!(civil(0).is_err());
        assert!(civil(2_600_000_000).is_err());
        assert_eq!(civil(1_631_201_746).unwrap().date().to_string(), "2021-09-09");
    }
}
