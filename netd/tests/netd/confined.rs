//! What a daemon that somebody took over could not do.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use crate::kit::{Daemon, config};

/// What the child process is asked to try.
const TRY: &str = "NETD_TEST_TRY";

/// Not a test of its own: the process in which the others try things.
#[test]
#[ignore = "run by the others"]
fn child() {
    let Ok(what) = std::env::var(TRY) else {
        return;
    };
    stack_netd::confine().unwrap();
    let refused = match what.as_str() {
        "nothing" => return,
        "program" => Command::new("/bin/true").status().map(drop),
        "directory" => std::fs::create_dir("/tmp/netd-confined"),
        "raw socket" => {
            let (domain, kind) = (socket2::Domain::PACKET, socket2::Type::RAW);
            socket2::Socket::new(domain, kind, None).map(drop)
        }
        "thread" => std::thread::Builder::new().spawn(|| {}).map(drop),
        other => panic!("{other}"),
    };
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

fn attempt(what: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "confined::child",
            "--ignored",
            "--test-threads=1",
        ])
        .env(TRY, what)
        .output()
        .unwrap()
        .status
}

#[test]
fn new_programs_and_threads_are_the_end() {
    for what in ["program", "thread"] {
        assert_eq!(attempt(what).signal(), Some(libc::SIGSYS), "{what}");
    }
}

#[test]
fn what_is_not_needed_fails() {
    for what in ["nothing", "directory", "raw socket"] {
        assert_eq!(attempt(what).code(), Some(0), "{what}");
    }
}

#[test]
fn the_daemon_is_confined() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let status = format!("/proc/{}/status", daemon.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:")),
        ("1".into(), "2".into())
    );
    // Ports under 1024, and who has a port (linux/capability.h).
    let may = 1 << 10 | 1 << 19;
    let permitted = u64::from_str_radix(&field("CapPrm:"), 16).unwrap();
    assert_eq!(permitted & !may, 0);
}
