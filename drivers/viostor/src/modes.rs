//! The disk's mode pages, and what MODE SELECT may change of them: the write cache, where the device lets its driver.

use scsi::Sense;
use scsi::cdb::{ModeSense, PageControl};
use scsi::mode::{self, BlockDescriptor, Caching, DeviceSpecific, Head, ModePage, SelectablePage};
use scsi::parameter_data::ParameterData;

use crate::config::Disk;

/// What a parameter list of MODE SELECT does to the write cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteCache {
    /// It stays as it is.
    Keep,
    /// It is switched on or off. After it was switched off, what is still in it has to be flushed.
    Set(bool),
}

/// Pages in the order in which they are returned (SPC-4, 6.13.1: ascending).
const PAGES: [u8; 5] = [
    mode::page::ERROR_RECOVERY,
    mode::page::RIGID_DISK_GEOMETRY,
    mode::page::CACHING,
    mode::page::CONTROL,
    mode::page::INFORMATIONAL_EXCEPTIONS,
];

/// Longest parameter list that is looked at: all pages, both ways, with room to spare.
const MAX_LIST_BYTES: usize = 256;

/// A page with the values in force, but for the write cache.
fn page(disk: &Disk, code: u8, write_cache: bool) -> Option<ModePage> {
    match code {
        mode::page::ERROR_RECOVERY => Some(ModePage::error_recovery()),
        mode::page::RIGID_DISK_GEOMETRY => {
            let geometry = disk.geometry?;
            Some(ModePage::rigid_disk_geometry(geometry.cylinders.into(), geometry.heads))
        }
        mode::page::CACHING => Some(ModePage::caching(write_cache_flag(write_cache))),
        mode::page::CONTROL => Some(ModePage::control()),
        mode::page::INFORMATIONAL_EXCEPTIONS => Some(ModePage::informational_exceptions()),
        _ => None,
    }
}

fn write_cache_flag(on: bool) -> Caching {
    if on { Caching::WRITE_CACHE_ENABLE } else { Caching::empty() }
}

fn changeable(disk: &Disk, page: ModePage) -> ModePage {
    match page.code() {
        mode::page::CACHING => ModePage::caching(write_cache_flag(disk.write_cache_changes)),
        _ => page.blank(),
    }
}

fn medium(disk: &Disk) -> BlockDescriptor {
    BlockDescriptor { blocks: disk.blocks, block_bytes: disk.block_size.bytes() }
}

/// MODE SENSE.
pub(crate) fn sense(disk: &Disk, request: ModeSense, data: &mut ParameterData<'_>) -> Result<(), Sense> {
    let all = request.page == mode::page::ALL;
    let write_cache = match request.control {
        PageControl::Default => disk.default_write_cache,
        _ => disk.write_cache,
    };
    let pages = || {
        PAGES
            .into_iter()
            .filter(|code| all || *code == request.page)
            .filter_map(|code| page(disk, code, write_cache))
            .map(|page| match request.control {
                PageControl::Changeable => changeable(disk, page),
                _ => page,
            })
    };
    if pages().next().is_none() {
        return Err(Sense::invalid_cdb_bit(2, 5));
    }
    // No page has subpages, so all of a page's are the page itself.
    if !matches!(request.subpage, 0 | mode::ALL_SUBPAGES) {
        return Err(Sense::invalid_cdb_byte(3));
    }
    if request.control == PageControl::Saved {
        return Err(Sense::SAVING_PARAMETERS_NOT_SUPPORTED);
    }
    // FUA is kept by flushing after the write, and by having no cache where there is none.
    let mut device_specific = DeviceSpecific::DPO_FUA;
    device_specific.set(DeviceSpecific::WRITE_PROTECTED, disk.read_only);
    let head = Head {
        ten: request.ten,
        device_specific,
        descriptor: (!request.disable_block_descriptors).then_some(medium(disk)),
        long_block_addresses: request.long_block_addresses,
    };
    mode::answer(data, head, pages());
    Ok(())
}

/// What is refused of MODE SELECT before its list is looked at: pages that are not those of SPC-4, and saving.
pub(crate) fn check_select(page_format: bool, save_pages: bool, parameter_length: u16) -> Result<(), Sense> {
    if save_pages {
        return Err(Sense::invalid_cdb_bit(1, 0));
    }
    if !page_format && parameter_length != 0 {
        return Err(Sense::invalid_cdb_bit(1, 4));
    }
    Ok(())
}

/// What a parameter list changes.
///
/// # Errors
/// The whole list is refused, and nothing changes.
pub(crate) fn mode_select(disk: &Disk, ten: bool, list: &[u8]) -> Result<WriteCache, Sense> {
    // The list may lie in memory of the program that sent it, which can write there meanwhile: what is checked has to be
    // what is used.
    let mut copy = [0; MAX_LIST_BYTES];
    let copy = copy.get_mut(..list.len()).ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    copy.copy_from_slice(list);
    let mut write_cache = disk.write_cache;
    mode::select(
        copy,
        ten,
        medium(disk),
        |code| {
            let current = page(disk, code, disk.write_cache)?;
            Some(SelectablePage { current, changeable: changeable(disk, current) })
        },
        |page| {
            if page[0] & 0x3f == mode::page::CACHING {
                write_cache = page[2] & Caching::WRITE_CACHE_ENABLE.bits() != 0;
            }
        },
    )?;
    Ok(if write_cache == disk.write_cache { WriteCache::Keep } else { WriteCache::Set(write_cache) })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::config::disk_for_tests;

    fn ask(page: u8, control: PageControl) -> ModeSense {
        ModeSense {
            ten: false,
            disable_block_descriptors: true,
            long_block_addresses: false,
            control,
            page,
            subpage: 0,
            allocation_length: 255,
        }
    }

    fn answered(disk: &Disk, request: ModeSense) -> Result<Vec<u8>, Sense> {
        let mut buffer = vec![0xee; 255];
        let mut data = ParameterData::new(&mut buffer, request.allocation_length.into());
        sense(disk, request, &mut data)?;
        let length = data.transferred() as usize;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn caching(flags: u8) -> Vec<u8> {
        [vec![0x08, 0x12, flags], vec![0; 17]].concat()
    }

    fn list(flags: u8) -> Vec<u8> {
        [vec![0; 4], caching(flags)].concat()
    }

    #[test]
    fn all_pages_come_in_ascending_order_and_each_by_itself_is_the_same() {
        let disk = disk_for_tests();

        let all = answered(&disk, ask(0x3f, PageControl::Current)).unwrap();
        let mut rest = &all[4..];
        let mut codes = vec![];
        while let [code, length, ..] = *rest {
            let (page, behind) = rest.split_at(2 + usize::from(length));
            let alone = answered(&disk, ask(code, PageControl::Current)).unwrap();
            assert_eq!(alone[4..], *page);
            codes.push(code);
            rest = behind;
        }

        assert_eq!(codes, [0x01, 0x08, 0x0a, 0x1c]);
    }

    #[test]
    fn the_geometry_page_is_there_where_the_device_has_a_geometry() {
        let geometry = crate::Geometry { cylinders: 0x0203, heads: 16 };
        let with = Disk { geometry: Some(geometry), ..disk_for_tests() };

        let page = answered(&with, ask(0x04, PageControl::Current)).unwrap();

        assert_eq!(page[4..10], [0x04, 0x16, 0x00, 0x02, 0x03, 16]);
        let refused = answered(&disk_for_tests(), ask(0x04, PageControl::Current));
        assert_eq!(refused, Err(Sense::invalid_cdb_bit(2, 5)));
    }

    #[test]
    fn the_default_write_cache_is_the_one_that_was_found() {
        let disk = Disk { write_cache: false, default_write_cache: true, ..disk_for_tests() };

        assert_eq!(answered(&disk, ask(0x08, PageControl::Current)).unwrap()[4..], caching(0));
        assert_eq!(answered(&disk, ask(0x08, PageControl::Default)).unwrap()[4..], caching(4));
    }

    #[test]
    fn the_write_cache_is_changeable_where_the_device_lets_its_driver_and_nothing_else_is() {
        for changes in [false, true] {
            let disk = Disk { write_cache_changes: changes, ..disk_for_tests() };

            let mask = answered(&disk, ask(0x3f, PageControl::Changeable)).unwrap();

            let ones: Vec<usize> = (4..mask.len()).filter(|at| mask[*at] != 0).collect();
            // Page code and length of four pages, and byte 2 of the caching page.
            let expected: Vec<usize> =
                [4, 5, 16, 17, 18, 36, 37, 48, 49].into_iter().filter(|at| changes || *at != 18).collect();
            assert_eq!(ones, expected);
        }
    }

    #[test]
    fn a_page_that_is_not_there_is_refused_before_its_saved_values_are() {
        let disk = disk_for_tests();

        let saved = answered(&disk, ask(0x08, PageControl::Saved));
        let unknown = answered(&disk, ask(0x02, PageControl::Saved));
        let subpage = answered(&disk, ModeSense { subpage: 1, ..ask(0x3f, PageControl::Current) });

        assert_eq!(saved, Err(Sense::SAVING_PARAMETERS_NOT_SUPPORTED));
        assert_eq!(unknown, Err(Sense::invalid_cdb_bit(2, 5)));
        assert_eq!(subpage, Err(Sense::invalid_cdb_byte(3)));
    }

    #[test]
    fn all_subpages_of_all_pages_are_all_pages() {
        let disk = disk_for_tests();

        let pages = answered(&disk, ask(0x3f, PageControl::Current));
        let subpages = answered(&disk, ModeSense { subpage: 0xff, ..ask(0x3f, PageControl::Current) });

        assert_eq!(pages, subpages);
    }

    #[test]
    fn mode_select_switches_the_write_cache_where_it_may() {
        let fixed = disk_for_tests();
        let free = Disk { write_cache_changes: true, ..fixed };

        assert_eq!(mode_select(&free, false, &list(0)), Ok(WriteCache::Set(false)));
        assert_eq!(mode_select(&free, false, &list(4)), Ok(WriteCache::Keep));
        assert_eq!(mode_select(&fixed, false, &list(4)), Ok(WriteCache::Keep));
        assert_eq!(mode_select(&fixed, false, &list(0)), Err(Sense::invalid_parameter_byte(6)));
        let off = Disk { write_cache: false, ..free };
        assert_eq!(mode_select(&off, false, &list(4)), Ok(WriteCache::Set(true)));
    }

    #[test]
    fn the_last_of_several_pages_counts_and_an_error_in_any_changes_nothing() {
        let disk = Disk { write_cache_changes: true, ..disk_for_tests() };
        let twice = [list(0), caching(4)].concat();
        let wrong = [list(0), caching(0x84)].concat();

        assert_eq!(mode_select(&disk, false, &twice), Ok(WriteCache::Keep));
        assert_eq!(mode_select(&disk, false, &wrong), Err(Sense::invalid_parameter_byte(26)));
    }

    #[test]
    fn a_list_longer_than_any_disk_needs_is_refused() {
        let long = vec![0; 257];

        assert_eq!(mode_select(&disk_for_tests(), true, &long), Err(Sense::PARAMETER_LIST_LENGTH_ERROR));
    }

    #[test]
    fn what_windows_sends_to_switch_the_write_cache_is_taken() {
        // Header, block descriptor without a number of blocks, page; disk.sys writes the block length backwards, which for
        // 512 and 4096 is the same.
        let disk = Disk { write_cache_changes: true, ..disk_for_tests() };
        let list = [vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0x00, 0x02, 0x00], caching(0)].concat();

        assert_eq!(mode_select(&disk, false, &list), Ok(WriteCache::Set(false)));
    }

    #[test]
    fn saving_and_pages_of_another_format_are_refused() {
        assert_eq!(check_select(true, true, 24), Err(Sense::invalid_cdb_bit(1, 0)));
        assert_eq!(check_select(false, false, 24), Err(Sense::invalid_cdb_bit(1, 4)));
        assert_eq!(check_select(false, false, 0), Ok(()));
        assert_eq!(check_select(true, false, 24), Ok(()));
    }
}
