//! What a client sends to a standard input. It goes its own way, so that the
//! signals and sizes behind it need not wait for a process that reads
//! nothing: a client may have [`WINDOW`] bytes on the way, and is told when
//! the process has taken some.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use stack_protocol::frame::{Frame, WINDOW};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::{Mutex, Semaphore, mpsc};

/// The way back to the client.
pub(super) type Back = Arc<Mutex<WriteHalf<TokioIo<hyper::upgrade::Upgraded>>>>;

/// Where bytes of the client go.
#[derive(Debug)]
pub(super) struct Feed {
    to: mpsc::UnboundedSender<Vec<u8>>,
    room: Arc<Semaphore>,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct Fed {
    from: mpsc::UnboundedReceiver<Vec<u8>>,
    room: Arc<Semaphore>,
    back: Option<Back>,
}

/// The two ends. A client that reads nothing while it sends is told nothing:
/// without `back`.
pub(super) fn feed(back: Option<Back>) -> (Feed, Fed) {
    let (to, from) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(WINDOW as usize));
    let feed = Feed {
        to,
        room: Arc::clone(&room),
    };
    (feed, Fed { from, room, back })
}

impl Feed {
    /// Takes bytes. Waits only for a client that has sent more than it was
    /// told it may.
    pub(super) async fn push(&self, data: Vec<u8>) {
        if let Ok(permits) = self.room.acquire_many(held(&data)).await {
            permits.forget();
            let _ = self.to.send(data);
        }
    }
}

impl Fed {
    /// Writes everything that comes, until no more will.
    pub(super) async fn each(mut self, mut write: impl AsyncFnMut(Vec<u8>)) {
        self.grant(WINDOW).await;
        let mut taken = 0;
        while let Some(data) = self.from.recv().await {
            let held = held(&data);
            write(data).await;
            self.room.add_permits(held as usize);
            taken += held;
            if taken >= WINDOW / 4 {
                self.grant(std::mem::take(&mut taken)).await;
            }
        }
    }

    async fn grant(&self, bytes: u32) {
        if let Some(back) = &self.back {
            let credit = Frame::credit(0, 0, bytes).to_bytes();
            // A client that has gone is seen where it is read from.
            let _ = back.lock().await.write_all(&credit).await;
        }
    }
}

fn held(data: &[u8]) -> u32 {
    u32::try_from(data.len()).map_or(WINDOW, |length| length.min(WINDOW))
}
