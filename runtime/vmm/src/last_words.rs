//! What is said of a VM that has ended.

use std::io::Write;
use std::path::Path;

/// Notes why a VM is about to be ended, as the last of what is said of it. A disk that is
/// full has no room for it.
pub fn note_last_word(dir: &Path, why: &str) {
    let log = std::fs::File::options()
        .append(true)
        .open(dir.join("qemu.log"));
    if let Err(error) = log.and_then(|mut log| writeln!(log, "{why}")) {
        tracing::debug!(%error, why, "not noted");
    }
}

/// What QEMU and the kernel say of machines that are well.
const NO_REASONS: [&str; 2] = [
    "No config space access function found",
    "fails to broadcast fake RARP",
];

/// The last line that QEMU or the guest's kernel said, for an error message.
pub fn last_words(dir: &Path) -> String {
    let last = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let is_telling =
            |line: &&str| !line.is_empty() && !NO_REASONS.iter().any(|known| line.contains(known));
        let mut lines = text.lines().map(str::trim).filter(is_telling);
        // Registers and code follow, which tell a user nothing.
        let reason = lines.clone().find(|line| line.contains("internal error"));
        reason.or_else(|| lines.next_back()).map(str::to_owned)
    };
    last("qemu.log")
        .or_else(|| last("console.log"))
        .unwrap_or_else(|| "it said nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_healthy_machines_say_is_no_reason() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(last_words(dir.path()), "it said nothing");
        write(
            "qemu.log",
            "Vhost user backend fails to broadcast fake RARP\n",
        );
        write(
            "console.log",
            "[    0.18] PCI: Fatal: No config space access function found\n",
        );
        assert_eq!(last_words(dir.path()), "it said nothing");
        write(
            "console.log",
            "[    0.18] PCI: Fatal: No config space access function found\n[    0.3] Kernel panic\n",
        );
        assert_eq!(last_words(dir.path()), "[    0.3] Kernel panic");
        note_last_word(dir.path(), "its file server has ended");
        assert_eq!(last_words(dir.path()), "its file server has ended");
        write("qemu.log", "KVM internal error. Suberror: 1\nRAX=0\n");
        assert_eq!(last_words(dir.path()), "KVM internal error. Suberror: 1");
    }
}
