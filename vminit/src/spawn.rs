//! Starting a process: the service's own, an exec session's or a probe's.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{pipe2, setsid};
use stack_protocol::config::{Builtin, Exec, VmConfig};

use crate::child::{self, Refusal};
use crate::input::Input;
use crate::process::Process;
use crate::rootfs::ROOT;
use crate::{builtin, init, sys};

/// The control group of the service.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup/service";

/// Where the process is started.
pub(crate) enum Place<'a> {
    /// Namespaces of its own: it is the service.
    New(&'a VmConfig),
    /// The namespaces of the service, which has this process id.
    Beside(i32),
}

struct Streams {
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    theirs: [OwnedFd; 3],
}

/// Forks it. Whether its program runs is what [`Process::started`] says, for
/// looking the program up may take as long as the service's files let it.
pub(crate) fn spawn(exec: &Exec, place: &Place<'_>) -> Result<Process, Refusal> {
    let streams = if exec.tty {
        terminal(exec.size)?
    } else {
        pipes(exec.stdin, !exec.unheard)?
    };
    let (report, reporting) = pipe2(OFlag::O_CLOEXEC)?;
    let entered = match place {
        Place::Beside(pid) => Some(namespace_files(*pid).map_err(|_| Refusal::not_running())?),
        Place::New(_) => None,
    };
    let forked = match &entered {
        None => sys::fork(
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC,
        ),
        // The process id namespace is the only one that is entered by forking.
        Some(files) => {
            let own = File::open("/proc/self/ns/pid")?;
            setns(files[0].as_fd(), CloneFlags::CLONE_NEWPID)?;
            let forked = sys::fork(0);
            if !matches!(forked, Ok(None)) {
                setns(own.as_fd(), CloneFlags::CLONE_NEWPID)?;
            }
            forked
        }
    };
    let Some(pid) = forked.map_err(|error| match error.raw_os_error() {
        // The service, first of its namespace, has gone.
        Some(libc::ENOMEM) if entered.is_some() => Refusal::not_running(),
        _ => error.into(),
    })?
    else {
        let refusal = in_child(exec, place, entered.as_deref(), &streams, &reporting);
        refusal.report(&reporting);
        sys::exit_now(refusal.code);
    };
    drop(reporting);
    drop(streams.theirs);
    for fd in [&streams.input, &streams.outputs[0], &streams.outputs[1]]
        .into_iter()
        .flatten()
    {
        do_not_block(fd)?;
    }
    do_not_block(&report)?;
    let input = Input::new(streams.input, exec.tty);
    Ok(Process::new(
        pid,
        File::from(report),
        input,
        streams.outputs,
    ))
}

fn do_not_block(fd: &OwnedFd) -> Result<(), Refusal> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

fn in_child(
    exec: &Exec,
    place: &Place<'_>,
    entered: Option<&[File]>,
    streams: &Streams,
    reporting: &OwnedFd,
) -> Refusal {
    sys::reset_signals();
    let result = (|| -> Result<(), Refusal> {
        setsid()?;
        // In the service's group it would stand still with it, and in its
        // namespaces the upper layer cannot be seen.
        let outside = exec.builtin.as_ref().is_some_and(Builtin::is_outside);
        if !exec.builtin.as_ref().is_some_and(Builtin::goes_on_frozen) {
            fs::write(format!("{CGROUP}/cgroup.procs"), "0")?;
        }
        match place {
            Place::Beside(_) if outside => {}
            Place::New(config) => {
                nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP)?;
                nix::unistd::sethostname(&config.hostname).map_err(|error| {
                    let name = &config.hostname;
                    Refusal::new(128, format!("the host name {name}: {error}"))
                })?;
                if !config.domainname.is_empty() {
                    fs::write("/proc/sys/kernel/domainname", &config.domainname)?;
                }
                child::allow_open_files(exec);
                child::enter_root(ROOT, config.privileged, &config.sysctls)?;
            }
            Place::Beside(_) => {
                for file in entered.unwrap_or_default().iter().skip(1) {
                    setns(file.as_fd(), CloneFlags::empty())?;
                }
                std::env::set_current_dir("/")?;
            }
        }
        let [input, output, error] = &streams.theirs;
        child::streams(
            input.as_raw_fd(),
            output.as_raw_fd(),
            error.as_raw_fd(),
            exec.tty,
        )?;
        Ok(())
    })();
    if let Err(refusal) = result {
        return refusal;
    }
    if let Some(builtin) = &exec.builtin {
        return builtin::run(builtin, exec);
    }
    match place {
        Place::New(config) if config.init => init::run(exec, reporting),
        Place::New(_) | Place::Beside(_) => child::become_process(exec),
    }
}

/// pid first, then the others in an order that can be entered.
fn namespace_files(pid: i32) -> io::Result<Vec<File>> {
    ["pid", "cgroup", "ipc", "uts", "mnt"]
        .iter()
        .map(|name| File::open(format!("/proc/{pid}/ns/{name}")))
        .collect()
}

fn pipes(input: bool, outputs: bool) -> Result<Streams, Refusal> {
    let output = || -> Result<_, Refusal> {
        if !outputs {
            let null = File::options().write(true).open("/dev/null")?;
            return Ok((None, OwnedFd::from(null)));
        }
        let (r, w) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((Some(r), w))
    };
    let (out_ours, out_theirs) = output()?;
    let (err_ours, err_theirs) = output()?;
    let (in_ours, in_theirs) = if input {
        let (r, w) = pipe2(OFlag::O_CLOEXEC)?;
        (Some(w), r)
    } else {
        (None, OwnedFd::from(File::open("/dev/null")?))
    };
    Ok(Streams {
        input: in_ours,
        outputs: [out_ours, err_ours],
        theirs: [in_theirs, out_theirs, err_theirs],
    })
}

fn terminal(size: Option<(u16, u16)>) -> Result<Streams, Refusal> {
    let pty = nix::pty::openpty(None, None)?;
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let (rows, columns) = size.unwrap_or((24, 80));
    sys::set_size(pty.master.as_raw_fd(), rows, columns);
    let again = |fd: &OwnedFd| fd.try_clone();
    let theirs = [again(&pty.slave)?, again(&pty.slave)?, pty.slave];
    Ok(Streams {
        input: Some(again(&pty.master)?),
        outputs: [Some(pty.master), None],
        theirs,
    })
}

impl Refusal {
    /// There is no service to start it beside.
    pub(crate) fn not_running() -> Refusal {
        Refusal::new(128, "the service is not running")
    }

    /// Tells the agent, from the child.
    pub(crate) fn report(&self, to: &OwnedFd) {
        if let Ok(to) = to.try_clone() {
            let _ = write!(File::from(to), "{} {}", self.code, self.message);
        }
    }

    /// What was reported: nothing, when the program runs.
    pub(crate) fn read(said: &[u8]) -> Result<(), Refusal> {
        if said.is_empty() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(said);
        let (code, message) = said.split_once(' ').unwrap_or(("128", &said));
        Err(Refusal::new(code.parse().unwrap_or(128), message))
    }
}
