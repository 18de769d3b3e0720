//! MODE SELECT (6) and (10) (SPC-4 6.11, 6.12), where it is implemented.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{Command, Direction};
use stand::spc::{self, ModeData, ModePage};

use super::Target;
use super::mode::Ask;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST, LIST_LENGTH, Reply};

/// PF: the list has pages.
const PF: u8 = 0x10;
/// SP: save the pages.
const SP: u8 = 0x01;
/// Caching page.
const CACHING: u8 = 0x08;
/// WCE in byte 2 of the caching page.
const WCE: u8 = 0x04;

/// Everything about MODE SELECT.
pub fn run(target: &Target<'_>) {
    for (ten, name) in [(false, "mode-select-6"), (true, "mode-select-10")] {
        let Some(current) = (if ten { &target.mode_10 } else { &target.mode_6 }) else {
            target.skip(name, "there is no MODE SENSE of this form");
            continue;
        };
        let form = Form { target, ten, name };
        let empty = form.send(PF, &[]);
        if empty.unknown() {
            target.skip(name, "the command is optional and not implemented");
            form.nothing_changeable();
            continue;
        }
        if empty.rejected() && form.send(PF, &form.list_of(current)).rejected() {
            // One failure, not one of each check that follows.
            let text = format!("not implemented, but not refused with 20/00: {}", empty.text());
            target.check(name, Err(text));
            continue;
        }
        // SPC-4 6.11: a list of length 0 is no error and changes nothing.
        form.verdict("empty", empty.succeeded(), "an empty list");
        form.run(current);
    }
}

struct Form<'t, 'u> {
    target: &'t Target<'u>,
    ten: bool,
    name: &'static str,
}

impl Form<'_, '_> {
    fn verdict(&self, what: &str, verdict: Result<(), String>, good: &str) {
        self.target.check(&format!("{}-{what}", self.name), verdict.map(|()| good.into()));
    }

    fn send(&self, flags: u8, list: &[u8]) -> Reply {
        let [high, low] = (list.len() as u16).to_be_bytes();
        let command: Command = if self.ten {
            let cdb = [0x55, flags, 0, 0, 0, 0, 0, high, low, 0];
            spc::command("MODE SELECT(10)", Direction::Out, &cdb)
        } else {
            spc::command("MODE SELECT(6)", Direction::Out, &[0x15, flags, 0, 0, low, 0])
        };
        probe::write(self.target, command, list)
    }

    /// A list with one page: header and no block descriptors. MODE DATA LENGTH and PS are reserved in it.
    fn list(&self, page: &ModePage) -> Vec<u8> {
        let mut list = if self.ten { alloc::vec![0; 8] } else { alloc::vec![0; 4] };
        let header = list.len();
        list.extend(&page.bytes);
        list[header] &= 0x7F;
        list
    }

    fn list_of(&self, data: &ModeData) -> Vec<u8> {
        data.pages.first().map(|page| self.list(page)).unwrap_or_default()
    }

    fn pages(&self, control: u8) -> Vec<ModePage> {
        let ask = Ask { control, ..Ask::page(self.ten, 0x3F) };
        ask.get(self.target).map(|data| data.pages).unwrap_or_default()
    }

    /// Without MODE SELECT nothing can be changed, and the changeable values must say so.
    fn nothing_changeable(&self) {
        let mut faults = Faults::default();
        for page in self.pages(1) {
            let zero = page.bytes[page.header()..].iter().all(|byte| *byte == 0);
            let verdict = if zero { Ok(()) } else { Err(format!("changeable bits {:02x?}", page.bytes)) };
            faults.note(&format!("page {:02x}", page.code), verdict);
        }
        let check = format!("{}-absent-nothing-changeable", self.name);
        self.target.check(&check, faults.verdict("no changeable bit is claimed".into()));
    }

    fn run(&self, current: &ModeData) {
        // What is there may always be written again.
        let mut faults = Faults::default();
        for page in &current.pages {
            faults.note(&format!("page {:02x}", page.code), self.send(PF, &self.list(page)).succeeded());
        }
        let unchanged = self.pages(0) == current.pages;
        faults.note("afterwards", if unchanged { Ok(()) } else { Err("the pages have changed".into()) });
        self.target.check(&format!("{}-current-values", self.name), faults.verdict("each page".into()));

        let Some(page) = current.pages.first() else { return };
        let mut faults = Faults::default();
        let list = self.list(page);
        for cut in [1, list.len() - page.bytes.len() - 1, list.len() - 1] {
            let reply = self.send(PF, &list[..cut]);
            faults.note(&format!("{cut} bytes of {}", list.len()), reply.refused(&[LIST_LENGTH]));
        }
        let check = format!("{}-truncated-list-refused", self.name);
        self.target.check(&check, faults.verdict("header and page cut short".into()));

        let unknown = (1..0x3E).rev().find(|code| current.pages.iter().all(|page| page.code != *code));
        let unknown = unknown.unwrap_or(0x3E);
        let mut list = self.list(page);
        let at = list.len() - page.bytes.len();
        list[at] = unknown;
        let reply = self.send(PF, &list);
        self.verdict("unknown-page-refused", reply.refused(&[INVALID_FIELD_IN_LIST]), "an unknown page");

        let mut list = self.list(page);
        list[at + page.header() - 1] ^= 1;
        let reply = self.send(PF, &list);
        self.verdict(
            "wrong-page-length-refused",
            reply.refused(&[INVALID_FIELD_IN_LIST, LIST_LENGTH]),
            "PAGE LENGTH off by one",
        );

        if current.pages.iter().all(|page| !page.savable) {
            let reply = self.send(PF | SP, &self.list(page));
            let verdict = reply.refused(&[INVALID_FIELD_IN_CDB]);
            self.verdict("save-refused", verdict, "SP where no page can be saved");
        }
        self.fixed_bits(current);
        self.write_cache(current);
    }

    /// SPC-4 6.11: a change of a bit that is not changeable is refused, and nothing changes.
    fn fixed_bits(&self, current: &ModeData) {
        let mut faults = Faults::default();
        let mut tried = 0;
        for mask in self.pages(1) {
            let Some(page) = current.pages.iter().find(|p| (p.code, p.subpage) == (mask.code, mask.subpage))
            else {
                continue;
            };
            let Some(at) = (mask.header()..mask.bytes.len()).find(|at| mask.bytes[*at] == 0) else {
                continue;
            };
            let mut changed = page.clone();
            changed.bytes[at] ^= 0xFF;
            let reply = self.send(PF, &self.list(&changed));
            faults
                .note(&format!("page {:02x}, byte {at}", page.code), reply.refused(&[INVALID_FIELD_IN_LIST]));
            tried += 1;
        }
        let unchanged = self.pages(0) == current.pages;
        faults.note("afterwards", if unchanged { Ok(()) } else { Err("the pages have changed".into()) });
        let check = format!("{}-unchangeable-refused", self.name);
        self.target.check(&check, faults.verdict(format!("{tried} page(s)")));
    }

    /// WCE, where it can be changed: it changes, the mode page says so, and it changes back.
    fn write_cache(&self, current: &ModeData) {
        let check = format!("{}-write-cache", self.name);
        let changeable = self.pages(1).iter().any(|page| page.code == CACHING && page.bytes[2] & WCE != 0);
        let Some(page) = current.pages.iter().find(|page| page.code == CACHING).filter(|_| changeable) else {
            return self.target.skip(&check, "WCE cannot be changed");
        };
        let mut other = page.clone();
        other.bytes[2] ^= WCE;
        let mut faults = Faults::default();
        for (what, wanted) in [("switched", &other), ("switched back", page)] {
            faults.note(what, self.send(PF, &self.list(wanted)).succeeded());
            let now = Ask::page(self.ten, CACHING).get(self.target).map(|data| data.pages);
            let same = now.as_ref().is_ok_and(|pages| pages.first() == Some(wanted));
            faults.note(what, if same { Ok(()) } else { Err(format!("the page is {now:02x?}")) });
        }
        self.target.check(&check, faults.verdict("WCE off and on".into()));
    }
}
