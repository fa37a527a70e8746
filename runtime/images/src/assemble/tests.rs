//! Stacks of layers and the files they become.

use std::fs;
use std::io::Cursor;

use super::*;
use crate::erofs::listing;
use crate::layer::{Job, Limits, unpack};
use crate::testing::{Archive, Header};

fn digests(numbers: impl IntoIterator<Item = u8>) -> Vec<Digest> {
    numbers.into_iter().map(|n| Digest::of(&[n])).collect()
}

#[test]
fn the_lowest_of_many_are_merged() {
    let root = Path::new("/nowhere");
    assert_eq!(Stack::new(&digests(0..8)).merged(root), 0);
    assert_eq!(Stack::new(&digests(0..9)).merged(root), 2);
    assert_eq!(Stack::new(&digests(0..20)).merged(root), 13);
}

#[test]
fn chain_ids_are_those_of_the_specification() {
    let stack = Stack::new(&digests(1..=3));
    let two = Digest::of(format!("{} {}", Digest::of(&[1]), Digest::of(&[2])).as_bytes());
    let three = Digest::of(format!("{two} {}", Digest::of(&[3])).as_bytes());
    assert_eq!(stack.id(), three);
    assert_eq!(stack.chain(1), Digest::of(&[1]));
}

#[test]
fn a_layer_that_comes_twice_counts_as_the_upper_one() {
    assert_eq!(
        Stack::new(&digests([1, 2, 1, 3, 2])).layers,
        digests([1, 3, 2])
    );
}

fn job(root: &Path, diff_id: &Digest, content: Vec<u8>) -> Job {
    Job {
        source: Box::new(Cursor::new(content)),
        blob: None,
        diff_id: diff_id.clone(),
        limits: Limits::default(),
        tmp: root.join("tmp"),
        target: LayerFile::Layer(diff_id.clone()).path(root),
        recipe: LayerFile::recipe(root, diff_id),
        blobs: LayerFile::blobs(root, diff_id),
    }
}

// A store's directory with these layers in it, and their stack.
fn store(archives: Vec<Archive>) -> (tempfile::TempDir, Stack) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tmp", "layers", "chains"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let mut diff_ids = Vec::new();
    for archive in archives {
        let content = archive.finish();
        let diff_id = Digest::of(&content);
        unpack(job(dir.path(), &diff_id, content)).unwrap();
        diff_ids.push(diff_id);
    }
    (dir, Stack::new(&diff_ids))
}

fn build(archives: Vec<Archive>) -> Vec<Vec<String>> {
    let (dir, stack) = store(archives);
    let built = stack.build(dir.path()).unwrap();
    // What is there is used again, without what it replaced.
    for file in &built.replaced {
        fs::remove_file(file.path(dir.path())).unwrap();
    }
    for diff_id in stack.needed(dir.path()) {
        assert!(LayerFile::Layer(diff_id).path(dir.path()).exists());
    }
    assert_eq!(stack.build(dir.path()).unwrap().files, built.files);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    built
        .files
        .iter()
        .map(|file| listing(&file.path(dir.path())))
        .collect()
}

fn directory(path: &str, mode: u32, owner: (u64, u64)) -> Archive {
    let path = path.as_bytes();
    Archive::new().entry(
        &Header {
            kind: b'5',
            path,
            mode,
            owner,
            ..Header::default()
        },
        b"",
    )
}

#[test]
fn implied_directories_look_as_below() {
    let base = directory("a", 0o1777, (1, 2))
        .dir("a/b")
        .dir("c")
        .file("a/old", b"");
    let upper = Archive::new()
        .file("a/b/new", b"")
        .file("c/new", b"")
        .file("fresh/f", b"");
    let files = build(vec![base, upper]);
    assert_eq!(files.len(), 3);
    assert_eq!(
        files[2],
        [
            "/ directory 755 0:0 0.0 links 4",
            "/a directory 1777 1:2 1700000000.0 links 3",
            "/a/b directory 755 0:0 1700000000.0 links 2",
            "/c directory 755 0:0 1700000000.0 links 2",
        ]
    );
}

#[test]
fn named_hidden_and_lone_directories_are_right_as_they_are() {
    let base = || directory("a", 0o1777, (1, 2)).dir("b").dir("c");
    let named = Archive::new().dir("a").file("a/f", b"");
    assert_eq!(build(vec![base(), named]).len(), 2);
    let again = Archive::new().file(".wh.a", b"").file("a/f", b"");
    assert_eq!(build(vec![base(), again]).len(), 2);
    let replaced = Archive::new().file("a", b"");
    let back = Archive::new().file("a/f", b"");
    assert_eq!(build(vec![base(), replaced, back]).len(), 3);
    assert_eq!(
        build(vec![
            Archive::new().file("x/f", b""),
            Archive::new().dir("y")
        ])
        .len(),
        2
    );
}

#[test]
fn the_file_of_directories_takes_one_of_eight_places() {
    let layers = |count: usize| {
        let mut archives = vec![directory("a", 0o1777, (1, 2))];
        archives.extend((1..count).map(|n| Archive::new().file(&format!("a/f{n}"), b"")));
        build(archives)
    };
    for (count, expected) in [(1, 1), (2, 3), (7, 8), (8, 8), (9, 8), (12, 8)] {
        let files = layers(count);
        assert_eq!(files.len(), expected, "{count} layers");
        if count > 1 {
            assert_eq!(files[expected - 1].len(), 2);
            assert!(files[expected - 1][1].starts_with("/a directory 1777 1:2 "));
        }
        // All files of all layers are somewhere.
        let names = files
            .iter()
            .flatten()
            .filter(|line| line.contains(" file "))
            .count();
        assert_eq!(names, count - 1);
    }
}

#[test]
fn empty_and_hidden_layers_are_left_out() {
    let empty = Archive::new;
    assert_eq!(build(vec![Archive::new().file("a", b""), empty()]).len(), 1);
    assert_eq!(build(vec![empty()]).len(), 1);
    let all_new = Archive::new().file(".wh..wh..opq", b"").file("b", b"");
    let files = build(vec![Archive::new().file("a", b""), all_new]);
    assert_eq!(files.len(), 1);
    assert!(files[0][1].starts_with("/b "));
    assert_eq!(build(Vec::new()).len(), 0);
}

#[test]
fn each_layer_of_a_merged_file_can_be_made_again() {
    // Files that later layers hide, and links.
    let archives: Vec<Archive> = (0..14)
        .map(|n: usize| {
            Archive::new()
                .dir("d")
                .file("same", format!("{n}").repeat(5000).as_bytes())
                .file(&format!("d/f{n}"), b"own")
                .hard_link(&format!("d/h{n}"), &format!("d/f{n}"))
                .file(&format!(".wh.d{n}"), b"")
                .symlink("l", "same")
        })
        .collect();
    let contents: Vec<Vec<u8>> = archives.iter().map(|a| a.clone().finish()).collect();
    let (dir, stack) = store(archives);
    // One more each time: merged files are merged again.
    let first = Stack {
        layers: stack.layers[..10].to_vec(),
    };
    for stack in [first, stack] {
        stack.build(dir.path()).unwrap();
        let built = stack.build(dir.path()).unwrap();
        let record = crate::record::Record {
            reference: String::new(),
            id: Digest::of(b""),
            digest: Digest::of(b""),
            platform: String::new(),
            config: crate::ImageConfig::default(),
            files: built.files,
            hidden: built.hidden,
            created_ms: 0,
            origin: crate::record::Origin {
                config: "{}".to_owned(),
                layers: stack.layers.clone(),
                ..Default::default()
            },
        };
        for file in &built.replaced {
            if matches!(file, LayerFile::Layer(_)) {
                fs::remove_file(file.path(dir.path())).unwrap();
            }
        }
        let archives = record.archives(dir.path()).unwrap();
        assert_eq!(archives.len(), stack.layers.len());
        for ((layer, image, recipe), content) in archives.iter().zip(&contents) {
            let mut replay = crate::recipe::Replay::open(image, recipe).unwrap();
            let mut again = Vec::new();
            std::io::Read::read_to_end(&mut replay, &mut again).unwrap();
            assert!(again == *content, "{layer}");
        }
        // As if the merged ones had come again for the next image.
        for (layer, content) in stack.layers.iter().zip(&contents) {
            unpack(job(dir.path(), layer, content.clone())).unwrap();
        }
    }
}

#[test]
fn holes_of_a_merged_file_cost_nothing() {
    const SIZE: u64 = (1 << 40) + 100;
    let (middle, end) = (SIZE / 2 + 3, SIZE - 2);
    let map = format!("{middle},5,{end},2");
    let records: [(&str, &[u8]); 2] = [
        ("GNU.sparse.map", map.as_bytes()),
        ("GNU.sparse.size", &SIZE.to_string().into_bytes()),
    ];
    let sparse = Archive::new().pax(&records).file("sparse", b"helloyz");
    let others = (1..12).map(|n| Archive::new().file(&format!("f{n}"), b"own"));
    let (dir, stack) = store(std::iter::once(sparse).chain(others).collect());
    let built = stack.build(dir.path()).unwrap();
    let path = built.files[0].path(dir.path());
    assert!(matches!(built.files[0], LayerFile::Chain(_)));
    assert!(crate::layer::disk_size(&path).unwrap() < 10 << 20);
    let reader = crate::erofs::Reader::open(&path).unwrap();
    let entries = reader.directory(&reader.root().unwrap()).unwrap();
    let entry = entries.iter().find(|entry| entry.name == b"sparse");
    let inode = reader.inode(entry.unwrap().nid).unwrap();
    assert_eq!(inode.size, SIZE);
    for (at, wanted) in [(middle - 1, &b"\0hello\0"[..]), (end - 1, b"\0yz")] {
        let mut there = vec![1; wanted.len()];
        reader.read_at(&inode, at, &mut there).unwrap();
        assert_eq!(there, wanted);
    }
}
