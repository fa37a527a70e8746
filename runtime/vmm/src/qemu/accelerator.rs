//! Which accelerator really runs a guest.
//!
//! That `/dev/kvm` can be opened says little: under some hypervisors it is
//! there and cannot run an ordinary guest. So a few bytes of boot code are
//! run, which end QEMU, and then what VMs boot (`trial.rs`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The hardware accelerator of this system, by QEMU's name.
const HARDWARE: &str = if cfg!(target_os = "macos") {
    "hvf"
} else {
    "kvm"
};

/// mov dx,0xf4; mov al,0x21; out dx,al; hlt: with isa-debug-exit QEMU ends
/// with status (0x21 << 1) | 1. The reset vector, 16 bytes below the end,
/// jumps to it.
const X86_CODE: [u8; 8] = [0xba, 0xf4, 0x00, 0xb0, 0x21, 0xee, 0xf4, 0x90];
const X86_JUMP: [u8; 3] = [0xe9, 0xdd, 0xff];

/// mov w0,#8; movk w0,#0x8400,lsl #16; hvc #0: PSCI SYSTEM_OFF, with which
/// QEMU ends with status 0. Then a branch to itself.
const ARM_CODE: [u32; 4] = [0x5280_0100, 0x72b0_8000, 0xd400_0002, 0x1400_0000];

/// What may be used, before a guest is tried: `Err` says why not.
pub(super) fn usable() -> Result<(), String> {
    if HARDWARE != "kvm" {
        return Ok(());
    }
    if !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".to_owned());
    }
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "/dev/kvm cannot be opened: {error}; is this user in group kvm?"
        )),
    }
}

/// The accelerator to use and why.
pub(super) async fn choose(binary: &Path, cache: &Path) -> (String, String) {
    if let Err(why) = usable() {
        return ("tcg".to_owned(), why);
    }
    match runs_a_guest(binary, HARDWARE, cache).await {
        Ok(()) => (HARDWARE.to_owned(), "a test guest ran".to_owned()),
        Err(why) => (
            "tcg".to_owned(),
            format!("{HARDWARE} cannot run a test guest: {why}"),
        ),
    }
}

/// Without the processor's own flags, that an accelerator runs nothing is to be
/// expected, and known sooner.
pub(super) fn is_unlikely() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or("flags vmx");
    !flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// A guest of some bytes that has not ended by then does not run.
fn limit() -> Duration {
    Duration::from_millis(if is_unlikely() { 700 } else { 3000 })
}

/// Runs the test guest; `Err` says why it did not end as it should.
pub(super) async fn runs_a_guest(binary: &Path, accel: &str, dir: &Path) -> Result<(), String> {
    let arm = cfg!(target_arch = "aarch64");
    let mut image = vec![0u8; 65536];
    if arm {
        for (to, word) in image.chunks_exact_mut(4).zip(ARM_CODE) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    } else {
        image[0xfff0..0xfff3].copy_from_slice(&X86_JUMP);
        image[0xffd0..0xffd8].copy_from_slice(&X86_CODE);
    }
    let file = dir.join(format!("probe-{}.bin", std::process::id()));
    std::fs::write(&file, image).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new(binary);
    if arm {
        command.args(["-machine", "virt"]);
    } else {
        command.args([
            "-machine",
            "pc",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
        ]);
    }
    let cpu = if accel == "tcg" { "max" } else { "host" };
    command
        .args([
            "-accel",
            accel,
            "-cpu",
            cpu,
            "-m",
            "16M",
            "-nodefaults",
            "-no-user-config",
        ])
        .args(["-display", "none", "-no-reboot", "-bios"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    no_core_dump(&mut command);
    let limit = limit();
    let result = match command.spawn() {
        Ok(child) => tokio::time::timeout(limit, child.wait_with_output()).await,
        Err(error) => Ok(Err(error)),
    };
    let _ = std::fs::remove_file(&file);
    match result {
        Ok(Ok(output)) if output.status.code() == Some(if arm { 0 } else { 0x43 }) => Ok(()),
        Ok(Ok(output)) => {
            // The first line is the reason, what follows are consequences.
            let said = String::from_utf8_lossy(&output.stderr);
            Err(said
                .lines()
                .next()
                .unwrap_or("it ended without a word")
                .to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing within {} ms", limit.as_millis())),
    }
}

/// QEMU aborts where the hypervisor below is not what it seems.
#[expect(unsafe_code, reason = "the limit must be set between fork and exec")]
fn no_core_dump(command: &mut Command) {
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let none = rustix::process::Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The boot code is right: software emulation, which is always there,
    /// runs it. Skipped where there is no QEMU.
    #[tokio::test]
    async fn the_test_guest_runs_in_software() {
        let name = format!("qemu-system-{}", std::env::consts::ARCH);
        let Some(binary) = super::super::probe::find(&name) else {
            eprintln!("skipped: no {name}");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(runs_a_guest(&binary, "tcg", dir.path()).await, Ok(()));
        // And one that cannot run is told from it.
        assert!(runs_a_guest(&binary, "no-such", dir.path()).await.is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
