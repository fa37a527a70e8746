//! Which containers have ended, as the journal tells it: a restart policy may have
//! started one again before anybody could look.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use stack_api::container::{Container, State};
use stack_api::journal::{EventQuery, Happening};

use crate::client::{Client, Lines};
use crate::context::containers;
use crate::error::Error;

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exited {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) code: i32,
    /// Somebody wanted it.
    pub(crate) stopped: bool,
}

/// What is known of an end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    id: String,
    code: i32,
    /// Somebody wanted it.
    stopped: bool,
}

/// So long the journal may lag behind what is seen of containers.
const LAG: Duration = Duration::from_secs(1);

/// The ends of a stack's containers.
#[derive(Debug)]
pub(crate) struct Exits {
    journal: Lines<Happening>,
    ends: Ends,
}

/// What the journal has said.
#[derive(Debug, Default)]
struct Ends {
    /// Those that nobody has asked for yet.
    new: Vec<End>,
    /// When each container ended last, in milliseconds.
    last: BTreeMap<String, u64>,
}

impl Exits {
    /// Ends from this moment on, and the containers that there are now.
    ///
    /// # Errors
    /// The daemon is not there.
    pub(crate) async fn from_now_on(
        client: &Client,
        stack: &str,
    ) -> Result<(Exits, Vec<Container>), Error> {
        let journal = client.happenings(stack, &EventQuery::default()).await?;
        let list = containers(client, stack).await?;
        let past = list.iter().map(|one| (one.id.clone(), one.finished_ms));
        let ends = Ends {
            new: Vec::new(),
            last: past.filter_map(|(id, at)| Some((id, at?))).collect(),
        };
        Ok((Exits { journal, ends }, list))
    }

    /// Takes note of what happens. Cancel-safe.
    ///
    /// # Errors
    /// The daemon goes away.
    pub(crate) async fn attend(&mut self) -> Result<Infallible, Error> {
        while let Some(happening) = self.journal.next().await? {
            self.ends.note(&happening);
        }
        std::future::pending().await
    }

    /// Which of these containers have ended since the last call. Cancel-safe.
    ///
    /// # Errors
    /// As [`attend`](Self::attend).
    pub(crate) async fn news(&mut self, list: &[Container]) -> Result<Vec<Exited>, Error> {
        let late = tokio::time::sleep(LAG);
        tokio::pin!(late);
        while !self.ends.has_all(list) {
            tokio::select! {
                next = self.journal.next() => match next? {
                    Some(happening) => self.ends.note(&happening),
                    None => break,
                },
                () = &mut late => break,
            }
        }
        let ends = std::mem::take(&mut self.ends.new);
        Ok(ends.iter().filter_map(|end| settle(end, list)).collect())
    }
}

impl Ends {
    fn note(&mut self, happening: &Happening) {
        match happening.action.as_str() {
            "die" => {
                let code = happening.attributes.get("exitCode");
                self.new.push(End {
                    id: happening.id.clone(),
                    code: code.and_then(|code| code.parse().ok()).unwrap_or(-1),
                    stopped: false,
                });
                let at = happening.time_ns / 1_000_000;
                self.last.insert(happening.id.clone(), at);
            }
            // Told right behind the end.
            "stop" => {
                let last = self.new.iter_mut().rfind(|end| end.id == happening.id);
                last.into_iter().for_each(|end| end.stopped = true);
            }
            _ => {}
        }
    }

    /// Nothing is seen of these that is not known.
    fn has_all(&self, list: &[Container]) -> bool {
        list.iter().all(|container| {
            let last = self.last.get(&container.id);
            container.finished_ms <= last.copied()
        })
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
        stopped: end.stopped,
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
        let mut ends = Ends::default();
        for (action, code) in [("start", ""), ("die", "3"), ("start", ""), ("die", "4")] {
            ends.note(&happening(action, code));
        }
        let list = [Container {
            id: "a".to_owned(),
            state: State::Running,
            ..Container::default()
        }];
        let codes = ends.new.iter().filter_map(|end| settle(end, &list));
        assert_eq!(codes.map(|end| end.code).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(settle(&ends.new[0], &[]), None, "it was replaced");
    }

    #[test]
    fn what_is_stopped_for_a_moment_has_not_ended() {
        let mut ends = Ends::default();
        ends.note(&happening("die", "143"));
        ends.note(&happening("stop", ""));
        let mut container = Container {
            id: "a".to_owned(),
            state: State::Exited,
            halted: true,
            ..Container::default()
        };
        let news = |container: &Container| settle(&ends.new[0], std::slice::from_ref(container));
        assert_eq!(news(&container), None);
        container.halted = false;
        assert!(news(&container).is_some());
        container.state = State::Running;
        assert_eq!(news(&container), None, "it was restarted");
    }

    #[test]
    fn what_is_seen_is_waited_for() {
        let mut container = Container {
            id: "a".to_owned(),
            ..Container::default()
        };
        let mut ends = Ends::default();
        let has =
            |ends: &Ends, container: &Container| ends.has_all(std::slice::from_ref(container));
        assert!(has(&ends, &container));
        container.finished_ms = Some(5);
        assert!(!has(&ends, &container));
        ends.note(&Happening {
            time_ns: 5_400_000,
            ..happening("die", "0")
        });
        assert!(has(&ends, &container));
    }
}
