//! The floor that no start can be below: from the start of the VMM's process
//! to the first line of a guest that does nothing else.
//!
//! usage: floor KERNEL INITRAMFS [ROUNDS]
//!
//! The initramfs's `/init` writes one line to the console. Prints the
//! milliseconds of each round.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use stack_vmm::{Backend, Qemu, VmSpec};

/// A guest that has not said anything by then says nothing.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initramfs, rest @ ..] = args.as_slice() else {
        return Err("usage: floor KERNEL INITRAMFS [ROUNDS]".into());
    };
    let rounds: u32 = rest.first().map_or(Ok(5), |n| n.parse())?;
    let cache = std::env::temp_dir().join(format!("floor-{}", std::process::id()));
    std::fs::create_dir_all(&cache)?;
    let qemu = Qemu::new(&cache).trying(kernel.as_ref(), initramfs.as_ref());
    qemu.probe().await?;
    for round in 0..rounds {
        let dir = cache.join(round.to_string());
        std::fs::create_dir_all(&dir)?;
        let spec = VmSpec {
            name: "floor".to_owned(),
            dir: dir.clone(),
            kernel: PathBuf::from(kernel),
            initramfs: PathBuf::from(initramfs),
            memory: 1 << 30,
            cpus: qemu.default_cpus().await,
            disks: Vec::new(),
            nics: Vec::new(),
            files: None,
            rates: stack_vmm::Rates::default(),
            affinity: Vec::new(),
            template: false,
        };
        let began = Instant::now();
        let process = qemu.start(&spec).await?;
        let console = dir.join("console.log");
        while !std::fs::read(&console).unwrap_or_default().contains(&b'\n') {
            if began.elapsed() > LIMIT {
                return Err("the guest said nothing".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = began.elapsed();
        qemu.kill(&process);
        qemu.wait(&process).await;
        #[expect(clippy::print_stdout, reason = "the result of the program")]
        {
            println!("{:.1}", took.as_secs_f64() * 1000.0);
        }
    }
    std::fs::remove_dir_all(&cache)?;
    Ok(())
}
