//! Writes `reference/wdk-declarations.txt`: what genuine headers say of the kit's names beyond `wdk-layout.json`.
//!
//! `cargo run -p wdk-kit --bin facts -- DIR target/wdk-kit`, where DIR has `Include/10.0.16299.0/{km,km/crt,shared}` of
//! the WDK, and `./x build` has made `target/wdk-kit`.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use wdk_build::CpuArchitecture;
use wdk_kit::{Declared, Layout};

const HEADING: &str = "\
# What the headers of WDK 10.0.16299 say of the names that the kit declares, where wdk-layout.json has no place for it:
# facts as bindgen gives them for x86_64-pc-windows-msvc. Made by `cargo run -p wdk-kit --bin facts`, not by hand.
";

fn main() -> Result<()> {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layout = Layout::read(&kit.join("reference/wdk-layout.json"))?;
    let mut roots = env::args_os().skip(1).map(|root| {
        let declared = Declared::read(Path::new(&root), CpuArchitecture::Amd64)?;
        anyhow::Ok(declared.beyond(&layout))
    });
    let usage = "usage: facts DIR KIT (content roots)";
    let (genuine, ours) = (roots.next().context(usage)??, roots.next().context(usage)??);
    let mut text = HEADING.to_owned();
    // What wdk-build declares itself is no fact about the headers.
    let of_headers = genuine.iter().filter(|(name, _)| *name != "type POOL_FLAGS");
    for (name, what) in of_headers.filter(|(name, _)| ours.contains_key(*name)) {
        text += &format!("{name}: {what}\n");
    }
    let path = kit.join("reference/wdk-declarations.txt");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
