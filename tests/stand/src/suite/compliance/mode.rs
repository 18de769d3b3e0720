//! MODE SENSE (6) and (10) (SPC-4 6.13, 6.14, 7.5; SBC-3 6.4).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{Command, Direction, Sense};
use stand::spc::{self, Extent, ModeData, ModePage};

use super::Target;
use super::allocation::every_length;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, Reply};

/// PAGE CODE for all pages.
const ALL: u8 = 0x3F;
/// Room for all pages; MODE SENSE (6) has 255 bytes at most.
const ROOM: u16 = 1024;
const SAVING_NOT_SUPPORTED: Sense = Sense { key: 5, asc: 0x39, ascq: 0 };

/// What a MODE SENSE asks for.
#[derive(Clone, Copy)]
pub struct Ask {
    /// The ten-byte form.
    pub ten: bool,
    /// DBD.
    pub no_descriptors: bool,
    /// PC: 0 current, 1 changeable, 2 default, 3 saved.
    pub control: u8,
    /// PAGE CODE.
    pub page: u8,
    /// SUBPAGE CODE.
    pub subpage: u8,
    /// ALLOCATION LENGTH.
    pub length: u16,
}

impl Ask {
    /// The current values of a page.
    pub fn page(ten: bool, page: u8) -> Self {
        let length = if ten { ROOM } else { 255 };
        Ask { ten, no_descriptors: false, control: 0, page, subpage: 0, length }
    }

    fn command(self) -> Command {
        let byte_1 = u8::from(self.no_descriptors) << 3;
        let byte_2 = self.control << 6 | self.page;
        let [high, low] = self.length.to_be_bytes();
        if self.ten {
            let cdb = [0x5A, byte_1, byte_2, self.subpage, 0, 0, 0, high, low, 0];
            spc::command("MODE SENSE(10)", Direction::In, &cdb)
        } else {
            spc::command("MODE SENSE(6)", Direction::In, &[0x1A, byte_1, byte_2, self.subpage, low, 0])
        }
    }

    /// Sends it.
    pub fn send(self, target: &Target<'_>) -> Reply {
        probe::read(target, self.command(), usize::from(self.length))
    }

    /// Sends it and reads the answer.
    pub fn get(self, target: &Target<'_>) -> Result<ModeData, String> {
        self.read(target, &self.send(target))
    }

    fn whole<'r>(self, target: &Target<'_>, reply: &'r Reply) -> Result<&'r [u8], String> {
        let extent = if self.ten { Extent::Mode10 } else { Extent::Mode6 };
        reply.data().map(|data| target.whole(data, extent))
    }

    fn read(self, target: &Target<'_>, reply: &Reply) -> Result<ModeData, String> {
        self.whole(target, reply).and_then(|data| spc::mode_data(data, self.ten))
    }
}

/// Everything about MODE SENSE.
pub fn run(target: &mut Target<'_>) {
    for ten in [false, true] {
        let form = Form { ten, name: if ten { "mode-sense-10" } else { "mode-sense-6" } };
        let data = form.run(target);
        if ten {
            target.mode_10 = data;
        } else {
            target.mode_6 = data;
        }
    }
}

/// One of the two forms.
#[derive(Clone, Copy)]
struct Form {
    ten: bool,
    name: &'static str,
}

impl Form {
    fn run(self, target: &mut Target<'_>) -> Option<ModeData> {
        let ask = Ask::page(self.ten, ALL);
        let reply = ask.send(target);
        // Optional for disks (SBC-3 table 13). MMC-6 asks for the ten-byte form.
        if reply.unknown() && (target.is_disk() || !self.ten) {
            target.skip(self.name, "the command is optional and not implemented");
            return None;
        }
        let current = ask.read(target, &reply);
        let verdict = current.clone().map(|data| {
            let codes: Vec<u8> = data.pages.iter().map(|page| page.code).collect();
            format!("pages {codes:02x?}, {} bytes of block descriptors", data.descriptors.len())
        });
        target.check(&format!("{}-all-pages", self.name), verdict);
        let current = current.ok()?;
        let whole = ask.whole(target, &reply).unwrap_or_default().to_vec();
        every_length(target, self.name, &whole, 0, |length| {
            Ask { length: u16::from(length), ..ask }.command()
        });
        self.descriptors(target, &current);
        self.each_page(target, &current);
        self.controls(target, &current);
        self.refused(target, &current);
        Some(current)
    }

    /// DBD leaves the block descriptors out and nothing else.
    fn descriptors(self, target: &Target<'_>, current: &ModeData) {
        let verdict = Ask { no_descriptors: true, ..Ask::page(self.ten, ALL) }.get(target);
        let verdict = verdict.and_then(|data| {
            if !data.descriptors.is_empty() {
                return Err(format!("{} bytes of block descriptors with DBD", data.descriptors.len()));
            }
            same_pages(current, &data).map(|()| "no block descriptors, the same pages".into())
        });
        target.check(&format!("{}-dbd", self.name), verdict);
    }

    /// A page asked for by itself is the one among all.
    fn each_page(self, target: &Target<'_>, current: &ModeData) {
        let mut faults = Faults::default();
        for page in &current.pages {
            let what = format!("page {:02x}", page.code);
            let data = Ask { subpage: page.subpage, ..Ask::page(self.ten, page.code) }.get(target);
            let verdict = data.and_then(|data| match data.pages.as_slice() {
                [one] if one == page => Ok(()),
                other => Err(format!("{other:02x?}, not {:02x?}", page.bytes)),
            });
            faults.note(&what, verdict);
        }
        let good = format!("{} page(s) as among all", current.pages.len());
        target.check(&format!("{}-each-page", self.name), faults.verdict(good));
    }

    /// SPC-4 6.13.1: the changeable, default and saved values have the same pages with the same lengths; saved values
    /// may be refused where PS is 0 in all pages.
    fn controls(self, target: &Target<'_>, current: &ModeData) {
        for (control, name) in [(1, "changeable"), (2, "default"), (3, "saved")] {
            let check = format!("{}-{name}", self.name);
            let mut faults = Faults::default();
            let ask = Ask { control, ..Ask::page(self.ten, ALL) };
            let whole = ask.send(target);
            let savable = current.pages.iter().any(|page| page.savable);
            if control == 3 && !savable && whole.refused(&[SAVING_NOT_SUPPORTED]).is_ok() {
                for page in &current.pages {
                    let reply = Ask { control, ..Ask::page(self.ten, page.code) }.send(target);
                    faults.note(&format!("page {:02x}", page.code), reply.refused(&[SAVING_NOT_SUPPORTED]));
                }
                target.check(&check, faults.verdict("refused: no page can be saved".into()));
                continue;
            }
            match ask.read(target, &whole) {
                Ok(data) => {
                    faults.note("all pages", same_shape(current, &data));
                    for page in &data.pages {
                        let one = Ask { control, ..Ask::page(self.ten, page.code) }.get(target);
                        let verdict = one.and_then(|one| match one.pages.contains(page) {
                            true => Ok(()),
                            false => Err(format!("{:02x?}, not {:02x?}", one.pages, page.bytes)),
                        });
                        faults.note(&format!("page {:02x}", page.code), verdict);
                    }
                }
                Err(text) => faults.note("all pages", Err(text)),
            }
            target.check(&check, faults.verdict(format!("{} page(s)", current.pages.len())));
        }
    }

    /// SPC-4 6.13.1: a page or subpage that is not implemented is an invalid field, as are the reserved subpages of
    /// page 3F.
    fn refused(self, target: &Target<'_>, current: &ModeData) {
        let mut faults = Faults::default();
        let mut tried = 0;
        for page in (0..ALL).filter(|code| current.pages.iter().all(|page| page.code != *code)) {
            for control in 0..3 {
                let reply = Ask { control, ..Ask::page(self.ten, page) }.send(target);
                faults
                    .note(&format!("page {page:02x}, PC {control}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
            }
            tried += 1;
        }
        let check = format!("{}-other-pages-refused", self.name);
        target.check(&check, faults.verdict(format!("{tried} pages")));

        let mut faults = Faults::default();
        let mut subpages: Vec<(u8, u8)> = [0x01, 0x7F, 0xFE].map(|subpage| (ALL, subpage)).to_vec();
        // Subpages of E0h and above are vendor specific; these are free in the pages of SPC-4 and SBC-3.
        subpages.extend(current.pages.iter().filter(|p| p.subpage == 0).map(|p| (p.code, 0xDF)));
        for (page, subpage) in subpages {
            let reply = Ask { subpage, ..Ask::page(self.ten, page) }.send(target);
            let verdict = reply.refused(&[INVALID_FIELD_IN_CDB]);
            faults.note(&format!("page {page:02x}, subpage {subpage:02x}"), verdict);
        }
        let check = format!("{}-subpages-refused", self.name);
        target.check(&check, faults.verdict("01, 7f, fe of page 3f, df of each page".into()));
    }
}

fn same_pages(one: &ModeData, other: &ModeData) -> Result<(), String> {
    if one.pages == other.pages {
        return Ok(());
    }
    Err(format!("{:02x?} and {:02x?} differ", one.pages, other.pages))
}

/// The same pages by code, subpage and length.
fn same_shape(one: &ModeData, other: &ModeData) -> Result<(), String> {
    let shape = |data: &ModeData| -> Vec<(u8, u8, usize)> {
        let of = |page: &ModePage| (page.code, page.subpage, page.bytes.len());
        data.pages.iter().map(of).collect()
    };
    match (shape(one), shape(other)) {
        (one, other) if one == other => Ok(()),
        (one, other) => Err(format!("pages {other:02x?}, current {one:02x?}")),
    }
}
