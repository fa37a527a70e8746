//! Where a command puts an archive: into a file, which is there whole or not
//! at all, or to standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

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
    /// It was cut off, or cannot be written. A file is then as it was.
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
    Nameless { file: File, path: PathBuf },
    /// A file beside the one that it will be.
    Beside {
        file: tempfile::NamedTempFile,
        path: PathBuf,
    },
    /// A device or a pipe: nothing can take its place.
    Direct(File),
}

impl WholeFile {
    fn new(path: &Path) -> io::Result<WholeFile> {
        // A link still leads to the file afterwards.
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(error),
        };
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(WholeFile::Direct(file));
        }
        let folder = folder(&path);
        let nameless = OpenOptions::new()
            .write(true)
            .mode(0o666)
            .custom_flags(OFlags::TMPFILE.bits().cast_signed())
            .open(folder);
        match nameless {
            Ok(file) => Ok(WholeFile::Nameless { file, path }),
            Err(error) if not_supported(&error) => {
                let file = beside(|at| OpenOptions::new().write(true).create_new(true).open(at));
                Ok(WholeFile::Beside {
                    file: file(folder)?,
                    path,
                })
            }
            Err(error) => Err(error),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            WholeFile::Direct(_) => Ok(()),
            WholeFile::Beside { file, path } => {
                file.as_file().sync_all()?;
                file.persist(path)?;
                Ok(())
            }
            WholeFile::Nameless { file, path } => {
                file.sync_all()?;
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                // A name cannot be given over another one, so it is renamed.
                let named = beside(|at| {
                    let linked = rustix::fs::linkat(CWD, &own, CWD, at, AtFlags::SYMLINK_FOLLOW);
                    linked.map_err(io::Error::from)
                });
                named(folder(&path))?.into_temp_path().persist(path)?;
                Ok(())
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
}
