//! The file server, for VMs that mount files of the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stack_files::control::{Request, Response, call};
use stack_files::spec::Session;

/// The program: what `make build` makes, or one beside the tests.
fn binary() -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    let dir = exe.parent().and_then(Path::parent).expect("a directory");
    [dir.join("../release/stack-fsd"), dir.join("stack-fsd")]
        .into_iter()
        .find(|path| path.is_file())
        .expect("stack-fsd is missing: make build")
}

/// Opens a VM's file system with the server of this directory, which is
/// started if need be. It ends by itself, after the VMs.
pub(crate) fn open(dir: &Path, session: Session) {
    let control = dir.join("ctl");
    let request = Request::Open(session);
    let begin = Instant::now();
    let mut started = false;
    loop {
        match call(&control, &request) {
            Ok(Response::Done) => return,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(begin.elapsed() < super::harness::LIMIT, "{error}"),
        }
        if !started {
            started = true;
            let child = Command::new(binary())
                .arg("--control")
                .arg(&control)
                .stdin(Stdio::null())
                .spawn()
                .expect("the file server starts");
            std::thread::spawn(move || child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
