//! Network devices get the names and addresses they were given.

use std::net::{Ipv4Addr, Ipv6Addr};

use stack_protocol::config::{Interface, VmConfig};
use stack_protocol::log::Stream;

use crate::harness::{Machine, assets, service};

fn interface(mac: &str, name: &str) -> Interface {
    Interface {
        mac: mac.to_owned(),
        device: None,
        name: name.to_owned(),
        ipv4: None,
        gateway4: None,
        ipv6: None,
        gateway6: None,
        mtu: 1400,
    }
}

#[tokio::test]
async fn names_addresses_and_routes() {
    let Some(assets) = assets() else { return };
    let (first, second) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
    let machine = Machine::new(assets).nic(first).nic(second);
    // The kernel's own names are the other way round.
    let front = Interface {
        ipv4: Some((Ipv4Addr::new(10, 1, 2, 3), 24)),
        gateway4: Some(Ipv4Addr::new(10, 1, 2, 1)),
        ipv6: Some(("fd00:1::3".parse::<Ipv6Addr>().unwrap(), 64)),
        gateway6: Some("fd00:1::1".parse().unwrap()),
        ..interface(second, "eth0")
    };
    let back = Interface {
        ipv4: Some((Ipv4Addr::new(10, 9, 0, 2), 16)),
        ..interface(first, "eth1")
    };
    let script = "for n in eth0 eth1; do cat /sys/class/net/$n/address /sys/class/net/$n/mtu; \
                  ip -o addr show dev $n | grep -v 'scope link' | awk '{print $4}'; done; \
                  ip route; ip -6 route | grep default | cut -d ' ' -f 1-5; \
                  ip -6 addr show dev eth1 | wc -l; grep web-1 /etc/hosts; \
                  ping -c 1 -W 5 127.0.0.1 >/dev/null && echo lo";
    let config = VmConfig {
        interfaces: vec![front, back],
        ..service(script)
    };
    let mut vm = machine.run(config).await;
    assert_eq!(vm.exited().await.code, 0, "{:?}", vm.lines(Stream::Stderr));
    let expected = [
        second,
        "1400",
        "10.1.2.3/24",
        "fd00:1::3/64",
        first,
        "1400",
        "10.9.0.2/16",
        "default via 10.1.2.1 dev eth0 ",
        "10.1.2.0/24 dev eth0 scope link  src 10.1.2.3 ",
        "10.9.0.0/16 dev eth1 scope link  src 10.9.0.2 ",
        "default via fd00:1::1 dev eth0",
        "0",
        "10.1.2.3\tweb-1",
        "fd00:1::3\tweb-1",
        "lo",
    ];
    assert_eq!(vm.lines(Stream::Stdout), expected);
    vm.shutdown().await;
}
