//! Trees that go into a tar stream and come out of it.

use std::fs;
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
