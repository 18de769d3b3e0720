//! A small driver image of the tests' own: machine code through `object`, linked by the toolchain's `rust-lld`. So the
//! tests need neither the drivers nor the WDK kit.

use object::write::{Object, Relocation, StandardSegment, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind};
use object::{SymbolFlags, SymbolKind, SymbolScope, pe};
use packaging::{Context, Driver, Version, certificate, version_resource};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// 2026-01-02 03:04:05 UTC
pub const TIME: i64 = 1_767_323_045;
pub const VERSION: Version = Version([0, 1, 0, 0]);

/// What the image is made of. The default one breaks no rule.
pub struct Recipe {
    pub driver: &'static Driver,
    pub machine: Machine,
    /// Module and function.
    pub imports: Vec<(&'static str, &'static str)>,
    /// Characteristics of the data section besides being initialised data.
    pub data_flags: u32,
    /// Name and characteristics of one more section.
    pub extra_section: Option<(&'static str, u32)>,
    /// A text in the read-only data.
    pub text: &'static str,
    pub load_config: bool,
    pub unwind: bool,
    pub version: Option<Version>,
    /// Options of the linker left out, and further ones.
    pub without: Vec<&'static str>,
    pub with: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Machine {
    Amd64,
    Arm64,
}

impl Recipe {
    pub fn new(driver: &'static Driver) -> Self {
        Self {
            driver,
            machine: Machine::Amd64,
            imports: vec![("storport.sys", "StorPortInitialize"), ("ntoskrnl.exe", "ExAllocatePool2")],
            data_flags: pe::IMAGE_SCN_MEM_READ | pe::IMAGE_SCN_MEM_WRITE,
            extra_section: None,
            text: "virtio",
            load_config: true,
            unwind: true,
            version: Some(VERSION),
            without: Vec::new(),
            with: Vec::new(),
        }
    }

    /// Links the image in `folder`; returns the paths of `<driver>.sys` and `<driver>.pdb`.
    pub fn link(&self, folder: &Path) -> (PathBuf, PathBuf) {
        fs::create_dir_all(folder).unwrap();
        let image = folder.join(self.driver.file("sys"));
        let symbols = folder.join(self.driver.file("pdb"));
        fs::write(folder.join("entry.obj"), self.object()).unwrap();
        let mut arguments: Vec<String> = [
            "/nologo",
            "/driver",
            "/subsystem:native,10.00",
            "/osversion:10.00",
            "/entry:DriverEntry",
            "/nodefaultlib",
            "/release",
            "/Brepro",
            "/debug",
            "/tsaware:no",
            "/integritycheck",
            "/dynamicbase",
            "/nxcompat",
            "/highentropyva",
            "/guard:cf",
            "/section:INIT,ERD",
            "/section:.rsrc,RD",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("/pdbaltpath:{}", self.driver.file("pdb")));
        // The PDB, and through its hash the image, has the linker's command line in it: no folders in there.
        arguments.push(format!("/out:{}", self.driver.file("sys")));
        arguments.push(format!("/pdb:{}", self.driver.file("pdb")));
        arguments.push(r"/pdbsourcepath:C:\src".to_owned());
        arguments.push("entry.obj".to_owned());
        if let Some(version) = self.version {
            version_resource::compile(self.driver, version, folder).unwrap();
            arguments.push(self.driver.file("res"));
        }
        for (index, library) in self.import_libraries(folder).iter().enumerate() {
            let name = format!("import{index}.lib");
            fs::write(folder.join(&name), library).unwrap();
            arguments.push(name);
        }
        arguments.retain(|argument| !self.without.iter().any(|without| argument.starts_with(without)));
        arguments.extend(self.with.iter().cloned());
        lld(folder, &arguments);
        (image, symbols)
    }

    fn import_libraries(&self, folder: &Path) -> Vec<Vec<u8>> {
        let mut modules: Vec<&str> = self.imports.iter().map(|(module, _)| *module).collect();
        modules.dedup();
        let machine = match self.machine {
            Machine::Amd64 => "x64",
            Machine::Arm64 => "arm64",
        };
        let library = |module: &&str| {
            let functions =
                self.imports.iter().filter(|(own, _)| own == module).map(|(_, function)| *function);
            let exports: String = functions.map(|function| format!("  {function}\n")).collect();
            fs::write(folder.join("import.def"), format!("LIBRARY {module}\nEXPORTS\n{exports}")).unwrap();
            let options = ["/lib", "/nologo", "/def:import.def", "/out:import.lib"].map(str::to_owned);
            lld(folder, &[options.as_slice(), &[format!("/machine:{machine}")]].concat());
            fs::read(folder.join("import.lib")).unwrap()
        };
        modules.iter().map(library).collect()
    }

    /// DriverEntry calls every import and returns.
    fn object(&self) -> Vec<u8> {
        let architecture = match self.machine {
            Machine::Amd64 => Architecture::X86_64,
            Machine::Arm64 => Architecture::Aarch64,
        };
        let mut object = Object::new(BinaryFormat::Coff, architecture, Endianness::Little);
        let text = object.add_section(vec![], b".text".to_vec(), SectionKind::Text);
        let data = object.add_section(
            object.segment_name(StandardSegment::Data).to_vec(),
            b".data".to_vec(),
            SectionKind::Data,
        );
        object.section_mut(data).flags = SectionFlags::Coff {
            characteristics: pe::IMAGE_SCN_CNT_INITIALIZED_DATA
                | pe::IMAGE_SCN_ALIGN_8BYTES
                | self.data_flags,
        };
        let constants = object.add_section(vec![], b".rdata".to_vec(), SectionKind::ReadOnlyData);

        let mut code = Code::new(self.machine);
        for (_, function) in &self.imports {
            let symbol = undefined(&mut object, &format!("__imp_{function}"));
            code.call(symbol);
        }
        let unwind_info = [1, 4, 1, 0, 4, 0x42, 0, 0];
        let (bytes, relocations) = code.finish();
        let length = bytes.len();
        let start = object.append_section_data(text, &bytes, 16);
        for relocation in relocations {
            object.add_relocation(text, relocation).unwrap();
        }
        let entry =
            defined(&mut object, "DriverEntry", SymbolSection::Section(text), start, SymbolKind::Text);
        object.append_section_data(constants, self.text.as_bytes(), 8);

        let cookie = object.append_section_data(data, &0x2B99_2DDF_A232_u64.to_le_bytes(), 8);
        let cookie =
            defined(&mut object, "__security_cookie", SymbolSection::Section(data), cookie, SymbolKind::Data);
        if self.load_config {
            let mut config = vec![0; 0x140];
            config[..4].copy_from_slice(&0x140u32.to_le_bytes());
            let config = object.append_section_data(constants, &config, 8);
            defined(
                &mut object,
                "_load_config_used",
                SymbolSection::Section(constants),
                config,
                SymbolKind::Data,
            );
            let flags = RelocationFlags::Coff { typ: self.address64() };
            object
                .add_relocation(
                    constants,
                    Relocation { offset: config + 0x58, symbol: cookie, addend: 0, flags },
                )
                .unwrap();
        }
        if self.unwind {
            let xdata = object.add_section(vec![], b".xdata".to_vec(), SectionKind::ReadOnlyData);
            object.append_section_data(xdata, &unwind_info, 4);
            let info =
                defined(&mut object, "unwind_info", SymbolSection::Section(xdata), 0, SymbolKind::Data);
            let pdata = object.add_section(vec![], b".pdata".to_vec(), SectionKind::ReadOnlyData);
            let arm = self.machine == Machine::Arm64;
            // x64: begin, end, unwind information. ARM64: begin, unwind information.
            object.append_section_data(pdata, &[0; 12][..if arm { 8 } else { 12 }], 4);
            let image_relative = RelocationFlags::Coff {
                typ: if arm { pe::IMAGE_REL_ARM64_ADDR32NB } else { pe::IMAGE_REL_AMD64_ADDR32NB },
            };
            let mut fields = vec![(0, entry, 0), (if arm { 4 } else { 8 }, info, 0)];
            if !arm {
                fields.push((4, entry, i64::try_from(length).unwrap()));
            }
            for (offset, symbol, addend) in fields {
                object
                    .add_relocation(pdata, Relocation { offset, symbol, addend, flags: image_relative })
                    .unwrap();
            }
        }
        if let Some((name, flags)) = self.extra_section {
            let section = object.add_section(vec![], name.as_bytes().to_vec(), SectionKind::Data);
            object.section_mut(section).flags = SectionFlags::Coff { characteristics: flags };
            object.append_section_data(section, &[0xC3; 16], 16);
        }
        object.write().unwrap()
    }

    fn address64(&self) -> u16 {
        match self.machine {
            Machine::Amd64 => pe::IMAGE_REL_AMD64_ADDR64,
            Machine::Arm64 => pe::IMAGE_REL_ARM64_ADDR64,
        }
    }
}

struct Code {
    machine: Machine,
    bytes: Vec<u8>,
    relocations: Vec<Relocation>,
}

impl Code {
    fn new(machine: Machine) -> Self {
        let prologue: &[u8] = match machine {
            Machine::Amd64 => &[0x48, 0x83, 0xEC, 0x28], // sub rsp, 28h
            Machine::Arm64 => &[],
        };
        Self { machine, bytes: prologue.to_vec(), relocations: Vec::new() }
    }

    fn call(&mut self, symbol: SymbolId) {
        let offset = self.bytes.len() as u64;
        let mut relocation = |offset, typ, addend| {
            self.relocations.push(Relocation {
                offset,
                symbol,
                addend,
                flags: RelocationFlags::Coff { typ },
            });
        };
        match self.machine {
            // call [rip + import]
            Machine::Amd64 => {
                self.bytes.extend([0xFF, 0x15, 0, 0, 0, 0]);
                relocation(offset + 2, pe::IMAGE_REL_AMD64_REL32, -4);
            }
            // adrp x8, import; ldr x8, [x8, import]; blr x8
            Machine::Arm64 => {
                self.bytes.extend([0x9000_0008u32, 0xF940_0108, 0xD63F_0100].map(u32::to_le_bytes).concat());
                relocation(offset, pe::IMAGE_REL_ARM64_PAGEBASE_REL21, 0);
                relocation(offset + 4, pe::IMAGE_REL_ARM64_PAGEOFFSET_12L, 0);
            }
        }
    }

    fn finish(mut self) -> (Vec<u8>, Vec<Relocation>) {
        self.bytes.extend(match self.machine {
            Machine::Amd64 => [0x48, 0x83, 0xC4, 0x28, 0xC3].as_slice(), // add rsp, 28h; ret
            Machine::Arm64 => &[0xC0, 0x03, 0x5F, 0xD6],                 // ret
        });
        (self.bytes, self.relocations)
    }
}

fn undefined(object: &mut Object<'_>, name: &str) -> SymbolId {
    defined(object, name, SymbolSection::Undefined, 0, SymbolKind::Unknown)
}

fn defined(
    object: &mut Object<'_>,
    name: &str,
    section: SymbolSection,
    value: u64,
    kind: SymbolKind,
) -> SymbolId {
    object.add_symbol(Symbol {
        name: name.as_bytes().to_vec(),
        value,
        size: 0,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section,
        flags: SymbolFlags::None,
    })
}

/// Runs the toolchain's linker in `folder`.
fn lld(folder: &Path, arguments: &[String]) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let ask = |arguments: &[&str]| {
            String::from_utf8(Command::new("rustc").args(arguments).output().unwrap().stdout).unwrap()
        };
        let about = ask(&["-vV"]);
        let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let sysroot = ask(&["--print", "sysroot"]);
        PathBuf::from(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld")
    });
    let output =
        Command::new(program).args(["-flavor", "link"]).args(arguments).current_dir(folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One certificate for all tests, kept from run to run: making an RSA key takes a while.
pub fn context() -> Context {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cert");
    Context { time: TIME, version: VERSION, certificate: certificate::load_or_create(&folder, TIME).unwrap() }
}

/// The INF template of a driver in this work tree.
pub fn template(driver: &Driver) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inf").join(driver.file("inx"))
}
