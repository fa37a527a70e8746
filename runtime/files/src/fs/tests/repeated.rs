//! Requests that are there again: after the server was killed, or the machine halted.

use super::*;
use crate::server::memory::Memory;

/// Where a test puts file data.
const DATA: u64 = 0x800;

impl Guest {
    /// Asks, and gives the answer's error number and what follows it. `halted`: the
    /// machine is, before it can be answered.
    fn ask(&self, header: &Header, request: Request, halted: bool) -> (i32, Vec<u8>) {
        let (answer, memory) = Answer::to(header.unique, &self.fs.left(), halted);
        self.ask_in(header, request, (answer, &memory))
    }

    fn ask_in(
        &self,
        header: &Header,
        request: Request,
        (answer, memory): (Answer, &Memory),
    ) -> (i32, Vec<u8>) {
        memory.write(4, &1i32.to_le_bytes()).unwrap();
        self.fs.handle(header, request, answer);
        let head = memory.gather(&[(0, 16)], 16).unwrap();
        let error = i32::from_le_bytes(head[4..8].try_into().unwrap());
        (error, memory.gather(&[(16, 128)], 128).unwrap())
    }

    fn append(&self, header: &Header, text: &str, offset: u64, again: bool) -> i32 {
        let (answer, memory) = Answer::to(header.unique, &self.fs.left(), false);
        memory.write(DATA, text.as_bytes()).unwrap();
        let arguments = [
            long(&[0, offset]),
            words(&[text.len() as u32, 0]),
            long(&[0]),
            words(&[libc::O_APPEND as u32, 0]),
        ];
        let request = Request {
            data: vec![(DATA, text.len() as u32)],
            ..asked(&arguments.concat(), again)
        };
        self.ask_in(header, request, (answer, &memory)).0
    }
}

fn asked(arguments: &[u8], again: bool) -> Request {
    Request {
        bytes: [vec![0; HEADER], arguments.to_vec()].concat(),
        data: Vec::new(),
        again,
    }
}

fn of(opcode: u32, node: u64, unique: u64) -> Header {
    Header {
        opcode,
        ..repeated(node, unique)
    }
}

#[test]
fn a_machine_that_was_halted_is_told_what_was_done_before() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    for file in ["a", "b"] {
        std::fs::write(dir.path().join(file), file).unwrap();
    }
    let mkdir = [words(&[0o700, 0]), name("d")].concat();
    let exchange = [long(&[TOP]), words(&[2, 0]), name("a"), name("b")].concat();
    let unlink = name("gone");
    std::fs::write(dir.path().join("gone"), "").unwrap();
    let requests = [
        (of(op::MKDIR, TOP, 1001), &mkdir),
        (of(op::RENAME2, TOP, 1003), &exchange),
        (of(op::UNLINK, TOP, 1005), &unlink),
    ];
    for (header, arguments) in &requests {
        // No answer has come.
        assert_eq!(guest.ask(header, asked(arguments, false), true).0, 1);
    }
    // Another file of that name.
    std::fs::write(dir.path().join("gone"), "").unwrap();
    for (header, arguments) in &requests {
        // It is halted once more.
        assert_eq!(guest.ask(header, asked(arguments, true), true).0, 1);
        let (error, made) = guest.ask(header, asked(arguments, true), false);
        assert_eq!(error, 0, "{header:?}");
        if header.opcode == op::MKDIR {
            let node = u64::from_le_bytes(made[..8].try_into().unwrap());
            assert_eq!(guest.look(TOP, "d"), node);
            // What it was told is not new any more.
            assert_eq!(made[16..40], [0; 24]);
        }
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "b");
    assert!(dir.path().join("gone").exists());
    assert!(guard(&guest.fs.begun).is_empty());
}

#[test]
fn what_is_appended_is_there_once_and_over_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let path = dir.path().join("log");
    std::fs::write(&path, "old ").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let (node, theirs) = (one.look(TOP, "log"), two.look(TOP, "log"));
    let read = || std::fs::read_to_string(&path).unwrap();
    assert_eq!(two.append(&of(op::WRITE, theirs, 1), "two ", 4, false), 0);
    // It takes the end to be where it was, and is not answered.
    let header = of(op::WRITE, node, 1001);
    let begin = |guest: &Guest| guest.fs.begin(&header, Deed::Appends(8)).unwrap();
    begin(&one);
    let one = one.killed(&common);
    assert_eq!(one.append(&header, "one ", 4, true), 0);
    assert_eq!(read(), "old two one ");
    // It was written, and others have appended since.
    begin(&one);
    let one = one.killed(&common);
    assert_eq!(two.append(&of(op::WRITE, theirs, 3), "two ", 4, false), 0);
    assert_eq!(one.append(&header, "one ", 4, true), 0);
    assert_eq!(read(), "old two one two ");
    // The server was killed in the middle of it, or before it had noted anything.
    begin(&one);
    std::fs::write(&path, "old two on").unwrap();
    let one = one.killed(&common);
    assert_eq!(one.append(&header, "one ", 4, true), 0);
    assert_eq!(read(), "old two one ");
    assert_eq!(one.append(&of(op::WRITE, node, 1003), "new", 9, true), 0);
    assert_eq!(read(), "old two one new");
}

#[test]
fn a_name_that_is_another_files_by_now_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let at = |file: &str| dir.path().join(file);
    for file in ["a", "b"] {
        std::fs::write(at(file), "first").unwrap();
    }
    let _other = Guest::new(2, dir.path(), Kind::Bind, &common);
    let guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    let unlink = |guest: &Guest, again| {
        let done = guest
            .fs
            .unlink(&repeated(TOP, 1001), Args(&name("a")), again);
        done.unwrap();
    };
    let order = [long(&[TOP]), words(&[0, 0]), name("b"), name("c")].concat();
    let rename = |guest: &Guest, again| {
        let done = guest
            .fs
            .rename(&repeated(TOP, 1003), Args(&order), true, again);
        done.unwrap();
    };
    unlink(&guest, false);
    rename(&guest, false);
    let guest = guest.killed(&common);
    for file in ["a", "b"] {
        std::fs::write(at(file), "second").unwrap();
    }
    unlink(&guest, true);
    rename(&guest, true);
    assert!(at("a").exists() && at("b").exists());
    assert_eq!(std::fs::read_to_string(at("c")).unwrap(), "first");
    // What was not done is done.
    let guest = guest.killed(&common);
    let other = std::fs::rename(at("c"), at("b"));
    other.unwrap();
    rename(&guest, true);
    assert!(at("c").exists() && !at("b").exists());
}

#[test]
fn an_attribute_is_set_and_removed_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let guest = Guest::new(1, dir.path(), Kind::Bind, &Common::default());
    let node = guest.look(TOP, "f");
    let set = |value: u8, again| {
        let create = 1;
        let arguments = [words(&[1, create]), name("user.x"), vec![value]].concat();
        let set = guest.fs.set_xattr(&request(node), Args(&arguments), again);
        set.map(drop)
    };
    let remove = |again| {
        let removed = guest
            .fs
            .remove_xattr(&request(node), Args(&name("user.x")), again);
        removed.map(drop)
    };
    assert_eq!((set(1, false), set(1, true)), (Ok(()), Ok(())));
    assert_eq!(set(2, true), Err(libc::EEXIST));
    assert_eq!(set(1, false), Err(libc::EEXIST));
    assert_eq!((remove(false), remove(true)), (Ok(()), Ok(())));
    assert_eq!(remove(false), Err(libc::ENODATA));
}

#[test]
fn a_lock_that_a_halted_machine_waits_for_is_waited_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    std::fs::write(dir.path().join("a"), "").unwrap();
    let (one, two) = two(dir.path(), Kind::Volume, &common);
    let (node, theirs) = (one.look(TOP, "a"), two.look(TOP, "a"));
    one.lock(node, 7, libc::F_WRLCK).unwrap();
    let wait = |owner: u64, unique: u64, halted, again| {
        let lock = [
            long(&[0, owner, 0, 9]),
            words(&[libc::F_WRLCK as u32, 0, 0, 0]),
        ]
        .concat();
        let header = of(op::SETLKW, theirs, unique);
        two.ask(&header, asked(&lock, again), halted).0
    };
    for unique in 0..256 {
        assert_eq!(wait(100 + unique, 1001 + 2 * unique, true, false), 1);
    }
    // There is room for other requests, and what waits already has its place.
    assert_eq!(wait(99, 999, false, false), -libc::ENOLCK);
    assert_eq!(wait(100, 1001, false, true), 1);
    // Others have places of their own.
    let third = Guest::new(3, dir.path(), Kind::Volume, &common);
    let node = third.look(TOP, "a");
    let lock = [long(&[0, 1, 0, 9]), words(&[libc::F_WRLCK as u32, 0, 0, 0])].concat();
    let header = of(op::SETLKW, node, 1);
    assert_eq!(third.ask(&header, asked(&lock, false), false).0, 1);
}

#[test]
fn what_a_server_had_made_when_it_was_killed_is_the_requests() {
    let dir = tempfile::tempdir().unwrap();
    let common = Common::default();
    let at = |name: &str| dir.path().join(name);
    let mut guest = Guest::new(1, dir.path(), Kind::Bind, &common);
    let exclusive = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as u32;
    type Make = fn(&Path) -> std::io::Result<()>;
    let requests: [(u32, &str, Vec<u8>, Make); 3] = [
        (op::MKDIR, "d", words(&[0o700, 0]), |at| {
            std::fs::create_dir(at)
        }),
        (op::CREATE, "f", words(&[exclusive, 0o600, 0, 0]), |at| {
            std::fs::write(at, "")
        }),
        (op::MKNOD, "n", words(&[0o600, 0, 0, 0]), |at| {
            std::fs::write(at, "")
        }),
    ];
    for (opcode, file, arguments, make) in requests {
        let arguments = [arguments, name(file)].concat();
        // Killed after it has made it, and before it has noted so.
        let header = of(opcode, TOP, 1001);
        guest.fs.note_making(&header, false).unwrap();
        make(&at(file)).unwrap();
        guest = guest.killed(&common);
        assert_eq!(guest.ask(&header, asked(&arguments, true), false).0, 0);
        let other = of(opcode, TOP, 1003);
        let refused = guest.ask(&other, asked(&arguments, false), false).0;
        assert_eq!(refused, -libc::EEXIST, "{file}");
        // Killed before: somebody else has made it since.
        let gone = std::fs::remove_file(at(file)).or_else(|_| std::fs::remove_dir(at(file)));
        gone.unwrap();
        let header = of(opcode, TOP, 1005);
        guest.fs.note_making(&header, false).unwrap();
        guest = guest.killed(&common);
        std::thread::sleep(std::time::Duration::from_millis(20));
        make(&at(file)).unwrap();
        let refused = guest.ask(&header, asked(&arguments, true), false).0;
        assert_eq!(refused, -libc::EEXIST, "{file}");
    }
}
