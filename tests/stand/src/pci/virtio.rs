//! What a virtio device and its driver agreed on, read from the device's registers: a witness beside the driver.
//! Structure of the capabilities and of the common configuration: virtio 1.2 §4.1.4.

use alloc::string::String;

use super::Function;
use super::bars::Bar;
use crate::cpu::port;
use crate::memory;
use crate::model;

/// Features and status as the device has them.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// Offered by the device.
    pub device: u64,
    /// Taken by the driver.
    pub driver: u64,
    /// Device status.
    pub status: u8,
    /// Read through the modern interface.
    modern: bool,
}

impl Agreement {
    /// Name of the interface.
    pub fn interface(&self) -> &'static str {
        if self.modern { "modern" } else { "legacy" }
    }
}

/// Reads what driver and device agreed on. `None` for a function without virtio registers.
pub fn read(function: Function, bars: &[Bar]) -> Option<Agreement> {
    if model::is(function) {
        return None;
    }
    let modern = common(function, bars).map(read_modern);
    // A legacy driver on a transitional device takes no feature VERSION_1 and uses the I/O ports.
    let ports =
        bars.iter().find(|bar| !bar.memory && bar.index == 0).map(|bar| read_legacy(bar.address as u16));
    match modern {
        Some(agreement) if agreement.driver & 1 << 32 != 0 => modern,
        _ => ports.or(modern),
    }
}

/// Address of the common configuration structure.
fn common(function: Function, bars: &[Bar]) -> Option<u64> {
    // Vendor-specific capability with cfg_type 1.
    let (_, at) =
        function.capabilities().into_iter().find(|(id, at)| *id == 9 && function.read_u8(at + 3) == 1)?;
    let bar = bars.iter().find(|bar| bar.index == function.read_u8(at + 4) && bar.memory)?;
    let offset = u64::from(function.read_u32(at + 8));
    (offset + 64 <= bar.size).then(|| memory::map_device(bar.address + offset, 64))
}

/// Bus addresses of a modern device's notification structure (virtio 1.3, 4.1.4.4), if it is in memory.
pub fn doorbells(function: Function, bars: &[Bar]) -> Option<(u64, u64)> {
    let (_, at) =
        function.capabilities().into_iter().find(|(id, at)| *id == 9 && function.read_u8(at + 3) == 2)?;
    let bar = bars.iter().find(|bar| bar.index == function.read_u8(at + 4) && bar.memory)?;
    let first = bar.address + u64::from(function.read_u32(at + 8));
    Some((first, first + u64::from(function.read_u32(at + 12))))
}

/// Has the device forget everything, as it does when its power goes. Answers whether there was one to tell.
pub fn forget(function: Function, bars: &[Bar]) -> bool {
    if model::is(function) {
        model::reset();
        return true;
    }
    let ports = bars.iter().find(|bar| !bar.memory && bar.index == 0);
    if let Some(base) = common(function, bars) {
        // SAFETY: `common` mapped the structure; device_status is the byte at 20, and 0 resets (virtio 1.3, 4.1.4.3).
        unsafe { ((base + 20) as *mut u8).write_volatile(0) };
    } else if let Some(bar) = ports {
        port::write_u8(bar.address as u16 + 18, 0);
    } else {
        return false;
    }
    true
}

fn read_modern(base: u64) -> Agreement {
    let read = |offset: u64| {
        // SAFETY: `common` mapped the structure.
        unsafe { ((base + offset) as *const u32).read_volatile() }
    };
    let write = |offset: u64, value: u32| {
        // SAFETY: as above; the two selectors have no effect but on the windows read here, and are put back.
        unsafe { ((base + offset) as *mut u32).write_volatile(value) }
    };
    let (device_select, driver_select) = (read(0), read(8));
    let (mut device, mut driver) = (0, 0);
    for select in 0..2u32 {
        write(0, select);
        device |= u64::from(read(4)) << (32 * select);
        write(8, select);
        driver |= u64::from(read(12)) << (32 * select);
    }
    write(0, device_select);
    write(8, driver_select);
    // SAFETY: as above; device_status is the byte at 20.
    let status = unsafe { ((base + 20) as *const u8).read_volatile() };
    Agreement { device, driver, status, modern: true }
}

fn read_legacy(base: u16) -> Agreement {
    Agreement {
        device: u64::from(port::read_u32(base)),
        driver: u64::from(port::read_u32(base + 4)),
        status: port::read_u8(base + 18),
        modern: false,
    }
}

/// A queue as the device has it.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// The driver enabled it.
    pub enabled: bool,
    /// Its MSI-X vector.
    pub vector: u16,
    /// Used buffers of a split ring since it was enabled, modulo 65536.
    pub used: Option<u16>,
}

/// The queues for requests, enabled or not. `None` for a device without modern registers, or a driver that does not use them.
/// Nobody else may select a queue meanwhile: the driver has to be idle.
pub fn request_queues(function: Function, bars: &[Bar]) -> Option<alloc::vec::Vec<Queue>> {
    const PACKED: u64 = 1 << 34;
    let agreement = read(function, bars).filter(|agreement| agreement.modern)?;
    // The control and the event queue come first (virtio 1.3, 5.6.2).
    let first = match function.read_u16(2) {
        0x1001 | 0x1042 => 0,
        0x1004 | 0x1048 => 2,
        _ => return None,
    };
    let base = common(function, bars)?;
    // SAFETY: `common` mapped the structure; all of these are registers of 16 bits (virtio 1.3, 4.1.4.3).
    let half = |offset: u64| unsafe { ((base + offset) as *const u16).read_volatile() };
    // SAFETY: as above; queue_select is at 22, and is put back.
    let select = |queue: u16| unsafe { ((base + 22) as *mut u16).write_volatile(queue) };
    let selected = half(22);
    let queues = (first..half(18)).map(|queue| {
        select(queue);
        let enabled = half(28) != 0;
        // SAFETY: as above; queue_device is two words of 32 bits, which are read in one piece each.
        let word = |offset: u64| u64::from(unsafe { ((base + offset) as *const u32).read_volatile() });
        let device_area = word(48) | word(52) << 32;
        let split = enabled && agreement.driver & PACKED == 0;
        // SAFETY: the driver gave the device this memory; the index of the used ring is its second word (2.7.8).
        let used = || unsafe { memory::window(device_area + 2).cast::<u16>().read_volatile() };
        Queue { enabled, vector: half(26), used: split.then(used) }
    });
    let queues = queues.collect();
    select(selected);
    Some(queues)
}

const COMMON: [(u32, &str); 14] = [
    (24, "NOTIFY_ON_EMPTY"),
    (27, "ANY_LAYOUT"),
    (28, "INDIRECT_DESC"),
    (29, "EVENT_IDX"),
    (32, "VERSION_1"),
    (33, "ACCESS_PLATFORM"),
    (34, "RING_PACKED"),
    (35, "IN_ORDER"),
    (36, "ORDER_PLATFORM"),
    (37, "SR_IOV"),
    (38, "NOTIFICATION_DATA"),
    (39, "NOTIF_CONFIG_DATA"),
    (40, "RING_RESET"),
    (41, "ADMIN_VQ"),
];
const BLOCK: [(u32, &str); 12] = [
    (1, "SIZE_MAX"),
    (2, "SEG_MAX"),
    (4, "GEOMETRY"),
    (5, "RO"),
    (6, "BLK_SIZE"),
    (9, "FLUSH"),
    (10, "TOPOLOGY"),
    (11, "CONFIG_WCE"),
    (12, "MQ"),
    (13, "DISCARD"),
    (14, "WRITE_ZEROES"),
    (16, "SECURE_ERASE"),
];
const SCSI: [(u32, &str); 4] = [(0, "INOUT"), (1, "HOTPLUG"), (2, "CHANGE"), (3, "T10_PI")];

/// Names of feature bits for a device with this PCI device id.
pub fn names(features: u64, device: u16) -> String {
    let own: &[(u32, &str)] = match device {
        0x1001 | 0x1042 => &BLOCK,
        0x1004 | 0x1048 => &SCSI,
        _ => &[],
    };
    let mut text = String::new();
    for bit in 0..64 {
        if features & 1 << bit == 0 {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        match own.iter().chain(&COMMON).find(|(number, _)| *number == bit) {
            Some((_, name)) => text.push_str(name),
            None => text.push_str(&alloc::format!("bit{bit}")),
        }
    }
    text
}
