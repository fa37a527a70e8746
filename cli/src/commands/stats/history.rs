//! The last looks at containers.

use std::collections::{BTreeMap, VecDeque};

use stack_api::look::Usage;

/// Looks that are kept.
const KEEP: usize = 30;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What containers used at the last looks.
#[derive(Debug, Default)]
pub(super) struct History {
    latest: Vec<Usage>,
    before: BTreeMap<String, Usage>,
    /// Shares of a processor in percent, by id.
    shares: BTreeMap<String, VecDeque<f64>>,
}

impl History {
    /// Adds a look.
    pub(super) fn add(&mut self, list: Vec<Usage>) {
        self.before = std::mem::take(&mut self.latest)
            .into_iter()
            .map(|usage| (usage.id.clone(), usage))
            .collect();
        for usage in &list {
            let Some(before) = self.before.get(&usage.id) else {
                continue;
            };
            let shares = self.shares.entry(usage.id.clone()).or_default();
            shares.push_back(share(before, usage));
            if shares.len() > KEEP {
                shares.pop_front();
            }
        }
        self.shares
            .retain(|id, _| list.iter().any(|usage| usage.id == *id));
        self.latest = list;
    }

    /// The last look.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Usage> {
        self.latest.iter()
    }

    /// Percent of one processor between the last two looks.
    pub(super) fn share(&self, usage: &Usage) -> f64 {
        let shares = self.shares.get(&usage.id);
        shares.and_then(VecDeque::back).copied().unwrap_or(0.0)
    }

    /// The shares as bars, the newest one last. A full bar is the busiest of
    /// them, but at least one processor.
    pub(super) fn bars(&self, id: &str) -> String {
        let Some(shares) = self.shares.get(id) else {
            return String::new();
        };
        let most = shares.iter().copied().fold(100.0, f64::max);
        let bar = |share: &f64| {
            let step = (share / most * (BARS.len() - 1) as f64).round();
            BARS[(step as usize).min(BARS.len() - 1)]
        };
        shares.iter().map(bar).collect()
    }
}

fn share(before: &Usage, now: &Usage) -> f64 {
    // A VM that was started anew counts from 0 again.
    let used = now.cpu_usec.saturating_sub(before.cpu_usec) as f64 * 1000.0;
    let passed = now.time_ns.saturating_sub(before.time_ns) as f64;
    if passed > 0.0 {
        used / passed * 100.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(second: u64, cpu_ms: u64) -> Usage {
        Usage {
            id: "a".to_owned(),
            time_ns: second * 1_000_000_000,
            cpu_usec: cpu_ms * 1000,
            ..Usage::default()
        }
    }

    #[test]
    fn shares_are_of_one_processor() {
        let mut history = History::default();
        history.add(vec![usage(1, 0)]);
        assert_eq!(history.share(&usage(1, 0)), 0.0);
        history.add(vec![usage(3, 1000)]);
        assert_eq!(history.share(&usage(3, 1000)), 50.0);
        history.add(vec![usage(4, 3000)]);
        assert_eq!(history.share(&usage(4, 3000)), 200.0);
        // Restarted.
        history.add(vec![usage(5, 0)]);
        assert_eq!(history.bars("a"), "▃█▁");
        history.add(Vec::new());
        assert_eq!(history.bars("a"), "");
    }
}
