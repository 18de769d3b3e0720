//! Where everything lies in the structures of wmistr.h, and how they are filled in: one page each in the documentation, named
//! at the structure. All offsets are from the structure's start, and all words have 32 bits unless they are called long.

use super::{Content, Guid, Refusal};
use crate::srb::{Completion, ScsiStatus, SrbStatus};

/// `WnodeHeader.Flags` (ns-wmistr-_wnode_header.md).
pub(super) mod flags {
    /// `WNODE_FLAG_ALL_DATA`
    pub(crate) const ALL_DATA: u32 = 1 << 0;
    /// `WNODE_FLAG_FIXED_INSTANCE_SIZE`
    pub(crate) const FIXED_INSTANCE_SIZE: u32 = 1 << 4;
    /// `WNODE_FLAG_TOO_SMALL`
    pub(crate) const TOO_SMALL: u32 = 1 << 5;
    /// `WNODE_FLAG_STATIC_INSTANCE_NAMES`
    pub(crate) const STATIC_INSTANCE_NAMES: u32 = 1 << 7;
    /// `WNODE_FLAG_PDO_INSTANCE_NAMES`: a kind of static ones.
    pub(crate) const PDO_INSTANCE_NAMES: u32 = 1 << 16;
}

/// WNODE_HEADER (ns-wmistr-_wnode_header.md), which every other one begins with.
mod header {
    pub(super) const BUFFER_SIZE: usize = 0;
    pub(super) const TIME_STAMP: usize = 16;
    pub(super) const FLAGS: usize = 44;
    pub(super) const BYTES: usize = 48;
}

/// Data begins at a multiple of this.
const ALIGNMENT: usize = 8;

fn word(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// Puts it where there is room, which whoever calls has made sure of.
fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn put_word(buffer: &mut [u8], at: usize, value: usize) {
    // What is as long as a buffer fits.
    put(buffer, at, &(value as u32).to_le_bytes());
}

/// Writes `content` to `at`, and returns where it ends.
fn put_content(buffer: &mut [u8], at: usize, content: &impl Content) -> Result<usize, Refusal> {
    let end = at.checked_add(content.bytes()).filter(|end| u32::try_from(*end).is_ok());
    let end = end.ok_or(Refusal::Wrong)?;
    let data = buffer.get_mut(at..end).ok_or(Refusal::TooSmall(end))?;
    data.fill(0);
    content.write(data);
    Ok(end)
}

/// Whether it is our one instance that the structure names: by its number, as all names are static.
fn is_ours(buffer: &[u8], instance_index: usize) -> bool {
    let by_number = flags::STATIC_INSTANCE_NAMES | flags::PDO_INSTANCE_NAMES;
    let named = word(buffer, header::FLAGS).is_some_and(|flags| flags & by_number != 0);
    named && word(buffer, instance_index) == Some(0)
}

/// WNODE_ALL_DATA (ns-wmistr-tagwnode_all_data.md).
pub(super) struct AllData;

impl AllData {
    const DATA_BLOCK_OFFSET: usize = 48;
    const INSTANCE_COUNT: usize = 52;
    const OFFSET_INSTANCE_NAME_OFFSETS: usize = 56;
    const FIXED_INSTANCE_SIZE: usize = 60;
    pub(super) const BYTES: usize = 64;

    /// IRP_MN_QUERY_ALL_DATA (irp-mn-query-all-data.md). Whether WMI says where the data goes depends on the page that is read
    /// (wmi-wnode-xxx-structures.md: it does, and that is not to be changed): where it has said something that can be, it
    /// stays.
    pub(super) fn write(
        buffer: &mut [u8],
        content: &impl Content,
        now: impl FnOnce() -> u64,
    ) -> Result<usize, Refusal> {
        let asked = word(buffer, Self::DATA_BLOCK_OFFSET).map_or(0, |offset| offset as usize);
        let may_be = asked.is_multiple_of(ALIGNMENT) && (Self::BYTES..=buffer.len()).contains(&asked);
        let at = if may_be { asked } else { Self::BYTES };
        let end = put_content(buffer, at, content)?;
        let flags = word(buffer, header::FLAGS).unwrap_or(0) | flags::ALL_DATA | flags::FIXED_INSTANCE_SIZE;
        put_word(buffer, header::BUFFER_SIZE, end);
        put(buffer, header::TIME_STAMP, &now().to_le_bytes());
        put_word(buffer, header::FLAGS, flags as usize);
        put_word(buffer, Self::DATA_BLOCK_OFFSET, at);
        put_word(buffer, Self::INSTANCE_COUNT, 1);
        // Of static names nobody looks at it.
        put_word(buffer, Self::OFFSET_INSTANCE_NAME_OFFSETS, 0);
        put_word(buffer, Self::FIXED_INSTANCE_SIZE, content.bytes());
        Ok(end)
    }
}

/// WNODE_SINGLE_INSTANCE (ns-wmistr-tagwnode_single_instance.md).
pub(super) struct SingleInstance;

impl SingleInstance {
    const INSTANCE_INDEX: usize = 52;
    const DATA_BLOCK_OFFSET: usize = 56;
    const SIZE_DATA_BLOCK: usize = 60;
    pub(super) const BYTES: usize = 64;

    /// IRP_MN_QUERY_SINGLE_INSTANCE (irp-mn-query-single-instance.md): where the data goes is WMI's to say.
    pub(super) fn write(buffer: &mut [u8], content: &impl Content) -> Result<usize, Refusal> {
        if buffer.len() < Self::BYTES {
            return Err(Refusal::TooSmall(Self::BYTES + content.bytes()));
        }
        let at = word(buffer, Self::DATA_BLOCK_OFFSET).map_or(0, |offset| offset as usize);
        if !is_ours(buffer, Self::INSTANCE_INDEX) || at < Self::BYTES {
            return Err(Refusal::Wrong);
        }
        let end = put_content(buffer, at, content)?;
        put_word(buffer, header::BUFFER_SIZE, end);
        put_word(buffer, Self::SIZE_DATA_BLOCK, content.bytes());
        Ok(end)
    }
}

/// WNODE_METHOD_ITEM (ns-wmistr-tagwnode_method_item.md).
pub(super) struct MethodItem;

impl MethodItem {
    const INSTANCE_INDEX: usize = 52;
    const METHOD_ID: usize = 56;
    const DATA_BLOCK_OFFSET: usize = 60;
    const SIZE_DATA_BLOCK: usize = 64;
    const VARIABLE_DATA: usize = 68;
    pub(super) const BYTES: usize = 72;

    /// IRP_MN_EXECUTE_METHOD (irp-mn-execute-method.md): the output goes over the input, so that is read first. Of `SizeDataBlock`
    /// that page says that it counts the structure too, and the structure's own that it is the size of the input data, which is
    /// how it is taken here.
    pub(super) fn write<C: Content>(
        buffer: &mut [u8],
        method: impl FnOnce(u32, &[u8]) -> Option<C>,
    ) -> Result<usize, Refusal> {
        if buffer.len() < Self::BYTES {
            return Err(Refusal::TooSmall(Self::BYTES));
        }
        let field = |at| word(buffer, at).map_or(0, |word| word as usize);
        let (at, input_bytes) = (field(Self::DATA_BLOCK_OFFSET), field(Self::SIZE_DATA_BLOCK));
        let input = match input_bytes {
            0 => Some(&[][..]),
            _ if at < Self::VARIABLE_DATA => None,
            _ => at.checked_add(input_bytes).and_then(|end| buffer.get(at..end)),
        };
        if !is_ours(buffer, Self::INSTANCE_INDEX) {
            return Err(Refusal::Wrong);
        }
        let number = word(buffer, Self::METHOD_ID).unwrap_or(0);
        let content = input.and_then(|input| method(number, input)).ok_or(Refusal::Wrong)?;
        let end = match content.bytes() {
            // Then it does not matter where it would be.
            0 => Self::BYTES,
            _ if at < Self::VARIABLE_DATA => return Err(Refusal::Wrong),
            _ => put_content(buffer, at, &content)?,
        };
        put_word(buffer, header::BUFFER_SIZE, end);
        put_word(buffer, Self::SIZE_DATA_BLOCK, content.bytes());
        Ok(end)
    }
}

/// WNODE_TOO_SMALL (ns-wmistr-tagwnode_too_small.md).
pub(super) struct TooSmall;

impl TooSmall {
    const SIZE_NEEDED: usize = header::BYTES;
    pub(super) const BYTES: usize = 56;

    /// Says how long a buffer has to be.
    pub(super) fn answer(buffer: &mut [u8], needed: usize) -> Completion {
        if buffer.len() < Self::BYTES {
            return Completion::failed(SrbStatus::DATA_OVERRUN);
        }
        put_word(buffer, header::BUFFER_SIZE, Self::BYTES);
        put_word(buffer, header::FLAGS, flags::TOO_SMALL as usize);
        put_word(buffer, Self::SIZE_NEEDED, needed);
        Completion::success(Self::BYTES as u32)
    }
}

/// WMIREGINFO (ns-wmistr-wmireginfow.md) and its array of WMIREGGUID (ns-wmistr-wmiregguidw.md).
pub(super) struct Registration;

impl Registration {
    const BUFFER_SIZE: usize = 0;
    const GUID_COUNT: usize = 16;
    const BLOCKS: usize = 24;

    const BLOCK_GUID: usize = 0;
    const BLOCK_FLAGS: usize = 16;
    const BLOCK_INSTANCE_COUNT: usize = 20;
    const BLOCK_BYTES: usize = 32;

    /// `WMIREG_FLAG_INSTANCE_PDO`: one of the flags without which names are dynamic.
    const INSTANCE_PDO: usize = 1 << 5;

    /// IRP_MN_REGINFO and IRP_MN_REGINFO_EX (irp-mn-reginfo-ex.md). RegistryPath and Pdo are the port driver's to fill in: a
    /// miniport is told neither. A miniport that uses the library does not say either how its instances are named
    /// (ns-scsiwmi-scsiwmiguidreginfo.md: the port driver sets that flag, as what the library does is called on those pages);
    /// here it is said, which the port driver can only agree with. There is no MOF resource. It is the same for WMIREGISTER and
    /// WMIUPDATE: nothing ever changes.
    pub(super) fn answer(buffer: &mut [u8], blocks: &[Guid]) -> Completion {
        let bytes = Self::BLOCKS + blocks.len() * Self::BLOCK_BYTES;
        let Some(registration) = buffer.get_mut(..bytes) else { return Self::too_small(buffer, bytes) };
        registration.fill(0);
        put_word(registration, Self::BUFFER_SIZE, bytes);
        put_word(registration, Self::GUID_COUNT, blocks.len());
        let places = registration.get_mut(Self::BLOCKS..).unwrap_or_default();
        for (place, guid) in places.chunks_exact_mut(Self::BLOCK_BYTES).zip(blocks) {
            put(place, Self::BLOCK_GUID, guid.as_bytes());
            put_word(place, Self::BLOCK_FLAGS, Self::INSTANCE_PDO);
            put_word(place, Self::BLOCK_INSTANCE_COUNT, 1);
        }
        Completion::success(bytes as u32)
    }

    /// How much it takes, in the buffer's first word.
    fn too_small(buffer: &mut [u8], needed: usize) -> Completion {
        let told = if buffer.len() < size_of::<u32>() { 0 } else { size_of::<u32>() as u32 };
        put_word(buffer, Self::BUFFER_SIZE, needed);
        let status = SrbStatus::DATA_OVERRUN;
        Completion { status, scsi_status: ScsiStatus::GOOD, transferred: told, autosense: false }
    }
}
