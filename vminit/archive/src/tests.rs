//! Trees that go into a tar stream and come out of it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn packed(path: &Path, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let order = Pack {
        path: path.to_path_buf(),
        name: name.to_owned(),
        ..Pack::default()
    };
    pack(&order, &mut out).unwrap();
    out
}

fn tree(path: &Path) -> Unpack {
    Unpack {
        path: path.to_path_buf(),
        tree: true,
        ..Unpack::default()
    }
}

/// A stream with one entry of each: name, link target (a symbolic link) or
/// contents (a file).
fn stream(entries: &[(&str, Option<&str>, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, link, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        // As a hostile guest would write it: no check of the name.
        let bytes = name.as_bytes();
        header.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        if let Some(link) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(link).unwrap();
            header.set_size(0);
        } else {
            header.set_size(text.len() as u64);
        }
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("sub/deep")).unwrap();
    fs::write(from.join("sub/file"), "text").unwrap();
    fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("sub/file", from.join("link")).unwrap();
    symlink("/nowhere", from.join("dangling")).unwrap();
    let long = "x".repeat(150);
    fs::write(from.join(&long), vec![7; 100_000]).unwrap();
    fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o555)).unwrap();
    let to = dir.path().join("to");
    unpack(&tree(&to), packed(&from, "from").as_slice()).unwrap();
    assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "text");
    assert_eq!(fs::read(to.join(&long)).unwrap().len(), 100_000);
    assert_eq!(
        fs::read_link(to.join("dangling")).unwrap(),
        Path::new("/nowhere")
    );
    let (old, new) = (from.join("sub/file"), to.join("sub/file"));
    assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(
        fs::metadata(&old).unwrap().mtime(),
        fs::metadata(&new).unwrap().mtime()
    );
    assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o777, 0o555);
    assert!(to.join("sub/deep").is_dir());
    for sub in [from.join("sub"), to.join("sub")] {
        fs::set_permissions(sub, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn names_are_given_as_cp_does() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "one").unwrap();
    fs::create_dir(at("there")).unwrap();
    let file = packed(&at("file"), "file");
    unpack(&tree(&at("there")), file.as_slice()).unwrap();
    assert_eq!(fs::read_to_string(at("there/file")).unwrap(), "one");
    unpack(&tree(&at("other")), file.as_slice()).unwrap();
    assert_eq!(fs::read_to_string(at("other")).unwrap(), "one");
    assert!(unpack(&tree(&at("no/such")), file.as_slice()).is_err());
    assert!(unpack(&tree(&at("slash/")), file.as_slice()).is_err());
    // Directories: into one that is there, as one that is not.
    let whole = packed(&at("there"), "there");
    unpack(&tree(&at("new")), whole.as_slice()).unwrap();
    assert!(at("new/file").is_file());
    unpack(&tree(&at("new")), whole.as_slice()).unwrap();
    assert!(at("new/there/file").is_file());
    let contents = Unpack {
        contents: true,
        ..tree(&at("there"))
    };
    fs::remove_file(at("there/file")).unwrap();
    unpack(&contents, whole.as_slice()).unwrap();
    assert!(at("there/file").is_file());
    assert!(unpack(&tree(&at("file")), whole.as_slice()).is_err());
    // Any stream into a directory.
    let any = Unpack {
        tree: false,
        ..tree(&at("there"))
    };
    unpack(
        &any,
        stream(&[("a/b", None, "x"), ("c", None, "y")]).as_slice(),
    )
    .unwrap();
    assert_eq!(fs::read_to_string(at("there/a/b")).unwrap(), "x");
}

#[test]
fn nothing_gets_out() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "mine").unwrap();
    let any = Unpack {
        tree: false,
        ..tree(&to)
    };
    let up = dir.path().to_str().unwrap();
    let hostile = [
        stream(&[("../secret", None, "theirs")]),
        stream(&[("way", Some(up), ""), ("way/secret", None, "theirs")]),
        stream(&[("a", Some(".."), ""), ("a/secret", None, "theirs")]),
    ];
    for stream in hostile {
        assert!(unpack(&any, stream.as_slice()).is_err());
    }
    // A link is replaced, not followed; an absolute name is inside.
    let link = stream(&[
        ("l", Some(secret.to_str().unwrap()), ""),
        ("l", None, "theirs"),
    ]);
    unpack(&any, link.as_slice()).unwrap();
    unpack(&any, stream(&[("/abs", None, "x")]).as_slice()).unwrap();
    assert!(to.join("abs").is_file());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "mine");
    let tree = tree(&to.join("t"));
    let first = stream(&[("t", Some(up), ""), ("t/secret", None, "theirs")]);
    let _ = unpack(&tree, first.as_slice());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "mine");
}

#[test]
fn what_is_not_there_leaves_no_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let order = Pack {
        path: dir.path().join("nope"),
        name: "nope".to_owned(),
        ..Pack::default()
    };
    let error = pack(&order, &mut out).unwrap_err();
    assert!(error.to_string().contains("nope"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn rubbish_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let any = Unpack {
        path: dir.path().to_path_buf(),
        ..Unpack::default()
    };
    assert!(unpack(&any, [0x55u8; 2000].as_slice()).is_err());
    unpack(&any, [0u8; 1024].as_slice()).unwrap();
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    let asked = Unpack {
        name: Some("hosts".into()),
        ..tree(&to)
    };
    let contents = Unpack {
        contents: true,
        ..asked.clone()
    };
    for hostile in [
        stream(&[(".bashrc", None, "theirs")]),
        stream(&[("hosts/x", None, ""), (".bashrc", None, "theirs")]),
        stream(&[("./", Some("/"), ""), ("./.bashrc", None, "theirs")]),
        stream(&[("/", None, ""), (".bashrc/x", None, "theirs")]),
    ] {
        for order in [&asked, &contents] {
            let error = unpack(order, hostile.as_slice()).unwrap_err();
            assert!(error.to_string().contains("not asked for"), "{error}");
        }
    }
    assert!(!to.join(".bashrc").exists());
    unpack(&asked, stream(&[("./hosts", None, "good")]).as_slice()).unwrap_err();
    fs::remove_dir_all(to.join("hosts")).unwrap();
    unpack(&asked, stream(&[("./hosts", None, "good")]).as_slice()).unwrap();
    assert_eq!(fs::read_to_string(to.join("hosts")).unwrap(), "good");
}

/// Some file systems have no attributes of users.
fn attribute(path: &Path, value: &str) -> bool {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, "user.mine", value.as_bytes(), flags).is_ok()
}

fn attribute_of(path: &Path, name: &str) -> String {
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, name, &mut value).unwrap_or(0);
    String::from_utf8_lossy(&value[..length]).into_owned()
}

#[test]
fn names_of_one_file_attributes_and_holes_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("one"), "text").unwrap();
    fs::hard_link(from.join("one"), from.join("sub/two")).unwrap();
    let kept = attribute(&from.join("one"), "value") && attribute(&from.join("sub"), "dir");
    let flags = rustix::fs::XattrFlags::empty();
    // The file server's notes mean something else where they arrive.
    let _ = rustix::fs::setxattr(from.join("one"), "user.stack.owner", b"0", flags);
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    unpack(&tree(&to), packed(&from, "from").as_slice()).unwrap();
    let meta = |path: &str| fs::metadata(to.join(path)).unwrap();
    assert_eq!(meta("one").ino(), meta("sub/two").ino());
    assert_eq!(
        (meta("sparse").len(), meta("sparse").blocks()),
        (8 << 20, 0)
    );
    if kept {
        assert_eq!(attribute_of(&to.join("one"), "user.mine"), "value");
        assert_eq!(attribute_of(&to.join("sub"), "user.mine"), "dir");
        assert_eq!(attribute_of(&to.join("one"), "user.stack.owner"), "");
    }
}

#[test]
fn the_top_of_a_directory_comes_along() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for made in [&from, &to] {
        fs::create_dir(made).unwrap();
        fs::create_dir(made.join("sub")).unwrap();
    }
    let modes = |top, sub| {
        fs::set_permissions(&from, fs::Permissions::from_mode(top)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(sub)).unwrap();
    };
    modes(0o2750, 0o700);
    let mut out = Vec::new();
    let order = Pack {
        path: from.clone(),
        top: true,
        ..Pack::default()
    };
    pack(&order, &mut out).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let any = Unpack {
        path: to.clone(),
        ..Unpack::default()
    };
    let before = mode(&to);
    unpack(&any, out.as_slice()).unwrap();
    assert_eq!(mode(&to), before);
    let all = Unpack {
        directories: true,
        ..any
    };
    // A stranger's bits stay outside.
    unpack(&all, out.as_slice()).unwrap();
    assert_eq!((mode(&to), mode(&to.join("sub"))), (0o750, 0o700));
    let guest = Unpack {
        attributes: Which::All,
        ..all
    };
    unpack(&guest, out.as_slice()).unwrap();
    assert_eq!(mode(&to), 0o2750);
    // Only directories have contents.
    fs::write(from.join("file"), "").unwrap();
    let file = Pack {
        path: from.join("file"),
        ..Pack::default()
    };
    assert!(pack(&file, &mut Vec::new()).is_err());
}

#[test]
fn a_file_in_use_is_replaced_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("program"), "old").unwrap();
    fs::hard_link(at("program"), at("other")).unwrap();
    let mut open = File::open(at("program")).unwrap();
    let order = tree(&at("program"));
    unpack(&order, stream(&[("new", None, "new one")]).as_slice()).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
    assert_eq!(fs::read_to_string(at("other")).unwrap(), "old");
    assert_eq!(fs::read_to_string(at("program")).unwrap(), "new one");
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_link_that_is_the_target_leads_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("real"), "old").unwrap();
    symlink("real", at("link")).unwrap();
    symlink("later", at("dangling")).unwrap();
    for (link, real) in [("link", "real"), ("dangling", "later")] {
        let file = stream(&[("f", None, "new")]);
        unpack(&tree(&at(link)), file.as_slice()).unwrap();
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(at(real)).unwrap(), "new");
    }
    // One in a directory is replaced.
    fs::create_dir(at("dir")).unwrap();
    symlink("../real", at("dir/f")).unwrap();
    let file = stream(&[("f", None, "other")]);
    unpack(&tree(&at("dir")), file.as_slice()).unwrap();
    assert!(fs::symlink_metadata(at("dir/f")).unwrap().is_file());
    assert_eq!(fs::read_to_string(at("real")).unwrap(), "new");
}

#[test]
fn a_hard_link_over_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("a"), "text").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    let packed = packed(&from, "from");
    // Twice: the second time, both are there already.
    let order = Unpack {
        contents: true,
        ..tree(&dir.path().join("to"))
    };
    for _ in 0..2 {
        unpack(&order, packed.as_slice()).unwrap();
        let inode = |name: &str| fs::metadata(order.path.join(name)).unwrap().ino();
        assert_eq!(inode("a"), inode("b"));
        assert_eq!(fs::read_dir(&order.path).unwrap().count(), 2);
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder
        .append_link(&mut header, "from/a", "from/a")
        .unwrap();
    let itself = builder.into_inner().unwrap();
    unpack(&order, itself.as_slice()).unwrap();
    assert_eq!(fs::read_to_string(order.path.join("a")).unwrap(), "text");
}

#[test]
fn links_and_pipes_may_have_several_names() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, from.join("pipe"), pipe, mode, 0).unwrap();
    for name in ["link", "pipe"] {
        fs::hard_link(from.join(name), from.join(format!("{name}2"))).unwrap();
    }
    let order = Unpack {
        contents: true,
        ..tree(&dir.path().join("to"))
    };
    // Twice: the second time, all are there already.
    for _ in 0..2 {
        unpack(&order, packed(&from, "from").as_slice()).unwrap();
        let meta = |name: &str| fs::symlink_metadata(order.path.join(name)).unwrap();
        for name in ["link", "pipe"] {
            let (one, two) = (meta(name), meta(&format!("{name}2")));
            assert_eq!((one.ino(), one.nlink()), (two.ino(), 2), "{name}");
        }
        let to = fs::read_link(order.path.join("link2")).unwrap();
        assert_eq!(to, Path::new("/etc/passwd"));
        assert_eq!(fs::read_dir(&order.path).unwrap().count(), 4);
    }
    // A directory has one name.
    fs::create_dir(order.path.join("sub")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder
        .append_link(&mut header, "from/other", "from/sub")
        .unwrap();
    let stream = builder.into_inner().unwrap();
    let error = unpack(&order, stream.as_slice()).unwrap_err().to_string();
    assert!(error.contains("a hard link to a directory"), "{error}");
}

#[test]
fn headers_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_path("long").unwrap();
        header.set_cksum();
        let endless = std::io::repeat(b'x');
        let mut hostile = header.as_bytes().chain(endless);
        let error = unpack(&tree(&dir.path().join("f")), &mut hostile).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    }
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(512);
    header.set_path("f").unwrap();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 30);
    gnu.sparse[0].set_offset(1 << 20);
    gnu.sparse[0].set_length(512);
    header.set_cksum();
    builder.append(&header, [7u8; 512].as_slice()).unwrap();
    let sparse = builder.into_inner().unwrap();
    let to = dir.path().join("f");
    unpack(&tree(&to), sparse.as_slice()).unwrap();
    let meta = fs::metadata(&to).unwrap();
    assert_eq!(meta.len(), 1 << 30);
    assert!(meta.blocks() < 4096, "{meta:?}");
    let mut byte = [0];
    let file = File::open(&to).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, (1 << 20) + 5).unwrap();
    assert_eq!(byte, [7]);
}

#[test]
fn what_a_stranger_packed_runs_as_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o6755);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "f", &[][..]).unwrap();
    let packed = builder.into_inner().unwrap();
    for (attributes, expected) in [(Which::Plain, 0o755), (Which::All, 0o6755)] {
        let order = Unpack {
            attributes,
            ..tree(&dir.path().join(format!("{attributes:?}")))
        };
        unpack(&order, packed.as_slice()).unwrap();
        assert_eq!(fs::metadata(&order.path).unwrap().mode() & 0o7777, expected);
    }
}

/// Removes things as soon as a stream has a name.
struct Removing<'a> {
    out: Vec<u8>,
    /// The name, and what goes then.
    when: Vec<(&'a str, std::path::PathBuf)>,
}

impl std::io::Write for Removing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.extend_from_slice(bytes);
        let has = |name: &str| bytes.starts_with(format!("{name}\0").as_bytes());
        for (_, gone) in self.when.iter().filter(|(name, _)| has(name)) {
            let _ = fs::remove_file(gone).or_else(|_| fs::remove_dir_all(gone));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_goes_meanwhile_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("b/deep")).unwrap();
    fs::create_dir_all(from.join("c/deep")).unwrap();
    fs::write(from.join("a"), "a").unwrap();
    fs::write(from.join("z"), "z").unwrap();
    symlink("a", from.join("link")).unwrap();
    let mut to = Removing {
        out: Vec::new(),
        when: vec![
            ("t/a", from.join("b")),
            ("t/a", from.join("link")),
            ("t/c/", from.join("c")),
        ],
    };
    let order = Pack {
        path: from,
        name: "t".to_owned(),
        ..Pack::default()
    };
    pack(&order, &mut to).unwrap();
    let mut archive = tar::Archive::new(to.out.as_slice());
    let names = archive.entries().unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["t/", "t/a", "t/c/", "t/z"]);
}

#[test]
fn what_would_be_gone_at_once_is_refused() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    symlink(memory.path(), dir.path().join("run")).unwrap();
    let into = |path: &str| {
        let order = Unpack {
            lasting: true,
            ..tree(&dir.path().join(path))
        };
        unpack(&order, stream(&[("f", None, "text")]).as_slice())
    };
    into("f").unwrap();
    for path in ["run", "run/f"] {
        let error = into(path).unwrap_err().to_string();
        assert!(error.contains("is in memory"), "{error}");
    }
    assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 0);
}
