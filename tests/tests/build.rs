//! `build` on a real builder VM: from a Dockerfile to a running service, and
//! what happens when something changes or fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use stack_tests::{Home, Project, eventually};

const STACK: &str = r#"services:
  app:
    build:
      context: ./app
      args: {GREETING: hello}
      secrets: [token]
      labels: {org.example.part: app}
      additional_contexts: {more: ./more}
      shm_size: 32m
    command: [sleep, infinity]
    init: true
    stop_grace_period: 0s
    develop:
      watch: [{path: ./app, action: rebuild}]
  worker:
    profiles: [worker]
    image: built-app
    command: [cat, /greeting]
  child:
    profiles: [child]
    build:
      dockerfile_inline: |
        FROM parent
        RUN ip -o addr > /addresses; df -k /dev/shm > /shm
      additional_contexts: {parent: "service:app"}
      network: none
    command: [sh, -c, "cat /greeting /addresses"]
  agent:
    profiles: [agent]
    build:
      dockerfile_inline: |
        FROM debian:12
        RUN --mount=type=ssh perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); connect(S,sockaddr_un($$ENV{SSH_AUTH_SOCK})) or die $$!; syswrite S,pack("NC",1,11); read S,$$a,9; print unpack("H*",$$a),"\n"' > /answer
      ssh: [default]
    command: [cat, /answer]
secrets:
  token: {environment: TOKEN}
"#;

const DOCKERFILE: &str = r#"FROM busybox:1 AS tools
ARG GREETING=none
RUN --mount=type=secret,id=token echo "$GREETING $(md5sum < /run/secrets/token | cut -c 1-4)" > /greeting

FROM busybox:1
COPY --from=tools /greeting /greeting
COPY --from=more extra.txt /extra.txt
COPY . /app
"#;

fn read(project: &Project<'_>, path: &str) -> String {
    project.stack(&["exec", "-T", "app", "cat", path]).ok()
}

fn home() -> Home {
    Home::new().env("STACK_BUILDER_IMAGE", "buildah:1")
}

/// The project, and what writes its files.
fn built(home: &Home) -> (Project<'_>, impl Fn(&str, &str) + use<>) {
    let project = home.project("built", STACK);
    let agent = home.dir().join("agent");
    let project = project
        .env("TOKEN", "secret")
        .env("SSH_AUTH_SOCK", agent.display());
    let dir = project.dir().to_owned();
    let write = move |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("app/Dockerfile", DOCKERFILE);
    write("app/.dockerignore", "*.log\n");
    write("app/a.txt", "one");
    write("app/x.log", "left out");
    write("more/extra.txt", "extra");
    std::os::unix::fs::symlink("/var", project.dir().join("app/place")).unwrap();
    (project, write)
}

#[test]
fn images_are_built_and_built_again() {
    let home = home();
    let (project, write) = built(&home);

    // What is missing is built by `up`.
    project.stack(&["up", "-d"]).ok();
    assert_eq!(read(&project, "/greeting"), "hello 5ebe\n");
    assert_eq!(read(&project, "/extra.txt"), "extra");
    let list = project
        .stack(&["exec", "-T", "app", "ls", "-A", "/app"])
        .ok();
    assert_eq!(list, ".dockerignore\nDockerfile\na.txt\nplace\n");

    // Nothing has changed: the container stays. Nothing is built unasked.
    let before = project.field("app", "ID");
    let again = project.stack(&["up", "-d", "--build"]).says("unchanged");
    assert!(again.stderr.contains("Using cache"), "{again}");
    assert_eq!(project.field("app", "ID"), before);
    write("app/a.txt", "two");
    project.stack(&["up", "-d"]).ok();
    assert_eq!(read(&project, "/app/a.txt"), "one");

    // A link has become a directory, and a file a program.
    let place = project.dir().join("app/place");
    fs::remove_file(&place).unwrap();
    write("app/place/b.txt", "beside");
    let program = fs::Permissions::from_mode(0o751);
    fs::set_permissions(project.dir().join("app/a.txt"), program).unwrap();
    // One file has: what does not depend on it comes from the cache.
    let changed = project.stack(&["up", "-d", "--build"]);
    assert!(changed.stderr.contains("Using cache"), "{changed}");
    changed.ok();
    assert_eq!(read(&project, "/app/a.txt"), "two");
    let look = "test ! -L /app/place && cat /app/place/b.txt && stat -c %a /app/a.txt";
    let seen = project.stack(&["exec", "-T", "app", "sh", "-c", look]).ok();
    assert_eq!(seen, "beside751\n");
    let second = project.field("app", "ID");
    assert_ne!(second, before);

    failures(&project, &write);
    assert_eq!(project.field("app", "ID"), second, "failed builds");
}

#[test]
fn an_image_of_another_service_an_ssh_agent_and_places_of_the_host() {
    let home = home();
    let (project, _) = built(&home);
    // What another service builds is built and not pulled.
    let worker = project.stack(&["run", "--rm", "-T", "worker"]).ok();
    assert_eq!(worker, "hello 5ebe\n");
    // Newer base images do not mean those that are built here.
    project
        .stack(&["--profile", "child", "build", "--pull", "child"])
        .ok();
    // Built from another service's image, without a network.
    let child = project.stack(&["run", "--rm", "-T", "child"]).ok();
    assert!(
        child.contains("hello 5ebe") && child.contains("127.0.0.1"),
        "{child}"
    );
    assert!(!child.contains("eth0"), "{child}");
    ssh_agent(&project, &home.dir().join("agent"));
    elsewhere(&home);
}

/// A context and a cache on this host's loopback.
fn elsewhere(home: &Home) {
    let registry = stack_tests::registry();
    let cache = format!("{}/cache/e2e", registry.split("://").last().unwrap());
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let port = server.server_addr().to_ip().unwrap().port();
    let file = format!(
        "services:\n  fetched:\n    build: {{context: 'http://127.0.0.1:{port}/a.tar.gz'}}\n    \
         command: cat /f\n  cached:\n    build:\n      dockerfile_inline: |\n        \
         FROM busybox:1\n        RUN echo made > /f\n      \
         cache_from: ['type=registry,ref={cache}']\n      \
         cache_to: ['type=registry,ref={cache}']\n    command: cat /f\n"
    );
    let project = home.project("elsewhere", &file);
    project
        .shell("mkdir a; echo 'FROM busybox:1\nCOPY f /f' > a/Dockerfile; echo sent > a/f; tar -czf a.tar.gz -C a .")
        .ok();
    let archive = fs::read(project.dir().join("a.tar.gz")).unwrap();
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            let _ = request.respond(tiny_http::Response::from_data(archive.clone()));
        }
    });
    project.stack(&["build"]).ok();
    for (service, text) in [("fetched", "sent\n"), ("cached", "made\n")] {
        assert_eq!(project.stack(&["run", "--rm", "-T", service]).ok(), text);
    }
    let tags = format!("skopeo list-tags --tls-verify=false docker://{cache}");
    assert!(project.shell(&tags).ok().contains("Tags"));
    // A builder without a cache of its own has it from there.
    let pruned = project.stack(&["system", "prune", "--all", "--force"]);
    pruned.says("build cache").ok();
    project
        .stack(&["build", "cached"])
        .says("Cache pulled from remote")
        .ok();
}

#[test]
fn watch_builds_again() {
    let home = home();
    let (project, write) = built(&home);
    project.stack(&["up", "-d"]).ok();
    watch(&project, &write);
}

fn failures(project: &Project<'_>, write: &impl Fn(&str, &str)) {
    write(
        "app/Dockerfile",
        "FROM busybox:1\n\nRUN echo because; \\\n  exit 3\n",
    );
    project
        .stack(&["up", "-d", "--build"])
        .fails()
        .says("service app: Dockerfile:3:")
        .says("because");

    // Given up in the middle: it ends at once, and the next one works.
    write("app/Dockerfile", "FROM busybox:1\nRUN sleep 1000\n");
    let begun = project.begin(&["build", "app"]);
    std::thread::sleep(std::time::Duration::from_secs(12));
    begun.interrupt();
    assert_ne!(begun.finish(20).code, Some(0));

    fs::remove_file(project.dir().join("app/Dockerfile")).unwrap();
    project
        .stack(&["build", "app"])
        .fails()
        .says("app/Dockerfile cannot be read");
}

/// An agent without keys: five bytes of length, type and their number.
fn ssh_agent(project: &Project<'_>, path: &std::path::Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut question = [0; 5];
            while client.read_exact(&mut question).is_ok() {
                client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
        }
    });
    let answer = project.stack(&["run", "--rm", "-T", "agent"]).ok();
    assert_eq!(answer, "000000050c00000000\n");
}

fn watch(project: &Project<'_>, write: &impl Fn(&str, &str)) {
    let before = project.field("app", "ID");
    // Otherwise it builds first.
    let watching = project.begin(&["watch", "--no-up"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    // A failure leaves the service alone.
    write("app/Dockerfile", "FROM busybox:1\nRUN exit 7\n");
    std::thread::sleep(std::time::Duration::from_secs(15));
    assert_eq!(project.field("app", "ID"), before);
    write("app/a.txt", "watched");
    write("app/Dockerfile", DOCKERFILE);
    eventually("the rebuilt service", 120, || {
        let run = project.stack(&["exec", "-T", "app", "cat", "/app/a.txt"]);
        (run.stdout == "watched").then_some(())
    });
    watching.interrupt();
    let finished = watching.finish(30);
    assert!(finished.stderr.contains("exit status 7"), "{finished}");
}
