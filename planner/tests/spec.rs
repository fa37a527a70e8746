//! The stack as the daemon takes it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use stack_api::spec::{
    Condition, FileSpec, HealthCheckSpec, MountSource, PortSpec, PullPolicy, Restart, ServiceSpec,
    StackSpec,
};
use stack_planner::{Diagnostic, LoadOptions, MemorySource, load};

fn made(text: &str) -> (Result<StackSpec, Vec<Diagnostic>>, Vec<Diagnostic>) {
    let source = MemorySource::new()
        .with("/app/compose.yaml", text)
        .with("/app/secret.txt", "hush");
    let mut options = LoadOptions::new(
        vec![PathBuf::from("/app/compose.yaml")],
        PathBuf::from("/app"),
    );
    options.environment = [
        ("TOKEN".to_owned(), "t0k".to_owned()),
        ("HOME".to_owned(), "/home/u".to_owned()),
    ]
    .into();
    let loaded = load(&source, &options);
    let project = loaded
        .project
        .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    (project.spec(), loaded.diagnostics)
}

fn spec(text: &str) -> StackSpec {
    made(text).0.unwrap_or_else(|found| panic!("{found:#?}"))
}

fn service(rest: &str) -> ServiceSpec {
    spec(&format!("services:\n  a:\n    image: i\n{rest}"))
        .services
        .remove("a")
        .unwrap()
}

#[test]
fn a_service_with_everything() {
    let a = service(
        "    command: sleep 'a b'
    entrypoint: []
    environment: {A: b, EMPTY: , TOKEN: }
    working_dir: /w
    user: '1:2'
    group_add: [audio, 7]
    hostname: h
    domainname: d
    tty: true
    stdin_open: 'true'
    init: true
    read_only: true
    privileged: true
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    sysctls: {net.core.somaxconn: 1024}
    ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
    shm_size: 64m
    mem_limit: 1g
    cpus: '1.5'
    pids_limit: 100
    oom_score_adj: -5
    restart: on-failure:3
    stop_signal: SIGINT
    stop_grace_period: 1m500ms
    labels: [x=y]
    scale: 2
    pull_policy: always
    platform: linux/amd64
    extra_hosts: {x: ['1.1.1.1', '2.2.2.2'], gw: host-gateway}
    dns: 1.1.1.1
    dns_search: [s]
    dns_opt: [o]
",
    );
    assert_eq!(a.command, Some(vec!["sleep".to_owned(), "a b".to_owned()]));
    assert_eq!(a.entrypoint, Some(Vec::new()));
    let environment: Vec<_> = a
        .environment
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(environment, ["A=b", "TOKEN=t0k"]);
    // Named without a value, and not set here: taken from the image's.
    assert!(a.environment_unset.iter().eq(["EMPTY"]));
    assert_eq!(
        (a.working_dir.as_deref(), a.user.as_deref()),
        (Some("/w"), Some("1:2"))
    );
    assert_eq!(a.group_add, ["audio", "7"]);
    assert!(a.tty && a.stdin_open && a.init && a.read_only && a.privileged && a.no_new_privileges);
    assert_eq!(a.sysctls["net.core.somaxconn"], "1024");
    assert_eq!(
        (a.ulimits["nofile"], a.ulimits["nproc"]),
        ((10, 20), (5, 5))
    );
    assert_eq!(
        (a.shm_size, a.memory, a.cpus, a.pids_limit),
        (Some(64 << 20), Some(1 << 30), Some(1.5), Some(100))
    );
    assert_eq!(
        (a.oom_score_adj, a.replicas, a.pull_policy),
        (Some(-5), 2, PullPolicy::Always)
    );
    assert_eq!(a.restart, Restart::OnFailure { max: Some(3) });
    assert_eq!(
        (a.stop_signal.as_deref(), a.stop_grace_period_ms),
        (Some("SIGINT"), Some(60_500))
    );
    let hosts: Vec<_> = a
        .extra_hosts
        .iter()
        .map(|(h, ip)| format!("{h} {ip}"))
        .collect();
    assert_eq!(hosts, ["gw host-gateway", "x 1.1.1.1", "x 2.2.2.2"]);
    assert_eq!(a.config_hash.len(), 64);
}

#[test]
fn limits_of_deploy_and_quotas() {
    let a = service(
        "    deploy: {replicas: 3, resources: {limits: {cpus: '0.25', memory: 50M, pids: 9}}, restart_policy: {condition: on-failure, max_attempts: 2}}\n",
    );
    assert_eq!(
        (a.cpus, a.memory, a.pids_limit, a.replicas),
        (Some(0.25), Some(50 << 20), Some(9), 3)
    );
    assert_eq!(a.restart, Restart::OnFailure { max: None });
    assert_eq!(a.retry.max_attempts, Some(2));
    let policy = "    restart: always\n    deploy: {restart_policy: {condition: none, delay: 1m, window: 1500ms}}\n";
    let a = service(policy);
    assert_eq!(
        (a.restart, a.retry.delay_ms, a.retry.window_ms),
        (Restart::No, Some(60_000), 1500)
    );
    assert_eq!(service("    cpu_quota: 50000\n").cpus, Some(0.5));
    assert_eq!(service("    cpu_count: 4\n").cpus, Some(4.0));
    assert_eq!(
        service("    restart: on-failure:0\n").restart,
        Restart::OnFailure { max: None }
    );
    assert_eq!(
        service("    restart: unless-stopped\n").restart,
        Restart::UnlessStopped
    );
}

#[test]
fn health_checks() {
    let a = service(
        "    healthcheck: {test: curl x, interval: 1.5s, retries: 4, start_interval: 100ms}\n",
    );
    let wanted = HealthCheckSpec {
        test: Some(vec!["CMD-SHELL".to_owned(), "curl x".to_owned()]),
        interval_ms: Some(1500),
        retries: Some(4),
        start_interval_ms: Some(100),
        ..HealthCheckSpec::default()
    };
    assert_eq!(a.healthcheck, Some(wanted));
    assert!(
        service("    healthcheck: {test: [NONE]}\n")
            .healthcheck
            .unwrap()
            .disable
    );
    assert!(
        service("    healthcheck: {disable: true}\n")
            .healthcheck
            .unwrap()
            .disable
    );
    assert_eq!(service("").healthcheck, None);
}

#[test]
fn ports() {
    let a = service(
        "    ports: ['80', '127.0.0.1:8080:80/udp', '9000-9001:90-91', '7000-7010:70', '[::1]:1:2']\n",
    );
    let port = |published, published_end, target| PortSpec {
        host_ip: None,
        published,
        published_end,
        target,
        udp: false,
        labels: Vec::new(),
    };
    let wanted = [
        port(None, None, 80),
        PortSpec {
            host_ip: Some([127, 0, 0, 1].into()),
            published: Some(8080),
            published_end: None,
            target: 80,
            udp: true,
            labels: Vec::new(),
        },
        port(Some(9000), None, 90),
        port(Some(9001), None, 91),
        port(Some(7000), Some(7010), 70),
        PortSpec {
            host_ip: "::1".parse().ok(),
            published: Some(1),
            published_end: None,
            target: 2,
            udp: false,
            labels: Vec::new(),
        },
    ];
    assert_eq!(a.ports, wanted);
}

#[test]
fn named_ports() {
    let a = service(
        "    ports:\n      - {target: 80, name: Web UI, app_protocol: http}\n      - {target: 81, name: http, app_protocol: HTTP}\n      - {target: 82, name: \"!\"}\n",
    );
    let labels: Vec<_> = a.ports.iter().map(|port| port.labels.join(" ")).collect();
    assert_eq!(labels, ["web-ui http", "http", ""]);
}

#[test]
fn mounts() {
    let all = spec(
        "services:
  a:
    image: i
    volumes:
      - data:/data:nocopy
      - ./src:/src:ro
      - ~/x:/x
      - /anon
      - {type: volume, target: /bare, read_only: true, volume: {nocopy: true}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m}}
      - {type: bind, source: /h, target: /h, bind: {create_host_path: false}}
      - {type: volume, source: data, target: /sub, read_only: true, volume: {subpath: s}}
      - dir:/dir
      - {type: image, source: 'site:1', target: /i, image: {subpath: www}}
    tmpfs: ['/run:size=2m,mode=755,uid=5,exec']
volumes:
  data: {driver_opts: {size: 10g}, labels: {l: m}}
  dir: {driver_opts: {type: none, o: 'rw,bind', device: ./there}}
",
    );
    let a = &all.services["a"];
    let shown: Vec<_> = a
        .mounts
        .iter()
        .map(|m| format!("{} {} {:?}", m.target, m.read_only, m.source))
        .collect();
    let bind = |path: &str, create| MountSource::Bind {
        path: path.into(),
        create,
        // What is a volume in the file begins with the image's content.
        copy: path.ends_with("/there"),
        subpath: None,
    };
    let volume = |nocopy, subpath: Option<&str>| MountSource::Volume {
        volume: "data".into(),
        nocopy,
        subpath: subpath.map(str::to_owned),
    };
    let wanted = [
        ("/data", false, volume(true, None)),
        ("/src", true, bind("/app/src", true)),
        ("/x", false, bind("/home/u/x", true)),
        ("/anon", false, MountSource::Anonymous { nocopy: false }),
        ("/bare", true, MountSource::Anonymous { nocopy: true }),
        (
            "/t",
            false,
            MountSource::Tmpfs {
                size: Some(1 << 20),
                mode: None,
                options: Vec::new(),
            },
        ),
        ("/h", false, bind("/h", false)),
        ("/sub", true, volume(false, Some("s"))),
        ("/dir", false, bind("/app/there", false)),
        (
            "/i",
            true,
            MountSource::Image {
                image: "site:1".into(),
                subpath: Some("www".into()),
            },
        ),
        (
            "/run",
            false,
            MountSource::Tmpfs {
                size: Some(2 << 20),
                mode: Some(0o755),
                options: vec!["uid=5".into(), "exec".into()],
            },
        ),
    ];
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(t, r, s)| format!("{t} {r} {s:?}"))
        .collect();
    assert_eq!(shown, wanted);
    assert_eq!(all.volumes.keys().collect::<Vec<_>>(), ["data"]);
    assert_eq!(all.volumes["data"].size, Some(10 << 30));
    assert_eq!(all.volumes["data"].name, "app_data");
}

#[test]
fn configs_and_secrets() {
    let all = spec(
        "services:
  a:
    image: i
    configs: [c, {source: c, target: /etc/c, mode: 0400, uid: '5', gid: '6'}]
    secrets: [s, {source: t, target: named}]
configs: {c: {content: 'v=$TOKEN'}}
secrets: {s: {file: secret.txt}, t: {environment: TOKEN}}
",
    );
    let file = |source: &str, target: &str, content: &str| FileSpec {
        source: source.into(),
        target: target.into(),
        content: content.into(),
        mode: 0o444,
        uid: 0,
        gid: 0,
    };
    let wanted = [
        file("configs.c", "/c", "v=t0k"),
        FileSpec {
            mode: 0o400,
            uid: 5,
            gid: 6,
            ..file("configs.c", "/etc/c", "v=t0k")
        },
        file("secrets.s", "/run/secrets/s", "hush"),
        file("secrets.t", "/run/secrets/named", "t0k"),
    ];
    assert_eq!(all.services["a"].files, wanted);
    let (missing, _) = made("services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {file: none}}");
    assert!(
        missing.unwrap_err()[0]
            .message
            .contains("cannot read /app/none")
    );
}

#[test]
fn networks() {
    let all = spec(
        "services:
  a: {image: i, networks: {front: {aliases: [x], ipv4_address: 10.5.0.9, priority: 3}, back: }}
  b: {image: i, networks: [back], links: ['a:alpha']}
  c: {image: i, network_mode: none}
  d: {image: i, network_mode: bridge}
networks:
  front: {internal: true, ipam: {config: [{subnet: 10.5.0.0/16, gateway: 10.5.0.1}]}}
  back: {external: true, name: shared}
",
    );
    let front = &all.networks["front"];
    assert_eq!(
        (front.name.as_str(), front.internal, front.subnet),
        ("app_front", true, "10.5.0.0/16".parse().ok())
    );
    assert_eq!(front.gateway, Some([10, 5, 0, 1].into()));
    assert_eq!(
        (
            all.networks["back"].name.as_str(),
            all.networks["back"].external
        ),
        ("shared", true)
    );
    let a = &all.services["a"].networks;
    assert_eq!(
        (a["front"].ipv4, a["front"].priority),
        (Some([10, 5, 0, 9].into()), 3)
    );
    assert_eq!(
        (a["front"].aliases.as_slice(), a["back"].aliases.as_slice()),
        (&["x".to_owned()][..], &[][..])
    );
    let link = ("alpha".to_owned(), "a".to_owned());
    assert_eq!(all.services["b"].links, [link]);
    assert!(all.services["c"].networks.is_empty());
    assert_eq!(all.networks["default"].name, "app_default");
    assert!(all.services["d"].networks.contains_key("default"));
    assert_eq!(
        all.services["b"].depends_on["a"].condition,
        Condition::ServiceStarted
    );
}

#[test]
fn disabled_services_are_named_and_not_depended_on() {
    let all = spec(
        "services: {a: {image: i, depends_on: {b: {condition: service_started, required: false}}}, b: {image: i, profiles: [p]}}",
    );
    assert_eq!(all.disabled, ["b"]);
    assert!(all.services["a"].depends_on.is_empty());
}

#[test]
fn what_cannot_be_honoured() {
    let refused = [
        "network_mode: host",
        "network_mode: 'service:b'",
        "pid: host",
        "ipc: 'container:x'",
        "uts: host",
        "gpus: all",
        "devices: ['/dev/sda']",
        "devices: ['/dev/console']",
        "devices: ['/dev/net/tun:/dev/tun']",
        "cap_add: [NET_RAWW]",
        "cap_drop: ['']",
        "stop_signal: SIGQIUT",
        "stop_signal: '65'",
        "ulimits: {nofiles: 10}",
        "hostname: a234567890123456789012345678901234567890123456789012345678901234x",
        "use_api_socket: true",
        "volumes_from: [b]",
        "provider: {type: x}",
        "volumes: [{type: image, target: /x}]",
        "volumes: ['relative:rel']",
        "ports: ['80:80/sctp']",
        "restart: sometimes",
        "scale: 5000000000",
        "container_name: ../x",
        "command: [\"a\\0b\"]",
        "environment: {'A=B': c}",
        "volumes: [{type: volume, source: relative, target: /x, volume: {subpath: ../y}}]",
        "ulimits: {nofile: {soft: 3, hard: 2}}",
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
    ];
    for rest in refused {
        let text = format!(
            "services: {{a: {{image: i, {rest}}}, b: {{image: i}}}}\nvolumes: {{relative: }}"
        );
        let (spec, _) = made(&text);
        let found = spec.expect_err(rest);
        assert!(
            found
                .iter()
                .all(|found| found.is_error() && !found.labels.is_empty()),
            "{rest}: {found:#?}"
        );
    }
    for driver in [
        "networks: {n: {driver: macvlan}}\nvolumes: {vol: }",
        "volumes: {vol: {driver: nfs}}",
        "volumes: {vol: {name: ../../etc}}",
        "volumes: {vol: {driver_opts: {type: nfs, device: x, o: y}}}",
    ] {
        let network = if driver.contains("networks") {
            "networks: [n], "
        } else {
            ""
        };
        let text = format!("services: {{a: {{image: i, {network}volumes: ['vol:/v']}}}}\n{driver}");
        assert!(made(&text).0.is_err(), "{driver}");
    }
    let fine = [
        "network_mode: none",
        "ipc: private",
        "devices: ['/dev/fuse']",
        "devices: ['/dev/net/tun:/dev/net/tun:rwm']",
        "cap_add: [cap_net_raw, ALL, SYS_PTRACE]",
        "stop_signal: SIGRTMAX-3",
        "stop_signal: '15'",
        "hostname: a23456789012345678901234567890123456789012345678901234567890123",
        "uts: ''",
        "use_api_socket: false",
    ];
    for rest in fine {
        let (spec, found) = made(&format!("services: {{a: {{image: i, {rest}}}}}"));
        assert!(spec.is_ok() && found.is_empty(), "{rest}: {found:#?}");
    }
}

#[test]
fn names_of_the_kernel_are_known_by_heart() {
    for (rest, wanted) in [
        ("cap_drop: [CAP_NET_RAWW]", "did you mean `NET_RAW`?"),
        ("stop_signal: SIGQIUT", "did you mean `SIGQUIT`?"),
        ("ulimits: {nofiles: 1}", "did you mean `nofile`?"),
    ] {
        let (spec, _) = made(&format!("services: {{a: {{image: i, {rest}}}}}"));
        let found = spec.expect_err(rest);
        assert_eq!(found[0].code, "E0702", "{rest}");
        assert_eq!(found[0].help.as_deref(), Some(wanted), "{rest}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let cases = [
        ("logging: {driver: none}", "services.a.logging.driver"),
        (
            "security_opt: ['label:type:x_t']",
            "services.a.security_opt[0]",
        ),
        ("tmpfs: ['/x:huge=always']", "huge=always"),
        (
            "networks: {default: {link_local_ips: [169.254.1.1]}}",
            "services.a.networks.default.link_local_ips",
        ),
        (
            "volumes: [{type: bind, source: /x, target: /y, bind: {propagation: shared}}]",
            "bind.propagation",
        ),
        (
            "logging: {options: {compress: 'true'}}",
            "services.a.logging.options.compress",
        ),
    ];
    for (rest, wanted) in cases {
        let (spec, found) = made(&format!("services: {{a: {{image: i, {rest}}}}}"));
        assert!(spec.is_ok(), "{rest}");
        assert!(
            found.len() == 1 && found[0].code == "W0701" && found[0].message.contains(wanted),
            "{rest}: {found:#?}"
        );
    }
}

#[test]
fn a_tmpfs_of_several_services_is_not_shared() {
    let stack = |services: &str, options: &str| {
        let text = format!(
            "services: {{{services}}}\nvolumes: {{mem: {{driver_opts: {{type: {options}}}}}}}\n"
        );
        let (spec, found) = made(&text);
        assert!(spec.is_ok(), "{text}");
        found
    };
    let tmpfs = "tmpfs, device: tmpfs";
    let (a, b) = (
        "a: {image: i, volumes: ['mem:/x']}",
        "b: {image: i, volumes: ['mem:/y']}",
    );
    let both = format!("{a}, {b}");
    let found = stack(&both, tmpfs);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0]
            .message
            .contains("`a`, `b` do not share the volume `mem`")
    );
    assert!(stack(a, tmpfs).is_empty());
    assert!(stack(&both, "none, o: bind, device: ./mem").is_empty());
}

#[test]
fn a_tmpfs_with_a_name_has_the_options_that_it_is_given() {
    let stack = |options: &str| {
        let text = format!(
            "services: {{a: {{image: i, volumes: ['mem:/x']}}}}\n\
             volumes: {{mem: {{driver_opts: {{type: {options}}}}}}}\n"
        );
        let (spec, found) = made(&text);
        let messages = found.into_iter().map(|found| found.message);
        (spec.expect(&text), messages.collect::<Vec<_>>())
    };
    // As Docker's driver mounts it, programs may be run in it.
    let (spec, found) = stack("tmpfs, device: tmpfs, o: 'size=1m,uid=5,nosuid,huge=always'");
    let MountSource::Tmpfs { options, .. } = &spec.services["a"].mounts[0].source else {
        panic!("{spec:#?}");
    };
    assert_eq!(options.join(","), "exec,suid,dev,uid=5,nosuid");
    assert_eq!(
        found,
        ["the option `huge=always` of this volume has no effect"]
    );
    // The guest's kernel knows its memory.
    let (spec, found) = stack("tmpfs, device: tmpfs, o: 'size=10%,nr_inodes=10k'");
    let MountSource::Tmpfs { size, options, .. } = &spec.services["a"].mounts[0].source else {
        panic!("{spec:#?}");
    };
    assert_eq!((*size, found.len()), (None, 0));
    assert_eq!(options[3..], ["size=10%", "nr_inodes=10k"]);
    let (spec, _) = made("services: {a: {image: i, tmpfs: ['/t:size=10%,nr_blocks=1m']}}");
    let MountSource::Tmpfs { options, .. } = &spec.unwrap().services["a"].mounts[0].source else {
        panic!("no tmpfs");
    };
    assert_eq!(options[..], ["size=10%", "nr_blocks=1m"]);
    let (_, found) = stack("none, device: ./d, o: 'bind,ro,noexec,shared'");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`noexec`") && found[1].contains("`shared`"));
}

#[test]
fn a_config_that_is_too_much_can_be_mounted() {
    let text = "services: {a: {image: i, configs: [c]}}\nconfigs: {c: {file: ./FILE}}\n";
    for (file, helped) in [(".", true), ("missing", false)] {
        let (spec, _) = made(&text.replace("FILE", file));
        let found = spec.expect_err(file);
        let help = found[0].help.as_deref().unwrap_or_default();
        assert_eq!(help.contains("volumes"), helped, "{found:#?}");
    }
}

#[test]
fn names_of_containers_are_unique() {
    let (spec, _) =
        made("services: {a: {image: i, container_name: c1}, b: {image: i, container_name: c1}}");
    assert_eq!(spec.unwrap_err()[0].code, "E0506");
    let (spec, _) = made("services: {..: {image: i}}");
    assert_eq!(spec.unwrap_err()[0].code, "E0702");
}
