//! Names, addresses and ways out within one stack.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use stack_tests::{Home, eventually, free_port, get};

use crate::{TELLS, fails_inside, inside};

fn file(tcp: u16, udp: u16) -> String {
    format!(
        r#"
services:
  web:
    image: python:3
    init: true
    hostname: webhost
    domainname: example.test
    command: ["python3", "/tells.py"]
    configs: [{{source: tells, target: /tells.py}}]
    ports:
      - {{target: 80, published: "{tcp}", name: Front door, app_protocol: http}}
      - "{udp}:5353/udp"
    extra_hosts: ["up=host-gateway", "six=fd00::9"]
    dns_search: [example.test]
    dns_opt: ["ndots:2"]
    healthcheck: {{test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 80))"]}}
    networks:
      front:
        ipv4_address: 10.77.0.9
        ipv6_address: "fd77::9"
        mac_address: "02:aa:00:00:00:09"
        interface_name: wan0
        aliases: [shop]
        gw_priority: 1
      back: {{priority: 5}}
  db:
    image: busybox:1
    init: true
    links: ["web:w"]
    command: sleep 100000
    networks: {{back: {{aliases: [database]}}}}
  lone:
    image: busybox:1
    init: true
    network_mode: none
    command: sleep 100000
networks:
  front:
    enable_ipv6: true
    driver_opts: {{com.docker.network.driver.mtu: 1400}}
    ipam: {{config: [{{subnet: 10.77.0.0/24}}, {{subnet: "fd77::/64"}}]}}
  back: {{internal: true}}
configs:
  tells: {{content: {}}}
"#,
        serde_json::to_string(&TELLS.replace('$', "$$")).unwrap()
    )
}

#[test]
fn a_stack_has_its_networks() {
    let home = Home::new();
    let (tcp, udp) = (free_port(), free_port());
    let project = home.project("net", &file(tcp, udp));
    project.stack(&["up", "-d", "--wait"]).ok();

    // Addresses, cards and their settings are those of the file.
    let cards = inside(
        &project,
        "web",
        "cd /sys/class/net; cat wan0/address wan0/mtu eth0/mtu",
    );
    assert_eq!(cards, "02:aa:00:00:00:09\n1400\n65520");
    let script =
        "import socket; print(*sorted({a[4][0] for a in socket.getaddrinfo('webhost', 80)}))";
    let own = inside(&project, "web", &format!("python3 -c \"{script}\""));
    assert!(!own.is_empty());
    let hosts = inside(&project, "web", "cat /etc/hosts");
    assert!(hosts.contains("webhost.example.test"), "{hosts}");
    assert!(
        hosts.contains("10.77.0.1\tup") && hosts.contains("fd00::9\tsix"),
        "{hosts}"
    );
    let resolv = inside(&project, "web", "cat /etc/resolv.conf");
    assert!(resolv.starts_with("nameserver 10.77.0.1\n") || resolv.contains("search example.test"));
    assert!(resolv.contains("options ndots:2"), "{resolv}");
    let route = inside(&project, "web", "cat /proc/net/route");
    assert!(
        route.lines().any(|line| line.starts_with("wan0\t00000000")),
        "{route}"
    );

    // Names, aliases and links on the network that both are on.
    let web = inside(
        &project,
        "db",
        "wget -q -O - http://web/ && wget -q -O - http://w/",
    );
    let words: Vec<&str> = web.lines().collect();
    assert_eq!(words.len(), 2, "{web}");
    assert!(words.iter().all(|word| word.starts_with("10.89.")), "{web}");
    let both = "getent ahostsv4 db && getent ahostsv4 database";
    inside(&project, "web", both);
    // Where a port is, by its name and by what is spoken there.
    for label in ["_front-door._tcp", "_http._tcp"] {
        let said = inside(&project, "db", &format!("nslookup -type=srv {label}.web"));
        assert!(said.contains("service = 0 0 80 web"), "{said}");
    }
    fails_inside(&project, "db", "nslookup nobody");
    // The other network does not exist for it.
    fails_inside(&project, "db", "nslookup shop");
    fails_inside(&project, "db", "timeout 3 wget -q -O - http://10.77.0.9/");

    // Who speaks to a group is heard by all of the network, as mDNS needs it.
    // (What the kernel has counted as multicast: busybox does not speak UDP.)
    let count = "awk '/^IpExt: [0-9]/ {print $4}' /proc/net/netstat";
    let heard = || -> u32 { inside(&project, "db", count).parse().unwrap() };
    let before = heard();
    let speak = "import socket
own = socket.socket(2, 2); own.connect(('db', 9))
s = socket.socket(2, 2)
s.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton(own.getsockname()[0]))
for n in range(20): s.sendto(b'who is there', ('224.0.0.1', 5353))";
    inside(&project, "web", &format!("python3 -c \"{speak}\""));
    eventually("all that was said", 10, || {
        (heard() >= before + 20).then_some(())
    });

    // No way out of an internal network, by name or by address.
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let gateway = inside(&project, "db", "sed -n 's/nameserver //p' /etc/resolv.conf");
    for target in [gateway.as_str(), "127.0.0.1.nip.io", "192.0.2.1"] {
        fails_inside(
            &project,
            "db",
            &format!("timeout 3 wget -q -O - http://{target}:{port}/"),
        );
    }
    fails_inside(&project, "db", "nslookup example.com");
    fails_inside(&project, "db", "nslookup host.docker.internal");
    host.set_nonblocking(true).unwrap();
    assert!(host.accept().is_err(), "something got out");
    host.set_nonblocking(false).unwrap();

    // The host is reached under its names from elsewhere.
    let answer = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut client, _) = host.accept().unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            let _ = client.read(&mut [0; 1024]).unwrap();
            client.write_all(b"HTTP/1.0 200 OK\r\n\r\nhost\n").unwrap();
        }
    });
    for name in ["host.docker.internal", "up"] {
        let fetch = format!(
            "import urllib.request as r; print(r.urlopen('http://{name}:{port}/', timeout=30).read().decode())"
        );
        let said = inside(&project, "web", &format!("python3 -c \"{fetch}\""));
        assert_eq!(said.trim(), "host");
    }
    answer.join().unwrap();

    // A machine without a network has nothing but itself.
    assert_eq!(
        inside(&project, "lone", "ls /sys/class/net | grep -c eth || true"),
        "0"
    );

    // Published ports, from the host and from within.
    let url = format!("http://127.0.0.1:{tcp}/");
    assert_eq!(get(&url).0, 200);
    let six = TcpStream::connect(("::1", tcp)).unwrap();
    drop(six);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.send_to(b"hello", ("127.0.0.1", udp)).unwrap();
    let mut buffer = [0; 200];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"hello from "));
    let hairpin = format!(
        "import urllib.request as r; print(r.urlopen('http://host.docker.internal:{tcp}/', timeout=30).status)"
    );
    assert_eq!(
        inside(&project, "web", &format!("python3 -c \"{hairpin}\"")),
        "200"
    );
    let said = project.stack(&["port", "web", "80"]).ok();
    assert_eq!(said.trim(), format!("0.0.0.0:{tcp}"));

    // What passed can be seen: counted, and frame by frame.
    let file = project.dir().join("x.pcapng");
    let path = file.to_str().unwrap();
    let capture = project.begin(&["net", "capture", "db", "-w", path]);
    eventually("the beginning of the file", 30, || {
        let length = std::fs::metadata(&file).map_or(0, |file| file.len());
        (length > 0).then_some(())
    });
    inside(&project, "db", "wget -q -O - http://web/");
    capture.interrupt();
    capture.finish(30).ok();
    let seen = std::fs::read(&file).unwrap();
    assert_eq!(seen[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    let get = b"GET / HTTP/1.1";
    assert!(
        seen.windows(get.len()).any(|bytes| bytes == get),
        "no request is in it"
    );
    let stats = project.stack(&["net", "stats", "--format", "json"]).ok();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    let cards = stats["cards"].as_array().unwrap();
    assert_eq!(cards.len(), 3, "{stats}");
    assert!(cards.iter().any(|card| card["rx_bytes"].as_u64() > Some(0)));
    assert!(stats["daemons"][0]["queries"].as_u64() > Some(0));

    // A new machine for the service has the same addresses.
    let before = addresses(&project);
    project
        .stack(&["up", "-d", "--wait", "--force-recreate"])
        .ok();
    assert_eq!(addresses(&project), before);
    project.stack(&["down"]).ok();
}

fn addresses(project: &stack_tests::Project<'_>) -> Vec<String> {
    let text = project.stack(&["network", "inspect", "front", "back"]).ok();
    let networks: serde_json::Value = serde_json::from_str(&text).unwrap();
    let networks = networks.as_array().unwrap().iter();
    let members = networks.flat_map(|network| {
        let members = network["Containers"].as_object().unwrap().values();
        members.map(|member| {
            let of = |key: &str| member[key].as_str().unwrap().to_owned();
            format!("{} {} {}", of("Name"), of("IPv4Address"), of("IPv6Address"))
        })
    });
    let mut all: Vec<String> = members.collect();
    all.sort();
    all
}
