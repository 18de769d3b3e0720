//! A device whose registers cannot be mapped, reached through PCI configuration space (4.1.4.9).

mod raw;

use fake_device::{FakeBar, FakeConfigAccess, FakeDevice, Options, Ram, Violation};
use raw::{Echo, RawRing, SIZE, error, power_on, ready};
use virtio::spec::Features;
use virtio::transport::{
    Bar, Capabilities, ConfigSpace, ConfigSpaceMut, ConfigWindow, Device, EitherBar, TransportError,
};

type Windowed = Device<EitherBar<FakeBar<Echo>, ConfigWindow<FakeConfigAccess<Echo>>>>;

/// Opens a device of which only these base address registers can be mapped.
fn open(device: &FakeDevice<Echo>, mapped: &[u8]) -> Result<Windowed, TransportError> {
    Device::open_with_config_window(&device.config_access(), |bar| {
        device.bar(bar).filter(|_| mapped.contains(&bar))
    })
}

fn echo(ram: &Ram, device: &FakeDevice<Echo>, transport: &Windowed) {
    let mut ring = RawRing::new(ram);
    let ready = ready(transport).expect("the device accepts its own features");
    assert_eq!(transport.read_config::<8>(0), Some([0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!((transport.read_config::<2>(6), transport.read_config::<1>(9)), (Some([6, 7]), Some([9])));
    ready.enable_queue(0, SIZE, &ring.areas, Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    ready.driver_ok();
    ring.submit(b"an echo!");
    transport.notify(&doorbell, ring.position());
    device.run();
    assert_eq!(ring.answers(), [*b"an echo!"]);
}

#[test]
fn a_device_is_started_and_used_through_configuration_space() {
    let features = Features::VERSION_1 | Features::NOTIFICATION_DATA;
    let (ram, device) = power_on(Options { features, notify_io: true, ..Options::default() });
    for mapped in [&[][..], &[2], &[4], &[2, 4]] {
        let transport = open(&device, mapped).expect("there is always another way");

        echo(&ram, &device, &transport);
    }
    device.assert_no_violations();
}

#[test]
fn interrupts_are_acknowledged_through_configuration_space() {
    let (ram, device) = power_on(Options { vectors: 0, features: Features::VERSION_1, ..Options::default() });
    let transport = open(&device, &[]).expect("there is always another way");
    let mut ring = RawRing::new(&ram);
    let ready = ready(&transport).expect("the device accepts its own features");
    ready.enable_queue(0, SIZE, &ring.areas, None).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    ready.driver_ok();
    ring.submit(b"an echo!");
    transport.notify(&doorbell, 0);
    device.run();

    assert!(device.line_is_up());
    assert!(transport.isr_status().queue());
    assert!(!device.line_is_up());
    device.assert_no_violations();
}

#[test]
fn a_device_that_is_gone_is_noticed_through_configuration_space() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device, &[]).expect("there is always another way");
    device.remove();

    assert_eq!(error(transport.reset(&mut || ()).map(drop)), TransportError::Removed);
}

/// Configuration space whose capability for access to the registers is some other one.
#[derive(Clone)]
struct Without(FakeConfigAccess<Echo>);

impl ConfigSpace for Without {
    fn read8(&self, offset: u16) -> u8 {
        match self.0.read8(offset) {
            // `cfg_type`
            5 if self.0.read8(offset - 3) == 9 => 9,
            other => other,
        }
    }

    fn read16(&self, offset: u16) -> u16 {
        self.0.read16(offset)
    }

    fn read32(&self, offset: u16) -> u32 {
        self.0.read32(offset)
    }
}

impl ConfigSpaceMut for Without {
    fn write8(&self, offset: u16, _value: u8) {
        panic!("a write at {offset:#x}");
    }

    fn write16(&self, offset: u16, _value: u16) {
        panic!("a write at {offset:#x}");
    }

    fn write32(&self, offset: u16, _value: u32) {
        panic!("a write at {offset:#x}");
    }
}

#[test]
fn without_the_capability_there_is_no_other_way() {
    let (_ram, device) = power_on(Options::default());
    let config = Without(device.config_access());

    let transport = Device::open_with_config_window(&config, |_| None::<FakeBar<Echo>>);

    assert_eq!(error(transport), TransportError::NotMapped { bar: 4 });
}

#[test]
fn a_legacy_device_has_no_such_capability() {
    let (_ram, device) = power_on(Options { legacy: true, ..Options::default() });

    assert_eq!(error(open(&device, &[])), TransportError::NotMapped { bar: 0 });
    assert!(open(&device, &[0]).is_ok_and(|transport| transport.is_legacy()));
}

#[test]
fn a_window_ends_where_the_last_structure_does() {
    let (_ram, device) = power_on(Options::default());
    let config = device.config_access();
    let capabilities = Capabilities::find(&config).expect("the device is whole");

    let length = |bar| ConfigWindow::new(config.clone(), &capabilities, bar).map(|window| window.length());

    assert_eq!([0, 1, 4, 6].map(length), [None, None, Some(0x4000), None]);
}

/// The judge is judged: accesses outside the structures are caught.
#[test]
fn the_fake_notices_accesses_that_are_not_allowed() {
    let (_ram, device) = power_on(Options::default());
    let config = device.config_access();
    let capabilities = Capabilities::find(&config).expect("the device is whole");
    let window = ConfigWindow::new(config, &capabilities, 4).expect("all structures are there");

    // Between the structures, not aligned, and across a structure's end.
    assert_eq!((window.read32(0x800), window.read16(0x15), window.read32(0x1000)), (!0, !0, !0));

    let wrong = |offset, length| Violation::ConfigAccess { bar: 4, offset, length };
    assert_eq!(device.violations(), [wrong(0x800, 4), wrong(0x15, 2), wrong(0x1000, 4)]);
}
