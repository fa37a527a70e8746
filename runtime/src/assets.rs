//! What a VM is made of: kernel, initramfs, and the binaries of the daemons
//! that serve it.

use std::path::{Path, PathBuf};

use stack_api::event::ApiError;

/// The files every VM needs.
#[derive(Debug, Clone)]
pub struct Assets {
    /// `vmlinux` (x86_64) or `Image` (aarch64).
    pub kernel: PathBuf,
    /// The archive that holds `vminit`.
    pub initramfs: PathBuf,
    /// `stack-netd`.
    pub netd: PathBuf,
    /// `stack-fsd`.
    pub fsd: PathBuf,
    /// VMs may be restored from one that has booted: not with
    /// `STACK_TEMPLATES=off`.
    pub templates: bool,
}

const KERNEL: &str = if cfg!(target_arch = "aarch64") {
    "Image"
} else {
    "vmlinux"
};

impl Assets {
    /// Looks in `STACK_ASSETS`, then where `make install` puts them, then
    /// where a checkout builds them.
    ///
    /// # Errors
    /// `asset_missing`, which names the file and how to get it.
    pub fn find() -> Result<Assets, ApiError> {
        Ok(Assets {
            kernel: find(KERNEL, &[&format!("kernel/{KERNEL}")], "make kernel")?,
            initramfs: find("initramfs.cpio", &["initramfs.cpio"], "make initramfs")?,
            netd: find_binary("stack-netd")?,
            fsd: find_binary("stack-fsd")?,
            templates: std::env::var("STACK_TEMPLATES").as_deref() != Ok("off"),
        })
    }
}

fn exe_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.parent().unwrap_or(Path::new("/")).to_path_buf()
}

fn find(name: &str, in_checkout: &[&str], build: &str) -> Result<PathBuf, ApiError> {
    let mut tried = Vec::new();
    if let Some(dir) = std::env::var_os("STACK_ASSETS") {
        tried.push(PathBuf::from(dir).join(name));
    } else {
        tried.push(exe_dir().join("../lib/stack").join(name));
        tried.extend(
            in_checkout
                .iter()
                .map(|path| exe_dir().join("..").join(path)),
        );
    }
    match tried.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(ApiError::new(
            "asset_missing",
            format!(
                "the guest's {name} is missing (looked for {})",
                tried
                    .iter()
                    .map(|p| p.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )
        .help(format!(
            "run `make install` in a checkout of stack (or `{build}` to build it there), \
             or set STACK_ASSETS to the directory that holds it"
        ))),
    }
}

fn find_binary(name: &str) -> Result<PathBuf, ApiError> {
    let beside = exe_dir().join(name);
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .ok_or_else(|| {
            ApiError::new(
                "asset_missing",
                format!("{name} is neither beside stackd nor in PATH"),
            )
            .help("run `make install` in a checkout of stack")
        })
}
