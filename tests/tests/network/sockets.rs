//! Sockets of the host that lead to services, and listeners whose daemon was
//! killed before their machine was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use stack_tests::{Home, Project, eventually, free_port};

/// Says the words it hears in capitals, at port 80 and at a socket that a link
/// leads to, and where it hears them from.
const LOUD: &str = r#"
import os, socket, threading
def serve(listener):
    while True:
        client, peer = listener.accept()
        said = b""
        while chunk := client.recv(4096): said += chunk
        client.sendall(said.upper() + b" " + str(peer and peer[0]).encode())
        client.close()
tcp = socket.create_server(("", 80))
os.makedirs("/run/app/x")
os.symlink("/run/app/x", "/run/link")
local = socket.socket(socket.AF_UNIX); local.bind("/run/app/x/loud.sock"); local.listen()
threading.Thread(target=serve, args=(local,), daemon=True).start()
serve(tcp)
"#;

fn file(sockets: &str, networks: &str, port: u16) -> String {
    format!(
        r#"
services:
  loud:
    image: python:3
    init: true
    command: ["python3", "/loud.py"]
    configs: [{{source: loud, target: /loud.py}}]
    healthcheck: {{test: [CMD, test, -S, /run/app/x/loud.sock]}}
    networks: {networks}
    x-stack: {{sockets: {{{sockets}}}}}
  open:
    image: busybox:1
    command: ["httpd", "-f", "-p", "80", "-h", "/etc"]
    init: true
    ports: ["127.0.0.1:{port}:80"]
networks:
  back: {{internal: true}}
  more:
configs:
  loud: {{content: {}}}
"#,
        serde_json::to_string(&LOUD.replace('$', "$$")).unwrap()
    )
}

/// What is answered at a socket.
#[track_caller]
fn ask(path: &Path) -> String {
    finish(UnixStream::connect(path).unwrap(), b"who is there")
}

/// Says the last words, and gives the answer.
#[track_caller]
fn finish(mut stream: UnixStream, words: &[u8]) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(words).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn rewrite(project: &Project<'_>, sockets: &str, port: u16) {
    let file = file(sockets, "[back, more]", port);
    std::fs::write(project.dir().join("stack.yaml"), file).unwrap();
}

#[test]
fn services_are_reached_by_sockets_of_the_host() {
    let home = Home::new();
    let port = free_port();
    let both = r#""80": run/tcp.sock, /run/link/loud.sock: ./run/loud.sock"#;
    let project = home.project("socks", &file(both, "[back]", port));
    project.stack(&["up", "-d", "--wait"]).ok();
    let tcp = project.dir().join("run/tcp.sock");
    let loud = project.dir().join("run/loud.sock");
    for path in [&tcp, &loud] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let gateway = project.stack(&["network", "inspect", "back"]).ok();
    let answer = ask(&tcp);
    let from = answer.strip_prefix("WHO IS THERE ").unwrap();
    assert!(gateway.contains(from), "{answer} of {gateway}");
    // The relay is no user of the service's, and has no address.
    assert_eq!(ask(&loud), "WHO IS THERE ");

    // The running machine takes another network and other sockets; who is
    // connected stays so.
    let id = project.field("loud", "ID");
    let mut open = UnixStream::connect(&loud).unwrap();
    open.write_all(b"still ").unwrap();
    let more = "/run/app/x/loud.sock: ./other.sock, /run/link/loud.sock: ./run/loud.sock";
    rewrite(&project, more, port);
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(finish(open, b"there"), "STILL THERE ");
    assert_eq!(ask(&loud), "WHO IS THERE ");
    rewrite(&project, "/run/app/x/loud.sock: ./other.sock", port);
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(project.field("loud", "ID"), id);
    assert!(!tcp.exists() && !loud.exists());
    let other = project.dir().join("other.sock");
    assert_eq!(ask(&other), "WHO IS THERE ");

    // A file in the way is named, and not touched.
    std::fs::write(project.dir().join("mine"), "mine").unwrap();
    rewrite(&project, "\"80\": ./mine", port);
    let said = project.stack(&["up", "-d", "--wait"]).fails().stderr;
    assert!(
        said.contains("no socket") && said.contains("mine"),
        "{said}"
    );
    assert_eq!(ask(&other), "WHO IS THERE ");
    rewrite(&project, "/run/app/x/loud.sock: ./other.sock", port);
    project.stack(&["up", "-d", "--wait"]).ok();

    // When the daemon is dead and the machines die, nothing listens for them.
    let web = format!("127.0.0.1:{port}");
    TcpStream::connect(&web).unwrap();
    home.kill_all("stackd");
    for vm in home.vms() {
        vm.kill();
    }
    eventually("the end of the listeners", 10, || {
        (TcpStream::connect(&web).is_err() && !other.exists()).then_some(())
    });
    project.stack(&["down"]).ok();
}
