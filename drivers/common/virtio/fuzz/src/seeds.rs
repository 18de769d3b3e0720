//! The inputs that fuzzing starts with: `seeds/TARGET/NAME`, written by the test below from what the targets say.

/// A target: its name, what it does with an input, and its seeds.
pub struct Target {
    /// Its name
    pub name: &'static str,
    /// Plays an input
    pub run: fn(&[u8]),
    /// Names and contents
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

/// All of them.
pub const TARGETS: [Target; 3] = [
    Target {
        name: "call_sequences",
        run: |input| {
            let _ = crate::call_sequences::run(input);
        },
        seeds: crate::call_sequences::seeds,
    },
    Target {
        name: "capabilities",
        run: |input| {
            let _ = crate::capabilities::run(input);
        },
        seeds: crate::capabilities::seeds,
    },
    Target {
        name: "used_ring",
        run: |input| {
            let _ = crate::used_ring::run(input);
        },
        seeds: crate::used_ring::seeds,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    /// With this in the environment, the files are written instead of compared: `VIRTIO_FUZZ_SEEDS=write cargo test --lib`.
    const WRITE: &str = "VIRTIO_FUZZ_SEEDS";

    #[test]
    fn the_committed_seeds_are_those_that_the_targets_say() {
        for target in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
            let said: BTreeMap<String, Vec<u8>> =
                (target.seeds)().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
            if std::env::var_os(WRITE).is_some() {
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(&folder).expect("the folder can be made");
                for (name, bytes) in &said {
                    fs::write(folder.join(name), bytes).expect("the file can be written");
                }
            }
            let committed: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
                .expect("there is a folder of seeds")
                .map(|entry| {
                    let entry = entry.expect("the folder can be read");
                    let bytes = fs::read(entry.path()).expect("the file can be read");
                    (entry.file_name().into_string().expect("the name is ours"), bytes)
                })
                .collect();

            assert!(committed == said, "the seeds of {} are old; write them with {WRITE}=write", target.name);
        }
    }

    #[test]
    fn every_target_keeps_its_promises_with_its_seeds_and_with_nothing() {
        for target in TARGETS {
            (target.run)(&[]);
            for (_, bytes) in (target.seeds)() {
                (target.run)(&bytes);
                // Half an input is an input.
                (target.run)(&bytes[..bytes.len() / 2]);
            }
        }
    }
}
