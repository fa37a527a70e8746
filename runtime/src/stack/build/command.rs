//! The engine's command line (buildah-build(1)), and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use stack_api::build::BuildSpec;
use stack_api::event::ApiError;
use stack_images::PullOptions;
use stack_protocol::message::Exit;

use super::builder::{self, Tools};
use super::{Job, dockerfile, images, registries, source};

/// Bytes of an SSH key at most.
const MAX_KEY: usize = 1 << 20;

/// A build as a command.
pub(super) struct Command {
    pub args: Vec<String>,
    /// Images that are pulled before, whether they are there or not.
    pub pulls: Vec<String>,
    pub env: Vec<String>,
    /// Files that it needs: path and content. They are in memory only.
    pub files: Vec<(String, Vec<u8>)>,
    /// Sockets that it needs: of the host, and in the builder.
    pub sockets: Vec<(PathBuf, String)>,
    /// The directory of those.
    pub dir: String,
    /// Where it writes the image's id.
    pub id_file: String,
    /// What has no effect.
    pub warnings: Vec<String>,
}

impl Command {
    pub(super) async fn new(
        job: &Job<'_>,
        all: &BTreeMap<String, BuildSpec>,
        run: &str,
        (options, tools): (&PullOptions, Tools),
    ) -> Result<Command, ApiError> {
        // In memory: secrets are among the files.
        let dir = format!("/dev/shm/stack-{run}");
        let id_file = format!("{dir}/id");
        let mut command = Command {
            args: Vec::new(),
            pulls: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            sockets: Vec::new(),
            dir,
            id_file,
            warnings: Vec::new(),
        };
        command.basics(job, tools)?;
        command.pull(job, all);
        command.dockerfile(job);
        command.values(job.spec, tools);
        command.old_mounts(job, tools);
        command.contexts(job, all)?;
        command.keys(job)?;
        command.caches(job.spec);
        let mut named = job.images();
        let caches = job.spec.cache_from.iter().chain(&job.spec.cache_to);
        named.extend(caches.filter_map(|place| repository(place)));
        if job.context.is_none() && job.spec.dockerfile_inline.is_none() {
            // What it begins with is known to the engine alone.
            let known = options.known_registries().into_iter();
            named.extend(known.map(|host| format!("{host}/any")));
        }
        let conf = registries::conf(options, &named);
        let path = command.file("registries.conf", conf.into_bytes());
        command
            .env
            .push(format!("CONTAINERS_REGISTRIES_CONF={path}"));
        if let Some(auth) = registries::auth(options, &named).await {
            let path = command.file("auth.json", auth);
            command.env.push(format!("REGISTRY_AUTH_FILE={path}"));
        }
        command.trust(options, &named);
        command.proxies(job.spec);
        command.args.push(match &job.context {
            Some(context) => context.target(),
            None => match job.spec.context.split_once("://") {
                Some((scheme, rest)) => format!("{scheme}://{}", registries::reached(rest)),
                None => job.spec.context.clone(),
            },
        });
        if tools.unshare {
            // Whoever kills the first process kills all of them.
            let apart = "unshare --pid --fork --kill-child --mount-proc --";
            let apart = apart.split(' ').map(str::to_owned);
            command.args.splice(0..0, apart);
        }
        Ok(command)
    }

    fn basics(&mut self, job: &Job<'_>, tools: Tools) -> Result<(), ApiError> {
        // Docker's format has health checks, which OCI's has not.
        let basics = "buildah build --layers --format docker";
        self.args = basics.split(' ').map(str::to_owned).collect();
        let apart = job.spec.network.as_deref() == Some("none");
        let network = if apart { "none" } else { "host" };
        if apart && !tools.runtime {
            let what = format!(
                "service {}: `build.network: none` needs crun or runc in the builder's image",
                job.service
            );
            return Err(ApiError::new("builder", what).help(builder::OTHER_IMAGE));
        }
        // With a runtime, a `RUN` sees its own processes only.
        self.option("--isolation", if tools.runtime { "oci" } else { "chroot" });
        let id_file = self.id_file.clone();
        self.option("--network", network);
        self.option("--iidfile", &id_file);
        for name in job.names()? {
            self.option("--tag", &name);
        }
        if job.spec.no_cache {
            self.args.push("--no-cache".to_owned());
        }
        Ok(())
    }

    /// Newer base images. The engine would ask registries for all of them, also
    /// for those that are built here.
    fn pull(&mut self, job: &Job<'_>, all: &BTreeMap<String, BuildSpec>) {
        if !job.spec.pull {
            // Older engines would take a registry's over one that was built here.
            self.args.push("--pull=missing".to_owned());
            return;
        }
        let others = all.iter().filter(|(service, _)| *service != job.service);
        let names = others.flat_map(|(_, spec)| spec.tags.iter().chain([&spec.image]));
        let built: BTreeSet<String> = names
            .filter_map(|name| stack_images::full_name(name).ok())
            .collect();
        let images = job.images().into_iter();
        let full = images.filter_map(|image| stack_images::full_name(&image).ok());
        let (own, others): (Vec<String>, Vec<String>) =
            full.partition(|image| built.contains(image));
        if own.is_empty() && job.spec.base_services().next().is_none() {
            self.args.push("--pull-always".to_owned());
        } else {
            self.args.push("--pull=missing".to_owned());
            self.pulls = others;
        }
    }

    /// How an image is pulled before the build.
    pub(super) fn pull_of(image: &str) -> Vec<String> {
        let pull = "buildah pull --quiet --policy always";
        pull.split(' ').chain([image]).map(str::to_owned).collect()
    }

    fn dockerfile(&mut self, job: &Job<'_>) {
        let Some(_) = &job.context else {
            // The engine fetches the context, and knows what is in it.
            match &job.spec.dockerfile_inline {
                Some(_) => {
                    let path = self.file("Dockerfile", job.content.clone());
                    self.option("--file", &path);
                }
                None if job.spec.dockerfile.is_empty() => {}
                None => self.option("--file", &job.spec.dockerfile),
            }
            return;
        };
        let path = self.file("Dockerfile", job.content.clone());
        self.option("--file", &path);
        // It has been heeded already.
        let path = self.file("dockerignore", Vec::new());
        self.option("--ignorefile", &path);
    }

    fn values(&mut self, spec: &BuildSpec, tools: Tools) {
        for (name, value) in &spec.args {
            self.option("--build-arg", &format!("{name}={value}"));
        }
        for (name, value) in &spec.labels {
            self.option("--label", &format!("{name}={value}"));
        }
        if let Some(target) = &spec.target {
            self.option("--target", target);
        }
        for (name, address) in &spec.extra_hosts {
            let address = match (address.as_str(), tools.gateway) {
                ("host-gateway", _) if name == registries::HOST => continue,
                ("host-gateway", Some(gateway)) => gateway.to_string(),
                ("host-gateway", None) => {
                    self.warnings.push(format!(
                        "`build.extra_hosts: {name}` has no effect: this machine is {}",
                        registries::HOST
                    ));
                    continue;
                }
                (address, _) => address.to_owned(),
            };
            self.option("--add-host", &format!("{name}:{address}"));
        }
        if let Some(size) = spec.shm_size {
            // What mount(8) understands, too.
            self.option("--shm-size", &format!("{}k", size.div_ceil(1024)));
        }
        for (name, (soft, hard)) in &spec.ulimits {
            self.option("--ulimit", &format!("{name}={soft}:{hard}"));
        }
        // What Docker gives and engines do not. Without a runtime, nothing keeps a
        // device that somebody makes from the disk that all builds share.
        let capabilities = match (spec.privileged, tools.runtime) {
            (true, _) => "all",
            (false, true) => "CAP_AUDIT_WRITE,CAP_MKNOD,CAP_NET_RAW",
            (false, false) => "CAP_AUDIT_WRITE,CAP_NET_RAW",
        };
        self.option("--cap-add", capabilities);
    }

    /// Engines before 1.39 take a `RUN` from the cache although files have changed
    /// that it mounts.
    fn old_mounts(&mut self, job: &Job<'_>, tools: Tools) {
        let is_old = tools.version.is_some_and(|version| version < (1, 39));
        if is_old && dockerfile::mounts_context(&job.dockerfile.0) {
            self.warnings.push(
                "changes of files that a `RUN --mount=type=bind` has from the context go \
                 unnoticed: this builder's buildah is older than 1.39; `COPY` notices them, or \
                 `stack build --no-cache`"
                    .to_owned(),
            );
        }
    }

    fn contexts(
        &mut self,
        job: &Job<'_>,
        all: &BTreeMap<String, BuildSpec>,
    ) -> Result<(), ApiError> {
        for (name, place) in &job.spec.additional_contexts {
            let place = match (job.more.get(name.as_str()), place.strip_prefix("service:")) {
                (Some(context), _) => context.target(),
                (None, Some(service)) => {
                    let spec = all.get(service).ok_or_else(|| {
                        let what = format!("service {}: {service} is not built", job.service);
                        ApiError::new("no_such_service", what)
                    })?;
                    let image = stack_images::full_name(&spec.image).map_err(images::error)?;
                    format!("docker-image://{image}")
                }
                (None, None) => place.clone(),
            };
            self.option("--build-context", &format!("{name}={place}"));
        }
        Ok(())
    }

    /// Whom the engine trusts: whom this host does.
    fn trust(&mut self, options: &PullOptions, images: &[String]) {
        self.files.extend(registries::authorities(options, images));
        if let Some(authorities) = stack_images::system_authorities() {
            let path = self.file("authorities.pem", authorities);
            self.env.push(format!("SSL_CERT_FILE={path}"));
        }
    }

    /// For the engine, which gives them to each `RUN`.
    fn proxies(&mut self, spec: &BuildSpec) {
        let mut proxies = spec.proxies.clone();
        if !proxies.is_empty() {
            proxies.entry("NO_PROXY".to_owned()).or_default();
        }
        for (name, value) in proxies {
            let value = registries::proxy(&name, &value);
            self.env.push(format!("{}={value}", name.to_lowercase()));
            self.env.push(format!("{name}={value}"));
        }
    }

    fn keys(&mut self, job: &Job<'_>) -> Result<(), ApiError> {
        for (n, (id, content)) in job.spec.secrets.iter().enumerate() {
            let path = self.file(&format!("secret-{n}"), content.clone());
            self.option("--secret", &format!("id={id},type=file,src={path}"));
        }
        for (n, (id, key)) in job.spec.ssh.iter().enumerate() {
            let path = match agent_or_key(key).map_err(|why| bad_key(job, id, key, &why))? {
                Ssh::Agent(socket) => {
                    let path = format!("{}/agent-{n}", self.dir);
                    self.sockets.push((socket, path.clone()));
                    path
                }
                Ssh::Key(content) => self.file(&format!("ssh-{n}"), content),
            };
            self.option("--ssh", &format!("{id}={path}"));
        }
        Ok(())
    }

    fn caches(&mut self, spec: &BuildSpec) {
        for (option, list) in [
            ("--cache-from", &spec.cache_from),
            ("--cache-to", &spec.cache_to),
        ] {
            for place in list {
                match repository(place) {
                    Some(repository) => {
                        if !place.contains('=') {
                            self.warnings.push(format!(
                                "`{place}`: layers of a build are kept and looked for beside this \
                                 image, by its repository; those that it is made of are not taken"
                            ));
                        }
                        self.option(option, &registries::reached(&repository));
                    }
                    None => self.warnings.push(format!(
                        "`{place}` has no effect: only registries serve as a build cache"
                    )),
                }
            }
        }
    }

    fn option(&mut self, name: &str, value: &str) {
        self.args.extend([name.to_owned(), value.to_owned()]);
    }

    /// Adds a file and gives its path.
    fn file(&mut self, name: &str, content: Vec<u8>) -> String {
        let path = format!("{}/{name}", self.dir);
        self.files.push((path.clone(), content));
        path
    }
}

/// What `build.ssh` names.
enum Ssh {
    /// The socket of an agent.
    Agent(PathBuf),
    /// A private key.
    Key(Vec<u8>),
}

fn agent_or_key(path: &str) -> Result<Ssh, String> {
    if path.is_empty() {
        return Err("there is no agent: SSH_AUTH_SOCK is not set".to_owned());
    }
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if meta.file_type().is_socket() {
        return Ok(Ssh::Agent(path.into()));
    }
    let key = source::read(path.as_ref(), None).map_err(|error| error.to_string())?;
    match key.len() > MAX_KEY {
        true => Err("it is too large".to_owned()),
        false => Ok(Ssh::Key(key)),
    }
}

fn bad_key(job: &Job<'_>, id: &str, key: &str, why: &str) -> ApiError {
    let service = job.service;
    let what = match key {
        "" => format!("service {service}: `build.ssh: {id}`: {why}"),
        key => format!("service {service}: the SSH key or agent {key} cannot be used: {why}"),
    };
    ApiError::new("no_ssh_key", what).help(format!(
        "start an agent, or name a key: `{id}=~/.ssh/id_ed25519`"
    ))
}

/// The repository of a cache, without tag: the engine makes its own.
fn repository(place: &str) -> Option<String> {
    let reference = match place.contains('=') {
        false => place,
        true => {
            let field = |name: &str| {
                let mut fields = place.split(',').filter_map(|field| field.split_once('='));
                fields.find(|(key, _)| *key == name).map(|(_, value)| value)
            };
            field("ref").filter(|_| field("type") == Some("registry"))?
        }
    };
    let full = stack_images::full_name(reference).ok()?;
    let bare = full.split('@').next().unwrap_or_default();
    let (head, tail) = bare.rsplit_once('/')?;
    Some(format!("{head}/{}", tail.split(':').next()?))
}

/// `STEP 2/4: RUN x`, or with the stage before: count and instruction.
pub(super) fn step(line: &str) -> Option<(&str, &str)> {
    let rest = match line.strip_prefix('[') {
        Some(stage) => stage.split_once("] ")?.1,
        None => line,
    };
    let (count, text) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    let digits = |c: char| c.is_ascii_digit() || c == '/';
    count.chars().all(digits).then_some((count, text))
}

/// The number of the stage in what [`step`] takes, from 1, when there are
/// several.
fn stage(line: &str) -> Option<usize> {
    let (stage, _) = line.strip_prefix('[')?.split_once('/')?;
    stage.parse().ok()
}

/// The error of a build that failed at this step for this reason, both in the
/// engine's words: `line` is its last one that says a step.
pub(super) fn failure(job: &Job<'_>, line: &str, why: &str) -> ApiError {
    let (count, step) = step(line).unwrap_or(("", line));
    let count = count.split('/').next().unwrap_or_default();
    let at = count.parse().ok().map(|number| (stage(line), number));
    let why = why.strip_prefix("Error: ").unwrap_or(why).trim();
    // `error building at STEP "RUN x": error while running runtime: exit status 1`
    let quoted = why
        .split_once("at STEP \"")
        .and_then(|(_, rest)| rest.split_once("\": "));
    let (step, why) = quoted.unwrap_or((step, why));
    let why = why
        .strip_prefix("error while running runtime: ")
        .or_else(|| why.strip_prefix("while running runtime: "))
        .unwrap_or(why);
    let missing = missing_source(why);
    let why = match (&missing, why) {
        (Some(source), _) => &format!("there is no {source}"),
        (None, "") => "the engine does not say why",
        (None, why) => why,
    };
    let (text, name) = &job.dockerfile;
    let place = match dockerfile::line_of(text, step, at) {
        Some(line) => format!("{name}:{line}: "),
        None => format!("{name}: "),
    };
    let what = match step {
        "" => why.to_owned(),
        step => format!("`{step}` failed: {why}"),
    };
    let what = format!("service {}: {place}{what}", job.service);
    let error = ApiError::new("build_failed", what);
    match missing.is_some() && !step.contains("--from=") {
        true => error.help(
            "sources are paths from the top of the build context; `.dockerignore` may leave it out",
        ),
        false => error,
    }
}

/// What a `COPY` or `ADD` did not find: `checking on sources under "/dir": copier: stat:
/// "/a/b": no such file or directory`. The directory is the engine's own.
fn missing_source(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once("checking on sources under \"")?;
    let (_, rest) = rest.split_once("stat: \"")?;
    let (source, why) = rest.split_once('"')?;
    why.contains("no such file")
        .then_some(source.trim_start_matches('/'))
}

/// Was something killed? Mostly by the kernel, for want of memory.
pub(super) fn is_killed(exit: &Exit, why: &str) -> bool {
    let said = ["exit status 137", "signal: killed"];
    exit.oom || exit.code == 137 || said.iter().any(|said| why.contains(said))
}

#[cfg(test)]
mod tests;
