//! Compares what the kit's headers declare with the layout of the genuine ones.
//!
//! ```text
//!  include/**.h ── libclang, bindgen: as wdk-sys reads them ──► Declared ─┐
//!  reference/wdk-layout.json ───────────────────────────────► Layout ─────┼─► compare ──► differences, by name
//!  reference/not-in-layout.txt ─────────────────────────────► Exceptions ─┘
//! ```
//!
//! The kit's side is what bindgen generates, because that is what the drivers are compiled with: sizes, alignments and
//! offsets are those that clang computes for the Windows target. The other side is a table of facts about the headers of
//! WDK 10.0.16299. What is declared but not in the table (which leaves out most of `wdm.h`, and enumerations without a
//! tag) must be in the list of exceptions, with the page of Microsoft's documentation that it comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use bindgen::Builder;
use serde::Deserialize;
use syn::{BinOp, Expr, Fields, File, ForeignItem, Item, ItemConst, Lit, Stmt, UnOp};
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
    /// Functions.
    pub functions: BTreeSet<String>,
}

/// What may be declared without being in the [`Layout`].
#[derive(Debug)]
pub struct Exceptions(BTreeMap<(String, String), String>);

impl Layout {
    /// Reads the table of facts.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not a layout", path.display()))
    }
}

impl Exceptions {
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
            ensure!(matches!(kind, "struct" | "enum" | "constant"), "unknown kind of exception: {line}");
            ensure!(page.ends_with(".md"), "an exception must name a page of the documentation: {line}");
            let former = entries.insert((kind.to_owned(), name.to_owned()), page.to_owned());
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
                Item::Const(item) => {
                    let value =
                        integer(&item.expr).with_context(|| format!("{} is no number", item.ident))?;
                    declared.constants.insert(item.ident.to_string(), value);
                }
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
                }
                Item::Union(item) => {
                    declared.structs.entry(item.ident.to_string()).or_default();
                }
                Item::ForeignMod(item) => {
                    declared.functions.extend(item.items.iter().filter_map(|item| match item {
                        ForeignItem::Fn(function) => Some(function.sig.ident.to_string()),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        for (name, structure) in &declared.structs {
            ensure!(structure.size.is_some(), "bindgen states no size of {name}");
        }
        Ok(declared)
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
pub fn compare(declared: &Declared, layout: &Layout, exceptions: &Exceptions) -> Vec<String> {
    let mut differences = Vec::new();
    let mut listed = exceptions.0.clone();
    let mut excepted = |kind: &str, name: &str, known: bool, differences: &mut Vec<String>| {
        let page = listed.remove(&(kind.to_owned(), name.to_owned()));
        match (known, page) {
            (true, Some(_)) => {
                differences.push(format!("{kind} {name}: is in the layout, so it is no exception"))
            }
            (false, None) => {
                differences.push(format!("{kind} {name}: neither in the layout nor an exception"))
            }
            _ => {}
        }
    };
    for (name, ours) in &declared.structs {
        let theirs = layout.structs.get(name);
        excepted("struct", name, theirs.is_some(), &mut differences);
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
        let theirs = layout.enums.get(name);
        excepted("enum", name, theirs.is_some(), &mut differences);
        let Some(theirs) = theirs else { continue };
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
        let theirs = layout.constants.get(name);
        excepted("constant", name, theirs.is_some(), &mut differences);
        if let Some(theirs) = theirs
            && theirs.value != *ours
        {
            differences.push(format!("constant {name}: is {ours}, must be {}", theirs.value));
        }
    }
    for (kind, name) in listed.keys() {
        differences.push(format!("{kind} {name}: an exception that is not declared"));
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
