//! Networks and addresses as the daemon takes them.

use std::path::PathBuf;

use stack_api::spec::StackSpec;
use stack_planner::{Diagnostic, LoadOptions, MemorySource, load};

fn made(text: &str) -> (Result<StackSpec, Vec<Diagnostic>>, Vec<Diagnostic>) {
    let source = MemorySource::new().with("/app/compose.yaml", text);
    let file = vec![PathBuf::from("/app/compose.yaml")];
    let loaded = load(&source, &LoadOptions::new(file, PathBuf::from("/app")));
    let project = loaded
        .project
        .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    (project.spec(), loaded.diagnostics)
}

fn spec(text: &str) -> StackSpec {
    made(text).0.unwrap_or_else(|found| panic!("{found:#?}"))
}

fn refused(text: &str) -> String {
    match made(text).0 {
        Ok(spec) => panic!("taken: {spec:#?}"),
        Err(found) => format!("{found:#?}"),
    }
}

#[test]
fn addresses_of_both_kinds() {
    let all = spec(
        "services:
  a:
    image: i
    mac_address: 02-42-AC-11-0-2
    networks:
      both: {ipv4_address: 10.5.0.9, ipv6_address: 'fd00:5::9', gw_priority: 5, interface_name: wan}
      front: {priority: 1000}
    ports: ['80', '[::1]:81:81']
networks:
  both:
    enable_ipv6: true
    driver_opts: {com.docker.network.driver.mtu: 1400}
    ipam:
      config:
        - {subnet: 10.5.0.7/16, ip_range: 10.5.1.0/24, aux_addresses: {printer: 10.5.1.7}}
        - {subnet: 'fd00:5::/64', gateway: 'fd00:5::fe'}
  front: {driver_opts: {com.docker.network.bridge.host_binding_ipv4: 127.0.0.1}}
",
    );
    let both = &all.networks["both"];
    assert_eq!(both.subnet, "10.5.0.0/16".parse().ok());
    assert_eq!(both.range, "10.5.1.0/24".parse().ok());
    assert_eq!(
        both.reserved["printer"],
        std::net::IpAddr::from([10, 5, 1, 7])
    );
    assert_eq!((both.ipv6, both.mtu), (true, Some(1400)));
    assert_eq!(both.subnet6, "fd00:5::/64".parse().ok());
    assert_eq!(both.gateway6, "fd00:5::fe".parse().ok());
    let a = &all.services["a"];
    let cards: Vec<_> = a.cards().into_iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(cards, ["front", "both"]);
    let place = &a.networks["both"];
    assert_eq!(
        (
            place.ipv4,
            place.ipv6,
            place.gw_priority,
            place.interface.as_deref()
        ),
        (
            Some([10, 5, 0, 9].into()),
            "fd00:5::9".parse().ok(),
            5,
            Some("wan")
        )
    );
    assert_eq!(
        a.networks["front"].mac.as_deref(),
        Some("02:42:ac:11:00:02")
    );
    let hosts: Vec<_> = a.ports.iter().map(|port| port.host_ip).collect();
    assert_eq!(hosts, [Some([127, 0, 0, 1].into()), "::1".parse().ok()]);
}

#[test]
fn addresses_that_cannot_be() {
    for (network, place, says) in [
        (
            "ipam: {config: [{subnet: 10.5.0.0/33}]}",
            "",
            "is not a subnet",
        ),
        (
            "ipam: {config: [{gateway: 10.5.0.1}]}",
            "",
            "needs a `subnet`",
        ),
        (
            "ipam: {config: [{subnet: 10.5.0.0/16, gateway: 10.6.0.1}]}",
            "",
            "is not an address in 10.5.0.0/16",
        ),
        (
            "ipam: {config: [{subnet: 10.5.0.0/16, ip_range: 10.0.0.0/8}]}",
            "",
            "is not a part of 10.5.0.0/16",
        ),
        (
            "ipam: {config: [{subnet: 10.5.0.0/16}, {subnet: 10.6.0.0/16}]}",
            "",
            "a second one of its kind",
        ),
        ("enable_ipv4: false", "", "neither IPv4 nor IPv6"),
        (
            "driver_opts: {com.docker.network.driver.mtu: 100}",
            "",
            "from 576",
        ),
        (
            "driver_opts: {com.docker.network.bridge.enable_icc: 'false'}",
            "",
            "is not supported",
        ),
        ("", "ipv4_address: 10.5.0.9", "no address of the network"),
        (
            "ipam: {config: [{subnet: 10.5.0.0/16}]}",
            "ipv4_address: 10.6.0.9",
            "no address of the network",
        ),
        (
            "",
            "mac_address: '01:00:5e:00:00:01'",
            "hardware address of one card",
        ),
        ("", "interface_name: lo", "cannot be the name of a card"),
    ] {
        let text = format!(
            "services: {{a: {{image: i, networks: {{n: {{{place}}}}}}}}}\nnetworks: {{n: {{{network}}}}}\n"
        );
        let report = refused(&text);
        assert!(report.contains(says), "{text}: {report}");
    }
}

#[test]
fn modes_that_cannot_be_say_what_to_do() {
    for (mode, help) in [
        ("host", "host.docker.internal"),
        ("service:b", "under its name instead of `localhost`"),
        ("'container:x'", "under its name instead of `localhost`"),
        ("other", "`networks` to name the networks"),
    ] {
        let text =
            format!("services: {{a: {{image: i, network_mode: {mode}}}, b: {{image: i}}}}\n");
        let report = refused(&text);
        let report = report.replace("\\n", "\n");
        assert!(report.contains(help), "{mode}: {report}");
        assert_eq!(
            report.matches("UNSUPPORTED").count() + report.matches("is not supported").count(),
            1,
            "{report}"
        );
    }
}

#[test]
fn the_default_driver_of_addresses_is_what_there_is() {
    let with = |driver: &str| {
        let text = format!(
            "services: {{a: {{image: i, networks: [n]}}}}\n\
             networks: {{n: {{ipam: {{driver: {driver}, config: [{{subnet: 10.7.0.0/16}}]}}}}}}\n"
        );
        made(&text).1
    };
    assert_eq!(with("default"), []);
    let told = with("dhcp");
    assert!(
        told[0]
            .message
            .contains("`networks.n.ipam.driver` has no effect")
    );
}
