//! Compares what the kit's headers declare with the layout of the genuine ones.
//!
//! ```text
//!  include/**.h ── libclang, bindgen: as wdk-sys reads them ──► Declared ─┐
//!  reference/wdk-layout.json ───────────────────────────────► Layout ─────┤
//!  reference/wdk-declarations.txt ──────────────────────────► Facts ──────┼─► compare ──► differences, by name
//!  reference/not-in-layout.txt ─────────────────────────────► Exceptions ─┘
//! ```
//!
//! The kit's side is what bindgen generates, because that is what the drivers are compiled with: sizes, alignments and
//! offsets are those that clang computes for the Windows target. The other side are two tables of facts about the headers
//! of WDK 10.0.16299: the first has layouts, values and constants; the second, made by `facts` (see `src/bin`), has what
//! the first leaves out: prototypes, types, places of bit fields, enumerations without a tag. What is declared and in no
//! table must be in the list of exceptions, with the page of Microsoft's documentation that it comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use bindgen::Builder;
use quote::ToTokens;
use serde::Deserialize;
use syn::{
    BinOp, Expr, Fields, File, FnArg, ForeignItem, ImplItem, Item, ItemConst, Lit, Signature, Stmt, UnOp,
};
use wdk_build::{ApiSubset, BuilderExt, Config, CpuArchitecture};

/// Size, alignment and field offsets, in bytes, of a structure or union.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Structure {
    /// Size of the whole.
    pub size: Option<u64>,
    /// Alignment of the whole.
    pub align: Option<u64>,
    /// Offset of each field that has a name and is not a bit field.
    #[serde(default)]
    pub offsets: BTreeMap<String, u64>,
}

/// Names and values of an enumeration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Enumeration {
    /// Value of each name.
    pub values: BTreeMap<String, i128>,
}

/// A constant.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Constant {
    /// Its value.
    pub value: i128,
}

/// Kinds of what headers declare.
const KINDS: [&str; 7] = ["struct", "value", "constant", "function", "type", "field", "bits"];

/// The facts about the genuine headers.
#[derive(Debug, Deserialize)]
pub struct Layout {
    /// Structures and unions by the name that bindgen gives them.
    pub structs: BTreeMap<String, Structure>,
    /// Enumerations by tag.
    pub enums: BTreeMap<String, Enumeration>,
    /// Constants that macros define.
    pub constants: BTreeMap<String, Constant>,
}

/// What headers declare.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Structures and unions with a body.
    pub structs: BTreeMap<String, Structure>,
    /// Enumerations by tag, or by the name that the type has when there is no tag.
    pub enums: BTreeMap<String, Enumeration>,
    /// Constants that macros define.
    pub constants: BTreeMap<String, i128>,
    /// What the layout has no place for, as `kind name` and what is said of it: functions and their parameters, types,
    /// types of fields, places of bit fields.
    pub facts: BTreeMap<String, String>,
}

/// Facts about the genuine headers beyond the [`Layout`], in the form of [`Declared::facts`].
#[derive(Debug, Default)]
pub struct Facts(BTreeMap<String, String>);

/// What may be declared without being in the [`Layout`] or the [`Facts`].
#[derive(Debug)]
pub struct Exceptions(BTreeMap<String, String>);

impl Layout {
    /// Reads the table of facts.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not a layout", path.display()))
    }
}

impl Facts {
    /// Reads the table: one fact per line, `kind name: what`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let facts = lines.map(|line| {
            let (name, what) = line
                .split_once(": ")
                .with_context(|| format!("not of the form `kind name: what`: {line}"))?;
            Ok((name.to_owned(), what.to_owned()))
        });
        Ok(Self(facts.collect::<Result<_>>()?))
    }

    /// Each name, with its kind, and what is said of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, what)| (name.as_str(), what.as_str()))
    }
}

impl Exceptions {
    /// Whether something is listed, named as [`Declared::names`] does.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Reads the list: one entry per line, `kind name page`; lines that begin with `#` are comments.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
    }

    /// Reads the list from `text`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [kind, name, page] = words[..] else { bail!("not of the form `kind name page`: {line}") };
            ensure!(KINDS.contains(&kind), "unknown kind of exception: {line}");
            ensure!(page.ends_with(".md"), "an exception must name a page of the documentation: {line}");
            let former = entries.insert(format!("{kind} {name}"), page.to_owned());
            ensure!(former.is_none(), "listed twice: {line}");
        }
        Ok(Self(entries))
    }
}

impl Declared {
    /// Reads the headers of a content root as `wdk-sys` does for a storage driver.
    pub fn read(content_root: &Path, architecture: CpuArchitecture) -> Result<Self> {
        let config = Config::for_content_root(content_root, None, architecture)?;
        let contents = config.bindgen_header_contents([ApiSubset::Base, ApiSubset::Storage])?;
        let target = match architecture {
            CpuArchitecture::Amd64 => "x86_64-pc-windows-msvc",
            CpuArchitecture::Arm64 => "aarch64-pc-windows-msvc",
        };
        let bindings = Builder::wdk_default(&config)?
            .clang_arg(format!("--target={target}"))
            .header_contents("kit.h", &contents)
            .generate()
            .context("clang does not accept the headers")?;
        Self::parse(&syn::parse_file(&bindings.to_string())?)
    }

    fn parse(file: &File) -> Result<Self> {
        let mut declared = Self::default();
        for item in &file.items {
            match item {
                Item::Const(item) if item.ident == "_" => declared.add_assertions(item)?,
                Item::Const(item) => match integer(&item.expr) {
                    Some(value) => {
                        declared.constants.insert(item.ident.to_string(), value);
                    }
                    // A text.
                    None => {
                        declared.facts.insert(format!("constant {}", item.ident), spelt(&item.expr));
                    }
                },
                Item::Mod(item) => {
                    let mut enumeration = Enumeration::default();
                    for item in item.content.iter().flat_map(|(_, items)| items) {
                        if let Item::Const(item) = item {
                            let value = integer(&item.expr)
                                .with_context(|| format!("{} is no number", item.ident))?;
                            enumeration.values.insert(item.ident.to_string(), value);
                        }
                    }
                    declared.enums.insert(item.ident.to_string(), enumeration);
                }
                Item::Struct(item) if !is_helper(&item.ident.to_string()) && !is_opaque(&item.fields) => {
                    declared.structs.entry(item.ident.to_string()).or_default();
                    declared.add_fields(&item.ident.to_string(), item.fields.iter());
                }
                Item::Union(item) => {
                    declared.structs.entry(item.ident.to_string()).or_default();
                    declared.add_fields(&item.ident.to_string(), item.fields.named.iter());
                }
                Item::Impl(item) if item.trait_.is_none() => {
                    declared.add_bits(&spelt(&item.self_ty), &item.items);
                }
                Item::ForeignMod(item) => {
                    for item in &item.items {
                        if let ForeignItem::Fn(function) = item {
                            let name = format!("function {}", function.sig.ident);
                            declared.facts.insert(name, prototype(&function.sig));
                        }
                    }
                }
                Item::Type(item) => {
                    declared.facts.insert(format!("type {}", item.ident), spelt(&item.ty));
                }
                _ => {}
            }
        }
        // bindgen states nothing of what it was told to keep opaque.
        declared.structs.retain(|_, structure| structure.size.is_some());
        Ok(declared)
    }

    /// Functions.
    pub fn functions(&self) -> BTreeSet<String> {
        self.facts.keys().filter_map(|name| name.strip_prefix("function ")).map(str::to_owned).collect()
    }

    /// Everything that is declared, as `kind name`.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<_> = self.facts.keys().cloned().collect();
        for (name, structure) in &self.structs {
            names.insert(format!("struct {name}"));
            names.extend(structure.offsets.keys().map(|field| format!("field {name}.{field}")));
        }
        for (name, enumeration) in &self.enums {
            names.extend(enumeration.values.keys().map(|value| format!("value {name}::{value}")));
        }
        names.extend(self.constants.keys().map(|name| format!("constant {name}")));
        names
    }

    /// Everything that `layout` has not, in the form of [`Declared::facts`].
    pub fn beyond(&self, layout: &Layout) -> BTreeMap<String, String> {
        let mut facts = self.facts.clone();
        for (name, enumeration) in self.enums.iter().filter(|(name, _)| !layout.enums.contains_key(*name)) {
            facts.extend(
                enumeration
                    .values
                    .iter()
                    .map(|(value, number)| (format!("value {name}::{value}"), number.to_string())),
            );
        }
        for (name, number) in self.constants.iter().filter(|(name, _)| !layout.constants.contains_key(*name))
        {
            facts.insert(format!("constant {name}"), number.to_string());
        }
        facts
    }

    /// Takes in the types of fields. Fields without a name have types without one, whose fields are taken in too.
    fn add_fields<'a>(&mut self, structure: &str, fields: impl Iterator<Item = &'a syn::Field>) {
        for field in fields {
            let Some(name) = field.ident.as_ref().map(ToString::to_string) else { continue };
            if !name.starts_with("__bindgen")
                && !name.starts_with("_bindgen")
                && !name.starts_with("_bitfield")
            {
                self.facts.insert(format!("field {structure}.{name}"), spelt(&field.ty));
            }
        }
    }

    /// Takes in the places of bit fields, which bindgen's accessor functions have:
    /// `fn Name(&self) { … self._bitfield_1.get_const::<FIRST, COUNT>() … }`.
    fn add_bits(&mut self, structure: &str, items: &[ImplItem]) {
        for item in items {
            let ImplItem::Fn(function) = item else { continue };
            let body = spelt(&function.block);
            let Some((place, _)) = body.split_once("self . ").and_then(|(_, rest)| rest.split_once(" ()"))
            else {
                continue;
            };
            let words: Vec<_> = place
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .collect();
            if let [unit, "get_const", first, count] = words[..] {
                let (first, count) = (first.trim_end_matches("usize"), count.trim_end_matches("u8"));
                let name = format!("bits {structure}.{}", function.sig.ident);
                self.facts.insert(name, format!("{count} from {first} of {}", unit.trim_start_matches('_')));
            }
        }
    }

    /// Takes in what bindgen asserts about a structure: `["Size of X"][size_of::<X>() - 16usize];` and so on.
    fn add_assertions(&mut self, item: &ItemConst) -> Result<()> {
        let Expr::Block(block) = &*item.expr else {
            bail!("an assertion of bindgen has a form unknown here")
        };
        for statement in &block.block.stmts {
            let Stmt::Expr(Expr::Index(index), _) = statement else { bail!("unknown form of assertion") };
            let (Expr::Array(text), Expr::Binary(difference)) = (&*index.expr, &*index.index) else {
                bail!("unknown form of assertion");
            };
            let Some(Expr::Lit(text)) = text.elems.first() else { bail!("unknown form of assertion") };
            let (Lit::Str(text), BinOp::Sub(_)) = (&text.lit, &difference.op) else {
                bail!("unknown form of assertion");
            };
            let value = u64::try_from(integer(&difference.right).context("unknown form of assertion")?)?;
            let text = text.value();
            if let Some(name) = text.strip_prefix("Size of ") {
                self.structs.entry(name.to_owned()).or_default().size = Some(value);
            } else if let Some(name) = text.strip_prefix("Alignment of ") {
                self.structs.entry(name.to_owned()).or_default().align = Some(value);
            } else if let Some((name, field)) =
                text.strip_prefix("Offset of field: ").and_then(|name| name.split_once("::"))
            {
                // Fields without a name are structures of their own here, and compared as such.
                if !field.starts_with("__bindgen") {
                    self.structs.entry(name.to_owned()).or_default().offsets.insert(field.to_owned(), value);
                }
            } else {
                bail!("unknown assertion of bindgen: {text}");
            }
        }
        Ok(())
    }
}

/// All differences between what is declared and what should be, one line each.
#[must_use]
pub fn compare(declared: &Declared, layout: &Layout, facts: &Facts, exceptions: &Exceptions) -> Vec<String> {
    let mut differences = Vec::new();
    let mut listed = exceptions.0.clone();
    for (name, ours) in &declared.structs {
        let theirs = layout.structs.get(name);
        match (theirs, listed.remove(&format!("struct {name}"))) {
            (Some(_), Some(_)) => {
                differences.push(format!("struct {name}: is in the layout, so it is no exception"));
            }
            (None, None) => {
                differences.push(format!("struct {name}: neither in the layout nor an exception"));
            }
            _ => {}
        }
        let Some(theirs) = theirs else { continue };
        for (what, ours, theirs) in
            [("size", ours.size, theirs.size), ("alignment", ours.align, theirs.align)]
        {
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours != theirs
            {
                differences.push(format!("struct {name}: {what} is {ours}, must be {theirs}"));
            }
        }
        let fields: BTreeSet<_> = ours.offsets.keys().chain(theirs.offsets.keys()).collect();
        for field in fields {
            match (ours.offsets.get(field), theirs.offsets.get(field)) {
                (Some(ours), Some(theirs)) if ours != theirs => {
                    differences
                        .push(format!("struct {name}: {field} is at offset {ours}, must be at {theirs}"));
                }
                (Some(_), None) => differences.push(format!("struct {name}: {field} is not in the layout")),
                (None, Some(_)) => differences.push(format!("struct {name}: {field} is missing")),
                _ => {}
            }
        }
    }
    for (name, ours) in &declared.enums {
        let Some(theirs) = layout.enums.get(name) else { continue };
        for (value_name, ours) in &ours.values {
            match theirs.values.get(value_name) {
                None => differences.push(format!("enum {name}: {value_name} is not in the layout")),
                Some(theirs) if theirs != ours => {
                    differences.push(format!("enum {name}: {value_name} is {ours}, must be {theirs}"));
                }
                Some(_) => {}
            }
        }
    }
    for (name, ours) in &declared.constants {
        if let Some(theirs) = layout.constants.get(name)
            && theirs.value != *ours
        {
            differences.push(format!("constant {name}: is {ours}, must be {}", theirs.value));
        }
    }
    for (name, ours) in declared.beyond(layout) {
        match (facts.0.get(&name), listed.remove(&name)) {
            (Some(theirs), Some(_)) if *theirs == ours => {
                differences.push(format!("{name}: is among the facts, so it is no exception"));
            }
            (Some(theirs), None) if *theirs != ours => {
                differences.push(format!("{name}: is {ours}, must be {theirs}"));
            }
            (None, None) => differences.push(format!("{name}: neither among the facts nor an exception")),
            _ => {}
        }
    }
    for name in listed.keys() {
        differences.push(format!("{name}: an exception that is not declared"));
    }
    differences
}

/// The exports that a module definition file lists.
pub fn exports(definition: &Path) -> Result<BTreeSet<String>> {
    let text =
        fs::read_to_string(definition).with_context(|| format!("cannot read {}", definition.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(';'));
    Ok(lines.skip_while(|line| *line != "EXPORTS").skip(1).map(str::to_owned).collect())
}

/// A piece of Rust as facts spell it.
fn spelt(tokens: &impl ToTokens) -> String {
    tokens
        .to_token_stream()
        .to_string()
        .replace(":: core :: ffi :: ", "")
        .replace(":: core :: option :: ", "")
}

/// Parameters and result of a function.
fn prototype(signature: &Signature) -> String {
    let mut parameters: Vec<_> = signature
        .inputs
        .iter()
        .map(|parameter| match parameter {
            FnArg::Typed(parameter) => format!("{} {}", spelt(&parameter.ty), spelt(&parameter.pat)),
            FnArg::Receiver(_) => "self".to_owned(),
        })
        .collect();
    if signature.variadic.is_some() {
        parameters.push("...".to_owned());
    }
    format!("({}) {}", parameters.join(", "), spelt(&signature.output)).trim_end().to_owned()
}

/// Value of a literal, with or without a sign.
fn integer(expression: &Expr) -> Option<i128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => Some(-integer(&unary.expr)?),
        _ => None,
    }
}

/// Whether bindgen brings a type of this name by itself.
fn is_helper(name: &str) -> bool {
    name.starts_with("__")
}

/// Whether a structure is only declared, never defined.
fn is_opaque(fields: &Fields) -> bool {
    let name = |field: &syn::Field| field.ident.as_ref().map(ToString::to_string);
    fields.len() == 1 && fields.iter().filter_map(name).any(|name| name == "_unused" || name == "_address")
}
