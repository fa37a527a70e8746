//! Where an operation says how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use stack_api::event::{ApiError, Event, LayerPhase};
use tokio::sync::{Notify, mpsc};

/// Lines of builds that may wait for the client.
const MOST: usize = 1000;

/// The sending end of an answer of events. Cheap to clone; sending to a
/// client that has gone is not an error.
#[derive(Debug, Clone)]
pub struct Progress {
    to: mpsc::UnboundedSender<Event>,
    waiting: Arc<Waiting>,
    began: Instant,
}

/// Lines of builds that nobody has taken yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    taken: Notify,
}

/// The receiving end of an answer of events.
#[derive(Debug)]
pub struct Events {
    from: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<Waiting>,
}

impl Events {
    /// The next event; `None` after the last.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Events::recv`].
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = self.from.poll_recv(context);
        if matches!(event, Poll::Ready(Some(Event::Output { .. }))) {
            self.waiting.lines.fetch_sub(1, Ordering::SeqCst);
            self.waiting.taken.notify_waiters();
        }
        event
    }
}

impl Progress {
    /// A sender and the stream of what it sends.
    pub fn new() -> (Progress, Events) {
        let (to, from) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        let progress = Progress {
            to,
            waiting: Arc::clone(&waiting),
            began: Instant::now(),
        };
        (progress, Events { from, waiting })
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

    /// A build wrote a line. Whoever has many waits for [`Progress::room`].
    pub fn output(&self, name: &str, line: &str) {
        self.waiting.lines.fetch_add(1, Ordering::SeqCst);
        let _ = self.to.send(Event::Output {
            name: name.to_owned(),
            line: line.to_owned(),
        });
    }

    /// Waits until the client has taken most of what builds wrote, or has gone.
    pub async fn room(&self) {
        loop {
            let mut taken = std::pin::pin!(self.waiting.taken.notified());
            taken.as_mut().enable();
            if self.waiting.lines.load(Ordering::SeqCst) < MOST {
                return;
            }
            tokio::select! {
                () = taken => {}
                () = self.to.closed() => return,
            }
        }
    }

    /// Something to know.
    pub fn warn(&self, message: impl Into<String>) {
        let _ = self.to.send(Event::Warning {
            message: message.into(),
        });
    }

    /// Something that is good to know.
    pub fn note(&self, message: impl Into<String>) {
        let _ = self.to.send(Event::Note {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_wait_for_the_client() {
        let (progress, mut events) = Progress::new();
        for _ in 0..MOST {
            progress.room().await;
            progress.output("a", "b");
        }
        let mut full = Box::pin(progress.room());
        assert!(futures_util::poll!(&mut full).is_pending());
        progress.warn("nobody waits to say this");
        assert!(matches!(events.recv().await, Some(Event::Output { .. })));
        full.await;
        progress.output("a", "b");
        let full = progress.room();
        drop(events);
        full.await;
    }
}
