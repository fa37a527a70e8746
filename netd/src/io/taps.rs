//! What passes the ports: bytes that are counted, and frames that somebody
//! captures.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::event_loop::Loop;
use crate::control::{Response, Traffic};
use crate::frame::{Batch, Features, Frame, Parts};
use crate::ids::PortId;
use crate::offload;
use crate::pcapng::{self, Direction};

/// Frames in both directions, by port.
#[derive(Debug, Default)]
pub(super) struct Taps {
    traffic: HashMap<PortId, Traffic>,
    captures: Vec<Capture>,
}

/// A client that gets a copy of every frame of some endpoints.
#[derive(Debug)]
struct Capture {
    client: u64,
    // Their ports change when they are configured anew.
    endpoints: Vec<String>,
    missed: u64,
}

impl Taps {
    /// A port is no more.
    pub(super) fn forget(&mut self, port: PortId) {
        self.traffic.remove(&port);
    }

    /// Frames go to a port.
    pub(super) fn count_sent(&mut self, port: PortId, frames: &[Parts<'_>]) {
        let traffic = self.traffic.entry(port).or_default();
        traffic.frames_received += frames.len() as u64;
        for frame in frames {
            traffic.bytes_received += frame.len() as u64;
        }
    }

    /// A frame that came from a port was longer than what was seen of it.
    pub(super) fn count_rest(&mut self, port: PortId, bytes: usize) {
        self.traffic.entry(port).or_default().bytes_sent += bytes as u64;
    }

    /// A frame went to a port by itself.
    pub(super) fn count_handed_over(&mut self, port: PortId, bytes: usize) {
        let traffic = self.traffic.entry(port).or_default();
        traffic.frames_received += 1;
        traffic.bytes_received += bytes as u64;
    }

    /// Somebody wants copies.
    pub(super) fn is_capturing(&self) -> bool {
        !self.captures.is_empty()
    }

    /// What a port has carried.
    pub(super) fn traffic(&self, port: PortId) -> Traffic {
        self.traffic.get(&port).copied().unwrap_or_default()
    }
}

impl Loop {
    /// Begins to copy the frames of these endpoints to a client, which has
    /// asked for nothing else.
    pub(super) fn capture(&mut self, client: u64, endpoints: Vec<String>) -> Response {
        if let Some(unknown) = endpoints.iter().find(|id| self.fabric.port(id).is_none()) {
            let message = format!("there is no endpoint {unknown}");
            return Response::Error { message };
        }
        self.taps.captures.push(Capture {
            client,
            endpoints,
            missed: 0,
        });
        Response::Capturing
    }

    /// After [`Response::Capturing`] was said: what the stream begins with.
    pub(super) fn begin_capture(&mut self, client: u64) {
        let captures = self.taps.captures.iter();
        if let Some(capture) = captures.rev().find(|capture| capture.client == client) {
            let header = pcapng::header(capture.endpoints.iter().map(String::as_str));
            self.control.push(client, &header, &mut self.sources);
        }
    }

    /// Frames came from a port.
    pub(super) fn tap_received(&mut self, port: PortId, batch: &Batch) {
        if batch.len() == 0 {
            return;
        }
        let traffic = self.taps.traffic.entry(port).or_default();
        traffic.frames_sent += batch.len() as u64;
        for n in 0..batch.len() {
            traffic.bytes_sent += batch.get(n).bytes.len() as u64;
        }
        if !self.taps.captures.is_empty() {
            for n in 0..batch.len() {
                self.copy(port, Direction::Out, &batch.get(n).into());
            }
        }
    }

    /// Frames go to a port, and were counted.
    pub(super) fn capture_sent(&mut self, port: PortId, frames: &[Parts<'_>]) {
        if !self.taps.captures.is_empty() {
            for frame in frames {
                self.copy(port, Direction::In, frame);
            }
        }
    }

    /// Copies a frame to whoever captures the port, finished as on a wire.
    #[expect(
        clippy::disallowed_methods,
        reason = "captured frames have the wall clock's time"
    )]
    fn copy(&mut self, port: PortId, direction: Direction, frame: &Parts<'_>) {
        let Some(endpoint) = self.fabric.endpoint_id(port).map(str::to_owned) else {
            return;
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = time.unwrap_or(Duration::ZERO);
        let mut captures = std::mem::take(&mut self.taps.captures);
        for capture in &mut captures {
            let Some(interface) = capture.endpoints.iter().position(|id| *id == endpoint) else {
                continue;
            };
            let mut blocks = Vec::new();
            let write = |part: &Parts<'_>| {
                let frame: Frame = part.to_frame();
                pcapng::packet(&mut blocks, interface as u32, time, direction, &frame);
            };
            offload::finish(frame, Features::default(), write);
            if !self
                .control
                .push(capture.client, &blocks, &mut self.sources)
            {
                capture.missed += 1;
            }
        }
        captures.retain(|capture| {
            let stays = self.control.has(capture.client);
            if !stays && capture.missed > 0 {
                tracing::warn!(
                    frames = capture.missed,
                    "a capture was too slow for all frames"
                );
            }
            stays
        });
        self.taps.captures = captures;
    }
}
