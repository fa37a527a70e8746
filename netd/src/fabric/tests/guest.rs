//! A guest whose kernel is smoltcp, on a link that loses, repeats and
//! reorders frames, on a clock of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as GuestTime;
use smoltcp::wire::{EthernetAddress, IpCidr};

use super::*;

/// What the link does to frames, one in so many; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) late: u64,
}

/// The host's end of a flow.
#[derive(Debug, Default)]
pub(super) struct HostEnd {
    pub(super) received: Vec<u8>,
    pub(super) unsent: VecDeque<u8>,
    /// Nothing follows what is not sent yet.
    pub(super) finish: bool,
    /// Does not take what comes.
    pub(super) stalled: bool,
    pub(super) guest_finished: bool,
    pub(super) closed: Option<Close>,
}

/// The core, one guest, and the link between them.
pub(super) struct World {
    pub(super) fabric: Fabric,
    pub(super) port: PortId,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) hosts: HashMap<FlowId, HostEnd>,
    pub(super) sockets: SocketSet<'static>,
    pub(super) events: Vec<Event>,
    interface: Interface,
    card: Card,
    link: Link,
    // Frames under way by when they arrive; `true` is to the guest.
    under_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    random: u64,
    count: u64,
    // Somebody did something since the last step.
    touched: bool,
    next_port: u16,
}

#[derive(Default)]
struct Card {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Taken(Vec<u8>);

impl RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: GuestTime) -> Option<(Taken, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Taken(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: GuestTime) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl World {
    /// The guest is the first endpoint of `network(1, …)`.
    pub(super) fn new(link: Link, seed: u64) -> World {
        let (fabric, [port, ..]) = super::fabric();
        let network = network(1, &[2]);
        let endpoint = &network.endpoints[0];
        let mac = wire::parse_mac(&endpoint.mac).unwrap();
        let mut config = Config::new(EthernetAddress(mac.0).into());
        config.random_seed = seed;
        let mut card = Card::default();
        let mut interface = Interface::new(config, &mut card, GuestTime::ZERO);
        interface.update_ip_addrs(|addresses| {
            for address in endpoint.addresses() {
                let prefix = if address.is_ipv4() { 24 } else { 64 };
                addresses.push(IpCidr::new(address.into(), prefix)).unwrap();
            }
        });
        let routes = interface.routes_mut();
        routes
            .add_default_ipv4_route(network.gateway.unwrap())
            .unwrap();
        routes
            .add_default_ipv6_route(network.gateway6.unwrap())
            .unwrap();
        let start = Instant::now();
        World {
            fabric,
            port,
            start,
            now: start,
            hosts: HashMap::new(),
            sockets: SocketSet::new(vec![]),
            events: Vec::new(),
            interface,
            card,
            link,
            under_way: BTreeMap::new(),
            random: seed | 1,
            count: 0,
            touched: true,
            next_port: 40_000,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        one_in > 0 && self.random.is_multiple_of(one_in)
    }

    fn put(&mut self, to_guest: bool, frame: &[u8]) {
        let times = match (self.chance(self.link.lost), self.chance(self.link.repeated)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..times {
            let late = self.chance(self.link.late);
            let delay = Duration::from_micros(if late { 3000 } else { 100 });
            self.count += 1;
            let key = (self.now + delay, self.count);
            self.under_way.insert(key, (to_guest, frame.to_vec()));
        }
    }

    fn guest_time(&self) -> GuestTime {
        GuestTime::from_micros((self.now - self.start).as_micros() as i64)
    }

    /// On to when something can happen, unless that is now; and that.
    fn step(&mut self) {
        if !std::mem::take(&mut self.touched) {
            self.advance();
        }
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to_guest, frame) = entry.remove();
            if to_guest {
                self.card.received.push_back(frame);
            } else {
                self.fabric.handle_frame(self.port, &frame[..], self.now);
            }
        }
        let time = self.guest_time();
        self.interface.poll(time, &mut self.card, &mut self.sockets);
        for frame in std::mem::take(&mut self.card.sent) {
            self.put(false, &frame);
        }
        self.fabric.timeout(self.now);
        self.settle();
    }

    fn advance(&mut self) {
        let time = self.guest_time();
        let guest = self.interface.poll_delay(time, &self.sockets);
        let guest = guest.map(|delay| self.now + Duration::from_micros(delay.total_micros()));
        let frames = self.under_way.first_key_value().map(|((at, _), _)| *at);
        let next = [guest, frames, self.fabric.deadline()];
        let next = next.into_iter().flatten().min();
        let next = next.unwrap_or(self.now + Duration::from_secs(1));
        self.now = next.max(self.now + Duration::from_micros(50));
    }

    fn settle(&mut self) {
        loop {
            while let Some((_, frame)) = self.fabric.next_frame() {
                self.put(true, &frame);
            }
            self.fabric.set_queued(self.port, 0);
            if let Some(event) = self.fabric.next_event() {
                match event {
                    Event::Connect { flow, .. } => {
                        self.hosts.insert(flow, HostEnd::default());
                        self.fabric.host_connected(flow, self.now);
                    }
                    Event::Closed { flow, close } => {
                        self.hosts.entry(flow).or_default().closed = Some(close);
                    }
                    other => self.events.push(other),
                }
            } else if let Some(flow) = self.fabric.next_ready() {
                self.pump(flow);
            } else {
                break;
            }
        }
    }

    /// Moves bytes as the loop does between a flow and its socket.
    fn pump(&mut self, flow: FlowId) {
        if let (Some(connection), Some(host)) =
            (self.fabric.connection(flow), self.hosts.get_mut(&flow))
            && connection.moves()
        {
            while !host.stalled && !connection.readable().is_empty() {
                let bytes = connection.readable().to_vec();
                host.received.extend_from_slice(&bytes);
                connection.consume(bytes.len());
            }
            host.guest_finished = connection.guest_finished();
            let room = connection.room().min(host.unsent.len());
            let bytes: Vec<u8> = host.unsent.drain(..room).collect();
            connection.supply(&bytes);
            if host.finish && host.unsent.is_empty() {
                host.finish = false;
                connection.finish();
            }
        }
        self.fabric.flush(flow, self.now);
    }

    /// Goes on until `done`, for `limit` of the guest's time at most.
    pub(super) fn until(
        &mut self,
        what: &str,
        limit: u64,
        mut done: impl FnMut(&mut World) -> bool,
    ) {
        let end = self.now + Duration::from_secs(limit);
        while !done(self) {
            assert!(self.now < end, "not within {limit} s: {what}");
            self.step();
        }
    }

    /// The host's end is reset.
    pub(super) fn reset(&mut self, flow: FlowId) {
        self.touched = true;
        self.fabric.abort(flow, self.now);
    }

    /// Goes on for a while.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.step();
        }
    }

    pub(super) fn host(&mut self, flow: FlowId) -> &mut HostEnd {
        self.touched = true;
        self.fabric.wake(flow);
        self.hosts.entry(flow).or_default()
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 32 << 10]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// The guest connects to a service of the host.
    pub(super) fn outward(&mut self, v4: bool) -> (SocketHandle, FlowId) {
        let handle = self.socket();
        let to: IpAddr = if v4 {
            [192, 0, 2, 1].into()
        } else {
            "2001:db8::1".parse().unwrap()
        };
        self.next_port += 1;
        let (port, context) = (self.next_port, self.interface.context());
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(context, (to, 80), port).unwrap();
        let before: Vec<FlowId> = self.hosts.keys().copied().collect();
        self.until("connected", 60, |world| world.tcp(handle).may_send());
        let mut flows = self.hosts.keys().copied();
        let flow = flows.find(|flow| !before.contains(flow)).unwrap();
        (handle, flow)
    }

    /// A client comes to a published port of the guest.
    pub(super) fn published(&mut self, client: &str) -> (SocketHandle, FlowId) {
        let handle = self.socket();
        self.tcp(handle).listen(80).unwrap();
        let publish = Publish {
            id: "p".into(),
            host_ip: None,
            host_port: 0,
            host_port_last: None,
            host_path: None,
            protocol: Protocol::Tcp,
            endpoint: "1/2".into(),
            container_port: 80,
        };
        let publish = self.fabric.add_publish(publish);
        let client = client.parse().unwrap();
        let flow = self
            .fabric
            .open_published(publish, client, self.now)
            .unwrap();
        self.touched = true;
        self.hosts.insert(flow, HostEnd::default());
        self.until("connected", 60, |world| world.tcp(handle).may_send());
        (handle, flow)
    }
}
