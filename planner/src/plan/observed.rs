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
#[derive(Debug, Clone, Default)]
pub struct ObservedContainer {
    /// As the API shows it.
    pub container: Container,
    /// The spec it was made from, with the updates it has taken since.
    pub spec: ServiceSpec,
    /// What fits into its VM as it is.
    pub room: Room,
    /// It was started beside another one and has neither names nor ports,
    /// or it has given them away.
    pub standby: bool,
    /// It has volumes: disks that one VM alone can hold.
    pub has_disks: bool,
}

/// The largest limits that a VM can take without a restart. The default is
/// a VM that has not been started: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// `mem_limit` in bytes.
    pub memory: u64,
    /// It is as large as the VM of a service without `mem_limit`.
    pub unlimited_memory: bool,
    /// `cpus`, rounded up.
    pub cpus: u32,
    /// It has as many processors as the VM of a service without `cpus`.
    pub unlimited_cpus: bool,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            memory: u64::MAX,
            unlimited_memory: true,
            cpus: u32::MAX,
            unlimited_cpus: true,
        }
    }
}

impl Room {
    /// The limit of this spec fits that the field names.
    pub(super) fn fits(&self, field: &str, spec: &ServiceSpec) -> bool {
        match (field, spec.memory, spec.cpus) {
            ("memory", Some(limit), _) => limit <= self.memory,
            ("memory", None, _) => self.unlimited_memory,
            ("cpus", _, Some(cpus)) => cpus.ceil() <= f64::from(self.cpus),
            ("cpus", _, None) => self.unlimited_cpus,
            _ => false,
        }
    }
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
    /// What is not as wanted any more: attribute, old and new value. A
    /// subnet that nobody asked for may be any.
    pub(super) fn differences(&self, wanted: &NetworkSpec) -> Vec<(&'static str, String, String)> {
        let mut found = Vec::new();
        if self.internal != wanted.internal {
            let (from, to) = (self.internal.to_string(), wanted.internal.to_string());
            found.push(("internal", from, to));
        }
        if let Some(subnet) = &wanted.subnet
            && *subnet != self.subnet
        {
            found.push(("ipam.config[0].subnet", self.subnet.clone(), subnet.clone()));
        }
        found
    }
}
