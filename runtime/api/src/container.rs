//! A container as it is: what `ps` shows and the plan compares with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One container (one micro-VM, running or not).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `<project>-<service>-<number>` or the explicit name.
    pub name: String,
    /// Project.
    pub project: String,
    /// Service.
    pub service: String,
    /// 1, 2, 3…
    pub number: u32,
    /// Image reference as written.
    pub image: String,
    /// Id of the image it was made from.
    pub image_id: String,
    /// [`ServiceSpec::config_hash`](crate::spec::ServiceSpec::config_hash) it was made from.
    pub config_hash: String,
    /// Where it is in its life.
    pub state: State,
    /// Health; `None` when there is no check.
    pub health: Option<Health>,
    /// Last exit code.
    pub exit_code: Option<i32>,
    /// Why the last start failed or the VM ended, for the user.
    pub error: Option<String>,
    /// The stable word of that error, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Out of memory.
    pub oom: bool,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch.
    pub started_ms: Option<u64>,
    /// Milliseconds since the epoch.
    pub finished_ms: Option<u64>,
    /// Automatic restarts since the last start by hand.
    pub restarts: u32,
    /// The VM's process.
    pub pid: Option<u32>,
    /// `/proc/sys/kernel/random/boot_id` of the VM.
    pub boot_id: Option<String>,
    /// Published ports that are bound.
    pub ports: Vec<Published>,
    /// Networks: full name and address.
    pub networks: Vec<(String, IpAddr)>,
    /// Its command, for show.
    pub command: String,
    /// Grants to resources: memory of the VM in bytes.
    pub memory: u64,
    /// Labels, as the file has them now.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, as the file has them now.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Processors of the VM at its last start; 0 before the first.
    #[serde(default)]
    pub cpus: u32,
    /// It has a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Made by `run`: no replica of the service, no plan touches it.
    #[serde(default)]
    pub one_off: bool,
    /// Milliseconds since the epoch at which its restart policy starts it
    /// again; only while it is [`State::Restarting`].
    #[serde(default)]
    pub next_start_ms: Option<u64>,
    /// What it has mounted: names of volumes and paths of the host.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// It is stopped for a moment, and starts again by itself: what it has is
    /// needed without it.
    #[serde(default)]
    pub halted: bool,
}

impl Container {
    /// Its service goes on: it has a VM, or is about to.
    pub fn goes_on(&self) -> bool {
        self.state.is_live() || self.halted
    }

    /// Its process has been started and has not ended; it may be frozen, or its
    /// `post_start` hooks may be running.
    pub fn is_up(&self) -> bool {
        match self.state {
            State::Running | State::Paused => true,
            State::Starting => self.started_ms.is_some() && self.finished_ms.is_none(),
            State::Created | State::Restarting | State::Stopping | State::Exited | State::Dead => {
                false
            }
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Made, never started.
    #[default]
    Created,
    /// Its VM boots.
    Starting,
    /// Its process runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended, will be started again by its restart policy.
    Restarting,
    /// Being stopped.
    Stopping,
    /// Ended.
    Exited,
    /// Its VM failed.
    Dead,
}

impl State {
    /// The word `ps` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Restarting => "restarting",
            State::Stopping => "stopping",
            State::Exited => "exited",
            State::Dead => "dead",
        }
    }

    /// There is, or is about to be, a VM.
    pub fn is_live(self) -> bool {
        matches!(
            self,
            State::Starting | State::Running | State::Paused | State::Restarting | State::Stopping
        )
    }
}

/// Health of a container with a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No probe has passed yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// Too many failed.
    Unhealthy,
}

/// A published port that is bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Address on the host.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port of the service.
    pub target: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}
