//! Brings files of the host into a container: what is there ([`Tree`]), what
//! of it counts ([`Patterns`]), and the conversation with the agent that
//! writes it ([`Conversation`], [`stack_protocol::sync`]).

mod beneath;
mod conversation;
mod patterns;
mod tree;

pub use conversation::{Channel, Conversation, Failure, Step};
pub use patterns::Patterns;
pub use tree::{Change, Filter, Found, Tree, Unreadable, below};
