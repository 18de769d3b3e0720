//! Answers of different commands about the same thing must agree.

use alloc::format;
use alloc::string::String;

use stand::scsi;
use stand::spc;

use super::Target;
use crate::memory::PAGE;
use crate::storport::port;

fn agree(same: bool, text: String) -> Result<String, String> {
    if same { Ok(text) } else { Err(text) }
}

/// Everything that is said twice.
pub fn run(target: &Target<'_>) {
    capacities(target);
    serial(target);
    modes(target);
    limits(target);
}

fn capacities(target: &Target<'_>) {
    let (Some((last, block)), Some(long)) = (target.capacity_10, target.capacity_16) else { return };
    // SBC-3 5.15.2: FFFFFFFFh when the last block has no 32-bit number.
    let expected = u32::try_from(long.last).unwrap_or(u32::MAX);
    let text = format!("(10) {last} x {block}, (16) {} x {}", long.last, long.block);
    target.check("agree-capacity", agree(last == expected && block == long.block, text));
    // SPC-4 6.6.2: PROTECT 0 in INQUIRY data leaves no protection information to be enabled.
    let protect = target.inquiry.get(5).is_some_and(|byte| byte & 1 != 0);
    let text = format!("PROTECT {protect}, PROT_EN {}", long.protected);
    target.check("agree-protection", agree(protect || !long.protected, text));
}

/// SPC-4 7.8.6.4 recommends the serial number in the T10 vendor ID designator; a designator with another one would
/// make two names for one unit.
fn serial(target: &Target<'_>) {
    let body = |code: u8| target.pages.get(&code).and_then(|page| page.get(4..)).unwrap_or_default();
    let serial = scsi::text(body(0x80));
    if serial.is_empty() {
        return target.skip("agree-serial", "no serial number");
    }
    let Ok(designators) = spc::designators(body(0x83)) else {
        return target.skip("agree-serial", "page 83 cannot be read");
    };
    let texts: alloc::vec::Vec<String> = designators
        .iter()
        .filter(|d| d.association == 0 && d.code_set != 1 && matches!(d.kind, 0 | 1))
        .map(|d| scsi::text(&d.value))
        .collect();
    if texts.is_empty() {
        return target.skip("agree-serial", "page 83 has no textual designator");
    }
    let found = texts.iter().any(|text| text.contains(serial.as_str()));
    target.check("agree-serial", agree(found, format!("'{serial}' in page 80, {texts:?} in page 83")));
}

fn modes(target: &Target<'_>) {
    if let (Some(six), Some(ten)) = (&target.mode_6, &target.mode_10) {
        let header = (six.medium_type, six.device_specific) == (ten.medium_type, ten.device_specific);
        let text = format!(
            "MODE SENSE(6) {:#04x}, {} page(s), (10) {:#04x}, {} page(s)",
            six.device_specific,
            six.pages.len(),
            ten.device_specific,
            ten.pages.len()
        );
        target.check("agree-mode-sense", agree(header && six.pages == ten.pages, text));
    }
    let Some((block, last)) = target.geometry() else { return };
    let modes = [("6", &target.mode_6), ("10", &target.mode_10)];
    for (form, mode) in modes.iter().filter_map(|(form, mode)| mode.as_ref().map(|mode| (form, mode))) {
        // Short descriptors of a disk (SBC-3 6.4.2): blocks (0 and FFFFFFh or FFFFFFFFh say nothing), block length.
        let [b0, b1, b2, b3, _, l0, l1, l2] = mode.descriptors[..] else { continue };
        let count = u64::from(u32::from_be_bytes([b0, b1, b2, b3]));
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let blocks = count == 0 || count >= 0xFF_FFFF || count == last + 1;
        let text = format!("MODE SENSE({form}): {count} blocks of {length}, capacity {} x {block}", last + 1);
        target.check("agree-block-descriptor", agree(length == block && blocks, text));
    }
}

/// The longest transfer that a class driver makes of the adapter's limits: whole pages, one less than NumberOfPhysicalBreaks,
/// because the buffer may start inside one (classpnp's InitializeTransferPackets).
fn longest_transfer() -> u64 {
    let config = port().config;
    let pages = u64::from(config.number_of_physical_breaks).saturating_sub(1);
    u64::from(config.maximum_transfer_length).min(pages * PAGE)
}

/// The Block Limits and Logical Block Provisioning pages against READ CAPACITY (16), as the HLK compares them too.
fn limits(target: &Target<'_>) {
    let body = |code: u8| target.pages.get(&code).and_then(|page| page.get(4..));
    let Some(capacity) = target.capacity_16 else { return };
    let limits = body(0xB0).and_then(|body| spc::block_limits(body).ok());
    let provisioning = body(0xB2).and_then(|body| spc::provisioning(body).ok());
    match limits {
        None => target.skip("agree-block-limits", "no page B0"),
        Some(limits) => {
            let physical = 1u32 << capacity.exponent;
            let whole = limits.granularity == 0 || u32::from(limits.granularity).is_multiple_of(physical);
            let text = format!("granularity {}, {physical} block(s) per physical block", limits.granularity);
            target.check("agree-block-limits", agree(whole, text));
            let told = u64::from(limits.maximum) * u64::from(capacity.block);
            let taken = longest_transfer();
            let text = format!("MAXIMUM TRANSFER LENGTH {told} bytes, of the adapter's {taken}");
            target.check("agree-transfer-length", agree(told == taken, text));
            let unmap = provisioning.is_some_and(|p| p.unmap);
            let text = format!("MAXIMUM UNMAP LBA COUNT {}, LBPU {unmap}", limits.unmap);
            target.check("agree-unmap-limits", agree(unmap == (limits.unmap != 0), text));
        }
    }
    match provisioning {
        None => {
            let text = format!("no page B2, LBPME {}", capacity.managed);
            target.check("agree-provisioning", agree(!capacity.managed, text));
        }
        Some(p) => {
            let same = p.unmaps == capacity.managed && p.reads_zeroes == capacity.reads_zeroes;
            let text = format!(
                "page B2 unmaps {} LBPRZ {}, READ CAPACITY(16) LBPME {} LBPRZ {}",
                p.unmaps, p.reads_zeroes, capacity.managed, capacity.reads_zeroes
            );
            target.check("agree-provisioning", agree(same, text));
        }
    }
}
