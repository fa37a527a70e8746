//! A network that two stacks share.

use stack_tests::{Home, eventually};

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

const CARDS: &str = "cd /sys/class/net; echo eth*";

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

    // A capture has both networks, each of another daemon.
    let file = one.dir().join("x.pcapng");
    let capture = one.begin(&["net", "capture", "alpha", "-w", file.to_str().unwrap()]);
    eventually("the beginning of the file", 30, || {
        (std::fs::metadata(&file).ok()?.len() > 0).then_some(())
    });
    inside(&two, "beta", "wget -q -O - http://alpha/");
    capture.interrupt();
    capture.finish(30).ok();
    let seen = std::fs::read(&file).unwrap();
    for part in ["/one_default", "/shared", "GET / HTTP/1.1"] {
        let there = seen.windows(part.len()).any(|at| at == part.as_bytes());
        assert!(there, "{part}");
    }

    // Taken off it while it runs, and back. Another network takes the spare
    // card, and then those that it has left.
    let boot = two.field("beta", "BootID");
    two.stack(&["network", "disconnect", "shared", "beta"]).ok();
    fails_inside(&one, "alpha", "nslookup second");
    fails_inside(&two, "beta", "timeout 3 wget -q -O - http://alpha/");
    two.stack(&["network", "connect", "shared", "beta"]).ok();
    assert_eq!(inside(&one, "alpha", "wget -q -O - http://second/"), "beta");
    assert_eq!(inside(&two, "beta", CARDS), "eth0 eth1");
    two.stack(&[
        "network",
        "connect",
        "--alias",
        "third",
        "one_default",
        "beta",
    ])
    .ok();
    assert_eq!(inside(&one, "alpha", "wget -q -O - http://third/"), "beta");
    let cards = inside(&two, "beta", CARDS);
    assert_eq!(cards, "eth0 eth1 eth2");
    let own = "ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1";
    let alpha = inside(&one, "alpha", own);
    let fetch = format!("wget -q -O - http://{alpha}/");
    assert_eq!(inside(&two, "beta", &fetch), "alpha");
    two.stack(&["network", "create", "more"]).ok();
    two.stack(&["network", "connect", "more", "beta"])
        .fails()
        .says("--restart");
    two.stack(&["network", "disconnect", "one_default", "two-beta-1"])
        .ok();
    assert_eq!(inside(&two, "beta", CARDS), "eth0 eth1");
    two.stack(&["network", "connect", "more", "beta"]).ok();
    // The default route goes where there is a way out.
    two.stack(&["network", "disconnect", "two_default", "beta"])
        .ok();
    let route = inside(&two, "beta", "ip route show default");
    assert!(route.contains("eth1"), "{route}");
    inside(&two, "beta", "nslookup alpha");
    two.stack(&["network", "connect", "two_default", "beta"])
        .ok();
    two.stack(&["network", "disconnect", "more", "beta"]).ok();
    two.stack(&["network", "rm", "more"]).ok();
    assert_eq!(two.field("beta", "BootID"), boot);
    // What is known of it holds for its next start.
    two.stack(&["restart", "beta"]).ok();
    let ask =
        "for n in $(seq 60); do wget -q -O - http://second/ 2>/dev/null && break; sleep 1; done";
    assert_eq!(inside(&one, "alpha", ask), "beta");

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
