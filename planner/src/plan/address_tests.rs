//! Addresses that go from one service to another.

use std::net::Ipv4Addr;

use stack_api::request::Up;
use stack_api::spec::{AttachSpec, NetworkSpec, ServiceSpec, StackSpec};

use super::world::carry_out;
use super::*;

fn service(name: &str) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        image: "i:1".to_owned(),
        replicas: 1,
        networks: [("default".to_owned(), AttachSpec::default())].into(),
        ..ServiceSpec::default()
    }
}

/// These services with the last bytes of their addresses.
fn up(services: &[(&str, Option<u8>)]) -> Up {
    let network = NetworkSpec {
        name: "shop_default".to_owned(),
        subnet: "10.0.0.0/24".parse().ok(),
        ..NetworkSpec::default()
    };
    let services = services.iter().map(|(name, address)| {
        let mut spec = service(name);
        place(&mut spec).ipv4 = address.map(|n| Ipv4Addr::new(10, 0, 0, n));
        spec.config_hash = format!("{address:?}");
        (spec.name.clone(), spec)
    });
    Up {
        spec: StackSpec {
            name: "shop".to_owned(),
            services: services.collect(),
            networks: [("default".to_owned(), network)].into(),
            ..StackSpec::default()
        },
        remove_orphans: true,
        ..Up::default()
    }
}

fn place(spec: &mut ServiceSpec) -> &mut AttachSpec {
    spec.networks.get_mut("default").unwrap()
}

/// Verbs and names of the steps from one stack to the other, which are carried out.
fn steps(old: &Up, new: &Up) -> Vec<String> {
    let mut observed = Observed::default();
    carry_out(old, &plan(old, &observed).unwrap(), &mut observed);
    let moved = plan(new, &observed).unwrap();
    carry_out(new, &moved, &mut observed);
    assert!(plan(new, &observed).unwrap().is_empty());
    let steps = moved.steps.iter().filter(|s| s.action.verb() != "start");
    let steps = steps.map(|s| format!("{} {}", s.action.verb(), s.action.subject().1));
    steps.collect()
}

#[test]
fn an_address_is_given_up_before_another_service_gets_it() {
    let old = up(&[("a", None), ("b", Some(5))]);
    let said = steps(&old, &up(&[("a", Some(5)), ("b", Some(6))]));
    assert_eq!(said, ["recreate shop-b-1", "recreate shop-a-1"]);
    // To any other.
    let said = steps(&old, &up(&[("a", Some(5)), ("b", None)]));
    assert_eq!(said, ["recreate shop-b-1", "recreate shop-a-1"]);
    // Its service is in the file no more.
    let said = steps(&old, &up(&[("a", Some(5))]));
    assert_eq!(said, ["remove shop-b-1", "recreate shop-a-1"]);
    // It leaves the network as it runs.
    let mut leaves = up(&[("a", Some(5)), ("b", None)]);
    leaves.spec.services.get_mut("b").unwrap().networks.clear();
    let said = steps(&old, &leaves);
    assert_eq!(said, ["update shop-b-1", "recreate shop-a-1"]);
    // One that nobody asked for.
    let old = up(&[("a", None), ("b", None)]);
    let said = steps(&old, &up(&[("a", Some(3)), ("b", Some(9))]));
    assert_eq!(said, ["recreate shop-b-1", "recreate shop-a-1"]);
}

#[test]
fn of_services_that_swap_addresses_one_goes_first() {
    let old = up(&[("a", Some(5)), ("b", Some(6))]);
    let said = steps(&old, &up(&[("a", Some(6)), ("b", Some(5))]));
    assert_eq!(
        said,
        ["remove shop-a-1", "recreate shop-b-1", "create shop-a-1"]
    );
    let old = up(&[("a", Some(5)), ("b", Some(6)), ("c", Some(7))]);
    let said = steps(&old, &up(&[("a", Some(6)), ("b", Some(7)), ("c", Some(5))]));
    assert_eq!(
        said.iter()
            .filter(|step| step.starts_with("remove"))
            .count(),
        1
    );
}

#[test]
fn a_hardware_address_is_given_up_before_another_service_gets_it() {
    let with = |service: &str| {
        let mut request = up(&[("a", None), ("b", None)]);
        let spec = request.spec.services.get_mut(service).unwrap();
        place(spec).mac = Some("02:00:00:00:00:01".to_owned());
        "with".clone_into(&mut spec.config_hash);
        request
    };
    let said = steps(&with("b"), &with("a"));
    assert_eq!(said, ["recreate shop-b-1", "recreate shop-a-1"]);
}

#[test]
fn in_a_network_of_few_addresses_who_comes_follows_who_goes() {
    let small = |services: &[(&str, Option<u8>)], subnet: &str| {
        let mut request = up(services);
        let network = request.spec.networks.get_mut("default").unwrap();
        network.subnet = subnet.parse().ok();
        request
    };
    for (subnet, follows) in [("10.0.0.0/30", true), ("10.0.0.0/24", false)] {
        let mut observed = Observed::default();
        let old = small(&[("web", None)], subnet);
        carry_out(&old, &plan(&old, &observed).unwrap(), &mut observed);
        let moved = plan(&small(&[("site", None)], subnet), &observed).unwrap();
        let verbs: Vec<_> = moved.steps.iter().map(|s| s.action.verb()).collect();
        assert_eq!(verbs, ["remove", "create", "start"]);
        assert_eq!(moved.steps[1].after.contains(&0), follows, "{subnet}");
    }
}
