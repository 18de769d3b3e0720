//! Whether an output is up to date: by the content of everything it was made from, not by times.

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The digest of all inputs, and the file that remembers the digest of the last time.
#[derive(Debug)]
pub struct Fresh {
    record: PathBuf,
    digest: String,
}

impl Fresh {
    /// Digests `inputs` and `words`, and which build of this program does the work.
    ///
    /// # Errors
    /// When an input cannot be read.
    pub fn new(record: &Path, inputs: &[&Path], words: &[String]) -> Result<Self> {
        let mut hash = Sha256::new();
        for input in inputs {
            let content =
                std::fs::read(input).with_context(|| format!("{} cannot be read", input.display()))?;
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(&content);
        }
        for word in words {
            hash.update(word.as_bytes());
            hash.update([0]);
        }
        // The program itself is tens of megabytes without optimisation; its date tells builds apart as well.
        if let Ok(program) = std::env::current_exe().and_then(std::fs::metadata) {
            let time = program.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hash.update(format!("{} {time:?}", program.len()));
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { record: record.to_owned(), digest })
    }

    /// Whether all outputs are there and were made from the same inputs.
    pub fn is(&self, outputs: &[&Path]) -> bool {
        std::fs::read_to_string(&self.record).is_ok_and(|text| text == self.digest)
            && outputs.iter().all(|output| output.exists())
    }

    /// Remembers that the outputs are made from these inputs.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn save(&self) -> Result<()> {
        std::fs::write(&self.record, &self.digest)
            .with_context(|| format!("{} cannot be written", self.record.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_inputs_with_outputs_are_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("in"), "1").unwrap();
        std::fs::write(path("out"), "x").unwrap();
        let fresh = |words: &[String]| Fresh::new(&path("record"), &[&path("in")], words).unwrap();
        let word = ["a".to_owned()];

        assert!(!fresh(&word).is(&[&path("out")]), "nothing was made yet");
        fresh(&word).save().unwrap();
        assert!(fresh(&word).is(&[&path("out")]));
        assert!(!fresh(&word).is(&[&path("gone")]));
        assert!(!fresh(&["b".to_owned()]).is(&[&path("out")]));
        std::fs::write(path("in"), "2").unwrap();
        assert!(!fresh(&word).is(&[&path("out")]));
    }
}
