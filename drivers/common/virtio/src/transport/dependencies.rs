//! Which features need or exclude others (2.2.1, section 6).

use crate::spec::Features;

/// What has to hold for features to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The features this is about, each for itself
    pub of: Features,
    /// Features that have to be accepted too
    pub needs: Features,
    /// Features that must not be accepted too
    pub excludes: Features,
}

/// The dependencies between the features of ring and transport.
///
/// Features of the device types are not in it: their bits mean other things for every type, and those of virtio-blk and
/// virtio-scsi need nothing that a driver has to see to. A device that offers VIRTIO_BLK_F_CONFIG_WCE must offer
/// VIRTIO_BLK_F_FLUSH, but a driver may accept the one without the other (5.2.5.2).
///
/// VIRTIO_F_NOTIFICATION_DATA and VIRTIO_F_NOTIF_CONFIG_DATA do not need each other: the first says how wide a
/// notification is, the second which number is in its lower half (4.1.5.2).
pub const DEPENDENCIES: &[Dependency] = &[
    // The legacy interface has 32 feature bits (4.1.4.10).
    Dependency {
        of: Features::from_bits_retain(!0 << 32).difference(Features::VERSION_1),
        needs: Features::VERSION_1,
        excludes: Features::empty(),
    },
    // Legacy devices only (6.3).
    Dependency {
        of: Features::NOTIFY_ON_EMPTY.union(Features::ANY_LAYOUT),
        needs: Features::empty(),
        excludes: Features::VERSION_1,
    },
];

/// What to accept of `offered`: the features that are `wanted`, without those that lack what they need or have beside
/// them what they exclude.
pub fn settle(offered: Features, wanted: Features) -> Features {
    settle_by(DEPENDENCIES, offered & wanted)
}

/// Features are only ever taken away, so this ends; and it goes on until nothing changes, because what was taken away
/// may have been needed. What is excluded goes, not what excludes it.
fn settle_by(table: &[Dependency], mut features: Features) -> Features {
    loop {
        let before = features;
        for dependency in table {
            if !features.contains(dependency.needs) || features.intersects(dependency.excludes) {
                features.remove(dependency.of);
            }
        }
        if features == before {
            return features;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_accepted_with_what_they_need() {
        let modern = Features::VERSION_1 | Features::RING_EVENT_IDX;
        let late = Features::RING_PACKED | Features::RING_RESET | Features::SR_IOV;
        let legacy = Features::ANY_LAYOUT | Features::NOTIFY_ON_EMPTY;
        let table = [
            ("all that is offered and wanted", modern | late, modern | late, modern | late),
            ("what is not offered", modern, modern | late, modern),
            ("what is not wanted", modern | late, modern, modern),
            ("bits past 31 of a legacy device", late | legacy, Features::all(), legacy),
            ("bits past 31 without VERSION_1 wanted", modern | late, late, Features::empty()),
            ("legacy features of a modern device", modern | legacy, Features::all(), modern),
            (
                "notification data without a name for the queue",
                modern | Features::NOTIFICATION_DATA,
                Features::all(),
                modern | Features::NOTIFICATION_DATA,
            ),
            (
                "a name for the queue without notification data",
                modern | Features::NOTIF_CONFIG_DATA,
                Features::all(),
                modern | Features::NOTIF_CONFIG_DATA,
            ),
            (
                "features of the device type",
                Features::BLK_CONFIG_WCE | Features::BLK_MQ,
                Features::all(),
                Features::BLK_CONFIG_WCE | Features::BLK_MQ,
            ),
        ];
        for (case, offered, wanted, expected) in table {
            assert_eq!(settle(offered, wanted), expected, "{case}");
        }
    }

    #[test]
    fn what_needs_a_feature_that_was_dropped_is_dropped_too() {
        let (a, b, c) = (Features::BLK_RO, Features::BLK_MQ, Features::BLK_FLUSH);
        let needs = |of, needs| Dependency { of, needs, excludes: Features::empty() };
        // In this order, one pass would leave `a`.
        let table = [needs(a, b), needs(b, c)];

        assert_eq!(settle_by(&table, a | b), Features::empty());
        assert_eq!(settle_by(&table, a | b | c), a | b | c);
    }

    #[test]
    fn no_feature_needs_or_excludes_itself() {
        for dependency in DEPENDENCIES {
            assert!(!dependency.of.intersects(dependency.needs | dependency.excludes), "{dependency:?}");
        }
    }
}
