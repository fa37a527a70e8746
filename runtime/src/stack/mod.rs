//! Operations on a whole stack. One at a time per stack.

mod action;
mod build;
mod capture;
mod commit;
mod connect;
mod create;
mod down;
mod execute;
mod feasible;
mod halted;
mod history;
mod images;
mod limit;
mod networks;
mod observe;
mod one_off;
mod places;
mod pre_start;
mod replace;
mod resources;
mod rewire;
mod rollback;
mod rollout;
mod secrets;
mod settle;
mod traffic;
mod turn;
mod unresolved;
mod up;
mod update;
mod wait;
mod worked;

pub use action::act;
pub use build::{BUILDER, Builder, build, prune_builder, settle_builder};
pub(crate) use build::{CACHE, remove_builder, remove_fetched};
pub use capture::capture;
pub use commit::commit;
pub use connect::{connect, disconnect, drop_unplugged};
pub use down::down;
pub(crate) use down::{remove as remove_container, stop};
pub(crate) use halted::Halted;
pub use history::entries;
pub(crate) use images::error as image_error;
pub use images::{load, pull, push, resolve};
pub use networks::{
    create as create_network, inspect as inspect_network, list as list_networks,
    prunable as prunable_networks, prune as prune_networks, remove as remove_network,
};
pub use one_off::{reap, run};
pub use places::Placed;
pub use rollback::{plan_rollback, rollback};
pub(crate) use secrets::forget_more;
pub use traffic::net_stats;
pub use up::{plan, up};
pub use wait::{reached, started};

use stack_api::event::ApiError;

/// What an operation gives.
pub type Outcome = Result<(), ApiError>;
