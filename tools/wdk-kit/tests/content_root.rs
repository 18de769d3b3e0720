//! What the stand-in of wdk-build finds in a content root, and what it says when something is not there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wdk_build::{ApiSubset, Config, CpuArchitecture};

/// An empty folder for the test `name`.
fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("content-root").join(name);
    if root.exists() {
        fs::remove_dir_all(&root).expect("the former run's folder can be removed");
    }
    fs::create_dir_all(&root).expect("a folder can be made");
    root
}

fn make(root: &Path, folders: &[&str]) {
    for name in folders {
        fs::create_dir_all(root.join(name)).expect("a folder can be made");
    }
}

fn config(root: &Path) -> Result<Config, wdk_build::ConfigError> {
    Config::for_content_root(root, None, CpuArchitecture::Amd64)
}

#[test]
fn without_a_content_root_there_are_the_kits_headers_and_no_libraries() {
    let config = Config::for_kit(CpuArchitecture::Amd64);

    let paths: Vec<_> = config.include_paths().expect("the kit is complete").collect();

    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    assert_eq!(paths, [include.join("km/crt"), include.join("km"), include.join("shared")]);
    assert_eq!(config.library_paths().expect("none is missing").count(), 0);
}

#[test]
fn the_highest_version_is_taken_and_not_the_last_name() {
    let root = folder("versions");
    make(
        &root,
        &["Include/10.0.9999.0", "Include/10.0.26100.0/km/crt", "Include/10.0.26100.0/shared", "Include/wdf"],
    );
    let paths: Vec<_> =
        config(&root).and_then(|config| config.include_paths()).expect("it is complete").collect();
    let include = root.join("Include/10.0.26100.0");
    assert_eq!(paths, [include.join("km/crt"), include.join("km"), include.join("shared")]);
}

#[test]
fn a_folder_without_include_is_named_in_the_error() {
    let root = folder("nothing");
    let error = config(&root).expect_err("there is nothing").to_string();
    assert!(error.contains(&root.join("Include").display().to_string()), "{error}");
}

#[test]
fn a_folder_without_a_version_is_named_in_the_error() {
    let root = folder("no-version");
    make(&root, &["Include/wdf"]);
    let error = config(&root).expect_err("there is no version").to_string();
    assert!(error.starts_with("no folder named like a WDK version"), "{error}");
}

#[test]
fn a_missing_header_is_named_in_the_error() {
    let root = folder("no-header");
    make(&root, &["Include/10.0.26100.0/km/crt", "Include/10.0.26100.0/shared"]);
    fs::write(root.join("Include/10.0.26100.0/km/ntifs.h"), "").expect("a file can be written");
    let config = config(&root).expect("there is a version");
    let error = config.bindgen_header_contents([ApiSubset::Base]).expect_err("most are missing").to_string();
    assert!(error.contains("no header ntddk.h"), "{error}");
}

#[test]
fn headers_that_the_kit_does_not_carry_are_refused() {
    let root = folder("usb");
    make(&root, &["Include/10.0.26100.0/km/crt", "Include/10.0.26100.0/shared"]);
    let config = config(&root).expect("there is a version");
    assert!(config.headers(ApiSubset::Usb).is_err());
}

#[test]
fn libraries_are_found_under_either_spelling_of_the_architecture() {
    for spelling in ["arm64", "ARM64"] {
        let root = folder(spelling);
        let libraries = format!("Lib/10.0.26100.0/km/{spelling}");
        make(&root, &["Include/10.0.26100.0", &libraries]);
        let config =
            Config::for_content_root(&root, None, CpuArchitecture::Arm64).expect("there is a version");
        let paths: Vec<_> = config.library_paths().expect("they are there").collect();
        assert_eq!(paths, [root.join(libraries)]);
    }
}
