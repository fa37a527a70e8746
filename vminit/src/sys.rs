//! System calls that have no safe wrapper.
#![expect(
    unsafe_code,
    reason = "thin wrappers over system calls, each with its argument"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// clone(2) as fork(2) with namespaces: `None` in the child.
pub(crate) fn fork(namespaces: i32) -> io::Result<Option<i32>> {
    let flags = i64::from(namespaces | libc::SIGCHLD);
    // SAFETY: this process has one thread, so the child may do anything; no
    // stack is given, so both go on from here.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

/// Ends the child without running anything else.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any value and does not return.
    unsafe { libc::_exit(code) }
}

/// waitpid(2) for any child that has ended: its id and wait status.
pub(crate) fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the second argument is an int to write to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// kill(2); a process that is gone already is no error.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: numbers only.
    unsafe { libc::kill(pid, signal) };
}

/// `struct fuse_changed` of `kernel/patches/0003-fuse-tell-watchers-of-changes.patch`
#[repr(C)]
struct FuseChanged {
    mask: u32,
    path: [u8; 4092],
}

/// Has the kernel look a path below `dir` up anew, and tell watchers what has
/// happened there (`IN_*` of inotify(7)). `false`: it cannot.
pub(crate) fn changed(dir: BorrowedFd<'_>, mask: u32, path: &[u8]) -> bool {
    let mut wanted = FuseChanged {
        mask,
        path: [0; 4092],
    };
    // The last byte stays NUL.
    let Some(room) = wanted.path[..4091].get_mut(..path.len()) else {
        return false;
    };
    room.copy_from_slice(path);
    let request = nix::request_code_write!(229, 64, size_of::<FuseChanged>());
    // SAFETY: the kernel reads as many bytes as the request's number says.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, &raw const wanted) };
    let error = io::Error::last_os_error().raw_os_error();
    // Whatever else it says, it has looked.
    done == 0 || !matches!(error, Some(libc::ENOTTY | libc::ENOSYS | libc::EXDEV))
}

/// Blocks every signal in this process.
pub(crate) fn block_all_signals() -> io::Result<()> {
    // SAFETY: the set is made before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
    }
    Ok(())
}

/// Waits for the next of all signals, which must be blocked.
pub(crate) fn next_signal() -> io::Result<i32> {
    // SAFETY: the set is made before it is used; no siginfo is asked for.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        check(libc::sigwaitinfo(&raw const set, std::ptr::null_mut()))
    }
}

/// Makes this process lead a group of its own, with a terminal the one in
/// the foreground. SIGTTOU must be blocked.
pub(crate) fn lead_foreground(terminal: bool) {
    // SAFETY: numbers only.
    unsafe {
        libc::setpgid(0, 0);
        if terminal {
            libc::tcsetpgrp(0, libc::getpgrp());
        }
    }
}

/// close_range(2): everything from 3 up.
pub(crate) fn close_all_but_standard() {
    // SAFETY: the caller holds no descriptor that it uses again.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}

/// Empties a signalfd(2).
pub(crate) fn drain_signals(fd: &OwnedFd) {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>() * 8];
    while matches!(nix::unistd::read(fd, &mut buffer), Ok(read) if read > 0) {}
}

/// RNDADDENTROPY and RNDRESEEDCRNG (random(4)): mixes bytes in, credits
/// them, and draws on them from now on.
pub(crate) fn add_entropy(bytes: &[u8]) -> io::Result<()> {
    let file = File::options().write(true).open("/dev/urandom")?;
    let mut buffer = Vec::with_capacity(8 + bytes.len());
    buffer.extend_from_slice(&((bytes.len() * 8) as i32).to_ne_bytes());
    buffer.extend_from_slice(&(bytes.len() as i32).to_ne_bytes());
    buffer.extend_from_slice(bytes);
    const RNDADDENTROPY: u64 = 0x4008_5203;
    // SAFETY: the buffer is a struct rand_pool_info: two ints and as many
    // bytes as the second says.
    check(unsafe { libc::ioctl(file.as_raw_fd(), RNDADDENTROPY as _, buffer.as_ptr()) })?;
    const RNDRESEEDCRNG: u64 = 0x5207;
    // SAFETY: it takes no argument.
    check(unsafe { libc::ioctl(file.as_raw_fd(), RNDRESEEDCRNG as _) })?;
    Ok(())
}

/// Makes the terminal the controlling one of this session.
pub(crate) fn control_terminal(fd: RawFd) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an int.
    check(unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) })?;
    Ok(())
}

/// TIOCSWINSZ.
pub(crate) fn set_size(fd: RawFd, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the argument is a struct winsize.
    unsafe { libc::ioctl(fd, libc::TIOCSWINSZ as _, &raw const size) };
}

/// prctl(2) with integers.
pub(crate) fn prctl(option: i32, argument: u64) -> io::Result<()> {
    // SAFETY: only options that take integers are used.
    check(unsafe { libc::prctl(option, argument, 0, 0, 0) })?;
    Ok(())
}

/// capset(2): these and no other capabilities.
pub(crate) fn capset(mask: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header(u32, i32);
    #[repr(C)]
    struct Data(u32, u32, u32);
    let header = Header(0x2008_0522, 0);
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    let data = [Data(low, low, 0), Data(high, high, 0)];
    // SAFETY: version 3 of the header goes with two data elements.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(result as i32)?;
    Ok(())
}

/// prctl(2), `PR_SET_SECCOMP`: from now on the program judges each system call
/// of this thread and its children.
pub(crate) fn filter_calls(program: &[u8]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until it returns.
    check(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    })?;
    Ok(())
}

/// setrlimit(2) by number.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the argument is a struct rlimit.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) })?;
    Ok(())
}

/// dup2(2).
pub(crate) fn dup_to(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: numbers only; `to` is 0, 1 or 2.
    check(unsafe { libc::dup2(from, to) })?;
    Ok(())
}

/// close_range(2): everything from 3 up closes at execve.
pub(crate) fn close_others_on_exec() {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: sets a flag on descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// signalfd(2) for SIGCHLD, which must be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is made before it is used; the descriptor is new.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let fd = check(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Gives the child a clean signal state: nothing blocked, defaults.
pub(crate) fn reset_signals() {
    // SAFETY: only this process's own dispositions change.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// An ioctl on a struct ifreq.
pub(crate) fn if_ioctl(
    socket: RawFd,
    request: libc::Ioctl,
    ifreq: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: the argument is a struct ifreq, as these requests want.
    check(unsafe { libc::ioctl(socket, request, &raw mut *ifreq) })?;
    Ok(())
}

/// SIOCADDRT.
pub(crate) fn add_route(socket: RawFd, route: &mut libc::rtentry) -> io::Result<()> {
    // SAFETY: the argument is a struct rtentry.
    check(unsafe { libc::ioctl(socket, libc::SIOCADDRT as _, &raw mut *route) })?;
    Ok(())
}

/// SIOCDELRT.
pub(crate) fn remove_route(socket: RawFd, route: &mut libc::rtentry) -> io::Result<()> {
    // SAFETY: the argument is a struct rtentry.
    check(unsafe { libc::ioctl(socket, libc::SIOCDELRT as _, &raw mut *route) })?;
    Ok(())
}

/// The answer to SIOCGIFINDEX.
pub(crate) fn interface_index(ifreq: &libc::ifreq) -> i32 {
    // SAFETY: the request wrote this member; any bits are an int.
    unsafe { ifreq.ifr_ifru.ifru_ifindex }
}

/// SIOCSIFADDR on an IPv6 socket.
pub(crate) fn add_address6(
    socket: RawFd,
    index: i32,
    address: [u8; 16],
    prefix: u8,
) -> io::Result<()> {
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr { s6_addr: address },
        ifr6_prefixlen: u32::from(prefix),
        ifr6_ifindex: index,
    };
    // SAFETY: the argument is a struct in6_ifreq.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFADDR as _, &raw const request) })?;
    Ok(())
}

/// SIOCADDRT or SIOCDELRT on an IPv6 socket: the default route.
pub(crate) fn default_route6(
    socket: RawFd,
    index: i32,
    gateway: [u8; 16],
    add: bool,
) -> io::Result<()> {
    /// struct in6_rtmsg (linux/ipv6_route.h).
    #[repr(C)]
    #[derive(Default)]
    struct Route {
        destination: [u8; 16],
        source: [u8; 16],
        gateway: [u8; 16],
        kind: u32,
        destination_length: u16,
        source_length: u16,
        metric: u32,
        info: libc::c_ulong,
        flags: u32,
        index: libc::c_int,
    }
    let flags = u32::from(libc::RTF_UP | libc::RTF_GATEWAY);
    let route = Route {
        gateway,
        metric: 1,
        flags,
        index,
        ..Route::default()
    };
    let request = if add {
        libc::SIOCADDRT
    } else {
        libc::SIOCDELRT
    };
    // SAFETY: the argument is a struct in6_rtmsg.
    check(unsafe { libc::ioctl(socket, request as _, &raw const route) })?;
    Ok(())
}

/// A zeroed plain C structure.
pub(crate) fn zeroed_ifreq() -> libc::ifreq {
    // SAFETY: all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

/// A zeroed plain C structure.
pub(crate) fn zeroed_route() -> libc::rtentry {
    // SAFETY: all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}
