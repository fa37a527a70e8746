//! What is told of a change, and what is hidden.

use stack_api::spec::{HealthCheckSpec, MountSource, MountSpec, PortSpec, Restart};

use super::*;

fn told(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    changes(old, new, &Room::default())
        .into_iter()
        .map(|change| {
            let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            format!(
                "{:?} {}: {} → {}",
                change.class,
                change.attribute,
                or(change.from),
                or(change.to)
            )
        })
        .collect()
}

fn port(published: u16, target: u16) -> PortSpec {
    PortSpec {
        host_ip: None,
        published: Some(published),
        published_end: None,
        target,
        udp: false,
        labels: Vec::new(),
    }
}

#[test]
fn maps_are_told_by_key_and_secrets_are_hidden() {
    let mut old = ServiceSpec::default();
    let mut new = ServiceSpec::default();
    old.environment.insert("DEBUG".to_owned(), "0".to_owned());
    new.environment.insert("DEBUG".to_owned(), "1".to_owned());
    old.environment.insert("OLD".to_owned(), "x".to_owned());
    new.environment
        .insert("DB_PASSWORD".to_owned(), "hunter2".to_owned());
    new.labels.insert("team".to_owned(), "blue".to_owned());
    assert_eq!(
        told(&old, &new),
        [
            "Recreate environment.DB_PASSWORD: - → (hidden)",
            "Recreate environment.DEBUG: 0 → 1",
            "Recreate environment.OLD: x → -",
            "Live labels.team: - → blue",
        ]
    );
}

#[test]
fn items_of_lists_are_told_by_themselves() {
    let old = ServiceSpec {
        ports: vec![port(80, 80), port(443, 443)],
        ..ServiceSpec::default()
    };
    let mut new = old.clone();
    new.ports.insert(0, port(8080, 80));
    assert_eq!(told(&old, &new), ["Live ports[0]: - → 8080:80"]);
    new.ports = vec![port(8080, 80), port(443, 443)];
    assert_eq!(told(&old, &new), ["Live ports[0]: 80:80 → 8080:80"]);
    new.ports = vec![port(443, 443), port(80, 80)];
    assert_eq!(
        told(&old, &new),
        ["Live ports: [80:80, 443:443] → [443:443, 80:80]"]
    );
}

#[test]
fn words_and_policies_are_told_whole() {
    let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
    let old = ServiceSpec {
        command: words("serve -p 80"),
        ..ServiceSpec::default()
    };
    let new = ServiceSpec {
        command: words("serve -p 81"),
        restart: Restart::OnFailure { max: Some(2) },
        healthcheck: Some(HealthCheckSpec {
            test: words("CMD true"),
            interval_ms: Some(5000),
            ..HealthCheckSpec::default()
        }),
        mounts: vec![MountSpec {
            target: "/data".to_owned(),
            read_only: false,
            source: MountSource::Anonymous { nocopy: false },
        }],
        ..ServiceSpec::default()
    };
    assert_eq!(
        told(&old, &new),
        [
            r#"Recreate command: ["serve", "-p", "80"] → ["serve", "-p", "81"]"#,
            "Live restart: no → on-failure:2",
            "Live healthcheck.interval: - → 5s",
            r#"Live healthcheck.test: - → ["CMD", "true"]"#,
            "Recreate volumes[0]: - → /data",
        ]
    );
}

#[test]
fn places_on_networks() {
    let mut old = ServiceSpec::default();
    old.networks.insert("back".to_owned(), Default::default());
    let mut new = old.clone();
    new.networks.get_mut("back").unwrap().aliases = vec!["db".to_owned()];
    assert_eq!(told(&old, &new), ["Live networks.back.aliases[0]: - → db"]);
    new.networks.insert("front".to_owned(), Default::default());
    assert_eq!(told(&old, &new)[1], "Live networks.front: - → attached");
    // As many as the machine has cards for.
    let class = |networks| {
        let room = Room {
            networks,
            ..Room::default()
        };
        changes(&old, &new, &room)[1].class
    };
    assert_eq!([class(2), class(1)], [Class::Live, Class::Recreate]);
}

#[test]
fn limits_are_live_while_they_fit() {
    let old = ServiceSpec {
        memory: Some(512 << 20),
        ..ServiceSpec::default()
    };
    let room = Room {
        networks: 1,
        memory: 512 << 20,
        unlimited_memory: false,
        cpus: 1,
        unlimited_cpus: true,
    };
    let class = |new: &ServiceSpec| changes(&old, new, &room)[0].class;
    let mut new = old.clone();
    new.memory = Some(256 << 20);
    assert_eq!(class(&new), Class::Live);
    new.memory = Some(1 << 30);
    assert_eq!(class(&new), Class::Recreate);
    new.memory = None;
    assert_eq!(class(&new), Class::Recreate);
    new = old.clone();
    new.cpus = Some(0.5);
    assert_eq!(class(&new), Class::Live);
    // What has not changed need not fit.
    let small = Room { memory: 1, ..room };
    assert_eq!(changes(&old, &new, &small)[0].class, Class::Live);
    new.cpus = Some(1.5);
    assert_eq!(class(&new), Class::Recreate);
}

#[test]
fn contents_of_secrets_are_never_shown() {
    let file = |source: &str, content: &str| FileSpec {
        source: source.to_owned(),
        target: format!("/run/{source}"),
        content: content.as_bytes().to_vec(),
        mode: 0o444,
        uid: 0,
        gid: 0,
    };
    let spec = |files| ServiceSpec {
        files,
        ..ServiceSpec::default()
    };
    let old = spec(vec![file("secrets.key", "one"), file("configs.app", "one")]);
    let new = spec(vec![file("secrets.key", "two"), file("configs.app", "two")]);
    let told = told(&old, &new);
    assert_eq!(
        told[0],
        "Recreate secrets.key: /run/secrets.key: (hidden) → /run/secrets.key: (hidden)"
    );
    assert!(
        told[1].starts_with("Recreate configs.app: /run/configs.app: 3 bytes, sha256 7692c3ad")
    );
}

#[test]
fn what_only_up_reads_is_no_change() {
    let old = ServiceSpec::default();
    let new = ServiceSpec {
        replicas: 3,
        update: Some(Default::default()),
        ..ServiceSpec::default()
    };
    assert_eq!(told(&old, &new), Vec::<String>::new());
}

#[test]
fn secrets_of_commands_and_hooks_are_hidden() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut new = ServiceSpec {
        command: Some(words("serve --db pg://app:hunter2@db/app")),
        healthcheck: Some(HealthCheckSpec {
            test: Some(words("CMD curl http://me:hunter3@localhost")),
            ..HealthCheckSpec::default()
        }),
        ..ServiceSpec::default()
    };
    new.hooks.post_start = vec![stack_api::hook::Hook {
        command: words("seed"),
        environment: vec!["SEED_PASSWORD=hunter4".to_owned(), "PLAIN=x".to_owned()],
        ..Default::default()
    }];
    let all = told(&ServiceSpec::default(), &new).join("\n");
    assert!(!all.contains("hunter"), "{all}");
    for word in [
        "pg://app:(hidden)@db/app",
        "SEED_PASSWORD=(hidden)",
        "PLAIN=x",
    ] {
        assert!(all.contains(word), "{word} in {all}");
    }
}
