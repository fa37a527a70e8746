//! The name server, as `dig` sees it.

use stack_netd::config::{Protocol, Service};

use crate::kit::World;

crate::tests!(names_are_answered_in_all_ways);

fn names_are_answered_in_all_ways() {
    let mut world = World::new();
    let mut network = world.network(31, &["web", "db"]);
    network.endpoints[0].links = vec![("database".into(), "db".into())];
    network.endpoints[1].services = vec![Service {
        label: "postgresql".into(),
        protocol: Protocol::Tcp,
        port: 5432,
    }];
    let other = world.network(32, &["secret"]);
    world.apply(&[&network, &other], &[]);
    world.guest(&network, "web");
    world.guest(&network, "db");
    let dig = |what: &str| world.run("web", &format!("dig +time=10 {what}"));
    for way in [
        "@10.31.0.1",
        "@10.31.0.1 +tcp",
        "@fd00:1f::1",
        "@fd00:1f::1 +tcp",
    ] {
        let short = |name: &str| dig(&format!("+short {way} {name}"));
        assert_eq!(short("db a"), "10.31.0.3\n");
        assert_eq!(short("db aaaa"), "fd00:1f::3\n");
        assert_eq!(short("-x 10.31.0.3"), "db.\n");
        assert_eq!(short("-x fd00:1f::3"), "db.\n");
        assert_eq!(short("database a"), "10.31.0.3\n");
        assert_eq!(short("_postgresql._tcp.db srv"), "0 0 5432 db.\n");
        assert_eq!(short("host.docker.internal a"), "10.31.0.1\n");
        assert_eq!(short("host.docker.internal aaaa"), "fd00:1f::1\n");
    }
    for (what, status) in [
        ("db mx", "NOERROR"),
        ("secret a", "NXDOMAIN"),
        ("_http._tcp.db srv", "NXDOMAIN"),
        // The resolver that is configured does not answer.
        ("example.org a", "SERVFAIL"),
    ] {
        let said = dig(&format!("@10.31.0.1 +tries=1 {what}"));
        assert!(
            said.contains(&format!("status: {status}")),
            "{what}: {said}"
        );
    }
    // Links are one's own.
    let said = world.run("db", "dig +time=10 +tries=1 @10.31.0.1 database a");
    assert!(said.contains("status: SERVFAIL"), "{said}");
}
