//! The checksum of a PE image, as the kernel's loader computes it.

/// Where the checksum stands: 64 bytes into the optional header, which follows signature (4) and file header (20).
fn position(bytes: &[u8]) -> Option<usize> {
    let header = u32::from_le_bytes(bytes.get(0x3C..0x40)?.try_into().ok()?);
    let position = usize::try_from(header).ok()?.checked_add(4 + 20 + 64)?;
    bytes.get(position..position.checked_add(4)?)?;
    Some(position)
}

/// The checksum in the header.
pub fn stored_checksum(bytes: &[u8]) -> Option<u32> {
    let position = position(bytes)?;
    Some(u32::from_le_bytes(bytes[position..position + 4].try_into().ok()?))
}

/// The checksum the file should have: the sum of its 16-bit words with end-around carry, without the checksum itself,
/// plus its length. None when the file is too short to hold one.
pub fn checksum(bytes: &[u8]) -> Option<u32> {
    let place = position(bytes)?;
    let mut sum = 0u32;
    for (index, pair) in bytes.chunks(2).enumerate() {
        if (place..place + 4).contains(&(index * 2)) {
            continue;
        }
        sum += u32::from(pair[0]) | pair.get(1).map_or(0, |high| u32::from(*high) << 8);
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u32::try_from(bytes.len()).ok()?.checked_add(sum)
}
