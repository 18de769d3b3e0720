//! What a driver must not do to a device (the "Driver Requirements" of virtio 1.3). QEMU forgives most of it; the model notes it.

use alloc::vec::Vec;

use super::events::EVENT;
use super::queue::{Chain, Fault, Queue};
use super::{Device, Kind, Lie, Memory, blk, feature, scsi, status, tasks};

/// What a driver did wrong, each once.
#[derive(Default)]
pub(super) struct Conduct {
    seen: Vec<&'static str>,
    told: usize,
}

impl Conduct {
    pub fn note(&mut self, what: &'static str) {
        if !self.seen.contains(&what) {
            self.seen.push(what);
        }
    }
}

/// Bytes of the register at an offset of the common configuration; fields of 64 bits are two registers (4.1.3.1).
fn width(offset: u64) -> Option<u8> {
    match offset {
        0 | 4 | 8 | 12 | 32 | 36 | 40 | 44 | 48 | 52 => Some(4),
        16 | 18 | 22 | 24 | 26 | 28 | 30 | 56 | 58 => Some(2),
        20 | 21 => Some(1),
        _ => None,
    }
}

impl Device {
    /// What the driver did wrong since the last time. Nothing while the device itself is to blame: where it is gone for a
    /// while or writes over what the driver wrote, a well-behaved driver looks wrong as well.
    pub fn complaints(&mut self) -> Vec<&'static str> {
        let to_blame = matches!(
            self.lie(),
            Lie::Gone
                | Lie::GoneForAWhile
                | Lie::FeaturesChange
                | Lie::RewritesDescriptors
                | Lie::RewritesOnce
                | Lie::RewritesAvailable
                | Lie::RewritesTable
        );
        let from = core::mem::replace(&mut self.conduct.told, self.conduct.seen.len());
        if to_blame { Vec::new() } else { self.conduct.seen[from..].to_vec() }
    }

    /// A request that has just come.
    pub(super) fn check_request(&mut self, chain: &Chain, memory: &mut impl Memory) {
        /// Header and response
        const FIXED: usize = 2;
        let told = self.kind == Kind::Scsi || self.driver_features & feature::SEG_MAX != 0;
        // What a lie says of a limit is nothing to be kept.
        if self.lie() == Lie::None {
            // A disk that names no number may take one: Firecracker does (its virtio/request.rs, parse), and Linux gives such
            // disks one (drivers/block/virtio_blk.c, sg_elems).
            let most = if told { self.habits.seg_max.max(1) as usize } else { 1 };
            if chain.parts.len().saturating_sub(FIXED) > most {
                self.conduct.note("more segments than seg_max (5.2.4, 5.6.4)");
            }
        }
        if self.kind == Kind::Scsi {
            self.check_command(chain, memory);
        }
    }

    fn check_command(&mut self, chain: &Chain, memory: &mut impl Memory) {
        let Some(name) = scsi::name(&chain.parts, memory) else { return };
        let doubled = self.commands.iter().any(|(_, other, _)| *other == name);
        if doubled {
            self.conduct.note("two commands of a unit with the same tag at once (5.6.6.1; SAM-5, 4.8)");
        }
        self.commands.push((chain.id, name, doubled));
        let sectors = match self.habits.max_sectors {
            0 => u32::MAX,
            sectors => sectors,
        };
        let most = u64::from(sectors) * blk::SECTOR_BYTES;
        // It is a hint; what other commands ask for is not the driver's to choose.
        if self.lie() == Lie::None && scsi::transfer_bytes(&chain.parts, memory) > most {
            self.conduct.note("a READ or WRITE of more than max_sectors (5.6.4)");
        }
    }

    /// A task management function that has just come (5.6.6.2), and the unit that it is for, if its LUN field names one.
    pub(super) fn check_function(&mut self, function: u32, unit: Option<tasks::Unit>) {
        if function > 7 {
            self.conduct.note("a task management function that there is not (5.6.6.2)");
        }
        if unit.is_none() {
            self.conduct.note("a task management function for no unit (5.6.6.1)");
        }
    }

    /// A buffer for events that has just come (5.6.6.3).
    pub(super) fn check_buffer(&mut self, chain: &Chain) {
        let room: u64 = chain.parts.iter().map(|part| u64::from(part.length)).sum();
        if chain.parts.iter().any(|part| !part.device_writes) || room < EVENT as u64 {
            self.conduct.note("a buffer for events that is too short or not the device's to write (5.6.6.3)");
        }
    }

    pub(super) fn check_width(&mut self, offset: u64, size: u8) {
        if width(offset) != Some(size) {
            self.conduct.note("a register of the common configuration accessed with another width (4.1.3.1)");
        }
    }

    /// Before the status register is written with something else than 0.
    pub(super) fn check_status(&mut self, new: u8) {
        let old = self.status & !status::NEEDS_RESET;
        // FEATURES_OK that the device did not accept is not there to be kept.
        if new & old != old {
            self.conduct.note("a status bit cleared without a reset (2.1.1)");
        }
        if new & status::DRIVER_OK != 0 && old & status::FEATURES_OK == 0 {
            self.conduct.note("DRIVER_OK without FEATURES_OK (3.1.1)");
        }
        if new & status::FEATURES_OK != 0 && self.driver_features & !self.features() != 0 {
            self.conduct.note("features accepted that were not offered (2.2.1)");
        }
    }

    pub(super) fn check_features_written(&mut self) {
        if self.status & status::FEATURES_OK != 0 {
            self.conduct.note("features written after FEATURES_OK (3.1.1)");
        }
    }

    pub(super) fn check_notification(&mut self) {
        if self.status & status::DRIVER_OK == 0 {
            self.conduct.note("a notification before DRIVER_OK (3.1.1)");
        }
    }

    /// Before a queue's size is written.
    pub(super) fn check_size(&mut self, size: u64) {
        if size > self.queue_read(24) {
            self.conduct.note("a queue made larger than it may be (4.1.4.3.2)");
        }
    }

    /// Before a queue is enabled or something else is written there.
    pub(super) fn check_enable(&mut self, value: u64) {
        let Some(queue) = self.queues.get(usize::from(self.queue_select)).copied() else { return };
        let packed = self.driver_features & feature::PACKED != 0;
        if value != 1 {
            self.conduct.note("queue_enable written with something else than 1 (4.1.4.3.2)");
        }
        if queue.enabled {
            self.conduct.note("a queue enabled twice");
        }
        if self.status & status::FEATURES_OK == 0 {
            self.conduct.note("a queue set up before FEATURES_OK (3.1.1)");
        }
        if queue.size == 0 || !packed && !queue.size.is_power_of_two() {
            self.conduct.note("a split queue whose size is not a power of two (2.7)");
        }
        // Descriptors, driver area, device area (2.7, 2.8.10.1).
        let alignments = if packed { [16, 4, 4] } else { [16, 2, 4] };
        let areas = [queue.descriptors, queue.available, queue.used];
        if areas.iter().zip(alignments).any(|(area, alignment)| *area == 0 || !area.is_multiple_of(alignment))
        {
            self.conduct.note("an area of a queue is nowhere or not aligned (2.7, 2.8)");
        }
    }

    /// What was seen in a queue.
    pub(super) fn check_queue(&mut self, queue: &Queue) {
        for (fault, what) in [
            (Fault::TOO_MANY, "more requests made available than the queue has places (2.7.13)"),
            (Fault::OUTSIDE, "a descriptor that is not in its table"),
            (Fault::TOO_LONG, "a chain longer than the queue (2.7.5.3.1)"),
            (Fault::NESTED, "a table in a table, or a table and a next descriptor (2.7.5.3.1)"),
            (Fault::ORDER, "a descriptor for the device to read behind one for it to write (2.7.4.2)"),
            (Fault::EMPTY, "a table that is empty or ends in the middle of a descriptor (2.7.5.3.1)"),
        ] {
            if queue.faults.has(fault) {
                self.conduct.note(what);
            }
        }
        let indirect = self.driver_features & feature::INDIRECT != 0;
        if queue.faults.has(Fault::INDIRECT) && !indirect {
            self.conduct.note("a table without VIRTIO_F_INDIRECT_DESC (2.7.5.3.1)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::{RESPONSE, USED, bring_up, request};
    use super::super::{find_manner, get16};
    use super::*;
    use alloc::vec;

    /// Offset, size, value.
    type Write = (u64, u8, u64);

    /// What is noted of register writes of one byte, two or four, by a driver that is otherwise well-behaved.
    fn noted(writes: &[Write]) -> Vec<&'static str> {
        let (mut device, mut memory) = (Device::new(Kind::Blk, false, Lie::None), vec![0u8; 0x8000]);
        for (offset, size, value) in writes {
            device.write(*offset, *size, *value, &mut memory);
        }
        device.complaints()
    }

    const NEGOTIATED: [Write; 6] = [(20, 1, 1), (20, 1, 3), (8, 4, 1), (12, 4, 1), (20, 1, 11), (22, 2, 0)];
    const QUEUE: [Write; 5] = [(24, 2, 8), (32, 4, 0x1000), (40, 4, 0x2000), (48, 4, 0x3000), (28, 2, 1)];

    #[test]
    fn a_driver_that_does_everything_right_hears_nothing() {
        assert!(noted(&[&NEGOTIATED[..], &QUEUE, &[(20, 1, 15), (20, 1, 0)]].concat()).is_empty());
    }

    #[test]
    fn each_wrong_write_is_noted() {
        let enabled = [&NEGOTIATED[..], &QUEUE].concat();
        let table: [(&[Write], &[Write], &str); 12] = [
            (&[], &[(20, 4, 1)], "another width"),
            (&NEGOTIATED, &[(20, 1, 1)], "cleared without a reset"),
            (&[(20, 1, 3)], &[(20, 1, 7)], "DRIVER_OK without"),
            (&[(20, 1, 3), (8, 4, 1), (12, 4, 0x8001)], &[(20, 1, 11)], "not offered"),
            (&NEGOTIATED, &[(12, 4, 1)], "after FEATURES_OK"),
            (&enabled, &[(0x3000, 2, 0)], "before DRIVER_OK"),
            (&NEGOTIATED, &[(24, 2, 256)], "larger"),
            (&enabled, &[(28, 2, 1)], "twice"),
            (&NEGOTIATED, &[&QUEUE[..4], &[(28, 2, 0)]].concat(), "than 1"),
            (&[], &QUEUE, "before FEATURES_OK"),
            (&NEGOTIATED, &[&[(24, 2, 7)], &QUEUE[1..]].concat(), "power of two"),
            (&NEGOTIATED, &[&QUEUE[..3], &[(48, 4, 0x3002), (28, 2, 1)]].concat(), "aligned"),
        ];
        for (before, wrong, words) in table {
            let notes = noted(&[before, wrong].concat());

            assert!(notes.len() == 1 && notes[0].contains(words), "{words}: {notes:?}");
        }
    }

    #[test]
    fn a_tag_that_another_command_has_is_noted_and_refused_by_who_remembers_tags() {
        for (name, status) in [("bhyve", 2), ("qemu", 0)] {
            // It is slow from the first request on, so that one waits when the other comes.
            let slow = Device::new(Kind::Scsi, false, Lie::Slow).lies_from(1).prompt();
            let (mut device, mut memory) =
                (slow.with_manner(find_manner(name, Kind::Scsi)), vec![0u8; 0x8000]);
            bring_up(&mut device, &mut memory);

            request(&mut device, &mut memory, false, 3, 0);
            let alone = device.complaints();
            request(&mut device, &mut memory, false, 3, 1);
            let doubled = device.complaints();
            (0..501).for_each(|_| drop(device.tick(&mut memory)));

            assert!(alone.is_empty(), "{alone:?}");
            assert!(doubled.len() == 1 && doubled[0].contains("the same tag"), "{doubled:?}");
            assert_eq!((memory[RESPONSE as usize + 10], get16(&mut memory, USED + 2)), (status, 2), "{name}");
        }
    }
}
