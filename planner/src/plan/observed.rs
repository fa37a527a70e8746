//! What there is, as far as the plan must know it.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::Container;
use stack_api::spec::{NetworkSpec, ServiceSpec};

/// One stack as it is.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Its containers.
    pub containers: Vec<ObservedContainer>,
    /// Its networks by full name.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Full names of all volumes.
    pub volumes: BTreeSet<String>,
    /// Images on this machine: reference as written → image id.
    pub images: BTreeMap<String, String>,
}

/// A container and what it was made from.
#[derive(Debug, Clone)]
pub struct ObservedContainer {
    /// As the API shows it.
    pub container: Container,
    /// The spec it was made from.
    pub spec: ServiceSpec,
}

/// A network that exists.
#[derive(Debug, Clone, Default)]
pub struct ObservedNetwork {
    /// No way out.
    pub internal: bool,
    /// `address/prefix`.
    pub subnet: String,
}

impl ObservedNetwork {
    /// It is not what is wanted any more. A subnet that nobody asked for may
    /// be any.
    pub fn differs(&self, wanted: &NetworkSpec) -> bool {
        self.internal != wanted.internal
            || wanted
                .subnet
                .as_ref()
                .is_some_and(|subnet| *subnet != self.subnet)
    }
}
