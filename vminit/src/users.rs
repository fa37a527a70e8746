//! `user:group` against the image's own `/etc/passwd` and `/etc/group`
//! (Docker's rules; no NSS, which would run the image's code as root).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// Longer files are read up to here.
const LIMIT: u64 = 4 << 20;
/// The highest id that can be asked for (as with runc).
const HIGHEST: i64 = i32::MAX as i64;

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
    // A number is a number, also where somebody has it for a name.
    let number = number(user, "user")?;
    let entry = entries(passwd).find(|entry| match number {
        Some(number) => entry.number(2) == Some(number),
        None => entry.field(0) == user,
    });
    let (name, uid, gid, home) = match (&entry, number) {
        (Some(entry), _) => {
            let id = |n| {
                let bad = || format!("bad line for user {user} in /etc/passwd");
                entry.number(n).ok_or_else(bad)
            };
            // A line may be cut short, as in images that were made by hand.
            let gid = match entry.field(3) {
                "" => 0,
                _ => id(3)?,
            };
            (entry.field(0), id(2)?, gid, entry.field(5).to_owned())
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
        let member = |entry: &Entry<'_>| entry.field(3).split(',').any(|member| member == name);
        let of = entries(group).filter(member);
        groups.extend(of.filter_map(|entry| entry.number(2)));
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
    if let Some(number) = number(name, "group")? {
        return Ok(number);
    }
    entries(group)
        .find(|entry| entry.field(0) == name)
        .and_then(|entry| entry.number(2))
        .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
}

/// A line of `/etc/passwd` or `/etc/group`.
struct Entry<'a>(Vec<&'a str>);

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| Entry(line.split(':').collect()))
}

impl<'a> Entry<'a> {
    /// A field; one that is missing is empty.
    fn field(&self, n: usize) -> &'a str {
        self.0.get(n).copied().unwrap_or_default()
    }

    /// A field that is an id. The largest number is none: for the kernel it
    /// means "as before", which is root.
    fn number(&self, n: usize) -> Option<u32> {
        self.field(n).parse().ok().filter(|id| *id != u32::MAX)
    }
}

/// What was asked for as a number; `None`: it is a name.
fn number(text: &str, what: &str) -> Result<Option<u32>, String> {
    match text.parse::<i64>() {
        Err(_) => Ok(None),
        Ok(id) if (0..=HIGHEST).contains(&id) => Ok(u32::try_from(id).ok()),
        Ok(_) => Err(format!(
            "the {what} {text} is not a number from 0 to {HIGHEST}"
        )),
    }
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

    #[test]
    fn a_number_is_never_a_name_and_never_as_before() {
        let passwd = "7:x:0:0::/root:\nold:x:4294967295:4294967295::/:\nbad:x:one:1::/:\n";
        let who = |user| resolve(user, &["33".to_owned()], passwd, "33:x:0:\n");
        let seven = who("7").unwrap();
        assert_eq!((seven.uid, seven.groups), (7, vec![0, 33]));
        for user in [
            "4294967295",
            "2147483648",
            "-1",
            "0:-1",
            "0:4294967295",
            "old",
            "bad",
        ] {
            assert!(who(user).is_err(), "{user}");
        }
    }

    #[test]
    fn lines_may_be_cut_short() {
        let passwd = "app:x:1000:1001\n\nbare:x:5\n";
        let who = |user| resolve(user, &[], passwd, "app:x:1001\n").unwrap();
        let app = who("app");
        assert_eq!((app.uid, app.gid, app.home.as_str()), (1000, 1001, "/"));
        assert_eq!((who("bare").uid, who("bare").gid), (5, 0));
        assert_eq!(who("5:app").gid, 1001);
    }
}
