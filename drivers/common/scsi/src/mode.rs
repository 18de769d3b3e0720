//! Mode parameters: headers and block descriptors (SPC-4, 7.5.5; SBC-3, 6.4.2), pages, and what MODE SELECT may send of
//! them.

use bitflags::bitflags;

use crate::parameter_data::ParameterData;
use crate::sense::Sense;

/// Page codes of mode pages.
pub mod page {
    /// Read-write error recovery
    pub const ERROR_RECOVERY: u8 = 0x01;
    /// Rigid disk geometry, obsolete since SBC-3
    pub const RIGID_DISK_GEOMETRY: u8 = 0x04;
    /// Caching
    pub const CACHING: u8 = 0x08;
    /// Control
    pub const CONTROL: u8 = 0x0a;
    /// Informational exceptions control
    pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x1c;
    /// Every page there is
    pub const ALL: u8 = 0x3f;
}

/// SUBPAGE CODE for every subpage there is.
pub const ALL_SUBPAGES: u8 = 0xff;

bitflags! {
    /// DEVICE-SPECIFIC PARAMETER of a disk (SBC-3, 6.4.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceSpecific: u8 {
        /// DPOFUA: the DPO and FUA bits of reads and writes are honoured.
        const DPO_FUA = 0x10;
        /// WP: the medium is write protected.
        const WRITE_PROTECTED = 0x80;
    }

    /// Byte 2 of the caching mode page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Caching: u8 {
        /// RCD: reads do not use the cache.
        const READ_CACHE_DISABLE = 0x01;
        /// WCE: a write may end before it is on the medium.
        const WRITE_CACHE_ENABLE = 0x04;
    }
}

/// PS of a page that MODE SENSE returns, reserved in one that MODE SELECT sends.
const PARAMETERS_SAVABLE: u8 = 0x80;

/// A mode page without subpages: header and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModePage {
    bytes: [u8; Self::MAX_BYTES],
    length: u8,
}

impl ModePage {
    /// Bytes of the longest page.
    pub const MAX_BYTES: usize = 24;
    /// Bytes before the values: PS and PAGE CODE, PAGE LENGTH.
    const HEADER_BYTES: u8 = 2;

    const fn new(code: u8, page_length: u8) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[0] = code;
        bytes[1] = page_length;
        Self { bytes, length: Self::HEADER_BYTES + page_length }
    }

    /// Read-write error recovery (SBC-3, 6.4.7). The host recovers what it can and says nothing of it: no bit promises
    /// anything.
    pub const fn error_recovery() -> Self {
        Self::new(page::ERROR_RECOVERY, 0x0a)
    }

    /// Rigid disk geometry (SBC-2, 6.3.6), without a rotation rate.
    pub const fn rigid_disk_geometry(cylinders: u32, heads: u8) -> Self {
        let mut page = Self::new(page::RIGID_DISK_GEOMETRY, 0x16);
        let [_, high, middle, low] = cylinders.to_be_bytes();
        (page.bytes[2], page.bytes[3], page.bytes[4], page.bytes[5]) = (high, middle, low, heads);
        page
    }

    /// Caching (SBC-3, 6.4.5). Prefetch, segments and the like are left at zero.
    pub const fn caching(flags: Caching) -> Self {
        let mut page = Self::new(page::CACHING, 0x12);
        page.bytes[2] = flags.bits();
        page
    }

    /// Control (SPC-4, 7.5.8): sense data in fixed format, one task set, commands in any order, log parameters that are not
    /// saved by themselves.
    pub const fn control() -> Self {
        const GLOBAL_LOGGING_SAVE_DISABLE: u8 = 0x02;
        const UNRESTRICTED_REORDERING: u8 = 0x10;
        let mut page = Self::new(page::CONTROL, 0x0a);
        (page.bytes[2], page.bytes[3]) = (GLOBAL_LOGGING_SAVE_DISABLE, UNRESTRICTED_REORDERING);
        page
    }

    /// Informational exceptions control (SPC-4, 7.5.12): none is looked for (DEXCPT), none is reported (MRIE 0).
    pub const fn informational_exceptions() -> Self {
        const DISABLE_EXCEPTION_CONTROL: u8 = 0x08;
        let mut page = Self::new(page::INFORMATIONAL_EXCEPTIONS, 0x0a);
        page.bytes[2] = DISABLE_EXCEPTION_CONTROL;
        page
    }

    /// The same page with every value zero: the mask of changeable bits of a page that has none.
    pub const fn blank(self) -> Self {
        Self::new(self.bytes[0], self.bytes[1])
    }

    /// PAGE CODE
    pub const fn code(&self) -> u8 {
        self.bytes[0]
    }

    /// Header and values.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What a block descriptor says of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDescriptor {
    /// NUMBER OF LOGICAL BLOCKS
    pub blocks: u64,
    /// LOGICAL BLOCK LENGTH
    pub block_bytes: u32,
}

impl BlockDescriptor {
    /// Short LBA form: a number of blocks that does not fit is all-ones.
    fn short(self) -> [u8; 8] {
        let [a, b, c, d] = u32::try_from(self.blocks).unwrap_or(u32::MAX).to_be_bytes();
        let [_, e, f, g] = self.block_bytes.to_be_bytes();
        [a, b, c, d, 0, e, f, g]
    }

    /// Long LBA form.
    fn long(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.blocks.to_be_bytes();
        let [i, j, k, l] = self.block_bytes.to_be_bytes();
        [a, b, c, d, e, f, g, h, 0, 0, 0, 0, i, j, k, l]
    }
}

/// What stands before the pages in the answer to MODE SENSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The header of MODE SENSE(10).
    pub ten: bool,
    /// DEVICE-SPECIFIC PARAMETER
    pub device_specific: DeviceSpecific,
    /// The block descriptor, unless DBD is set.
    pub descriptor: Option<BlockDescriptor>,
    /// LLBAA: the descriptor may have the long form, which it gets when it needs it.
    pub long_block_addresses: bool,
}

/// LONGLBA in byte 4 of the ten-byte header.
const LONG_LBA: u8 = 0x01;

/// The answer to MODE SENSE(6) or (10).
pub fn answer(data: &mut ParameterData<'_>, head: Head, pages: impl IntoIterator<Item = ModePage>) {
    let short = head.descriptor.map(BlockDescriptor::short);
    let long = head
        .descriptor
        .filter(|descriptor| {
            head.ten && head.long_block_addresses && u32::try_from(descriptor.blocks).is_err()
        })
        .map(BlockDescriptor::long);
    let descriptor: &[u8] = match (&long, &short) {
        (Some(long), _) => long,
        (None, Some(short)) => short,
        (None, None) => &[],
    };
    let (flags, descriptor_length) = (head.device_specific.bits(), descriptor.len() as u8);
    if head.ten {
        let long = if long.is_some() { LONG_LBA } else { 0 };
        data.push(&[0, 0, 0, flags, long, 0, 0, descriptor_length]);
    } else {
        data.push(&[0, 0, flags, descriptor_length]);
    }
    data.push(descriptor);
    for page in pages {
        data.push(page.as_bytes());
    }
    // MODE DATA LENGTH counts what follows it.
    let length = data.length() as u16;
    if head.ten {
        data.set(0, &(length - 2).to_be_bytes());
    } else {
        data.set(0, &[(length - 1) as u8]);
    }
}

/// A page as it is, and ones for the bits of it that MODE SELECT may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectablePage {
    /// The values in force.
    pub current: ModePage,
    /// The mask.
    pub changeable: ModePage,
}

/// Goes through a parameter list of MODE SELECT with pages of SPC-4 (PF), all of which must be as the page is but for what
/// may be changed. `page` gives the page with a code; `chosen` gets each page of the list that is right, in order. Only when
/// the whole list is right may anything be changed.
///
/// The header's MODE DATA LENGTH and DEVICE-SPECIFIC PARAMETER are reserved here (SPC-4, 7.5.5; SBC-3, 6.4.1) and not
/// looked at.
///
/// # Errors
/// The list ends inside something, or the field that is wrong.
pub fn select(
    list: &[u8],
    ten: bool,
    medium: BlockDescriptor,
    page: impl Fn(u8) -> Option<SelectablePage>,
    mut chosen: impl FnMut(&[u8]),
) -> Result<(), Sense> {
    let mut at = head(list, ten, medium)?;
    while at < list.len() {
        let rest = &list[at..];
        let known = page(rest[0] & !PARAMETERS_SAVABLE).ok_or(Sense::invalid_parameter_byte(at as u16))?;
        let wanted = known.current.as_bytes();
        let length = rest.get(1).ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
        if *length != wanted[1] {
            return Err(Sense::invalid_parameter_byte(at as u16 + 1));
        }
        let sent = rest.get(..wanted.len()).ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
        let values = sent.iter().zip(wanted).zip(known.changeable.as_bytes()).enumerate();
        for (index, ((sent, current), changeable)) in values.skip(ModePage::HEADER_BYTES.into()) {
            if (sent ^ current) & !changeable != 0 {
                return Err(Sense::invalid_parameter_byte((at + index) as u16));
            }
        }
        chosen(sent);
        at += sent.len();
    }
    Ok(())
}

/// Checks header and block descriptors; gives their length.
fn head(list: &[u8], ten: bool, medium: BlockDescriptor) -> Result<usize, Sense> {
    let header: usize = if ten { 8 } else { 4 };
    let (medium_type, length_field) = if ten { (2, 6) } else { (1, 3) };
    if list.len() < header {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    }
    // A disk has one medium type, 00h (SBC-3, 6.4.1).
    if list[medium_type] != 0 {
        return Err(Sense::invalid_parameter_byte(medium_type as u16));
    }
    let long = ten && list[4] & LONG_LBA != 0;
    let length = if ten { usize::from(list[6]) << 8 | usize::from(list[7]) } else { usize::from(list[3]) };
    if length == 0 {
        return Ok(header);
    }
    if length != if long { 16 } else { 8 } {
        return Err(Sense::invalid_parameter_byte(length_field));
    }
    let descriptor = list.get(header..header + length).ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let expected_long = medium.long();
    let expected_short = medium.short();
    let (expected, number): (&[u8], usize) = if long { (&expected_long, 8) } else { (&expected_short, 4) };
    let (sent_blocks, sent_bytes) = descriptor.split_at(number);
    let (blocks, bytes) = expected.split_at(number);
    // NUMBER OF LOGICAL BLOCKS 0 keeps it, all-ones asks for as many as there can be (SBC-3, 6.4.2): it is the same.
    let kept = sent_blocks.iter().all(|byte| *byte == 0) || sent_blocks.iter().all(|byte| *byte == 0xff);
    if !kept && sent_blocks != blocks {
        return Err(Sense::invalid_parameter_byte(header as u16));
    }
    if sent_bytes != bytes {
        return Err(Sense::invalid_parameter_byte((header + length - if long { 4 } else { 3 }) as u16));
    }
    Ok(header + length)
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::parameter_data::collect;

    const SMALL: BlockDescriptor = BlockDescriptor { blocks: 0x0102_0304, block_bytes: 512 };
    const LARGE: BlockDescriptor = BlockDescriptor { blocks: 0x0001_0203_0405_0607, block_bytes: 4096 };

    fn head(ten: bool, descriptor: Option<BlockDescriptor>, long_block_addresses: bool) -> Head {
        Head { ten, device_specific: DeviceSpecific::WRITE_PROTECTED, descriptor, long_block_addresses }
    }

    #[test]
    fn pages_have_the_bytes_of_their_standard() {
        let page = |start: &[u8], length: usize| {
            let mut bytes = start.to_vec();
            bytes.resize(length, 0);
            bytes
        };

        assert_eq!(ModePage::error_recovery().as_bytes(), page(&[0x01, 0x0a], 12));
        let geometry = ModePage::rigid_disk_geometry(0x01_0203, 16);
        assert_eq!(geometry.as_bytes(), page(&[0x04, 0x16, 0x01, 0x02, 0x03, 16], 24));
        let both = Caching::WRITE_CACHE_ENABLE | Caching::READ_CACHE_DISABLE;
        assert_eq!(ModePage::caching(both).as_bytes(), page(&[0x08, 0x12, 0x05], 20));
        assert_eq!(ModePage::control().as_bytes(), page(&[0x0a, 0x0a, 0x02, 0x10], 12));
        assert_eq!(ModePage::informational_exceptions().as_bytes(), page(&[0x1c, 0x0a, 0x08], 12));
        assert_eq!(ModePage::control().blank().as_bytes(), page(&[0x0a, 0x0a], 12));
    }

    #[test]
    fn mode_sense_6_counts_what_follows_its_first_byte() {
        let data = collect(|data| answer(data, head(false, None, false), [ModePage::control()]));

        assert_eq!(data[..6], [15, 0, 0x80, 0, 0x0a, 0x0a]);
        assert_eq!(data.len(), 16);
    }

    #[test]
    fn mode_sense_10_counts_what_follows_its_first_two_bytes() {
        let data = collect(|data| answer(data, head(true, None, true), [ModePage::control()]));

        assert_eq!(data[..10], [0, 18, 0, 0x80, 0, 0, 0, 0, 0x0a, 0x0a]);
        assert_eq!(data.len(), 20);
    }

    #[test]
    fn a_block_descriptor_has_blocks_and_their_length() {
        let six = collect(|data| answer(data, head(false, Some(SMALL), false), []));
        let ten = collect(|data| answer(data, head(true, Some(SMALL), true), []));

        assert_eq!(six, [11, 0, 0x80, 8, 1, 2, 3, 4, 0, 0, 0x02, 0]);
        assert_eq!(ten, [0, 14, 0, 0x80, 0, 0, 0, 8, 1, 2, 3, 4, 0, 0, 0x02, 0]);
    }

    #[test]
    fn blocks_that_do_not_fit_are_all_ones_unless_the_long_form_is_taken() {
        let six = collect(|data| answer(data, head(false, Some(LARGE), true), []));
        let ten = collect(|data| answer(data, head(true, Some(LARGE), false), []));
        let long = collect(|data| answer(data, head(true, Some(LARGE), true), []));

        assert_eq!(six[4..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0]);
        assert_eq!(ten[8..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0]);
        assert_eq!(long[..8], [0, 22, 0, 0x80, 0x01, 0, 0, 16]);
        assert_eq!(long[8..], [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0x10, 0]);
    }

    /// A disk with a caching page whose WCE is on and may be changed, and a control page.
    fn page(code: u8) -> Option<SelectablePage> {
        let wce = ModePage::caching(Caching::WRITE_CACHE_ENABLE);
        match code {
            page::CACHING => Some(SelectablePage { current: wce, changeable: wce }),
            page::CONTROL => {
                let current = ModePage::control();
                Some(SelectablePage { current, changeable: current.blank() })
            }
            _ => None,
        }
    }

    /// What the pages of a list have in their third byte.
    fn selected(list: &[u8], ten: bool) -> Result<Vec<u8>, Sense> {
        let mut found = Vec::new();
        select(list, ten, SMALL, page, |page| found.push(page[2])).map(|()| found)
    }

    fn caching(flags: u8) -> Vec<u8> {
        [vec![0x08, 0x12, flags], vec![0; 17]].concat()
    }

    #[test]
    fn a_list_with_pages_gives_them_in_order() {
        let off = caching(0);
        let control = ModePage::control().as_bytes().to_vec();
        let six = [vec![0; 4], off.clone(), control.clone(), caching(4)].concat();
        let ten = [vec![0; 8], control, off].concat();

        assert_eq!(selected(&six, false), Ok(vec![0, 2, 4]));
        assert_eq!(selected(&ten, true), Ok(vec![2, 0]));
        assert_eq!(selected(&[0; 4], false), Ok(vec![]));
    }

    #[test]
    fn what_is_reserved_in_a_list_is_not_looked_at() {
        let mut list = [vec![0xff, 0, 0xff, 0], caching(0)].concat();
        list[4] |= 0x80;

        assert_eq!(selected(&list, false), Ok(vec![0]));
    }

    #[test]
    fn a_list_that_ends_inside_something_has_the_wrong_length() {
        let descriptor = SMALL.short().to_vec();
        let whole = [vec![0, 0, 0, 8], descriptor, caching(4)].concat();
        // The list may end behind the header and behind the descriptors only; an empty one is not parsed at all.
        for length in (0..whole.len()).filter(|length| ![12].contains(length)) {
            let refused = selected(&whole[..length], false);

            assert_eq!(refused, Err(Sense::PARAMETER_LIST_LENGTH_ERROR), "{length} bytes");
        }
        for length in 0..8 {
            assert_eq!(selected(&[0; 8][..length], true), Err(Sense::PARAMETER_LIST_LENGTH_ERROR));
        }
    }

    #[test]
    fn a_block_descriptor_may_say_what_is_the_case() {
        let six = |descriptor: [u8; 8]| selected(&[&[0, 0, 0, 8][..], &descriptor].concat(), false);

        assert_eq!(six([1, 2, 3, 4, 0, 0, 2, 0]), Ok(vec![]));
        assert_eq!(six([0, 0, 0, 0, 0, 0, 2, 0]), Ok(vec![]));
        assert_eq!(six([0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]), Ok(vec![]));
        assert_eq!(six([1, 2, 3, 5, 0, 0, 2, 0]), Err(Sense::invalid_parameter_byte(4)));
        assert_eq!(six([1, 2, 3, 4, 0, 0, 4, 0]), Err(Sense::invalid_parameter_byte(9)));
    }

    #[test]
    fn the_long_form_of_a_block_descriptor_is_taken_by_mode_select_10() {
        let ten = |long: u8, descriptor: &[u8]| {
            selected(&[&[0, 0, 0, 0, long, 0, 0, descriptor.len() as u8], descriptor].concat(), true)
        };

        assert_eq!(ten(1, &SMALL.long()), Ok(vec![]));
        assert_eq!(ten(0, &SMALL.short()), Ok(vec![]));
        assert_eq!(ten(1, &LARGE.long()), Err(Sense::invalid_parameter_byte(8)));
        let other = BlockDescriptor { block_bytes: 4096, ..SMALL };
        assert_eq!(ten(1, &other.long()), Err(Sense::invalid_parameter_byte(20)));
        assert_eq!(ten(0, &SMALL.long()), Err(Sense::invalid_parameter_byte(6)));
        assert_eq!(ten(1, &SMALL.short()), Err(Sense::invalid_parameter_byte(6)));
    }

    #[test]
    fn a_medium_type_other_than_the_disks_is_refused() {
        assert_eq!(selected(&[0, 1, 0, 0], false), Err(Sense::invalid_parameter_byte(1)));
        assert_eq!(selected(&[0, 0, 1, 0, 0, 0, 0, 0], true), Err(Sense::invalid_parameter_byte(2)));
    }

    #[test]
    fn pages_that_are_not_there_or_have_another_length_are_refused() {
        let mut short = [vec![0; 4], caching(4)].concat();
        short[5] = 0x0a;
        let mut subpage = [vec![0; 4], caching(4)].concat();
        subpage[4] |= 0x40;

        assert_eq!(selected(&[0, 0, 0, 0, 0x1c, 0x0a], false), Err(Sense::invalid_parameter_byte(4)));
        assert_eq!(selected(&short, false), Err(Sense::invalid_parameter_byte(5)));
        assert_eq!(selected(&subpage, false), Err(Sense::invalid_parameter_byte(4)));
    }

    #[test]
    fn a_change_of_what_cannot_be_changed_is_refused_with_its_byte() {
        for at in 2..20 {
            let mut list = [vec![0; 4], caching(4)].concat();
            list[4 + at] ^= 0x01;

            assert_eq!(selected(&list, false), Err(Sense::invalid_parameter_byte(4 + at as u16)));
        }
    }
}
