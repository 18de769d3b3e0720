//! Checks a driver image by rule: what Windows' kernel loader, memory integrity (HVCI) and Setup expect of it.
//!
//! Each rule has a name, and a finding says what is wrong and what to do. [`RULES`] lists them all with their reasons.

mod checksum;
mod resource;

pub use checksum::{checksum, stored_checksum};
pub use resource::{FileVersion, file_version};

use crate::context::Version;
use crate::driver::Arch;
use anyhow::{Context as _, Result};
use object::pe::{self, ImageDataDirectory};
use object::read::pe::{ImageNtHeaders, PeFile64};
use object::{LittleEndian as LE, Object};
use std::fmt;
use std::fs;
use std::path::Path;

/// What an image is held to besides the rules that hold for every driver.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The processor it must be for.
    pub arch: Arch,
    /// The version its resource must have.
    pub version: Option<Version>,
    /// The PDB that must belong to it.
    pub symbols: Option<&'a Path>,
    /// The name its resource must have as original file name.
    pub file_name: Option<&'a str>,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule, one of [`RULES`].
    pub rule: &'static str,
    /// Whether the image must not ship like this. Otherwise it works, but less well than it could.
    pub is_error: bool,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_error { "error" } else { "warning" };
        write!(f, "{level} [{}]: {}", self.rule, self.what)
    }
}

/// All rules: name, whether breaking it is an error, and why it exists.
pub const RULES: &[(&str, bool, &str)] = &[
    ("pe", true, "the file is a 64-bit PE image"),
    ("machine", true, "it is for the package's processor"),
    ("subsystem", true, "native: kernel code without a Windows subsystem"),
    ("os-version", true, "operating system and subsystem version 10.0: Windows 10 and later"),
    ("checksum", true, "the loader checks it for every driver"),
    ("alignment", true, "sections start on pages, so that each can have its own protection"),
    ("write-execute", true, "memory integrity refuses memory that is writable and executable"),
    ("imports-executable", true, "the import address table is written at load time, so it is not in code"),
    ("relocatable", true, "DYNAMICBASE and relocations: the kernel places drivers where it wants"),
    ("relocation-straddle", true, "memory integrity before 1703 cannot relocate across a page"),
    ("nx", true, "NXCOMPAT: data is not executable"),
    ("high-entropy", true, "HIGHENTROPYVA: all 64 bits of address space"),
    ("guard-cf", false, "control flow guard checks indirect calls"),
    ("integrity-check", false, "FORCE_INTEGRITY: the loader insists on a signature"),
    ("terminal-server-aware", true, "means nothing in a driver and is set by mistake"),
    ("discardable", true, "initialisation code, resources and relocations are dropped after start"),
    ("paged", true, "a section named PAGE must be pageable"),
    ("import-module", true, "a boot driver may import from these modules alone"),
    ("import-ordinal", true, "ordinals of the kernel change from release to release"),
    ("import-forbidden", true, "executable pool and mappings; memory integrity refuses them"),
    ("import-late", true, "no delayed and no bound imports in a kernel image"),
    ("tls", true, "the kernel has no thread-local storage"),
    ("managed", true, "the kernel has no .NET"),
    ("exports", true, "nobody imports from a miniport; only DriverEntry is tolerated"),
    ("entry", true, "the entry point is code"),
    ("unwind", true, "exceptions and crash dumps need the unwind table"),
    ("security-cookie", true, "a load configuration with a cookie that the loader can seed"),
    ("version-resource", true, "Windows compares it with DriverVer, people look at it"),
    ("pdb-path", true, "the debug entry names the PDB without the builder's folders"),
    ("pdb-match", true, "the PDB in the package is this image's"),
    ("leaked-path", false, "the builder's folders in panic messages make builds differ"),
    ("length", true, "the signature starts on a multiple of 8, at the end of the file"),
];

const ALLOWED_MODULES: [&str; 3] = ["ntoskrnl.exe", "hal.dll", "storport.sys"];

/// What allocates executable pool, or maps memory as executable by default. (ExAllocatePool2 and the explicit
/// `NonPagedPoolNx` of other calls are fine and cannot be told apart by name.)
const FORBIDDEN_IMPORTS: [&str; 9] = [
    "ExAllocatePool",
    "ExAllocatePoolWithTag",
    "ExAllocatePoolWithQuota",
    "ExAllocatePoolWithQuotaTag",
    "ExAllocatePoolWithTagPriority",
    "MmAllocateContiguousMemory",
    "MmMapIoSpace",
    "MmMapLockedPages",
    "MmGetSystemAddressForMdl",
];

/// Checks the image in a file.
///
/// # Errors
/// When the file or the PDB cannot be read. Whatever is wrong with the image is a finding.
pub fn check_file(path: &Path, expected: &Expected<'_>) -> Result<Vec<Finding>> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(check(&bytes, expected, expected.symbols.map(symbols_identity)))
}

/// GUID (as in the file) and age of a PDB.
type Identity = ([u8; 16], u32);

fn symbols_identity(path: &Path) -> Result<Identity> {
    let name = path.display();
    let file = fs::File::open(path).with_context(|| format!("{name} cannot be read"))?;
    let mut symbols = pdb::PDB::open(file).with_context(|| format!("{name} is no PDB"))?;
    let guid = symbols.pdb_information().with_context(|| format!("{name} is no PDB"))?.guid.to_bytes_le();
    let age = symbols.debug_information().ok().and_then(|information| information.age()).unwrap_or(1);
    Ok((guid, age))
}

struct Checker<'a> {
    bytes: &'a [u8],
    image: PeFile64<'a>,
    findings: Vec<Finding>,
}

fn check(bytes: &[u8], expected: &Expected<'_>, symbols: Option<Result<Identity>>) -> Vec<Finding> {
    let image = match PeFile64::parse(bytes) {
        Ok(image) => image,
        Err(error) => {
            return vec![Finding {
                rule: "pe",
                is_error: true,
                what: format!("not a 64-bit PE image: {error}"),
            }];
        }
    };
    let mut checker = Checker { bytes, image, findings: Vec::new() };
    checker.headers(expected);
    checker.sections();
    checker.relocations();
    // A damaged table is a finding of the rule that needed it.
    if let Err(error) = checker.imports() {
        checker.report("import-module", format!("the import table cannot be read: {error}"));
    }
    checker.exports();
    checker.start();
    checker.version(expected);
    checker.debug(symbols);
    checker.paths();
    checker.end();
    checker.findings
}

impl Checker<'_> {
    fn report(&mut self, rule: &'static str, what: impl Into<String>) {
        let is_error = RULES.iter().find(|known| known.0 == rule).is_none_or(|known| known.1);
        self.findings.push(Finding { rule, is_error, what: what.into() });
    }

    fn require(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.report(rule, what());
        }
    }

    fn directory(&self, index: usize) -> Option<ImageDataDirectory> {
        self.image
            .data_directories()
            .get(index)
            .copied()
            .filter(|directory| directory.virtual_address.get(LE) != 0)
    }

    /// The bytes behind an address relative to the image's start, up to the end of their section.
    fn at(&self, address: u32) -> Option<&'_ [u8]> {
        self.image.section_table().pe_data_at(self.bytes, address)
    }

    fn headers(&mut self, expected: &Expected<'_>) {
        let machine = self.image.nt_headers().file_header().machine.get(LE);
        let optional = *self.image.nt_headers().optional_header();
        self.require("machine", machine == expected.arch.machine(), || {
            let (arch, wanted) = (expected.arch, expected.arch.machine());
            format!("machine {machine:#06x}, for {arch} it is {wanted:#06x}: build for the other target")
        });
        let subsystem = optional.subsystem.get(LE);
        self.require("subsystem", subsystem == pe::IMAGE_SUBSYSTEM_NATIVE, || {
            format!("subsystem {subsystem}, not 1 (native): link with /subsystem:native,10.00")
        });
        let versions = [
            (
                optional.major_operating_system_version.get(LE),
                optional.minor_operating_system_version.get(LE),
            ),
            (optional.major_subsystem_version.get(LE), optional.minor_subsystem_version.get(LE)),
        ];
        self.require("os-version", versions == [(10, 0); 2], || {
            let [(a, b), (c, d)] = versions;
            format!("operating system {a}.{b}, subsystem {c}.{d}: link with /subsystem:native,10.00 /osversion:10.00")
        });
        let (stored, right) = (optional.check_sum.get(LE), checksum(self.bytes));
        self.require("checksum", Some(stored) == right, || match right {
            Some(right) => {
                format!("{stored:#x}, should be {right:#x}: link with /release, sign with osslsigncode")
            }
            None => "no place for it in the header".to_owned(),
        });
        let alignment = optional.section_alignment.get(LE);
        self.require("alignment", alignment != 0 && alignment % 0x1000 == 0, || {
            format!("section alignment {alignment:#x} is no multiple of 0x1000: leave /align away")
        });
        let flags = optional.dll_characteristics.get(LE);
        let wanted = [
            ("relocatable", pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "/dynamicbase"),
            ("nx", pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "/nxcompat"),
            ("high-entropy", pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, "/highentropyva"),
            ("guard-cf", pe::IMAGE_DLLCHARACTERISTICS_GUARD_CF, "/guard:cf"),
            ("integrity-check", pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, "/integritycheck"),
        ];
        for (rule, flag, option) in wanted {
            self.require(rule, flags & flag != 0, || format!("not set in {flags:#06x}: link with {option}"));
        }
        let terminal = pe::IMAGE_DLLCHARACTERISTICS_TERMINAL_SERVER_AWARE;
        self.require("terminal-server-aware", flags & terminal == 0, || {
            "set: link with /tsaware:no".to_owned()
        });
    }

    fn sections(&mut self) {
        let sections: Vec<_> = self.image.section_table().iter().copied().collect();
        for section in &sections {
            let name = String::from_utf8_lossy(section.raw_name()).into_owned();
            let flags = section.characteristics.get(LE);
            let (write, execute) =
                (flags & pe::IMAGE_SCN_MEM_WRITE != 0, flags & pe::IMAGE_SCN_MEM_EXECUTE != 0);
            self.require("write-execute", !(write && execute), || {
                format!("section {name} is writable and executable ({flags:#010x})")
            });
            let discardable = flags & pe::IMAGE_SCN_MEM_DISCARDABLE != 0;
            if matches!(name.as_str(), "INIT" | ".rsrc" | ".reloc") {
                self.require("discardable", discardable, || {
                    let letters = if name == "INIT" { "ERD" } else { "RD" };
                    format!("section {name} stays in memory: link with /section:{name},{letters}")
                });
            }
            if name.starts_with("PAGE") {
                self.require("paged", flags & pe::IMAGE_SCN_MEM_NOT_PAGED == 0, || {
                    format!("section {name} is marked as not paged ({flags:#010x})")
                });
            }
        }
        let table = self.directory(pe::IMAGE_DIRECTORY_ENTRY_IAT).map(|table| table.virtual_address.get(LE));
        if let Some(address) = table
            && let Some(section) = section_of(&sections, address)
        {
            self.require("imports-executable", section.characteristics.get(LE) & pe::IMAGE_SCN_MEM_EXECUTE == 0, || {
                let name = String::from_utf8_lossy(section.raw_name());
                format!("the import address table is in the executable section {name}: do not merge .rdata into it")
            });
        }
    }

    fn relocations(&mut self) {
        let stripped =
            self.image.nt_headers().file_header().characteristics.get(LE) & pe::IMAGE_FILE_RELOCS_STRIPPED;
        let blocks =
            match self.image.data_directories().relocation_blocks(self.bytes, &self.image.section_table()) {
                Ok(Some(blocks)) if stripped == 0 => blocks,
                _ => return self.report("relocatable", "no relocations: leave /fixed away"),
            };
        let mut blocks = blocks;
        let mut straddling = Vec::new();
        loop {
            match blocks.next() {
                Ok(Some(block)) => {
                    let crosses = |address: &u32| address % 0x1000 > 0x1000 - 8;
                    straddling.extend(
                        block
                            .filter(|relocation| relocation.typ == pe::IMAGE_REL_BASED_DIR64)
                            .map(|relocation| relocation.virtual_address)
                            .filter(crosses),
                    );
                }
                Ok(None) => break,
                Err(error) => {
                    return self.report("relocatable", format!("the relocations cannot be read: {error}"));
                }
            }
        }
        if let Some(first) = straddling.first() {
            self.report(
                "relocation-straddle",
                format!("{} of them, the first at {first:#x}", straddling.len()),
            );
        }
    }

    fn imports(&mut self) -> object::Result<()> {
        let late = [
            (pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, "import-late", "delayed imports: leave /delayload away"),
            (pe::IMAGE_DIRECTORY_ENTRY_BOUND_IMPORT, "import-late", "bound imports"),
            (pe::IMAGE_DIRECTORY_ENTRY_TLS, "tls", "a TLS directory: no #[thread_local] in a driver"),
            (pe::IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, "managed", "a CLR header"),
        ];
        for (index, rule, what) in late {
            self.require(rule, self.directory(index).is_none(), || what.to_owned());
        }
        let Some(table) = self.image.import_table()? else { return Ok(()) };
        let mut descriptors = table.descriptors()?;
        let mut findings = Vec::new();
        while let Some(descriptor) = descriptors.next()? {
            let module = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
            if !ALLOWED_MODULES.iter().any(|allowed| allowed.eq_ignore_ascii_case(&module)) {
                let allowed = ALLOWED_MODULES.join(", ");
                findings.push(("import-module", format!("imports from {module}; allowed are {allowed}")));
            }
            let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
            while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
                use object::read::pe::ImageThunkData as _;
                if thunk.is_ordinal() {
                    findings.push(("import-ordinal", format!("ordinal {} of {module}", thunk.ordinal())));
                    continue;
                }
                let (_, name) = table.hint_name(thunk.address())?;
                if FORBIDDEN_IMPORTS.iter().any(|forbidden| forbidden.as_bytes() == name) {
                    let name = String::from_utf8_lossy(name);
                    findings.push((
                        "import-forbidden",
                        format!("{name}: use the call that asks for no execution"),
                    ));
                }
            }
        }
        for (rule, what) in findings {
            self.report(rule, what);
        }
        Ok(())
    }

    fn exports(&mut self) {
        match self.image.exports() {
            Ok(exports) => {
                // A Rust cdylib exports its entry point; more than that is a mistake.
                let others: Vec<_> = exports
                    .iter()
                    .map(|export| String::from_utf8_lossy(export.name()).into_owned())
                    .filter(|name| name != "DriverEntry" && name != "GsDriverEntry")
                    .collect();
                self.require("exports", others.is_empty(), || format!("exports {}", others.join(", ")));
            }
            Err(error) => self.report("exports", format!("the export table cannot be read: {error}")),
        }
    }

    fn start(&mut self) {
        let sections: Vec<_> = self.image.section_table().iter().copied().collect();
        let entry = self.image.nt_headers().optional_header().address_of_entry_point.get(LE);
        let is_code = entry != 0
            && section_of(&sections, entry)
                .is_some_and(|section| section.characteristics.get(LE) & pe::IMAGE_SCN_MEM_EXECUTE != 0);
        self.require("entry", is_code, || {
            format!("entry point {entry:#x} is not code: link with /entry:DriverEntry")
        });
        let unwind = self.directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION);
        self.require("unwind", unwind.is_some_and(|table| table.size.get(LE) >= 8), || {
            "no unwind table (.pdata): compile with -C force-unwind-tables".to_owned()
        });
        // IMAGE_LOAD_CONFIG_DIRECTORY64.SecurityCookie, an address, at 0x58.
        let cookie = self.directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG).and_then(|directory| {
            let bytes = self.at(directory.virtual_address.get(LE))?.get(0x58..0x60)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        });
        let base = self.image.nt_headers().optional_header().image_base.get(LE);
        let in_data = cookie.and_then(|address| u32::try_from(address.checked_sub(base)?).ok()).is_some_and(
            |address| {
                section_of(&sections, address)
                    .is_some_and(|section| section.characteristics.get(LE) & pe::IMAGE_SCN_MEM_WRITE != 0)
            },
        );
        self.require("security-cookie", in_data, || match cookie {
            None => "no load configuration: define _load_config_used".to_owned(),
            Some(address) => format!("its address {address:#x} is not in a writable section of the image"),
        });
    }

    fn version(&mut self, expected: &Expected<'_>) {
        let found = match file_version(self.bytes) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return self.report("version-resource", "none: link the .res file that packaging makes");
            }
            Err(error) => return self.report("version-resource", format!("cannot be read: {error}")),
        };
        self.require("version-resource", found.file_type == 3, || {
            format!("file type {}, not 3 (driver)", found.file_type)
        });
        if let Some(version) = expected.version {
            for (what, own) in [("file", found.file), ("product", found.product)] {
                self.require("version-resource", own == version, || {
                    format!("{what} version {own}, DriverVer is {version}: rebuild the image")
                });
            }
            let text = found.string("FileVersion").map(str::to_owned);
            self.require("version-resource", text.as_deref() == Some(&version.to_string()), || {
                format!("string FileVersion is {text:?}, DriverVer is {version}")
            });
        }
        if let Some(name) = expected.file_name {
            let own = found.string("OriginalFilename").map(str::to_owned);
            self.require("version-resource", own.as_deref() == Some(name), || {
                format!("original file name is {own:?}, the file is {name}")
            });
        }
    }

    fn debug(&mut self, symbols: Option<Result<Identity>>) {
        let entry = match self.image.pdb_info() {
            Ok(Some(entry)) => entry,
            Ok(None) => return self.report("pdb-match", "no debug entry (CodeView): link with /debug"),
            Err(error) => {
                return self.report("pdb-match", format!("the debug entry cannot be read: {error}"));
            }
        };
        let (guid, age) = (entry.guid(), entry.age());
        let path = String::from_utf8_lossy(entry.path()).into_owned();
        self.require("pdb-path", !path.contains(['/', '\\', ':']), || {
            format!("{path}: link with /pdbaltpath: and the name alone")
        });
        match symbols {
            None => {}
            Some(Err(error)) => self.report("pdb-match", format!("{error:#}")),
            Some(Ok(identity)) => self.require("pdb-match", identity == (guid, age), || {
                format!("the PDB (age {}) is not this image's (age {age}): build both together", identity.1)
            }),
        }
    }

    fn paths(&mut self) {
        let marks: [&[u8]; 4] = [b"/home/", b"/root/", b"/.cargo/", b":\\Users\\"];
        for mark in marks {
            if let Some(position) = self.bytes.windows(mark.len()).position(|window| window == mark) {
                let is_printable = |byte: &&u8| byte.is_ascii_graphic();
                let text: Vec<u8> =
                    self.bytes[position..].iter().take(60).take_while(is_printable).copied().collect();
                let text = String::from_utf8_lossy(&text).into_owned();
                self.report(
                    "leaked-path",
                    format!("{text} at {position:#x}: compile with --remap-path-prefix"),
                );
                return;
            }
        }
    }

    fn end(&mut self) {
        let length = self.bytes.len();
        // The certificate table's address is a file offset, unlike those of the other tables.
        match self.directory(pe::IMAGE_DIRECTORY_ENTRY_SECURITY) {
            None => self.require("length", length.is_multiple_of(8), || {
                format!("{length} bytes is no multiple of 8: the signer would have to pad")
            }),
            Some(table) => {
                let (start, size) = (table.virtual_address.get(LE) as usize, table.size.get(LE) as usize);
                self.require("length", start % 8 == 0 && start.checked_add(size) == Some(length), || {
                    format!("the signature at {start:#x} with {size:#x} bytes does not end the file of {length:#x}")
                });
            }
        }
    }
}

fn section_of(sections: &[pe::ImageSectionHeader], address: u32) -> Option<&pe::ImageSectionHeader> {
    sections.iter().find(|section| {
        let start = section.virtual_address.get(LE);
        let length = section.virtual_size.get(LE).max(section.size_of_raw_data.get(LE));
        (start..start.saturating_add(length)).contains(&address)
    })
}
