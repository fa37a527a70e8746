//! Volumes of an NFS server: `driver_opts: {type: nfs, o: "addr=…", device: ":/…"}`

use std::ops::RangeInclusive;

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

/// Options of nfs(5) with a number, and what it may be (`fs/nfs/fs_context.c`).
const NUMBERS: [(&str, RangeInclusive<u32>); 14] = [
    ("acdirmax", 0..=u32::MAX),
    ("acdirmin", 0..=u32::MAX),
    ("acregmax", 0..=u32::MAX),
    ("acregmin", 0..=u32::MAX),
    ("actimeo", 0..=u32::MAX),
    ("max_connect", 1..=16),
    ("mountport", 0..=65535),
    ("namlen", 0..=u32::MAX),
    ("nconnect", 1..=16),
    ("port", 0..=65535),
    ("retrans", 0..=u32::MAX),
    ("rsize", 0..=u32::MAX),
    ("timeo", 1..=u32::MAX),
    ("wsize", 0..=u32::MAX),
];

/// Options of nfs(5) with one of these words.
const WORDS: [(&str, &[&str]); 3] = [
    ("local_lock", &["all", "flock", "posix", "none"]),
    ("lookupcache", &["all", "positive", "pos", "none"]),
    ("write", &["lazy", "eager", "wait"]),
];

/// The option has such a value.
fn has_value(name: &str, value: &str) -> bool {
    let number = |range: &RangeInclusive<u32>| value.parse().is_ok_and(|n| range.contains(&n));
    let fits = |(known, range): &(&str, _)| *known == name && number(range);
    let is_one = |(known, words): &(&str, &[&str])| *known == name && words.contains(&value);
    NUMBERS.iter().any(fits) || WORDS.iter().any(is_one)
}

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
const NO_EFFECT: [&str; 24] = [
    "_netdev",
    "auto",
    "bg",
    "defaults",
    "fg",
    "intr",
    "lazytime",
    "migration",
    "noalignwrite",
    "noauto",
    "nofail",
    "nofsc",
    "nointr",
    "nomigration",
    "nosoftreval",
    "nouser",
    "posix",
    "ro",
    "rw",
    "sloppy",
    "strictatime",
    "tcp",
    "trunkdiscovery",
    "user",
];

/// Why, and what there is.
const IMPOSSIBLE: &str = "is not possible";
const TCP: &str = "the guest's kernel has NFS over TCP only";
const SECURITY: &str = "without Kerberos there are `sec=sys` and `sec=none`";
const CACHE: &str = "the guest has no cache of files on a disk";

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
    let mut minor = None;
    for option in options.split(',').map(str::trim).filter(|o| !o.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = |why: &str, help| Err(Wrong("o", format!("`{option}` {why}"), help));
        match (name, value) {
            ("addr", _) if !value.is_empty() => value.clone_into(&mut server),
            ("mounthost" | "mountaddr", _) if !value.is_empty() => {
                if server.is_empty() {
                    value.clone_into(&mut server);
                }
            }
            ("vers" | "nfsvers", "3" | "4" | "4.0" | "4.1" | "4.2") => {
                version = Some(value.to_owned());
            }
            ("v3" | "v4" | "v4.0" | "v4.1" | "v4.2", "") => version = Some(name[1..].to_owned()),
            ("minorversion", "0" | "1" | "2") => minor = Some(value.to_owned()),
            ("vers" | "nfsvers" | "minorversion", _) => {
                return wrong(
                    "is no version of NFS that there is",
                    "3, 4, 4.0, 4.1 or 4.2",
                );
            }
            // The first is of the request for the first handle alone.
            ("mountproto", "udp") | ("proto" | "mountproto", "tcp" | "tcp6") => {}
            ("proto" | "mountproto" | "udp" | "rdma", _) => return wrong(IMPOSSIBLE, TCP),
            ("sec", "sys" | "none") => kept.push(option.to_owned()),
            ("sec", _) => return wrong(IMPOSSIBLE, SECURITY),
            ("fsc", _) => return wrong(IMPOSSIBLE, CACHE),
            ("clientaddr" | "mountvers" | "retry" | "bsize", _) => {}
            _ if has_value(name, value) || FLAGS.contains(&option) => kept.push(option.to_owned()),
            _ if NO_EFFECT.contains(&option) => {}
            _ => return wrong("is no option of NFS", "they are in nfs(5)"),
        }
    }
    if server.is_empty() {
        let help = "write `addr=` with its name or address into `o`";
        return Err(Wrong("o", "the NFS server is not named".to_owned(), help));
    }
    if let Some(minor) = minor.filter(|_| version.as_deref() != Some("3")) {
        version = Some(format!("4.{minor}"));
    }
    if version.as_deref() == Some("3") {
        // Locks of version 3 need a daemon that the guest does not have.
        kept.retain(|option| option != "lock");
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
        let options = |o: &str| {
            export("nfs", ":/x", &format!("addr=a,{o}"))
                .unwrap()
                .options
        };
        assert_eq!(
            options("minorversion=1,nfsvers=4,proto=tcp,hard,nointr"),
            ["hard", "vers=4.1"]
        );
        assert_eq!(options("v4.2"), ["vers=4.2"]);
        assert_eq!(options("nfsvers=3,lock, ro"), ["vers=3"]);
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
            (":/x", "addr=a,nconnect=17", "nconnect"),
            (":/x", "addr=a,minorversion=3", "minorversion"),
            (":/x", "addr=a,lookupcache=foo", "lookupcache"),
        ] {
            let Wrong(_, why, _) = export("nfs", device, options).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
