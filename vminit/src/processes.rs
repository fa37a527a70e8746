//! The processes of the service, from `/proc`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use stack_protocol::frame::MAX_PAYLOAD;
use stack_protocol::message::ProcessInfo;

use crate::rootfs::ROOT;
use crate::spawn::CGROUP;

/// Processes that are listed at most.
const MOST: usize = 4096;
/// Bytes of a command that are told at most.
const COMMAND: usize = 4 << 10;
/// Bytes of a list as JSON: one frame must hold it, with room to spare.
const LIST: usize = MAX_PAYLOAD / 2;
/// Bytes of `/etc/passwd` that are read at most.
const PASSWD: u64 = 1 << 20;
/// Units of the times in `/proc/PID/stat` per second (`USER_HZ`, 100 on every
/// architecture).
const TICKS: u64 = 100;

/// All processes in the service's control group, by id.
pub(crate) fn list() -> Vec<ProcessInfo> {
    let ids = fs::read_to_string(format!("{CGROUP}/cgroup.procs")).unwrap_or_default();
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: f64 = uptime
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    let users = users();
    let found = ids.lines().take(MOST).filter_map(|id| {
        let dir = format!("/proc/{id}");
        let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
        let status = fs::read_to_string(format!("{dir}/status")).ok()?;
        let arguments = fs::read(format!("{dir}/cmdline")).unwrap_or_default();
        describe(&stat, &status, &arguments, (uptime * 1000.0) as u64, &users)
    });
    let mut list: Vec<ProcessInfo> = found.collect();
    list.sort_by_key(|process| process.pid);
    list.truncate(how_many_fit(&list));
    list
}

/// How many of the list's first ones can be told.
fn how_many_fit(list: &[ProcessInfo]) -> usize {
    let mut room = LIST;
    list.iter()
        .take_while(|process| {
            let bytes = serde_json::to_vec(process).map_or(0, |text| text.len() + 1);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        })
        .count()
}

/// Numbers and names, from the service's own `/etc/passwd`. The image is not
/// trusted: it need not be a file, and must not be waited for.
fn users() -> Vec<(String, String)> {
    let mut text = String::new();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(format!("{ROOT}/etc/passwd"));
    if let Ok(file) = file
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        let _ = file.take(PASSWD).read_to_string(&mut text);
    }
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let number = fields.nth(1)?.to_owned();
        Some((number, name))
    };
    text.lines().filter_map(entry).collect()
}

fn describe(
    stat: &str,
    status: &str,
    arguments: &[u8],
    uptime_ms: u64,
    users: &[(String, String)],
) -> Option<ProcessInfo> {
    // `pid (name) state ppid …`: the name may hold anything.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
    };
    // The last number is the one in the innermost namespace.
    let own = |name: &str| {
        line(name)
            .split_whitespace()
            .last()
            .and_then(|id| id.parse().ok())
            .unwrap_or(0)
    };
    let uid = line("Uid:").split_whitespace().nth(1).unwrap_or("0");
    let user = users.iter().find(|(number, _)| number == uid);
    let parent = fs::read_to_string(format!("/proc/{}/status", number(1))).unwrap_or_default();
    let parent_ids = parent
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default();
    let mut parents = parent_ids.split_whitespace().skip(1);
    Some(ProcessInfo {
        pid: own("NSpid:"),
        ppid: parents.next().and_then(|id| id.parse().ok()).unwrap_or(0),
        user: user.map_or_else(|| uid.to_owned(), |(_, name)| name.clone()),
        cpu_ms: (number(11) + number(12)) * 1000 / TICKS,
        age_ms: uptime_ms.saturating_sub(number(19) * 1000 / TICKS),
        memory_bytes: {
            let kib = line("VmRSS:").split_whitespace().next();
            kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
        },
        state: fields.first()?.chars().next()?,
        command: command(arguments, name),
    })
}

fn command(arguments: &[u8], name: &str) -> String {
    let bytes = &arguments[..arguments.len().min(COMMAND)];
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    let text = words.join(" ");
    match text.trim() {
        "" => format!("[{name}]"),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_fits_into_a_frame() {
        let one = |command: &str| ProcessInfo {
            state: 'S',
            command: command.to_owned(),
            ..ProcessInfo::default()
        };
        let small = vec![one("sleep 1"); 1000];
        assert_eq!(how_many_fit(&small), 1000);
        // Each of them is six bytes as JSON.
        let large = vec![one(&"\u{1}".repeat(COMMAND)); MOST];
        let told = &large[..how_many_fit(&large)];
        assert!(!told.is_empty());
        assert!(serde_json::to_vec(told).unwrap().len() < MAX_PAYLOAD);
    }

    #[test]
    fn fields_of_the_kernels_files() {
        let mut fields = vec!["0"; 40];
        fields[0] = "S";
        fields[11] = "150";
        fields[12] = "50";
        fields[19] = "1000";
        let stat = format!("77 (a) b) {}", fields.join(" "));
        let status = "Uid:\t0\t33\t33\t33\nNSpid:\t77\t5\nVmRSS:\t  12 kB\n";
        let users = [("33".to_owned(), "www".to_owned())];
        let found = describe(&stat, status, b"nginx\0-g\0", 15_000, &users).unwrap();
        assert_eq!(found.pid, 5);
        assert_eq!(found.user, "www");
        assert_eq!(found.cpu_ms, 2000);
        assert_eq!(found.age_ms, 5000);
        assert_eq!(found.memory_bytes, 12 << 10);
        assert_eq!(found.command, "nginx -g");
        assert_eq!(command(b"", "kthread"), "[kthread]");
    }
}
