//! Volumes of an NFS server: `driver_opts: {type: nfs, o: "addr=…", device: ":/…"}`

use super::{text, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

/// A directory of a server.
#[derive(Debug)]
pub(super) struct Export {
    /// Host name or address.
    pub server: String,
    /// Absolute path there.
    pub path: String,
    /// Options of nfs(5) and mount(8) for the guest's kernel.
    pub options: Vec<String>,
}

/// The `type` is NFS.
pub(super) fn is(kind: &str) -> bool {
    matches!(kind, "nfs" | "nfs4")
}

/// What is wrong with an entry of `driver_opts`: its key, why, and what to do.
#[derive(Debug)]
pub(super) struct Wrong(&'static str, String, &'static str);

/// Options of nfs(5) with a number.
const NUMBERS: [&str; 14] = [
    "acdirmax",
    "acdirmin",
    "acregmax",
    "acregmin",
    "actimeo",
    "max_connect",
    "mountport",
    "namlen",
    "nconnect",
    "port",
    "retrans",
    "rsize",
    "timeo",
    "wsize",
];

/// Options without a value, of nfs(5) and mount(8).
const FLAGS: [&str; 33] = [
    "ac",
    "acl",
    "async",
    "atime",
    "cto",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "hard",
    "lock",
    "noac",
    "noacl",
    "noatime",
    "nocto",
    "nodev",
    "nodiratime",
    "noexec",
    "nolock",
    "norelatime",
    "nordirplus",
    "noresvport",
    "nosharecache",
    "nosuid",
    "rdirplus",
    "relatime",
    "resvport",
    "sharecache",
    "soft",
    "softerr",
    "softreval",
    "suid",
    "sync",
];

/// Of mount.nfs(8) and fstab(5), for programs that there are none of here.
const NO_EFFECT: [&str; 18] = [
    "_netdev",
    "auto",
    "bg",
    "defaults",
    "fg",
    "intr",
    "migration",
    "noauto",
    "nofail",
    "nofsc",
    "nointr",
    "nomigration",
    "nosoftreval",
    "nouser",
    "ro",
    "rw",
    "tcp",
    "user",
];

/// Takes `type`, `device` and `o` apart.
pub(super) fn export(kind: &str, device: &str, options: &str) -> Result<Export, Wrong> {
    let (host, path) = match device.strip_prefix('[').and_then(|d| d.split_once("]:")) {
        Some(ipv6) => ipv6,
        None => device.split_once(':').unwrap_or(("", device)),
    };
    if !path.starts_with('/') {
        let help = "write `:/path/on/the/server`, and the server as `addr=` in `o`";
        return Err(Wrong(
            "device",
            format!("`{device}` has no absolute path"),
            help,
        ));
    }
    let mut server = host.to_owned();
    let mut kept = Vec::new();
    let mut version = (kind == "nfs4").then(|| "4".to_owned());
    for option in options.split(',').map(str::trim).filter(|o| !o.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = |why: &str, help| Err(Wrong("o", format!("`{option}` {why}"), help));
        match name {
            "addr" | "mounthost" | "mountaddr" if !value.is_empty() => {
                if name == "addr" || server.is_empty() {
                    value.clone_into(&mut server);
                }
            }
            "vers" | "nfsvers" => match value {
                "3" | "4" | "4.0" | "4.1" | "4.2" => version = Some(value.to_owned()),
                _ => {
                    return wrong(
                        "is no version of NFS that there is",
                        "3, 4, 4.0, 4.1 or 4.2",
                    );
                }
            },
            "minorversion" => version = Some(format!("4.{value}")),
            "proto" | "mountproto" => match value {
                "tcp" | "tcp6" => {}
                _ => {
                    return wrong(
                        "is not possible",
                        "the guest's kernel has NFS over TCP only",
                    );
                }
            },
            "udp" | "rdma" => {
                return wrong(
                    "is not possible",
                    "the guest's kernel has NFS over TCP only",
                );
            }
            "sec" if value != "sys" && value != "none" => {
                return wrong(
                    "is not possible",
                    "without Kerberos there are `sec=sys` and `sec=none`",
                );
            }
            "sec" | "lookupcache" | "local_lock" | "write" => kept.push(option.to_owned()),
            "clientaddr" | "mountvers" | "retry" => {}
            "fsc" => {
                return wrong(
                    "is not possible",
                    "the guest has no cache of files on a disk",
                );
            }
            _ if NUMBERS.contains(&name) && value.parse::<u32>().is_ok() => {
                kept.push(option.to_owned());
            }
            _ if FLAGS.contains(&option) => kept.push(option.to_owned()),
            _ if NO_EFFECT.contains(&option) => {}
            _ => return wrong("is no option of NFS", "they are in nfs(5)"),
        }
    }
    if server.is_empty() {
        let help = "write `addr=` with its name or address into `o`";
        return Err(Wrong("o", "the NFS server is not named".to_owned(), help));
    }
    kept.extend(version.map(|version| format!("vers={version}")));
    Ok(Export {
        server,
        path: path.to_owned(),
        options: kept,
    })
}

/// Reports what is wrong with a volume whose `type` is NFS.
pub(super) fn check(volume: &Node, report: &mut Report) {
    let Some(options) = volume.get("driver_opts") else {
        return;
    };
    let Some(kind) = options.get("type") else {
        return;
    };
    for (option, value) in super::entries(Some(options)) {
        if !["type", "device", "o"].contains(&option.as_str()) {
            unusable(
                value,
                &format!("is for `{option}`, which a volume of NFS does not have"),
                report,
            );
        }
    }
    let part = |key| text(options, key).unwrap_or_default();
    let Err(Wrong(key, why, help)) = export(&part("type"), &part("device"), &part("o")) else {
        return;
    };
    let at = options.get(key).unwrap_or(kind);
    report.push(
        Problem::error(codes::UNUSABLE_VALUE, why)
            .at(at.place(), "cannot be used")
            .help(help),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_takes_is_taken() {
        let made = export(
            "nfs",
            ":/srv/data",
            "addr=10.0.0.1,rw,nfsvers=4.1,soft,timeo=30",
        )
        .unwrap();
        assert_eq!(made.server, "10.0.0.1");
        assert_eq!(made.path, "/srv/data");
        assert_eq!(made.options, ["soft", "timeo=30", "vers=4.1"]);
        let made = export("nfs4", "nas.lan:/", "").unwrap();
        assert_eq!((made.server.as_str(), made.path.as_str()), ("nas.lan", "/"));
        assert_eq!(made.options, ["vers=4"]);
        assert_eq!(export("nfs", "[fd00::1]:/x", "").unwrap().server, "fd00::1");
        // The address counts, the name is for the server's own eyes.
        assert_eq!(
            export("nfs", "nas:/x", "addr=10.0.0.9").unwrap().server,
            "10.0.0.9"
        );
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (device, options, word) in [
            (":/x", "rw", "server"),
            ("/x", "rw", "server"),
            ("nas:x", "addr=a", "absolute"),
            (":/x", "addr=a,udp", "udp"),
            (":/x", "addr=a,sec=krb5", "krb5"),
            (":/x", "addr=a,vers=2", "vers=2"),
            (":/x", "addr=a,sfot", "sfot"),
            (":/x", "addr=a,timeo=soon", "timeo"),
        ] {
            let Wrong(_, why, _) = export("nfs", device, options).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
