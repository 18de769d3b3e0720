//! The pattern the stand writes on a disk and the host finds in the image file afterwards.
//!
//! Every logical block carries its own stamp, so a block that went to the wrong place, to the wrong disk, or was not
//! written at all is seen, and what it is instead can be said. All numbers are little-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | the text `RSTAMP01` |
//! | 8..16 | logical block address |
//! | 16..20 | generation: how often the stand had written when it wrote this block |
//! | 20..24 | logical block size in bytes (512, 2048, 4096 …) |
//! | 24..32 | seed of the run (`seed=` of the command line) |
//! | 32..36 | owner: path in bits 16–23, target in bits 8–15, LUN in bits 0–7 |
//! | 36..40 | zero |
//! | 40..end | 64-bit words of [`SplitMix64`] seeded with [`filler_seed`] |
//!
//! **What stays on a disk after a run with `io=full`:** the first [`FINAL_BYTES`] bytes (or the whole disk, if it is
//! smaller) carry stamps of generation [`FINAL_GENERATION`] with the disk's own owner number, written last and followed
//! by SYNCHRONIZE CACHE. The rest of the disk holds stamps of other generations or what was there before. The stand
//! prints the line `# final stamp: owner=… blocks=… block-size=… seed=…` for each disk, from which the host can verify
//! the image file with [`verify`]. `first=…` and `generation=…` in that line are for stamps at another place and of
//! another generation (the suite `dump`).
//!
//! **What the stand expects on a CD-ROM medium:** blocks of 2048 bytes from block 0 to the end, generation
//! [`MEDIUM_GENERATION`], owner 0, the run's seed. The host writes it with [`fill`] before it starts QEMU.

/// First eight bytes of a stamped block.
pub const MAGIC: [u8; 8] = *b"RSTAMP01";
/// Generation of the stamps that stay on the first region of a disk at the end of a run.
pub const FINAL_GENERATION: u32 = 0xF1A1;
/// Generation of the stamps in memory that the suite `dump` writes after the crash.
pub const DUMP_GENERATION: u32 = 0xD0D0;
/// Size of the region of final stamps in bytes.
pub const FINAL_BYTES: u64 = 2 << 20;
/// Generation of the stamps on a host-made CD-ROM medium.
pub const MEDIUM_GENERATION: u32 = 1;
/// Logical block size of a CD-ROM medium in bytes.
pub const MEDIUM_BLOCK: usize = 2048;
const HEADER: usize = 40;

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Logical block address.
    pub lba: u64,
    /// Generation of the write.
    pub generation: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Which disk: see [`owner`].
    pub owner: u32,
}

/// Why a block is not the one expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The block carries no stamp; its first eight bytes.
    NoStamp([u8; 8]),
    /// It carries another stamp.
    Other(Stamp),
    /// The stamp is right but the byte at this offset is not.
    Filler(usize),
}

/// The owner number of a LUN.
pub fn owner(path: u8, target: u8, lun: u8) -> u32 {
    u32::from(path) << 16 | u32::from(target) << 8 | u32::from(lun)
}

/// A small generator with a 64-bit state, good enough for patterns and sizes and the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.word() % bound }
    }
}

/// Seed of the filler words of a block.
pub fn filler_seed(stamp: &Stamp) -> u64 {
    stamp.seed
        ^ stamp.lba.wrapping_mul(0xD134_2543_DE82_EF95)
        ^ (u64::from(stamp.generation) << 32)
        ^ u64::from(stamp.owner).rotate_left(17)
}

/// Writes the stamp into one logical block (at least 64 bytes, a multiple of 8).
pub fn fill(block: &mut [u8], stamp: &Stamp) {
    let size = block.len() as u32;
    block[..8].copy_from_slice(&MAGIC);
    block[8..16].copy_from_slice(&stamp.lba.to_le_bytes());
    block[16..20].copy_from_slice(&stamp.generation.to_le_bytes());
    block[20..24].copy_from_slice(&size.to_le_bytes());
    block[24..32].copy_from_slice(&stamp.seed.to_le_bytes());
    block[32..36].copy_from_slice(&stamp.owner.to_le_bytes());
    block[36..40].fill(0);
    let mut words = SplitMix64(filler_seed(stamp));
    for chunk in block[HEADER..].chunks_exact_mut(8) {
        chunk.copy_from_slice(&words.word().to_le_bytes());
    }
}

/// Checks that one logical block carries exactly this stamp and its filler.
pub fn verify(block: &[u8], expected: &Stamp) -> Result<(), Mismatch> {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    if block[..8] != MAGIC {
        return Err(Mismatch::NoStamp(block[..8].try_into().expect("eight bytes")));
    }
    let found = Stamp { lba: word(8), generation: half(16), seed: word(24), owner: half(32) };
    if found != *expected || half(20) as usize != block.len() {
        return Err(Mismatch::Other(found));
    }
    let mut words = SplitMix64(filler_seed(expected));
    for (index, chunk) in block[HEADER..].chunks_exact(8).enumerate() {
        if chunk != words.word().to_le_bytes() {
            return Err(Mismatch::Filler(HEADER + index * 8));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { lba: 77, generation: 3, seed: 0x1234, owner: 0x0001_0203 };

    #[test]
    fn a_stamped_block_verifies() {
        for size in [512, 2048, 4096] {
            let mut block = vec![0u8; size];
            fill(&mut block, &STAMP);
            assert_eq!(verify(&block, &STAMP), Ok(()));
        }
    }

    #[test]
    fn a_block_of_another_place_names_its_own_place() {
        let mut block = [0u8; 512];
        fill(&mut block, &STAMP);
        let expected = Stamp { lba: 78, ..STAMP };
        assert_eq!(verify(&block, &expected), Err(Mismatch::Other(STAMP)));
    }

    #[test]
    fn one_flipped_filler_bit_is_found_where_it_is() {
        let mut block = [0u8; 512];
        fill(&mut block, &STAMP);
        block[400] ^= 1;
        assert_eq!(verify(&block, &STAMP), Err(Mismatch::Filler(400)));
    }

    #[test]
    fn an_empty_block_has_no_stamp() {
        assert_eq!(verify(&[0; 512], &STAMP), Err(Mismatch::NoStamp([0; 8])));
    }

    #[test]
    fn the_pattern_is_fixed_for_all_time() {
        // The runner verifies image files with this pattern: changing it must be a decision.
        let mut block = [0u8; 512];
        fill(&mut block, &STAMP);
        assert_eq!(&block[..8], b"RSTAMP01");
        assert_eq!(SplitMix64(0).word(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(block[40..48], SplitMix64(filler_seed(&STAMP)).word().to_le_bytes());
    }
}
