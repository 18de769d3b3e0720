//! The kit and its facts against genuine headers, where somebody has them:
//!
//! `WDK_ROOT=DIR cargo test -p wdk-kit --test genuine -- --ignored`
//!
//! DIR is what `./x build --wdk-root DIR` takes. The public repository tpn/winsdk-10 has the headers of 10.0.16299, from
//! which the facts come; those of other versions must have the names.

use std::{
    env,
    path::{Path, PathBuf},
};

use wdk_build::CpuArchitecture;
use wdk_kit::{Declared, Exceptions, Facts, Layout};

/// The version that the facts are about.
const VERSION: &str = "10.0.16299.0";

fn kit() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> PathBuf {
    env::var_os("WDK_ROOT").map(PathBuf::from).expect("WDK_ROOT names a folder with Include/VERSION")
}

fn declared(root: &Path) -> Declared {
    Declared::read(root, CpuArchitecture::Amd64).expect("the headers can be read")
}

/// What the kit declares.
fn ours() -> Declared {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kit-for-genuine");
    let include = root.join("Include").join(VERSION);
    for folder in ["km", "km/crt", "shared"] {
        std::fs::create_dir_all(include.join(folder)).expect("a folder can be made");
        for entry in std::fs::read_dir(kit().join("include").join(folder)).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                std::fs::copy(&path, include.join(folder).join(name)).expect("the file can be copied");
            }
        }
    }
    declared(&root)
}

#[test]
#[ignore = "needs genuine headers of any version: see the top of the file"]
fn genuine_headers_have_every_name_of_the_kit() {
    let genuine = declared(&root()).names();
    let exceptions = Exceptions::read(&kit().join("reference/not-in-layout.txt")).expect("the list is there");

    // What is reserved has other names as soon as it is used for something.
    let reserved = |name: &str| name.contains(".Reserved");
    let missing: Vec<_> = ours()
        .names()
        .into_iter()
        .filter(|name| !genuine.contains(name) && !exceptions.has(name) && !reserved(name))
        .collect();

    assert_eq!(missing, [""; 0]);
}

#[test]
#[ignore = "needs genuine headers of 10.0.16299: see the top of the file"]
fn the_facts_are_what_the_genuine_headers_say() {
    let root = root();
    assert!(root.join("Include").join(VERSION).is_dir(), "the facts are about {VERSION}");
    let layout = Layout::read(&kit().join("reference/wdk-layout.json")).expect("the layout is there");
    let facts = Facts::read(&kit().join("reference/wdk-declarations.txt")).expect("the facts are there");

    let genuine = declared(&root);

    let beyond = genuine.beyond(&layout);
    let wrong: Vec<_> =
        facts.iter().filter(|(name, what)| beyond.get(*name).map(String::as_str) != Some(what)).collect();
    assert_eq!(wrong, []);
    for (name, structure) in ours().structs {
        assert_eq!(genuine.structs.get(&name).and_then(|known| known.size), structure.size, "{name}");
    }
}
