//! ext4 disks: made once per kind and size, then copied without their holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::SeekFrom;

use crate::Error;

/// A VM that dies leaves its disks in the middle of something: all of them
/// have a journal, of this many MiB.
const JOURNAL: &str = "size=16";

/// Checksums of metadata are a good part of what small files cost in an emulated
/// VM, and what is on a scratch disk can be made anew. Those of groups stay: they
/// say which inode tables are not written yet, of 256 MiB on each disk.
const SCRATCH: Kind = Kind {
    name: "scratch-1",
    features: &["-O", "^metadata_csum,uninit_bg"],
    bytes_per_inode: "65536",
};

const VOLUME: Kind = Kind {
    name: "volume",
    features: &[],
    bytes_per_inode: "65536",
};

/// Packages of languages are many files of a few KiB.
const CACHE: Kind = Kind {
    name: "cache",
    features: &[],
    bytes_per_inode: "16384",
};

/// What a disk is for.
struct Kind {
    /// A part of its template's name.
    name: &'static str,
    /// Of its file system.
    features: &'static [&'static str],
    /// How large a file is on average, or larger.
    bytes_per_inode: &'static str,
}

/// Makes a disk that takes the writes of one container.
///
/// # Errors
/// mkfs.ext4 is missing or the disk is full.
pub fn create_scratch(path: &Path, size: u64) -> Result<(), Error> {
    create(path, size, &SCRATCH, false)
}

/// Makes the disk of a volume. A power cut does not leave zeros under its name,
/// which takes some 20 ms.
///
/// # Errors
/// mkfs.ext4 is missing or the disk is full.
pub fn create_volume(path: &Path, size: u64) -> Result<(), Error> {
    create(path, size, &VOLUME, true)
}

/// Makes the disk of a volume that gets four times as many files as others.
///
/// # Errors
/// mkfs.ext4 is missing or the disk is full.
pub fn create_cache(path: &Path, size: u64) -> Result<(), Error> {
    create(path, size, &CACHE, true)
}

/// Makes the disk of a volume that goes with its container.
///
/// # Errors
/// mkfs.ext4 is missing or the disk is full.
pub fn create_nameless_volume(path: &Path, size: u64) -> Result<(), Error> {
    create(path, size, &VOLUME, false)
}

fn create(path: &Path, size: u64, kind: &Kind, lasts: bool) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let template = dir.join(format!(".ext4-{}-{size}.template", kind.name));
    if !template.exists() {
        make(&template, size, kind)?;
    }
    let partial = partial(path);
    let result = copy_sparse(&template, &partial)
        .and_then(|copy| if lasts { copy.sync_all() } else { Ok(()) })
        .and_then(|()| std::fs::rename(&partial, path));
    result.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        Error::io(dir.display().to_string())(error)
    })
}

/// The disk's last machine did not unmount it: its journal has what is not in its place
/// yet, and only a machine that may write can put it there. A disk that cannot be read
/// has none.
pub fn needs_recovery(path: &Path) -> bool {
    // ext4's superblock: s_magic, and s_feature_incompat with RECOVER.
    let mut superblock = [0; 0x64];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut superblock, 1024));
    read.is_ok() && superblock[0x38..0x3a] == [0x53, 0xef] && superblock[0x60] & 4 != 0
}

fn partial(path: &Path) -> PathBuf {
    // Two at a time must not share one.
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    path.with_extension(format!("{}-{thread}.partial", std::process::id()))
}

/// Where mkfs.ext4 is, which for most users is not in `PATH`.
fn mkfs() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/opt/homebrew/opt/e2fsprogs/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join("mkfs.ext4"))
        .find(|program| program.is_file())
        .ok_or(Error::NoTool("mkfs.ext4"))
}

fn make(path: &Path, size: u64, kind: &Kind) -> Result<(), Error> {
    let program = mkfs()?;
    let partial = partial(path);
    let what = path.display().to_string();
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&partial)
        .map_err(Error::io(what.clone()))?;
    file.set_len(size).map_err(Error::io(what.clone()))?;
    let output = Command::new(&program)
        .args(["-q", "-F", "-m", "0", "-i", kind.bytes_per_inode])
        .args([
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
        ])
        .args(["-J", JOURNAL])
        .args(kind.features)
        .arg(&partial)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("mkfs.ext4"))?;
    if !output.status.success() {
        let _ = std::fs::remove_file(&partial);
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No space left") {
            return Err(Error::DiskFull(path.to_path_buf()));
        }
        let source = io::Error::other(said.trim().to_owned());
        return Err(Error::Io {
            what: "mkfs.ext4".to_owned(),
            source,
        });
    }
    // All disks to come are copies of it.
    file.sync_all().map_err(Error::io(what.clone()))?;
    std::fs::rename(&partial, path).map_err(Error::io(what))
}

/// Nobody has ever mounted the disk and written to it: the time of that is in the
/// superblock (kernel, `Documentation/filesystems/ext4/super.rst`, `s_mtime`). What
/// cannot be read counts as written.
pub fn is_unused(path: &Path) -> bool {
    const MOUNTED: u64 = 1024 + 0x2c;
    let mut time = [0xff; 4];
    let read = File::open(path).and_then(|disk| disk.read_exact_at(&mut time, MOUNTED));
    read.is_ok() && time == [0; 4]
}

/// Copies a file; holes stay holes (lseek(2), SEEK_DATA). Gives the copy.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<File> {
    let source = File::open(from)?;
    let size = source.metadata()?.len();
    let target = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(to)?;
    target.set_len(size)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // There are only holes left.
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&source, SeekFrom::Hole(data))?;
        at = data;
        while at < end {
            let want = buffer.len().min((end - at) as usize);
            let got = source.read_at(&mut buffer[..want], at)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            target.write_all_at(&buffer[..got], at)?;
            at += got as u64;
        }
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_volume_has_checksums_and_a_scratch_disk_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, volume) = (dir.path().join("a"), dir.path().join("b"));
        create_scratch(&scratch, 64 << 30).unwrap();
        create_volume(&volume, 64 << 30).unwrap();
        // ext4's superblock: s_feature_ro_compat, METADATA_CSUM.
        let checksums = |path: &Path| {
            let mut features = [0; 4];
            let file = File::open(path).unwrap();
            file.read_exact_at(&mut features, 1024 + 0x64).unwrap();
            u32::from_le_bytes(features) & 0x400 != 0
        };
        assert!(!checksums(&scratch) && checksums(&volume));
        // Neither has tables of what is not there yet.
        let size = |path: &Path| std::fs::metadata(path).unwrap().blocks() * 512;
        assert!(size(&scratch) < 16 << 20 && size(&volume) < 16 << 20);
    }

    #[test]
    fn a_disk_that_was_not_unmounted_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        assert!(!needs_recovery(&volume));
        create_volume(&volume, 64 << 20).unwrap();
        assert!(!needs_recovery(&volume));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&volume)
            .unwrap();
        let mut features = [0];
        file.read_exact_at(&mut features, 1024 + 0x60).unwrap();
        file.write_all_at(&[features[0] | 4], 1024 + 0x60).unwrap();
        assert!(needs_recovery(&volume));
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"first", 4096).unwrap();
        file.write_all_at(b"last", 50 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
        assert!(std::fs::metadata(&to).unwrap().blocks() < 1 << 10);
    }
}
