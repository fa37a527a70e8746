//! `x-stack`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use stack_api::spec::{MachineSpec, SocketSpec};
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

fn loaded(files: &[(&str, &str)]) -> Loaded {
    let source = files
        .iter()
        .fold(MemorySource::new(), |source, (path, text)| {
            source.with(*path, *text)
        });
    let options = LoadOptions::new(vec![files[0].0.into()], PathBuf::from("/x"));
    load(&source, &options)
}

fn machine(loaded: &Loaded, service: &str) -> MachineSpec {
    let spec = loaded.project.as_ref().unwrap().spec().unwrap();
    spec.services[service].machine.clone()
}

const BASE: &str = "\
services:
  web:
    image: web
    x-stack: {machine: {kernel: ./vmlinux, memory: 512m}}
  db: {image: db}
x-stack:
  machine: {vcpus: 2, memory: 1g}
";

#[test]
fn a_service_over_the_whole_file() {
    let base = loaded(&[("/x/stack.yaml", BASE)]);
    let web = MachineSpec {
        kernel: Some("/x/vmlinux".into()),
        vcpus: Some(2),
        memory: Some(512 << 20),
        boot: None,
    };
    assert_eq!(machine(&base, "web"), web);
    let db = MachineSpec {
        vcpus: Some(2),
        memory: Some(1 << 30),
        kernel: None,
        boot: None,
    };
    assert_eq!(machine(&base, "db"), db);
}

#[test]
fn sockets_of_the_host() {
    let base = "services:\n  web:\n    image: web\n    x-stack:\n      sockets:\n        \"80\": ./web.sock\n        /run/app.sock: ${DIR:-run}/app.sock\n";
    let base = loaded(&[("/x/stack.yaml", base)]);
    let spec = base.project.as_ref().unwrap().spec().unwrap();
    let sockets = &spec.services["web"].sockets;
    let shown = |socket: &SocketSpec| format!("{} {}", socket.target, socket.path.display());
    let shown: Vec<String> = sockets.iter().map(shown).collect();
    assert_eq!(shown, ["/run/app.sock /x/run/app.sock", "80 /x/web.sock"]);
    let wrong = |sockets: &str, more: &str| {
        let text =
            format!("services: {{web: {{image: web, {more} x-stack: {{sockets: {sockets}}}}}}}\n");
        let loaded = loaded(&[("/x/stack.yaml", &text)]);
        let problems: Vec<_> = loaded
            .all_diagnostics()
            .iter()
            .map(|p| p.message.clone())
            .collect();
        problems.join("; ")
    };
    for (sockets, more, why) in [
        ("{web: ./web.sock}", "", "neither a port of the service"),
        ("{\"0\": ./web.sock}", "", "neither a port of the service"),
        ("{\"80\": ''}", "", "not the path of a socket"),
        ("[./web.sock]", "", "must be a mapping"),
        ("{\"80\": ./a.sock, \"81\": a.sock}", "", "leads elsewhere"),
        ("{\"80\": ./a.sock}", "scale: 2,", "the service has several"),
    ] {
        let said = wrong(sockets, more);
        assert!(said.contains(why), "{sockets}: {said}");
    }
    let long = format!("{{\"80\": ./{}}}", "a".repeat(120));
    assert!(wrong(&long, "").contains("too long"));
}

#[test]
fn an_included_file_keeps_its_own() {
    let outer = "include: [sub/base.yaml]\nservices: {own: {image: own}}\n\
                 x-stack: {machine: {vcpus: 4}}\n";
    let both = loaded(&[("/x/stack.yaml", outer), ("/x/sub/base.yaml", BASE)]);
    assert_eq!(machine(&both, "db").vcpus, Some(2));
    assert_eq!(machine(&both, "own").vcpus, Some(4));
    assert_eq!(machine(&both, "own").memory, None);
    assert_eq!(machine(&both, "web").memory, Some(512 << 20));
    assert_eq!(machine(&both, "web").kernel, Some("/x/sub/vmlinux".into()));
}

#[test]
fn another_machine_is_another_container() {
    let hash = |text: &str, service: &str| {
        let loaded = loaded(&[("/x/stack.yaml", text)]);
        let project = loaded.project.as_ref().unwrap();
        let hash = project.config_hash(service).unwrap();
        assert_eq!(project.spec().unwrap().services[service].config_hash, hash);
        hash
    };
    let other = BASE.replace("vcpus: 2", "vcpus: 3");
    assert_ne!(hash(BASE, "web"), hash(&other, "web"));
    let same = BASE.replace("memory: 1g", "memory: 2g");
    assert_eq!(hash(BASE, "web"), hash(&same, "web"), "its own counts");
    assert_ne!(hash(BASE, "db"), hash(&same, "db"));
}

#[test]
fn what_it_does_not_know_is_an_error() {
    for (line, says) in [
        ("{machin: {}}", "did you mean `machine`?"),
        ("{machine: {vcpu: 1}}", "did you mean `vcpus`?"),
        ("{machine: {vcpus: 0}}", "`0` is not a number from 1 to 64"),
        ("{machine: {vcpus: 1.5}}", "`1.5` is not a number"),
        (
            "{machine: {memory: 64m}}",
            "`64m` is not a size from 128m to 1t",
        ),
        ("{machine: {kernel: \"\"}}", "is not the path of a kernel"),
        ("[machine]", "`x-stack` must be a mapping"),
        ("{machine: big}", "`x-stack.machine` must be a mapping"),
    ] {
        for text in [
            format!("services: {{web: {{image: x, x-stack: {line}}}}}\n"),
            format!("x-stack: {line}\nservices: {{web: {{image: x}}}}\n"),
        ] {
            let loaded = loaded(&[("/x/stack.yaml", &text)]);
            assert!(loaded.project.is_none(), "{text}");
            let found = &loaded.diagnostics[0];
            let all = format!(
                "{} {}",
                found.message,
                found.help.clone().unwrap_or_default()
            );
            assert!(all.contains(says), "{text}: {all}");
            assert!(!found.labels.is_empty(), "{text}");
        }
    }
}

#[test]
fn variables_count_and_a_limit_must_fit() {
    let text = "services: {web: {image: x, mem_limit: 1g, \
                x-stack: {machine: {vcpus: \"${N:-3}\", memory: \"${M:-2g}\"}}}}\n";
    let fits = loaded(&[("/x/stack.yaml", text)]);
    assert_eq!(machine(&fits, "web").vcpus, Some(3));
    let tight = loaded(&[("/x/stack.yaml", &text.replace("2g", "512m"))]);
    let found = tight.project.unwrap().spec().unwrap_err();
    assert_eq!(found[0].code, "E0606");
    assert_eq!(found[0].labels.len(), 2);
}
