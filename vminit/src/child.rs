//! Between fork and execve: the process becomes what the OCI runtime spec's
//! `process` says. It runs in the child only.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{self, Gid, Uid};
use stack_protocol::config::Exec;

use crate::{caps, sys, users};

/// Open files of a process for which none are asked: soft, hard.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// Open files of a process at most, whatever its limit says.
const NR_OPEN: &str = "/proc/sys/fs/nr_open";

/// What everybody may do in a network of one's own: listen at any port, and ping. And
/// limits that a container has from a host that somebody has prepared: Elasticsearch
/// does not start below 262,144 maps, and reloaders watch all of `node_modules`.
const SYSCTLS: [(&str, &str); 5] = [
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
    ("vm/max_map_count", "1048576"),
    ("fs/inotify/max_user_watches", "524288"),
    ("fs/inotify/max_user_instances", "1024"),
];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a process could not be started.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Docker's exit code.
    pub code: i32,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::new(128, error.to_string())
    }
}

impl From<nix::Error> for Refusal {
    fn from(error: nix::Error) -> Refusal {
        Refusal::new(128, error.to_string())
    }
}

/// Raises what the kernel grants to a process to the open files that this one
/// is to have. What does not work is told when the limit is set.
pub(crate) fn allow_open_files(exec: &Exec) {
    let granted = fs::read_to_string(NR_OPEN).ok();
    let granted = granted.and_then(|text| text.trim().parse::<u64>().ok());
    let wanted = exec
        .rlimits
        .iter()
        .filter(|(name, ..)| name == "nofile")
        .map(|(_, _, hard)| *hard)
        .max();
    if let (Some(granted), Some(wanted)) = (granted, wanted)
        && wanted > granted
    {
        let _ = fs::write(NR_OPEN, wanted.to_string());
    }
}

/// Makes the service's root `/` of this mount namespace.
pub(crate) fn enter_root(
    root: &str,
    privileged: bool,
    sysctls: &[(String, String)],
) -> Result<(), Refusal> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    std::env::set_current_dir(root)?;
    for dir in ["proc", "sys"] {
        if fs::symlink_metadata(dir)?.is_symlink() {
            return Err(Refusal::new(
                128,
                format!("/{dir} is a symbolic link in the image"),
            ));
        }
    }
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    mount(Some("proc"), "proc", Some("proc"), plain, none)?;
    // As in Docker's containers; a kernel without them does without.
    for (name, value) in SYSCTLS {
        let _ = fs::write(format!("proc/sys/{name}"), value);
    }
    for (name, value) in sysctls {
        let path = format!("proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value)
            .map_err(|error| Refusal::new(128, format!("sysctl {name}={value}: {error}")))?;
    }
    let sys_flags = if privileged {
        plain
    } else {
        plain | MsFlags::MS_RDONLY
    };
    mount(Some("sysfs"), "sys", Some("sysfs"), sys_flags, none)?;
    let _ = mount(
        Some("cgroup2"),
        "sys/fs/cgroup",
        Some("cgroup2"),
        sys_flags,
        none,
    );
    let _ = mount(Some("mqueue"), "dev/mqueue", Some("mqueue"), plain, none);
    if !privileged {
        protect()?;
    }
    unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// OCI runtime spec, `maskedPaths` and `readonlyPaths`, with Docker's lists.
fn protect() -> Result<(), Refusal> {
    let none: Option<&str> = None;
    for path in [
        "kcore",
        "keys",
        "latency_stats",
        "timer_list",
        "sched_debug",
        "sysrq-trigger",
    ] {
        let path = format!("proc/{path}");
        if Path::new(&path).exists() {
            mount(
                Some("dev/null"),
                path.as_str(),
                none,
                MsFlags::MS_BIND,
                none,
            )?;
        }
    }
    for path in ["bus", "fs", "irq", "sys"] {
        let path = format!("proc/{path}");
        if Path::new(&path).exists() {
            mount(
                Some(path.as_str()),
                path.as_str(),
                none,
                MsFlags::MS_BIND,
                none,
            )?;
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, path.as_str(), none, flags, none)?;
        }
    }
    Ok(())
}

/// Standard streams; `terminal`: one that becomes the controlling one.
pub(crate) fn streams(input: RawFd, output: RawFd, error: RawFd, terminal: bool) -> io::Result<()> {
    for (to, from) in [input, output, error].into_iter().enumerate() {
        sys::dup_to(from, to as RawFd)?;
    }
    if terminal {
        sys::control_terminal(0)?;
    }
    Ok(())
}

/// Everything else, and execve. Returns only when it fails.
pub(crate) fn become_process(exec: &Exec) -> Refusal {
    match prepare(exec) {
        Ok((program, args, env)) => {
            let error = unistd::execve(&program, &args, &env).err();
            refused(&exec.args[0], error.unwrap_or(nix::Error::EINVAL))
        }
        Err(refusal) => refusal,
    }
}

type Prepared = (CString, Vec<CString>, Vec<CString>);

fn prepare(exec: &Exec) -> Result<Prepared, Refusal> {
    // Before a filter that may not allow it.
    sys::close_others_on_exec();
    // The kernel's own default is too low for servers (Docker has the same).
    sys::set_limit(libc::RLIMIT_NOFILE, OPEN_FILES.0, OPEN_FILES.1)?;
    for (name, soft, hard) in &exec.rlimits {
        let resource = limit_number(name)
            .ok_or_else(|| Refusal::new(128, format!("unknown limit `{name}`")))?;
        sys::set_limit(resource, *soft, *hard).map_err(|error| {
            let shown = |limit: u64| match limit {
                u64::MAX => "unlimited".to_owned(),
                limit => limit.to_string(),
            };
            let (soft, hard) = (shown(*soft), shown(*hard));
            Refusal::new(128, format!("the limit {name}={soft}:{hard}: {error}"))
        })?;
    }
    if let Some(score) = exec.oom_score_adj {
        fs::write("/proc/self/oom_score_adj", score.to_string())?;
    }
    // As runc: a directory that only root may enter is entered as root, one
    // that root may not (of a network file system) as the user.
    let cwd = if exec.cwd.is_empty() { "/" } else { &exec.cwd };
    let entered = match unistd::chdir(cwd) {
        Err(nix::Error::EACCES | nix::Error::EPERM) => false,
        other => other
            .map(|()| true)
            .map_err(|error| not_entered(cwd, error))?,
    };
    let who = users::look_up(&exec.user, &exec.groups).map_err(|m| Refusal::new(126, m))?;
    let groups: Vec<Gid> = who.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    own_streams(who.uid)?;
    unistd::setgroups(&groups)?;
    unistd::setresgid(
        Gid::from_raw(who.gid),
        Gid::from_raw(who.gid),
        Gid::from_raw(who.gid),
    )?;
    let mask = caps::mask(&exec.capabilities, exec.privileged);
    for capability in (0..caps::COUNT).filter(|n| mask & (1 << n) == 0) {
        sys::prctl(libc::PR_CAPBSET_DROP, u64::from(capability))?;
    }
    // Later there are no more capabilities for it (and runc does it here, so
    // profiles allow what comes after).
    if !exec.no_new_privileges {
        filter(exec)?;
    }
    unistd::setresuid(
        Uid::from_raw(who.uid),
        Uid::from_raw(who.uid),
        Uid::from_raw(who.uid),
    )?;
    if who.uid == 0 {
        sys::capset(mask)?;
    }
    if exec.no_new_privileges {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    }
    if !entered {
        unistd::chdir(cwd).map_err(|error| not_entered(cwd, error))?;
    }
    let env = environment(exec, &who.home);
    let search = env
        .iter()
        .find_map(|e| e.strip_prefix("PATH="))
        .unwrap_or("");
    let program = find(&exec.args, search)?;
    let c = |text: &String| {
        CString::new(text.as_str()).map_err(|_| Refusal::new(128, "a NUL byte in an argument"))
    };
    let args = exec.args.iter().map(c).collect::<Result<_, _>>()?;
    let env = env.iter().map(c).collect::<Result<_, _>>()?;
    let program = c(&program)?;
    if exec.no_new_privileges {
        filter(exec)?;
    }
    Ok((program, args, env))
}

fn not_entered(cwd: &str, error: nix::Error) -> Refusal {
    let why = error.desc().to_lowercase();
    let message = format!("chdir to the working directory \"{cwd}\": {why}");
    Refusal::new(126, message)
}

fn filter(exec: &Exec) -> Result<(), Refusal> {
    if exec.seccomp.is_empty() {
        return Ok(());
    }
    sys::filter_calls(&exec.seccomp)
        .map_err(|error| Refusal::new(128, format!("the seccomp profile: {error}")))
}

/// A user may open what `/dev/stdout` leads to only when it is theirs.
fn own_streams(uid: u32) -> io::Result<()> {
    let null = rustix::fs::makedev(1, 3);
    for fd in [
        io::stdin().as_fd(),
        io::stdout().as_fd(),
        io::stderr().as_fd(),
    ] {
        // That one is everybody's.
        if rustix::fs::fstat(fd)?.st_rdev != null {
            unistd::fchown(fd, Some(Uid::from_raw(uid)), None)?;
        }
    }
    Ok(())
}

fn environment(exec: &Exec, home: &str) -> Vec<String> {
    let mut env = exec.env.clone();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut default = |entry: String| {
        let name = entry
            .split_inclusive('=')
            .next()
            .unwrap_or_default()
            .to_owned();
        if !env.iter().any(|old| old.starts_with(&name)) {
            env.push(entry);
        }
    };
    default(PATH.to_owned());
    default(format!("HOME={home}"));
    default(format!("HOSTNAME={}", hostname.trim()));
    if exec.tty {
        default("TERM=xterm".to_owned());
    }
    env
}

/// The program's path, searched like execvp(3).
fn find(args: &[String], search: &str) -> Result<String, Refusal> {
    let Some(name) = args.first().filter(|name| !name.is_empty()) else {
        return Err(Refusal::new(127, "no command was given"));
    };
    if name.contains('/') {
        let why = match fs::metadata(name) {
            Ok(meta) if meta.is_dir() => "is a directory",
            Ok(_) => return Ok(name.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = format!("exec: \"{name}\": stat {name}: no such file or directory");
                return Err(Refusal::new(127, why));
            }
            Err(_) => "permission denied",
        };
        return Err(Refusal::new(126, format!("exec: \"{name}\": {why}")));
    }
    let mut found_but = None;
    for dir in search.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let path = format!("{dir}/{name}");
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {
                if unistd::access(path.as_str(), unistd::AccessFlags::X_OK).is_ok() {
                    return Ok(path);
                }
                found_but = Some(path);
            }
            _ => {}
        }
    }
    Err(match found_but {
        Some(path) => Refusal::new(126, format!("exec: \"{path}\": permission denied")),
        None => Refusal::new(
            127,
            format!("exec: \"{name}\": executable file not found in $PATH"),
        ),
    })
}

fn refused(name: &str, error: nix::Error) -> Refusal {
    match error {
        // The file is there, what its first line names is not.
        nix::Error::ENOENT => {
            let why = format!("exec: \"{name}\": no such file or directory (its interpreter)");
            Refusal::new(127, why)
        }
        nix::Error::ENOEXEC => Refusal::new(126, format!("exec: \"{name}\": exec format error")),
        error => Refusal::new(
            126,
            format!("exec: \"{name}\": {}", error.desc().to_lowercase()),
        ),
    }
}

fn limit_number(name: &str) -> Option<u32> {
    Some(match name {
        "cpu" => libc::RLIMIT_CPU,
        "fsize" => libc::RLIMIT_FSIZE,
        "data" => libc::RLIMIT_DATA,
        "stack" => libc::RLIMIT_STACK,
        "core" => libc::RLIMIT_CORE,
        "rss" => libc::RLIMIT_RSS,
        "nproc" => libc::RLIMIT_NPROC,
        "nofile" => libc::RLIMIT_NOFILE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "as" => libc::RLIMIT_AS,
        "locks" => libc::RLIMIT_LOCKS,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}
