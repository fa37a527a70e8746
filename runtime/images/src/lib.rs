//! The image store: pulls and imports container images, keeps each layer as
//! one EROFS file, and says what an image is made of.
//!
//! ```text
//! registry ─ pull ─┐
//!                  ├─► layer ─► erofs ─► layers/<diff id>.erofs
//! archive ── load ─┘    │
//!                       └─► merge ─► chains/<chain id>.erofs
//! ```
//!
//! An image in the store is a record, one small JSON file, that names layer
//! files. Layer files are complete and durable before a record names them,
//! and nothing is ever changed in place, so a store can be killed at any
//! moment and used by several processes at once.

mod assemble;
mod blobs;
mod built;
mod commit;
mod config;
mod digest;
mod erofs;
mod error;
mod gc;
mod image;
mod implied;
mod layer;
mod load;
mod lock;
mod manage;
mod manifest;
mod merge;
mod options;
mod platform;
mod progress;
mod pull;
mod push;
mod recipe;
mod record;
mod reference;
mod save;
mod space;
mod store;

pub use built::{Upstream, full_name, system_authorities};
pub use commit::{Change, Commit, Spool, parse_changes};
pub use config::{ImageConfig, ImageHealthcheck};
pub use error::Error;
pub use gc::Freed;
pub use image::{Details, Image, ImageSummary};
pub use layer::plain;
pub use manage::{Forgotten, Hold};
pub use options::PullOptions;
pub use platform::does_fit;
pub use progress::{Phase, Progress};
pub use pull::{Artifact, ArtifactFile, Resolved, artifact, resolve};
pub use store::Store;

#[cfg(test)]
mod testing;
