//! A network that two stacks share.

use stack_tests::Home;

use crate::{fails_inside, inside};

fn file(name: &str, alias: &str) -> String {
    format!(
        r#"
services:
  {name}:
    image: busybox:1
    init: true
    command: ["sh", "-c", "mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"]}}
    networks: {{default: , shared: {{aliases: [{alias}]}}}}
networks:
  shared: {{external: true}}
"#
    )
}

#[test]
fn two_stacks_meet_on_an_external_network() {
    let home = Home::new();
    let one = home.project("one", &file("alpha", "first"));
    let two = home.project("two", &file("beta", "second"));
    one.stack(&["up", "-d"])
        .fails()
        .says("stack network create shared");
    one.stack(&["network", "create", "--ipv6", "--label", "a=b", "shared"])
        .ok();
    one.stack(&["network", "create", "shared"])
        .fails()
        .says("already");
    one.stack(&["up", "-d", "--wait"]).ok();
    two.stack(&["up", "-d", "--wait"]).ok();

    assert_eq!(inside(&one, "alpha", "wget -q -O - http://second/"), "beta");
    assert_eq!(inside(&two, "beta", "wget -q -O - http://alpha/"), "alpha");
    // Nothing else of the other stack is there.
    fails_inside(&two, "beta", "nslookup one-nobody-1");
    let listed = one.stack(&["network", "ls", "-q"]).ok();
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed, ["one_default", "shared", "two_default"]);

    // Taken off it while it runs, and back; another card needs a start.
    let boot = two.field("beta", "BootID");
    two.stack(&["network", "disconnect", "shared", "beta"]).ok();
    fails_inside(&one, "alpha", "nslookup second");
    fails_inside(&two, "beta", "timeout 3 wget -q -O - http://alpha/");
    two.stack(&["network", "connect", "shared", "beta"]).ok();
    assert_eq!(inside(&one, "alpha", "wget -q -O - http://second/"), "beta");
    assert_eq!(two.field("beta", "BootID"), boot);
    two.stack(&["network", "connect", "one_default", "beta"])
        .fails()
        .says("--restart");
    two.stack(&[
        "network",
        "connect",
        "--restart",
        "--alias",
        "third",
        "one_default",
        "beta",
    ])
    .ok();
    // It runs, but its server may need a moment to listen.
    let ask =
        "for n in $(seq 60); do wget -q -O - http://third/ 2>/dev/null && break; sleep 1; done";
    assert_eq!(inside(&one, "alpha", ask), "beta");
    two.stack(&["network", "disconnect", "one_default", "two-beta-1"])
        .ok();

    one.stack(&["network", "rm", "shared"])
        .fails()
        .says("is used by one-alpha-1, two-beta-1");
    one.stack(&["down"]).ok();
    fails_inside(&two, "beta", "timeout 3 wget -q -O - http://alpha/");
    assert_eq!(inside(&two, "beta", "wget -q -O - http://beta/"), "beta");
    two.stack(&["down"]).ok();
    let netd = |process: &stack_tests::Running| process.program == "stack-netd";
    assert!(!home.processes().iter().any(netd), "{:?}", home.processes());
    assert_eq!(one.stack(&["network", "prune", "-f"]).ok(), "shared\n");
}
