//! Which ends of containers are news.

use std::collections::BTreeMap;

use stack_api::container::{Container, State};

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exited {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) code: i32,
}

/// Which ends have been told.
#[derive(Debug)]
pub(crate) struct Exits {
    since_ms: u64,
    told: BTreeMap<String, u64>,
}

impl Exits {
    /// Ends before this moment are no news.
    pub(crate) fn since(since_ms: u64) -> Exits {
        Exits {
            since_ms,
            told: BTreeMap::new(),
        }
    }

    /// Containers that have ended since the last call.
    pub(crate) fn news(&mut self, list: &[Container]) -> Vec<Exited> {
        let mut news = Vec::new();
        for container in list {
            let ended = matches!(
                container.state,
                State::Exited | State::Dead | State::Restarting
            );
            let Some(at) = container
                .finished_ms
                .filter(|at| ended && !container.halted && *at >= self.since_ms)
            else {
                continue;
            };
            if self.told.insert(container.id.clone(), at) != Some(at) {
                news.push(Exited {
                    service: container.service.clone(),
                    name: container.name.clone(),
                    code: container.exit_code.unwrap_or(-1),
                });
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_news_once() {
        let mut exits = Exits::since(100);
        let mut container = Container {
            id: "a".to_owned(),
            state: State::Running,
            finished_ms: Some(50),
            ..Container::default()
        };
        let mut news = |container: &Container| exits.news(std::slice::from_ref(container)).len();
        assert_eq!(news(&container), 0);
        container.state = State::Exited;
        assert_eq!(news(&container), 0, "it ended before");
        container.finished_ms = Some(200);
        assert_eq!(news(&container), 1);
        assert_eq!(news(&container), 0);
        container.finished_ms = Some(300);
        container.halted = true;
        assert_eq!(news(&container), 0, "it only makes way for a moment");
        container.halted = false;
        assert_eq!(news(&container), 1);
    }
}
