//! What is known of each step and layer while an operation runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stack_api::event::LayerPhase;

/// A step that goes on or has ended.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its latest phase.
    pub(super) status: String,
    /// More to say.
    pub(super) detail: Option<String>,
    /// It has ended.
    pub(super) finished: bool,
    /// Milliseconds between its first event and its latest.
    pub(super) took_ms: u64,
    /// When its status last changed, or was told again, on this side.
    pub(super) changed: Instant,
    /// When it began, on this side.
    pub(super) began: Instant,
    began_ms: u64,
}

/// Steps by kind and name.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: BTreeMap<(String, String), Step>,
}

/// One event, taken apart.
#[derive(Debug)]
pub(super) struct News<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) status: &'a str,
    pub(super) finished: bool,
    pub(super) detail: Option<&'a str>,
    pub(super) at_ms: u64,
}

impl Steps {
    /// Takes news in; gives the step as it is now and whether its status is
    /// a new one.
    pub(super) fn take(&mut self, news: &News<'_>) -> (&Step, bool) {
        let key = (news.kind.to_owned(), news.name.to_owned());
        let fresh = !self.steps.contains_key(&key);
        let step = self.steps.entry(key).or_insert_with(|| Step {
            status: String::new(),
            detail: None,
            finished: false,
            took_ms: 0,
            changed: Instant::now(),
            began: Instant::now(),
            began_ms: news.at_ms,
        });
        if step.finished && !news.finished {
            // It starts again: another phase of the same thing.
            step.began_ms = news.at_ms;
            step.began = Instant::now();
        }
        let changed = fresh || step.status != news.status || step.finished != news.finished;
        if changed {
            step.changed = Instant::now();
        }
        news.status.clone_into(&mut step.status);
        step.detail = news.detail.map(str::to_owned);
        step.finished = news.finished;
        step.took_ms = news.at_ms.saturating_sub(step.began_ms);
        (step, changed)
    }

    /// Steps that have been in one status for at least `quiet`, which counts
    /// from now on again.
    pub(super) fn long_running(&mut self, quiet: Duration) -> Vec<(String, String, Step)> {
        let mut out = Vec::new();
        for ((kind, name), step) in &mut self.steps {
            if !step.finished && step.changed.elapsed() >= quiet {
                step.changed = Instant::now();
                out.push((kind.clone(), name.clone(), step.clone()));
            }
        }
        out
    }
}

/// The layers of one image.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: BTreeMap<String, (LayerPhase, u64, u64)>,
}

impl Layers {
    /// Takes news of a layer in.
    pub(super) fn take(&mut self, layer: &str, phase: LayerPhase, done: u64, total: u64) {
        let old = self.layers.get(layer).map_or(0, |(_, _, total)| *total);
        self.layers
            .insert(layer.to_owned(), (phase, done, total.max(old)));
    }

    /// Layers that are ready, and all.
    pub(super) fn ready(&self) -> (usize, usize) {
        let ready = |phase: &LayerPhase| matches!(phase, LayerPhase::Done | LayerPhase::Exists);
        (
            self.layers
                .values()
                .filter(|(phase, ..)| ready(phase))
                .count(),
            self.layers.len(),
        )
    }

    /// Bytes downloaded, and all that are known to come. A layer that is
    /// being unpacked has been downloaded.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.layers
            .values()
            .fold((0, 0), |(done, all), (phase, now, total)| {
                let now = match phase {
                    LayerPhase::Downloading | LayerPhase::Uploading => (*now).min(*total),
                    LayerPhase::Extracting | LayerPhase::Done | LayerPhase::Exists => *total,
                };
                (done.saturating_add(now), all.saturating_add(*total))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(status: &str, finished: bool, at_ms: u64) -> News<'_> {
        News {
            kind: "container",
            name: "web-1",
            status,
            finished,
            detail: None,
            at_ms,
        }
    }

    #[test]
    fn a_step_is_timed_from_its_first_event() {
        let mut steps = Steps::default();
        assert!(steps.take(&news("starting", false, 100)).1);
        assert!(!steps.take(&news("starting", false, 200)).1);
        let (step, changed) = steps.take(&news("started", true, 1100));
        assert!(changed);
        assert_eq!(step.took_ms, 1000);
        let (step, _) = steps.take(&news("waiting", false, 2000));
        assert_eq!(step.took_ms, 0);
        assert_eq!(steps.take(&news("healthy", true, 2500)).0.took_ms, 500);
    }

    #[test]
    fn only_what_goes_on_runs_long() {
        let mut steps = Steps::default();
        steps.take(&news("starting", false, 0));
        assert_eq!(steps.long_running(Duration::ZERO).len(), 1);
        assert_eq!(steps.long_running(Duration::from_secs(60)).len(), 0);
        steps.take(&news("started", true, 5));
        assert_eq!(steps.long_running(Duration::ZERO).len(), 0);
    }

    #[test]
    fn layers_add_up() {
        let mut layers = Layers::default();
        layers.take("a", LayerPhase::Downloading, 10, 100);
        layers.take("b", LayerPhase::Extracting, 5, 0);
        layers.take("c", LayerPhase::Exists, 0, 50);
        assert_eq!(layers.ready(), (1, 3));
        assert_eq!(layers.bytes(), (60, 150));
        layers.take("a", LayerPhase::Done, 0, 0);
        assert_eq!(layers.ready(), (2, 3));
        assert_eq!(layers.bytes(), (150, 150));
    }
}
