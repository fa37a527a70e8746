//! The types of the stackd API.
