//! `stack run`

mod overlay;

use std::collections::BTreeMap;

use hyper::Method;
use stack_api::build::{Build, BuildSpec, BuildWhen};
use stack_api::request;
use stack_api::retry::Retry;
use stack_api::run;
use stack_api::spec::{PullPolicy, Restart, ServiceSpec, StackSpec};

use super::session::{self, Keys, Manner, Terminal};
use super::up::Pull;
use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::progress::{Mode, Progress};
use crate::project::lock::LockUse;
use crate::{exit, terminal, ui};

/// Run a command in a new container of a service
///
/// What the service depends on is started first. The container is made beside
/// the service's own ones: it has its image, environment, volumes and
/// networks, but not its ports and names unless they are asked for. The exit
/// code is the command's.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: migrate the database, and leave nothing behind\n  \
                  stack run --rm web ./manage.py migrate"
)]
pub(crate) struct Run {
    /// Remove the container when its command has ended
    #[arg(long)]
    rm: bool,

    /// Leave it running in the background and print its id
    #[arg(short, long)]
    detach: bool,

    #[command(flatten)]
    overlay: overlay::Overlay,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    terminal: Terminal,

    /// Leave alone what the service depends on
    #[arg(long)]
    no_deps: bool,

    /// Answer to the service's names in its networks
    #[arg(long)]
    use_aliases: bool,

    /// Build the image first, also when it is there
    #[arg(long)]
    build: bool,

    /// When to pull images: always, missing or never (default: as in the file)
    #[arg(long, value_enum, value_name = "WHEN", hide_possible_values = true)]
    pull: Option<Pull>,

    /// Do not show how pulling images gets on
    #[arg(long)]
    quiet_pull: bool,

    /// Do not show what builds say
    #[arg(long)]
    quiet_build: bool,

    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,

    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Command and its arguments (default: the service's)
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,
}

impl Run {
    pub(super) async fn run(self: Box<Self>, context: &Context) -> Result<u8, Error> {
        let services = [self.service.clone()];
        let (mut spec, project) = context.spec_and_project(&services, LockUse::Advise)?;
        if !spec.services.contains_key(&self.service) {
            let known: Vec<String> = spec.services.keys().cloned().collect();
            return Err(Error::usage(
                format!("there is no service {}", self.service),
                context.known(&known),
            ));
        }
        let tty = self.terminal.is_wanted();
        // In the background, too: a shell shall not end before somebody attaches.
        let stdin = self.terminal.interactive;
        let text = self.overlay.with_env_files(project.environment())?.text(
            &self.service,
            &self.command,
            tty,
            stdin,
        );
        let (changed, _) = context.spec_with(&services, LockUse::Advise, Some(text))?;
        let mut service = one_off(changed.services[&self.service].clone());
        self.overlay.settle(&mut service);
        if self.build {
            context.can_build(&project, &services.into())?;
        }
        let client = context.client().await?;
        let mut interrupts = Interrupts::take()?;
        let mut builds = crate::builds::of(&project);
        if self.remove_orphans {
            self.remove_orphans(context, &client, &spec, &mut interrupts)
                .await?;
        }
        if !self.no_deps {
            self.start_dependencies(context, &client, (&spec, &builds), &mut interrupts)
                .await?;
        }
        let mut pull = self.pull.map(Pull::policy);
        let builder = crate::builds::builder(&builds, &self.service, &service.image);
        if let Some((name, build)) = builder {
            let own = *name == self.service;
            let forced = self.build || Pull::builds(self.pull);
            let always = build.always && self.pull.is_none();
            let when = match own && (forced || always) {
                true => BuildWhen::Always,
                false => BuildWhen::Missing,
            };
            let policy = pull.unwrap_or(service.pull_policy);
            let is_pulled = when == BuildWhen::Missing
                && !always
                && build.is_named(&spec.name, name)
                && policy != PullPolicy::Never;
            if is_pulled {
                self.pull_or_warn(context, &client, &service, policy, &mut interrupts)
                    .await?;
            }
            let request = Build {
                project: spec.name.clone(),
                services: vec![name.clone()],
                builds: std::mem::take(&mut builds),
                when,
            };
            let path = format!("/v1/stacks/{}/build", spec.name);
            let events = client.events(Method::POST, &path, &request).await?;
            self.progress(context)
                .follow(events, &mut interrupts)
                .await?;
            // It is there now, from wherever.
            pull = Some(PullPolicy::Missing);
        }
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-{}-run-{}", spec.name, self.service, random_suffix()));
        let project = spec.name.clone();
        // Those that only the command line has.
        for (key, volume) in changed.volumes {
            spec.volumes.entry(key).or_insert(volume);
        }
        let request = run::Run {
            spec,
            service,
            name: name.clone(),
            pull,
            use_aliases: self.use_aliases,
            remove: self.rm,
            no_deps: self.no_deps,
            detach: self.detach,
        };
        let path = format!("/v1/stacks/{project}/run");
        let events = client.events(Method::POST, &path, &request).await?;
        self.progress(context)
            .follow(events, &mut interrupts)
            .await?;
        let attach = run::Attach {
            container: Some(name.clone()),
            service: self.service.clone(),
            start: true,
            size: if tty { terminal::size() } else { None },
            detach: self.detach,
            ..run::Attach::default()
        };
        let path = format!("/v1/stacks/{project}/attach");
        let (io, _connection) = client.upgrade(&path, &attach).await?;
        // Without its standard input, Ctrl-C is not one of its keys.
        let tty = tty && stdin;
        let manner = Manner {
            tty: tty && !self.detach,
            no_stdin: !stdin || self.detach,
            detach: (tty && !self.rm && !self.detach).then(Keys::default),
            pass_signals: !tty && !self.detach,
        };
        let code = tokio::select! {
            code = session::run(io, &manner) => code?,
            // It goes on starting, as with any command that is in the background.
            () = interrupts.next(), if self.detach => return Err(Error::Interrupted),
        };
        if self.detach && code == exit::OK {
            let list = containers(&client, &project).await?;
            let made = list.iter().find(|container| container.name == name);
            ui::print_line(made.map_or(name.as_str(), |container| &container.id))?;
        }
        Ok(code)
    }

    /// Pulls the service's image; whether a registry has it does not matter,
    /// for it can be built.
    async fn pull_or_warn(
        &self,
        context: &Context,
        client: &Client,
        service: &ServiceSpec,
        policy: PullPolicy,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let request = request::Pull {
            images: vec![service.image.clone()],
            policy,
            ignore_failures: true,
            platforms: crate::builds::platforms([service].into_iter()),
            ..request::Pull::default()
        };
        let path = "/v1/images/pull";
        let events = client.events(Method::POST, path, &request).await?;
        self.progress(context).follow(events, interrupts).await?;
        Ok(())
    }

    fn progress(&self, context: &Context) -> Progress {
        let mode = if self.quiet {
            Mode::Quiet
        } else {
            context.global.progress
        };
        let mut progress = Progress::new(context.ui, mode);
        if self.quiet_pull {
            progress = progress.without_pulls();
        }
        if self.quiet_build {
            progress = progress.without_builds();
        }
        progress
    }

    async fn remove_orphans(
        &self,
        context: &Context,
        client: &Client,
        spec: &StackSpec,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let request = request::Up {
            spec: spec.clone(),
            remove_orphans: true,
            orphans_only: true,
            ..request::Up::default()
        };
        let path = format!("/v1/stacks/{}", spec.name);
        let events = client.events(Method::PUT, &path, &request).await?;
        self.progress(context).follow(events, interrupts).await?;
        Ok(())
    }

    async fn start_dependencies(
        &self,
        context: &Context,
        client: &Client,
        (spec, builds): (&StackSpec, &BTreeMap<String, BuildSpec>),
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let depends_on = &spec.services[&self.service].depends_on;
        let services: Vec<String> = depends_on
            .keys()
            .filter(|name| spec.services.contains_key(*name))
            .cloned()
            .collect();
        // None would be all of them.
        if services.is_empty() {
            return Ok(());
        }
        let up = request::Up {
            spec: spec.clone(),
            services,
            scale: BTreeMap::new(),
            ignore_orphans: true,
            builds: builds.clone(),
            ..request::Up::default()
        };
        let path = format!("/v1/stacks/{}", spec.name);
        let events = client.events(Method::PUT, &path, &up).await?;
        self.progress(context).follow(events, interrupts).await?;
        Ok(())
    }
}

/// A service as one container that is run once, whatever its policies say.
fn one_off(service: ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        replicas: 1,
        container_name: None,
        restart: Restart::No,
        retry: Retry::default(),
        ..service
    }
}

/// Twelve hexadecimal digits.
fn random_suffix() -> String {
    use std::hash::{BuildHasher, Hasher};
    // Keyed from the system's random numbers, anew for each.
    let word = std::hash::RandomState::new().build_hasher().finish();
    format!("{:012x}", word & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run_once_is_not_started_again() {
        let service = ServiceSpec {
            restart: Restart::Always,
            retry: Retry {
                max_attempts: Some(3),
                ..Retry::default()
            },
            replicas: 4,
            ..ServiceSpec::default()
        };
        assert_eq!(
            one_off(service),
            ServiceSpec {
                replicas: 1,
                ..ServiceSpec::default()
            }
        );
    }
}
