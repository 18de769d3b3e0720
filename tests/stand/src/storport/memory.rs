//! Memory the miniport asks for: uncached extension, physical addresses, device registers.

use super::{Phase, port};
use crate::cpu::arguments::Arguments;
use crate::cpu::irql;
use crate::kernel::export;
use crate::memory::dma::Access;
use crate::memory::{self, PAGE, arena, driver, paging};
use crate::model;

/// StorPortGetUncachedExtension(HwDeviceExtension, ConfigInfo, NumberOfBytes). Allocated once; later calls get the same
/// (nf-storport-storportgetuncachedextension.md).
pub fn uncached_extension(a: Arguments) -> u64 {
    super::adapter("StorPortGetUncachedExtension", a.get(0));
    let bytes = a.get(2) & 0xFFFF_FFFF;
    let mut port = port();
    if let Some((range, _, size)) = port.uncached {
        if bytes > size {
            crate::not_ok!("uncached-extension-grown", "{size} bytes were asked for first, now {bytes}");
        }
        return range.address;
    }
    if port.phase > Phase::FindAdapter {
        crate::not_ok!(
            "uncached-extension-late",
            "StorPortGetUncachedExtension is for HwStorFindAdapter only"
        );
    }
    export::at_most("StorPortGetUncachedExtension", irql::PASSIVE);
    if bytes == 0 || bytes > 64 << 20 {
        return 0;
    }
    match arena::contiguous(bytes) {
        Some((range, physical)) => {
            port.uncached = Some((range, physical, bytes));
            port.uncached_grant.add(physical, bytes, Access::BOTH);
            range.address
        }
        None => 0,
    }
}

/// StorPortGetPhysicalAddress(HwDeviceExtension, Srb, VirtualAddress, Length).
pub fn physical_address(a: Arguments) -> u64 {
    const NAME: &str = "StorPortGetPhysicalAddress";
    super::adapter(NAME, a.get(0));
    let (srb, address) = (a.get(1), a.get(2));
    let mut most = u64::from(u32::MAX);
    if srb != 0 {
        let port = port();
        match port.active.get(&srb) {
            None => {
                drop(port);
                crate::not_ok!("srb-unknown", "{NAME} with {srb:#x}, which is no SRB");
            }
            Some(request) => {
                let data = request.data;
                let end = data.address + u64::from(data.length);
                if (data.address..end).contains(&address) {
                    most = end - address;
                } else if !request.owns(address) {
                    drop(port);
                    crate::not_ok!("foreign-address", "{NAME}: {address:#x} is not in the request's buffers");
                }
            }
        }
    }
    let (physical, length) = run(address, most);
    driver::write_optional(NAME, a.get(3), length as u32);
    physical
}

/// Physical address and length of the contiguous run from an address on; 0 for an address that is not mapped.
fn run(address: u64, most: u64) -> (u64, u64) {
    let Some((physical, _)) = paging::translate(address) else { return (0, 0) };
    let mut length = PAGE - address % PAGE;
    while length < most.min(1 << 24)
        && let Some((next, _)) = paging::translate(address + length)
        && next == physical + length
    {
        length += PAGE;
    }
    (physical, length.min(most))
}

/// StorPortGetVirtualAddress(HwDeviceExtension, PhysicalAddress), within the uncached extension.
pub fn virtual_address(a: Arguments) -> u64 {
    super::adapter("StorPortGetVirtualAddress", a.get(0));
    match port().uncached {
        Some((range, physical, size)) if (physical..physical + size).contains(&a.get(1)) => {
            range.address + (a.get(1) - physical)
        }
        _ => 0,
    }
}

/// StorPortGetDeviceBase(HwDeviceExtension, BusType, SystemIoBusNumber, IoAddress, NumberOfBytes, InIoSpace). Only
/// addresses of the adapter's access ranges can be mapped.
pub fn device_base(a: Arguments) -> u64 {
    super::adapter("StorPortGetDeviceBase", a.get(0));
    let (address, bytes, ports) = (a.get(3), a.get(4) & 0xFFFF_FFFF, a.get(5) & 0xFF != 0);
    let inside = port().bars.iter().any(|bar| {
        bar.memory != ports && address >= bar.address && address + bytes <= bar.address + bar.size
    });
    if !inside {
        crate::not_ok!(
            "device-base-outside-ranges",
            "StorPortGetDeviceBase of {address:#x}, {bytes} bytes, in {} space, which is in no access range",
            if ports { "I/O" } else { "memory" }
        );
        return 0;
    }
    if ports {
        return address;
    }
    let at = model::map(address, bytes).unwrap_or_else(|| memory::map_device(address, bytes));
    super::port().registers.push((at, bytes, address));
    at
}
