//! Good and hostile archives, and what becomes of them.

use std::io::Cursor;

use super::*;
use crate::digest::Digest;
use crate::erofs::listing;
use crate::testing::{Archive, Header, gzip};

fn job(blob: &[u8], content: &[u8], dir: &std::path::Path) -> Job {
    Job {
        source: Box::new(Cursor::new(blob.to_vec())),
        blob: Some(Digest::of(blob)),
        diff_id: Digest::of(content),
        limits: Limits::default(),
        tmp: dir.to_owned(),
        target: dir.join("image"),
        recipe: dir.join("recipe"),
        blobs: dir.join("blobs"),
    }
}

fn listed(archive: Vec<u8>) -> Result<Vec<String>, LayerError> {
    with_limits(archive, Limits::default())
}

fn with_limits(archive: Vec<u8>, limits: Limits) -> Result<Vec<String>, LayerError> {
    let dir = tempfile::tempdir().unwrap();
    let result = unpack(Job {
        limits,
        ..job(&archive, &archive, dir.path())
    });
    if result.is_ok() {
        // Whatever it is: it can be made again.
        let (image, recipe) = (dir.path().join("image"), dir.path().join("recipe"));
        let mut replay = crate::recipe::Replay::open(&image, &recipe).unwrap();
        let mut again = Vec::new();
        std::io::Read::read_to_end(&mut replay, &mut again).unwrap();
        assert_eq!(replay.size(), archive.len() as u64);
        assert!(again == archive, "another archive");
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(
        left,
        3 * usize::from(result.is_ok()),
        "temporary files are gone"
    );
    result.map(|()| listing(&dir.path().join("image")))
}

#[track_caller]
fn refused(archive: Vec<u8>, why: &str) {
    let error = listed(archive).expect_err("it must be refused");
    assert!(matches!(error, LayerError::Bad(_)), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
}

#[track_caller]
fn becomes(archive: Archive, expected: &[&str]) {
    assert_eq!(listed(archive.finish()).unwrap(), expected);
}

#[test]
fn all_kinds_of_files() {
    let special = |kind, path: &'static str, device| Header {
        kind,
        path: path.as_bytes(),
        mode: 0o4660,
        owner: (1000, 2_000_000),
        device,
        ..Header::default()
    };
    let archive = Archive::new()
        .dir("d/")
        .file("d/f", b"hello")
        .symlink("d/l", "/etc/../x")
        .hard_link("h", "d/f")
        .entry(&special(b'3', "c", (1, 3)), b"")
        .entry(&special(b'4', "b", (259, 70_000)), b"")
        .entry(&special(b'6', "p", (0, 0)), b"")
        .entry(
            &Header {
                kind: b'V',
                path: b"label",
                ..Header::default()
            },
            b"",
        );
    becomes(
        archive,
        &[
            "/ directory 755 0:0 0.0 links 3",
            "/b block 4660 1000:2000000 1700000000.0 259:70000",
            "/c char 4660 1000:2000000 1700000000.0 1:3",
            "/d directory 755 0:0 1700000000.0 links 2",
            "/d/f file 644 0:0 1700000000.0 links 2 \"hello\"",
            "/d/l symlink 777 0:0 1700000000.0 -> /etc/../x",
            "/h file 644 0:0 1700000000.0 links 2 \"hello\"",
            "/p fifo 4660 1000:2000000 1700000000.0",
        ],
    );
}

#[test]
fn pax_records_and_extended_attributes() {
    let long = "n".repeat(250);
    let archive = Archive::new()
        .pax(&[
            ("path", format!("deep/{long}").as_bytes()),
            ("mtime", b"1700000001.5"),
            ("uid", b"3000000000"),
            ("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
            ("SCHILY.xattr.user.a", b"1"),
            ("SCHILY.xattr.user.a", b"2"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.com.apple.provenance", b"x"),
        ])
        .file("ignored", b"x");
    let listed = listed(archive.finish()).unwrap();
    assert_eq!(
        listed[2],
        format!(
            "/deep/{long} file 644 3000000000:0 1700000001.500000000 \"x\" \
             security.capability=\"\\x01\\x00\\x00\\x02\" user.a=\"2\""
        )
    );
}

#[test]
fn whiteouts_take_the_form_of_overlayfs() {
    let archive = Archive::new()
        .file("a/.wh.gone", b"")
        .file("a/.wh.again", b"")
        .dir("a/again")
        .file("b/.wh..wh..opq", b"")
        .file("b/new", b"")
        .file("c", b"stays")
        .file(".wh.c", b"")
        .file(".wh..wh.plnk/x", b"data")
        .file("after", b"");
    becomes(
        archive,
        &[
            "/ directory 755 0:0 0.0 links 4",
            "/a directory 755 0:0 0.000000001 links 3",
            "/a/again directory 755 0:0 1700000000.0 links 2 opaque",
            "/a/gone whiteout",
            "/after file 644 0:0 1700000000.0 \"\"",
            "/b directory 755 0:0 0.000000001 links 2 opaque",
            "/b/new file 644 0:0 1700000000.0 \"\"",
            "/c file 644 0:0 1700000000.0 \"stays\"",
        ],
    );
    refused(Archive::new().file("a/.wh..", b"").finish(), "whiteout");
}

#[test]
fn nothing_leaves_the_root() {
    becomes(
        Archive::new().file("/etc/../passwd", b"x"),
        &[
            "/ directory 755 0:0 0.0 links 2",
            "/passwd file 644 0:0 1700000000.0 \"x\"",
        ],
    );
    refused(Archive::new().file("../x", b"").finish(), "out of the root");
    refused(
        Archive::new().file("a/../../x", b"").finish(),
        "out of the root",
    );
    refused(
        Archive::new().hard_link("x", "../../etc/passwd").finish(),
        "out of the root",
    );
}

#[test]
fn links_of_the_archive_are_followed_within_its_root() {
    let archive = Archive::new()
        .symlink("etc", "/tmp/../../evil")
        .file("etc/passwd", b"x")
        .symlink("lib", "usr/lib")
        .file("lib/a", b"1")
        .symlink("usr/lib64", "../lib/./")
        .file("usr/lib64/deep/b", b"2")
        .hard_link("same", "usr/lib64/a");
    becomes(
        archive,
        &[
            "/ directory 755 0:0 0.0 links 5",
            "/etc symlink 777 0:0 1700000000.0 -> /tmp/../../evil",
            "/evil directory 755 0:0 0.000000001 links 2",
            "/evil/passwd file 644 0:0 1700000000.0 \"x\"",
            "/lib symlink 777 0:0 1700000000.0 -> usr/lib",
            "/same file 644 0:0 1700000000.0 links 2 \"1\"",
            "/tmp directory 755 0:0 0.000000001 links 2",
            "/usr directory 755 0:0 0.000000001 links 3",
            "/usr/lib directory 755 0:0 0.000000001 links 3",
            "/usr/lib/a file 644 0:0 1700000000.0 links 2 \"1\"",
            "/usr/lib/deep directory 755 0:0 0.000000001 links 2",
            "/usr/lib/deep/b file 644 0:0 1700000000.0 \"2\"",
            "/usr/lib64 symlink 777 0:0 1700000000.0 -> ../lib/./",
        ],
    );
    // A directory that is named takes the link's place.
    becomes(
        Archive::new()
            .symlink("l", "lib")
            .dir("l")
            .file("l/a", b"1"),
        &[
            "/ directory 755 0:0 0.0 links 3",
            "/l directory 755 0:0 1700000000.0 links 2",
            "/l/a file 644 0:0 1700000000.0 \"1\"",
        ],
    );
    let circle = Archive::new().symlink("a", "b").symlink("b", "a");
    refused(circle.file("a/x", b"").finish(), "too many");
}

#[test]
fn hard_links_lead_to_files() {
    refused(
        Archive::new().hard_link("a", "missing").finish(),
        "no such file",
    );
    refused(
        Archive::new().dir("d").hard_link("a", "d").finish(),
        "is a directory",
    );
    refused(
        Archive::new().hard_link("a", "/").finish(),
        "is a directory",
    );
    refused(
        Archive::new().hard_link("a", "").finish(),
        "without a target",
    );
    refused(
        Archive::new().file("a", b"").hard_link("a/b", "a").finish(),
        "into itself",
    );
    becomes(
        Archive::new()
            .file("a", b"1")
            .hard_link("a", "a")
            .file("b", b"2"),
        &[
            "/ directory 755 0:0 0.0 links 2",
            "/a file 644 0:0 1700000000.0 \"1\"",
            "/b file 644 0:0 1700000000.0 \"2\"",
        ],
    );
}

#[test]
fn the_last_entry_of_a_name_counts() {
    let archive = Archive::new()
        .file("a", b"old")
        .file("a", b"new")
        .dir("d")
        .file("d/gone", b"")
        .file("d", b"now a file")
        .file("e", b"")
        .dir("e")
        .file("e/f", b"")
        .dir("e");
    becomes(
        archive,
        &[
            "/ directory 755 0:0 0.0 links 3",
            "/a file 644 0:0 1700000000.0 \"new\"",
            "/d file 644 0:0 1700000000.0 \"now a file\"",
            "/e directory 755 0:0 1700000000.0 links 2",
            "/e/f file 644 0:0 1700000000.0 \"\"",
        ],
    );
}

#[test]
fn names_are_bytes() {
    let header = Header {
        path: b"\xff\xfe\n",
        ..Header::default()
    };
    becomes(
        Archive::new().entry(&header, b""),
        &[
            "/ directory 755 0:0 0.0 links 2",
            "/\\xff\\xfe\\n file 644 0:0 1700000000.0 \"\"",
        ],
    );
}

#[test]
fn absurd_sizes_and_names_are_refused() {
    let huge = Header {
        path: b"huge",
        size: u64::MAX >> 1,
        ..Header::default()
    };
    refused(
        Archive::new().entry(&huge, b"").finish(),
        "files of more than",
    );
    let most = Header {
        path: b"huge",
        size: u64::MAX,
        ..Header::default()
    };
    refused(Archive::new().entry(&most, b"").finish(), "");
    let long = "n".repeat(256);
    refused(
        Archive::new()
            .pax(&[("path", long.as_bytes())])
            .file("x", b"")
            .finish(),
        "too long",
    );
    let deep = "d/".repeat(3000);
    refused(
        Archive::new()
            .pax(&[("path", deep.as_bytes())])
            .file("x", b"")
            .finish(),
        "path",
    );
    let record = vec![b'x'; 2 << 20];
    refused(
        Archive::new()
            .pax(&[("comment", &record)])
            .file("x", b"")
            .finish(),
        "metadata",
    );
    let value = vec![b'x'; 60_000];
    let (a, b) = ("SCHILY.xattr.user.a", "SCHILY.xattr.user.b");
    refused(
        Archive::new()
            .pax(&[(a, &value), (b, &value)])
            .file("x", b"")
            .finish(),
        "64 KiB",
    );
    let uid = Archive::new().pax(&[("uid", b"4294967296")]).file("x", b"");
    refused(uid.finish(), "32 bits");
}

#[test]
fn limits_hold() {
    let many = || {
        (0..50)
            .fold(Archive::new(), |a, n| a.file(&format!("f{n}"), b""))
            .finish()
    };
    let limits = Limits {
        entries: 49,
        ..Limits::default()
    };
    assert!(
        with_limits(many(), limits)
            .unwrap_err()
            .to_string()
            .contains("more than 49")
    );
    let limits = Limits {
        entries: 51,
        ..Limits::default()
    };
    assert_eq!(with_limits(many(), limits).unwrap().len(), 51);
    // One entry can make many directories.
    let deep = Archive::new().file(&"d/".repeat(40), b"").finish();
    let limits = Limits {
        entries: 30,
        ..Limits::default()
    };
    assert!(
        with_limits(deep, limits)
            .unwrap_err()
            .to_string()
            .contains("more than 30")
    );
    let limits = Limits {
        memory: 100,
        ..Limits::default()
    };
    assert!(
        with_limits(many(), limits)
            .unwrap_err()
            .to_string()
            .contains("too many bytes")
    );
    let limits = Limits {
        unpacked: 10_000,
        ..Limits::default()
    };
    assert!(
        with_limits(many(), limits)
            .unwrap_err()
            .to_string()
            .contains("more than 10000")
    );
}

#[test]
fn broken_archives_are_refused() {
    let whole = Archive::new()
        .file("a", &[1; 2000])
        .file("b", b"2")
        .finish();
    for len in [100, 600, 1000, 2500] {
        refused(whole[..len].to_vec(), "cut off");
    }
    refused(vec![b'x'; 5000], "not a good tar");
    let mut wrong = whole.clone();
    wrong[5] ^= 1;
    refused(wrong, "checksum");
    // An end that is missing is common, and what is behind it is nothing.
    assert_eq!(
        listed(Archive::new().file("a", b"").unfinished())
            .unwrap()
            .len(),
        2
    );
    assert_eq!(listed(Vec::new()).unwrap().len(), 1);
    let garbage = Archive::new()
        .file("a", b"")
        .raw(&[0; 1024])
        .raw(b"garbage\xff");
    assert_eq!(listed(garbage.unfinished()).unwrap().len(), 2);
}

#[test]
fn sparse_files() {
    let map = b"2\n100000\n5\n200000\n3\n";
    let mut data = map.to_vec();
    data.resize(512, 0);
    data.extend(b"helloabc");
    let records = |real: &'static str| -> Vec<(&'static str, &'static [u8])> {
        vec![
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"holes"),
            ("GNU.sparse.realsize", real.as_bytes()),
        ]
    };
    let archive = Archive::new()
        .pax(&records("300000"))
        .file("x", &data)
        .file("y", b"1")
        .finish();
    let dir = tempfile::tempdir().unwrap();
    unpack(job(&archive, &archive, dir.path())).unwrap();
    let content = crate::erofs::content(&dir.path().join("image"), "/holes");
    assert_eq!(content.len(), 300_000);
    assert_eq!(&content[100_000..100_005], b"hello");
    assert_eq!(&content[200_000..200_003], b"abc");
    assert_eq!(content.iter().filter(|byte| **byte != 0).count(), 8);

    // Data beyond the end, and one size that nobody has.
    refused(
        Archive::new()
            .pax(&records("200001"))
            .file("x", &data)
            .finish(),
        "holes",
    );
    let absurd = Archive::new()
        .pax(&records("9223372036854775807"))
        .file("x", &data);
    refused(absurd.finish(), "files of more than");
    let old = |map: &'static [u8]| {
        let records: [(&str, &[u8]); 2] = [("GNU.sparse.map", map), ("GNU.sparse.size", b"100")];
        Archive::new().pax(&records).file("x", b"12345").finish()
    };
    assert_eq!(listed(old(b"10,2,50,3")).unwrap().len(), 2);
    refused(old(b"10,2,11,3"), "holes");
    refused(old(b"50,3,10,2"), "holes");
    refused(old(b"10,2"), "does not fit");
    refused(old(b"18446744073709551615,5"), "holes");
}

#[test]
fn endless_sparse_headers_are_refused() {
    let mut head = Header {
        kind: b'S',
        path: b"s",
        ..Header::default()
    }
    .encode();
    head[257..265].copy_from_slice(b"ustar  \0");
    head[482] = 1;
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut more = [0; 512];
    more[504] = 1;
    let archive = (0..10_000).fold(Archive::new().raw(&head), |a, _| a.raw(&more));
    refused(archive.unfinished(), "4 MiB");
}

#[test]
fn compressions() {
    let content = Archive::new().file("a", &[7; 100_000]).finish();
    let (one, two) = content.split_at(1000);
    let blobs = [
        gzip(&content),
        [gzip(one), gzip(two)].concat(),
        zstd::encode_all(&content[..], 1).unwrap(),
        [
            zstd::encode_all(one, 1).unwrap(),
            zstd::encode_all(two, 1).unwrap(),
        ]
        .concat(),
    ];
    for blob in blobs {
        let dir = tempfile::tempdir().unwrap();
        unpack(job(&blob, &content, dir.path())).unwrap();
        assert_eq!(listing(&dir.path().join("image")).len(), 2);
        // Cut off, and honestly described.
        let cut = &blob[..blob.len() - 9];
        assert!(matches!(
            unpack(job(cut, &content, dir.path())),
            Err(LayerError::Bad(_))
        ));
    }
    refused(b"\xfd7zXZ\0rest".to_vec(), "xz");
    refused(b"BZh9rest".to_vec(), "bzip2");
}

#[test]
fn digests_are_checked_before_anything_is_believed() {
    let content = Archive::new().file("a", b"1").finish();
    let blob = gzip(&content);
    let dir = tempfile::tempdir().unwrap();
    let check = |job: Job, what: &str| {
        let error = unpack(job).unwrap_err();
        assert!(matches!(error, LayerError::Digest { .. }), "{error:?}");
        assert!(error.to_string().starts_with(what), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    };
    let blob_digest = Some(Digest::of(b"other"));
    check(
        Job {
            blob: blob_digest,
            ..job(&blob, &content, dir.path())
        },
        "a layer",
    );
    let diff_id = Digest::of(b"other");
    check(
        Job {
            diff_id,
            ..job(&blob, &content, dir.path())
        },
        "the content of a layer",
    );
    // Garbage in place of the blob is a wrong blob first of all.
    let garbage = Box::new(Cursor::new(vec![b'x'; 4000]));
    check(
        Job {
            source: garbage,
            ..job(&blob, &content, dir.path())
        },
        "a layer",
    );
}

#[test]
fn a_bomb_is_stopped() {
    let limits = Limits {
        unpacked: 1 << 20,
        ..Limits::default()
    };
    let blob = gzip(&vec![0; 4 << 20]);
    let dir = tempfile::tempdir().unwrap();
    let error = unpack(Job {
        limits,
        ..job(&blob, b"", dir.path())
    })
    .unwrap_err();
    assert!(
        error.to_string().contains("more than 1048576 bytes"),
        "{error}"
    );
}

#[test]
fn a_broken_source_keeps_its_error() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(LayerError::Cancelled.into())
        }
    }
    let content = Archive::new().file("a", b"1").finish();
    let dir = tempfile::tempdir().unwrap();
    let half = Box::new(std::io::Read::chain(
        Cursor::new(content[..700].to_vec()),
        Broken,
    ));
    let result = unpack(Job {
        source: half,
        ..job(&content, &content, dir.path())
    });
    assert!(matches!(result, Err(LayerError::Cancelled)), "{result:?}");
}
