//! What there is, as far as the plan must know it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use stack_api::container::Container;
use stack_api::spec::{NetworkSpec, ServiceSpec};

/// One stack as it is.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Its containers.
    pub containers: Vec<ObservedContainer>,
    /// Containers of `run` that have ended.
    pub ended_runs: Vec<Container>,
    /// Its networks by full name.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Full names of the networks that are not the stack's, each with the stack that has
    /// made it; "" is none.
    pub foreign_networks: BTreeMap<String, String>,
    /// Full names of all volumes.
    pub volumes: BTreeSet<String>,
    /// Images on this machine: reference as written → image id.
    pub images: BTreeMap<String, String>,
    /// How many seconds ago their registries were last asked for them, by the same
    /// references, as far as it is known.
    pub asked_s: BTreeMap<String, u64>,
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
    /// Full names of its volumes that are disks, also of those without a name in the
    /// file: one VM alone can hold them.
    pub disks: BTreeSet<String>,
    /// Its places on networks of the file by key, but for those that it left by
    /// hand, as far as they are known.
    pub places: BTreeMap<String, ObservedPlace>,
    /// Full names of the volumes that it mounts by key, as far as they are known.
    pub volumes: BTreeMap<String, String>,
    /// Ids of the images that it mounts by their references.
    pub images: BTreeMap<String, String>,
}

/// A container's place on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedPlace {
    /// Full name of the network.
    pub network: String,
    /// Address.
    pub ipv4: Option<Ipv4Addr>,
    /// Address.
    pub ipv6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: Option<String>,
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
    /// Networks that it can be on.
    pub networks: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            memory: u64::MAX,
            unlimited_memory: true,
            cpus: u32::MAX,
            unlimited_cpus: true,
            networks: usize::MAX,
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
            ("networks", ..) => spec.networks.len() <= self.networks,
            _ => false,
        }
    }
}

/// A network that exists.
#[derive(Debug, Clone, Default)]
pub struct ObservedNetwork {
    /// No way out.
    pub internal: bool,
    /// IPv4 addresses; `None`: it has none.
    pub subnet: Option<Ipv4Net>,
    /// Router of those.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 addresses; `None`: it has none.
    pub subnet6: Option<Ipv6Net>,
    /// Router of those.
    pub gateway6: Option<Ipv6Addr>,
    /// Largest packet in bytes, where one was asked for.
    pub mtu: Option<u16>,
}

impl ObservedNetwork {
    /// The network after an update. What an update chooses itself is as before.
    pub(super) fn updated(&self, wanted: &NetworkSpec) -> ObservedNetwork {
        ObservedNetwork {
            internal: wanted.internal,
            subnet: wanted.subnet.or(self.subnet).filter(|_| !wanted.no_ipv4),
            gateway: wanted.gateway.or(self.gateway),
            subnet6: wanted.subnet6.or(self.subnet6).filter(|_| wanted.ipv6),
            gateway6: wanted.gateway6.or(self.gateway6),
            mtu: wanted.mtu,
        }
    }

    /// An address of this place is none that a container can have here.
    pub(super) fn refuses(&self, place: &ObservedPlace) -> bool {
        let fits = |ip: Ipv4Addr| self.subnet.is_some_and(|net| net.contains(&ip));
        let fits6 = |ip: Ipv6Addr| self.subnet6.is_some_and(|net| net.contains(&ip));
        place
            .ipv4
            .is_some_and(|ip| !fits(ip) || self.gateway == Some(ip))
            || place
                .ipv6
                .is_some_and(|ip| !fits6(ip) || self.gateway6 == Some(ip))
    }

    /// It has addresses of a kind that this place, whose addresses are known, has
    /// none of.
    pub(super) fn has_more(&self, place: &ObservedPlace) -> bool {
        let (ipv4, ipv6) = (place.ipv4.is_some(), place.ipv6.is_some());
        (ipv4 || ipv6) && (self.subnet.is_some() && !ipv4 || self.subnet6.is_some() && !ipv6)
    }

    /// What is not as wanted any more: attribute, old and new value. A
    /// subnet that nobody asked for may be any.
    pub(super) fn differences(&self, wanted: &NetworkSpec) -> Vec<(&'static str, String, String)> {
        let mut found = Vec::new();
        let mut compare = |what, from: String, to: String| {
            if from != to {
                found.push((what, from, to));
            }
        };
        let shown =
            |value: Shown<'_>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        compare(
            "internal",
            self.internal.to_string(),
            wanted.internal.to_string(),
        );
        let (ipv4, ipv6) = (self.subnet.is_some(), self.subnet6.is_some());
        compare(
            "enable_ipv4",
            ipv4.to_string(),
            (!wanted.no_ipv4).to_string(),
        );
        compare("enable_ipv6", ipv6.to_string(), wanted.ipv6.to_string());
        // What the file leaves open may be anything.
        let pairs: [(_, Shown<'_>, Shown<'_>); 4] = [
            (
                "ipam.config[0].subnet",
                of(&self.subnet),
                of(&wanted.subnet),
            ),
            (
                "ipam.config[0].gateway",
                of(&self.gateway),
                of(&wanted.gateway),
            ),
            (
                "ipam.config[0].subnet",
                of(&self.subnet6),
                of(&wanted.subnet6),
            ),
            (
                "ipam.config[0].gateway",
                of(&self.gateway6),
                of(&wanted.gateway6),
            ),
        ];
        for (what, from, to) in pairs {
            if to.is_some() {
                compare(what, shown(from), shown(to));
            }
        }
        compare(
            "driver_opts.com.docker.network.driver.mtu",
            shown(of(&self.mtu)),
            shown(of(&wanted.mtu)),
        );
        found
    }
}

/// A value that may be absent, for people.
type Shown<'a> = Option<&'a dyn fmt::Display>;

fn of<T: fmt::Display>(value: &Option<T>) -> Shown<'_> {
    value.as_ref().map(|value| value as &dyn fmt::Display)
}
