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
/// and tells when it was halted (`true`) and that it is not (`false`; also when
/// it never was). Does not end; drop it with the VM.
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
        // It may have been halted, or have gone on, while nobody listened.
        if is_halted(qmp).await? {
            tell(true);
            while is_halted(qmp).await? {
                tokio::time::sleep(PAUSE).await;
                qmp.command("cont", json!({})).await?;
                tokio::time::sleep(SETTLE).await;
            }
        }
        tell(false);
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

    /// A monitor whose VM is halted until so many `cont`s.
    async fn monitor(listener: UnixListener, enough: u32) {
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
                    conts < enough
                }
                false => conts < enough,
            };
            let status = if halted { "io-error" } else { "running" };
            line = format!("{}\n", json!({"return": {"status": status}}));
        }
    }

    async fn told(conts: u32) -> Vec<bool> {
        let dir = tempfile::tempdir().expect("no directory");
        let listener = UnixListener::bind(dir.path().join("qmp.sock")).expect("no socket");
        tokio::spawn(monitor(listener, conts));
        let told = Mutex::new(Vec::new());
        let tell = |halted| told.lock().expect("poisoned").push(halted);
        let enough = Duration::from_secs(2);
        let tending = outlast_full_disk(dir.path(), tell);
        drop(tokio::time::timeout(enough, tending).await);
        told.into_inner().expect("poisoned")
    }

    #[tokio::test]
    async fn a_halted_vm_goes_on_when_there_is_room() {
        assert_eq!(told(2).await, [true, false]);
    }

    #[tokio::test]
    async fn one_that_went_on_while_nobody_listened_is_told_of() {
        assert_eq!(told(0).await, [false]);
    }
}
