//! The service's root: layers, scratch disk, mounts and small files.
//!
//! It is built in the agent's own mount namespace, below `/run`; the service
//! gets a copy of the namespace and moves [`ROOT`] to `/` there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use stack_protocol::config::{Mount, MountSource, VmConfig, share_dir};

use crate::within::{Root, Target};
use crate::{changes, devices, files, nfs, relay, volume};

/// Where the root is until the service's own namespace moves it to `/`.
pub(crate) const ROOT: &str = "/run/root";
const SCRATCH: &str = "/run/scratch";
/// What the service has changed, in the form of overlayfs.
pub(crate) const UPPER: &str = "/run/scratch/upper";

/// Makes the whole root.
pub(crate) fn build(config: &VmConfig) -> io::Result<()> {
    let disks = Disks::new(config)?;
    layers(config, &disks)?;
    let root = Root::open(ROOT)?;
    devices::make(config, &root)?;
    for (n, mount) in config.mounts.iter().enumerate() {
        one(config, n, &root, &disks)
            .map_err(|error| io::Error::other(format!("mount at {}: {error}", mount.target)))?;
    }
    files::make(config, &root)?;
    // Docker makes the working directory, as root, before the start.
    root.directory(&config.process.cwd)
        .map_err(|error| io::Error::other(format!("{}: {error}", config.process.cwd)))?;
    if config.root.read_only {
        let none: Option<&str> = None;
        mount(
            none,
            ROOT,
            none,
            MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
            none,
        )?;
    }
    Ok(())
}

/// mount(2) with a message that says what.
pub(crate) fn on(
    source: &str,
    target: &Path,
    kind: &str,
    flags: MsFlags,
    data: &str,
) -> io::Result<()> {
    mount(Some(source), target, Some(kind), flags, Some(data))
        .map_err(|error| io::Error::other(format!("{kind} {source}: {}", error.desc())))
}

/// Shows `source` at `target`, too.
pub(crate) fn bind(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    let none: Option<&str> = None;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    if !read_only {
        mount(Some(source), target, none, flags, none)?;
        return Ok(());
    }
    // A target held open names what is below the new mount, which is where
    // the flag would go: so the mount is made ready elsewhere.
    let stage = Path::new(if source.is_dir() {
        "/run/stage"
    } else {
        "/run/stage-file"
    });
    if source.is_dir() {
        fs::create_dir_all(stage)?;
    } else {
        fs::File::create(stage)?;
    }
    mount(Some(source), stage, none, flags, none)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, stage, none, flags, none)?;
    mount(Some(stage), target, none, MsFlags::MS_MOVE, none)?;
    Ok(())
}

/// The VM's disks by serial number.
pub(crate) struct Disks(HashMap<String, String>);

impl Disks {
    /// Waits for those that the configuration names.
    fn new(config: &VmConfig) -> io::Result<Disks> {
        let volumes = config.mounts.iter().flat_map(|mount| match &mount.source {
            MountSource::Disk { serial, .. } => std::slice::from_ref(serial),
            MountSource::Image { layers } => layers,
            MountSource::Nfs { .. }
            | MountSource::Share { .. }
            | MountSource::Socket { .. }
            | MountSource::Tmpfs { .. } => &[],
        });
        let wanted: Vec<&String> = config
            .root
            .layers
            .iter()
            .chain(&config.root.scratch)
            .chain(volumes)
            .collect();
        let mut disks = Disks(HashMap::new());
        // The kernel may still be looking for them.
        for _ in 0..200 {
            disks.look()?;
            if wanted.iter().all(|serial| disks.0.contains_key(*serial)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(disks)
    }

    fn look(&mut self) -> io::Result<()> {
        for entry in fs::read_dir("/sys/block")?.flatten() {
            if let Ok(serial) = fs::read_to_string(entry.path().join("serial")) {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.0.insert(serial.trim().to_owned(), name);
            }
        }
        Ok(())
    }

    /// The device node of a disk.
    pub(crate) fn node(&self, serial: &str) -> io::Result<String> {
        let name = self.0.get(serial);
        name.map(|name| format!("/dev/{name}"))
            .ok_or_else(|| io::Error::other(format!("no disk has the serial number {serial}")))
    }

    /// The host gave the disk read-only.
    pub(crate) fn is_read_only(&self, serial: &str) -> bool {
        self.0.get(serial).is_some_and(|name| {
            fs::read_to_string(format!("/sys/block/{name}/ro")).is_ok_and(|ro| ro.trim() == "1")
        })
    }
}

fn layers(config: &VmConfig, disks: &Disks) -> io::Result<()> {
    let scratch = Path::new(SCRATCH);
    fs::create_dir_all(ROOT)?;
    fs::create_dir_all(scratch)?;
    match &config.root.scratch {
        Some(serial) => {
            on(
                &disks.node(serial)?,
                scratch,
                "ext4",
                MsFlags::MS_NOATIME,
                volume::OPTIONS,
            )?;
        }
        None => on("tmpfs", scratch, "tmpfs", MsFlags::empty(), "mode=0700")?,
    }
    let (upper, work) = (PathBuf::from(UPPER), scratch.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    let mut lower = Vec::new();
    for (n, serial) in config.root.layers.iter().enumerate() {
        let dir = layer(n);
        fs::create_dir_all(&dir)?;
        on(
            &disks.node(serial)?,
            Path::new(&dir),
            "erofs",
            MsFlags::MS_RDONLY,
            "",
        )?;
        // overlayfs wants the topmost first.
        lower.insert(0, dir);
    }
    if lower.is_empty() {
        return bind(&upper, Path::new(ROOT), false);
    }
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    on(
        "overlay",
        Path::new(ROOT),
        "overlay",
        MsFlags::empty(),
        &data,
    )
}

/// Makes the mount with the number `n`.
fn one(config: &VmConfig, n: usize, root: &Root, disks: &Disks) -> io::Result<()> {
    let wanted: &Mount = &config.mounts[n];
    // What the image does not have there gives a volume nothing.
    let gives = wanted.subpath.is_empty() && root.existing(&wanted.target).is_ok();
    let mut shown = match &wanted.source {
        MountSource::Disk {
            serial,
            copy_image_content,
        } => {
            let image = if *copy_image_content && gives {
                Some(root.directory(&wanted.target)?)
            } else {
                None
            };
            volume::mount(serial, disks, image.as_ref())?
        }
        MountSource::Share {
            tag,
            name,
            copy_image_content,
            foreign,
        } => {
            let source = share(tag)?.join(name);
            if !source.is_dir() {
                let target = root.file(&wanted.target)?;
                return bind(&source, &target.path(), wanted.read_only);
            }
            if *copy_image_content && gives {
                let image = root.directory(&wanted.target)?;
                match foreign {
                    true => volume::fill_foreign(&source, &image)?,
                    false => volume::fill_shared(&source, &image)?,
                }
            }
            source
        }
        MountSource::Socket { address, port } => {
            let source = relay::start(n, SocketAddr::new(*address, *port))?;
            let target = root.file(&wanted.target)?;
            return bind(&source, &target.path(), wanted.read_only);
        }
        MountSource::Nfs {
            server,
            path,
            options,
            copy_image_content,
        } => {
            let source = nfs::mount(
                &nfs::Export {
                    server,
                    path,
                    options,
                },
                n,
                config,
            )?;
            if *copy_image_content && gives {
                volume::fill_foreign(&source, &root.directory(&wanted.target)?)?;
            }
            source
        }
        MountSource::Image { layers } => {
            let top = image(n, layers, disks)?;
            let shown = Root::open(&top)?.existing(&wanted.subpath)?;
            let target = match shown.path().is_dir() {
                true => root.directory(&wanted.target)?,
                false => root.file(&wanted.target)?,
            };
            return bind(&shown.path(), &target.path(), true);
        }
        MountSource::Tmpfs {
            size,
            mode,
            options,
        } => {
            let target = root.directory(&wanted.target)?;
            let mode = match mode {
                None if is_in_image(config, &wanted.target) => Some(mode_of(&target)?),
                mode => *mode,
            };
            let (mut flags, data) = tmpfs(*size, mode, options);
            flags.set(MsFlags::MS_RDONLY, wanted.read_only);
            return on("tmpfs", &target.path(), "tmpfs", flags, &data);
        }
    };
    if !wanted.subpath.is_empty() {
        let inside = Root::open(&shown)?.directory(&wanted.subpath)?;
        let held = PathBuf::from(format!("/run/subpath/{n}"));
        fs::create_dir_all(&held)?;
        bind(&inside.path(), &held, false)?;
        shown = held;
    }
    bind(
        &shown,
        &root.directory(&wanted.target)?.path(),
        wanted.read_only,
    )
}

/// Puts the layers of another image together, for the mount with the number `n`.
fn image(n: usize, layers: &[String], disks: &Disks) -> io::Result<PathBuf> {
    let top = PathBuf::from(format!("/run/image/{n}"));
    let part = |name: &str| top.join(name);
    // An overlay has two parts or more, and is what makes away with what a layer deletes.
    let mut lower = vec![part("none").display().to_string()];
    fs::create_dir_all(part("none"))?;
    for (k, serial) in layers.iter().enumerate() {
        let dir = part(&k.to_string());
        fs::create_dir_all(&dir)?;
        on(&disks.node(serial)?, &dir, "erofs", MsFlags::MS_RDONLY, "")?;
        lower.insert(0, dir.display().to_string());
    }
    let all = part("all");
    fs::create_dir_all(&all)?;
    if layers.is_empty() {
        return Ok(all);
    }
    let data = format!("lowerdir={}", lower.join(":"));
    on("overlay", &all, "overlay", MsFlags::MS_RDONLY, &data)?;
    Ok(all)
}

/// Mounts the file system of the host's files, once.
fn share(tag: &str) -> io::Result<PathBuf> {
    let dir = PathBuf::from(share_dir(tag));
    if !dir.exists() {
        fs::create_dir_all(&dir)?;
        on(tag, &dir, "virtiofs", MsFlags::MS_NODEV, "")?;
        read_ahead(&dir);
        changes::start(tag, &dir)?;
    }
    Ok(dir)
}

/// Who reads on is given more with each request: the kernel's 128 KiB suit a
/// disk, and each request to the host takes its time. Without it all works.
fn read_ahead(dir: &Path) {
    let Ok(found) = fs::metadata(dir) else {
        return;
    };
    let dev = found.dev();
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let _ = fs::write(
        format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"),
        "2048",
    );
}

/// The image has a directory there. What an earlier start made does not count.
fn is_in_image(config: &VmConfig, path: &str) -> bool {
    (0..config.root.layers.len()).any(|n| {
        let found = Root::open(layer(n)).and_then(|layer| layer.existing(path));
        found.is_ok_and(|found| found.path().is_dir())
    })
}

/// Permissions of a directory, with the sticky bit and its like.
fn mode_of(target: &Target) -> io::Result<u32> {
    Ok(fs::metadata(target.path())?.mode() & 0o7777)
}

/// Where a layer of the image is mounted.
fn layer(n: usize) -> String {
    format!("/run/l{n}")
}

/// Flags and data of mount(2) for a tmpfs. Without a mode it has that of the
/// image's directory in its place, as with runc, or everybody may write. As with Docker, nothing in it is
/// executed, unless the options say so.
fn tmpfs(size: Option<u64>, mode: Option<u32>, options: &[String]) -> (MsFlags, String) {
    let mut data = format!("mode={:o}", mode.unwrap_or(0o1777));
    if let Some(size) = size {
        data = format!("{data},size={size}");
    }
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for option in options {
        match option.as_str() {
            "exec" => flags.remove(MsFlags::MS_NOEXEC),
            "noexec" => flags.insert(MsFlags::MS_NOEXEC),
            "suid" => flags.remove(MsFlags::MS_NOSUID),
            "nosuid" => flags.insert(MsFlags::MS_NOSUID),
            "dev" => flags.remove(MsFlags::MS_NODEV),
            "nodev" => flags.insert(MsFlags::MS_NODEV),
            "noatime" => flags.insert(MsFlags::MS_NOATIME),
            other => data = format!("{data},{other}"),
        }
    }
    (flags, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_has_the_options_that_it_is_given() {
        let (flags, data) = tmpfs(None, None, &[]);
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        assert_eq!((flags, data.as_str()), (safe, "mode=1777"));
        let options = ["exec", "uid=5", "nr_inodes=9"].map(str::to_owned);
        let (flags, data) = tmpfs(Some(4096), Some(0o700), &options);
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
        assert_eq!(data, "mode=700,size=4096,uid=5,nr_inodes=9");
    }
}
