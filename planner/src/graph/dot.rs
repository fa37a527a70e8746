//! The graph in the language of Graphviz.

use std::fmt::Write;

use super::{Graph, Kind, Relation, States, Tone};

impl Graph {
    /// A `digraph` with one node for each part.
    pub fn to_dot(&self, name: &str, states: &States) -> String {
        let mut out = format!("digraph {} {{\n", quoted(name));
        out.push_str("  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n");
        out.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
        for part in self.vertices() {
            let state = states
                .get(&part.name)
                .filter(|_| part.kind == Kind::Service);
            let mut label = vec![part.name.as_str()];
            if !part.detail.is_empty() && part.detail != part.name {
                label.push(&part.detail);
            }
            label.extend(state.map(|state| state.text.as_str()));
            let mut look = format!("shape={}", shape(part.kind));
            if let Some(colour) = state.map(|state| colour(state.tone)) {
                let _ = write!(look, ", color={colour}, penwidth=2");
            }
            if part.external {
                look.push_str(", style=dashed");
            }
            let _ = writeln!(
                out,
                "  {} [label={}, {look}];",
                id(part.kind, &part.name),
                quoted(&label.join("\n"))
            );
        }
        for (from, to, relation) in self.edges() {
            let mut look = Vec::new();
            let label = relation.label();
            if !label.is_empty() {
                look.push(format!("label={}", quoted(&label)));
            }
            if !matches!(relation, Relation::DependsOn { required: true, .. }) {
                look.push("style=dashed".to_owned());
            }
            let look = if look.is_empty() {
                String::new()
            } else {
                format!(" [{}]", look.join(", "))
            };
            let _ = writeln!(
                out,
                "  {} -> {}{look};",
                id(from.kind, &from.name),
                id(to.kind, &to.name)
            );
        }
        out.push_str("}\n");
        out
    }
}

fn id(kind: Kind, name: &str) -> String {
    quoted(&format!("{}:{name}", kind.word()))
}

fn shape(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "box",
        Kind::Image => "component",
        Kind::Build => "cds",
        Kind::Network => "ellipse",
        Kind::Volume => "cylinder",
        Kind::Config | Kind::Secret => "note",
        Kind::Model => "hexagon",
    }
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "green3",
        Tone::Busy => "deepskyblue3",
        Tone::Bad => "red3",
        Tone::Off => "gray60",
    }
}

/// A quoted string: in it only the quote and the backslash mean something, and
/// a line ends with `\n`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
