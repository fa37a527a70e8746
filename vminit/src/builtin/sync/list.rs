//! What is there.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use stack_protocol::sync::{FromGuest, MAX_MESSAGE, write};

/// Bytes of paths in one answer; escaping may make six of one.
const PIECE: usize = MAX_MESSAGE / 8;

/// Writes all paths below the target. What cannot be read counts as empty.
pub(super) fn answer(target: &Path, output: &mut impl Write) -> io::Result<()> {
    let mut listing = Listing {
        output,
        paths: Vec::new(),
        bytes: 0,
    };
    // Depth first without recursion: trees may be deep.
    let mut left = vec![String::new()];
    while let Some(directory) = left.pop() {
        let path = match directory.as_str() {
            "" => target.to_path_buf(),
            relative => target.join(relative),
        };
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let relative = match directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(relative.clone());
            }
            listing.add(relative)?;
        }
    }
    listing.send(true)
}

struct Listing<'a, W> {
    output: &'a mut W,
    paths: Vec<String>,
    bytes: usize,
}

impl<W: Write> Listing<'_, W> {
    fn add(&mut self, path: String) -> io::Result<()> {
        self.bytes += path.len() + 3;
        self.paths.push(path);
        match self.bytes > PIECE {
            true => self.send(false),
            false => Ok(()),
        }
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        self.bytes = 0;
        let paths = std::mem::take(&mut self.paths);
        write(self.output, &FromGuest::Listed { paths, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_once() {
        let dir = std::env::temp_dir().join(format!("stack-list-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/c"), "").unwrap();
        fs::write(dir.join("d"), "").unwrap();
        let mut output = Vec::new();
        answer(&dir, &mut output).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let mut from = output.as_slice();
        let Some(FromGuest::Listed { mut paths, last }) =
            stack_protocol::sync::read(&mut from).unwrap()
        else {
            panic!("not a listing");
        };
        paths.sort();
        assert!(last);
        assert_eq!(paths, ["a", "a/b", "a/b/c", "d"]);
    }
}
