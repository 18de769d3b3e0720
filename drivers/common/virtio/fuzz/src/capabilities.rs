//! PCI configuration space and registers that say anything, of a modern or a legacy device.
//!
//! Input: 256 bytes of configuration space (what is missing reads all-ones), six lengths of base address registers, one
//! byte with which of them can be mapped, one byte with the number of operations, the operations, and then what the
//! registers read, in the order they are read, byte for byte; zeros when that is used up.
//!
//! What is promised: no panic; every access lies in the base address register and in the structure that a capability
//! describes, aligned to its width, or is one of the registers that the legacy interface has; and the accesses of each
//! call are bounded.

use std::cell::RefCell;
use std::rc::Rc;

use arbitrary::Unstructured;
use virtio::queue::QueueAreas;
use virtio::spec::Features;
use virtio::spec::pci::{capability, common, config_space, legacy};
use virtio::transport::{
    Bar, Capabilities, ConfigSpace, Device, Doorbell, QueueReset, RESET_POLLS, TransportError, Window,
    legacy_areas,
};

use crate::operations::Encode;

crate::operations! {
    /// What the driver does with the device.
    pub enum Operation {
        /// Reset, negotiation and one queue.
        Start {
            /// Features the driver wants
            wanted: u64,
            /// The queue
            queue: u16,
            /// Its size
            size: u16,
            /// Its vector; `0xffff` for none
            vector: u16,
        },
        /// Reads a field of the device configuration.
        ReadConfig {
            /// Which width
            width: u8,
            /// Where; brought to a multiple of the width
            offset: u32,
        },
        /// Rings the doorbell of the last start.
        Notify {
            /// Where in the ring the driver goes on
            next: u16,
        },
        /// Resets a queue and sets it up again.
        ResetQueue {
            /// The queue
            queue: u16,
            /// Its size
            size: u16,
        },
        /// Says whether MSI-X is in use.
        SetMessages {
            /// If odd
            in_use: u8,
        },
        /// Reads the interrupt status.
        Isr {},
        /// Gives up on the device.
        Fail {},
    }
}

/// Configuration space that counts how often it is read.
struct Config<'a> {
    bytes: &'a [u8],
    reads: RefCell<u32>,
}

impl ConfigSpace for Config<'_> {
    fn read8(&self, offset: u16) -> u8 {
        *self.reads.borrow_mut() += 1;
        self.bytes.get(usize::from(offset)).copied().unwrap_or(u8::MAX)
    }

    fn read16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.read8(offset), self.read8(offset + 1)])
    }

    fn read32(&self, offset: u16) -> u32 {
        u32::from(self.read16(offset)) | u32::from(self.read16(offset + 2)) << 16
    }
}

/// What all base address registers share.
struct Machine<'a> {
    values: Unstructured<'a>,
    accesses: u32,
    windows: Vec<Window>,
    /// There are no structures, but the legacy interface in the first base address register.
    legacy: bool,
}

/// Registers of the legacy interface, with their widths; behind them, or behind the first eight of them without MSI-X, is
/// the device configuration (4.1.4.10).
const LEGACY_REGISTERS: [(u32, u32); 10] =
    [(0, 4), (4, 4), (8, 4), (12, 2), (14, 2), (16, 2), (18, 1), (19, 1), (20, 2), (22, 2)];

/// Registers that read what the input says, and check where they are touched.
struct FuzzBar<'a> {
    number: u8,
    length: u64,
    machine: Rc<RefCell<Machine<'a>>>,
}

impl FuzzBar<'_> {
    fn access(&self, offset: u32, width: u32) {
        let mut machine = self.machine.borrow_mut();
        machine.accesses += 1;
        let end = u64::from(offset) + u64::from(width);
        assert!(end <= self.length, "{offset:#x}+{width} of {:#x} bytes", self.length);
        assert!(offset.is_multiple_of(width), "{offset:#x} is not aligned to {width}");
        if machine.legacy {
            let is_register = offset >= legacy::BYTES || LEGACY_REGISTERS.contains(&(offset, width));
            assert!(self.number == 0 && is_register, "{offset:#x}+{width} is no register");
            return;
        }
        let in_structure = machine.windows.iter().any(|window| {
            let window_end = u64::from(window.offset) + u64::from(window.length);
            window.bar == self.number && window.offset <= offset && end <= window_end
        });
        assert!(in_structure, "{offset:#x}+{width} of register {} is in no structure", self.number);
    }
}

impl Bar for FuzzBar<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn read8(&self, offset: u32) -> u8 {
        self.access(offset, 1);
        self.machine.borrow_mut().values.arbitrary().unwrap_or(0)
    }

    fn read16(&self, offset: u32) -> u16 {
        self.access(offset, 2);
        self.machine.borrow_mut().values.arbitrary().unwrap_or(0)
    }

    fn read32(&self, offset: u32) -> u32 {
        self.access(offset, 4);
        self.machine.borrow_mut().values.arbitrary().unwrap_or(0)
    }

    fn write8(&self, offset: u32, _value: u8) {
        self.access(offset, 1);
    }

    fn write16(&self, offset: u32, _value: u16) {
        self.access(offset, 2);
    }

    fn write32(&self, offset: u32, _value: u32) {
        self.access(offset, 4);
    }
}

/// What came of an input, for the tests of the seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Why the device could not be opened
    pub refused: Option<TransportError>,
    /// Why it could not be started
    pub not_started: Vec<TransportError>,
    /// How often it was
    pub started: usize,
    /// Fields that were read
    pub fields: usize,
    /// Doorbells that were rung
    pub rung: usize,
    /// Queues that were reset
    pub queue_resets: usize,
    /// It was opened by its legacy interface
    pub legacy: bool,
}

/// Most reads of configuration space, byte for byte: the status and the first pointer, and for each capability that fits
/// its id, its successor and 16 bytes of its contents.
const CONFIG_READS: u32 = 3 + 48 * 18;
/// Most accesses of a start besides the polls of the reset.
const START_ACCESSES: u32 = RESET_POLLS + 48;
/// Most accesses for counting a legacy device's queues, which has no register that tells: 1024, by select and size.
const LEGACY_COUNT: u32 = 2 * 1024;
/// Most accesses for resetting a queue, two for each poll, and setting it up again.
const QUEUE_RESET_ACCESSES: u32 = 2 + 2 * (RESET_POLLS + 1) + 12;
/// Most accesses for a field: as often as the generation is asked for, twice, and the field's bytes.
const FIELD_ACCESSES: u32 = 16 * (2 + 20);

/// Plays an input.
pub fn run(input: &[u8]) -> Story {
    let mut story = Story::default();
    let (space, rest) = input.split_at(input.len().min(256));
    let mut rest = Unstructured::new(rest);
    let lengths: [u64; 6] = std::array::from_fn(|_| rest.arbitrary().unwrap_or(0));
    let mapped: u8 = rest.arbitrary().unwrap_or(0);
    let count: u8 = rest.arbitrary().unwrap_or(0);
    let operations: Vec<Operation> =
        (0..count % 16).map_while(|_| (!rest.is_empty()).then(|| rest.arbitrary().ok())?).collect();

    let config = Config { bytes: space, reads: RefCell::new(0) };
    let windows = Capabilities::find(&config).map_or(Vec::new(), |found| {
        [Some(found.common), Some(found.notify), Some(found.isr), found.device]
            .into_iter()
            .flatten()
            .collect()
    });
    assert!(*config.reads.borrow() <= CONFIG_READS, "{} reads", config.reads.borrow());
    let machine = Rc::new(RefCell::new(Machine { values: rest, accesses: 0, windows, legacy: false }));
    let mut asked = Vec::new();
    let opened = Device::open(&config, |number| {
        assert!(number < 6 && !asked.contains(&number), "each register that exists is mapped once");
        asked.push(number);
        (mapped >> number & 1 == 0).then(|| FuzzBar {
            number,
            length: lengths[usize::from(number)],
            machine: Rc::clone(&machine),
        })
    });
    assert_eq!(machine.borrow().accesses, 0, "no register is touched before all are known");
    let device = match opened {
        Ok(device) => device,
        Err(error) => {
            story.refused = Some(error);
            return story;
        }
    };
    for window in &machine.borrow().windows {
        let end = u64::from(window.offset) + u64::from(window.length);
        assert!(end <= lengths[usize::from(window.bar)], "{window:?} is not all there");
    }
    story.legacy = device.is_legacy();
    assert!(story.legacy == machine.borrow().windows.is_empty(), "a device with structures is used by them");
    machine.borrow_mut().legacy = story.legacy;
    if story.legacy {
        let id = config.read16(config_space::DEVICE_ID);
        assert!((0x1000..0x1040).contains(&id) && config.read8(config_space::REVISION) == 0, "{id:#x}");
        assert_eq!(asked, [0], "there is one register");
    }
    let mut running: Option<Running> = None;
    for operation in operations {
        machine.borrow_mut().accesses = 0;
        let most = match operation {
            Operation::Start { wanted, queue, size, vector } => {
                match start(&device, Features::from_bits_retain(wanted), queue, size, vector) {
                    Ok(started) => {
                        story.started += 1;
                        running = Some(started);
                    }
                    Err(error) => story.not_started.push(error),
                }
                START_ACCESSES + if story.legacy { LEGACY_COUNT } else { 0 }
            }
            Operation::ReadConfig { width, offset } => {
                story.fields += usize::from(read_config(&device, width, offset as usize));
                FIELD_ACCESSES
            }
            Operation::Notify { next } => {
                if let Some(Running { doorbell, .. }) = &running {
                    device.notify(doorbell, next);
                    assert_eq!(machine.borrow().accesses, 1, "one write, and no more");
                    story.rung += 1;
                }
                1
            }
            Operation::ResetQueue { queue, size } => {
                if let Some(accepted) = running.as_ref().and_then(|running| running.queue_reset) {
                    story.queue_resets += usize::from(reset_queue(&device, accepted, queue, size).is_ok());
                }
                QUEUE_RESET_ACCESSES
            }
            Operation::SetMessages { in_use } => {
                device.set_messages_in_use(in_use & 1 != 0);
                0
            }
            Operation::Isr {} => {
                let _ = device.isr_status();
                1
            }
            Operation::Fail {} => {
                device.fail();
                2
            }
        };
        let accesses = machine.borrow().accesses;
        assert!(accesses <= most, "{operation:?}: {accesses} accesses");
    }
    story
}

/// What a device that was started is used with.
struct Running {
    doorbell: Doorbell,
    queue_reset: Option<QueueReset>,
}

fn start(
    device: &Device<FuzzBar<'_>>,
    wanted: Features,
    queue: u16,
    size: u16,
    vector: u16,
) -> Result<Running, TransportError> {
    let mut stalls = 0;
    let acknowledged = device.reset(&mut || stalls += 1);
    assert!(stalls <= RESET_POLLS);
    let ready = acknowledged?.negotiate(wanted)?;
    let vector = (vector != u16::MAX).then_some(vector);
    let accepted = ready.features();
    if device.is_legacy() {
        assert!((wanted | Features::ANY_LAYOUT).contains(accepted) && accepted.bits() >> 32 == 0);
    } else {
        assert!(wanted.contains(accepted) && accepted.contains(Features::VERSION_1));
    }
    let _ = ready.queue_count();
    ready.set_config_vector(vector)?;
    ready.enable_queue(queue, size, &areas(device, size), vector)?;
    let doorbell = ready.notifier(queue)?;
    let queue_reset = ready.queue_reset();
    assert_eq!(queue_reset.is_some(), accepted.contains(Features::RING_RESET));
    ready.driver_ok();
    Ok(Running { doorbell, queue_reset })
}

fn areas(device: &Device<FuzzBar<'_>>, size: u16) -> QueueAreas {
    if device.is_legacy() {
        legacy_areas(0x1000, size)
    } else {
        QueueAreas { descriptor_area: 0x1000, driver_area: 0x2000, device_area: 0x3000 }
    }
}

fn reset_queue(
    device: &Device<FuzzBar<'_>>,
    accepted: QueueReset,
    queue: u16,
    size: u16,
) -> Result<(), TransportError> {
    let mut stalls = 0;
    let reset = device.reset_queue(accepted, queue, &mut || stalls += 1);
    assert!(stalls <= RESET_POLLS);
    reset?;
    device.enable_queue_again(accepted, queue, size, &areas(device, size), None)
}

/// Fields of the widths that devices have, where fields of that width are: at multiples of it, words for the longest.
fn read_config(device: &Device<FuzzBar<'_>>, width: u8, offset: usize) -> bool {
    let length = device.config_length() as usize;
    // Mostly inside.
    let offset = if offset.is_multiple_of(7) || length == 0 { offset } else { offset % length };
    let (bytes, read) = match width % 6 {
        0 => (1, device.read_config::<1>(offset).is_some()),
        1 => (2, device.read_config::<2>(offset & !1).is_some()),
        2 => (4, device.read_config::<4>(offset & !3).is_some()),
        3 => (8, device.read_config::<8>(offset & !3).is_some()),
        4 => (6, device.read_config::<6>(offset).is_some()),
        _ => (20, device.read_config::<20>(offset).is_some()),
    };
    assert!(!read || length >= bytes, "{bytes} bytes out of {length}");
    read
}

/// A configuration space with the structures of a device, all in base address register 4.
fn whole() -> Vec<u8> {
    let mut space = vec![0; 256];
    let put = |space: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        space[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(&mut space, usize::from(config_space::STATUS), &config_space::STATUS_CAPABILITY_LIST.to_le_bytes());
    space[usize::from(config_space::CAPABILITIES_POINTER)] = 0x40;
    let list = [
        (0x40_u8, 0x54, 1_u8, 0_u32, common::BYTES),
        (0x54, 0x68, 2, 0x3000, 0x1000),
        (0x68, 0x7c, 3, 0x1000, 1),
        (0x7c, 0, 4, 0x2000, 60),
    ];
    for (at, next, kind, offset, length) in list {
        let at = usize::from(at);
        put(&mut space, at, &[config_space::VENDOR_SPECIFIC, next, capability::NOTIFY_BYTES, kind, 4]);
        put(&mut space, at + usize::from(capability::OFFSET), &offset.to_le_bytes());
        put(&mut space, at + usize::from(capability::STRUCTURE_LENGTH), &length.to_le_bytes());
        put(&mut space, at + usize::from(capability::NOTIFY_OFF_MULTIPLIER), &4_u32.to_le_bytes());
    }
    space
}

/// The configuration space of a legacy device, with MSI-X that is enabled or not, or without it.
fn legacy_space(msix: Option<bool>) -> Vec<u8> {
    let mut space = vec![0; 256];
    space[..4].copy_from_slice(&[0xf4, 0x1a, 0x01, 0x10]);
    if let Some(enabled) = msix {
        space[usize::from(config_space::STATUS)] = config_space::STATUS_CAPABILITY_LIST as u8;
        space[usize::from(config_space::CAPABILITIES_POINTER)] = 0x40;
        space[0x40..0x44].copy_from_slice(&[config_space::MSIX, 0, 1, if enabled { 0x80 } else { 0 }]);
    }
    space
}

/// The inputs that fuzzing starts with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let seed = |space: Vec<u8>, length: u64, operations: &[Operation], values: &[u8]| {
        let mut bytes = space;
        for _ in 0..6 {
            length.encode(&mut bytes);
        }
        bytes.extend([0, operations.len() as u8]);
        for operation in operations {
            operation.encode(&mut bytes);
        }
        bytes.extend_from_slice(values);
        bytes
    };
    let changed = |changes: &[(usize, u8)]| {
        let mut space = whole();
        for (at, value) in changes {
            space[*at] = *value;
        }
        space
    };
    let start = Operation::Start { wanted: u64::MAX, queue: 0, size: 8, vector: 1 };
    // Status 0, features (all), FEATURES_OK stays, one queue, both vectors (the queue's size lies between them), and the
    // doorbell's place.
    let obedient = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0b, 1, 0, 1, 0, 8, 0, 1, 0, 0, 0];
    // Status 0, features (32 of them), status again, sizes of the first queue and of one that is not there, the vector,
    // the queue's size and vector.
    let legacy = [0, 0xff, 0xff, 0xff, 0xff, 3, 8, 0, 0, 0, 1, 0, 8, 0, 1, 0];
    let without_vectors = [0, 0xff, 0xff, 0xff, 0xff, 3, 8, 0, 0, 0, 8, 0];
    let start_without = Operation::Start { wanted: u64::MAX, queue: 0, size: 8, vector: u16::MAX };
    // As `obedient`, with the name of the queue; then the queue is reset at the second look, and has its size again.
    let with_reset: Vec<u8> = obedient.iter().copied().chain([7, 0, 1, 0, 0, 0, 0, 0, 8, 0]).collect();
    let everything = [
        start,
        Operation::ReadConfig { width: 3, offset: 0 },
        Operation::ReadConfig { width: 2, offset: 20 },
        Operation::ReadConfig { width: 5, offset: 40 },
        Operation::Notify { next: 1 },
        Operation::Isr {},
        Operation::Fail {},
    ];
    vec![
        ("a_device", seed(whole(), 0x4000, &everything, &obedient)),
        ("a_legacy_device", seed(legacy_space(Some(true)), 0x40, &everything, &legacy)),
        (
            "a_legacy_device_without_messages",
            seed(
                legacy_space(None),
                0x40,
                &[
                    start_without,
                    Operation::ReadConfig { width: 2, offset: 0 },
                    Operation::Notify { next: 1 },
                    Operation::SetMessages { in_use: 1 },
                    start,
                ],
                &without_vectors,
            ),
        ),
        ("a_legacy_device_that_is_short", seed(legacy_space(Some(false)), 20, &[start], &legacy)),
        (
            "a_queue_is_reset",
            seed(
                changed(&[(0x4c, 0x40)]),
                0x4000,
                &[start, Operation::Notify { next: 0x8001 }, Operation::ResetQueue { queue: 0, size: 8 }],
                &with_reset,
            ),
        ),
        ("no_version_1", seed(whole(), 0x4000, &[start], &[0; 16])),
        ("reset_never_ends", seed(whole(), 0x4000, &[start], &[0x0f; 1100])),
        ("removed", seed(whole(), 0x4000, &everything, &[0xff; 64])),
        ("a_register_one_byte_short", seed(whole(), 0x3fff, &[], &[])),
        (
            "a_huge_register",
            seed(
                changed(&[(0x48, 0xf0), (0x49, 0xff), (0x4a, 0xff), (0x4b, 0xff)]),
                1 << 40,
                &everything,
                &obedient,
            ),
        ),
        ("a_loop", seed(changed(&[(0x7d, 0x40)]), 0x4000, &everything, &obedient)),
        ("not_aligned", seed(changed(&[(0x48, 2)]), 0x4000, &[], &[])),
        ("a_reserved_register", seed(changed(&[(0x44, 6)]), 0x4000, &[], &[])),
        ("a_capability_at_the_end", seed(changed(&[(0x7d, 0xfc), (0xfc, 9), (0xfe, 4)]), 0x4000, &[], &[])),
        ("doorbells_far_apart", seed(changed(&[(0x67, 0xff)]), 0x4000, &everything, &[0xee; 64])),
        ("half_a_space", whole()[..0x60].to_vec()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::spec::pci::CapabilityType;

    fn story(name: &str) -> Story {
        let (_, bytes) = seeds().into_iter().find(|(seed, _)| *seed == name).expect("there is such a seed");
        run(&bytes)
    }

    #[test]
    fn the_seed_of_an_obedient_device_goes_all_the_way() {
        let story = story("a_device");

        assert_eq!(story, Story { started: 1, fields: 3, rung: 1, ..Story::default() });
    }

    #[test]
    fn seeds_of_legacy_devices_go_all_the_way() {
        let legacy = Story { started: 1, legacy: true, rung: 1, ..Story::default() };

        assert_eq!(story("a_legacy_device"), Story { fields: 3, ..legacy });
        let without = story("a_legacy_device_without_messages");
        assert_eq!((without.started, without.rung, without.fields), (1, 1, 1));
        let short = TransportError::LegacyTooShort { bytes: 20 };
        assert_eq!(story("a_legacy_device_that_is_short").refused, Some(short));
    }

    #[test]
    fn the_seed_of_a_queue_reset_sets_the_queue_up_again() {
        let expected = Story { started: 1, rung: 1, queue_resets: 1, ..Story::default() };

        assert_eq!(story("a_queue_is_reset"), expected);
    }

    #[test]
    fn seeds_of_devices_that_cannot_be_driven_end_with_their_error() {
        let (common, notify) = (CapabilityType::COMMON, CapabilityType::NOTIFY);
        let refused = |name| story(name).refused.expect("the device is refused");

        assert_eq!(refused("a_register_one_byte_short"), TransportError::OutsideBar { kind: notify, bar: 4 });
        assert_eq!(refused("a_huge_register"), TransportError::OutsideBar { kind: common, bar: 4 });
        assert_eq!(refused("not_aligned"), TransportError::Misaligned { kind: common, bar: 4 });
        assert_eq!(refused("a_reserved_register"), TransportError::MissingCapability(common));
        assert_eq!(story("no_version_1").not_started, [TransportError::NoVersion1]);
        assert_eq!(story("reset_never_ends").not_started, [TransportError::ResetTimedOut { status: 0x0f }]);
        assert_eq!(story("removed").not_started, [TransportError::Removed]);
    }
}
