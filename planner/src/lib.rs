//! The Compose language and the plan: pure, no I/O.
//!
//! [`load`] turns stack files into a [`Project`] in these phases, each a module:
//!
//! | phase | module | what it does |
//! |---|---|---|
//! | read | `read` | bytes of a [`Source`] to text |
//! | parse | `yaml` | text to a tree that knows its places |
//! | interpolate | `interpolate`, `template`, `cast` | variables in values |
//! | include | `load::include` | other stacks, with their folder and variables |
//! | extends | `load::extends` | a service onto another |
//! | merge | `merge` | a file onto the earlier ones |
//! | validate | `validate`, `schema` | keys and types |
//! | canonical | `canonical` | short forms to long ones |
//! | complete | `defaults`, `rules`, `paths`, `normalize` | what is understood |
//! | model | `bind` | one form for every value |
//! | profiles | `profiles` | which services take part |
//! | consistency | `consistency`, `graph` | references, circles |
//! | spec | `spec`, `support` | what the daemon takes |
//!
//! Every finding is a [`Diagnostic`] with a place in the file the user wrote.

mod bind;
mod budget;
mod canonical;
mod cast;
mod consistency;
pub mod convert;
mod defaults;
mod develop;
pub mod diagnostic;
mod discover;
mod dotenv;
mod environment;
mod extension;
mod format;
pub mod graph;
mod hash;
mod images;
pub mod init;
mod interpolate;
pub mod lint;
mod load;
mod lock;
mod merge;
mod normalize;
mod options;
mod paths;
pub mod plan;
mod profiles;
mod project;
mod read;
mod rules;
mod schema;
mod source;
mod spec;
mod suggest;
pub mod support;
mod template;
#[cfg(test)]
mod test_cases;
pub mod tree;
mod validate;
mod variables;
mod yaml;

pub use develop::{Rule, WatchAction, WatchExec};
pub use diagnostic::{Diagnostic, Label, Severity};
pub use discover::{Discovered, FILE_NAMES, discover};
pub use environment::{default_env_file, parse_environment, read_environment};
pub use format::{FormatError, format};
pub use load::{Loaded, load};
pub use lock::{Drift, LOCK_FILE, Lock};
pub use options::LoadOptions;
pub use project::Project;
pub use schema::json_schema::json_schema;
pub use source::{MemorySource, Source, SourceError};
pub use suggest::nearest;
pub use variables::Variable;
