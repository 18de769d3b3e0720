//! Who may read a file. Where there are no Unix modes (a Windows host) the folder's own rights have to do.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;

/// Makes `folder` and those above it, closed to others.
pub(crate) fn create_private_folder(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// Makes an empty file that only its owner can read, also once there is something in it.
pub(crate) fn create_private_file(path: &Path) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(())
}

/// Refuses a file that others can read.
pub(crate) fn require_private(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    #[cfg(unix)]
    let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
    #[cfg(not(unix))]
    let mode = u32::from(!metadata.is_file());
    ensure!(mode & 0o077 == 0, "others may read {} (mode {mode:o}); chmod 600 it", path.display());
    Ok(())
}

/// Everybody may read it: 644, folders 755, whatever the umask is.
pub(crate) fn make_public(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, permissions).with_context(|| format!("{}: mode", path.display()))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
