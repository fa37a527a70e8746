//! Counters, from the service's control group and the kernel's own files.

use std::fs;

use stack_protocol::message::Stats;

use crate::spawn::CGROUP;

/// All counters now. What cannot be read is 0.
pub(crate) fn read() -> Stats {
    let cgroup = |file: &str| fs::read_to_string(format!("{CGROUP}/{file}")).unwrap_or_default();
    let number = |text: String| text.trim().parse().unwrap_or(0);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (rx_bytes, tx_bytes) = network(&fs::read_to_string("/proc/net/dev").unwrap_or_default());
    let (read_bytes, write_bytes) =
        disks(&fs::read_to_string("/proc/diskstats").unwrap_or_default());
    let cache = field(&cgroup("memory.stat"), "inactive_file");
    Stats {
        cpu_usec: field(&cgroup("cpu.stat"), "usage_usec"),
        memory_bytes: u64::saturating_sub(number(cgroup("memory.current")), cache),
        memory_total: field(&memory, "MemTotal:") * 1024,
        memory_available: field(&memory, "MemAvailable:") * 1024,
        pids: number(cgroup("pids.current")),
        rx_bytes,
        tx_bytes,
        read_bytes,
        write_bytes,
    }
}

/// `name value` lines.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(found, _)| *found == name)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// `/proc/net/dev`: received and sent bytes of all devices but `lo`.
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for (name, counters) in text.lines().filter_map(|line| line.split_once(':')) {
        let fields: Vec<u64> = counters.split_whitespace().flat_map(str::parse).collect();
        if let (false, Some(rx), Some(tx)) = (name.trim() == "lo", fields.first(), fields.get(8)) {
            sum = (sum.0 + rx, sum.1 + tx);
        }
    }
    sum
}

/// `/proc/diskstats`: bytes read and written by virtio disks (sectors have
/// 512 bytes there, whatever the disk says).
fn disks(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let sectors = |n: usize| {
            fields
                .get(n)
                .and_then(|f| f.parse::<u64>().ok())
                .unwrap_or(0)
        };
        if fields.get(2).is_some_and(|name| name.starts_with("vd")) {
            sum = (sum.0 + sectors(5) * 512, sum.1 + sectors(9) * 512);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernels_files() {
        let text = "usage_usec 1234\nuser_usec 5\n";
        assert_eq!(field(text, "usage_usec"), 1234);
        assert_eq!(field("MemTotal:  1000 kB\nMemFree: 3 kB\n", "MemFree:"), 3);
        let dev = "Inter-| Receive | Transmit\n face |bytes packets\n    \
                   lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  \
                   eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n";
        assert_eq!(network(dev), (100, 200));
        let stats = " 254 0 vda 10 0 8 1 20 0 16 2 0 0 0\n 7 0 loop0 1 1 1 1 1 1 1 1\n";
        assert_eq!(disks(stats), (8 * 512, 16 * 512));
    }
}
