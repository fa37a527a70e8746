//! Which containers have ended, as the journal tells it: a restart policy may have
//! started one again before anybody could look.

use std::convert::Infallible;

use stack_api::container::{Container, State};
use stack_api::journal::{EventQuery, Happening};

use crate::client::{Client, Lines};
use crate::error::Error;

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exited {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) code: i32,
}

/// What is known of an end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    id: String,
    code: i32,
    /// Somebody wanted it.
    stopped: bool,
}

/// The ends of a stack's containers.
#[derive(Debug)]
pub(crate) struct Exits {
    journal: Lines<Happening>,
    /// Those that nobody has asked for yet.
    ends: Vec<End>,
}

impl Exits {
    /// Ends from this moment on.
    ///
    /// # Errors
    /// The daemon is not there.
    pub(crate) async fn from_now_on(client: &Client, stack: &str) -> Result<Exits, Error> {
        Ok(Exits {
            journal: client.happenings(stack, &EventQuery::default()).await?,
            ends: Vec::new(),
        })
    }

    /// Takes note of what happens. Cancel-safe.
    ///
    /// # Errors
    /// The daemon goes away.
    pub(crate) async fn attend(&mut self) -> Result<Infallible, Error> {
        while let Some(happening) = self.journal.next().await? {
            note(&mut self.ends, &happening);
        }
        std::future::pending().await
    }

    /// Which of these containers have ended since the last call.
    pub(crate) fn news(&mut self, list: &[Container]) -> Vec<Exited> {
        let ends = std::mem::take(&mut self.ends);
        ends.iter().filter_map(|end| settle(end, list)).collect()
    }
}

fn note(ends: &mut Vec<End>, happening: &Happening) {
    match happening.action.as_str() {
        "die" => {
            let code = happening.attributes.get("exitCode");
            ends.push(End {
                id: happening.id.clone(),
                code: code.and_then(|code| code.parse().ok()).unwrap_or(-1),
                stopped: false,
            });
        }
        // Told right behind the end.
        "stop" => {
            let last = ends.iter_mut().rfind(|end| end.id == happening.id);
            last.into_iter().for_each(|end| end.stopped = true);
        }
        _ => {}
    }
}

/// One that was stopped has only ended if it is not about to start again, and one
/// that is gone has a successor or is missed by nobody.
fn settle(end: &End, list: &[Container]) -> Option<Exited> {
    let container = list.iter().find(|container| container.id == end.id)?;
    let over = matches!(container.state, State::Exited | State::Dead) && !container.halted;
    (!end.stopped || over).then(|| Exited {
        service: container.service.clone(),
        name: container.name.clone(),
        code: end.code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(action: &str, code: &str) -> Happening {
        Happening {
            id: "a".to_owned(),
            action: action.to_owned(),
            attributes: [("exitCode".to_owned(), code.to_owned())].into(),
            ..Happening::default()
        }
    }

    #[test]
    fn an_end_is_news_though_the_container_runs_again() {
        let mut ends = Vec::new();
        for (action, code) in [("start", ""), ("die", "3"), ("start", ""), ("die", "4")] {
            note(&mut ends, &happening(action, code));
        }
        let running = Container {
            id: "a".to_owned(),
            state: State::Running,
            ..Container::default()
        };
        let list = [running];
        let codes = ends.iter().filter_map(|end| settle(end, &list));
        assert_eq!(codes.map(|end| end.code).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(settle(&ends[0], &[]), None, "it was replaced");
    }

    #[test]
    fn what_is_stopped_for_a_moment_has_not_ended() {
        let mut ends = Vec::new();
        note(&mut ends, &happening("die", "143"));
        note(&mut ends, &happening("stop", ""));
        let mut container = Container {
            id: "a".to_owned(),
            state: State::Exited,
            halted: true,
            ..Container::default()
        };
        let news = |container: &Container| settle(&ends[0], std::slice::from_ref(container));
        assert_eq!(news(&container), None);
        container.halted = false;
        assert!(news(&container).is_some());
        container.state = State::Running;
        assert_eq!(news(&container), None, "it was restarted");
    }
}
