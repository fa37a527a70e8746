//! The event loop: one thread that waits for the host, for its children and
//! for what they write, and never for a single one of them.
//!
//! The service's output is read as long as the host has not too much of it
//! to store ([`Output`]), an exec session's as long as the host gives credit
//! ([`Session`]). What an answer has to wait for (a program that is looked
//! up, a probe) is a state, not a call that blocks.

mod command;
mod exec;
mod probe;
mod update;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use stack_protocol::frame::{Frame, Kind, MAX_PAYLOAD};
use stack_protocol::log::Stream;
use stack_protocol::message::{Event, FromGuest, Outcome, Reply};

use crate::cards::Cards;
use crate::child::Refusal;
use crate::exec::Session;
use crate::output::Output;
use crate::port::{Port, Received};
use crate::process::Part;
use crate::relay::Inwards;
use crate::service::Service;
use crate::{boot, changes, service, sys};
use probe::Health;

/// Bytes read from the service at once.
const PIECE: usize = 64 << 10;

/// How long the host may take to read the answer that is the last.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How far this VM has come.
enum Stage {
    /// No `Configure` yet.
    Waiting,
    /// `Configure` did not work; there is no second one.
    Failed(Refusal),
    /// The service was started.
    Running(Box<Service>),
}

/// What a descriptor in the poll set belongs to.
#[derive(Debug, Clone, Copy)]
enum Source {
    Port,
    Children,
    MemoryEvents,
    Service(Part),
    Session(u32, Part),
    Probe(Part),
}

/// The agent.
pub(crate) struct Agent {
    port: Port,
    children: OwnedFd,
    /// `Hello` has been answered in this conversation.
    greeted: bool,
    stage: Stage,
    output: Output,
    sessions: BTreeMap<u32, Session>,
    health: Option<Health>,
    /// The request for the end, once there is one.
    shutdown: Option<u64>,
    /// This VM was a template.
    template: bool,
    inwards: Inwards,
    cards: Cards,
}

/// The frame of an answer. The host hangs up on one that is too large.
fn answer(id: u64, outcome: Outcome) -> Frame {
    let frame = |outcome| Frame::control(&FromGuest::Reply(Reply { id, outcome }));
    let whole = frame(outcome);
    match whole.payload.len() <= MAX_PAYLOAD {
        true => whole,
        false => frame(Outcome::Error {
            message: "the answer is too large".to_owned(),
            code: 128,
        }),
    }
}

impl Agent {
    /// Opens the port.
    pub(crate) fn new(template: bool, cards: Cards) -> io::Result<Agent> {
        Ok(Agent {
            template,
            children: sys::child_signals()?,
            port: Port::open()?,
            greeted: false,
            stage: Stage::Waiting,
            output: Output::default(),
            sessions: BTreeMap::new(),
            health: None,
            shutdown: None,
            inwards: Inwards::default(),
            cards,
        })
    }

    /// Runs until the host says `Shutdown`, which is answered when everything has
    /// been written to the disks, or could not be.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let request = loop {
            if let Some(request) = self.shutdown {
                break request;
            }
            self.send_output();
            self.port.flush()?;
            for source in self.wait()? {
                self.handle(source)?;
            }
            self.keep_time();
        };
        self.port.finish(Duration::from_millis(100));
        self.end_processes();
        let written = boot::unmount_all().map_err(Refusal::from);
        let outcome = written.map_or_else(Outcome::from, |()| Outcome::Ok);
        self.reply(request, outcome);
        self.port.finish(LAST_ANSWER);
        Ok(())
    }

    /// Polls; gives what is ready.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        let (fd, flags) = self.port.interest();
        add(Source::Port, fd, flags);
        add(Source::Children, self.children.as_fd(), PollFlags::POLLIN);
        if let Stage::Running(service) = &self.stage {
            if let Some(events) = &service.memory_events {
                add(Source::MemoryEvents, events.as_fd(), PollFlags::POLLPRI);
            }
            for (part, fd, flags) in service.process.interests([self.output.has_room(); 2]) {
                add(Source::Service(part), fd, flags);
            }
        }
        for (id, session) in &self.sessions {
            for (part, fd, flags) in session.process.interests(session.reading()) {
                add(Source::Session(*id, part), fd, flags);
            }
        }
        if let Some(probe) = self.health.as_ref().and_then(Health::probe) {
            for (part, fd, flags) in probe.interests([true; 2]) {
                add(Source::Probe(part), fd, flags);
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter_map(|(source, ready)| ready.then_some(source))
            .collect())
    }

    /// Until the next thing that happens by itself.
    fn timeout(&self) -> PollTimeout {
        let service = match &self.stage {
            Stage::Running(service) => Some(service),
            Stage::Waiting | Stage::Failed(_) => None,
        };
        let kill = service.and_then(|service| service.kill_at);
        let probe = self.health.as_ref().and_then(Health::deadline);
        let sessions = self.sessions.values().filter_map(Session::deadline);
        let line = self.output.deadline();
        let Some(next) = sessions.chain(kill).chain(probe).chain(line).min() else {
            return PollTimeout::NONE;
        };
        // A whole millisecond more: poll(2) must not return just before.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn handle(&mut self, source: Source) -> io::Result<()> {
        match source {
            Source::Port => {
                for received in self.port.receive()? {
                    self.received(received);
                }
            }
            Source::Children => self.reap(),
            Source::MemoryEvents => self.note_memory(),
            Source::Service(part) => self.service_ready(part),
            Source::Session(id, part) => self.session_ready(id, part),
            Source::Probe(part) => self.probe_ready(part),
        }
        Ok(())
    }

    fn received(&mut self, received: Received) {
        match received {
            Received::Conversation | Received::Closed => {
                self.greeted = false;
                // Nobody is there to take their output: the descriptors are
                // closed, as when a terminal goes away.
                self.sessions.clear();
                if let Stage::Running(service) = &mut self.stage {
                    // Nor for this answer; its number may be another's soon.
                    service.request = None;
                }
            }
            Received::Frame(frame) => match frame.kind {
                Kind::Control => match serde_json::from_slice(&frame.payload) {
                    Ok(request) => self.request(request),
                    Err(error) => {
                        eprintln!("vminit: a message from the host that is none: {error}")
                    }
                },
                Kind::Data => self.input(frame.channel / 4, &frame.payload),
                Kind::Credit => self.credit(&frame),
                Kind::Log => {}
            },
        }
    }

    fn reply(&mut self, id: u64, outcome: Outcome) {
        self.port.send(&answer(id, outcome));
    }

    /// Before `Hello` there is nobody to tell; `Hello` says what is so.
    fn tell(&mut self, event: Event) {
        if self.greeted {
            self.port.send(&Frame::control(&FromGuest::Event(event)));
        }
    }

    /// Fills the port with output; tells the exit behind the last of it.
    fn send_output(&mut self) {
        while self.greeted && self.port.has_room() {
            let Some(record) = self.output.next_to_send() else {
                break;
            };
            let payload = record.encode();
            self.port.send(&Frame {
                kind: Kind::Log,
                channel: 0,
                payload,
            });
        }
        let Stage::Running(service) = &mut self.stage else {
            return;
        };
        if let Some(exit) = &service.exit
            && self.greeted
            && !service.exit_told
            && self.output.is_sent()
        {
            service.exit_told = true;
            let exit = exit.clone();
            self.tell(Event::Exited(exit));
        }
    }

    fn service_ready(&mut self, part: Part) {
        let Stage::Running(service) = &mut self.stage else {
            return;
        };
        match part {
            Part::Report => self.service_started(),
            Part::Input => {
                let taken = service.process.input.flush();
                self.send_credit(0, taken);
            }
            Part::Output(n) => {
                let stream = if n == 0 {
                    Stream::Stdout
                } else {
                    Stream::Stderr
                };
                if let Some(data) = service.process.read(n, PIECE) {
                    self.output.push(stream, &data);
                    // Somebody may sit there and see each key come back.
                    if service.exec.tty {
                        self.output.flush();
                    }
                }
            }
        }
    }

    /// Takes the exit status of every child that has ended.
    fn reap(&mut self) {
        sys::drain_signals(&self.children);
        while let Some((pid, status)) = sys::wait_any() {
            if self.is_service(pid) {
                self.service_ended(status);
            } else if let Some(session) = self.sessions.values_mut().find(|s| s.process.pid == pid)
            {
                session.ended(service::exit(status));
            } else if let Some(health) = &mut self.health {
                health.process_ended(pid, status);
            }
            changes::ended(pid, status);
        }
        self.finish_sessions();
        self.finish_probe();
    }

    fn is_service(&self, pid: i32) -> bool {
        matches!(&self.stage, Stage::Running(service) if service.process.pid == pid)
    }

    fn service_ended(&mut self, status: i32) {
        self.note_memory();
        let Stage::Running(service) = &mut self.stage else {
            return;
        };
        service.ended(status);
        // It was the first of its namespace: nobody is left who could write,
        // so the rest is read whether there is room or not.
        for (n, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            while let Some(data) = service.process.read(n, PIECE)
                && !data.is_empty()
            {
                self.output.push(stream, &data);
            }
        }
        self.output.flush();
        if let Some(health) = &mut self.health {
            health.stop();
        }
    }

    fn note_memory(&mut self) {
        let Stage::Running(service) = &mut self.stage else {
            return;
        };
        if service.was_out_of_memory() {
            self.tell(Event::OutOfMemory);
        }
    }

    /// What is due by the clock.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.output.deadline().is_some_and(|at| at <= now) {
            self.output.flush();
        }
        if let Stage::Running(service) = &mut self.stage
            && service.kill_at.is_some_and(|at| at <= now)
        {
            service.kill_at = None;
            service::kill_all();
        }
        self.finish_sessions();
        self.keep_probing(now);
    }

    /// SIGKILL to what is left, and a short wait for its end.
    fn end_processes(&mut self) {
        service::kill_all();
        self.sessions.clear();
        let deadline = Instant::now() + Duration::from_secs(2);
        while service::is_populated() && Instant::now() < deadline {
            let mut fds = [PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(20u8));
            sys::drain_signals(&self.children);
            while sys::wait_any().is_some() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_too_large_is_an_error() {
        let outcome = Outcome::Error {
            message: "x".repeat(MAX_PAYLOAD),
            code: 1,
        };
        let frame = answer(7, outcome);
        assert!(frame.payload.len() <= MAX_PAYLOAD);
        let said = String::from_utf8(frame.payload).unwrap();
        assert!(
            said.contains("too large") && said.contains("\"id\":7"),
            "{said}"
        );
    }
}
