//! From an image to the ISO, read back with tools that are not ours.

mod support;

use packaging::driver;
use packaging::package::{self, Input, Package};
use packaging::{Arch, iso};
use std::path::{Path, PathBuf};
use support::{Recipe, context, template};
use tempfile::TempDir;

/// Links, packages and writes the ISO, everything under `root`.
fn run(root: &Path) -> (Vec<Package>, PathBuf) {
    let mut packages = Vec::new();
    for driver in driver::ALL {
        let (image, symbols) = Recipe::new(driver).link(&root.join("link").join(driver.name));
        let template = template(driver);
        let input =
            Input { driver, arch: Arch::Amd64, image: &image, symbols: &symbols, template: &template };
        packages.push(package::build(&context(), input, &root.join("package")).unwrap());
    }
    let output = root.join("iso/virtio-storage.iso");
    iso::build(&context(), &packages, &output).unwrap();
    (packages, output)
}

#[test]
fn smoke() {
    let folder = TempDir::new().unwrap();
    let (packages, iso) = run(folder.path());
    println!("{:#?} {}", packages, iso.display());
}
