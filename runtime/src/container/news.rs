//! What happened to a container, as the journal tells it: found by comparing
//! its record before and after a change.

use stack_api::container::{Health, State};
use stack_api::journal::Happening;

use super::Record;
use crate::time::now_ns;

/// What a change of the record says has happened, in Docker's words.
pub fn between(before: &Record, after: &Record) -> Vec<Happening> {
    let (old, new) = (&before.container, &after.container);
    let mut out = Vec::new();
    let mut tell = |action: &str, details: &[(&str, String)]| {
        out.push(happening(after, action, details));
    };
    if old.name != new.name {
        tell("rename", &[("oldName", old.name.clone())]);
    }
    if before.spec != after.spec {
        tell("update", &[]);
    }
    if new.started_ms.is_some() && old.started_ms != new.started_ms {
        tell("start", &[]);
    }
    match (old.state, new.state) {
        (State::Running, State::Paused) => tell("pause", &[]),
        (State::Paused, State::Running) => tell("unpause", &[]),
        _ => {}
    }
    if !old.oom && new.oom {
        tell("oom", &[]);
    }
    if old.health != new.health {
        match new.health {
            Some(Health::Healthy) => tell("health_status: healthy", &[]),
            Some(Health::Unhealthy) => tell("health_status: unhealthy", &[]),
            Some(Health::Starting) | None => {}
        }
    }
    let over = matches!(new.state, State::Exited | State::Dead | State::Restarting);
    if over && new.finished_ms.is_some() && old.finished_ms != new.finished_ms {
        let code = new.exit_code.unwrap_or(-1).to_string();
        let mut details = vec![("exitCode", code)];
        details.extend(new.error.clone().map(|error| ("error", error)));
        tell("die", &details);
        if old.state == State::Stopping && !before.wanted {
            tell("stop", &[]);
        }
    }
    out
}

/// One thing that happened to a container, now.
pub fn happening(record: &Record, action: &str, details: &[(&str, String)]) -> Happening {
    let container = &record.container;
    let mut attributes = container.labels.clone();
    attributes.insert("image".to_owned(), container.image.clone());
    attributes.insert("name".to_owned(), container.name.clone());
    for (key, value) in details {
        attributes.insert((*key).to_owned(), value.clone());
    }
    Happening {
        sequence: 0,
        time_ns: now_ns(),
        project: container.project.clone(),
        service: container.service.clone(),
        id: container.id.clone(),
        action: action.to_owned(),
        attributes,
    }
}
