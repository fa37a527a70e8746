//! The Compose language and the plan: pure, no I/O.
