//! After a failed `up`: what the service that failed said last.

use std::collections::BTreeSet;

use stack_api::container::{Container, Health, State};
use stack_api::request::LogQuery;
use stack_api::spec::StackSpec;
use stack_planner::Project;

use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::{Error, is_service_failure};
use crate::ui::{self, human, palette, untrusted};

/// Lines of each culprit.
const LINES: u64 = 10;

/// Culprits of which lines are shown.
const MOST: usize = 3;

/// Shows the last lines of the containers to blame, if the error is of that
/// kind. What cannot be found out is left out: there is an error to show.
pub(super) async fn show_last_lines(
    context: &Context,
    client: &Client,
    spec: &StackSpec,
    project: &Project,
    error: &Error,
) {
    let Error::Api(api) = error else { return };
    if !is_service_failure(api) {
        return;
    }
    let list = containers(client, &spec.name).await.unwrap_or_default();
    let blamed = culprits(&list, &api.message);
    let places: BTreeSet<_> = blamed
        .iter()
        .filter_map(|container| project.service_line(&container.service))
        .collect();
    let places = places.into_iter().collect();
    context.global.annotate.failure(error, places);
    let spoke = blamed
        .into_iter()
        .filter(|container| !is_never_run(container));
    for container in spoke.take(MOST) {
        // Errors of this are less important than the one at hand.
        drop(show(context, client, container).await);
    }
}

/// The error with the place in the stack file where the addresses of a network are written
/// that has too few.
pub(super) fn located(error: Error, spec: &StackSpec, project: &Project) -> Error {
    let Error::Api(api) = &error else {
        return error;
    };
    let words = words(&api.message);
    let mut networks = spec.networks.iter();
    let full = networks.find(|(_, network)| words.contains(&network.name.as_str()));
    let place = full.and_then(|(key, _)| project.network_line(key));
    match (place, &api.help) {
        (Some((file, line)), Some(help)) if api.code == "network_full" => {
            let here = std::env::current_dir().unwrap_or_default();
            let file = file.strip_prefix(&here).unwrap_or(&file);
            let help = format!("{help}: {}:{line}", file.display());
            api.clone().help(help).into()
        }
        _ => error,
    }
}

/// What may be a name in a message.
fn words(message: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let words = message.split(|c| !is_word(c));
    words.map(|word| word.trim_end_matches('.')).collect()
}

/// The containers that the message names, else all that look like it.
fn culprits<'a>(list: &'a [Container], message: &str) -> Vec<&'a Container> {
    let words = words(message);
    let named: Vec<_> = list
        .iter()
        .filter(|c| words.contains(&c.name.as_str()))
        .collect();
    match named.as_slice() {
        [] => list
            .iter()
            .filter(|container| !container.one_off && is_to_blame(container))
            .collect(),
        _ => named,
    }
}

/// It ended badly, or its check does not pass.
fn is_to_blame(container: &Container) -> bool {
    match container.state {
        State::Dead | State::Restarting => true,
        State::Exited => container.exit_code != Some(0),
        State::Running => {
            matches!(container.health, Some(Health::Unhealthy | Health::Starting))
        }
        State::Created | State::Starting | State::Paused | State::Stopping => false,
    }
}

/// Its program was not reached: what is in its log is from another time.
fn is_never_run(container: &Container) -> bool {
    container.state == State::Created
        || container.exit_code == Some(128) && container.error.is_some()
}

async fn show(context: &Context, client: &Client, container: &Container) -> Result<(), Error> {
    let query = LogQuery {
        services: Some(container.name.clone()),
        tail: Some(LINES),
        ..LogQuery::default()
    };
    let mut lines = client.logs(&container.project, &query).await?;
    let paint = context.ui.err;
    let mut said = Vec::new();
    while let Some(line) = lines.next().await? {
        if line.container == container.name {
            said.push(untrusted::for_terminal(&line.line).into_owned());
        }
    }
    let name = paint.paint(palette::STRONG, &container.name);
    if said.is_empty() {
        ui::say(format_args!("{name} has written nothing."));
        return Ok(());
    }
    ui::say(format_args!(
        "{name}, last {}:",
        human::count(said.len(), "line")
    ));
    for line in said {
        ui::say(format_args!("{} {line}", paint.paint(palette::BAD, "│")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame() {
        let container = |state, exit_code, health| Container {
            state,
            exit_code,
            health,
            ..Container::default()
        };
        assert!(is_to_blame(&container(State::Exited, Some(1), None)));
        assert!(!is_to_blame(&container(State::Exited, Some(0), None)));
        assert!(is_to_blame(&container(
            State::Running,
            None,
            Some(Health::Unhealthy)
        )));
        assert!(!is_to_blame(&container(
            State::Running,
            None,
            Some(Health::Healthy)
        )));
        assert!(!is_to_blame(&container(State::Running, None, None)));
    }

    #[test]
    fn old_lines_are_not_shown_for_what_did_not_start() {
        let mut container = Container {
            state: State::Exited,
            exit_code: Some(128),
            ..Container::default()
        };
        assert!(!is_never_run(&container));
        container.error = Some("port 80 is already in use".to_owned());
        assert!(is_never_run(&container));
        // It still waits for another one.
        assert!(is_never_run(&Container::default()));
    }

    #[test]
    fn a_name_in_the_message_is_enough() {
        let named = |name: &str, exit_code| Container {
            name: name.to_owned(),
            state: State::Exited,
            exit_code: Some(exit_code),
            ..Container::default()
        };
        let list = [
            named("shop-db-1", 0),
            named("shop-db-11", 0),
            named("shop-web-1", 1),
        ];
        let names = |message| -> Vec<&str> {
            culprits(&list, message)
                .into_iter()
                .map(|c| c.name.as_str())
                .collect()
        };
        assert_eq!(names("dependency shop-db-1 is unhealthy"), ["shop-db-1"]);
        assert_eq!(names("not everything was ready within 5 s"), ["shop-web-1"]);
    }
}
