//! A VM for one test.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use stack_files::spec::{Kind, Session, Share};
use stack_protocol::config::{Exec, Root, VmConfig};
use stack_protocol::log::{Record, Stream};
use stack_protocol::message::{Command, Event, Exit, Outcome};
use stack_vmm::{
    Agent, AgentEvent, Backend, Disk, Error, ExecSession, GuestHello, Nic, Process, Qemu,
    Transport, VmSpec,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::machine;

/// What takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Emulated machines side by side only slow each other down.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// What the tests need from the host.
pub(crate) struct Assets {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// An EROFS image with busybox and some users.
    pub layer: PathBuf,
    _dir: TempDir,
}

static ASSETS: LazyLock<Result<Assets, String>> = LazyLock::new(find);

/// What is needed, or `None` when the test is to be skipped.
pub(crate) fn assets() -> Option<&'static Assets> {
    match &*ASSETS {
        Ok(assets) => Some(assets),
        Err(why) => {
            assert!(
                std::env::var_os("STACK_REQUIRE_VM").is_none(),
                "no VM can run: {why}"
            );
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn find() -> Result<Assets, String> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let named = if cfg!(target_arch = "aarch64") {
        "Image"
    } else {
        "vmlinux"
    };
    let (kernel, initramfs) = match std::env::var_os("STACK_ASSETS").map(PathBuf::from) {
        Some(dir) => (dir.join(named), dir.join("initramfs.cpio")),
        None => (
            target.join("kernel").join(named),
            target.join("initramfs.cpio"),
        ),
    };
    let qemu = format!("qemu-system-{}", std::env::consts::ARCH);
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let in_path = |name: &str| {
        path.split(':')
            .map(|d| Path::new(d).join(name))
            .find(|p| p.is_file())
    };
    for file in [&kernel, &initramfs] {
        if !file.is_file() {
            return Err(format!("{} is missing", file.display()));
        }
    }
    for program in [qemu.as_str(), "mkfs.erofs", "mkfs.ext4", "busybox"] {
        in_path(program).ok_or(format!("{program} is not installed"))?;
    }
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let layer = dir.path().join("layer.erofs");
    make_layer(
        &in_path("busybox").unwrap_or_default(),
        &dir.path().join("root"),
        &layer,
    )?;
    Ok(Assets {
        kernel,
        initramfs,
        layer,
        _dir: dir,
    })
}

fn make_layer(busybox: &Path, root: &Path, layer: &Path) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    for dir in ["bin", "etc", "tmp", "root", "data/inner", "var"] {
        std::fs::create_dir_all(root.join(dir)).map_err(io)?;
    }
    std::fs::copy(busybox, root.join("bin/busybox")).map_err(io)?;
    let applets = Program::new(busybox).arg("--list").output().map_err(io)?;
    for applet in String::from_utf8_lossy(&applets.stdout)
        .lines()
        .filter(|a| *a != "busybox")
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).map_err(io)?;
    }
    let files = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nweb:x:101:103::/var/web:/bin/sh\n",
        ),
        (
            "etc/group",
            "root:x:0:\nweb:x:103:\nssl:x:104:web\nextra:x:200:\n",
        ),
        ("etc/not-a-program", "#!/bin/sh\n"),
        ("data/from-image", "image content\n"),
        ("data/inner/deep", "deep\n"),
    ];
    for (name, text) in files {
        std::fs::write(root.join(name), text).map_err(io)?;
    }
    let made = Program::new("mkfs.erofs")
        .arg("--all-root")
        .arg(layer)
        .arg(root)
        .output()
        .map_err(io)?;
    match made.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
    }
}

/// A backend that uses what can boot VMs, and knows whether they do from earlier tests.
pub(crate) fn backend(cache: &Path) -> Qemu {
    let assets = assets().expect("what VMs boot");
    machine::tell(cache);
    Qemu::new(cache).trying(&assets.kernel, &assets.initramfs)
}

/// One backend for all tests of a process.
pub(crate) fn qemu() -> &'static Qemu {
    &own().1
}

fn own() -> &'static (TempDir, Qemu) {
    static OWN: OnceLock<(TempDir, Qemu)> = OnceLock::new();
    OWN.get_or_init(|| {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let qemu = backend(cache.path());
        (cache, qemu)
    })
}

/// A machine that can be started more than once: the disks stay.
pub(crate) struct Machine {
    pub dir: Arc<TempDir>,
    pub spec: VmSpec,
    shares: Vec<Share>,
}

impl Machine {
    /// With the layer as its only disk, serial number `layer`.
    pub(crate) fn new(assets: &Assets) -> Machine {
        let dir = tempfile::Builder::new()
            .prefix("vm")
            .tempdir()
            .expect("a temporary directory");
        let dir = Arc::new(dir);
        let run = dir.path().join("run");
        let layer = Disk {
            path: assets.layer.clone(),
            serial: "layer".to_owned(),
            read_only: true,
        };
        let spec = VmSpec {
            name: "test".to_owned(),
            dir: run,
            kernel: assets.kernel.clone(),
            initramfs: assets.initramfs.clone(),
            memory: 256 << 20,
            cpus: 1,
            disks: vec![layer],
            nics: Vec::new(),
            files: None,
            rates: stack_vmm::Rates::default(),
            affinity: Vec::new(),
            template: false,
        };
        Machine {
            dir,
            spec,
            shares: Vec::new(),
        }
    }

    /// Adds a disk, made by `create`.
    pub(crate) fn disk(
        mut self,
        serial: &str,
        create: fn(&Path, u64) -> Result<(), Error>,
    ) -> Machine {
        let path = self.dir.path().join(format!("{serial}.img"));
        create(&path, 1 << 30).expect("a disk");
        self.spec.disks.push(Disk {
            path,
            serial: serial.to_owned(),
            read_only: false,
        });
        self
    }

    /// Adds a file or directory of the host: the entries are `0`, `1`…
    pub(crate) fn share(mut self, path: &Path, read_only: bool) -> Machine {
        self.spec.files = Some(self.spec.dir.join("files"));
        self.shares.push(Share {
            path: path.to_path_buf(),
            kind: match path.is_dir() {
                true => Kind::Bind,
                false => Kind::File,
            },
            read_only,
            cache_ms: 0,
        });
        self
    }

    /// Adds a network device; the other end of its wire is not there.
    pub(crate) fn nic(mut self, mac: &str) -> Machine {
        let name = mac.replace(':', "");
        let local = self.spec.dir.join(format!("{name}.q"));
        let remote = self.dir.path().join(format!("{name}.d"));
        self.spec.nics.push(Nic {
            mac: mac.to_owned(),
            transport: Transport::Datagram,
            local,
            remote,
        });
        self
    }

    /// Boots it.
    pub(crate) async fn boot(&self) -> Vm {
        let (cache, qemu) = own();
        let vm = self.boot_with(qemu).await;
        machine::learn(cache.path());
        vm
    }

    pub(crate) async fn boot_with(&self, qemu: &Qemu) -> Vm {
        let slot = SLOTS.acquire().await.expect("never closed");
        let _ = std::fs::remove_dir_all(&self.spec.dir);
        std::fs::create_dir_all(&self.spec.dir).expect("a directory");
        if let Some(socket) = self.spec.files.clone() {
            let session = Session {
                id: "test".to_owned(),
                socket,
                shares: self.shares.clone(),
            };
            crate::files::open(self.dir.path(), session);
        }
        let process = qemu.start(&self.spec).await.expect("QEMU starts");
        let socket = self.spec.dir.join("agent.sock");
        let mut vm = Vm {
            process,
            agent: None,
            events: None,
            socket,
            logs: Vec::new(),
            news: VecDeque::new(),
            _dir: Arc::clone(&self.dir),
            _slot: slot,
        };
        let hello = vm.connect(0).await;
        assert!(!hello.configured && hello.exit.is_none());
        vm
    }

    /// Boots it and starts a service.
    pub(crate) async fn run(&self, config: VmConfig) -> Vm {
        let vm = self.boot().await;
        match vm.configure(config).await {
            Outcome::Ok => vm,
            other => panic!("{other:?}\n{}", self.console()),
        }
    }

    /// What the kernel said.
    pub(crate) fn console(&self) -> String {
        let bytes = std::fs::read(self.spec.dir.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A running VM; killed when dropped.
pub(crate) struct Vm {
    pub process: Process,
    agent: Option<Agent>,
    events: Option<mpsc::Receiver<AgentEvent>>,
    socket: PathBuf,
    /// All output so far.
    pub logs: Vec<Record>,
    news: VecDeque<Event>,
    _dir: Arc<TempDir>,
    _slot: SemaphorePermit<'static>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["qemu.log", "console.log"] {
                let bytes = std::fs::read(self.socket.with_file_name(name)).unwrap_or_default();
                eprintln!("{name}:\n{}", String::from_utf8_lossy(&bytes));
            }
        }
        self.process.kill();
    }
}

impl Vm {
    /// Begins a conversation, after ending the one there is.
    pub(crate) async fn connect(&mut self, log_sequence: u64) -> GuestHello {
        self.disconnect();
        let attempt = async {
            loop {
                match Agent::connect(&self.socket, log_sequence).await {
                    Ok(connected) => return connected,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let (agent, hello, events) = tokio::time::timeout(LIMIT, attempt)
            .await
            .expect("the agent answers");
        self.agent = Some(agent);
        self.events = Some(events);
        hello
    }

    /// Hangs up.
    pub(crate) fn disconnect(&mut self) {
        self.agent = None;
        self.events = None;
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("a conversation")
    }

    pub(crate) async fn request(&self, command: Command) -> Outcome {
        let asked = self.agent().request(command);
        tokio::time::timeout(LIMIT, asked)
            .await
            .expect("an answer")
            .expect("a conversation")
    }

    pub(crate) async fn configure(&self, config: VmConfig) -> Outcome {
        self.request(Command::Configure(Box::new(config))).await
    }

    pub(crate) async fn exec(&self, exec: Exec) -> Result<ExecSession, Error> {
        tokio::time::timeout(LIMIT, self.agent().exec(exec))
            .await
            .expect("an answer")
    }

    /// Runs a shell command beside the service: its output and exit code.
    pub(crate) async fn sh(&self, script: &str) -> (String, i32) {
        let mut session = self.exec(sh(script)).await.expect("the shell starts");
        output(&mut session).await
    }

    /// The next event that is not output; output is stored and acknowledged.
    pub(crate) async fn event(&mut self) -> Event {
        let next = async {
            loop {
                if let Some(event) = self.news.pop_front() {
                    return event;
                }
                self.take().await;
            }
        };
        tokio::time::timeout(LIMIT, next).await.expect("an event")
    }

    async fn take(&mut self) {
        let events = self.events.as_mut().expect("a conversation");
        match events.recv().await {
            Some(AgentEvent::Log(record)) => {
                let sequence = record.sequence;
                self.logs.push(record);
                self.agent().acknowledge(sequence);
            }
            Some(AgentEvent::Event(event)) => self.news.push_back(event),
            Some(AgentEvent::Closed) | None => panic!("the conversation was cut"),
        }
    }

    /// Waits until so many records have come.
    pub(crate) async fn logged(&mut self, records: usize) {
        let wait = async {
            while self.logs.len() < records {
                self.take().await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("output");
    }

    /// Waits for the service's end.
    pub(crate) async fn exited(&mut self) -> Exit {
        loop {
            if let Event::Exited(exit) = self.event().await {
                return exit;
            }
        }
    }

    /// The output so far, by stream.
    pub(crate) fn lines(&self, stream: Stream) -> Vec<String> {
        let of = self.logs.iter().filter(|record| record.stream == stream);
        of.map(|record| String::from_utf8_lossy(&record.data).into_owned())
            .collect()
    }

    /// Ends the VM in order, waits for QEMU's end.
    pub(crate) async fn shutdown(self) {
        assert_eq!(self.request(Command::Shutdown).await, Outcome::Ok);
        let ended = tokio::time::timeout(LIMIT, qemu().wait(&self.process));
        ended.await.expect("QEMU ends");
    }
}

/// Everything a session writes to standard output and how it ends.
pub(crate) async fn output(session: &mut ExecSession) -> (String, i32) {
    let read = async {
        let mut bytes = Vec::new();
        while let Some((_, data)) = session.output.recv().await {
            bytes.extend_from_slice(&data);
        }
        (
            String::from_utf8_lossy(&bytes).into_owned(),
            session.exit().await.code,
        )
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .expect("the session ends")
}

/// A shell command.
pub(crate) fn sh(script: &str) -> Exec {
    Exec {
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..Exec::default()
    }
}

/// A service that runs a shell command on the layer, over a tmpfs.
pub(crate) fn service(script: &str) -> VmConfig {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    VmConfig {
        hostname: "web-1".to_owned(),
        time_ns: now.map_or(0, |now| now.as_nanos() as u64),
        root: Root {
            layers: vec!["layer".to_owned()],
            scratch: None,
            read_only: false,
        },
        process: sh(script),
        ..VmConfig::default()
    }
}
