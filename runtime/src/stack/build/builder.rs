//! The builder: one VM for all builds of this user. It is made when it is
//! needed, and stopped when nobody has needed it for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_api::spec::{
    AttachSpec, FileSpec, MachineSpec, MountSource, MountSpec, NetworkSpec, ServiceSpec, StackSpec,
    VolumeSpec,
};
use stack_protocol::config::Exec;
use stack_vmm::Agent;
use tokio::sync::{RwLock, Semaphore};

use super::super::images::{self, PullOrder, Wanted};
use super::super::{create, down, networks, wait};
use super::shell;
use crate::container::Handle;
use crate::container::process::over;
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::space;
use crate::volume;

/// Its project. No user's can have this name: they begin with a letter or a
/// digit.
pub const PROJECT: &str = "_builder";
/// Its container.
const NAME: &str = "stack-builder";
/// The volume that has the engine's images, its cache, and contexts.
pub(crate) const CACHE: &str = "stack-build-cache";
/// Where that is mounted: the engine's own place.
pub(super) const STORE: &str = "/var/lib/containers";
/// What has buildah in it, unless `STACK_BUILDER_IMAGE` names another image.
const IMAGE: &str = "quay.io/buildah/stable:latest";
/// Stopped after so long without a build.
const IDLE: Duration = Duration::from_secs(300);
/// Memory of its VM, or half of the host's when that is less.
const MEMORY: u64 = 4 << 30;

const STORAGE: &str = "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
    graphroot = \"/var/lib/containers/storage\"\n";
const POLICY: &str = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";

/// Memory of the VM for each build that runs beside others: a compiler has as
/// much as that, and the engine's own processes.
const MEMORY_OF_ONE: u64 = 1536 << 20;

/// What the daemon keeps of it.
#[derive(Debug)]
pub struct Builder {
    /// Held while it is made or stopped.
    turn: tokio::sync::Mutex<()>,
    /// Held while files are brought in.
    pub(super) bringing: tokio::sync::Mutex<()>,
    /// Contexts: written while they are brought in, read while somebody
    /// builds from them. By where they are.
    contexts: Mutex<BTreeMap<String, Arc<RwLock<()>>>>,
    /// Repositories in the cache: read while somebody builds, written by
    /// whoever deletes them.
    pub(super) fetched: RwLock<()>,
    users: AtomicUsize,
    /// Builds that were ever begun.
    begun: AtomicUsize,
    /// One for each build that may run beside others, of whatever stack.
    pub(super) room: Semaphore,
}

impl Default for Builder {
    fn default() -> Builder {
        let room = at_a_time(memory(), cpus());
        Builder {
            turn: tokio::sync::Mutex::default(),
            bringing: tokio::sync::Mutex::default(),
            contexts: Mutex::default(),
            fetched: RwLock::default(),
            users: AtomicUsize::default(),
            begun: AtomicUsize::default(),
            room: Semaphore::new(room),
        }
    }
}

/// How many builds run side by side in a VM with so much memory and so many
/// processors.
fn at_a_time(memory: u64, cpus: u32) -> usize {
    let fit = usize::try_from(memory / MEMORY_OF_ONE).unwrap_or(usize::MAX);
    // One of them may wait for the network.
    fit.clamp(1, cpus as usize + 1)
}

impl Builder {
    /// The lock of a context.
    pub(super) fn context(&self, target: &str) -> Arc<RwLock<()>> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(contexts.entry(target.to_owned()).or_default())
    }

    /// A name for one build that no other has.
    pub(super) fn number(&self) -> String {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        format!("{}-{number}", std::process::id())
    }
}

/// The running builder; it is not stopped as long as there is one of these.
pub(super) struct Lease {
    daemon: Arc<Daemon>,
    handle: Arc<Handle>,
    pub agent: Agent,
    pub tools: Tools,
    process: Exec,
}

/// What its image has besides the engine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tools {
    /// An OCI runtime: `RUN` is in namespaces of its own.
    pub runtime: bool,
    /// unshare(1): a build that is given up leaves no process behind.
    pub unshare: bool,
    /// The engine's version: major, minor.
    pub version: Option<(u32, u32)>,
    /// The address of this host.
    pub gateway: Option<IpAddr>,
}

impl Tools {
    /// From what [`PREPARE`] says.
    fn of(found: &str) -> Tools {
        let has = |name| found.lines().any(|line| line == name);
        let after = |word| found.lines().find_map(|line| line.strip_prefix(word));
        let version = after("buildah version ").and_then(|rest| {
            let mut numbers = rest.split(['.', '-', ' ']);
            let mut number = || numbers.next()?.parse().ok();
            Some((number()?, number()?))
        });
        Tools {
            runtime: has("runtime"),
            unshare: has("unshare"),
            version,
            gateway: after("gateway ").and_then(|address| address.parse().ok()),
        }
    }
}

/// Before the first of builds that run at the same time: what builds left
/// behind that were cut off, contexts that nobody has built from for seven
/// days, and, when more than four fifths of the disk are taken, layers of images
/// that others have replaced. Then, for every build: which tools there are. A name
/// without a registry is one of Docker Hub, whatever the engine's image says.
const PREPARE: &str = r#"
export TMPDIR="$1/stack/tmp"
mkdir -p "$TMPDIR"
if [ "$2" = alone ]; then
    rm -rf "$1/stack/out" /dev/shm/stack-*
    find "$TMPDIR" -mindepth 1 -maxdepth 1 ! -name 'buildah-cache*' -exec rm -rf {} +
    if grep -qs '"id"' "$1/storage/overlay-containers/containers.json"; then
        buildah rm --all > /dev/null
    fi
fi
cd "$1/stack"
mkdir -p used contexts
if [ "$2" = alone ]; then
    for context in contexts/*; do
        mark="used/${context##*/}"
        if [ -d "$context" ] && [ ! -e "$mark" ]; then (: > "$mark"); fi
    done
    find used -type f -mtime +6 | while read -r mark; do
        rm -rf "contexts/${mark##*/}" "$mark"
    done
fi
used() {
    df -P "$@" 2> /dev/null | {
        read -r _
        read -r _ _ _ _ percent _
        percent=${percent%\%}
        [ "${percent:-0}" -gt 80 ] 2> /dev/null
    }
}
if [ "$2" = alone ] && { used "$1" || used -i "$1"; }; then
    buildah rmi --prune > /dev/null || true
fi
rm -f /etc/containers/registries.conf.d/*shortnames.conf
if command -v crun || command -v runc; then echo runtime; fi
if command -v unshare; then echo unshare; fi
buildah --version || true
getent ahostsv4 host.docker.internal 2> /dev/null | {
    if read -r address _; then echo "gateway $address"; fi
}
true
"#;

/// What helps when the builder's image is not good.
pub(super) const OTHER_IMAGE: &str =
    "`STACK_BUILDER_IMAGE` names an image with buildah, docs/build.md says what it needs";

impl Lease {
    /// Starts the builder if need be.
    pub(super) async fn new(daemon: &Arc<Daemon>, progress: &Progress) -> Result<Lease, ApiError> {
        let builder = &daemon.builder;
        let _one = builder.turn.lock().await;
        let handle = running(daemon, progress).await?;
        let agent = handle.agent.borrow().clone();
        let agent = agent.ok_or_else(|| {
            ApiError::new("not_running", "the builder's VM does not answer").help("try again")
        })?;
        let alone = builder.users.fetch_add(1, Ordering::SeqCst) == 0;
        builder.begun.fetch_add(1, Ordering::SeqCst);
        let mut lease = Lease {
            daemon: Arc::clone(daemon),
            handle: Arc::clone(&handle),
            agent,
            tools: Tools::default(),
            process: handle.record().blueprint.config.process,
        };
        let how = if alone { "alone" } else { "beside" };
        let args = ["sh", "-c", PREPARE, "sh", STORE, how];
        let found = shell::answer(&lease, &args, None).await?;
        lease.tools = Tools::of(&String::from_utf8_lossy(&found));
        Ok(lease)
    }

    /// Says so when its VM is halted, for as long as this is polled; it does not
    /// end.
    pub(super) async fn tell_halts(&self, progress: &Progress) {
        loop {
            self.handle.halted(true).await;
            progress.warn(
                "the build waits: the builder is halted, because the disk of the host is full; it \
                 goes on by itself when there is room (`stack doctor` shows where, `stack system \
                 prune` frees some)",
            );
            self.handle.halted(false).await;
        }
    }

    /// A process in it.
    pub(super) fn exec(&self, args: &[String], env: &[String]) -> Exec {
        Exec {
            args: args.to_vec(),
            env: over(
                &over(&self.process.env, &[format!("TMPDIR={STORE}/stack/tmp")]),
                env,
            ),
            cwd: "/".to_owned(),
            stdin: true,
            ..self.process.clone()
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let daemon = Arc::clone(&self.daemon);
        daemon.builder.users.fetch_sub(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let begun = daemon.builder.begun.load(Ordering::SeqCst);
            tokio::time::sleep(idle()).await;
            if daemon.builder.begun.load(Ordering::SeqCst) == begun {
                stop_if_idle(&daemon).await;
            }
        });
    }
}

/// Stops the builder if nobody uses it.
async fn stop_if_idle(daemon: &Arc<Daemon>) {
    let _one = daemon.builder.turn.lock().await;
    if daemon.builder.users.load(Ordering::SeqCst) == 0 {
        for handle in daemon.handles(Some(PROJECT)) {
            let (progress, _) = Progress::new();
            down::stop(&progress, &handle, None).await;
        }
    }
}

/// After the start of a daemon: builds of the one before end here, for nobody
/// waits for them.
pub async fn settle(daemon: Arc<Daemon>) {
    stop_if_idle(&daemon).await;
}

/// Removes the builder with its cache; `false` when somebody builds.
///
/// # Errors
/// Something cannot be removed.
pub(crate) async fn remove(daemon: &Arc<Daemon>, dry_run: bool) -> Result<bool, ApiError> {
    let Ok(_one) = daemon.builder.turn.try_lock() else {
        return Ok(false);
    };
    if daemon.builder.users.load(Ordering::SeqCst) > 0 {
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let quiet = Progress::new().0;
    for handle in daemon.handles(Some(PROJECT)) {
        down::remove(daemon, &quiet, &handle, None, true).await?;
    }
    networks::remove_all(daemon, &quiet, PROJECT).await?;
    daemon.remove_volume_named(CACHE).await?;
    Ok(true)
}

/// Deletes the repositories that builds have fetched; `false` when one
/// runs.
///
/// # Errors
/// They cannot be deleted.
pub(crate) fn remove_fetched(daemon: &Daemon, dry_run: bool) -> Result<bool, ApiError> {
    let Ok(_alone) = daemon.builder.fetched.try_write() else {
        return Ok(false);
    };
    let folder = daemon.paths.cache.join("git");
    if dry_run || !folder.exists() {
        return Ok(true);
    }
    std::fs::remove_dir_all(&folder).map_err(|error| {
        let what = format!("{} cannot be deleted: {error}", folder.display());
        ApiError::new("cache", what)
    })?;
    Ok(true)
}

/// `POST /v1/builder/prune`: removes the builder and its cache; gives the
/// bytes on disk that were freed. The next build begins anew.
///
/// # Errors
/// A build runs, or something cannot be removed.
pub async fn prune(daemon: &Arc<Daemon>) -> Result<u64, ApiError> {
    let volumes = daemon.volumes()?;
    let caches = volumes.iter().filter(|volume| volume.name == CACHE);
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512);
    let freed = caches.map(|cache| size(&cache.path)).sum();
    if remove(daemon, false).await? {
        return Ok(freed);
    }
    Err(ApiError::new("in_use", "a build is running").help("try again after it"))
}

async fn running(daemon: &Arc<Daemon>, progress: &Progress) -> Result<Arc<Handle>, ApiError> {
    let spec = spec();
    let service = &spec.services[NAME];
    let wanted = Wanted {
        reference: service.image.clone(),
        platform: None,
    };
    let _image = space::Lease::new(daemon, std::iter::once(&service.image)).await?;
    let _cache = volume::Lease::new(daemon, PROJECT, [&spec])?;
    let mut images = images::ensure(
        daemon,
        progress,
        BTreeSet::from([(wanted, PullOrder::Missing)]),
    )
    .await
    .map_err(|error| ApiError {
        message: format!("the image that builds images: {}", error.message),
        help: Some(OTHER_IMAGE.to_owned()),
        ..error
    })?;
    let image = images
        .remove(&service.image)
        .ok_or_else(|| ApiError::new("image_missing", "the builder's image was removed"))?;
    for old in daemon.handles(Some(PROJECT)) {
        let container = old.container();
        if container.image_id == image.id && container.config_hash == service.config_hash {
            if !container.state.is_live() {
                progress.step("image", "builder", "starting");
                old.start();
            }
            wait::up(&old).await.map_err(not_up)?;
            progress.finish("image", "builder", "ready");
            return Ok(old);
        }
        if daemon.builder.users.load(Ordering::SeqCst) > 0 {
            return Ok(old);
        }
        down::remove(daemon, &Progress::new().0, &old, None, true).await?;
    }
    progress.step("image", "builder", "starting");
    let quiet = Progress::new().0;
    networks::network(daemon, &quiet, &spec, "default")?;
    create::volume(daemon, &quiet, &spec, CACHE)?;
    let order = create::Order {
        stack: &spec,
        spec: service,
        number: 1,
        name: NAME,
        image: &image,
        inherited: None,
        standby: false,
        one_off: None,
    };
    let handle = create::container(daemon, &quiet, &order)?;
    handle.start();
    wait::up(&handle).await.map_err(not_up)?;
    progress.finish("image", "builder", "ready");
    Ok(handle)
}

fn not_up(error: ApiError) -> ApiError {
    ApiError {
        message: format!(
            "the VM that builds images does not start: {}",
            error.message
        ),
        help: Some("`stack doctor` says what may be missing".to_owned()),
        ..error
    }
}

/// An error, with the way out when the builder's disk is full; `said` is what
/// else the engine wrote. By now its files may be gone, so that nobody can tell
/// the disk from other places.
pub(super) fn or_full(error: ApiError, said: &str) -> ApiError {
    let is_full = |text: &str| {
        text.to_ascii_lowercase()
            .contains("no space left on device")
    };
    match is_full(&error.message) || is_full(said) {
        false => error,
        true => error.help(
            "the disk of the builder is full: `stack system prune --build-cache` empties it, and \
             .dockerignore leaves large files out; or a `RUN` has filled /dev/shm \
             (`build.shm_size`) or a tmpfs",
        ),
    }
}

/// The directory of a build that is in the builder's memory; it goes with this.
pub(super) struct Scraps<'a> {
    lease: &'a Lease,
    dir: String,
    gone: bool,
}

impl<'a> Scraps<'a> {
    pub(super) fn new(lease: &'a Lease, dir: &str) -> Scraps<'a> {
        Scraps {
            lease,
            dir: dir.to_owned(),
            gone: false,
        }
    }

    /// Deletes it, and notes that these contexts were used.
    ///
    /// # Errors
    /// The builder does not answer.
    pub(super) async fn clear(mut self, contexts: &[String]) -> Result<(), ApiError> {
        let script = "rm -rf \"$1\" || exit; shift; for used; do (: > \"$used\"); done; true";
        let mut args = vec!["sh", "-c", script, "sh", self.dir.as_str()];
        args.extend(contexts.iter().map(String::as_str));
        let cleared = shell::answer(self.lease, &args, None).await;
        self.gone = cleared.is_ok();
        cleared.map(drop)
    }
}

impl Drop for Scraps<'_> {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        // The build was given up. Secrets are among it.
        let agent = self.lease.agent.clone();
        let args = ["rm", "-rf", self.dir.as_str()].map(str::to_owned);
        let exec = Exec {
            stdin: false,
            ..self.lease.exec(&args, &[])
        };
        tokio::spawn(async move {
            if let Ok(mut session) = agent.exec(exec).await {
                session.exit().await;
            }
        });
    }
}

/// What helps when something was killed.
pub(super) const MORE_MEMORY: &str =
    "try again; a build that needs more memory gets it with `STACK_BUILDER_MEMORY`";

/// The builder has gone, or cannot run the engine.
pub(super) fn broken(what: &str) -> ApiError {
    ApiError::new("builder", format!("{what} (in the builder)")).help(MORE_MEMORY)
}

/// A number in the daemon's environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k') => (&text[..at], 1 << 10),
        (at, 'm') => (&text[..at], 1 << 20),
        (at, 'g') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let value = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    if value.is_none() {
        tracing::warn!(name, text, "is no number and has no effect");
    }
    value.filter(|value| *value > 0)
}

/// How long it stays without a build.
fn idle() -> Duration {
    setting("STACK_BUILDER_IDLE").map_or(IDLE, Duration::from_secs)
}

/// Bytes of memory that its VM has.
fn memory() -> u64 {
    let own = || MEMORY.min(crate::host::memory().total / 2);
    setting("STACK_BUILDER_MEMORY").unwrap_or_else(own)
}

/// Processors that its VM has.
fn cpus() -> u32 {
    let own = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let given = setting("STACK_BUILDER_CPUS").and_then(|n| u32::try_from(n).ok());
    given.unwrap_or_else(own)
}

fn spec() -> StackSpec {
    let image = std::env::var("STACK_BUILDER_IMAGE").ok();
    let file = |target: &str, content: &str| FileSpec {
        source: target.to_owned(),
        target: target.to_owned(),
        content: content.as_bytes().to_vec(),
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let mut service = ServiceSpec {
        name: NAME.to_owned(),
        container_name: Some(NAME.to_owned()),
        replicas: 1,
        image: image
            .filter(|image| !image.trim().is_empty())
            .unwrap_or_else(|| IMAGE.to_owned()),
        entrypoint: Some(vec!["sleep".to_owned()]),
        command: Some(vec!["infinity".to_owned()]),
        user: Some("0".to_owned()),
        hostname: Some("builder".to_owned()),
        init: true,
        privileged: true,
        networks: BTreeMap::from([("default".to_owned(), AttachSpec::default())]),
        mounts: vec![MountSpec {
            target: STORE.to_owned(),
            read_only: false,
            source: MountSource::Volume {
                volume: CACHE.to_owned(),
                nocopy: true,
                subpath: None,
            },
        }],
        files: vec![
            file("/etc/containers/storage.conf", STORAGE),
            file("/etc/containers/policy.json", POLICY),
        ],
        machine: MachineSpec {
            memory: Some(memory()),
            vcpus: Some(cpus()),
            ..MachineSpec::default()
        },
        ..ServiceSpec::default()
    };
    let text = serde_json::to_vec(&service).unwrap_or_default();
    let digest = Sha256::digest(text);
    service.config_hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    StackSpec {
        name: PROJECT.to_owned(),
        services: BTreeMap::from([(NAME.to_owned(), service)]),
        networks: BTreeMap::from([(
            "default".to_owned(),
            NetworkSpec {
                name: "stack-builder".to_owned(),
                ..NetworkSpec::default()
            },
        )]),
        volumes: BTreeMap::from([(
            CACHE.to_owned(),
            VolumeSpec {
                name: CACHE.to_owned(),
                ..VolumeSpec::default()
            },
        )]),
        ..StackSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_builds_run_side_by_side_as_have_room() {
        let gib = 1 << 30;
        assert_eq!(at_a_time(4 * gib, 8), 2);
        assert_eq!(at_a_time(gib, 8), 1);
        assert_eq!(at_a_time(64 * gib, 2), 3);
        assert_eq!(at_a_time(64 * gib, 64), 42);
    }

    #[test]
    fn a_full_disk_has_a_way_out() {
        let error = |message: &str| ApiError::new("build_failed", message);
        let full = "dd: error writing '/x': No space left on device";
        for (message, said) in [("exit status 1", full), (full, "")] {
            let help = or_full(error(message), said).help.unwrap();
            assert!(help.contains("stack system prune"), "{help}");
        }
        assert_eq!(or_full(error("exit status 1"), "").help, None);
    }

    #[test]
    fn what_an_image_has_is_read_from_what_it_says() {
        let found = Tools::of(
            "/usr/bin/crun\nruntime\nbuildah version 1.28.2 (image-spec 1.1.0)\n\
             gateway 10.0.2.2\n",
        );
        assert!(found.runtime && !found.unshare);
        assert_eq!(found.version, Some((1, 28)));
        assert_eq!(found.gateway, Some([10, 0, 2, 2].into()));
        let beta = Tools::of("buildah version 1.40-dev (image-spec 1)\n");
        assert_eq!((beta.version, beta.gateway), (Some((1, 40)), None));
    }
}
