//! The version resource of an image: what Explorer shows under Details, and what Windows compares with DriverVer.
//!
//! Written as resource script and compiled with llvm-rc, whose output the linker takes as it is. All constants stand as
//! numbers, so neither an SDK header nor a preprocessor is needed.

use crate::context::Version;
use crate::driver::Driver;
use crate::tool::{self, LLVM_RC};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Company and product in the file's properties: the Provider of the INF.
pub const COMPANY: &str = "Rust virtio storage drivers";
const PRODUCT: &str = "Virtio storage drivers for Windows";
const COPYRIGHT: &str = "The Rust virtio storage driver developers. MIT or Apache-2.0.";

/// The resource script for `driver`.
pub fn script(driver: &Driver, version: Version) -> String {
    let [a, b, c, d] = version.0;
    let numbers = format!("{a},{b},{c},{d}");
    let strings = [
        ("CompanyName", COMPANY.to_owned()),
        ("FileDescription", driver.description.to_owned()),
        ("FileVersion", version.to_string()),
        ("InternalName", driver.file("sys")),
        ("LegalCopyright", COPYRIGHT.to_owned()),
        ("OriginalFilename", driver.file("sys")),
        ("ProductName", PRODUCT.to_owned()),
        ("ProductVersion", version.to_string()),
    ];
    let strings: String =
        strings.iter().map(|(name, value)| format!("      VALUE \"{name}\", \"{value}\"\n")).collect();
    // FILEOS VOS_NT_WINDOWS32, FILETYPE VFT_DRV, FILESUBTYPE VFT2_DRV_SYSTEM; language 0409 in code page 04B0 (UTF-16).
    format!(
        "1 VERSIONINFO\n\
         FILEVERSION {numbers}\nPRODUCTVERSION {numbers}\n\
         FILEFLAGSMASK 0x3F\nFILEFLAGS 0\nFILEOS 0x40004\nFILETYPE 3\nFILESUBTYPE 7\n\
         BEGIN\n  BLOCK \"StringFileInfo\"\n  BEGIN\n    BLOCK \"040904B0\"\n    BEGIN\n{strings}    END\n  END\n\
         \x20 BLOCK \"VarFileInfo\"\n  BEGIN\n    VALUE \"Translation\", 0x409, 0x4B0\n  END\nEND\n"
    )
}

/// Writes `<driver>.rc` and `<driver>.res` into `folder` and returns the path of the latter, for the linker.
///
/// # Errors
/// When the folder cannot be written, or llvm-rc is missing or fails.
pub fn compile(driver: &Driver, version: Version, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let source = folder.join(driver.file("rc"));
    let output = folder.join(driver.file("res"));
    fs::write(&source, script(driver, version)).with_context(|| source.display().to_string())?;
    let program = tool::find_versioned(&LLVM_RC)?;
    let result = tool::start(&LLVM_RC, &program, arguments(driver), Some(folder))?;
    anyhow::ensure!(
        result.success,
        "{} refuses {}: {}",
        program.display(),
        source.display(),
        result.last_line()
    );
    Ok(output)
}

/// llvm-rc runs in the folder and gets bare file names: an absolute path that begins like one of its options is taken
/// for that option (`/check/...` for `/c`, the code page).
fn arguments(driver: &Driver) -> [String; 4] {
    ["/no-preprocess".to_owned(), "/FO".to_owned(), driver.file("res"), driver.file("rc")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::VIOSTOR;

    #[test]
    fn no_folder_name_can_be_taken_for_an_option_of_llvm_rc() {
        let [_, _, output, input] = arguments(&VIOSTOR);

        assert_eq!([output.as_str(), input.as_str()], ["viostor.res", "viostor.rc"]);
    }
}
