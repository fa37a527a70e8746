//! The graph as a Mermaid flowchart, as Markdown viewers draw it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, Kind, Relation, States, Tone};

impl Graph {
    /// A `flowchart` with one node for each part.
    pub fn to_mermaid(&self, states: &States) -> String {
        let mut out = String::from("flowchart LR\n");
        // Names may be anything, so nodes are numbered.
        let mut ids = BTreeMap::new();
        let mut toned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (i, part) in self.vertices().enumerate() {
            let id = format!("n{i}");
            let state = states
                .get(&part.name)
                .filter(|_| part.kind == Kind::Service);
            let mut label = escaped(&part.name);
            if !part.detail.is_empty() && part.detail != part.name {
                let _ = write!(label, "<br>{}", escaped(&part.detail));
            }
            if let Some(state) = state {
                let _ = write!(label, "<br>{}", escaped(&state.text));
                toned.entry(class(state.tone)).or_default().push(id.clone());
            }
            let (open, close) = brackets(part.kind);
            let _ = writeln!(out, "  {id}{open}\"{label}\"{close}");
            ids.insert((part.kind, part.name.as_str()), id);
        }
        for (from, to, relation) in self.edges() {
            let arrow = match relation {
                Relation::DependsOn { required: true, .. } => "-->",
                _ => "-.->",
            };
            let label = match relation.label() {
                label if label.is_empty() => String::new(),
                label => format!("|\"{}\"|", escaped(&label)),
            };
            let ends = (
                ids.get(&(from.kind, from.name.as_str())),
                ids.get(&(to.kind, to.name.as_str())),
            );
            if let (Some(from), Some(to)) = ends {
                let _ = writeln!(out, "  {from} {arrow}{label} {to}");
            }
        }
        for (class, nodes) in toned {
            let _ = writeln!(out, "  classDef {class} {}", look(class));
            let _ = writeln!(out, "  class {} {class}", nodes.join(","));
        }
        out
    }
}

fn brackets(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Service => ("[", "]"),
        Kind::Image => ("[[", "]]"),
        Kind::Build => (">", "]"),
        Kind::Network => ("([", "])"),
        Kind::Volume => ("[(", ")]"),
        Kind::Config | Kind::Secret => ("[/", "/]"),
        Kind::Model => ("{{", "}}"),
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Bad => "bad",
        Tone::Off => "off",
    }
}

fn look(class: &str) -> &'static str {
    match class {
        "good" => "stroke:#2e9e44,stroke-width:3px",
        "busy" => "stroke:#1f8fcf,stroke-width:3px",
        "bad" => "stroke:#d03030,stroke-width:3px",
        _ => "stroke:#999999,stroke-dasharray:4",
    }
}

/// Text without anything that Mermaid or HTML could take for its own.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " ._-/:@,+()".contains(c) => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}
