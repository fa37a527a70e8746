//! What one machine does to files that others have, too.

use super::*;

fn rename(guest: &Guest, (from, old): (u64, &str), (to, new): (u64, &str), flags: u32) {
    let order = [long(&[to]), words(&[flags, 0]), name(old), name(new)].concat();
    let renamed = guest.fs.rename(&request(from), Args(&order), true, false);
    renamed.unwrap();
}

#[test]
fn what_another_machine_renames_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    for made in ["work/sub", "aside"] {
        std::fs::create_dir_all(dir.path().join(made)).unwrap();
    }
    std::fs::write(dir.path().join("app.log"), "text").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    // Its working directory, a file that it writes to, and a lock.
    let work = one.look(TOP, "work");
    let sub = one.look(work, "sub");
    let log = one.look(TOP, "app.log");
    one.open(log).unwrap();
    one.lock(log, 7, libc::F_WRLCK).unwrap();
    two.look(TOP, "work");
    rename(&two, (TOP, "work"), (TOP, "done"), 0);
    rename(&two, (TOP, "app.log"), (TOP, "app.log.1"), 0);
    std::fs::write(dir.path().join("app.log"), "new").unwrap();
    assert!(one.fs.find(sub).is_ok() && one.fs.find(work).is_ok());
    let one = one.killed(&common);
    assert!(one.fs.find(sub).is_ok() && one.fs.file(log, true).is_ok());
    // Into a directory that it does not know: it is kept, as what is open has no name.
    let aside = two.look(TOP, "aside");
    one.open(log).unwrap();
    one.sent();
    rename(&two, (TOP, "app.log.1"), (aside, "old"), 0);
    assert!(one.sent().concat().contains("Hold"));
    assert!(one.fs.file(log, true).is_ok());
    // close(2) of any descriptor.
    let theirs = two.look(aside, "old");
    assert_eq!(two.lock(theirs, 8, libc::F_WRLCK), Err(libc::EAGAIN));
    let flush = [long(&[0]), words(&[0, 0]), long(&[7])].concat();
    one.fs.flush(&request(log), Args(&flush)).unwrap();
    assert_eq!(two.lock(theirs, 8, libc::F_WRLCK), Ok(()));
    // Two directories change places.
    rename(&two, (TOP, "done"), (TOP, "aside"), 2);
    assert!(one.fs.find(sub).is_ok() && two.fs.find(theirs).is_ok());
}

#[test]
fn what_somebody_on_the_host_renames_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/sub")).unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &Common::default());
    let sub = guest.look(guest.look(TOP, "a"), "sub");
    std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    guest.fs.after_move_elsewhere(TOP, b"b");
    guest.fs.after_move_elsewhere(TOP, b"none");
    assert!(guest.fs.find(sub).is_ok());
    assert!(guest.killed(&Common::default()).fs.find(sub).is_ok());
}

#[test]
fn a_directory_is_locked_for_all_machines() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let flock = |guest: &Guest, node, owner, kind: i32| {
        let whole = long(&[0, owner, 0, u64::MAX]);
        let arguments = [whole, words(&[kind as u32, 0, 1, 0])].concat();
        guest
            .fs
            .set_lock(&request(node), Args(&arguments))
            .map(drop)
    };
    for at in [(TOP, TOP), (one.look(TOP, "d"), two.look(TOP, "d"))] {
        assert_eq!(flock(&one, at.0, 7, libc::F_WRLCK), Ok(()));
        assert_eq!(flock(&two, at.1, 8, libc::F_RDLCK), Err(libc::EAGAIN));
        let close = |flags| {
            let arguments = [long(&[1]), words(&[0, flags]), long(&[7])].concat();
            one.fs.release_dir(Args(&arguments)).unwrap();
        };
        close(0);
        assert_eq!(flock(&two, at.1, 8, libc::F_RDLCK), Err(libc::EAGAIN));
        close(RELEASE_FLOCK_UNLOCK);
        assert_eq!(flock(&two, at.1, 8, libc::F_RDLCK), Ok(()));
    }
}

#[test]
fn a_directory_of_the_user_s_keeps_its_bits_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let team = dir.path().join("team");
    std::fs::create_dir(&team).unwrap();
    let set = |mode| std::fs::set_permissions(&team, PermissionsExt::from_mode(mode)).unwrap();
    let mode = || std::fs::metadata(&team).unwrap().mode() & 0o7777;
    set(0o3755);
    let guest = Guest::new(1, dir.path(), Kind::Bind, &Common::default());
    let node = guest.look(TOP, "team");
    let change = |mode| guest.change(node, setattr::MODE, mode, 0).unwrap();
    change(0o3775);
    assert_eq!((mode(), guest.attr(node).mode & 0o7777), (0o3775, 0o3775));
    // It still belongs to whoever looks.
    assert!(guest.attr(node).is_lookers);
    change(0o1775);
    assert_eq!((mode(), guest.attr(node).mode & 0o7777), (0o1775, 0o1775));
    assert!(guest.attr(node).is_lookers);
    // What the user has not set does not go to the host.
    change(0o2770);
    assert_eq!((mode(), guest.attr(node).mode & 0o7777), (0o770, 0o2770));
}

#[test]
fn owner_and_mode_are_changed_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let (node, theirs) = (one.look(TOP, "f"), two.look(TOP, "f"));
    for n in 1..300 {
        let mode = 0o600 + n % 8;
        std::thread::scope(|scope| {
            scope.spawn(|| one.change(node, setattr::UID, 0, n).unwrap());
            two.change(theirs, setattr::MODE, mode, 0).unwrap();
        });
        let attr = one.attr(node);
        assert_eq!((attr.uid, attr.mode & 0o777), (n, mode));
    }
}

#[test]
fn what_another_machine_has_made_meanwhile_is_opened_only_if_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let create = |guest: &Guest, file: &str, flags: i32, uid: u32| {
        let flags = (libc::O_CREAT | flags) as u32;
        let arguments = [words(&[flags, 0o640, 0, 0]), name(file)].concat();
        let header = Header {
            uid,
            gid: uid,
            ..request(TOP)
        };
        guest.fs.create(&header, Args(&arguments), false).map(drop)
    };
    let link = [name("l"), name("elsewhere")].concat();
    one.fs.symlink(&request(TOP), Args(&link), false).unwrap();
    // The guest's kernel looks again, and sees the link.
    let looks = Err(libc::ESTALE);
    assert_eq!(create(&two, "l", libc::O_WRONLY, 0), looks);
    assert_eq!(create(&two, "l", libc::O_EXCL, 0), Err(libc::EEXIST));
    create(&one, "f", libc::O_RDWR, 7).unwrap();
    std::fs::write(dir.path().join("f"), "text").unwrap();
    let truncate = libc::O_WRONLY | libc::O_TRUNC;
    assert_eq!(create(&two, "f", truncate, 8), looks);
    assert_eq!(create(&two, "f", libc::O_RDONLY | libc::O_TRUNC, 8), looks);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("f")).unwrap(),
        "text"
    );
    assert_eq!(create(&two, "f", truncate, 7), Ok(()));
    assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "");
}

#[test]
fn whoever_asks_for_a_lock_is_told_which_process_of_the_machine_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let (node, theirs) = (one.look(TOP, "f"), two.look(TOP, "f"));
    let lock = |owner, process| {
        let kind = libc::F_WRLCK as u32;
        [long(&[0, owner, 0, 9]), words(&[kind, process, 0, 0])].concat()
    };
    let set = one.fs.set_lock(&request(node), Args(&lock(7, 77)));
    set.unwrap();
    let held = |guest: &Guest, node| {
        let told = guest.fs.test_lock(&request(node), Args(&lock(8, 88)));
        u32::from_le_bytes(told.unwrap()[20..24].try_into().unwrap())
    };
    assert_eq!((held(&one, node), held(&two, theirs)), (77, 0));
}
