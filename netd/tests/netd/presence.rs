//! Machines that end while nobody tells the daemon.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stack_netd::config::{Config, Endpoint, Protocol};

use crate::kit::{Daemon, PATIENCE, config, publish};

/// Where a process that plays a VMM finds its endpoint.
const VARIABLE: &str = "NETD_TEST_VMM";

/// Not a test of its own: the process of a machine that says one thing.
#[test]
fn a_machine_of_another_process() {
    let Ok(endpoint) = std::env::var(VARIABLE) else {
        return;
    };
    let endpoint: Endpoint = serde_json::from_str(&endpoint).unwrap();
    let socket = UnixDatagram::bind(&endpoint.peer).unwrap();
    socket.send_to(&[0xff; 60], &endpoint.local).unwrap();
    println!("said");
    std::thread::sleep(2 * PATIENCE);
}

fn machine(endpoint: &Endpoint) -> Child {
    let _ = std::fs::remove_file(&endpoint.peer);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "presence::a_machine_of_another_process"])
        .arg("--nocapture")
        .env(VARIABLE, serde_json::to_string(endpoint).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("said")));
    child
}

/// Returns when the daemon has read what was said before: it takes a machine that ended
/// first for one that never came. The second answer comes after that.
fn has_read(daemon: &Daemon, config: &Config) {
    daemon.apply(config);
    daemon.apply(config);
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listens(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

fn one_port(daemon: &Daemon) -> Config {
    let mut config = config(&[&daemon.network(77, &["a"])]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    config
}

#[test]
fn a_listener_ends_with_its_machine_and_comes_back_with_it() {
    let daemon = Daemon::start();
    let config = one_port(&daemon);
    let endpoint = &config.networks[0].endpoints[0];
    let at = daemon.apply(&config)[0].1[0];
    // The port is there before the machine is.
    assert!(listens(at));
    let mut child = machine(endpoint);
    has_read(&daemon, &config);
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("it still listens", || !listens(at));
    // Who was connected is told.
    let told = client.read(&mut [0]);
    assert!(matches!(&told, Ok(0)) || told.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    // The same configuration does not bring it back, the machine does, and
    // the port that was chosen is the same.
    assert_eq!(daemon.apply(&config)[0].1, [at]);
    assert!(!listens(at));
    let mut child = machine(endpoint);
    eventually("it does not come back", || listens(at));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("it still listens", || !listens(at));
    // Nor does it stay away when somebody else had taken the port meanwhile:
    // what the daemon chose itself may be another one then.
    let taken = TcpListener::bind(at).unwrap();
    let mut child = machine(endpoint);
    drop(taken);
    eventually("it does not come back at all", || {
        let at = daemon.apply(&config)[0].1.first().copied();
        at.is_some_and(listens)
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_machine_said_before_its_end_does_not_bring_it_back() {
    let daemon = Daemon::start();
    let config = one_port(&daemon);
    let endpoint = &config.networks[0].endpoints[0];
    let at = daemon.apply(&config)[0].1[0];
    let end = |mut child: Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let first = machine(endpoint);
    has_read(&daemon, &config);
    end(first);
    eventually("it still listens", || !listens(at));
    // Both happen while the daemon does not look.
    let pid = rustix::process::Pid::from_child(&daemon.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    end(machine(endpoint));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    has_read(&daemon, &config);
    assert!(!listens(at));
}

#[test]
fn a_new_daemon_serves_no_machine_that_has_ended() {
    let mut daemon = Daemon::start();
    let config = one_port(&daemon);
    let at = daemon.apply(&config)[0].1[0];
    let mut child = machine(&config.networks[0].endpoints[0]);
    daemon.child.kill().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    daemon.restart();
    eventually("it still listens", || !listens(at));
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_ends_is_a_machine_that_ended() {
    use crate::vhost_card::Options;

    let daemon = Daemon::start();
    let network = crate::vhost::network(&daemon, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let at = daemon.apply(&config)[0].1[0];
    assert!(listens(at));
    drop(crate::vhost::card(&network, 0, Options::default()));
    eventually("it still listens", || !listens(at));
    let _again = crate::vhost::card(&network, 0, Options::default());
    eventually("it does not come back", || listens(at));
}
