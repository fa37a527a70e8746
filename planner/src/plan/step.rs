//! Steps: what to do, why, and after what.

use std::fmt;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stack_api::container::Container;
use stack_api::spec::{Condition, PortSpec};

use super::change::{self, Change};
use super::rollout::Guard;

/// A plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps; a step's number is its place here, and it follows only
    /// steps with lower numbers.
    pub steps: Vec<Step>,
    /// Containers of services that are in the file no more, and that nobody
    /// asked to remove.
    pub orphans: Vec<String>,
    /// Names of containers that stay as they are.
    pub unchanged: Vec<String>,
    /// What those depend on, and containers that are only updated: it is waited for when
    /// all steps are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Services whose containers are replaced by an `update_config`: what a
    /// failure of one leads to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rollouts: BTreeMap<String, Guard>,
    /// Ports that services swap, by the id of the container that has them:
    /// they are freed before the first step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub released: BTreeMap<String, Vec<PortSpec>>,
    /// What cannot be done as the file asks for it, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Numbers of the steps that must have been done.
    pub after: Vec<usize>,
    /// What other services must have reached.
    pub wait_for: Vec<WaitFor>,
}

/// What a service must have reached before a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitFor {
    /// The service.
    pub service: String,
    /// What it must have reached.
    pub condition: Condition,
    /// Without it the step cannot be done.
    pub required: bool,
    /// Names of its containers; those that are about to go are not waited
    /// for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
}

/// What a container that stays depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The name of one that does.
    pub name: String,
    /// What it is.
    pub wait_for: WaitFor,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Action {
    /// Get an image from its registry.
    Pull {
        /// Reference as written.
        image: String,
    },
    /// Build the image of a service.
    Build {
        /// Service.
        service: String,
        /// Reference that it gets.
        image: String,
    },
    /// Make a network.
    CreateNetwork {
        /// Key in the file.
        network: String,
        /// Full name.
        name: String,
    },
    /// Change a network; the containers in it are made anew by other steps.
    UpdateNetwork {
        /// Key in the file.
        network: String,
        /// Full name.
        name: String,
    },
    /// Make a volume.
    CreateVolume {
        /// Key in the file.
        volume: String,
        /// Full name.
        name: String,
    },
    /// Make a container.
    Create {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name.
        name: String,
    },
    /// Stop and remove a container and make another in its place; volumes
    /// without a name go over to the new one.
    Recreate {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name.
        name: String,
        /// Id of the old one.
        id: String,
    },
    /// Have a container take changes as it is, running or not.
    Update {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// Make a container beside the one it will replace: it gets neither
    /// names nor ports yet.
    CreateBeside {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name until it takes over.
        name: String,
    },
    /// Give the names and ports of the old container to the one beside it.
    Switch {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// The name that the new one gets, and the old one loses.
        name: String,
        /// The name of the new one until then.
        beside: String,
        /// Id of the old one.
        id: String,
    },
    /// Wait until new containers have come up and stay so.
    Watch {
        /// Service.
        service: String,
        /// Names of the containers.
        names: Vec<String>,
        /// Milliseconds for which they must stay up.
        monitor_ms: u64,
        /// Milliseconds to wait afterwards.
        delay_ms: u64,
    },
    /// Start a container.
    Start {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name.
        name: String,
    },
    /// Stop a running container; another step starts it again.
    Stop {
        /// Service.
        service: String,
        /// 1, 2, 3…
        number: u32,
        /// Its name.
        name: String,
    },
    /// Stop and remove a container.
    Remove {
        /// Service.
        service: String,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// The name of its successor, which another step makes: volumes without a name
        /// go over to that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heir: Option<String>,
    },
}

/// Why a step is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Reason {
    /// It is not there.
    Missing,
    /// The policy says so each time.
    PullPolicy,
    /// The policy wants the registry to be asked again.
    TooOld,
    /// These attributes changed; none: only such as have no effect here.
    Changed {
        /// Each with its old and new value.
        changes: Vec<Change>,
    },
    /// The reference leads to another image now.
    ImageChanged {
        /// Old image id.
        from: String,
        /// New image id; empty until it has been pulled.
        to: String,
    },
    /// A network it is in changes.
    NetworkChanged {
        /// Key in the file.
        network: String,
    },
    /// It was asked for.
    Forced,
    /// Fresh volumes without a name were asked for.
    Renewed,
    /// It does not run.
    NotRunning {
        /// Its state.
        state: String,
    },
    /// A service it depends on is started anew (`depends_on: restart`).
    DependencyRestarts {
        /// That service.
        service: String,
    },
    /// Fewer are wanted.
    ScaledDown,
    /// Its service is in the file no more.
    Orphan,
    /// A volume it mounts is another one.
    VolumeChanged {
        /// Key in the file.
        volume: String,
    },
    /// It was left by an update that was cut off.
    Leftover,
    /// Another container has taken its place.
    Replaced,
    /// New containers have to prove themselves.
    Rollout,
}

impl Plan {
    /// Nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step and all that it follows, directly or not.
    pub fn leading_to(&self, step: usize) -> BTreeSet<usize> {
        let (mut queue, mut seen) = (vec![step], BTreeSet::new());
        while let Some(step) = queue.pop() {
            if seen.insert(step) {
                queue.extend(&self.steps[step].after);
            }
        }
        seen
    }

    pub(super) fn add(&mut self, action: Action, reason: Reason, after: Vec<usize>) -> usize {
        self.steps.push(Step {
            action,
            reason,
            after,
            wait_for: Vec::new(),
        });
        self.steps.len() - 1
    }
}

impl Action {
    pub(super) fn remove(container: &Container) -> Action {
        Action::Remove {
            service: container.service.clone(),
            name: container.name.clone(),
            id: container.id.clone(),
            heir: None,
        }
    }

    /// `image`, `network`, `volume`, `container` or `service`, and the
    /// thing's name.
    pub fn subject(&self) -> (&'static str, &str) {
        match self {
            Action::Pull { image } | Action::Build { image, .. } => ("image", image),
            Action::CreateNetwork { name, .. } | Action::UpdateNetwork { name, .. } => {
                ("network", name)
            }
            Action::CreateVolume { name, .. } => ("volume", name),
            Action::Watch { service, .. } => ("service", service),
            Action::Create { name, .. }
            | Action::Recreate { name, .. }
            | Action::Update { name, .. }
            | Action::CreateBeside { name, .. }
            | Action::Switch { name, .. }
            | Action::Start { name, .. }
            | Action::Stop { name, .. }
            | Action::Remove { name, .. } => ("container", name),
        }
    }

    /// The service it is about, and the name of the container.
    pub fn container(&self) -> Option<(&str, &str)> {
        match self {
            Action::Create { service, name, .. }
            | Action::CreateBeside { service, name, .. }
            | Action::Recreate { service, name, .. }
            | Action::Update { service, name, .. }
            | Action::Switch { service, name, .. }
            | Action::Start { service, name, .. }
            | Action::Stop { service, name, .. }
            | Action::Remove { service, name, .. } => Some((service, name)),
            Action::Watch { service, .. } => Some((service, service)),
            Action::Pull { .. }
            | Action::Build { .. }
            | Action::CreateNetwork { .. }
            | Action::UpdateNetwork { .. }
            | Action::CreateVolume { .. } => None,
        }
    }

    /// Id of the container that is there before it, where it is about one.
    pub fn old(&self) -> Option<&str> {
        match self {
            Action::Recreate { id, .. }
            | Action::Update { id, .. }
            | Action::Switch { id, .. }
            | Action::Remove { id, .. } => Some(id),
            Action::Pull { .. }
            | Action::Build { .. }
            | Action::CreateNetwork { .. }
            | Action::UpdateNetwork { .. }
            | Action::CreateVolume { .. }
            | Action::Create { .. }
            | Action::CreateBeside { .. }
            | Action::Watch { .. }
            | Action::Start { .. }
            | Action::Stop { .. } => None,
        }
    }

    /// What is done, as a word.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Pull { .. } => "pull",
            Action::Build { .. } => "build",
            Action::CreateNetwork { .. }
            | Action::CreateVolume { .. }
            | Action::Create { .. }
            | Action::CreateBeside { .. } => "create",
            Action::UpdateNetwork { .. } | Action::Update { .. } => "update",
            Action::Switch { .. } => "switch",
            Action::Watch { .. } => "watch",
            Action::Recreate { .. } => "recreate",
            Action::Start { .. } => "start",
            Action::Stop { .. } => "stop",
            Action::Remove { .. } => "remove",
        }
    }
}

fn short(id: &str) -> &str {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    bare.get(..12).unwrap_or(bare)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Missing => f.write_str("not there yet"),
            Reason::PullPolicy => f.write_str("pull_policy: always"),
            Reason::TooOld => f.write_str("its registry was not asked for long"),
            Reason::Changed { changes } => f.write_str(&change::names(changes)),
            Reason::ImageChanged { from, to } if to.is_empty() => {
                write!(f, "image changes: {} → what the pull brings", short(from))
            }
            Reason::ImageChanged { from, to } => {
                write!(f, "image changed: {} → {}", short(from), short(to))
            }
            Reason::NetworkChanged { network } => write!(f, "network {network} changes"),
            Reason::Forced => f.write_str("--force-recreate"),
            Reason::Renewed => f.write_str("--renew-anon-volumes"),
            Reason::NotRunning { state } => write!(f, "it is {state}"),
            Reason::DependencyRestarts { service } => write!(f, "{service} is started anew"),
            Reason::ScaledDown => f.write_str("fewer are wanted"),
            Reason::Orphan => f.write_str("its service is in the file no more"),
            Reason::VolumeChanged { volume } => write!(f, "volume {volume} is another one"),
            Reason::Leftover => f.write_str("left by an update that was cut off"),
            Reason::Replaced => f.write_str("another has taken its place"),
            Reason::Rollout => f.write_str("the new containers have to stay up"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.action.subject();
        write!(f, "{} {kind} {name}: {}", self.action.verb(), self.reason)
    }
}
