//! How a list of descriptors is read: along the ring, and through a table (2.8.6, 2.8.7).

use virtio::spec::Features;

use super::place::{AVAIL, Descriptor, INDIRECT, NEXT, USED, WRITE};
use super::{DESCRIPTOR_BYTES, PackedRing};
use crate::chain::{Chain, Piece};
use crate::{Ram, Violation};

impl PackedRing {
    /// The list at the available place, with its descriptors.
    pub(super) fn walk(&self, ram: &Ram, features: Features) -> Result<(Chain, Vec<Descriptor>), Violation> {
        let head = self.available.offset;
        let room = self.size - self.owned;
        let mut chain = Chain::new(head);
        let mut descriptors = Vec::new();
        for place in self.available.onwards(self.size) {
            if chain.descriptors == room {
                let whole = room == self.size;
                let too_long =
                    if whole { Violation::ChainTooLong { head } } else { Violation::NoRoomForList { head } };
                return Err(too_long);
            }
            let descriptor = self.read(ram, place.offset);
            let flags = descriptor.flags;
            if !place.is_available(flags) {
                return Err(Violation::ListIncomplete { head, position: place.offset });
            }
            let indirect = flags & INDIRECT != 0;
            let reserved = if indirect { WRITE } else { 0 };
            if flags & (!(NEXT | WRITE | INDIRECT | AVAIL | USED) | reserved) != 0 {
                return Err(Violation::DescriptorFlags { head, flags });
            }
            chain.descriptors += 1;
            descriptors.push(descriptor);
            if indirect {
                let alone = chain.descriptors == 1 && flags & NEXT == 0;
                if !alone || !features.contains(Features::RING_INDIRECT_DESC) {
                    return Err(Violation::BadIndirect { head });
                }
                self.walk_table(ram, head, &mut chain, descriptor.address, descriptor.length)?;
            } else {
                let Descriptor { address, length, .. } = descriptor;
                chain.add(ram, head, Piece { address, length, writable: flags & WRITE != 0 }, self.size)?;
            }
            if flags & NEXT == 0 {
                // Only the last descriptor's id counts (2.8.6).
                chain.head = descriptor.id;
                break;
            }
        }
        Ok((chain, descriptors))
    }

    /// Adds the buffers of an indirect table, which has neither links nor ids: its length says it all (2.8.7).
    pub(super) fn walk_table(
        &self,
        ram: &Ram,
        head: u16,
        chain: &mut Chain,
        address: u64,
        length: u32,
    ) -> Result<(), Violation> {
        let bytes = length as usize;
        if bytes == 0 || !bytes.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(Violation::BadIndirect { head });
        }
        if ram.offset(address, bytes).is_none() {
            return Err(Violation::OutsideMemory { address, length });
        }
        chain.indirect = true;
        chain.table = Some((address, length));
        for entry in (address..).step_by(DESCRIPTOR_BYTES).take(bytes / DESCRIPTOR_BYTES) {
            let mut buffer = [0; 8];
            let mut length = [0; 4];
            let mut flags = [0; 2];
            // The table may lie anywhere, so it is read as bytes.
            let read = ram.read(entry, &mut buffer).and_then(|()| ram.read(entry + 8, &mut length));
            read.and_then(|()| ram.read(entry + 14, &mut flags)).expect("the whole table is memory");
            let flags = u16::from_le_bytes(flags);
            if flags & (NEXT | INDIRECT) != 0 {
                return Err(Violation::BadIndirect { head });
            }
            if flags & !WRITE != 0 {
                return Err(Violation::DescriptorFlags { head, flags });
            }
            let piece = Piece {
                address: u64::from_le_bytes(buffer),
                length: u32::from_le_bytes(length),
                writable: flags & WRITE != 0,
            };
            chain.add(ram, head, piece, self.size)?;
        }
        Ok(())
    }
}
