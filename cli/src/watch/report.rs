//! One line for each thing that watching did, to standard error.

use std::time::Instant;

use stack_planner::{Rule, WatchAction, WatchExec};
use stack_protocol::sync::Outcome;
use stack_sync::Change;

use super::batch::Batch;
use crate::error::Error;
use crate::ui::{self, Ui, human, palette, untrusted};

/// Names that a line shows.
const NAMES: usize = 3;

/// Files were copied: how many, where to, which, how long it took.
pub(super) fn copied(ui: Ui, rule: &Rule, batch: &Batch, outcome: &Outcome, quiet: bool) {
    let target = rule.target.as_deref().unwrap_or("/");
    for path in &outcome.conflicts {
        ui.warn(format_args!(
            "{}: {} had been changed in the container, and was overwritten",
            rule.service,
            untrusted::plain(&join(target, path)),
        ));
    }
    for (path, why) in &outcome.failures {
        ui.warn(format_args!(
            "{}: cannot write {}: {}",
            rule.service,
            untrusted::plain(&join(target, path)),
            untrusted::plain(why),
        ));
    }
    let nothing = outcome.written + outcome.removed == 0;
    let to_tell = batch.initial && !batch.changes.is_empty() && outcome.failures.is_empty();
    if quiet || nothing && !to_tell {
        return;
    }
    let mut counts = Vec::new();
    if outcome.written > 0 {
        counts.push(format!("{} written", outcome.written));
    }
    if outcome.removed > 0 {
        counts.push(format!("{} removed", outcome.removed));
    }
    if nothing {
        counts.push("in sync".to_owned());
    }
    let paint = ui.err;
    line(
        ui,
        &rule.service,
        if batch.initial {
            "initial sync"
        } else {
            "sync"
        },
        &format!(
            "{} in {target}{}",
            counts.join(", "),
            paint.paint(palette::DIM, names(&batch.changes, batch.initial)),
        ),
        batch.began,
    );
}

/// A service was restarted, or not.
pub(super) fn restarted(
    (ui, quiet): (Ui, bool),
    service: &str,
    action: WatchAction,
    changes: &[Change],
    began: Instant,
    result: Result<(), Error>,
) {
    let done = match action {
        WatchAction::Rebuild => "rebuilt",
        WatchAction::Sync
        | WatchAction::SyncRestart
        | WatchAction::SyncExec
        | WatchAction::Restart => "restarted",
    };
    match result {
        Ok(()) if quiet => {}
        Ok(()) => {
            let names = ui.err.paint(palette::DIM, names(changes, false));
            line(
                ui,
                service,
                &action.to_string(),
                &format!("{done}{names}"),
                began,
            );
        }
        Err(error) => ui.warn(format_args!("{service}: not {done}: {error}")),
    }
}

/// A line that a command wrote.
pub(super) fn output(ui: Ui, service: &str, text: &str) {
    ui::say(format_args!(
        "{} {} {}",
        ui.err.paint(palette::BUSY, service),
        ui.err.paint(palette::DIM, "|"),
        untrusted::for_terminal(text)
    ));
}

/// A command has ended with this code.
pub(super) fn command(
    (ui, quiet): (Ui, bool),
    service: &str,
    exec: &WatchExec,
    code: i32,
    began: Instant,
) {
    let command = exec.command.join(" ");
    match code {
        0 if quiet => {}
        0 => line(ui, service, "exec", &command, began),
        code => ui.warn(format_args!("{service}: `{command}` ended with {code}")),
    }
}

/// A command has not ended for some time.
pub(super) fn still_runs(ui: Ui, service: &str, exec: &WatchExec) {
    let command = exec.command.join(" ");
    ui.note(format_args!(
        "{service}: `{command}` still runs; files are copied, other commands wait for its end"
    ));
}

/// A command could not be run.
pub(super) fn command_failed(ui: Ui, service: &str, exec: &WatchExec, error: &Error) {
    let command = exec.command.join(" ");
    ui.warn(format_args!("{service}: `{command}` was not run: {error}"));
}

/// Files could not be written, so what was to follow did not.
pub(super) fn held_back(ui: Ui, service: &str, action: WatchAction) {
    let what = match action {
        WatchAction::SyncExec => "its command was not run",
        WatchAction::Sync
        | WatchAction::SyncRestart
        | WatchAction::Restart
        | WatchAction::Rebuild => "not restarted",
    };
    ui.warn(format_args!(
        "{service}: {what}, for not all files were written; the next change tries them again"
    ));
}

/// Changes wait for a container.
pub(super) fn waiting(ui: Ui, service: &str, error: &Error, changes: usize) {
    ui.warn(format_args!(
        "{service}: {} until it runs again ({error})",
        match changes {
            1 => "1 change waits".to_owned(),
            n => format!("{n} changes wait"),
        }
    ));
}

fn line(ui: Ui, service: &str, action: &str, what: &str, began: Instant) {
    let took = match began.elapsed().as_millis() {
        ms @ ..1000 => format!("{ms} ms"),
        ms => human::took(u64::try_from(ms).unwrap_or(u64::MAX)),
    };
    ui::say(format_args!(
        "{} {} {what} {}",
        ui.err.paint(palette::BUSY, service),
        ui.err.paint(palette::GOOD, action),
        ui.err.paint(palette::DIM, format_args!("({took})")),
    ));
}

fn names(changes: &[Change], initial: bool) -> String {
    if initial || changes.is_empty() {
        return String::new();
    }
    let named = changes.iter().filter(|change| !change.path.is_empty());
    let mut names: Vec<String> = named
        .take(NAMES)
        .map(|change| untrusted::plain(&change.path))
        .collect();
    if changes.len() > NAMES {
        names.push("…".to_owned());
    }
    match names.is_empty() {
        true => String::new(),
        false => format!(": {}", names.join(", ")),
    }
}

fn join(target: &str, path: &str) -> String {
    match path {
        "" => target.to_owned(),
        path => format!("{}/{path}", target.trim_end_matches('/')),
    }
}
