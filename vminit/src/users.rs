//! `user:group` against the image's own `/etc/passwd` and `/etc/group`
//! (Docker's rules; no NSS, which would run the image's code as root).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// Longer files are read up to here.
const LIMIT: u64 = 4 << 20;

/// Who a process runs as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Looks the user up; the image's root must be `/`.
pub(crate) fn look_up(user: &str, extra: &[String]) -> Result<Identity, String> {
    resolve(user, extra, &read("/etc/passwd"), &read("/etc/group"))
}

/// What the image put there: it need not be text, or a file at all.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    if let Ok(file) = file
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        let _ = file.take(LIMIT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resolve(user: &str, extra: &[String], passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entries = || {
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
    };
    let named = entries().find(|f| f.len() >= 6 && f[0] == user);
    let number: Option<u32> = user.parse().ok();
    let entry = named.or_else(|| {
        entries().find(|f| f.len() >= 6 && number.is_some() && f[2].parse().ok() == number)
    });
    let (name, uid, gid, home) = match (&entry, number) {
        (Some(f), _) => {
            let bad = |_| format!("bad line for user {user} in /etc/passwd");
            (
                f[0],
                f[2].parse().map_err(bad)?,
                f[3].parse().map_err(bad)?,
                f[5].to_owned(),
            )
        }
        (None, Some(uid)) => ("", uid, 0, "/".to_owned()),
        (None, None) => {
            return Err(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ));
        }
    };
    let gid = match wanted_group {
        Some(wanted) => group_id(wanted, group)?,
        None => gid,
    };
    let mut groups: Vec<u32> = Vec::new();
    if wanted_group.is_none() && !name.is_empty() {
        let member = |f: &Vec<&str>| f.len() >= 4 && f[3].split(',').any(|m| m == name);
        let of = group
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        groups.extend(of.filter(member).filter_map(|f| f[2].parse::<u32>().ok()));
    }
    for name in extra {
        groups.push(group_id(name, group)?);
    }
    groups.retain(|g| *g != gid);
    groups.insert(0, gid);
    Ok(Identity {
        uid,
        gid,
        groups,
        home: if home.is_empty() {
            "/".to_owned()
        } else {
            home
        },
    })
}

fn group_id(name: &str, group: &str) -> Result<u32, String> {
    let found = group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|f| f.len() >= 3 && f[0] == name)
        .and_then(|f| f[2].parse().ok());
    found
        .or_else(|| name.parse().ok())
        .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:103::/var/lib/postgresql:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nssl:x:104:postgres\npostgres:x:103:\nweb:x:33:\n";

    #[test]
    fn names_numbers_and_groups() {
        let who = |user| resolve(user, &[], PASSWD, GROUP).unwrap();
        assert_eq!(who("").home, "/root");
        let postgres = who("postgres");
        assert_eq!(
            (postgres.uid, postgres.gid, postgres.groups),
            (101, 103, vec![103, 104])
        );
        assert_eq!(who("postgres:web").gid, 33);
        assert_eq!(who("1234").uid, 1234);
        assert_eq!(who("101").home, "/var/lib/postgresql");
        assert!(resolve("nobody", &[], PASSWD, GROUP).is_err());
    }
}
