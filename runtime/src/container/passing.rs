//! What is there only while a container runs: what is copied to it when it does not would
//! be gone with the machine that is started for the copy.

use stack_api::event::ApiError;
use stack_protocol::config::{MountSource, VmConfig};

/// Nothing can be written to (or read from) this path while the container does not run.
///
/// # Errors
/// That is so, and why.
pub(crate) fn check(config: &VmConfig, path: &str, writes: bool) -> Result<(), ApiError> {
    let wanted = clean(path);
    let refused = |what: &str| {
        let message = format!("{path} is {what}: it is there only while the container runs");
        Err(ApiError::new("not_running", message).help("start it first"))
    };
    if writes && config.files.iter().any(|file| clean(&file.path) == wanted) {
        return refused("a config or a secret");
    }
    // The innermost mount has it.
    let within = |target: &str| wanted.starts_with(&clean(target));
    let mounts = config.mounts.iter().filter(|mount| within(&mount.target));
    match mounts.max_by_key(|mount| clean(&mount.target).len()) {
        Some(mount) => match &mount.source {
            MountSource::Tmpfs { .. } if writes => refused("in memory (tmpfs)"),
            MountSource::Nfs { .. } => refused("on an NFS server"),
            MountSource::Socket { .. } if writes => refused("a socket"),
            MountSource::Image { .. } if writes => {
                refused("another image's, which cannot be written")
            }
            MountSource::Tmpfs { .. }
            | MountSource::Image { .. }
            | MountSource::Socket { .. }
            | MountSource::Disk { .. }
            | MountSource::Share { .. } => Ok(()),
        },
        None if writes && ["/dev", "/proc", "/sys"].into_iter().any(within) => refused("in memory"),
        None => Ok(()),
    }
}

/// The parts of a path, without `.` and `..`.
fn clean(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use stack_protocol::config::{File, Mount};

    use super::*;

    #[test]
    fn what_is_not_on_a_disk_is_told() {
        let mount = |target: &str, source| Mount {
            target: target.to_owned(),
            source,
            read_only: false,
            subpath: String::new(),
        };
        let tmpfs = MountSource::Tmpfs {
            size: None,
            mode: None,
            options: Vec::new(),
        };
        let nfs = MountSource::Nfs {
            server: "nas".to_owned(),
            path: "/srv".to_owned(),
            options: Vec::new(),
            copy_image_content: false,
        };
        let disk = MountSource::Disk {
            serial: "v".to_owned(),
            copy_image_content: false,
        };
        let config = VmConfig {
            mounts: vec![
                mount("/run/", tmpfs),
                mount("/run/data", disk),
                mount("/media", nfs),
            ],
            files: vec![File {
                path: "/etc/app.conf".to_owned(),
                content: Vec::new(),
                mode: 0o444,
                uid: 0,
                gid: 0,
            }],
            ..VmConfig::default()
        };
        let fails = |path: &str, writes| check(&config, path, writes).is_err();
        for lost in [
            "/run",
            "/run/x",
            "/x/../run/./y",
            "/dev/shm/z",
            "/etc/app.conf",
            "/media/a",
        ] {
            assert!(fails(lost, true), "{lost}");
        }
        for kept in [
            "/",
            "/running",
            "/run/data",
            "/run/data/x",
            "/etc",
            "/devices",
        ] {
            assert!(!fails(kept, true), "{kept}");
        }
        assert!(fails("/media/a", false) && !fails("/run/x", false));
    }
}
