//! Layouts at their edges, read back.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use super::*;

struct Image {
    dir: tempfile::TempDir,
    tree: Tree,
    contents: Contents,
}

impl Image {
    fn new() -> Image {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("image"))
            .unwrap();
        let contents = Contents::new(file, dir.path()).unwrap();
        Image {
            dir,
            tree: Tree::new(),
            contents,
        }
    }

    fn file(&mut self, dir: NodeId, name: &str, data: &[u8], xattrs: Xattrs) {
        let mut writer = self.contents.begin(data.len() as u64, &xattrs).unwrap();
        for part in data.chunks(3000) {
            writer.write_all(part).unwrap();
        }
        let content = Content::File(writer.end().unwrap());
        let attributes = Attributes {
            mode: 0o600,
            xattrs,
            ..Attributes::default()
        };
        self.tree.place(dir, name.as_bytes(), attributes, content);
    }

    fn dir(&mut self, parent: NodeId, name: &str) -> NodeId {
        let empty = Content::Directory(BTreeMap::new());
        self.tree
            .place(parent, name.as_bytes(), Attributes::default(), empty)
    }

    fn finish(self) -> (tempfile::TempDir, PathBuf) {
        finish(&self.tree, self.contents).unwrap();
        let path = self.dir.path().join("image");
        (self.dir, path)
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + len) as u8 | 1).collect()
}

fn xattrs(value: usize) -> Xattrs {
    let mut xattrs = Xattrs::default();
    if value > 0 {
        assert_eq!(xattrs.push(b"user.x", &vec![b'x'; value]), Some(true));
    }
    xattrs
}

#[test]
fn files_of_all_sizes() {
    let sizes = [
        0, 1, 31, 4031, 4032, 4033, 4095, 4096, 4097, 8127, 8128, 8129, 8192, 70_000, 1_048_577,
        3_000_000,
    ];
    let mut image = Image::new();
    for size in sizes {
        for value in [0, 10, 3000, 4000, 20_000] {
            image.file(ROOT, &format!("{size}-{value}"), &data(size), xattrs(value));
        }
    }
    let (_dir, path) = image.finish();
    let reader = Reader::open(&path).unwrap();
    for Entry { name, nid, .. } in reader.directory(&reader.root().unwrap()).unwrap() {
        let name = String::from_utf8(name).unwrap();
        let (size, value) = name.split_once('-').unwrap();
        let inode = reader.inode(nid).unwrap();
        assert!(
            reader.read(&inode, 1 << 30).unwrap() == data(size.parse().unwrap()),
            "{name}"
        );
        assert_eq!(
            inode.attributes.xattrs,
            xattrs(value.parse().unwrap()),
            "{name}"
        );
    }
    assert_eq!(listing_len(&path), 1 + sizes.len() * 5);
}

fn listing_len(path: &std::path::Path) -> usize {
    let reader = Reader::open(path).unwrap();
    let output = std::process::Command::new("fsck.erofs")
        .arg("--extract")
        .arg(path)
        .output();
    if let Ok(output) = output {
        assert!(output.status.success(), "fsck.erofs: {output:?}");
    }
    usize::try_from(reader.inodes()).unwrap()
}

#[test]
fn directories_of_all_sizes() {
    let mut image = Image::new();
    for count in [0, 1, 2, 10, 170, 171, 172, 300, 340, 341, 342, 2000] {
        let dir = image.dir(ROOT, &format!("d{count}"));
        for n in 0..count {
            image.file(dir, &format!("{n:012}"), b"", Xattrs::default());
        }
    }
    let long = image.dir(ROOT, "long");
    for n in 0..100 {
        image.file(long, &format!("{n:0255}"), b"", Xattrs::default());
    }
    // Names before and after `.` and `..`.
    let odd = image.dir(ROOT, "odd");
    for name in ["!", "-", ".-", ".a", "..a", "...", "0", "~"] {
        image.file(odd, name, name.as_bytes(), Xattrs::default());
    }
    let (_dir, path) = image.finish();
    let reader = Reader::open(&path).unwrap();
    for Entry { name, nid, .. } in reader.directory(&reader.root().unwrap()).unwrap() {
        let name = String::from_utf8(name).unwrap();
        let entries = reader.directory(&reader.inode(nid).unwrap()).unwrap();
        let expected = match name.as_str() {
            "long" => 100,
            "odd" => 8,
            other => other[1..].parse().unwrap(),
        };
        assert_eq!(entries.len(), expected, "{name}");
        assert!(entries.is_sorted_by(|a, b| a.name < b.name));
    }
    listing_len(&path);
}

#[test]
fn nodes_that_lose_their_names_are_left_out() {
    let mut image = Image::new();
    let dir = image.dir(ROOT, "d");
    let below = image.dir(dir, "e");
    image.file(below, "f", b"1", Xattrs::default());
    let kept = image.tree.child(below, b"f").unwrap();
    image.tree.link(ROOT, b"kept", kept);
    image.file(ROOT, "d", b"2", Xattrs::default());
    assert!(image.tree.get(below).is_none());
    assert_eq!(image.tree.get(kept).unwrap().links, 1);
    let (_dir, path) = image.finish();
    assert_eq!(listing_len(&path), 3);
    assert_eq!(content(&path, "/kept"), b"1");
}

#[test]
fn holes_take_no_space() {
    let mut image = Image::new();
    let mut writer = image.contents.begin(64 << 30, &Xattrs::default()).unwrap();
    writer.skip(32 << 30).unwrap();
    writer.write_all(b"middle").unwrap();
    let content = Content::File(writer.end().unwrap());
    image
        .tree
        .place(ROOT, b"sparse", Attributes::default(), content);
    image.file(ROOT, "zeros", &vec![0; 8 << 20], Xattrs::default());
    let (_dir, path) = image.finish();
    assert!(crate::layer::disk_size(&path).unwrap() < 10 << 20);
    let reader = Reader::open(&path).unwrap();
    let entries = reader.directory(&reader.root().unwrap()).unwrap();
    let inode = reader.inode(entries[0].nid).unwrap();
    let mut middle = [1; 8];
    reader.read_at(&inode, 32 << 30, &mut middle).unwrap();
    assert_eq!(&middle, b"middle\0\0");
}

#[test]
fn more_than_a_file_has_is_an_error() {
    let mut image = Image::new();
    let mut writer = image.contents.begin(3, &Xattrs::default()).unwrap();
    assert!(writer.write_all(b"1234").is_err());
    assert!(writer.skip(4).is_err());
    assert!(image.contents.begin(u64::MAX, &Xattrs::default()).is_err());
}

#[test]
fn damaged_images_are_errors() {
    let mut image = Image::new();
    let dir = image.dir(ROOT, "d");
    for n in 0..500 {
        image.file(dir, &format!("{n}"), b"data", Xattrs::default());
    }
    let (_dir, path) = image.finish();
    let good = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let reader = Reader::open(&path)?;
        let mut todo = vec![reader.root()?];
        for _ in 0..2000 {
            let Some(inode) = todo.pop() else { break };
            match inode.kind {
                Kind::Directory => {
                    for Entry { nid, .. } in reader.directory(&inode)? {
                        todo.push(reader.inode(nid)?);
                    }
                }
                _ => drop(reader.read(&inode, 1 << 20)?),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    read(&good).unwrap();
    assert!(read(&good[..good.len() - 1]).is_err());
    // Whatever is damaged: no panic.
    for at in (1024..good.len()).step_by(211) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let _ = read(&bad);
    }
}
