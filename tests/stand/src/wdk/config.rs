//! Structures of adapter start-up: HW_INITIALIZATION_DATA, PORT_CONFIGURATION_INFORMATION and what hangs off them.
//! Addresses are `u64`: they are the driver's, not ours to dereference.

use crate::layout;

/// HW_INITIALIZATION_DATA (ns-storport-_hw_initialization_data~r1.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct HwInitializationData {
    pub hw_initialization_data_size: u32,
    pub adapter_interface_type: u32,
    pub hw_initialize: u64,
    pub hw_start_io: u64,
    pub hw_interrupt: u64,
    pub hw_find_adapter: u64,
    pub hw_reset_bus: u64,
    pub hw_dma_started: u64,
    pub hw_adapter_state: u64,
    pub device_extension_size: u32,
    pub specific_lu_extension_size: u32,
    pub srb_extension_size: u32,
    pub number_of_access_ranges: u32,
    pub reserved: u64,
    pub map_buffers: u8,
    pub need_physical_addresses: u8,
    pub tagged_queuing: u8,
    pub auto_request_sense: u8,
    pub multiple_request_per_lu: u8,
    pub receive_event: u8,
    pub vendor_id_length: u16,
    pub vendor_id: u64,
    pub port_version_flags: u16,
    pub device_id_length: u16,
    pub device_id: u64,
    pub hw_adapter_control: u64,
    pub hw_build_io: u64,
    pub hw_free_adapter_resources: u64,
    pub hw_process_service_request: u64,
    pub hw_complete_service_irp: u64,
    pub hw_initialize_tracing: u64,
    pub hw_cleanup_tracing: u64,
    pub hw_tracing_enabled: u64,
    pub feature_support: u32,
    pub srb_type_flags: u32,
    pub address_type_flags: u32,
    pub reserved1: u32,
    pub hw_unit_control: u64,
}

layout!(HwInitializationData, 208, {
    hw_initialize: 8, hw_start_io: 16, hw_interrupt: 24, hw_find_adapter: 32, hw_reset_bus: 40,
    device_extension_size: 64, specific_lu_extension_size: 68, srb_extension_size: 72, number_of_access_ranges: 76,
    map_buffers: 88, need_physical_addresses: 89, tagged_queuing: 90, auto_request_sense: 91,
    multiple_request_per_lu: 92, vendor_id: 96, device_id_length: 106, device_id: 112, hw_adapter_control: 120,
    hw_build_io: 128, hw_free_adapter_resources: 136, hw_initialize_tracing: 160, hw_tracing_enabled: 176,
    feature_support: 184, srb_type_flags: 188, address_type_flags: 192, hw_unit_control: 200,
});

/// PORT_CONFIGURATION_INFORMATION (ns-storport-_port_configuration_information.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct PortConfiguration {
    pub length: u32,
    pub system_io_bus_number: u32,
    pub adapter_interface_type: u32,
    pub bus_interrupt_level: u32,
    pub bus_interrupt_vector: u32,
    pub interrupt_mode: u32,
    pub maximum_transfer_length: u32,
    pub number_of_physical_breaks: u32,
    pub dma_channel: u32,
    pub dma_port: u32,
    pub dma_width: u32,
    pub dma_speed: u32,
    pub alignment_mask: u32,
    pub number_of_access_ranges: u32,
    pub access_ranges: u64,
    pub miniport_dump_data: u64,
    pub number_of_buses: u8,
    pub initiator_bus_id: [u8; 8],
    pub scatter_gather: u8,
    pub master: u8,
    pub caches_data: u8,
    pub adapter_scans_down: u8,
    pub atdisk_primary_claimed: u8,
    pub atdisk_secondary_claimed: u8,
    pub dma32_bit_addresses: u8,
    pub demand_mode: u8,
    pub map_buffers: u8,
    pub need_physical_addresses: u8,
    pub tagged_queuing: u8,
    pub auto_request_sense: u8,
    pub multiple_request_per_lu: u8,
    pub receive_event: u8,
    pub real_mode_initialized: u8,
    pub buffer_access_scsi_port_controlled: u8,
    pub maximum_number_of_targets: u8,
    pub srb_type: u8,
    pub address_type: u8,
    pub slot_number: u32,
    pub bus_interrupt_level2: u32,
    pub bus_interrupt_vector2: u32,
    pub interrupt_mode2: u32,
    pub dma_channel2: u32,
    pub dma_port2: u32,
    pub dma_width2: u32,
    pub dma_speed2: u32,
    pub device_extension_size: u32,
    pub specific_lu_extension_size: u32,
    pub srb_extension_size: u32,
    pub dma64_bit_addresses: u8,
    pub reset_target_supported: u8,
    pub maximum_number_of_logical_units: u8,
    pub wmi_data_provider: u8,
    pub synchronization_model: u32,
    pub hw_ms_interrupt_routine: u64,
    pub interrupt_synchronization_mode: u32,
    pub reserved1: u32,
    pub dump_region: [u64; 3],
    pub requested_dump_buffer_size: u32,
    pub virtual_device: u8,
    pub dump_mode: u8,
    pub dma_address_width: u8,
    pub reserved2: u8,
    pub extended_flags1: u32,
    pub max_number_of_io: u32,
    pub max_ios_per_lun: u32,
    pub initial_lun_queue_depth: u32,
    pub bus_reset_hold_time: u32,
    pub feature_support: u32,
}

layout!(PortConfiguration, 224, {
    maximum_transfer_length: 24, number_of_physical_breaks: 28, alignment_mask: 48, number_of_access_ranges: 52,
    access_ranges: 56, miniport_dump_data: 64, number_of_buses: 72, initiator_bus_id: 73, scatter_gather: 81,
    master: 82, caches_data: 83, dma32_bit_addresses: 87, map_buffers: 89, need_physical_addresses: 90,
    maximum_number_of_targets: 97, srb_type: 98, address_type: 99, slot_number: 100, device_extension_size: 132,
    specific_lu_extension_size: 136, srb_extension_size: 140, dma64_bit_addresses: 144, reset_target_supported: 145,
    maximum_number_of_logical_units: 146, wmi_data_provider: 147, synchronization_model: 148,
    hw_ms_interrupt_routine: 152, interrupt_synchronization_mode: 160, dump_region: 168,
    requested_dump_buffer_size: 192, virtual_device: 196, dump_mode: 197, extended_flags1: 200, max_number_of_io: 204,
    max_ios_per_lun: 208, initial_lun_queue_depth: 212, bus_reset_hold_time: 216, feature_support: 220,
});

/// ACCESS_RANGE (ns-storport-_access_range.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessRange {
    /// Bus-relative start address.
    pub start: u64,
    /// Length in bytes.
    pub length: u32,
    /// TRUE for memory, FALSE for I/O ports.
    pub in_memory: u8,
    /// Padding.
    pub reserved: [u8; 3],
}

layout!(AccessRange, 16, { start: 0, length: 8, in_memory: 12 });

/// MESSAGE_INTERRUPT_INFORMATION (ns-storport-_message_interrupt_information.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct MessageInterruptInformation {
    pub message_id: u32,
    pub message_data: u32,
    pub message_address: u64,
    pub interrupt_vector: u32,
    pub interrupt_level: u32,
    pub interrupt_mode: u32,
    pub reserved: u32,
}

layout!(MessageInterruptInformation, 32, {
    message_id: 0, message_data: 4, message_address: 8, interrupt_vector: 16, interrupt_level: 20, interrupt_mode: 24,
});

/// PERF_CONFIGURATION_DATA (ns-storport-_perf_configuration_data.md).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct PerfConfiguration {
    pub version: u32,
    pub size: u32,
    pub flags: u32,
    pub concurrent_channels: u32,
    pub first_redirection_message_number: u32,
    pub last_redirection_message_number: u32,
    pub device_node: u32,
    pub reserved: u32,
    pub message_targets: u64,
}

layout!(PerfConfiguration, 40, {
    flags: 8, concurrent_channels: 12, first_redirection_message_number: 16, last_redirection_message_number: 20,
    device_node: 24, message_targets: 32,
});

/// STARTIO_PERFORMANCE_PARAMETERS_V2 (ns-storport-_startio_performance_parameters.md); version 1 ends before the last
/// field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields carry the names of the documented C structure")]
pub struct StartIoParameters {
    pub version: u32,
    pub size: u32,
    pub message_number: u32,
    pub channel_number: u32,
    pub initiating_processor: u32,
}

layout!(StartIoParameters, 20, { version: 0, size: 4, message_number: 8, channel_number: 12, initiating_processor: 16 });

/// One element of a STOR_SCATTER_GATHER_LIST; the list is a count (4 bytes), 12 reserved bytes, then the elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScatterGatherElement {
    /// Physical address.
    pub physical: u64,
    /// Length in bytes.
    pub length: u32,
    /// Padding.
    pub padding: u32,
    /// Reserved.
    pub reserved: u64,
}

layout!(ScatterGatherElement, 24, { physical: 0, length: 8, reserved: 16 });

/// Offset of the first element in a STOR_SCATTER_GATHER_LIST.
pub const SCATTER_GATHER_HEADER: usize = 16;
/// Bytes of a STOR_DPC: a KDPC of 64 and a lock.
pub const STOR_DPC_SIZE: usize = 72;
