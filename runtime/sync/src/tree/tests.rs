//! Real directories, looked at before and after.

use std::fs;

use super::*;

struct Case {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Case {
    fn new(ignore: &[&str], include: &[&str]) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let patterns = |list: &[&str]| Patterns::new(list.iter().copied()).unwrap();
        let filter = Filter {
            ignore: vec![(folder.path().to_path_buf(), patterns(ignore))],
            include: patterns(include),
        };
        let tree = Tree::new(folder.path().to_path_buf(), filter);
        Case { folder, tree }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `+path` for what is there, `-path` for what is not.
    fn look(&mut self, path: &str, deep: bool) -> Vec<String> {
        let path = self.folder.path().join(path);
        let changes = self.tree.look(&path, deep, &mut |_| {}).changes;
        let word = |change: &Change| {
            let sign = if change.now.is_some() { '+' } else { '-' };
            format!("{sign}{}", change.path)
        };
        changes.iter().map(word).collect()
    }
}

#[test]
fn changes_are_told_once() {
    let mut case = Case::new(&[], &[]);
    case.write("a.txt", "1");
    case.write("sub/b.txt", "2");
    assert_eq!(case.look("", true), ["+", "+a.txt", "+sub", "+sub/b.txt"]);
    assert!(case.look("", true).is_empty());
    case.write("sub/b.txt", "longer");
    assert_eq!(case.look("sub/b.txt", false), ["+sub/b.txt"]);
    assert!(case.look("sub/b.txt", false).is_empty());
}

#[test]
fn a_removed_directory_takes_its_files_along() {
    let mut case = Case::new(&[], &[]);
    case.write("sub/deep/b.txt", "2");
    case.look("", true);
    fs::remove_dir_all(case.folder.path().join("sub")).unwrap();
    assert_eq!(
        case.look("sub", false),
        ["-sub/deep", "-sub/deep/b.txt", "-sub"]
    );
}

#[test]
fn a_directory_that_no_pattern_includes_still_loses_its_files() {
    let mut case = Case::new(&[], &["**/*.js"]);
    case.write("sub/b.js", "2");
    case.write("sub/b.css", "2");
    assert_eq!(case.look("", true), ["+sub/b.js"]);
    fs::remove_dir_all(case.folder.path().join("sub")).unwrap();
    assert_eq!(case.look("sub", false), ["-sub/b.js"]);
}

#[test]
fn ignored_directories_are_not_even_entered() {
    let mut case = Case::new(&["node_modules"], &[]);
    case.write("node_modules/x/y.js", "1");
    case.write("app.js", "1");
    let mut entered = Vec::new();
    let root = case.folder.path().to_path_buf();
    case.tree
        .look(&root, true, &mut |path| entered.push(path.to_path_buf()));
    assert_eq!(entered, [root]);
}

#[test]
fn where_it_is_exact_nothing_is_passed_over() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let odd = OsStr::from_bytes(b"\xff");
    let look = |case: &mut Case| {
        let found = case.tree.look(case.folder.path(), true, &mut |_| {});
        match found.unreadable.into_iter().next() {
            Some(unreadable) => Err(unreadable),
            None => Ok(found.changes),
        }
    };
    let exact = |ignore: &[&str]| {
        let mut case = Case::new(ignore, &[]);
        case.tree = case.tree.exact();
        case
    };
    let mut case = exact(&[]);
    case.write("a", "1");
    let path = case.folder.path().join("a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    let changes = look(&mut case).unwrap();
    assert!(matches!(
        changes[1].now,
        Some(Kind::File { mode: 0o4711, .. })
    ));

    let mut case = exact(&[]);
    fs::write(case.folder.path().join(odd), "").unwrap();
    let error = look(&mut case).unwrap_err();
    assert!(error.to_string().contains("UTF-8"), "{error}");
    for ignore in ["*", "sub"] {
        let mut case = exact(&[ignore]);
        case.write("sub/a", "1");
        let sub = case.folder.path().join("sub");
        fs::write(sub.join(odd), "").unwrap();
        std::os::unix::fs::symlink(odd, sub.join("link")).unwrap();
        look(&mut case).unwrap();
    }
    let mut case = exact(&[]);
    std::os::unix::fs::symlink(odd, case.folder.path().join("link")).unwrap();
    assert!(look(&mut case).is_err());
}

#[test]
fn a_new_directory_is_read_whole() {
    let mut case = Case::new(&[], &[]);
    case.look("", true);
    case.write("new/deep/file", "1");
    assert_eq!(
        case.look("new", false),
        ["+new", "+new/deep", "+new/deep/file"]
    );
}

#[test]
fn a_file_in_place_of_a_directory() {
    let mut case = Case::new(&[], &[]);
    case.write("x/file", "1");
    case.look("", true);
    fs::remove_dir_all(case.folder.path().join("x")).unwrap();
    case.write("x", "now a file");
    assert_eq!(case.look("x", false), ["-x/file", "+x"]);
}

#[test]
fn a_directory_that_was_moved_here_is_read_whole() {
    let mut case = Case::new(&["*.new", "*.old"], &[]);
    let root = case.folder.path().to_path_buf();
    case.write("dist/js/deep/a.js", "1");
    case.look("", true);
    case.write("dist.new/js/deep/a.js", "longer");
    fs::rename(root.join("dist"), root.join("dist.old")).unwrap();
    fs::rename(root.join("dist.new"), root.join("dist")).unwrap();
    let mut entered = Vec::new();
    let mut enter = |path: &Path| entered.push(path.strip_prefix(&root).unwrap().to_owned());
    let changes = case.tree.look(&root.join("dist"), false, &mut enter);
    let paths: Vec<String> = changes.changes.into_iter().map(|c| c.path).collect();
    assert_eq!(paths, ["dist/js/deep/a.js"]);
    assert_eq!(
        entered,
        ["dist", "dist/js", "dist/js/deep"].map(PathBuf::from)
    );
    assert!(case.look("dist", false).is_empty());
}

#[test]
fn another_filter_lets_more_in() {
    let mut case = Case::new(&["*.css"], &[]);
    case.write("a.js", "1");
    case.write("a.css", "1");
    assert_eq!(case.look("", true), ["+", "+a.js"]);
    case.tree = case.tree.with(Filter::default());
    assert_eq!(case.look("", true), ["+a.css"]);
}

#[test]
fn one_file_is_a_tree_too() {
    let mut case = Case::new(&[], &[]);
    case.write("conf", "1");
    let path = case.folder.path().join("conf");
    case.tree = Tree::new(path, Filter::default());
    assert_eq!(case.look("", true), ["+"]);
    case.write("conf", "22");
    assert_eq!(case.look("conf", false), ["+"]);
}

#[test]
fn what_is_unreadable_keeps_nothing_else_back() {
    use std::os::unix::fs::PermissionsExt;
    let mut case = Case::new(&[], &[]);
    case.write("app.js", "1");
    case.write("data/secret", "1");
    case.write("src/a.js", "1");
    let data = case.folder.path().join("data");
    let set = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    // Root reads all the same.
    let hidden = fs::read_dir(&data).is_err();
    let root = case.folder.path().to_path_buf();
    let found = case.tree.look(&root, true, &mut |_| {});
    set(0o755);
    let paths: Vec<String> = found.changes.into_iter().map(|c| c.path).collect();
    if hidden {
        assert_eq!(paths, ["", "app.js", "data", "src", "src/a.js"]);
        assert_eq!(found.unreadable.len(), 1);
        assert_eq!(found.unreadable[0].path, data);
        assert_eq!(case.look("data", false), ["+data", "+data/secret"]);
    } else {
        assert!(paths.contains(&"src/a.js".to_owned()), "{paths:?}");
    }
}

#[test]
fn what_is_not_utf_8_is_told_once_it_is_looked_at() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let odd = OsStr::from_bytes(b"odd\xff");
    let mut case = Case::new(&["sub", "odd*.tmp"], &[]);
    let root = case.folder.path().to_path_buf();
    case.write("a", "1");
    case.write("sub/a", "1");
    for dir in [&root, &root.join("sub")] {
        fs::write(dir.join(odd), "").unwrap();
    }
    let mut temporary = odd.to_owned();
    temporary.push(".tmp");
    fs::write(root.join(temporary), "").unwrap();
    std::os::unix::fs::symlink(odd, root.join("link")).unwrap();
    let found = case.tree.look(&root, true, &mut |_| {});
    let paths: Vec<String> = found.changes.into_iter().map(|c| c.path).collect();
    let told = |found: &[Unreadable]| found.iter().map(Unreadable::to_string).collect::<Vec<_>>();
    assert_eq!(paths, ["", "a"]);
    let unreadable = told(&found.unreadable);
    assert_eq!(unreadable.len(), 2, "{unreadable:?}");
    assert!(unreadable.iter().all(|text| text.contains("UTF-8")));
    // One event is enough, unless it is gone again.
    let mut look = |path: &Path| case.tree.look(path, false, &mut |_| {}).unreadable.len();
    assert_eq!(look(&root.join(odd)), 1);
    fs::remove_file(root.join(odd)).unwrap();
    assert_eq!(look(&root.join(odd)), 0);
}

#[test]
fn another_file_with_the_same_size_and_time_is_a_change() {
    let mut case = Case::new(&[], &[]);
    case.write("a", "1");
    case.write("b", "2");
    let path = |name: &str| case.folder.path().join(name);
    let time = fs::metadata(path("a")).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(path("b")).unwrap();
    file.set_modified(time).unwrap();
    let (a, b) = (path("a"), path("b"));
    case.look("", true);
    fs::rename(&b, &a).unwrap();
    assert_eq!(case.look("a", false), ["+a"]);
    assert!(case.look("a", false).is_empty());
}

#[test]
fn a_link_in_the_place_of_a_directory_shows_nothing_of_where_it_leads() {
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("key"), "private").unwrap();
    let mut case = Case::new(&[], &[]);
    case.write("sub/deep/a", "1");
    let root = case.folder.path().to_path_buf();
    // It is put there after the directory was looked at and before it is read.
    let mut swapped = false;
    let mut swap = |path: &Path| {
        if !swapped && path.ends_with("sub") {
            swapped = true;
            fs::remove_dir_all(path).unwrap();
            std::os::unix::fs::symlink(secret.path(), path).unwrap();
        }
    };
    let paths = |found: Found| -> Vec<String> {
        let paths = found.changes.into_iter().map(|change| change.path);
        paths.collect()
    };
    assert_eq!(paths(case.tree.look(&root, true, &mut swap)), ["", "sub"]);
    assert!(case.look("sub/key", false).is_empty());
    let now = case.tree.look(&root, true, &mut |_| {}).changes;
    assert!(
        matches!(&now[..], [Change { path, now: Some(Kind::Symlink { .. }) }] if path == "sub")
    );
}
