//! The loop: one thread, one poller, and the only place that reads the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "the loop is where the time comes from"
)]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Interest, Poll};

use super::Options;
use super::association::Association;
use super::control_server::ControlServer;
use super::descriptors::Descriptors;
use super::host;
use super::host_stream::{HostStream, Progress, failure, refuse};
use super::listener::Listener;
use super::local_stream::local_stream;
use super::port::Port;
use super::presence::{Suspended, Vmm};
use super::resolver::{Heard, Resolver};
use super::sources::{Source, Sources};
use super::store;
use super::taps::Taps;
use crate::control::Response;
use crate::dns::nameservers;
use crate::fabric::{Event, Fabric, HostFailure};
use crate::frame::Batch;
use crate::ids::{AssociationId, FlowId, PortId, PublishId, QueryId};
use crate::tcp::Close;
use crate::udp::Outgoing;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How often it is looked at, while there is traffic.
const RESOLV_CONF_AGE: Duration = Duration::from_secs(1);

/// How often the host's addresses and routes are looked at, while there is
/// traffic; new addresses are seen at once where the system tells of them.
const HOST_AGE: Duration = Duration::from_secs(5);

/// Datagrams or clients taken from one socket before the others have their
/// turn; of frames it is one batch.
const BUDGET: usize = 64;

/// The daemon's state.
#[derive(Debug)]
pub(super) struct Loop {
    poll: Poll,
    pub(super) sources: Sources,
    pub(super) fabric: Fabric,
    pub(super) ports: HashMap<PortId, Box<dyn Port>>,
    pub(super) listeners: HashMap<PublishId, Listener>,
    pub(super) config_file: PathBuf,
    pub(super) taps: Taps,
    /// Ports that the last daemon had chosen, by publish id.
    pub(super) kept: HashMap<String, u16>,
    /// What is known of the endpoints' VMMs.
    pub(super) vmms: HashMap<PortId, Vmm>,
    /// By when they are to come.
    pub(super) awaited: HashMap<PortId, Instant>,
    /// Published ports whose machines have ended.
    pub(super) suspended: Vec<Suspended>,
    /// What the last daemon served is being taken up.
    pub(super) restoring: bool,
    pub(super) streams: HashMap<FlowId, HostStream>,
    associations: HashMap<AssociationId, Association>,
    resolvers: HashMap<QueryId, Resolver>,
    pub(super) control: ControlServer,
    descriptors: Descriptors,
    // Sockets that had more than their budget.
    pub(super) unread: Vec<Source>,
    // Ports whose queue is to be tried again.
    pub(super) retries: BTreeSet<PortId>,
    _signal: mio::net::UnixStream,
    pub(super) buffer: Vec<u8>,
    pub(super) batch: Batch,
    // Which of the batch's frames go to which port.
    pub(super) deliveries: Vec<(PortId, usize)>,
    resolv_conf: Option<(Instant, Option<SystemTime>)>,
    host_seen: Option<Instant>,
    host_changes: Option<host::Changes>,
    stopping: bool,
}

impl Loop {
    /// Opens the control socket and serves what was served last.
    pub(super) fn new(options: &Options, descriptors: Descriptors) -> io::Result<Loop> {
        let poll = Poll::new()?;
        let mut sources = Sources::new(poll.registry().try_clone()?);
        let control = ControlServer::open(&options.control, &mut sources)?;
        let (signal, raised) = UnixStream::pair()?;
        signal.set_nonblocking(true)?;
        for number in [libc::SIGTERM, libc::SIGINT] {
            signal_hook::low_level::pipe::register(number, raised.try_clone()?)?;
        }
        let mut signal = mio::net::UnixStream::from_std(signal);
        sources.add(&mut signal, Interest::READABLE, Source::Signal)?;
        let changes = host::Changes::watch(&mut sources);
        let host_changes = changes
            .inspect_err(|error| tracing::debug!(%error, "new addresses are seen late"))
            .ok();
        let mut fabric = Fabric::default();
        fabric.set_resolvers(options.resolvers.clone());
        let mut daemon = Loop {
            poll,
            sources,
            fabric,
            ports: HashMap::new(),
            listeners: HashMap::new(),
            config_file: options.config.clone(),
            kept: HashMap::new(),
            vmms: HashMap::new(),
            awaited: HashMap::new(),
            suspended: Vec::new(),
            restoring: false,
            taps: Taps::default(),
            streams: HashMap::new(),
            associations: HashMap::new(),
            resolvers: HashMap::new(),
            control,
            descriptors,
            unread: Vec::new(),
            retries: BTreeSet::new(),
            _signal: signal,
            buffer: vec![0; 128 << 10],
            batch: Batch::new(),
            deliveries: Vec::new(),
            resolv_conf: options.resolvers.is_empty().then(|| (Instant::now(), None)),
            host_seen: None,
            host_changes,
            stopping: false,
        };
        daemon.restore();
        Ok(daemon)
    }

    fn restore(&mut self) {
        match store::load(&self.config_file) {
            Ok(None) => {}
            Ok(Some(stored)) => match self.apply_stored(stored, Instant::now()) {
                Response::Error { message } => tracing::error!(message, "not all is served again"),
                Response::Applied { published, errors } => {
                    tracing::info!(published = published.len(), ?errors, "serving again");
                }
                _ => {}
            },
            Err(error) => tracing::error!(%error, "the last configuration cannot be read"),
        }
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut now = Instant::now();
        while !self.stopping {
            let timeout = self.timeout(now);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            now = Instant::now();
            // Before a client is met that comes from a new address.
            let is_host = |token| self.sources.get(token) == Some(Source::Host);
            if events.iter().any(|event| is_host(event.token())) {
                self.host_changed();
            }
            self.refresh_host(now);
            for source in std::mem::take(&mut self.unread) {
                match source {
                    Source::Frames(id) => self.read_frames(id, now),
                    _ => self.read(source, now),
                }
            }
            for event in &events {
                if let Some(source) = self.sources.get(event.token()) {
                    self.handle(source, event, now);
                }
            }
            self.expire(now);
            self.settle(now);
        }
        self.close();
        Ok(())
    }

    fn close(mut self) {
        for (_, port) in self.ports.drain() {
            port.close(&mut self.sources);
        }
        for (_, listener) in self.listeners.drain() {
            listener.close(&mut self.sources);
        }
        self.control.close();
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let retries = self
            .retries
            .iter()
            .filter_map(|id| self.ports.get(id)?.retry())
            .min();
        let resumes = self
            .listeners
            .values()
            .filter_map(|listener| listener.resume)
            .min();
        let deadlines = [
            self.fabric.deadline(),
            self.control.deadline(),
            self.vmm_deadline(),
            retries,
            resumes,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        // The poller counts whole milliseconds, and must not wake too early.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn host_changed(&mut self) {
        if let Some(changes) = &self.host_changes {
            changes.drain();
        }
        self.host_seen = None;
        // A resolver's address may name an interface that is another one now.
        if let Some((_, seen)) = &mut self.resolv_conf {
            *seen = None;
        }
    }

    fn refresh_host(&mut self, now: Instant) {
        let fresh = |at| now.saturating_duration_since(at) < HOST_AGE;
        if !self.host_seen.is_some_and(fresh) {
            self.host_seen = Some(now);
            self.fabric.set_host_ipv6(host::has_ipv6());
            self.fabric.set_own_addresses(host::addresses());
        }
        self.refresh_resolvers(now);
    }

    fn refresh_resolvers(&mut self, now: Instant) {
        let Some((at, seen)) = self.resolv_conf else {
            return;
        };
        if seen.is_some() && now.saturating_duration_since(at) < RESOLV_CONF_AGE {
            return;
        }
        let modified = std::fs::metadata(RESOLV_CONF).and_then(|found| found.modified());
        let modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
        self.resolv_conf = Some((now, Some(modified)));
        if seen != Some(modified) {
            let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            let servers = nameservers(&text, 53, host::interface_index);
            self.fabric.set_resolvers(servers);
        }
    }

    fn handle(&mut self, source: Source, event: &mio::event::Event, now: Instant) {
        match source {
            Source::Signal => {
                self.stopping = true;
                tracing::info!("told to stop by a signal");
            }
            // It was seen to before all others.
            Source::Host => {}
            Source::Control => self.control.accept(&mut self.sources, now),
            Source::Client(id) => self.handle_client(id, now),
            Source::FramesOut(id) => self.flush(id, now),
            Source::Vmm(id) => self.control_port(id, now),
            Source::Stream(flow) => self.handle_stream(flow, event, now),
            Source::Query(query) => self.handle_resolver(query, now),
            Source::Frames(id) => self.read_frames(id, now),
            Source::Publish(_) | Source::Association(_) => self.read(source, now),
        }
    }

    fn handle_client(&mut self, id: u64, now: Instant) {
        while let Some(request) = self.control.receive(id, &mut self.sources) {
            let (response, last) = self.request(id, request, now);
            if matches!(response, Response::Watching | Response::Capturing) {
                self.control.keep(id);
            }
            self.control.respond(id, &response, &mut self.sources);
            if response == Response::Capturing {
                self.begin_capture(id);
            }
            self.stopping |= last;
        }
    }

    /// Takes what a socket has, up to the budget.
    fn read(&mut self, source: Source, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut more = true;
        for _ in 0..BUDGET {
            more = match source {
                Source::Publish(id) => self.read_publish(id, &mut buffer, now),
                Source::Association(id) => self.read_association(id, &mut buffer, now),
                _ => false,
            };
            if !more {
                break;
            }
        }
        self.buffer = buffer;
        if more && !self.unread.contains(&source) {
            self.unread.push(source);
        }
    }

    fn read_publish(&mut self, id: PublishId, buffer: &mut [u8], now: Instant) -> bool {
        let has_place = self.has_descriptor();
        let Some(listener) = self.listeners.get_mut(&id) else {
            return false;
        };
        if let Some((length, client)) = listener.receive(buffer) {
            self.fabric
                .handle_published_datagram(id, client, &buffer[..length], now);
            return true;
        }
        let Some((stream, client)) = listener.accept(has_place, now) else {
            return false;
        };
        let Some(flow) = self.fabric.open_published(id, client, now) else {
            refuse(&stream);
            return true;
        };
        match HostStream::accepted(stream, flow, &mut self.sources) {
            Ok(stream) => {
                self.streams.insert(flow, stream);
            }
            Err(_) => self.fabric.abort(flow, now),
        }
        true
    }

    fn read_association(&mut self, id: AssociationId, buffer: &mut [u8], now: Instant) -> bool {
        let Some(association) = self.associations.get_mut(&id) else {
            return false;
        };
        if let Some((length, from)) = association.receive(buffer) {
            self.fabric
                .handle_datagram(id, from, &buffer[..length], now);
            return true;
        }
        let Some(error) = association.next_error() else {
            return false;
        };
        self.fabric
            .handle_error(id, error.error, error.to, error.by, &error.sent);
        true
    }

    fn handle_stream(&mut self, flow: FlowId, event: &mio::event::Event, now: Instant) {
        let Some(stream) = self.streams.get_mut(&flow) else {
            return;
        };
        match stream.handle(event) {
            Progress::Connected => self.fabric.host_connected(flow, now),
            Progress::Failed(failure) => self.fabric.host_failed(flow, failure, now),
            Progress::Reset => self.fabric.abort(flow, now),
            Progress::Ready => self.fabric.wake(flow),
        }
    }

    fn handle_resolver(&mut self, query: QueryId, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(resolver) = self.resolvers.get_mut(&query) {
            match resolver.handle(&mut buffer) {
                Heard::Nothing => break,
                Heard::Answer(answer) => {
                    // Another resolver may have been asked by now.
                    if self.fabric.handle_answer(query, &answer, now) {
                        break;
                    }
                }
                Heard::Failed => {
                    self.close_query(query);
                    self.fabric.query_failed(query, now);
                }
            }
        }
        self.buffer = buffer;
    }

    fn expire(&mut self, now: Instant) {
        self.fabric.timeout(now);
        self.control.expire(&mut self.sources, now);
        self.expect_vmms(now);
        for id in self.retries.clone() {
            match self.ports.get(&id).and_then(|port| port.retry()) {
                Some(at) if at > now => {}
                _ => self.flush(id, now),
            }
        }
        let due = |(id, l): (&PublishId, &Listener)| l.resume.filter(|at| *at <= now).map(|_| *id);
        for id in self.listeners.iter().filter_map(due).collect::<Vec<_>>() {
            self.read(Source::Publish(id), now);
        }
    }

    /// Does what the core wants until it wants no more.
    fn settle(&mut self, now: Instant) {
        loop {
            self.send_own(now);
            if let Some(event) = self.fabric.next_event() {
                self.perform(event, now);
            } else if let Some(flow) = self.fabric.next_ready() {
                self.pump(flow, now);
            } else {
                break;
            }
        }
    }

    fn perform(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connect { flow, to } => self.connect(flow, to, now),
            Event::ConnectLocal { flow, path } => self.connect_local(flow, &path, now),
            Event::Closed { flow, close } => self.close_stream(flow, close != Close::Done),
            Event::SendDatagram {
                association,
                outgoing,
            } => self.send_datagram(association, &outgoing),
            Event::CloseAssociation(id) => {
                if let Some(association) = self.associations.remove(&id) {
                    association.close(&mut self.sources);
                }
            }
            Event::ReplyDatagram {
                publish,
                client,
                payload,
            } => {
                if let Some(listener) = self.listeners.get(&publish) {
                    listener.reply(client, &payload);
                }
            }
            Event::Ask(ask) => {
                self.close_query(ask.query);
                match Resolver::ask(&ask, &mut self.sources) {
                    Ok(resolver) => {
                        self.resolvers.insert(ask.query, resolver);
                    }
                    Err(error) => {
                        tracing::debug!(%error, resolver = %ask.resolver, "cannot ask");
                        self.fabric.query_failed(ask.query, now);
                    }
                }
            }
            Event::CloseQuery(query) => self.close_query(query),
        }
    }

    /// Flows may take another descriptor.
    fn has_descriptor(&self) -> bool {
        let flows = self.streams.len() + self.associations.len() + self.resolvers.len();
        let others = 10 * self.ports.len() + 2 * self.listeners.len() + 16;
        self.descriptors.allow(flows + others)
    }

    fn connect(&mut self, flow: FlowId, to: SocketAddr, now: Instant) {
        // The second try of a flow whose first place refused.
        self.close_stream(flow, true);
        // It may have ended since.
        if self.fabric.connection(flow).is_none() {
            return;
        }
        if !self.has_descriptor() {
            if !self.fabric.make_place_for(flow, to, now) {
                let failure = HostFailure::HostUnreachable;
                self.fabric.host_failed(flow, failure, now);
            }
            return;
        }
        match HostStream::connect(to, flow, &mut self.sources) {
            Ok(stream) => {
                self.streams.insert(flow, stream);
            }
            Err(error) => self.fabric.host_failed(flow, failure(&error), now),
        }
    }

    /// Sockets of the file system are connected at once or not at all.
    fn connect_local(&mut self, flow: FlowId, path: &Path, now: Instant) {
        let stream = if self.has_descriptor() {
            local_stream(path)
        } else {
            Err(io::Error::other("no descriptor is left for it"))
        };
        let stream = stream.and_then(|s| HostStream::accepted(s, flow, &mut self.sources));
        match stream {
            Ok(stream) => {
                self.streams.insert(flow, stream);
                self.fabric.host_connected(flow, now);
            }
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "no connection to a socket");
                self.fabric.host_failed(flow, HostFailure::Refused, now);
            }
        }
    }

    pub(super) fn close_stream(&mut self, flow: FlowId, reset: bool) {
        if let Some(stream) = self.streams.remove(&flow) {
            stream.close(reset, &mut self.sources);
        }
    }

    fn close_query(&mut self, query: QueryId) {
        if let Some(resolver) = self.resolvers.remove(&query) {
            resolver.close(&mut self.sources);
        }
    }

    fn send_datagram(&mut self, id: AssociationId, outgoing: &Outgoing) {
        if !self.associations.contains_key(&id) {
            let opened = if self.has_descriptor() {
                Association::open(id, outgoing.transport, &mut self.sources)
            } else {
                Err(io::Error::other("no descriptor is left for it"))
            };
            match opened {
                Ok(opened) => {
                    self.associations.insert(id, opened);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return self.fabric.echo_refused(id);
                }
                Err(error) => {
                    tracing::debug!(%error, "no socket for a guest's datagrams");
                    return self.fabric.association_failed(id);
                }
            }
        }
        if let Some(association) = self.associations.get_mut(&id)
            && let Err(error) = association.send(outgoing)
        {
            self.fabric.datagram_failed(id, failure(&error), outgoing);
        }
    }
}
