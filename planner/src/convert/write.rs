//! Commands to the text of a stack file, with comments where something needs
//! attention.

use std::collections::BTreeMap;

use super::command_lines::{Command, DOLLAR};
use super::service::Service;
use super::{ConvertError, Converted, resources};
use crate::diagnostic::codes;
use crate::schema::sort_service;
use crate::tree::{Mapping, Node, Span};
use crate::yaml::emit;
use crate::{LoadOptions, MemorySource, load};

/// Programs that take the same flags.
const PROGRAMS: [&str; 4] = ["docker", "podman", "nerdctl", "finch"];
/// Services at most.
const MAX_SERVICES: usize = 1000;

/// The word names one of the programs.
pub(super) fn is_program(word: &str) -> bool {
    PROGRAMS.contains(&word.rsplit('/').next().unwrap_or(word))
}

#[derive(Default)]
struct Stack {
    services: Vec<Service>,
    networks: Mapping,
    volumes: Mapping,
    notes: Vec<String>,
}

pub(super) fn stack_file(commands: Vec<Command>) -> Result<Converted, ConvertError> {
    let mut stack = Stack::default();
    for command in &commands {
        stack.command(command)?;
    }
    if stack.services.is_empty() {
        let shown = "there is no `docker run IMAGE` in it".to_owned();
        return Err(ConvertError(match stack.notes.first() {
            Some(note) => format!("{shown}: {note}"),
            None => shown,
        }));
    }
    stack.complete();
    let text = stack.text();
    let mut notes = std::mem::take(&mut stack.notes);
    for service in &stack.services {
        notes.extend(
            service
                .notes
                .iter()
                .map(|note| format!("{}: {note}", service.name)),
        );
    }
    let (text, more) = checked(&text);
    notes.extend(more);
    let notes = notes.iter().map(|note| shown(note)).collect();
    Ok(Converted { text, notes })
}

impl Stack {
    fn command(&mut self, command: &Command) -> Result<(), ConvertError> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        // `sudo`, and variables for the command, may stand in front.
        let program = words.iter().position(|word| is_program(word));
        let at = program.filter(|at| {
            words[..*at]
                .iter()
                .all(|word| *word == "sudo" || word.contains('='))
        });
        let Some(at) = at else {
            self.notes.push(format!(
                "line {}: `{}` was passed over",
                command.line,
                short(&words)
            ));
            return Ok(());
        };
        let after = &words[at + 1..];
        let after = after.strip_prefix(&["container"]).unwrap_or(after);
        let rest = |count: usize| &command.words[words.len() - after.len() + count..];
        match after {
            ["run" | "create", ..] => {
                if self.services.len() >= MAX_SERVICES {
                    return Err(ConvertError(format!(
                        "there are more than {MAX_SERVICES} containers"
                    )));
                }
                let Some(service) = Service::new(rest(1)) else {
                    return Err(ConvertError(format!(
                        "line {}: the image is missing",
                        command.line
                    )));
                };
                self.services.push(service);
            }
            [word @ ("network" | "volume"), "create", ..] => {
                let (kind, entries) = match *word {
                    "network" => ("networks", &mut self.networks),
                    _ => ("volumes", &mut self.volumes),
                };
                if let Some((name, about, notes)) = resources::create(kind, rest(2)) {
                    entries.insert(name.clone(), node(about));
                    self.notes
                        .extend(notes.into_iter().map(|note| format!("{name}: {note}")));
                }
            }
            _ => self.notes.push(format!(
                "line {}: `{}` was passed over",
                command.line,
                short(&words)
            )),
        }
        Ok(())
    }

    /// Names that are free, resources that are used, attributes in order.
    fn complete(&mut self) {
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for service in &mut self.services {
            let count = taken.entry(service.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                service.name = format!("{}-{count}", service.name);
            }
            service.settle_networks();
            sort_service(&mut service.entries);
            // What a reader looks for first.
            if let Some(image) = service.entries.get_index_of("image") {
                service.entries.move_index(image, 0);
            }
            for (names, section) in [
                (&service.networks, &mut self.networks),
                (&service.volumes, &mut self.volumes),
            ] {
                for name in names {
                    section
                        .entry(name.clone())
                        .or_insert_with(|| Node::null(Span::NONE));
                }
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            out.push_str(&comment(0, note));
        }
        out.push_str("services:\n");
        for (i, service) in self.services.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            let name = emit::to_yaml(
                &node(Mapping::from([(
                    service.name.clone(),
                    node(Mapping::new()),
                )])),
                false,
            );
            out.push_str(&format!("  {}\n", name.trim_end().trim_end_matches(" {}")));
            for note in &service.notes {
                out.push_str(&comment(4, note));
            }
            let body = emit::to_yaml(&node(service.entries.clone()), false);
            for line in body.lines() {
                if !line.is_empty() {
                    out.push_str("    ");
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        for (key, entries) in [("networks", &self.networks), ("volumes", &self.volumes)] {
            if !entries.is_empty() {
                let section = Mapping::from([(key.to_owned(), node(entries.clone()))]);
                out.push('\n');
                // An empty entry is written as a key alone.
                let text = emit::to_yaml(&node(section), false);
                out.push_str(&text.replace(": null\n", ":\n").replace(": {}\n", ":\n"));
            }
        }
        out
    }
}

/// The text with a comment above each line that the planner has something to
/// say about, and those comments.
fn checked(text: &str) -> (String, Vec<String>) {
    let path = "/stack/stack.yaml";
    let source = MemorySource::new().with(path, text);
    let mut options = LoadOptions::new(vec![path.into()], "/stack".into());
    options.resolve_environment = false;
    let loaded = load(&source, &options);
    let mut found = loaded.diagnostics;
    if let Some(Err(more)) = loaded.project.map(|project| project.spec()) {
        found.extend(more);
    }
    let mut by_line: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for diagnostic in found {
        // Variables are set where the file is used.
        if diagnostic.code == codes::UNSET_VARIABLE {
            continue;
        }
        let at = diagnostic
            .labels
            .first()
            .map_or(0, |label| label.span.start);
        let line = text.get(..at).unwrap_or_default().matches('\n').count();
        let notes = by_line.entry(line).or_default();
        let note = format!("{} ({})", diagnostic.message, diagnostic.code);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        for note in by_line.get(&i).into_iter().flatten() {
            out.push_str(&comment(indent, note));
        }
        out.push_str(line);
        out.push('\n');
    }
    (out, by_line.into_values().flatten().collect())
}

fn node(entries: Mapping) -> Node {
    Node::mapping(entries, Span::NONE)
}

fn comment(indent: usize, text: &str) -> String {
    format!("{}# attention: {}\n", " ".repeat(indent), shown(text))
}

/// Text of the user in one line.
fn shown(text: &str) -> String {
    let text = text.replace(DOLLAR, "$");
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The first words of a command.
fn short(words: &[&str]) -> String {
    let text = words.iter().take(4).copied().collect::<Vec<_>>().join(" ");
    text.chars().take(60).collect()
}
