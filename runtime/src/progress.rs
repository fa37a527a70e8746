//! Where an operation says how far it is.

use std::time::Instant;

use stack_api::event::{ApiError, Event, LayerPhase};
use tokio::sync::mpsc;

/// The sending end of an answer of events. Cheap to clone; sending to a
/// client that has gone is not an error.
#[derive(Debug, Clone)]
pub struct Progress {
    to: mpsc::UnboundedSender<Event>,
    began: Instant,
}

impl Progress {
    /// A sender and the stream of what it sends.
    pub fn new() -> (Progress, mpsc::UnboundedReceiver<Event>) {
        let (to, from) = mpsc::unbounded_channel();
        (
            Progress {
                to,
                began: Instant::now(),
            },
            from,
        )
    }

    /// A step began or moved on.
    pub fn step(&self, kind: &str, name: &str, status: &str) {
        self.send_step(kind, name, status, false, None);
    }

    /// A step ended.
    pub fn finish(&self, kind: &str, name: &str, status: &str) {
        self.send_step(kind, name, status, true, None);
    }

    /// A step that goes on, with a reason.
    pub fn detail(&self, kind: &str, name: &str, status: &str, detail: String) {
        self.send_step(kind, name, status, false, Some(detail));
    }

    fn send_step(
        &self,
        kind: &str,
        name: &str,
        status: &str,
        finished: bool,
        detail: Option<String>,
    ) {
        let _ = self.to.send(Event::Step {
            kind: kind.to_owned(),
            name: name.to_owned(),
            status: status.to_owned(),
            finished,
            detail,
            at_ms: self.began.elapsed().as_millis() as u64,
        });
    }

    /// A layer moved on.
    pub fn layer(&self, image: &str, layer: &str, phase: LayerPhase, done: u64, total: u64) {
        let _ = self.to.send(Event::Layer {
            image: image.to_owned(),
            layer: layer.to_owned(),
            phase,
            done,
            total,
        });
    }

    /// A build wrote a line.
    pub fn output(&self, name: &str, line: &str) {
        let _ = self.to.send(Event::Output {
            name: name.to_owned(),
            line: line.to_owned(),
        });
    }

    /// Something to know.
    pub fn warn(&self, message: impl Into<String>) {
        let _ = self.to.send(Event::Warning {
            message: message.into(),
        });
    }

    /// The last event.
    pub fn end(&self, result: Result<(), ApiError>) {
        let _ = self.to.send(match result {
            Ok(()) => Event::Done {
                took_ms: self.began.elapsed().as_millis() as u64,
            },
            Err(error) => Event::Failed(error),
        });
    }

    /// The client has gone.
    pub async fn closed(&self) {
        self.to.closed().await;
    }
}
