//! How worn the disk is: what the device says, in percent.

use core::sync::atomic::Ordering;

use virtio::memory::{Region, SharedMemory};
use virtio::spec::blk::Lifetime;

/// Bytes the device writes for GET_LIFETIME (virtio 1.3, 5.2.6).
pub(crate) const BYTES: usize = size_of::<Lifetime>();

/// Reads what the device wrote.
pub(crate) fn load(scratch: &Region) -> Lifetime {
    let mut bytes = [0; BYTES];
    for (offset, byte) in bytes.iter_mut().enumerate() {
        *byte = scratch.load8(offset, Ordering::Relaxed);
    }
    zerocopy::transmute!(bytes)
}

/// How much of the lifetime is used: of the kind of cells that is worn more. The device tells tenths, of which the whole one
/// is counted as used; past the end is 101, since nothing says how far. `None` when it tells nothing, or something that the
/// specification does not have.
///
/// `pre_eol_info` is another thing: how many spare blocks are left. There is no page for it.
pub(crate) fn percentage_used(lifetime: Lifetime) -> Option<u8> {
    let tenths = |estimate: u16| match estimate {
        1..=10 => Some(estimate as u8 * 10),
        11 => Some(101),
        _ => None,
    };
    let cells = [lifetime.device_lifetime_est_typ_a, lifetime.device_lifetime_est_typ_b];
    cells.into_iter().filter_map(|cells| tenths(cells.get())).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(typ_a: u16, typ_b: u16) -> Option<u8> {
        percentage_used(Lifetime {
            pre_eol_info: 1.into(),
            device_lifetime_est_typ_a: typ_a.into(),
            device_lifetime_est_typ_b: typ_b.into(),
        })
    }

    #[test]
    fn the_cells_that_are_worn_more_count() {
        assert_eq!(used(1, 0), Some(10));
        assert_eq!(used(0, 3), Some(30));
        assert_eq!(used(10, 3), Some(100));
        assert_eq!(used(2, 11), Some(101));
    }

    #[test]
    fn what_the_specification_does_not_have_says_nothing() {
        assert_eq!(used(0, 0), None);
        assert_eq!(used(12, u16::MAX), None);
        assert_eq!(used(12, 1), Some(10));
    }
}
