//! How the containers of a service are replaced, a few at a time
//! (Compose deploy specification, `update_config` and `rollback_config`).

use serde::{Deserialize, Serialize};

/// A way of replacing containers. The default is Compose's for an empty
/// `update_config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// Containers at once; 0 is all.
    pub parallelism: u32,
    /// Milliseconds between one batch and the next.
    pub delay_ms: u64,
    /// Milliseconds for which a new container must keep running (and
    /// healthy) after it has come up.
    pub monitor_ms: u64,
    /// What a failure leads to.
    pub failure_action: FailureAction,
    /// Share of the containers that may fail before `failure_action` is
    /// taken, 0 to 1.
    pub max_failure_ratio: f64,
    /// What goes first: the old container or the new one.
    pub order: Order,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            parallelism: 1,
            delay_ms: 0,
            monitor_ms: 0,
            failure_action: FailureAction::Pause,
            max_failure_ratio: 0.0,
            order: Order::StopFirst,
        }
    }
}

/// What too many failures lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// No more containers are replaced.
    #[default]
    Pause,
    /// Go on.
    Continue,
    /// Go back to the definition from before.
    Rollback,
}

/// Which container of a pair goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The old one is stopped, then the new one started.
    #[default]
    StopFirst,
    /// The new one is started beside the old one, takes over its names and
    /// ports when it is up, and then the old one is stopped.
    StartFirst,
}
