//! Making one: boot, wait until the guest is ready, save.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{channel, use_mapped_ram};
use crate::qemu::args::{self, Start};
use crate::qemu::launch::{Ended, Life, launch};
use crate::qemu::private_dir;
use crate::qemu::probe::Probe;
use crate::qemu::qmp::Qmp;
use crate::{Disk, Error, Nic, Rates, Transport, VmSpec, process};

/// Boot and saving, at most.
const LIMIT: Duration = Duration::from_secs(90);
/// After the guest is ready: the kernel finishes what it does by the way.
const SETTLE: Duration = Duration::from_millis(300);

/// Makes the template of this VM's shape.
pub(super) async fn make(file: &Path, like: &VmSpec, probe: &Probe) -> Result<(), Error> {
    let dir = file.with_extension("d");
    private_dir(&dir)?;
    let made = tokio::time::timeout(LIMIT, boot_and_save(&dir, like, probe)).await;
    let made = made.unwrap_or_else(|_| Err(Error::Start("it took too long".to_owned())));
    let kept = made.and_then(|()| {
        fs::rename(dir.join("state"), file).map_err(Error::io(file.display().to_string()))
    });
    let _ = fs::remove_dir_all(&dir);
    kept
}

/// Removes what another one left here that was killed.
pub(super) async fn remove(dir: &Path) {
    if let Ok(Some(other)) = process::leftover(dir) {
        other.kill();
        other.wait().await;
    }
    let _ = fs::remove_dir_all(dir);
}

async fn boot_and_save(dir: &Path, like: &VmSpec, probe: &Probe) -> Result<(), Error> {
    let placeholder = dir.join("disk");
    fs::File::create(&placeholder)
        .and_then(|disk| disk.set_len(1 << 20))
        .map_err(Error::io(placeholder.display().to_string()))?;
    let spec = shape(dir, &placeholder, like);
    super::super::check(&spec, probe)?;
    if let Some(socket) = &spec.files {
        stack_files::Placeholder::listen(socket)
            .map_err(Error::io(socket.display().to_string()))?;
    }
    let args = args::build(&spec, probe, Start::Template)?;
    let (process, mut qmp) = launch(&probe.binary, &args, dir, Life::Aside, &[]).await?;
    let _end = Ended(process);
    let saved = async {
        use_mapped_ram(&mut qmp).await?;
        // The agent has opened its port.
        qmp.event("VSERPORT_CHANGE").await?;
        tokio::time::sleep(SETTLE).await;
        qmp.command("migrate", channel(&dir.join("state"))).await?;
        complete(&mut qmp).await
    };
    saved.await.map_err(Error::io("saving a template"))
}

async fn complete(qmp: &mut Qmp) -> std::io::Result<()> {
    loop {
        let answer = qmp.command("query-migrate", json!({})).await?;
        match answer.get("status").and_then(Value::as_str) {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                let why = answer.get("error-desc").and_then(Value::as_str);
                let why = why.unwrap_or("the state could not be saved");
                return Err(std::io::Error::other(why.to_owned()));
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The same devices, with nothing of the service's behind them.
fn shape(dir: &Path, placeholder: &Path, like: &VmSpec) -> VmSpec {
    let disk = |n| Disk {
        path: placeholder.to_path_buf(),
        serial: format!("none{n}"),
        read_only: true,
    };
    let nic = |n| Nic {
        mac: stack_protocol::template::hardware_address(n),
        // Nobody is there. The driver lets go of the device before it is
        // saved, and agrees with the real one on everything anew.
        transport: Transport::Datagram,
        local: dir.join(format!("n{n}.q")),
        remote: dir.join(format!("n{n}.d")),
    };
    VmSpec {
        name: "stack-template".to_owned(),
        dir: dir.to_path_buf(),
        disks: (0..like.disks.len()).map(disk).collect(),
        nics: (0..like.nics.len()).map(nic).collect(),
        files: like.files.as_ref().map(|_| dir.join("files")),
        rates: Rates::default(),
        affinity: Vec::new(),
        ..like.clone()
    }
}
