//! Scenario scripts with golden output: stack files, what `plan` says of
//! them, and what becomes of a stack.
//!
//! A script is a text file in `scripts`. A line `> COMMAND` is a command,
//! lines below it that begin with two spaces are its input, and the rest is
//! its output. The test runs all commands and compares the whole text;
//! `UPDATE_SCRIPTS=1` writes it instead.
//!
//! | command | what it does |
//! |---|---|
//! | `stack` | takes the input as the stack file |
//! | `plan` | shows what `up` would do |
//! | `up` | does it |
//! | `stop SERVICE` | stops the containers of a service |
//! | `fail TEXT` | the next VM does not start |
//! | `rollback [N]` | goes back |
//! | `history` | lists the definitions that were reached |
//! | `ps` | lists containers |

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use stack_api::event::ApiError;
use stack_api::request::{Action, Verb};
use stack_api::spec::StackSpec;
use stack_planner::plan::{Plan, Reason};
use stack_planner::{LoadOptions, MemorySource, Project};

use crate::world::World;

const FILE: &str = "/shop/stack.yaml";

struct Run {
    world: World,
    file: Option<(StackSpec, Project)>,
}

impl Run {
    async fn command(&mut self, command: &str, input: &str) -> String {
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        let file = || self.file.as_ref().expect("`> stack` comes first");
        match verb {
            "stack" => {
                self.file = Some(load(input));
                String::new()
            }
            "plan" => {
                let (spec, project) = file();
                let mut plan = self.world.whole_plan(spec);
                plan.locate(project);
                shown(&plan)
            }
            "up" => outcome(self.world.up(&file().0).await),
            "stop" => {
                let request = Action {
                    verb: Verb::Stop,
                    services: vec![argument.to_owned()],
                    ..Action::default()
                };
                outcome(self.world.act(request).await)
            }
            "fail" => {
                self.world.fake().fail_next_start(argument);
                String::new()
            }
            "rollback" => outcome(self.world.rollback(argument.parse().ok()).await),
            "history" => lines(self.world.history()),
            "ps" => lines(self.world.containers().into_iter().map(|container| {
                let state = container.state.as_str();
                format!("{} {state}", container.name)
            })),
            other => panic!("no such command: {other}"),
        }
    }
}

fn load(text: &str) -> (StackSpec, Project) {
    let source = MemorySource::new().with(FILE, text);
    let options = LoadOptions::new(vec![PathBuf::from(FILE)], PathBuf::from("/shop"));
    let loaded = stack_planner::load(&source, &options);
    let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let project = loaded.project.unwrap();
    (project.spec().unwrap(), project)
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

fn outcome(result: Result<(), ApiError>) -> String {
    match result {
        Ok(()) => "done\n".to_owned(),
        Err(error) => format!("failed: {error}\n"),
    }
}

fn shown(plan: &Plan) -> String {
    let mut out = String::new();
    for (n, step) in plan.steps.iter().enumerate() {
        let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
        let after = if after.is_empty() {
            String::new()
        } else {
            format!(" (after {})", after.join(", "))
        };
        writeln!(out, "{n} {step}{after}").unwrap();
        let Reason::Changed { changes } = &step.reason else {
            continue;
        };
        // The steps that follow from a change have the same reason.
        if matches!(step.action.verb(), "start" | "switch") {
            continue;
        }
        for change in changes {
            let value = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
            let (from, to) = (value(&change.from), value(&change.to));
            write!(out, ". {}: {from} → {to}", change.attribute).unwrap();
            if let Some(place) = &change.place {
                write!(out, " [{place}]").unwrap();
            }
            out.push('\n');
        }
    }
    for note in &plan.notes {
        writeln!(out, "note: {note}").unwrap();
    }
    if !plan.unchanged.is_empty() {
        writeln!(out, "unchanged: {}", plan.unchanged.join(", ")).unwrap();
    }
    out
}

/// Runs a script; gives it with the output that there was.
async fn run(script: &str) -> String {
    let mut out = String::new();
    let mut run = Run {
        world: World::new().await,
        file: None,
    };
    let mut left = script.lines().peekable();
    while let Some(line) = left.next() {
        let Some(command) = line.strip_prefix("> ") else {
            if line.starts_with('#') || line.is_empty() {
                writeln!(out, "{line}").unwrap();
            }
            continue;
        };
        writeln!(out, "{line}").unwrap();
        let mut input = String::new();
        while let Some(line) = left.next_if(|line| line.starts_with("  ")) {
            writeln!(out, "{line}").unwrap();
            input.push_str(&line[2..]);
            input.push('\n');
        }
        out.push_str(&run.command(command, &input).await);
    }
    out
}

async fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenario/scripts")
        .join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let now = run(&script).await;
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(&path, now).unwrap();
    } else {
        assert_eq!(now, script, "{name}: UPDATE_SCRIPTS=1 accepts what is now");
    }
}

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            check(concat!(stringify!($name), ".txt")).await;
        }
    )*};
}

scripts! { changes_in_place what_is_made_anew replaced_one_by_one there_and_back }

#[test]
fn every_script_is_run() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario/scripts");
    let this = include_str!("script.rs");
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".txt").unwrap();
        assert!(this.contains(name), "{name} is not in the list");
    }
}
