//! The drivers' calls of StorPort's two variadic functions against what the genuine `storport.h` hands over.
//!
//! The compiler checks nothing of such a call. `reference/storport-calls.json` has, for each inline function of the header
//! of WDK 10.0.16299, the code and the arguments that it hands over, with their types.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use syn::{Expr, FnArg, ItemFn, Pat, Stmt, Type, visit::Visit};

const VARIADIC: [&str; 2] = ["StorPortNotification", "StorPortExtendedFunction"];

/// Name, type, and whether it is the address of it that is handed over.
type Argument = (String, String, bool);

/// One call that an inline function of the header makes.
#[derive(Clone, Debug, Deserialize)]
struct Fact {
    through: String,
    code: String,
    arguments: Vec<String>,
}

fn kit() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn drivers() -> PathBuf {
    kit().join("../../drivers")
}

fn source() -> String {
    fs::read_to_string(drivers().join("common/storport/src/kernel/calls.rs")).expect("the calls can be read")
}

/// Facts by function and code.
fn facts() -> BTreeMap<(String, String), Vec<String>> {
    let text = fs::read(kit().join("reference/storport-calls.json")).expect("the facts can be read");
    let functions: BTreeMap<String, Vec<Fact>> =
        serde_json::from_slice(&text).expect("the facts are well formed");
    let mut facts: BTreeMap<_, _> =
        functions.into_values().flatten().map(|fact| ((fact.through, fact.code), fact.arguments)).collect();
    // No inline function: miniports call it themselves (nf-storport-storportnotification.md).
    facts.insert((VARIADIC[0].into(), "RequestComplete".into()), vec!["PSCSI_REQUEST_BLOCK Srb".into()]);
    facts.insert((VARIADIC[0].into(), "BusChangeDetected".into()), vec!["UCHAR PathId".into()]);
    facts.insert(
        (VARIADIC[0].into(), "RequestTimerCall".into()),
        vec!["PHW_TIMER HwStorTimer".into(), "ULONG MiniportTimerValue".into()],
    );
    facts
}

/// The header's name of a parameter, as Rust spells it.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        before = letter;
    }
    snake
}

/// An argument of the header, as the call in Rust has to be: name, type, and whether its address is handed over.
fn wanted(argument: &str) -> Argument {
    // "pointer to ULONG (the wrapper's own Status)"
    if let Some(rest) = argument.strip_prefix("pointer to ") {
        let (kind, name) =
            rest.split_once(" (the wrapper's own ").expect("a pointer to the wrapper's own variable");
        return (snake_case(name.trim_end_matches(')')), kind.to_owned(), true);
    }
    let (kind, name) = argument.rsplit_once(' ').expect("a type and a name");
    let kind = match kind.trim() {
        // C passes these as 32 bits.
        "BOOLEAN" | "UCHAR" | "USHORT" => "ULONG",
        // A structure of one word (ns-storport-_stor_unit_attributes.md) is passed as Win64 passes a word.
        "STOR_UNIT_ATTRIBUTES" => "ULONG",
        other => other,
    };
    (snake_case(name), kind.to_owned(), false)
}

fn name_of(kind: &Type) -> String {
    match kind {
        Type::Path(path) => path.path.segments.last().expect("a type has a name").ident.to_string(),
        _ => "?".into(),
    }
}

/// The calls of variadic functions in a function.
struct Calls<'a> {
    function: &'a ItemFn,
    /// Which function, the code, the arguments after the device extension.
    found: Vec<(String, String, Vec<Argument>)>,
}

impl Calls<'_> {
    /// Type of a parameter or of a variable that is declared with its type.
    fn type_of(&self, name: &str) -> String {
        for parameter in &self.function.sig.inputs {
            if let FnArg::Typed(parameter) = parameter
                && let Pat::Ident(pattern) = &*parameter.pat
                && pattern.ident == name
            {
                return name_of(&parameter.ty);
            }
        }
        for statement in &self.function.block.stmts {
            if let Stmt::Local(local) = statement
                && let Pat::Type(typed) = &local.pat
                && let Pat::Ident(pattern) = &*typed.pat
                && pattern.ident == name
            {
                return name_of(&typed.ty);
            }
        }
        "?".into()
    }

    fn argument(&self, argument: &Expr) -> Argument {
        let (place, pointer) = match argument {
            Expr::RawAddr(address) => (&*address.expr, true),
            other => (other, false),
        };
        let name = match place {
            Expr::Path(path) => path.path.require_ident().map_or("?".into(), ToString::to_string),
            _ => "?".into(),
        };
        let kind = self.type_of(&name);
        (name, kind, pointer)
    }
}

impl<'ast> Visit<'ast> for Calls<'_> {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(path) = &*call.func
            && let Some(name) = path.path.segments.last().map(|segment| segment.ident.to_string())
            && VARIADIC.contains(&name.as_str())
        {
            let mut arguments = call.args.iter();
            let code = match arguments.next() {
                Some(Expr::Path(code)) => {
                    code.path.segments.last().expect("a code has a name").ident.to_string()
                }
                _ => "?".into(),
            };
            // The device extension.
            arguments.next();
            let arguments = arguments.map(|argument| self.argument(argument)).collect();
            self.found.push((name, code, arguments));
        }
        syn::visit::visit_expr_call(self, call);
    }
}

/// How many calls there are in `source`, and where one is not as the header makes it.
fn compare(source: &str) -> (usize, Vec<String>) {
    let facts = facts();
    let file = syn::parse_file(source).expect("the source is Rust");
    let (mut count, mut differences) = (0, Vec::new());
    for item in &file.items {
        let syn::Item::Fn(function) = item else { continue };
        let mut calls = Calls { function, found: Vec::new() };
        calls.visit_item_fn(function);
        for (through, code, ours) in calls.found {
            count += 1;
            let Some(theirs) = facts.get(&(through.clone(), code.clone())) else {
                differences.push(format!("{through}({code}): the header makes no such call"));
                continue;
            };
            let theirs: Vec<_> = theirs.iter().map(|argument| wanted(argument)).collect();
            if ours != theirs {
                differences.push(format!("{through}({code}): hands over {ours:?}, the header {theirs:?}"));
            }
        }
    }
    (count, differences)
}

#[test]
fn every_variadic_call_hands_over_what_the_genuine_header_does() {
    let (count, differences) = compare(&source());

    assert_eq!(differences, [""; 0]);
    assert!(count >= 12, "only {count} calls were found");
}

/// What the drivers did: StorPort then writes the status where the missing pointer would be.
#[test]
fn a_state_change_without_its_status_is_reported() {
    let (_, differences) = compare(&source().replacen("            &raw mut status,\n", "", 1));

    assert!(matches!(&differences[..], [one] if one.contains("StateChangeDetectedCall")), "{differences:?}");
}

#[test]
fn a_value_of_another_width_is_reported() {
    let (_, differences) = compare(&source().replacen("length: ULONG_PTR", "length: ULONG", 1));

    assert!(matches!(&differences[..], [one] if one.contains("MarkDumpMemory")), "{differences:?}");
}

#[test]
fn arguments_in_another_order_are_reported() {
    let source = source();
    let swapped = source.replacen(
        "            system_argument1,\n            system_argument2,\n",
        "            system_argument2,\n            system_argument1,\n",
        1,
    );
    assert_ne!(source, swapped);

    let (_, differences) = compare(&swapped);

    assert!(matches!(&differences[..], [one] if one.contains("IssueDpc")), "{differences:?}");
}

#[test]
fn a_value_in_place_of_a_pointer_is_reported() {
    let (_, differences) = compare(&source().replacen("&raw mut succ", "succ", 1));

    assert!(
        matches!(&differences[..], [one] if one.contains("EnablePassiveInitialization")),
        "{differences:?}"
    );
}

#[test]
fn no_driver_makes_a_variadic_call_elsewhere() {
    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                if VARIADIC.iter().any(|name| text.contains(name)) {
                    found.push(path.file_name().expect("a file has a name").display().to_string());
                }
            }
        }
    }
    let mut found = Vec::new();

    visit(&drivers(), &mut found);

    assert_eq!(found, ["calls.rs"]);
}
