//! A file's content replaced at once: whoever reads it sees the old or the new.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;

/// Writes beside the file and renames; the mode stays, and a symbolic link
/// still leads to the file.
///
/// # Errors
/// It could not be written; the file is as it was.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    write(path, content).map_err(|source| Error::File {
        doing: "cannot write",
        path: path.to_path_buf(),
        source,
    })
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut beside = tempfile::Builder::new()
        .prefix(".stack-")
        .tempfile_in(folder)?;
    beside.write_all(content)?;
    let file = beside.as_file();
    file.set_permissions(fs::metadata(&path)?.permissions())?;
    file.sync_all()?;
    beside.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn mode_and_link_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(replace(&dir.path().join("none"), b"").is_err());
    }
}
