//! Builds images from Dockerfiles, with an engine (buildah) in a micro-VM of
//! its own.
//!
//! ```text
//! context ──sync──► builder VM ──buildah──► image ──missing layers──► store
//! ```

mod builder;
mod command;
mod context;
mod dockerfile;
mod forward;
mod git;
mod import;
mod order;
mod registries;
mod shell;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use stack_api::build::{Build, BuildSpec, BuildWhen};
use stack_api::event::ApiError;
use stack_images::PullOptions;
use tokio::sync::OwnedRwLockReadGuard;

pub use builder::{Builder, PROJECT as BUILDER, prune as prune_builder, settle as settle_builder};
pub(crate) use builder::{CACHE, remove as remove_builder, remove_fetched};

use super::{Outcome, images};
use crate::daemon::Daemon;
use crate::progress::Progress;
use builder::{Lease, Scraps};
use command::Command;
use context::Context;
use forward::Forward;

/// A build that is ready to run.
struct Job<'a> {
    service: &'a str,
    spec: &'a BuildSpec,
    /// Content of the Dockerfile as text, and how it is called.
    dockerfile: (String, String),
    /// Its content as it is: not all of it need be text.
    content: Vec<u8>,
    /// `None`: the engine fetches it.
    context: Option<Context>,
    /// More contexts that are directories, by name.
    more: BTreeMap<&'a str, Context>,
}

/// `POST /v1/stacks/{name}/build`.
///
/// # Errors
/// A build fails: at which instruction, in which line.
pub async fn build(daemon: Arc<Daemon>, request: Build, progress: Progress) -> Outcome {
    let mut wanted: BTreeSet<&str> = request.services.iter().map(String::as_str).collect();
    match request.when {
        BuildWhen::Always => {}
        BuildWhen::Never => return Ok(()),
        BuildWhen::Missing => {
            let mut missing = BTreeSet::new();
            for service in wanted {
                let Some(spec) = request.builds.get(service) else {
                    continue;
                };
                let known = daemon.images.get(&spec.image).map_err(images::error)?;
                if known.is_none() {
                    missing.insert(service);
                }
            }
            wanted = missing;
        }
    }
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !request.builds.contains_key(**name))
    {
        return Err(ApiError::new(
            "no_such_service",
            format!("there is no service \"{unknown}\" that is built"),
        ));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let _fetched = daemon.builder.fetched.read().await;
    let cache = daemon.paths.cache.join("git");
    let mut builds = request.builds.clone();
    let mut needed: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    // What a Dockerfile begins with is known when it is there: then that is
    // fetched, too, if it is built here. No registry is asked for it.
    loop {
        fetch(&daemon, &progress, &mut builds, &needed).await?;
        let (jobs, _) = jobs(&builds, &cache);
        let found = order::needed(&jobs, &builds, &needed);
        if found.is_subset(&needed) {
            break;
        }
        needed.extend(found);
    }
    let (jobs, mut failed) = jobs(&builds, &cache);
    // What is not needed does not matter.
    if let Some(error) = needed.iter().find_map(|name| failed.remove(name.as_str())) {
        return Err(error);
    }
    let order = order::Order::new(&jobs, &wanted)?;
    let lease = Lease::new(&daemon, &progress).await?;
    tokio::select! {
        built = in_order(&daemon, &lease, &progress, (&jobs, &builds), order) => built,
        () = lease.tell_halts(&progress) => Ok(()),
    }
}

/// Builds in this order, as many at a time as can be.
async fn in_order(
    daemon: &Daemon,
    lease: &Lease,
    progress: &Progress,
    (jobs, builds): (&BTreeMap<&str, Job<'_>>, &BTreeMap<String, BuildSpec>),
    mut order: order::Order<'_>,
) -> Outcome {
    let chosen = order.services().filter_map(|name| jobs.get(name));
    let _held = bring(daemon, lease, progress, chosen).await?;
    let mut running = FuturesUnordered::new();
    loop {
        let ready = order.ready();
        running.extend(
            ready
                .into_iter()
                .filter_map(|name| jobs.get(name))
                .map(|job| {
                    let built = in_turn(daemon, lease, progress, job, builds);
                    async move { built.await.map(|()| job.service) }
                }),
        );
        match running.next().await {
            Some(built) => order.done(built?),
            None => return Ok(()),
        }
    }
}

/// Fetches contexts in git repositories, as far as they are needed, and puts
/// their directories in their place.
async fn fetch(
    daemon: &Daemon,
    progress: &Progress,
    builds: &mut BTreeMap<String, BuildSpec>,
    needed: &BTreeSet<String>,
) -> Outcome {
    let mut new: Vec<String> = needed.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(service) = new.pop() {
        let Some(spec) = builds.get_mut(&service).filter(|_| seen.insert(service)) else {
            continue;
        };
        // What BuildKit's frontend takes for true (Go, strconv.ParseBool).
        let keeps_git = spec.args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
        let keeps_git = keeps_git
            .is_some_and(|value| ["1", "t", "T", "true", "TRUE", "True"].contains(&value.as_str()));
        let more = spec.additional_contexts.values_mut();
        for place in more.chain([&mut spec.context]) {
            new.extend(place.strip_prefix("service:").map(str::to_owned));
            let Some(repository) = stack_git::Repository::parse(place) else {
                continue;
            };
            progress.step("context", place, "fetching");
            let folder = git::fetch(&repository, &daemon.paths.cache, keeps_git).await?;
            progress.finish("context", place, "fetched");
            *place = folder.display().to_string();
        }
    }
    Ok(())
}

/// Everything that can be built, and why the rest cannot.
fn jobs<'a>(
    builds: &'a BTreeMap<String, BuildSpec>,
    cache: &Path,
) -> (BTreeMap<&'a str, Job<'a>>, BTreeMap<&'a str, ApiError>) {
    let (mut jobs, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for (service, spec) in builds {
        match Job::new(service, spec, cache) {
            Ok(job) => drop(jobs.insert(service.as_str(), job)),
            Err(error) => drop(failed.insert(service.as_str(), error)),
        }
    }
    (jobs, failed)
}

/// Brings the contexts of all jobs in. They stay as they are until what is
/// returned is dropped.
async fn bring<'a>(
    daemon: &Daemon,
    lease: &Lease,
    progress: &Progress,
    jobs: impl Iterator<Item = &'a Job<'a>>,
) -> Result<Vec<OwnedRwLockReadGuard<()>>, ApiError> {
    let mut contexts: BTreeMap<String, &Context> = BTreeMap::new();
    for job in jobs {
        for context in job.contexts() {
            contexts.insert(context.target(), context);
        }
    }
    let mut held = Vec::new();
    // In the order of their names, as everybody does.
    for (target, context) in contexts {
        let name = context.path.display().to_string();
        let lock = daemon.builder.context(&target);
        let lock = match Arc::clone(&lock).try_write_owned() {
            Ok(held) => held,
            Err(_) => {
                let why = "until another build of it is done";
                progress.detail("context", &name, "waiting", why.to_owned());
                lock.write_owned().await
            }
        };
        progress.step("context", &name, "sending");
        let sent = context.bring(daemon, lease).await?;
        let status = match sent {
            0 => "unchanged",
            _ => "sent",
        };
        progress.finish("context", &name, status);
        held.push(lock.downgrade());
    }
    Ok(held)
}

impl<'a> Job<'a> {
    /// Contexts below `cache` are repositories of others.
    fn new(service: &'a str, spec: &'a BuildSpec, cache: &Path) -> Result<Job<'a>, ApiError> {
        let failed = |error: ApiError| ApiError {
            message: format!("service {service}: {}", error.message),
            ..error
        };
        if let Some(why) = &spec.hindrance {
            return Err(failed(ApiError::new("cannot_build", why.clone())));
        }
        if is_archive(&spec.context) {
            let inline = spec.dockerfile_inline.clone().unwrap_or_default();
            let mut job = Job {
                service,
                spec,
                content: inline.clone().into_bytes(),
                dockerfile: (inline, spec.dockerfile.clone()),
                context: None,
                more: BTreeMap::new(),
            };
            job.check().map_err(failed)?;
            job.add_contexts(cache).map_err(failed)?;
            return Ok(job);
        }
        let path = Path::new(&spec.context);
        let file = (spec.dockerfile_inline.is_none()).then(|| path.join(dockerfile_of(spec)));
        let context = Context::open(path, file.as_deref(), cache).map_err(failed)?;
        let (content, name) = match (&spec.dockerfile_inline, &file) {
            (Some(inline), _) => (inline.clone().into_bytes(), "dockerfile_inline".to_owned()),
            (None, Some(file)) => (
                read(file, path, cache).map_err(failed)?,
                dockerfile_of(spec).to_owned(),
            ),
            (None, None) => (Vec::new(), String::new()),
        };
        let mut job = Job {
            service,
            spec,
            dockerfile: (String::from_utf8_lossy(&content).into_owned(), name),
            content,
            context: Some(context),
            more: BTreeMap::new(),
        };
        job.check().map_err(failed)?;
        job.add_contexts(cache).map_err(failed)?;
        Ok(job)
    }

    /// Can it be told what the Dockerfile begins with? What the engine need not be
    /// told is taken out.
    fn check(&mut self) -> Outcome {
        let (text, name) = &self.dockerfile;
        let bad = |why| ApiError::new("bad_dockerfile", format!("{name}: {why}"));
        if let Some((line, word)) = dockerfile::unknown(text) {
            let what = format!("{name}:{line}: `{word}` is no instruction");
            let error = ApiError::new("bad_dockerfile", what);
            return Err(match dockerfile::keyword_like(&word) {
                Some(keyword) => error.help(format!("did you mean `{keyword}`?")),
                None => error.help("a line that goes on ends with a backslash"),
            });
        }
        dockerfile::images(text, &self.spec.args).map_err(bad)?;
        let plain = dockerfile::without_security(&self.content, self.spec.privileged);
        self.content = plain.map_err(|line| {
            let what = format!("line {line}: `RUN --security=insecure` is not allowed");
            bad(what).help("`build.entitlements: [security.insecure]` allows it")
        })?;
        Ok(())
    }

    fn add_contexts(&mut self, cache: &Path) -> Outcome {
        for (name, place) in &self.spec.additional_contexts {
            if is_directory(place) {
                let context = Context::open(Path::new(place), None, cache)?;
                self.more.insert(name.as_str(), context);
            }
        }
        Ok(())
    }

    /// All names of the image, in full.
    fn names(&self) -> Result<Vec<String>, ApiError> {
        let mut names: Vec<String> = Vec::new();
        for name in self.spec.tags.iter().chain([&self.spec.image]) {
            let name = stack_images::full_name(name).map_err(images::error)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.reverse();
        Ok(names)
    }

    /// Directories of the host that it needs.
    fn contexts(&self) -> impl Iterator<Item = &Context> {
        self.more.values().chain(&self.context)
    }

    /// Images that it begins with or copies from.
    fn images(&self) -> Vec<String> {
        let images = dockerfile::images(&self.dockerfile.0, &self.spec.args);
        let mut images = images.unwrap_or_default();
        let contexts = &self.spec.additional_contexts;
        images.retain(|image| !contexts.contains_key(image));
        let named = contexts.values();
        let named = named.filter_map(|place| place.strip_prefix("docker-image://"));
        images.extend(named.map(str::to_owned));
        images
    }
}

/// The URL of an archive, or of a Dockerfile.
fn is_archive(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Neither a URL nor an image nor a service.
fn is_directory(place: &str) -> bool {
    Path::new(place).is_absolute()
}

/// As BuildKit does, `dockerfile` is taken when there is no `Dockerfile`.
fn dockerfile_of(spec: &BuildSpec) -> &str {
    let is_there = |name: &str| Path::new(&spec.context).join(name).exists();
    match spec.dockerfile == "Dockerfile" && !is_there("Dockerfile") && is_there("dockerfile") {
        true => "dockerfile",
        false => &spec.dockerfile,
    }
}

fn read(file: &Path, context: &Path, cache: &Path) -> Result<Vec<u8>, ApiError> {
    let inside = git::repository_of(context, cache);
    let text = source::read(file, inside.as_deref());
    // Not every engine passes over a mark of the byte order.
    let text = text.map(|text| match text.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => rest.to_vec(),
        None => text,
    });
    text.map_err(|why| {
        ApiError::new(
            "no_dockerfile",
            format!("{} cannot be read: {why}", file.display()),
        )
        .help("`build.dockerfile` names it, relative to `build.context`")
    })
}

/// Builds it as soon as the builder has room for one more.
async fn in_turn(
    daemon: &Daemon,
    lease: &Lease,
    progress: &Progress,
    job: &Job<'_>,
    all: &BTreeMap<String, BuildSpec>,
) -> Outcome {
    let room = &daemon.builder.room;
    let _one = match room.try_acquire() {
        Ok(one) => Ok(one),
        Err(_) => {
            let why = "until another build is done";
            progress.detail("image", &job.spec.image, "waiting", why.to_owned());
            room.acquire().await
        }
    };
    one(daemon, lease, progress, job, all).await
}

async fn one(
    daemon: &Daemon,
    lease: &Lease,
    progress: &Progress,
    job: &Job<'_>,
    all: &BTreeMap<String, BuildSpec>,
) -> Outcome {
    let name = &job.spec.image;
    progress.step("image", name, "building");
    let run = daemon.builder.number();
    let options = PullOptions::from_env();
    let command = Command::new(job, all, &run, (&options, lease.tools)).await?;
    for warning in &command.warnings {
        progress.warn(format!("{}: {warning}", job.service));
    }
    let scraps = Scraps::new(lease, &command.dir);
    let result = async {
        for (path, content) in &command.files {
            shell::write_file(lease, path, content.clone()).await?;
        }
        let mut forwarded = Vec::new();
        for (host, guest) in &command.sockets {
            forwarded.push(Forward::start(lease, host, guest).await?);
        }
        let mut step = String::new();
        let mut last_error = String::new();
        let mut full = String::new();
        let mut heard = |line: &str| {
            if let Some((count, text)) = command::step(line) {
                progress.detail("image", name, "building", format!("{count} {text}"));
                line.clone_into(&mut step);
            }
            if line.to_ascii_lowercase().starts_with("error") {
                line.clone_into(&mut last_error);
            }
            if line.to_ascii_lowercase().contains("no space left") {
                line.clone_into(&mut full);
            }
            progress.output(name, line);
        };
        let pulls = command.pulls.iter().map(|image| Command::pull_of(image));
        let pulls: Vec<Vec<String>> = pulls.collect();
        let mut exit = None;
        for args in pulls.iter().chain([&command.args]) {
            let ended = shell::run(lease, (args, &command.env), progress, &mut heard).await?;
            let failed = ended.code != 0;
            exit = Some(ended);
            if failed {
                break;
            }
        }
        if let Some(exit) = exit.filter(|exit| exit.code != 0) {
            let error = match exit.error {
                Some(why) => builder::broken(&format!("service {}: {why}", job.service)),
                None => {
                    let error = command::failure(job, &step, &last_error);
                    match command::is_killed(&exit, &last_error) {
                        true => error.help(builder::MORE_MEMORY),
                        false => error,
                    }
                }
            };
            return Err(builder::or_full(error, &full));
        }
        let id = shell::answer(lease, &["cat", &command.id_file], None).await?;
        let id = String::from_utf8_lossy(&id).trim().replace("sha256:", "");
        progress.step("image", name, "exporting");
        import::import(daemon, lease, (&id, &run), &job.names()?).await
    };
    let result = result.await;
    let marks = job.contexts().map(Context::mark).collect::<Vec<_>>();
    let cleared = scraps.clear(&marks).await;
    let _id = result.map_err(|error| builder::or_full(error, ""))?;
    cleared?;
    progress.finish("image", name, "built");
    Ok(())
}
