//! Networks of any MTU carry everything, whole.

use std::path::Path;

use stack_netd::config::{Network, Protocol, Publish};

use crate::kit::World;

crate::tests!(every_mtu_carries_everything);

/// Each with a network and a guest of its own.
const MTUS: [u16; 6] = [576, 1280, 1492, 1500, 9000, 65520];

/// Bytes that go there and back in each connection.
const MANY: u32 = 3_000_000;

fn every_mtu_carries_everything() {
    let mut world = World::new();
    let load = Path::new(env!("CARGO_BIN_EXE_stack-netd"));
    let load = load.with_file_name("examples").join("load");
    let load = load.display();
    let names = MTUS.map(|mtu| format!("m{mtu}"));
    let numbered = (31..).zip(MTUS.iter().zip(&names));
    let networks: Vec<Network> = numbered
        .map(|(number, (mtu, name))| {
            let mut network = world.network(number, &[name]);
            network.mtu = *mtu;
            // RFC 8200: no link of IPv6 takes less.
            if *mtu < 1280 {
                (network.subnet6, network.gateway6) = (None, None);
                network.endpoints[0].ipv6 = None;
            }
            network
        })
        .collect();
    let published = (8000..).zip(&names).map(|(host_port, name)| Publish {
        id: name.clone(),
        host_port,
        protocol: Protocol::Tcp,
        endpoint: name.clone(),
        container_port: 6003,
        ..Publish::default()
    });
    let all: Vec<&Network> = networks.iter().collect();
    world.apply(&all, &published.collect::<Vec<_>>());
    world.spawn("out", &format!("exec {load} serve :: 6001"), true);
    for ((network, name), port) in networks.iter().zip(&names).zip(8000..) {
        world.guest(network, name);
        let mtu = network.mtu;
        world.run(name, &format!("ip link set eth0 mtu {mtu}"));
        world.spawn(name, &format!("exec {load} serve :: 6001"), true);
        let gateway = network.gateway.unwrap();
        // The largest packet, and one that has to be cut.
        let (fits, too_long) = (mtu - 28, mtu - 27);
        world.run(name, &format!("ping -c 1 -W 10 -M do -s {fits} {gateway}"));
        world.fails(
            name,
            &format!("ping -c 1 -W 1 -M do -s {too_long} {gateway}"),
        );
        let long = "ping -c 1 -W 10 -s 4000 192.0.2.2";
        if mtu > 4000 {
            // The way is narrower than the guest thinks: it is told once.
            let said = world.fails(name, long);
            let told = said.matches("icmp_seq=1 Frag needed and DF set (mtu = 1500)");
            assert_eq!(told.count(), 1, "{said}");
            assert_eq!(said.matches("Frag needed").count(), 1, "{said}");
        }
        world.run(name, long);
        let mut targets = vec!["192.0.2.2:6003"];
        if network.subnet6.is_some() {
            targets.push("[2001:db8:1::2]:6003");
        }
        for target in targets {
            world.run(name, &format!("{load} copy {target} {MANY}"));
        }
        for from in ["host 127.0.0.1", "out 192.0.2.1", "out [2001:db8:1::1]"] {
            let (space, address) = from.split_once(' ').unwrap();
            world.run(space, &format!("{load} copy {address}:{port} {MANY}"));
        }
    }
}
