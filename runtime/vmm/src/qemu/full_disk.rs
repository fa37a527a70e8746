//! A host's disk that is full. QEMU halts a VM whose image cannot grow instead
//! of telling its guest of a broken disk, and has it go on when it is told to
//! (`werror=enospc`, its default). So nothing is lost, if somebody tells it.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::qmp::Qmp;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 3000 });

/// How long a VM that goes on must run until there is room: what could not be
/// written is tried at once.
const SETTLE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 500 });

/// Has the VM with this directory go on whenever its disks have room again,
/// and tells when it was halted (`true`) and when it goes on (`false`). Does
/// not end; drop it with the VM.
pub async fn outlast_full_disk(dir: &Path, tell: impl Fn(bool)) {
    let socket = dir.join("qmp.sock");
    loop {
        if let Ok(mut qmp) = Qmp::connect(&socket).await {
            // It ends with the VM, which others see.
            drop(watch(&mut qmp, &tell).await);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch(qmp: &mut Qmp, tell: &impl Fn(bool)) -> io::Result<()> {
    loop {
        // It may have been halted while nobody listened.
        if is_halted(qmp).await? {
            tell(true);
            while is_halted(qmp).await? {
                tokio::time::sleep(PAUSE).await;
                qmp.command("cont", json!({})).await?;
                tokio::time::sleep(SETTLE).await;
            }
            tell(false);
        }
        qmp.event("STOP").await?;
    }
}

async fn is_halted(qmp: &mut Qmp) -> io::Result<bool> {
    let answer = qmp.command("query-status", json!({})).await?;
    Ok(answer.get("status").and_then(Value::as_str) == Some("io-error"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    use super::*;

    /// A monitor whose VM is halted until the second `cont`.
    async fn monitor(listener: UnixListener) {
        let (stream, _) = listener.accept().await.expect("nobody came");
        let mut stream = BufReader::new(stream);
        let mut conts = 0;
        let mut line = "{\"QMP\": {}}\n".to_owned();
        loop {
            let written = stream.write_all(line.as_bytes()).await;
            line.clear();
            if written.is_err() || stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let halted = match line.contains("cont") {
                true => {
                    conts += 1;
                    conts < 2
                }
                false => conts < 2,
            };
            let status = if halted { "io-error" } else { "running" };
            line = format!("{}\n", json!({"return": {"status": status}}));
        }
    }

    #[tokio::test]
    async fn a_halted_vm_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().expect("no directory");
        let listener = UnixListener::bind(dir.path().join("qmp.sock")).expect("no socket");
        tokio::spawn(monitor(listener));
        let told = Mutex::new(Vec::new());
        let tell = |halted| told.lock().expect("poisoned").push(halted);
        let enough = Duration::from_secs(2);
        let tending = outlast_full_disk(dir.path(), tell);
        drop(tokio::time::timeout(enough, tending).await);
        assert_eq!(*told.lock().expect("poisoned"), [true, false]);
    }
}
