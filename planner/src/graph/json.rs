//! The graph as JSON.

use petgraph::visit::EdgeRef;
use serde_json::{Map, Value, json};

use super::{Graph, Kind, Relation, States};
use crate::diagnostic::Files;
use crate::tree::Span;

impl Graph {
    /// `nodes` and `edges`; each with `file` and `line` where the stack file
    /// says so.
    pub(crate) fn json(&self, name: &str, states: &States, files: &Files) -> Value {
        let mut lines = files.lines();
        let mut nodes = Vec::new();
        for part in self.vertices() {
            let mut node = Map::new();
            node.insert("id".to_owned(), id(part.kind, &part.name).into());
            node.insert("kind".to_owned(), part.kind.word().into());
            node.insert("name".to_owned(), part.name.as_str().into());
            if !part.detail.is_empty() {
                node.insert(
                    detail_key(part.kind).to_owned(),
                    part.detail.as_str().into(),
                );
            }
            if part.external {
                node.insert("external".to_owned(), true.into());
            }
            if let Some(state) = states
                .get(&part.name)
                .filter(|_| part.kind == Kind::Service)
            {
                node.insert("state".to_owned(), state.text.as_str().into());
            }
            place(&mut node, part.span, &mut lines);
            nodes.push(Value::Object(node));
        }
        let mut edges = Vec::new();
        for edge in self.graph.edge_references() {
            let (from, to) = (&self.graph[edge.source()], &self.graph[edge.target()]);
            let mut entry = Map::new();
            entry.insert("from".to_owned(), id(from.kind, &from.name).into());
            entry.insert("to".to_owned(), id(to.kind, &to.name).into());
            entry.insert("type".to_owned(), edge.weight().relation.word().into());
            match &edge.weight().relation {
                Relation::DependsOn {
                    condition,
                    required,
                } => {
                    entry.insert("condition".to_owned(), condition.as_str().into());
                    entry.insert("required".to_owned(), (*required).into());
                }
                Relation::Mounts { target, read_only } => {
                    if !target.is_empty() {
                        entry.insert("target".to_owned(), target.as_str().into());
                    }
                    entry.insert("read_only".to_owned(), (*read_only).into());
                }
                Relation::Runs
                | Relation::BuiltBy
                | Relation::BuildsOn
                | Relation::Joins
                | Relation::Uses => {}
            }
            place(&mut entry, edge.weight().span, &mut lines);
            edges.push(Value::Object(entry));
        }
        json!({"name": name, "nodes": nodes, "edges": edges})
    }
}

/// `kind:name`, unique in a graph.
fn id(kind: Kind, name: &str) -> String {
    format!("{}:{name}", kind.word())
}

fn detail_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "image",
        Kind::Build => "context",
        Kind::Image | Kind::Network | Kind::Volume | Kind::Config | Kind::Secret | Kind::Model => {
            "full_name"
        }
    }
}

fn place(entry: &mut Map<String, Value>, span: Span, lines: &mut crate::diagnostic::Lines<'_>) {
    if let Some((file, line)) = lines.place(span) {
        entry.insert("file".to_owned(), file.display().to_string().into());
        entry.insert("line".to_owned(), line.into());
    }
}
