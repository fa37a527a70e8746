//! Network devices, by the classic requests of netdevice(7).

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use stack_protocol::config::Interface;

use crate::sys;

/// Brings up `lo` and the configured devices. In a VM that was a template
/// they have its addresses still.
pub(crate) fn configure(interfaces: &[Interface], template: bool) -> io::Result<()> {
    let control = datagram(AddressFamily::Inet)?;
    up(&control, "lo")?;
    // By way of names that nobody has: two devices may have to swap theirs.
    for (n, interface) in interfaces.iter().enumerate() {
        let mac = match template {
            true => stack_protocol::template::hardware_address(n),
            false => interface.mac.clone(),
        };
        by_mac(&mac)
            .and_then(|found| rename(&control, &found, &format!("stack{n}")))
            .map_err(named(&interface.name))?;
    }
    for (n, interface) in interfaces.iter().enumerate() {
        rename(&control, &format!("stack{n}"), &interface.name)
            .and_then(|()| match template {
                true => set_mac(&control, interface),
                false => Ok(()),
            })
            .and_then(|()| one(&control, interface))
            .map_err(named(&interface.name))?;
    }
    Ok(())
}

/// Configures one more device, which has the name `found` now.
pub(crate) fn add(found: &str, interface: &Interface) -> io::Result<()> {
    let control = datagram(AddressFamily::Inet)?;
    rename(&control, found, &interface.name)?;
    set_mac(&control, interface)?;
    one(&control, interface)
}

/// Changes the default routes of a device.
pub(crate) fn route(old: &Interface, new: &Interface) -> io::Result<()> {
    let control = datagram(AddressFamily::Inet)?;
    if old.gateway4 != new.gateway4 {
        if let Some(gateway) = old.gateway4 {
            sys::remove_route(control.as_raw_fd(), &mut default_route(gateway))?;
        }
        if let Some(gateway) = new.gateway4 {
            sys::add_route(control.as_raw_fd(), &mut default_route(gateway))?;
        }
    }
    if old.gateway6 != new.gateway6 {
        let (control, index) = index6(&new.name)?;
        if let Some(gateway) = old.gateway6 {
            sys::default_route6(control.as_raw_fd(), index, gateway.octets(), false)?;
        }
        if let Some(gateway) = new.gateway6 {
            sys::default_route6(control.as_raw_fd(), index, gateway.octets(), true)?;
        }
    }
    Ok(())
}

fn default_route(gateway: Ipv4Addr) -> libc::rtentry {
    let mut route = sys::zeroed_route();
    route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = sockaddr(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    route
}

fn named(name: &str) -> impl FnOnce(io::Error) -> io::Error {
    let name = name.to_owned();
    move |error| io::Error::other(format!("{name}: {error}"))
}

fn datagram(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket(
        family,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

fn rename(control: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    if to.is_empty() || to.len() >= libc::IFNAMSIZ {
        return Err(io::Error::other("the name must have 1 to 15 bytes"));
    }
    let mut request = request(from);
    request.ifr_ifru.ifru_newname = name_bytes(to);
    sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFNAME, &mut request)
}

fn one(control: &OwnedFd, interface: &Interface) -> io::Result<()> {
    let name = &interface.name;
    if interface.mtu > 0 {
        let mut request = request(name);
        request.ifr_ifru.ifru_mtu = interface.mtu as i32;
        sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFMTU, &mut request)?;
    }
    ipv6_settings(name, interface.ipv6.is_some())?;
    // Whoever knew another machine by this address is told of this one.
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/arp_notify"), "1");
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/ndisc_notify"), "1");
    if let Some((address, prefix)) = interface.ipv4 {
        let mask = match prefix {
            0 => 0,
            1..=32 => u32::MAX << (32 - prefix),
            _ => {
                return Err(io::Error::other(format!(
                    "/{prefix} is no IPv4 prefix length"
                )));
            }
        };
        let mut request = request(name);
        request.ifr_ifru.ifru_addr = sockaddr(address);
        sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFADDR, &mut request)?;
        request.ifr_ifru.ifru_netmask = sockaddr(Ipv4Addr::from(mask));
        sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFNETMASK, &mut request)?;
    }
    up(control, name)?;
    if let Some(gateway) = interface.gateway4 {
        sys::add_route(control.as_raw_fd(), &mut default_route(gateway))?;
    }
    if let Some((address, prefix)) = interface.ipv6 {
        ipv6(name, address, prefix, interface.gateway6)?;
    }
    Ok(())
}

/// Addresses come from the host: no router is asked, and they are usable at
/// once, for nobody else can have them. Without one there is no IPv6, as in
/// Docker.
fn ipv6_settings(name: &str, enabled: bool) -> io::Result<()> {
    let dir = format!("/proc/sys/net/ipv6/conf/{name}");
    for (setting, value) in [
        ("accept_ra", "0"),
        ("accept_dad", "0"),
        ("disable_ipv6", if enabled { "0" } else { "1" }),
    ] {
        fs::write(format!("{dir}/{setting}"), value)?;
    }
    Ok(())
}

fn ipv6(name: &str, address: Ipv6Addr, prefix: u8, gateway: Option<Ipv6Addr>) -> io::Result<()> {
    let (control, index) = index6(name)?;
    sys::add_address6(control.as_raw_fd(), index, address.octets(), prefix)?;
    if let Some(gateway) = gateway {
        sys::default_route6(control.as_raw_fd(), index, gateway.octets(), true)?;
    }
    Ok(())
}

fn index6(name: &str) -> io::Result<(OwnedFd, i32)> {
    let control = datagram(AddressFamily::Inet6)?;
    let mut request = request(name);
    sys::if_ioctl(control.as_raw_fd(), libc::SIOCGIFINDEX, &mut request)?;
    let index = sys::interface_index(&request);
    Ok((control, index))
}

/// The device with this address, if there is one now.
pub(crate) fn find(mac: &str) -> Option<String> {
    let mut entries = fs::read_dir("/sys/class/net").ok()?.flatten();
    let found = entries.find(|entry| {
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        address.trim().eq_ignore_ascii_case(mac)
    });
    Some(found?.file_name().to_string_lossy().into_owned())
}

/// The device with this address.
pub(crate) fn by_mac(mac: &str) -> io::Result<String> {
    // Devices are found while the kernel still looks for others.
    for _ in 0..100 {
        if let Some(name) = find(mac) {
            return Ok(name);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(io::Error::other(format!("no device has the address {mac}")))
}

fn set_mac(control: &OwnedFd, interface: &Interface) -> io::Result<()> {
    let mac = &interface.mac;
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in address.sa_data.iter_mut().zip(mac.split(':')) {
        let byte = u8::from_str_radix(from, 16)
            .map_err(|_| io::Error::other(format!("{mac} is no hardware address")))?;
        *to = byte as libc::c_char;
    }
    let mut request = request(&interface.name);
    request.ifr_ifru.ifru_hwaddr = address;
    sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFHWADDR, &mut request)
}

fn up(control: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    sys::if_ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request)
}

fn request(name: &str) -> libc::ifreq {
    let mut request = sys::zeroed_ifreq();
    request.ifr_name = name_bytes(name);
    request
}

fn name_bytes(name: &str) -> [libc::c_char; libc::IFNAMSIZ] {
    let mut bytes = [0; libc::IFNAMSIZ];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    bytes
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut out = libc::sockaddr {
        sa_family: libc::AF_INET as u16,
        sa_data: [0; 14],
    };
    for (to, from) in out.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    out
}
