//! Where a command puts an archive: into a file, which is there whole or not
//! at all where its folder allows that, or to standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::client::Stream;
use crate::error::Error;

/// The option of commands that write an archive.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Output {
    /// Before anything is asked for: is there somewhere to write to?
    ///
    /// # Errors
    /// It would go to a terminal.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Error::usage(
                "an archive is nothing for a terminal",
                "name a file with -o, or pipe it into tar",
            ));
        }
        Ok(())
    }

    /// Writes all of the stream.
    ///
    /// # Errors
    /// It was cut off, or cannot be written. A file is then as it was, unless
    /// nothing could take its place.
    pub(crate) async fn write(self, stream: &mut Stream) -> Result<(), Error> {
        let Some(path) = self.output else {
            return stream.copy_to(&mut io::stdout()).await;
        };
        let failed = |source| Error::File {
            doing: "cannot write",
            path: path.clone(),
            source,
        };
        let mut file = WholeFile::new(&path).map_err(failed)?;
        match stream.copy_to(&mut file).await {
            Ok(()) => file.finish().map_err(failed),
            Err(Error::Output(source)) => Err(failed(source)),
            Err(error) => Err(error),
        }
    }
}

/// A file that gets its name when it is complete. Until then it has none, so
/// that a kill leaves nothing, where the file system can do that.
#[derive(Debug)]
enum WholeFile {
    /// A file without a name.
    Nameless {
        file: File,
        path: PathBuf,
        mode: Option<Mode>,
    },
    /// A file beside the one that it will be.
    Beside {
        file: tempfile::NamedTempFile,
        path: PathBuf,
        mode: Option<Mode>,
    },
    /// A device or a pipe, or a file in a folder that takes no others:
    /// nothing can take its place.
    Direct(File),
}

impl WholeFile {
    fn new(path: &Path) -> io::Result<WholeFile> {
        // A link still leads to the file afterwards.
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => end_of_links(path),
            Err(error) => return Err(error),
        };
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(|meta| !meta.is_file()) {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(WholeFile::Direct(file));
        }
        let mode = there.map(|meta| Mode::from_raw_mode(meta.mode() & 0o7777));
        match WholeFile::replacing(&path, mode) {
            Err(error) if mode.is_some() && is_closed(&error) => {
                Ok(WholeFile::Direct(overwrite(&path)?))
            }
            made => made,
        }
    }

    fn replacing(path: &Path, mode: Option<Mode>) -> io::Result<WholeFile> {
        let path = path.to_path_buf();
        let folder = folder(&path);
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o666)
            .custom_flags(OFlags::TMPFILE.bits().cast_signed())
            .open(folder);
        match nameless {
            Ok(file) => Ok(WholeFile::Nameless { file, path, mode }),
            Err(error) if not_supported(&error) => {
                let mut new = OpenOptions::new();
                new.read(true).write(true).create_new(true);
                let file = beside(|at| new.open(at));
                Ok(WholeFile::Beside {
                    file: file(folder)?,
                    path,
                    mode,
                })
            }
            Err(error) => Err(error),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            WholeFile::Direct(_) => Ok(()),
            WholeFile::Beside { file, path, mode } => {
                complete(file.as_file(), mode)?;
                let (file, name) = file.into_parts();
                took_place(name.persist(&path).map_err(io::Error::from), file, &path)
            }
            WholeFile::Nameless { file, path, mode } => {
                complete(&file, mode)?;
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                // A name cannot be given over another one, so it is renamed.
                let named = beside(|at| {
                    let linked = rustix::fs::linkat(CWD, &own, CWD, at, AtFlags::SYMLINK_FOLLOW);
                    linked.map_err(io::Error::from)
                });
                let name = named(folder(&path))?.into_temp_path();
                took_place(name.persist(&path).map_err(io::Error::from), file, &path)
            }
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WholeFile::Nameless { file, .. } | WholeFile::Direct(file) => file.write(bytes),
            WholeFile::Beside { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Before it gets its name: all of it is on the disk, and who may read it is
/// as for the one before.
fn complete(file: &File, mode: Option<Mode>) -> io::Result<()> {
    if let Some(mode) = mode {
        rustix::fs::fchmod(file, mode)?;
    }
    file.sync_all()
}

/// What is mounted at the path can only be written, not renamed over; nor can
/// what others own in a folder like `/tmp`.
fn took_place(renamed: io::Result<()>, mut file: File, path: &Path) -> io::Result<()> {
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy || is_closed(&error) => {
            file.rewind()?;
            let mut target = overwrite(path)?;
            io::copy(&mut file, &mut target)?;
            target.sync_all()
        }
        done => done,
    }
}

fn overwrite(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).truncate(true).open(path)
}

/// Where links lead to that is not there yet.
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = folder(&path).join(target);
    }
    path
}

/// Makes something with a name of its own in a folder.
fn beside<T>(
    make: impl FnMut(&Path) -> io::Result<T>,
) -> impl FnOnce(&Path) -> io::Result<tempfile::NamedTempFile<T>> {
    |folder| {
        tempfile::Builder::new()
            .prefix(".stack-")
            .suffix(".partial")
            .make_in(folder, make)
    }
}

fn folder(path: &Path) -> &Path {
    let above = path.parent().unwrap_or(Path::new("/"));
    match above.as_os_str().is_empty() {
        true => Path::new("."),
        false => above,
    }
}

/// File systems without O_TMPFILE say so, and old kernels take it for the
/// directory.
fn not_supported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.kind() == io::ErrorKind::IsADirectory
}

/// The folder takes no new file.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut half = WholeFile::new(&path).unwrap();
        half.write_all(b"half").unwrap();
        // What a kill would leave.
        assert_eq!(names(dir.path()), Vec::<String>::new());
        drop(half);
        for text in ["one", "two"] {
            let mut file = WholeFile::new(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(dir.path()), ["a.tar"]);
        }
        let mut half = WholeFile::new(&path).unwrap();
        half.write_all(b"half").unwrap();
        drop(half);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(WholeFile::new(&dir.path().join("none/a.tar")).is_err());
        assert!(WholeFile::new(dir.path()).is_err());
    }

    #[test]
    fn links_lead_where_they_led_and_devices_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut file = WholeFile::new(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        // As the user's umask says, not as of a temporary file.
        let plain = dir.path().join("plain");
        File::create(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&real), mode(&plain));
        WholeFile::new(Path::new("/dev/null"))
            .unwrap()
            .finish()
            .unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    fn written(path: &Path, text: &str) {
        let mut file = WholeFile::new(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }

    #[test]
    fn what_is_there_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.tar");
        fs::write(&path, "old").unwrap();
        for mode in [0o600, 0o664] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            written(&path, "new");
            let now = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(now & 0o7777, mode);
        }
    }

    #[test]
    fn links_to_nothing_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        std::os::unix::fs::symlink("sub/second", at("first")).unwrap();
        std::os::unix::fs::symlink("../real", at("sub/second")).unwrap();
        written(&at("first"), "new");
        assert_eq!(names(dir.path()), ["first", "real", "sub"]);
        assert_eq!(names(&at("sub")), ["second"]);
        assert!(fs::symlink_metadata(at("first")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at("real")).unwrap().is_file());
    }

    #[test]
    fn a_file_is_written_in_a_folder_that_takes_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        fs::write(&path, "a longer text").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        let folder = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode));
        folder(0o555).unwrap();
        // Root may do it all the same.
        let is_closed = File::create(dir.path().join("new")).is_err();
        written(&path, "short");
        let refused = WholeFile::new(&dir.path().join("b.tar")).is_err();
        folder(0o755).unwrap();
        assert_eq!(refused, is_closed);
        let after = fs::metadata(&path).unwrap().ino();
        assert_eq!(before == after, is_closed);
    }

    #[test]
    fn what_cannot_be_renamed_over_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        // A mount point, and another's file in a folder like /tmp.
        for kind in [io::ErrorKind::ResourceBusy, io::ErrorKind::PermissionDenied] {
            fs::write(&path, "a longer text").unwrap();
            let before = fs::metadata(&path).unwrap().ino();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"short").unwrap();
            took_place(Err(kind.into()), file, &path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "short");
            assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        }
    }
}
