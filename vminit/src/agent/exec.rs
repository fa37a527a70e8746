//! The event loop's part in exec sessions.

use stack_protocol::frame::Frame;
use stack_protocol::message::{Event, Outcome};

use super::{Agent, Stage};
use crate::process::Part;

impl Agent {
    /// Input for a session, or for the service (session 0).
    pub(super) fn input(&mut self, session: u32, data: &[u8]) {
        let taken = if session == 0 {
            match &mut self.stage {
                Stage::Running(service) => service.process.input.push(data),
                Stage::Waiting | Stage::Failed(_) => data.len() as u32,
            }
        } else {
            match self.sessions.get_mut(&session) {
                Some(session) => session.process.input.push(data),
                None => return,
            }
        };
        self.send_credit(session, taken);
    }

    /// The host may send `taken` bytes more input.
    pub(super) fn send_credit(&mut self, session: u32, taken: u32) {
        if taken > 0 {
            self.port.send(&Frame::credit(session, 0, taken));
        }
    }

    /// The host takes more of a session's output.
    pub(super) fn credit(&mut self, frame: &Frame) {
        let (id, stream) = (frame.channel / 4, frame.channel % 4);
        if let Ok(bytes) = frame.payload.as_slice().try_into()
            && let Some(session) = self.sessions.get_mut(&id)
            && (1..=2).contains(&stream)
        {
            session.grant(stream as usize - 1, u32::from_le_bytes(bytes));
        }
    }

    pub(super) fn session_ready(&mut self, id: u32, part: Part) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match part {
            Part::Report => {
                let Some(result) = session.process.started() else {
                    return;
                };
                let pid = session.process.pid as u32;
                let request = session.request.take();
                let outcome = match result {
                    Ok(()) => Outcome::Started { pid },
                    Err(refusal) => {
                        self.sessions.remove(&id);
                        refusal.into()
                    }
                };
                if let Some(request) = request {
                    self.reply(request, outcome);
                }
            }
            Part::Input => {
                let taken = session.process.input.flush();
                self.send_credit(id, taken);
            }
            Part::Output(n) => self.send_session_output(id, n),
        }
    }

    fn send_session_output(&mut self, id: u32, n: usize) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Some(data) = session.read(n) {
            self.port.send(&Frame::data(id, n as u32 + 1, data));
        }
    }

    /// Tells the end of sessions whose output has been read.
    pub(super) fn finish_sessions(&mut self) {
        let over: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(id, session)| Some((*id, session.result()?.clone())))
            .collect();
        for (session, exit) in over {
            self.sessions.remove(&session);
            self.tell(Event::ExecExited { session, exit });
        }
    }
}
