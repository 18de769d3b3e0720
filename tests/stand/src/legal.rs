//! Which memory a device may reach: what the miniport was given for that purpose, page by page.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What the device may do with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
}

impl Access {
    /// The data of a write request.
    pub const READ: Self = Self { read: true, write: false };
    /// The data of a read request.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Memory that both use.
    pub const BOTH: Self = Self { read: true, write: true };
}

/// How often a page is given for reading and for writing: two requests may have data in one page.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    read: u32,
    write: u32,
}

impl Given {
    fn access(self) -> Access {
        Access { read: self.read > 0, write: self.write > 0 }
    }
}

/// A page whose access changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Physical address of the page.
    pub page: u64,
    /// What was allowed before.
    pub before: Access,
    /// What is allowed now.
    pub after: Access,
}

/// The memory that a device may reach.
#[derive(Debug, Default)]
pub struct Legal {
    pages: BTreeMap<u64, Given>,
}

impl Legal {
    /// Nothing is legal.
    pub const fn new() -> Self {
        Self { pages: BTreeMap::new() }
    }

    /// Gives a range of physical memory; answers with what that changes. Whole pages are given: an IOMMU has nothing finer.
    pub fn allow(&mut self, address: u64, bytes: u64, access: Access) -> Vec<Change> {
        self.change(address, bytes, |given| {
            given.read += u32::from(access.read);
            given.write += u32::from(access.write);
        })
    }

    /// Takes back a range that was given with the same access; answers with what that changes.
    pub fn forbid(&mut self, address: u64, bytes: u64, access: Access) -> Vec<Change> {
        self.change(address, bytes, |given| {
            given.read -= u32::from(access.read);
            given.write -= u32::from(access.write);
        })
    }

    /// What a device may do at an address.
    pub fn at(&self, address: u64) -> Access {
        self.pages.get(&(address / PAGE * PAGE)).map_or(Access::default(), |given| given.access())
    }

    /// Whether all of a range may be read, or written.
    pub fn allows(&self, address: u64, bytes: u64, write: bool) -> bool {
        pages(address, bytes).all(|page| {
            let access = self.at(page);
            if write { access.write } else { access.read }
        })
    }

    fn change(&mut self, address: u64, bytes: u64, how: impl Fn(&mut Given)) -> Vec<Change> {
        let mut changes = Vec::new();
        for page in pages(address, bytes) {
            let given = self.pages.entry(page).or_default();
            let before = given.access();
            how(given);
            let after = given.access();
            if after == Access::default() {
                self.pages.remove(&page);
            }
            if before != after {
                changes.push(Change { page, before, after });
            }
        }
        changes
    }
}

/// The pages that a range touches.
fn pages(address: u64, bytes: u64) -> impl Iterator<Item = u64> {
    let first = address / PAGE;
    let end = if bytes == 0 { first } else { address.saturating_add(bytes).div_ceil(PAGE) };
    (first..end).map(|page| page * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_legal_and_only_in_the_direction_given() {
        let mut legal = Legal::new();

        legal.allow(0x1F00, 0x200, Access::READ);

        assert!(legal.allows(0x1000, 0x2000, false), "whole pages are given");
        assert!(!legal.allows(0x1000, 1, true));
        assert!(!legal.allows(0x2FFF, 2, false), "the page after it is not given");
        assert!(!legal.allows(0xFFF, 2, false), "nor the one before it");
    }

    #[test]
    fn a_page_of_two_requests_stays_legal_until_both_have_ended() {
        let mut legal = Legal::new();
        legal.allow(0x1000, 512, Access::WRITE);
        legal.allow(0x1200, 512, Access::WRITE);

        assert_eq!(legal.forbid(0x1000, 512, Access::WRITE), [], "nothing changes yet");
        assert!(legal.allows(0x1200, 512, true));

        let gone = Change { page: 0x1000, before: Access::WRITE, after: Access::default() };
        assert_eq!(legal.forbid(0x1200, 512, Access::WRITE), [gone]);
        assert!(!legal.allows(0x1200, 1, true));
    }

    #[test]
    fn reading_and_writing_are_counted_apart() {
        let mut legal = Legal::new();
        legal.allow(0x1000, 1, Access::READ);

        let both = Change { page: 0x1000, before: Access::READ, after: Access::BOTH };
        assert_eq!(legal.allow(0x1800, 1, Access::WRITE), [both]);
        let less = Change { page: 0x1000, before: Access::BOTH, after: Access::WRITE };
        assert_eq!(legal.forbid(0x1000, 1, Access::READ), [less]);
    }

    #[test]
    fn a_range_beyond_the_end_of_all_addresses_is_not_legal() {
        assert!(!Legal::new().allows(u64::MAX - 1, 4, true));
    }

    #[test]
    fn an_empty_range_is_no_page() {
        let mut legal = Legal::new();

        assert_eq!(legal.allow(0x1800, 0, Access::BOTH), []);
        assert!(!legal.allows(0x1800, 1, false));
    }
}
