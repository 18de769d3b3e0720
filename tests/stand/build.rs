//! Links the bare-metal program with our own linker script, so that `cargo build --target x86_64-unknown-none` needs no
//! flags from outside, and makes a table of what the genuine header hands to StorPort's variadic functions.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

/// Types of 32 bits or fewer, which C passes as 32 bits. Everything else in the table is a word.
const SHORT: [&str; 10] = [
    "BOOLEAN",
    "LOGICAL_PROCESSOR_RELATIONSHIP",
    "MEMORY_CACHING_TYPE",
    "NODE_REQUIREMENT",
    "STORPORT_ETW_EVENT_OPCODE",
    "STORPORT_ETW_LEVEL",
    "STOR_SPINLOCK",
    "STOR_UNIT_ATTRIBUTES",
    "ULONG",
    "USHORT",
];

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=src/boot/stand.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{folder}/src/boot/stand.ld");
        // The target links position-independent programs; nobody would relocate this one.
        println!("cargo:rustc-link-arg-bins=--no-pie");
        println!("cargo:rustc-link-arg-bins=--build-id=none");
    }
    let facts = Path::new(&folder).join("../../tools/wdk-kit/reference/storport-calls.json");
    println!("cargo:rerun-if-changed={}", facts.display());
    let facts = fs::read(&facts).expect("the facts about the calls are in the tree");
    let facts: Value = serde_json::from_slice(&facts).expect("they are JSON");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("calls.rs"), table(&facts)).expect("cargo's folder can be written");
}

/// The facts as Rust.
fn table(facts: &Value) -> String {
    let mut text = "/// All of them.\npub const CALLS: &[Call] = &[\n".to_owned();
    for call in facts.as_object().expect("by function").values().flat_map(|calls| calls.as_array()).flatten()
    {
        let code = call["code"].as_str().expect("a code");
        let code = code.strip_prefix("ExtFunction").unwrap_or(code);
        write!(text, "    Call {{ code: {code:?}, arguments: &[").expect("memory");
        for argument in call["arguments"].as_array().expect("arguments") {
            let argument = argument.as_str().expect("a type and a name");
            // "pointer to ULONG (the wrapper's own Status)": a word, like every pointer.
            let (kind, name) = argument.trim_end_matches(')').rsplit_once(' ').expect("a type and a name");
            let short = SHORT.contains(&kind.trim());
            write!(text, "Argument {{ name: {name:?}, short: {short} }}, ").expect("memory");
        }
        text += "] },\n";
    }
    text + "];\n"
}
