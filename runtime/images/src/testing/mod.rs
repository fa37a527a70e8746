//! What the tests share: archives, images, and a registry that misbehaves.

mod archive;
mod image;
mod registry;

pub(crate) use archive::{Archive, Header};
pub(crate) use image::{TestImage, gzip};
pub(crate) use registry::{Faults, TestRegistry};
