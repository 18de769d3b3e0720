//! The drivers built with genuine headers against those built with the kit's, where somebody has genuine ones:
//!
//! `WDK_ROOT=/path/to/dir cargo test -p xtask --test genuine -- --ignored`
//!
//! The folder is what `./x build --wdk-root` takes. The public repository tpn/winsdk-10 has the headers of 10.0.16299.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The images that `./x build` makes with these words besides, in a target folder of their own.
fn build(name: &str, words: &[&str]) -> Vec<Vec<u8>> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("build")
        .args(words)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success(), "./x build {words:?}");
    let image = |driver: &str| fs::read(target.join("drivers/amd64").join(driver)).unwrap();
    ["viostor.sys", "vioscsi.sys"].map(image).into()
}

/// The image without what depends on its PDB, which has the types of all headers: the number that names the PDB, the "time",
/// which is a hash over everything, and the checksum.
fn without_pdb(mut image: Vec<u8>) -> Vec<u8> {
    let header = u32::from_le_bytes(image[0x3c..0x40].try_into().unwrap()) as usize;
    let time = image[header + 8..header + 12].to_vec();
    while let Some(at) = image.windows(4).position(|bytes| bytes == time) {
        image[at..at + 4].fill(0);
    }
    image[header + 88..header + 92].fill(0);
    let codeview = image.windows(4).position(|bytes| bytes == b"RSDS").expect("the image names its PDB");
    image[codeview + 4..codeview + 20].fill(0);
    image
}

#[test]
#[ignore = "needs genuine headers, and builds twice: see the top of the file"]
fn genuine_headers_give_the_images_that_the_kit_gives() {
    let root = PathBuf::from(env::var_os("WDK_ROOT").expect("WDK_ROOT names a folder with Include/VERSION"));

    let kit = build("with-the-kit", &[]);
    let genuine = build("with-genuine-headers", &["--wdk-root", root.to_str().unwrap()]);

    for (ours, theirs) in kit.into_iter().zip(genuine) {
        assert!(without_pdb(ours) == without_pdb(theirs), "the headers say different things");
    }
}
