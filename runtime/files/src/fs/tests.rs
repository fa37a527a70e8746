//! The file system of a VM, asked as a guest asks.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;
use crate::fuse::{RELEASE_FLOCK_UNLOCK, setattr};
use crate::server::ToTheKeeper;

mod machines;
mod repeated;

struct Guest {
    fs: Arc<Fs>,
    link: OwnedFd,
    journal: OwnedFd,
    shares: Vec<Share>,
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn long(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn name(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn request(node: u64) -> Header {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    Header {
        opcode: 0,
        unique: NEXT.fetch_add(2, std::sync::atomic::Ordering::Relaxed),
        node,
        uid: 0,
        gid: 0,
        pid: 1,
    }
}

/// One that is asked again with the same number.
fn repeated(node: u64, unique: u64) -> Header {
    Header {
        unique,
        ..request(node)
    }
}

const TOP: u64 = tree::ROOT + 1;

impl Guest {
    fn new(session: u64, dir: &Path, kind: Kind, common: &Common) -> Guest {
        let shares = vec![Share {
            path: dir.to_path_buf(),
            kind,
            read_only: false,
            cache_ms: 1000,
        }];
        let journal = rustix::fs::memfd_create("journal", MemfdFlags::CLOEXEC).unwrap();
        Guest::with(session, shares, journal, common)
    }

    fn with(session: u64, shares: Vec<Share>, journal: OwnedFd, common: &Common) -> Guest {
        let (here, link) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let root = |share: &Share| OwnedFd::from(File::open(&share.path).unwrap());
        let fs = Fs::open(
            session,
            shares.clone(),
            shares.iter().map(root).collect(),
            journal.try_clone().unwrap(),
            ToTheKeeper::new(here),
            common.clone(),
        );
        Guest {
            fs: fs.unwrap(),
            link,
            journal,
            shares,
        }
    }

    /// The server is killed, and the next one takes over.
    fn killed(self, common: &Common) -> Guest {
        Guest::with(self.fs.session, self.shares, self.journal, common)
    }

    fn look(&self, parent: u64, wanted: &str) -> u64 {
        let found = self
            .fs
            .lookup(&request(parent), Args(&name(wanted)))
            .unwrap();
        u64::from_le_bytes(found[..8].try_into().unwrap())
    }

    fn forget(&self, node: u64, unique: u64) {
        let header = Header {
            opcode: op::FORGET,
            ..repeated(node, unique)
        };
        self.fs.forget(&header, Args(&long(&[1])));
    }

    fn open(&self, node: u64) -> Res<()> {
        let arguments = words(&[libc::O_RDWR as u32, 0]);
        self.fs
            .open_file(&request(node), Args(&arguments))
            .map(drop)
    }

    /// `chmod` or `chown`.
    fn change(&self, node: u64, valid: u32, mode: u32, owner: u32) -> Res<()> {
        let arguments = [
            words(&[valid, 0]),
            long(&[0; 6]),
            words(&[0, 0, 0, mode, 0, owner, owner, 0]),
        ]
        .concat();
        self.fs.setattr(&request(node), Args(&arguments)).map(drop)
    }

    fn attr(&self, node: u64) -> Attr {
        let share = self.fs.tree().share(node).unwrap();
        let found = self.fs.find(node).unwrap();
        self.fs.attr(share, &found, &request(node))
    }

    /// What the keeper has been sent.
    fn sent(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = vec![0; 4096];
        while let Ok((length, _)) = recv(&self.link, &mut bytes[..], RecvFlags::DONTWAIT) {
            all.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        all
    }

    fn lock(&self, node: u64, owner: u64, kind: i32) -> Res<()> {
        let arguments = [long(&[0, owner, 0, 9]), words(&[kind as u32, 0, 0, 0])].concat();
        self.fs.set_lock(&request(node), Args(&arguments)).map(drop)
    }
}

/// Runs as a user without privileges.
fn as_somebody(act: impl FnOnce() + Send + 'static) {
    let run = move || {
        if rustix::process::geteuid().is_root() {
            let nobody = 65_534;
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(nobody),
                rustix::fs::Gid::from_raw(nobody),
            );
            // Of this thread alone.
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        }
        act();
    };
    std::thread::spawn(run).join().unwrap();
}

/// Two machines that have the directory.
fn two(dir: &Path, kind: Kind, common: &Common) -> (Guest, Guest) {
    let one = Guest::new(1, dir, kind, common);
    (one, Guest::new(2, dir, kind, common))
}

#[test]
fn the_users_own_files_need_not_be_writable_to_keep_what_guests_set() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = dir.path().to_path_buf();
    as_somebody(move || {
        let file = path.join("f");
        std::fs::write(&file, "content").unwrap();
        let set = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let mode = || std::fs::metadata(&file).unwrap().mode() & 0o7777;
        set(0o444);
        let guest = Guest::new(1, &path, Kind::Bind, &Common::default());
        let node = guest.look(TOP, "f");
        // Somebody without privileges writes.
        let found = guest.fs.find(node).unwrap();
        assert_eq!(guest.fs.kill_privileges(0, &found.fd), Ok(()));
        let wanted = setattr::UID | setattr::GID;
        assert_eq!(guest.change(node, wanted, 0, 12), Ok(()));
        assert_eq!(guest.attr(node).uid, 12);
        assert_eq!(guest.change(node, setattr::MODE, 0o4555, 0), Ok(()));
        assert_eq!(guest.attr(node).mode & 0o7777, 0o4555);
        assert_eq!(mode(), 0o555);
        assert_eq!(guest.fs.kill_privileges(0, &found.fd), Ok(()));
        assert_eq!(guest.attr(node).mode & 0o7777, 0o555);
        // Who owns a file that nobody may read.
        assert_eq!(guest.change(node, setattr::MODE, 0, 0), Ok(()));
        assert_eq!((guest.attr(node).uid, guest.attr(node).gid), (12, 12));
        let value = [words(&[1, 0]), name("security.capability"), vec![1]].concat();
        assert!(
            guest
                .fs
                .set_xattr(&request(node), Args(&value), false)
                .is_ok()
        );
        assert_eq!(guest.fs.kill_privileges(0, &found.fd), Ok(()));
        assert_eq!(mode(), 0);
        std::fs::create_dir(path.join("d")).unwrap();
        let directory = guest.look(TOP, "d");
        guest.change(directory, wanted, 0, 12).unwrap();
        guest.change(directory, setattr::MODE, 0, 0).unwrap();
        assert_eq!(guest.attr(directory).uid, 12);
    });
}

#[test]
fn the_users_own_directories_need_not_be_open_for_guests_that_may_write() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = dir.path().to_path_buf();
    as_somebody(move || {
        let (a, b) = (path.join("a"), path.join("b"));
        for made in [&a, &b, &a.join("sub"), &a.join("sub/deep")] {
            std::fs::create_dir(made).unwrap();
        }
        for file in [a.join("f"), a.join("g"), a.join("sub/deep/h")] {
            std::fs::write(file, "text").unwrap();
        }
        let set = |at: &Path, mode| {
            std::fs::set_permissions(at, PermissionsExt::from_mode(mode)).unwrap();
        };
        let mode = |at: &Path| std::fs::metadata(at).unwrap().mode() & 0o7777;
        // As Go's module cache has it.
        set(&a.join("sub"), 0o555);
        set(&a, 0o555);
        set(&b, 0o500);
        let guest = Guest::new(1, &path, Kind::Bind, &Common::default());
        let (in_a, in_b) = (guest.look(TOP, "a"), guest.look(TOP, "b"));
        let at = request(in_a);
        let fs = &guest.fs;
        let made = [words(&[0o755, 0]), name("new")].concat();
        assert!(fs.mkdir(&at, Args(&made), false).is_ok());
        assert!(fs.rmdir(&at, Args(&name("new")), false).is_ok());
        let made = [words(&[libc::S_IFIFO | 0o600, 0, 0, 0]), name("pipe")].concat();
        assert!(fs.mknod(&at, Args(&made), false).is_ok());
        let made = [name("link"), name("f")].concat();
        assert!(fs.symlink(&at, Args(&made), false).is_ok());
        let file = guest.look(in_a, "f");
        let made = [long(&[file]), name("second")].concat();
        assert!(fs.link(&at, Args(&made), false).is_ok());
        let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as u32;
        let made = [words(&[flags, 0o644, 0, 0]), name("file")].concat();
        assert!(fs.create(&at, Args(&made), false).is_ok());
        for gone in ["pipe", "link", "second", "file", "f"] {
            let removed = fs.unlink(&at, Args(&name(gone)), false);
            assert!(removed.is_ok(), "{gone}: {removed:?}");
        }
        // A file, and a directory that nobody may write to.
        for moved in ["g", "sub"] {
            let order = [long(&[in_b]), name(moved), name(moved)].concat();
            let renamed = fs.rename(&at, Args(&order), false, false);
            assert!(renamed.is_ok(), "{moved}: {renamed:?}");
        }
        assert_eq!(
            (mode(&a), mode(&b), mode(&b.join("sub"))),
            (0o555, 0o500, 0o555)
        );
        assert_eq!(std::fs::read_dir(&a).unwrap().count(), 0);
        // Directories that cannot be looked into.
        let sub = guest.look(in_b, "sub");
        let deep = guest.look(sub, "deep");
        set(&b.join("sub/deep"), 0o600);
        set(&b.join("sub"), 0);
        set(&b, 0o600);
        let file = guest.look(deep, "h");
        guest.open(file).unwrap();
        assert!(fs.unlink(&request(deep), Args(&name("h")), false).is_ok());
        assert!(fs.rmdir(&request(sub), Args(&name("deep")), false).is_ok());
        assert_eq!(mode(&b), 0o600);
        set(&b, 0o700);
        assert_eq!(mode(&b.join("sub")), 0);
    });
}

#[test]
fn what_another_one_made_is_not_taken_for_the_result_of_a_request() {
    for kind in [Kind::Bind, Kind::Volume] {
        let dir = tempfile::tempdir().unwrap();
        let common = Common::default();
        let (one, two) = two(dir.path(), kind, &common);
        let mkdir = |guest: &Guest, again| {
            let order = [words(&[0o700, 0]), name("d")].concat();
            let header = repeated(TOP, 1001);
            guest.fs.mkdir(&header, Args(&order), again).map(drop)
        };
        let symlink = |guest: &Guest, to: &str, again| {
            let order = [name("l"), name(to)].concat();
            let header = repeated(TOP, 1003);
            let made = guest.fs.symlink(&header, Args(&order), again);
            made.map(drop)
        };
        let read = |guest: &Guest| {
            let link = guest.look(TOP, "l");
            String::from_utf8(guest.fs.readlink(&request(link)).unwrap()).unwrap()
        };
        mkdir(&one, false).unwrap();
        symlink(&one, "first", false).unwrap();
        // All servers are one: the answers are lost, and both ask again.
        let (one, two) = (one.killed(&common), two.killed(&common));
        assert_eq!(mkdir(&two, true), Err(libc::EEXIST));
        assert_eq!(symlink(&two, "second", true), Err(libc::EEXIST));
        assert_eq!(mkdir(&one, true), Ok(()));
        assert_eq!(symlink(&one, "first", true), Ok(()));
        assert_eq!(read(&one), "first");
        // A name of the same file is what was asked for, another's is not.
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::fs::write(dir.path().join("g"), "").unwrap();
        let link = |old: &str| {
            let order = [long(&[one.look(TOP, old)]), name("h")].concat();
            one.fs.link(&request(TOP), Args(&order), true).map(drop)
        };
        assert_eq!((link("f"), link("f")), (Ok(()), Ok(())));
        assert_eq!(link("g"), Err(libc::EEXIST));
    }
}

#[test]
fn an_open_file_without_a_name_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&a, "content").unwrap();
    // A name that the guest does not know.
    std::fs::hard_link(&a, &b).unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    let node = guest.look(TOP, "a");
    guest.open(node).unwrap();
    // What stays is not kept.
    assert!(
        guest
            .fs
            .rmdir(&request(TOP), Args(&name("a")), false)
            .is_err()
    );
    let said = guest.sent();
    assert!(
        said[0].contains("Hold") && said[1].contains("Release"),
        "{said:?}"
    );
    guest
        .fs
        .unlink(&request(TOP), Args(&name("a")), false)
        .unwrap();
    assert!(guest.sent().concat().contains("Hold"));
    // With another name that it knows it is found by that.
    let node = guest.look(TOP, "b");
    assert!(
        guest
            .fs
            .unlink(&request(TOP), Args(&name("none")), false)
            .is_err()
    );
    std::fs::hard_link(&b, &a).unwrap();
    assert_eq!(guest.look(TOP, "a"), node);
    assert_eq!(guest.sent(), [""; 0]);
}

#[test]
fn a_file_that_another_machine_has_open_is_kept_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("a"), "content").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let node = two.look(TOP, "a");
    two.open(node).unwrap();
    one.fs
        .unlink(&request(TOP), Args(&name("a")), false)
        .unwrap();
    assert_eq!(one.sent(), [""; 0]);
    assert_eq!(
        two.sent(),
        [format!("{{\"Hold\":{{\"session\":2,\"node\":{node}}}}}")]
    );
    // And one that somebody on the host removes.
    std::fs::write(dir.path().join("b"), "content").unwrap();
    let node = two.look(TOP, "b");
    two.open(node).unwrap();
    two.fs.after_removal_elsewhere(TOP, b"b");
    assert_eq!(two.sent(), [""; 0]);
    std::fs::remove_file(dir.path().join("b")).unwrap();
    two.fs.after_removal_elsewhere(TOP, b"b");
    assert!(two.sent().concat().contains("Hold"));
}

#[test]
fn two_names_change_places_once_whoever_carries_it_out() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    for file in ["a", "b"] {
        std::fs::write(dir.path().join(file), file).unwrap();
    }
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    let arguments = [long(&[TOP]), words(&[2, 0]), name("a"), name("b")].concat();
    let exchange = |guest: &Guest, again| {
        let header = repeated(TOP, 1001);
        let done = guest.fs.rename(&header, Args(&arguments), true, again);
        done.unwrap();
    };
    let mut guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    let (a, b) = (guest.look(TOP, "a"), guest.look(TOP, "b"));
    exchange(&guest, false);
    for _ in 0..2 {
        assert_eq!((read("a"), read("b")), ("b".to_owned(), "a".to_owned()));
        assert_eq!((guest.look(TOP, "b"), guest.look(TOP, "a")), (a, b));
        guest = guest.killed(&common);
        exchange(&guest, true);
    }
    // A server that was killed before it had done anything.
    std::fs::rename(dir.path().join("b"), dir.path().join("c")).unwrap();
    std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    std::fs::rename(dir.path().join("c"), dir.path().join("a")).unwrap();
    exchange(&guest.killed(&common), true);
    assert_eq!((read("a"), read("b")), ("b".to_owned(), "a".to_owned()));
}

#[test]
fn what_was_forgotten_before_a_kill_and_looked_up_again_is_known_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/f"), "").unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    // Three times known, once forgotten; another time the server did not hear of yet.
    let nodes = [
        guest.look(TOP, "d"),
        guest.look(TOP, "d"),
        guest.look(TOP, "d"),
    ];
    let file = guest.look(nodes[0], "f");
    guest.forget(nodes[0], 1001);
    let guest = guest.killed(&common);
    guest.forget(nodes[0], 1001);
    guest.forget(nodes[0], 1003);
    assert_eq!(guest.open(file), Ok(()));
    guest.forget(nodes[0], 1005);
    assert_eq!(guest.fs.tree().share(nodes[0]), Err(libc::ESTALE));
}

#[test]
fn a_machine_has_so_many_files_open_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common {
        room: Room(4),
        ..Common::default()
    };
    let guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    let nodes: Vec<u64> = (0..8)
        .map(|n| {
            std::fs::write(dir.path().join(n.to_string()), "x").unwrap();
            let node = guest.look(TOP, &n.to_string());
            guest.open(node).unwrap();
            node
        })
        .collect();
    // What can be opened again need not stay open.
    for node in &nodes {
        assert!(guest.fs.file(*node, false).is_ok());
    }
    let unlink = |n: u32| {
        guest
            .fs
            .unlink(&request(TOP), Args(&name(&n.to_string())), false)
    };
    for n in 0..4 {
        unlink(n).unwrap();
    }
    assert_eq!(unlink(4), Err(libc::EMFILE));
    assert_eq!(guest.open(nodes[5]), Err(libc::EMFILE));
    assert!(dir.path().join("4").exists());
    for node in &nodes[..4] {
        assert!(guest.fs.file(*node, true).is_ok());
    }
    // It is free again.
    guest.forget(nodes[0], 1001);
    assert_eq!(guest.open(nodes[5]), Ok(()));
}

#[test]
fn a_closed_file_has_no_locks() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("a"), "").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let (node, theirs) = (one.look(TOP, "a"), two.look(TOP, "a"));
    // An open file description's: close(2) of another descriptor says nothing.
    one.lock(node, 7, libc::F_WRLCK).unwrap();
    assert_eq!(two.lock(theirs, 8, libc::F_WRLCK), Err(libc::EAGAIN));
    std::fs::remove_file(dir.path().join("a")).unwrap();
    let close = |flags| {
        let arguments = [long(&[node]), words(&[0, flags]), long(&[7])].concat();
        one.fs.release(&request(node), Args(&arguments)).unwrap();
    };
    close(0);
    assert!(common.locks.with_records(1, |records| !records.is_empty()));
    close(RELEASE_FLOCK_UNLOCK);
    assert!(common.locks.with_records(1, |records| records.is_empty()));
}

#[test]
fn nobody_is_told_that_an_access_control_list_holds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "").unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &Common::default());
    let node = guest.look(TOP, "a");
    let attribute = name("system.posix_acl_access");
    let set = [words(&[1, 0]), attribute.clone(), vec![2]].concat();
    let refused = Err(libc::EOPNOTSUPP);
    assert_eq!(
        guest.fs.set_xattr(&request(node), Args(&set), false),
        refused
    );
    let get = [words(&[100, 0]), attribute].concat();
    assert_eq!(guest.fs.get_xattr(&request(node), Args(&get)), refused);
}

#[test]
fn each_change_of_a_shared_file_has_a_time_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let path = dir.path().join("a");
    std::fs::write(&path, "").unwrap();
    let one = Guest::new(1, dir.path(), Kind::Volume, &common);
    let file = File::options().write(true).open(&path).unwrap();
    let time = || {
        let found = std::fs::metadata(&path).unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    let first = time();
    one.fs.stamp(0, &file);
    assert_eq!(time(), first);
    let _two = Guest::new(2, dir.path(), Kind::Volume, &common);
    let mut times = vec![first];
    for _ in 0..100 {
        one.fs.stamp(0, &file);
        times.push(time());
    }
    times.dedup();
    assert_eq!(times.len(), 101);
}

#[test]
fn whatever_a_guest_asks_the_journal_keeps_only_what_still_holds() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("a"), "").unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Volume, &common);
    let node = guest.look(TOP, "a");
    let size = |guest: &Guest| guard(&guest.fs.journal).size();
    while size(&guest) < 9 << 20 {
        let (parent, name) = (TOP, vec![b'x'; 4000]);
        guest.fs.note([Record::Unname { parent, name }]).unwrap();
    }
    guest.lock(node, 7, libc::F_WRLCK).unwrap();
    let header = Header {
        opcode: op::GETATTR,
        ..request(node)
    };
    let asked = Request {
        bytes: vec![0; HEADER],
        data: Vec::new(),
        again: false,
    };
    guest.fs.handle(&header, asked, Answer::unread());
    assert!(guest.sent().concat().contains("Journal"));
    assert!(size(&guest) < 1000);
    assert!(guest.lock(node, 8, libc::F_WRLCK).is_err());
}
