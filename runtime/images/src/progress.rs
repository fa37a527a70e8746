//! Progress of a pull or an import.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// To a layer.
    Layer {
        /// The image, as it was asked for.
        reference: String,
        /// The first twelve digits of the layer's digest.
        digest: String,
        /// What is being done with it.
        phase: Phase,
        /// Bytes done, compressed as the layer is.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// What is being done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is on its way.
    Downloading,
    /// It is here and becomes an image.
    Extracting,
    /// It is on its way to a registry.
    Uploading,
    /// It is where it belongs.
    Done,
    /// It was there already.
    Exists,
}

/// Where reports go.
pub(crate) type Report = dyn Fn(Progress) + Send + Sync;

const EVERY: Duration = Duration::from_millis(100);

/// Reports about one layer, not too many of them.
pub(crate) struct Reporter {
    report: std::sync::Arc<Report>,
    reference: String,
    digest: String,
    total: u64,
    last: Mutex<Option<(Phase, Instant)>>,
}

impl Reporter {
    pub(crate) fn new(
        report: std::sync::Arc<Report>,
        reference: &str,
        digest: &str,
        total: u64,
    ) -> Reporter {
        let (reference, digest) = (reference.to_owned(), digest.to_owned());
        Reporter {
            report,
            reference,
            digest,
            total,
            last: Mutex::new(None),
        }
    }

    /// Says how far it is; `done` is taken for `total` at the end.
    pub(crate) fn at(&self, phase: Phase, done: u64) {
        let now = Instant::now();
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let finished = matches!(phase, Phase::Done | Phase::Exists);
        match *last {
            Some((Phase::Done | Phase::Exists, _)) => return,
            // Both ends of a layer report; what is behind is no news.
            Some((Phase::Extracting, _)) if phase == Phase::Downloading => return,
            Some((before, at)) if before == phase && now - at < EVERY && !finished => return,
            _ => {}
        }
        *last = Some((phase, now));
        (self.report)(Progress::Layer {
            reference: self.reference.clone(),
            digest: self.digest.clone(),
            phase,
            done: if finished {
                self.total
            } else {
                done.min(self.total)
            },
            total: self.total,
        });
    }
}
