//! Serving another configuration, and answering what is asked about it.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use super::event_loop::Loop;
use super::listener::Listener;
use super::port;
use super::presence::Suspended;
use super::publish::bind;
use super::store::{self, Stored};
use crate::config::{Config, Publish};
use crate::control::{PublishError, PublishErrorKind, Published, Request, Response};
use crate::ids::PublishId;

impl Loop {
    /// Answers a request; the second value says that it is the last one.
    pub(super) fn request(
        &mut self,
        client: u64,
        request: Request,
        now: Instant,
    ) -> (Response, bool) {
        match request {
            Request::Apply(config) => (self.apply(config, now), false),
            Request::Status => (self.status(), false),
            Request::Watch => (Response::Watching, false),
            Request::Capture(endpoints) => (self.capture(client, endpoints), false),
            Request::Shutdown => (Response::Stopping, true),
        }
    }

    fn status(&mut self) -> Response {
        Response::Status {
            pid: std::process::id(),
            endpoints: self.fabric.endpoints(),
            published: self.listeners.len(),
            flows: self.fabric.flow_count(),
            frames_in: self.fabric.counters().frames_in,
            frames_out: self.fabric.counters().frames_out,
            drops: self.fabric.counters().drops(),
            queries: self.fabric.counters().queries,
            traffic: self
                .ports
                .keys()
                .filter_map(|port| {
                    let id = self.fabric.endpoint_id(*port)?.to_owned();
                    Some((id, self.taps.traffic(*port)))
                })
                .collect(),
        }
    }

    /// Serves what a daemon before this one did, at the same ports.
    pub(super) fn apply_stored(&mut self, stored: Stored, now: Instant) -> Response {
        self.kept = stored.bound.into_iter().collect();
        self.restoring = true;
        let response = self.apply(stored.config, now);
        self.restoring = false;
        self.kept.clear();
        response
    }

    /// Makes `config` the one that is served.
    pub(super) fn apply(&mut self, config: Config, now: Instant) -> Response {
        if let Err(message) = config.check() {
            return Response::Error { message };
        }
        let unserved = self.apply_networks(&config, now);
        let (published, errors) = self.apply_publishes(&config.publish, now);
        let stored = Stored {
            config,
            bound: self.chosen_ports(),
        };
        if let Err(error) = store::save(&self.config_file, &stored) {
            let message = format!("the configuration cannot be kept: {error}");
            return Response::Error { message };
        }
        if unserved.is_empty() {
            Response::Applied { published, errors }
        } else {
            Response::Error {
                message: unserved.join("; "),
            }
        }
    }

    /// Ports that were chosen here, for a daemon that is started again.
    fn chosen_ports(&self) -> BTreeMap<String, u16> {
        let listeners = self.listeners.values();
        let listeners = listeners.map(|l| (&l.publish, &l.addresses));
        let suspended = self.suspended.iter().map(|s| (&s.publish, &s.addresses));
        listeners
            .chain(suspended)
            .filter(|(publish, _)| publish.host_port == 0 || publish.host_port_last.is_some())
            .filter_map(|(publish, at)| Some((publish.id.clone(), at.first()?.port())))
            .collect()
    }

    /// What could not be served.
    fn apply_networks(&mut self, config: &Config, now: Instant) -> Vec<String> {
        let changes = self.fabric.apply(&config.networks, now);
        for port in changes.closed {
            self.taps.forget(port);
            self.forget_vmm(port);
            if let Some(port) = self.ports.remove(&port) {
                port.close(&mut self.sources);
            }
        }
        let mut unserved = Vec::new();
        for opened in changes.opened {
            match port::open(&opened, &mut self.sources) {
                Ok(port) => {
                    self.ports.insert(opened.port, port);
                    self.await_vmm(opened.port, now);
                }
                Err(error) => {
                    // Forgotten, so that the next configuration tries again.
                    self.fabric.remove_port(opened.port);
                    let (id, path) = (opened.endpoint, opened.local.display());
                    unserved.push(format!("endpoint {id}: cannot bind {path}: {error}"));
                }
            }
        }
        unserved
    }

    fn apply_publishes(
        &mut self,
        wanted: &[Publish],
        now: Instant,
    ) -> (Vec<Published>, Vec<PublishError>) {
        self.retarget(wanted);
        let stale =
            |(id, l): (&PublishId, &Listener)| (!wanted.contains(&l.publish)).then_some(*id);
        for id in self.listeners.iter().filter_map(stale).collect::<Vec<_>>() {
            self.fabric.remove_publish(id, now);
            if let Some(listener) = self.listeners.remove(&id) {
                listener.close(&mut self.sources);
            }
        }
        self.suspended.retain(|s| wanted.contains(&s.publish));
        for suspended in std::mem::take(&mut self.suspended) {
            if self.is_gone(&suspended.publish.endpoint) {
                self.suspended.push(suspended);
            } else {
                self.keep_place(&suspended);
            }
        }
        let listeners = self.listeners.values();
        let listeners = listeners.map(|l| (&l.publish, &l.addresses));
        let suspended = self.suspended.iter().map(|s| (&s.publish, &s.addresses));
        let mut bound: HashMap<String, _> = listeners
            .chain(suspended)
            .map(|(publish, addresses)| (publish.id.clone(), addresses.clone()))
            .collect();
        let mut errors = Vec::new();
        for publish in wanted {
            if bound.contains_key(&publish.id) {
                continue;
            }
            if self.is_gone(&publish.endpoint) {
                // Its machine has to come back first.
                let (publish, addresses) = (publish.clone(), Vec::new());
                self.suspended.push(Suspended { publish, addresses });
                continue;
            }
            match self.listen(publish) {
                Ok(addresses) => {
                    bound.insert(publish.id.clone(), addresses);
                }
                Err(error) => errors.push(error),
            }
        }
        let published = wanted
            .iter()
            .filter_map(|publish| {
                let addresses = bound.remove(&publish.id)?;
                Some(Published {
                    id: publish.id.clone(),
                    addresses,
                })
            })
            .collect();
        (published, errors)
    }

    /// Ports of the host that lead elsewhere now keep their sockets: no
    /// client is refused, and connections to the guest from before go on.
    fn retarget(&mut self, wanted: &[Publish]) {
        // Of several that the system chose, each goes to its own port of the
        // guest; only what is left over is given to others.
        for same_port in [true, false] {
            for publish in wanted {
                let served = |listener: &Listener| listener.publish == *publish;
                if self.listeners.values().any(served) || self.is_shut_in(publish) {
                    continue;
                }
                let place = |p: &Publish| {
                    let port = (p.host_ip, p.host_port, p.host_port_last, p.protocol);
                    (port, p.host_path.clone())
                };
                let idle = |listener: &Listener| {
                    let old = &listener.publish;
                    place(old) == place(publish)
                        && (!same_port || old.container_port == publish.container_port)
                        && !wanted.contains(old)
                };
                let mut listeners = self.listeners.iter_mut();
                if let Some((id, listener)) = listeners.find(|(_, listener)| idle(listener)) {
                    listener.publish = publish.clone();
                    self.fabric.retarget_publish(*id, publish.clone());
                }
            }
        }
    }

    /// Its network has no way out, nor in for those who have no permission:
    /// a socket of the user's has one.
    fn is_shut_in(&self, publish: &Publish) -> bool {
        publish.host_path.is_none() && self.fabric.is_on_internal_network(&publish.endpoint)
    }

    /// Binds a published port.
    pub(super) fn listen(
        &mut self,
        publish: &Publish,
    ) -> Result<Vec<std::net::SocketAddr>, PublishError> {
        let error = |kind, message: String| PublishError {
            id: publish.id.clone(),
            kind,
            message,
            holder: None,
        };
        if self.is_shut_in(publish) {
            return Err(error(
                PublishErrorKind::Internal,
                "a port of an internal network cannot be published".to_owned(),
            ));
        }
        let listeners = self.listeners.values();
        let mut paths = listeners.filter_map(|l| l.publish.host_path.as_ref());
        if paths.any(|path| Some(path) == publish.host_path.as_ref()) {
            let message = "another service listens there".to_owned();
            return Err(error(PublishErrorKind::InUse, message));
        }
        let sockets = bind(publish, self.kept.remove(&publish.id))?;
        let id = self.fabric.add_publish(publish.clone());
        match Listener::new(publish, id, sockets, &mut self.sources) {
            Ok(listener) => {
                let addresses = listener.addresses.clone();
                self.listeners.insert(id, listener);
                Ok(addresses)
            }
            Err(failed) => {
                self.fabric.forget_publish(id);
                let message = format!("cannot watch the port: {failed}");
                Err(error(PublishErrorKind::Other, message))
            }
        }
    }
}
