//! Operations on a whole stack. One at a time per stack.

mod action;
mod create;
mod down;
mod execute;
mod images;
mod observe;
mod resources;
mod up;
mod wait;

pub use action::act;
pub use down::down;
pub use images::{load, pull, resolve};
pub use up::{plan, up};

use stack_api::event::ApiError;

/// What an operation gives.
pub type Outcome = Result<(), ApiError>;
