//! What QEMU there is and what it can do, asked once per program and boot.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::trial::{self, Guest};
use super::{accelerator, transport, tsc};
use crate::{Error, Transport};

/// The oldest QEMU that has `-netdev dgram`.
const OLDEST: (u32, u32) = (7, 2);
/// The first QEMU whose sockets have `reconnect-ms`.
const RECONNECT_MS: (u32, u32) = (9, 2);
/// A question that takes longer is not answered.
const LIMIT: Duration = Duration::from_secs(10);
/// The accelerator that is always there.
const SOFTWARE: &str = "tcg";
/// How QEMU locks itself in.
pub(super) const SANDBOX: &str =
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    /// The program.
    pub binary: PathBuf,
    /// `10.0.2`
    pub version: String,
    /// `kvm`, `hvf` or `tcg`.
    pub accelerator: String,
    /// Why this one.
    pub reason: String,
    /// It was built with seccomp.
    pub sandbox: bool,
    /// It has the machine `microvm` (x86_64 only; some distributions leave
    /// it out).
    pub microvm: bool,
    /// `microvm` can have a second I/O APIC, and with it 24 devices.
    pub ioapic2: bool,
    /// The balloon device gives unused memory back by itself.
    pub free_page_reporting: bool,
    /// It can have a file system of another process (vhost-user-fs).
    pub files: bool,
    /// How fast the processor's time stamp counter runs, in kHz: what an
    /// emulated processor shows is the host's (x86_64 only).
    pub tsc_khz: Option<u64>,
    /// How frames go to the network daemon.
    pub transport: Transport,
    /// Why so.
    pub transport_reason: String,
    /// A socket that was closed can be tried again in less than a second.
    pub reconnect_ms: bool,
    key: String,
}

impl Probe {
    /// Why there is nothing better than emulation.
    pub(super) fn emulated_because(&self) -> Option<&str> {
        (self.accelerator == SOFTWARE).then_some(self.reason.as_str())
    }

    /// Differs when anything does that was looked at.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// `guest`: what the accelerator must be able to boot.
pub(super) async fn probe(cache: &Path, guest: Option<&Guest>) -> Result<Probe, Error> {
    let name = format!("qemu-system-{}", std::env::consts::ARCH);
    let wanted = std::env::var("STACK_QEMU").unwrap_or_else(|_| name.clone());
    let binary = find(&wanted).ok_or(Error::NoQemu(wanted))?;
    let forced = std::env::var("STACK_ACCEL")
        .ok()
        .filter(|accel| !accel.is_empty());
    let wished = transport::wish();
    let key = key(&binary, guest, forced.as_deref(), wished.as_deref());
    let file = cache.join("probe.json");
    if let Ok(text) = std::fs::read_to_string(&file)
        && let Ok(known) = serde_json::from_str::<Probe>(&text)
        && known.key == key
    {
        return Ok(known);
    }
    let (version, number) = version(&binary).await?;
    let is_forced = forced.is_some();
    let choice = async {
        match forced {
            Some(accel) => (accel, "set by STACK_ACCEL".to_owned()),
            None => accelerator::choose(&binary, cache).await,
        }
    };
    // The counter is looked at while the test guest runs.
    let ((accelerator, reason), tsc_khz) = tokio::join!(choice, tsc::measure());
    let sandboxed = ask(&binary, &["-sandbox", SANDBOX, "-machine", "help"]).await?;
    let sandbox = sandboxed.is_some();
    let machines = match sandboxed {
        Some(machines) => machines,
        None => ask(&binary, &["-machine", "help"])
            .await?
            .unwrap_or_default(),
    };
    let microvm = machines.lines().any(|line| line.starts_with("microvm"));
    let bus = if cfg!(target_arch = "x86_64") && !microvm {
        "pci"
    } else {
        "device"
    };
    let devices = ask(&binary, &["-device", "help"])
        .await?
        .unwrap_or_default();
    let balloon = ask(&binary, &["-device", &format!("virtio-balloon-{bus},help")]).await?;
    let machine = match microvm {
        true => ask(&binary, &["-machine", "microvm,help"]).await?,
        false => None,
    };
    let netdevs = ask(&binary, &["-netdev", "help"]).await?;
    let (transport, transport_reason) =
        transport::choose(wished.as_deref(), &netdevs.unwrap_or_default());
    let mut found = Probe {
        transport,
        transport_reason,
        reconnect_ms: number >= RECONNECT_MS,
        binary,
        version,
        accelerator,
        reason,
        sandbox,
        microvm,
        ioapic2: machine.is_some_and(|text| text.contains("ioapic2")),
        free_page_reporting: balloon.is_some_and(|text| text.contains("free-page-reporting")),
        files: devices.contains(&format!("\"vhost-user-fs-{bus}\"")),
        tsc_khz,
        key,
    };
    if let Some(guest) = guest.filter(|_| !is_forced && found.accelerator != SOFTWARE)
        && let Err(why) = trial::boots(guest, &found, cache).await
    {
        found.reason = format!("{} cannot boot a VM: {why}", found.accelerator);
        found.accelerator = SOFTWARE.to_owned();
    }
    if let Ok(json) = serde_json::to_string(&found) {
        // Whoever reads it sees all of it or nothing.
        let partial = cache.join(format!("probe-{}.partial", std::process::id()));
        let written =
            std::fs::write(&partial, json).and_then(|()| std::fs::rename(&partial, &file));
        if let Err(error) = written {
            tracing::debug!(%error, "the result of the probe cannot be kept");
        }
    }
    Ok(found)
}

/// The result holds for one version of this crate, one program, one boot of
/// the host and as long as the accelerator may be used or not.
fn key(
    binary: &Path,
    guest: Option<&Guest>,
    forced: Option<&str>,
    transport: Option<&str>,
) -> String {
    let guest = guest.map(Guest::key);
    let modified = std::fs::metadata(binary).and_then(|m| m.modified()).ok();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let usable = accelerator::usable().is_ok();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{version} {} {modified:?} {} {forced:?} {usable} {transport:?} {guest:?}",
        binary.display(),
        boot.trim()
    )
}

/// The program by its path or, searched in `PATH`, its name.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// What QEMU answers; `None` when it does not take the arguments.
async fn ask(binary: &Path, args: &[&str]) -> Result<Option<String>, Error> {
    let output = Command::new(binary)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .map_err(|_| Error::BadQemu(format!("{} does not answer", binary.display())))?
        .map_err(Error::io(binary.display().to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(text))
}

async fn version(binary: &Path) -> Result<(String, (u32, u32)), Error> {
    let text = ask(binary, &["--version"]).await?.unwrap_or_default();
    let (version, number) = parse_version(&text).ok_or_else(|| {
        Error::BadQemu(format!(
            "{} is not a QEMU: it said {text:?}",
            binary.display()
        ))
    })?;
    if number < OLDEST {
        return Err(Error::BadQemu(format!(
            "QEMU {version} is too old: {}.{} or newer is needed",
            OLDEST.0, OLDEST.1
        )));
    }
    Ok((version, number))
}

/// `QEMU emulator version 10.0.2 (…)`
fn parse_version(text: &str) -> Option<(String, (u32, u32))> {
    let version = text.split("version ").nth(1)?.split_whitespace().next()?;
    let mut parts = version
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let number = (parts.next()?, parts.next().unwrap_or(0));
    Some((version.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let parse = |text| parse_version(text).map(|(_, number)| number);
        assert_eq!(
            parse("QEMU emulator version 7.2.11 (Debian 1:7.2)\n"),
            Some((7, 2))
        );
        assert_eq!(parse("QEMU emulator version 10.0.50\n"), Some((10, 0)));
        assert_eq!(parse("hello"), None);
        assert!((7, 2) >= OLDEST && (7, 1) < OLDEST && (10, 0) > OLDEST);
    }

    /// A result is kept and used again: the second one asks nobody.
    #[tokio::test]
    async fn the_answer_is_kept() {
        if find(&format!("qemu-system-{}", std::env::consts::ARCH)).is_none() {
            eprintln!("skipped: no QEMU");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let first = probe(dir.path(), None).await.unwrap();
        let file = dir.path().join("probe.json");
        let marked = Probe {
            reason: "kept".to_owned(),
            ..first
        };
        std::fs::write(&file, serde_json::to_string(&marked).unwrap()).unwrap();
        assert_eq!(probe(dir.path(), None).await.unwrap().reason, "kept");
        // But not for another program.
        let other = Probe {
            key: "other".to_owned(),
            ..marked
        };
        std::fs::write(&file, serde_json::to_string(&other).unwrap()).unwrap();
        assert_ne!(probe(dir.path(), None).await.unwrap().reason, "kept");
    }
}
