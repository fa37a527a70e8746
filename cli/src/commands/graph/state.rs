//! How a service is, from how its containers are.

use std::collections::BTreeMap;

use anstyle::Style;
use stack_api::container::{Container, Health, State as Life};
use stack_planner::graph::{State, States, Tone};

use crate::ui::palette;

/// The colour of a tone.
pub(super) fn style(tone: Tone) -> Style {
    match tone {
        Tone::Good => palette::GOOD,
        Tone::Busy => palette::BUSY,
        Tone::Bad => palette::BAD,
        Tone::Off => palette::DIM,
    }
}

/// One state for each service: that of its container, or how many of them run
/// when they are not all alike.
pub(super) fn of(containers: &[Container]) -> States {
    let mut by_service: BTreeMap<&str, Vec<State>> = BTreeMap::new();
    for container in containers {
        let states = by_service.entry(&container.service).or_default();
        states.push(one(container));
    }
    by_service
        .into_iter()
        .map(|(service, states)| (service.to_owned(), together(states)))
        .collect()
}

fn together(mut states: Vec<State>) -> State {
    let count = states.len();
    let good = states
        .iter()
        .filter(|state| state.tone == Tone::Good)
        .count();
    let rank = |state: &State| match state.tone {
        Tone::Bad => 0,
        Tone::Busy => 1,
        Tone::Off => 2,
        Tone::Good => 3,
    };
    states.sort_by_key(rank);
    let worst = states.swap_remove(0);
    let text = match (count, good) {
        (1, _) => worst.text,
        (_, good) if good == count => format!("{count} × {}", worst.text),
        (_, good) => format!("{good}/{count} well, {}", worst.text),
    };
    State {
        text,
        tone: worst.tone,
    }
}

fn one(container: &Container) -> State {
    let code = container.exit_code;
    let (text, tone) = match (container.state, container.health) {
        (Life::Running, None) => ("running".to_owned(), Tone::Good),
        (Life::Running, Some(Health::Healthy)) => ("running (healthy)".to_owned(), Tone::Good),
        (Life::Running, Some(Health::Starting)) => {
            ("running (health: starting)".to_owned(), Tone::Busy)
        }
        (Life::Running, Some(Health::Unhealthy)) => ("running (unhealthy)".to_owned(), Tone::Bad),
        (Life::Exited, _) => match code {
            Some(0) => ("completed".to_owned(), Tone::Off),
            Some(code) => (format!("exited ({code})"), Tone::Bad),
            None => ("exited".to_owned(), Tone::Off),
        },
        (state @ Life::Dead, _) => (state.as_str().to_owned(), Tone::Bad),
        (state @ (Life::Created | Life::Paused), _) => (state.as_str().to_owned(), Tone::Off),
        (state @ (Life::Starting | Life::Restarting | Life::Stopping), _) => {
            (state.as_str().to_owned(), Tone::Busy)
        }
    };
    State { text, tone }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_counted() {
        let container = |number: u32, state: Life| Container {
            service: "web".to_owned(),
            number,
            state,
            exit_code: (state == Life::Exited).then_some(1),
            ..Container::default()
        };
        let up = [container(1, Life::Running), container(2, Life::Running)];
        assert_eq!(of(&up)["web"].text, "2 × running");
        let mixed = [container(1, Life::Running), container(2, Life::Exited)];
        let state = &of(&mixed)["web"];
        assert_eq!(
            (state.text.as_str(), state.tone),
            ("1/2 well, exited (1)", Tone::Bad)
        );
    }
}
