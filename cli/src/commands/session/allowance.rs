//! How much may be sent to a standard input: what its process has not taken
//! yet must not lie before a signal.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A daemon that says nothing for so long is an older one, which takes
/// everything.
const PATIENCE: Duration = Duration::from_millis(500);

/// What has been granted in all; `None`: nothing was said yet.
pub(super) type Granted = watch::Sender<Option<u64>>;

/// What has been granted and sent.
#[derive(Debug)]
pub(super) struct Allowance {
    granted: watch::Receiver<Option<u64>>,
    sent: u64,
    silent_until: Instant,
}

impl Allowance {
    /// Nothing has been sent yet.
    pub(super) fn new(granted: &Granted) -> Allowance {
        Allowance {
            granted: granted.subscribe(),
            sent: 0,
            silent_until: Instant::now() + PATIENCE,
        }
    }

    /// Waits until that many bytes may be sent. Cancel-safe.
    pub(super) async fn room(&self, bytes: usize) {
        let wanted = self.sent.saturating_add(bytes as u64);
        let (mut granted, told) = (self.granted.clone(), self.granted.clone());
        let silent = async {
            tokio::time::sleep_until(self.silent_until).await;
            if told.borrow().is_some() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = granted.wait_for(|granted| granted.is_some_and(|all| wanted <= all)) => {}
            () = silent => {}
        }
    }

    /// They were sent.
    pub(super) fn take(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }
}

/// Adds what a credit frame says.
pub(super) fn grant(granted: &Granted, payload: &[u8]) {
    let Some(bytes) = payload.first_chunk::<4>() else {
        return;
    };
    let bytes = u64::from(u32::from_le_bytes(*bytes));
    granted.send_modify(|all| *all = Some(all.unwrap_or(0).saturating_add(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_is_sent_than_was_granted() {
        let soon = Duration::from_millis(50);
        let granted = Granted::new(None);
        let mut allowance = Allowance::new(&granted);
        grant(&granted, &10_u32.to_le_bytes());
        allowance.room(10).await;
        allowance.take(10);
        let more = tokio::time::timeout(soon, allowance.room(1));
        assert!(more.await.is_err());
        grant(&granted, &1_u32.to_le_bytes());
        allowance.room(1).await;
        // Nobody says anything.
        let silent = Granted::new(None);
        let more = Allowance::new(&silent);
        tokio::time::timeout(10 * PATIENCE, more.room(1 << 30))
            .await
            .unwrap();
    }
}
