//! Files that say how a build goes: the Dockerfile, and what is left out.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of such a file at most.
const MAX: u64 = 4 << 20;

/// Reads a file. Contexts come from elsewhere, so it may be anything; when
/// `inside` is given, it must not lead out of that directory.
///
/// # Errors
/// It is not there, no regular file, too large or outside.
pub(super) fn read(path: &Path, inside: Option<&Path>) -> io::Result<Vec<u8>> {
    let real = path.canonicalize()?;
    if let Some(inside) = inside
        && !real.starts_with(inside.canonicalize()?)
    {
        return Err(io::Error::other("it leads out of the repository"));
    }
    // A pipe without a writer does not stop us.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(real)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX {
        true => Err(io::Error::other("it has more than 4 MiB")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_sensible_size_inside_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("a"), "FROM x").unwrap();
        std::fs::write(dir.path().join("b"), "secret").unwrap();
        std::os::unix::fs::symlink("../b", inside.join("out")).unwrap();
        std::os::unix::fs::symlink("a", inside.join("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", inside.join("zero")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            inside.join("pipe"),
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        std::fs::write(inside.join("large"), vec![b'a'; MAX as usize + 1]).unwrap();
        let within = |name: &str| read(&inside.join(name), Some(&inside));
        assert_eq!(within("a").unwrap(), b"FROM x");
        assert_eq!(within("link").unwrap(), b"FROM x");
        for bad in ["out", "zero", "pipe", "large", "none", "."] {
            assert!(within(bad).is_err(), "{bad}");
        }
        assert_eq!(read(&inside.join("out"), None).unwrap(), b"secret");
        assert!(read(&inside.join("pipe"), None).is_err());
    }
}
