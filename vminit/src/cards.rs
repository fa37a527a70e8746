//! The VM's network devices: those of the service's networks, and spare ones
//! for networks that it joins while it runs. A device without a network has
//! no driver, so the service does not see it.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use stack_protocol::config::{Interface, VmConfig};
use stack_protocol::template::hardware_address;

use crate::{net, template};

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";

/// The devices.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    /// Names on the virtio bus, by their numbers.
    devices: BTreeMap<u32, String>,
    /// What is configured, with the devices' numbers.
    used: BTreeMap<u32, Interface>,
}

impl Cards {
    /// Those of a VM that is to be saved, where all have made-up addresses.
    pub(crate) fn of_template() -> Cards {
        let mut cards = Cards::default();
        for n in 0..=u8::MAX {
            let Some(name) = net::find(&hardware_address(n.into())) else {
                break;
            };
            if let Ok(device) = bus_name(&name) {
                cards.devices.insert(n.into(), device);
            }
        }
        cards
    }

    /// Configures the first devices, and lets go of the others.
    pub(crate) fn configure(&mut self, config: &VmConfig, template: bool) -> io::Result<()> {
        let first_spare = config.interfaces.len() as u32;
        if template {
            let spare: Vec<&String> = self.devices.range(first_spare..).map(|(_, d)| d).collect();
            template::take_up(&spare).map_err(|e| io::Error::other(format!("devices: {e}")))?;
        }
        net::configure(&config.interfaces, template)?;
        for (n, interface) in (0..).zip(&config.interfaces) {
            self.devices.insert(n, bus_name(&interface.name)?);
            self.used.insert(n, interface.clone());
        }
        for n in first_spare..config.devices {
            if !template {
                let name = net::by_mac(&hardware_address(n as usize))?;
                let device = bus_name(&name)?;
                unbind(&device)?;
                self.devices.insert(n, device);
            }
        }
        Ok(())
    }

    /// Has exactly these configured; those that stay are not interrupted. After
    /// an error it is known still which are: another call begins from there.
    pub(crate) fn change(&mut self, wanted: &[Interface]) -> io::Result<()> {
        let wanted: BTreeMap<u32, &Interface> = (0..)
            .zip(wanted)
            .map(|(n, interface)| (interface.device.unwrap_or(n), interface))
            .collect();
        let same = |a: &Interface, b: &Interface| a.mac == b.mac && a.name == b.name;
        let gone: Vec<u32> = self
            .used
            .iter()
            .filter(|(n, old)| !wanted.get(n).is_some_and(|new| same(old, new)))
            .map(|(n, _)| *n)
            .collect();
        for n in gone {
            unbind(self.device(n)?)?;
            self.used.remove(&n);
        }
        for (n, interface) in wanted {
            let done = match self.used.get(&n) {
                Some(old) => net::route(old, interface),
                None => self.add(n, interface),
            };
            done.map_err(|error| io::Error::other(format!("{}: {error}", interface.name)))?;
            self.used.insert(n, interface.clone());
        }
        Ok(())
    }

    fn device(&self, n: u32) -> io::Result<&String> {
        let missing = || io::Error::other(format!("the VM has no network device {n}"));
        self.devices.get(&n).ok_or_else(missing)
    }

    fn add(&self, n: u32, interface: &Interface) -> io::Result<()> {
        let device = self.device(n)?;
        fs::write(format!("{DRIVER}/bind"), device)?;
        let added = net_name(device).and_then(|name| net::add(&name, interface));
        if added.is_err() {
            let _ = unbind(device);
        }
        added
    }
}

fn unbind(device: &str) -> io::Result<()> {
    fs::write(format!("{DRIVER}/unbind"), device)
}

/// `virtio3` of `eth0`.
fn bus_name(name: &str) -> io::Result<String> {
    let device = fs::read_link(format!("/sys/class/net/{name}/device"))?;
    let device = device.file_name().unwrap_or_default();
    Ok(device.to_string_lossy().into_owned())
}

/// The name that the kernel gave a device whose driver was just bound.
fn net_name(device: &str) -> io::Result<String> {
    let mut found = fs::read_dir(format!("/sys/bus/virtio/devices/{device}/net"))?;
    let entry = found.next().ok_or(io::ErrorKind::NotFound)??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
