//! Batches that are put into place, and what stays as it is.

use std::ops::{Deref, DerefMut};
use std::os::unix::fs::symlink;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use stack_protocol::sync::Answer;

use super::*;

/// A stage in an empty directory, which goes with it.
struct Case {
    dir: PathBuf,
    stage: Stage,
}

impl Case {
    fn new(name: &str, exact: bool) -> Case {
        let name = format!("stack-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let path = dir.join("target");
        fs::create_dir_all(&path).unwrap();
        let own = (geteuid().as_raw(), getegid().as_raw());
        let stage = Stage {
            target: Target { path, exact },
            owner: own,
            own,
            parent: Last::none(),
            aside: Some(Aside::within(&dir.join("aside")).unwrap()),
            disk: None,
            shelf: Last::none(),
            steps: Vec::new(),
            last: HashMap::new(),
            replaced: Replaced::default(),
            outcome: Outcome::default(),
            broken: false,
        };
        Case { dir, stage }
    }

    fn put_file(&mut self, path: &str, mode: u32, text: &str) {
        let item = file(path, mode, text.len() as u64);
        self.stage.put(item, None, &mut text.as_bytes()).unwrap();
    }

    fn put(&mut self, path: &str, kind: Kind) {
        let path = path.to_owned();
        let item = Item { path, kind };
        self.stage.put(item, None, &mut io::empty()).unwrap();
    }
}

impl Deref for Case {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Case {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn file(path: &str, mode: u32, size: u64) -> Item {
    let stamp = Stamp {
        size,
        modified_ns: 0,
    };
    let path = path.to_owned();
    let kind = Kind::File { stamp, mode };
    Item { path, kind }
}

/// Runs it where mounts are nobody else's, if this user may make any.
fn with_mounts(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            if unshare(CloneFlags::CLONE_NEWNS).is_ok()
                && mount(none, "/", none, private, none).is_ok()
            {
                test();
            }
        });
    });
}

fn bind(from: &Path, to: &Path) {
    let none = None::<&str>;
    mount(Some(from), to, none, MsFlags::MS_BIND, none).unwrap();
}

#[test]
fn where_it_is_exact_no_link_counts_as_a_directory() {
    let mut case = Case::new("exact", true);
    let (target, outside) = (case.target.clone(), case.dir.join("outside"));
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("a"), "own").unwrap();
    for link in ["said", "implied", "gone"] {
        symlink("../outside", target.path.join(link)).unwrap();
    }
    let kind = Kind::Directory { mode: 0o1777 };
    let path = "said".to_owned();
    let said = Item { path, kind };
    let file = |path| file(path, 0o4755, 3);
    for item in [said.clone(), file("said/a"), file("implied/a")] {
        assert_eq!(compare::answer(&target, &item), Answer::Differs);
        case.stage.put(item, None, &mut &b"new"[..]).unwrap();
    }
    case.remove("gone/a".to_owned(), None);
    assert_eq!(case.commit().failures, []);
    assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "own");
    let real = |name: &str| fs::symlink_metadata(target.path.join(name)).unwrap().mode();
    let modes = ["said", "said/a", "implied", "implied/a"].map(real);
    assert_eq!(modes, [0o41777, 0o104_755, 0o40755, 0o104_755]);
    assert_eq!(compare::answer(&target, &said), Answer::Same);
}

#[test]
fn what_was_said_last_of_a_path_counts() {
    let mut case = Case::new("last", false);
    let target = case.target.path.clone();
    fs::write(target.join("f7"), "old").unwrap();
    for n in 0..3 * TOGETHER {
        case.put_file(&format!("f{n}"), 0o644, "a");
    }
    case.put_file("f7", 0o644, "b");
    case.remove("f8".to_owned(), None);
    let outcome = case.commit();
    assert_eq!(outcome.failures, []);
    assert_eq!(
        (outcome.written, outcome.removed),
        (3 * TOGETHER as u64 - 1, 0)
    );
    assert_eq!(fs::read_dir(&target).unwrap().count(), 3 * TOGETHER - 1);
    assert_eq!(fs::read_to_string(target.join("f7")).unwrap(), "b");
    let left: Vec<_> = (0..4)
        .flat_map(|n| fs::read_dir(case.path_of_shelf(n)).into_iter().flatten())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_file_does_not_take_the_place_of_a_directory() {
    let mut case = Case::new("root", false);
    let own = case.target.path.join("own");
    fs::write(&own, "own").unwrap();
    case.put_file("", 0o644, "new");
    let failures = case.commit().failures;
    assert_eq!(fs::read_to_string(own).unwrap(), "own");
    assert_eq!(failures, [(String::new(), NO_FILE.to_owned())]);
    assert!(remove::directory(Path::new("/")).is_err());
}

#[test]
fn what_cannot_be_staged_keeps_nothing_else_back() {
    let mut case = Case::new("stage", false);
    let target = case.target.path.clone();
    fs::create_dir_all(target.join("there")).unwrap();
    let link = |to: &str| Kind::Symlink { to: to.to_owned() };
    case.put("bad", link(&"x".repeat(5000)));
    case.put("good", link("x"));
    case.put("there", Kind::Directory { mode: 0o700 });
    let outcome = case.commit();
    assert_eq!(outcome.failures.len(), 1);
    assert_eq!(outcome.failures[0].0, "bad");
    let mode = fs::metadata(target.join("there")).unwrap().mode() & 0o777;
    assert_eq!((outcome.written, mode), (2, 0o700));
    let good = fs::read_link(target.join("good"));
    assert_eq!(good.unwrap(), Path::new("x"));
}

#[test]
fn what_goes_takes_nothing_along_that_is_mounted_in_it() {
    let mut case = Case::new("mounts", false);
    let (target, volume) = (case.target.path.clone(), case.dir.join("volume"));
    for dir in [
        volume.clone(),
        target.join("gone/deep"),
        target.join("a/b/mounted"),
        target.join("file/mounted"),
    ] {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("own"), "own").unwrap();
    }
    symlink(&volume, target.join("gone/link")).unwrap();
    fs::write(target.join("a/one"), "").unwrap();
    fs::write(target.join("root"), "").unwrap();
    with_mounts(|| {
        bind(&volume, &target.join("a/b/mounted"));
        bind(&volume, &target.join("file/mounted"));
        bind(&volume.join("own"), &target.join("root"));
        for path in ["gone", "a", "a/b/mounted"] {
            case.remove(path.to_owned(), None);
        }
        case.put_file("file", 0o644, "new");
        let outcome = case.commit();
        assert_eq!((outcome.written, outcome.removed), (0, 1));
        let failures = outcome.failures;
        let failed: Vec<_> = failures.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(failed, ["a", "a/b/mounted", "file"]);
        let named = target.join("a/b/mounted").display().to_string();
        assert!(failures[0].1.ends_with(&named), "{}", failures[0].1);
        assert_eq!(failures[1].1, "it is a mount point");
        // Everything goes, but these.
        case.remove(String::new(), None);
        assert_eq!(case.commit().failures.len(), 1);
        assert_eq!(fs::read_to_string(volume.join("own")).unwrap(), "own");
        assert!(target.join("file/mounted/own").is_file());
        let left = fs::read_dir(&target).unwrap().count();
        assert_eq!(left, 3, "a, file and root");
        assert_eq!(fs::read_dir(target.join("a")).unwrap().count(), 1);
    });
}

#[test]
fn a_file_that_is_mounted_gets_time_and_mode_as_well() {
    let mut case = Case::new("mounted", false);
    let (path, behind) = (case.target.path.join("a"), case.dir.join("behind"));
    fs::write(&path, "").unwrap();
    fs::write(&behind, "longer than before").unwrap();
    with_mounts(|| {
        bind(&behind, &path);
        case.put_file("a", 0o640, "new");
        assert_eq!(case.commit().failures, []);
        assert_eq!(fs::read_to_string(&behind).unwrap(), "new");
        let item = file("a", 0o640, 3);
        assert_eq!(compare::answer(&case.target, &item), Answer::Same);
    });
}
