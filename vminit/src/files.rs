//! Small files of the service: `/etc/hosts` and its like, configs, secrets.
//! They live on a tmpfs and are shown in the root one by one.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use stack_protocol::config::VmConfig;

use crate::rootfs::bind;
use crate::within::Root;

const HELD: &str = "/run/files";

/// Writes and shows them all.
pub(crate) fn make(config: &VmConfig, root: &Root) -> io::Result<()> {
    let held = Path::new(HELD);
    fs::create_dir_all(held)?;
    for (n, (target, text)) in own(config).into_iter().enumerate() {
        // A mount or a config of the stack file goes first.
        let taken = config.mounts.iter().any(|mount| mount.target == target)
            || config.files.iter().any(|file| file.path == target);
        if taken {
            continue;
        }
        let file = held.join(format!("own{n}"));
        fs::write(&file, &text)?;
        fs::write(made(held, n), text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        show(&file, target, root, false)?;
    }
    for (n, wanted) in config.files.iter().enumerate() {
        let file = held.join(n.to_string());
        fs::write(&file, &wanted.content)?;
        chown(&file, Some(wanted.uid), Some(wanted.gid))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(wanted.mode))?;
        show(&file, &wanted.path, root, true)?;
    }
    mount_table(root);
    Ok(())
}

/// As Docker does, for programs that look for `/etc/mtab` (getmntent(3)). One that the
/// image has stays.
fn mount_table(root: &Root) {
    if let Ok(etc) = root.directory("/etc") {
        let _ = symlink("/proc/mounts", etc.path().join("mtab"));
    }
}

/// The text that a file was made with, whatever the service has written to it.
fn made(held: &Path, n: usize) -> PathBuf {
    held.join(format!("own{n}.made"))
}

/// Writes those of the service's own files again that are shown and become other ones,
/// in place: the service sees the new text in the files it has. What it has
/// written to the others stays.
pub(crate) fn remake(config: &VmConfig) -> io::Result<()> {
    remake_in(Path::new(HELD), config)
}

fn remake_in(held: &Path, config: &VmConfig) -> io::Result<()> {
    for (n, (target, text)) in own(config).into_iter().enumerate() {
        let (file, made) = (held.join(format!("own{n}")), made(held, n));
        if file.exists() && !fs::read(&made).is_ok_and(|before| before == text.as_bytes()) {
            fs::write(&file, &text)
                .and_then(|()| fs::write(&made, &text))
                .map_err(|error| io::Error::other(format!("{target}: {error}")))?;
        }
    }
    Ok(())
}

fn own(config: &VmConfig) -> [(&'static str, String); 3] {
    [
        ("/etc/hosts", hosts(config)),
        ("/etc/hostname", format!("{}\n", config.hostname)),
        ("/etc/resolv.conf", resolv_conf(config)),
    ]
}

fn show(file: &Path, target: &str, root: &Root, read_only: bool) -> io::Result<()> {
    root.file(target)
        .and_then(|target| bind(file, &target.path(), read_only))
        .map_err(|error| io::Error::other(format!("{target}: {error}")))
}

fn hosts(config: &VmConfig) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
    let first = config.interfaces.first();
    let mut names = config.hostname.clone();
    if !config.domainname.is_empty() {
        names = format!("{}.{} {names}", config.hostname, config.domainname);
    }
    if let Some((address, _)) = first.and_then(|interface| interface.ipv4) {
        let _ = writeln!(text, "{address}\t{names}");
    }
    if let Some((address, _)) = first.and_then(|interface| interface.ipv6) {
        let _ = writeln!(text, "{address}\t{names}");
    }
    for (address, name) in &config.hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// Empty without name servers: those that an image names cannot be reached
/// then, and the service may join a network later.
pub(crate) fn resolv_conf(config: &VmConfig) -> String {
    let mut text = String::new();
    if config.nameservers.is_empty() {
        return text;
    }
    for server in &config.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, values) in [
        ("search", &config.search),
        ("options", &config.resolver_options),
    ] {
        if !values.is_empty() {
            let _ = writeln!(text, "{keyword} {}", values.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_text_replaces_what_the_service_wrote() {
        let held = std::env::temp_dir().join(format!("stack-files-{}", std::process::id()));
        fs::create_dir_all(&held).unwrap();
        let mut config = VmConfig {
            hostname: "web".to_owned(),
            ..VmConfig::default()
        };
        for (n, (_, text)) in own(&config).into_iter().enumerate() {
            fs::write(held.join(format!("own{n}")), &text).unwrap();
            fs::write(made(&held, n), text).unwrap();
        }
        let hosts = held.join("own0");
        let written = b"10.0.0.1 peer # \xe9\n";
        fs::write(&hosts, written).unwrap();
        remake_in(&held, &config).unwrap();
        assert_eq!(fs::read(&hosts).unwrap(), written);
        config.hosts = vec![("10.0.0.2".to_owned(), "db".to_owned())];
        remake_in(&held, &config).unwrap();
        let text = fs::read_to_string(&hosts).unwrap();
        assert!(text.ends_with("10.0.0.2\tdb\n"), "{text}");
        fs::remove_dir_all(&held).unwrap();
    }
}
