//! Images that an operation is about to use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stack_api::event::ApiError;

use crate::daemon::Daemon;
use crate::stack::image_error;

/// Names of images in use, and how often. They end with the operation, and
/// operations end with the daemon, so memory is the place for them.
#[derive(Debug, Default)]
pub struct Leases(Mutex<BTreeMap<String, usize>>);

impl Leases {
    /// Is an image with this reference or id in use?
    pub fn holds(&self, name: &str) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains_key(name)
    }
}

/// As long as there is one, its images are not removed.
#[derive(Debug)]
pub struct Lease {
    daemon: Arc<Daemon>,
    names: Vec<String>,
}

impl Lease {
    /// Takes images by reference or id; they need not be there yet.
    ///
    /// # Errors
    /// The image store cannot be locked.
    pub async fn new(
        daemon: &Arc<Daemon>,
        images: impl Iterator<Item = &String>,
    ) -> Result<Lease, ApiError> {
        // Full names; ids, and what is no name, as they are.
        let full = |name: &String| match name.starts_with("sha256:") {
            true => name.clone(),
            false => stack_images::full_name(name).unwrap_or_else(|_| name.clone()),
        };
        let names: Vec<String> = images.map(full).collect();
        // Whoever deletes at the moment has chosen before it could know.
        let _hold = daemon.images.hold().await.map_err(image_error)?;
        let mut held = daemon
            .leases
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for name in &names {
            *held.entry(name.clone()).or_default() += 1;
        }
        drop(held);
        Ok(Lease {
            daemon: Arc::clone(daemon),
            names,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self
            .daemon
            .leases
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            if let Some(count) = held.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    held.remove(name);
                }
            }
        }
    }
}
