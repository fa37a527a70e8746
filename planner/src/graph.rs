//! What a stack consists of and what needs what: services, networks, volumes,
//! configs, secrets, models, images and builds. An edge goes to what must be
//! there first.

mod cycle;
mod dot;
mod json;
mod layout;
mod mermaid;
mod model;
mod svg;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

pub use tree::Line;

use crate::tree::Span;

/// The parts of a stack and their edges.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    graph: DiGraph<Vertex, Edge>,
    index: BTreeMap<(Kind, String), NodeIndex>,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A service.
    Service,
    /// An image, by its reference.
    Image,
    /// How an image is made, by the service that says so.
    Build,
    /// A network.
    Network,
    /// A named volume.
    Volume,
    /// A config.
    Config,
    /// A secret.
    Secret,
    /// An AI model.
    Model,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Image => "image",
            Self::Build => "build",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Config => "config",
            Self::Secret => "secret",
            Self::Model => "model",
        }
    }
}

/// One part of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// What it is.
    pub kind: Kind,
    /// Its key in the stack file; the reference of an image.
    pub name: String,
    /// What else identifies it: a service's image, a resource's full name, a
    /// build's context. Empty when there is nothing to say.
    pub detail: String,
    /// It is not made by this stack.
    pub external: bool,
    pub(crate) span: Span,
}

/// Why one part needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) relation: Relation,
    pub(crate) span: Span,
}

/// How one part needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A service waits for another.
    DependsOn {
        /// `service_started`, `service_healthy` or `service_completed_successfully`.
        condition: String,
        /// It cannot do without.
        required: bool,
    },
    /// A service runs an image.
    Runs,
    /// An image comes of a build.
    BuiltBy,
    /// A build starts from what another service is built to.
    BuildsOn,
    /// A service is on a network.
    Joins,
    /// A service sees a volume, config or secret at this path; empty when the
    /// file does not say where.
    Mounts {
        /// Path in the service.
        target: String,
        /// It cannot write there.
        read_only: bool,
    },
    /// A service is given a secret at build time, or a model.
    Uses,
}

impl Relation {
    /// A few words for an edge's label; empty when the ends say it all.
    pub fn label(&self) -> String {
        match self {
            Self::DependsOn {
                condition,
                required,
            } => {
                let when = match condition.as_str() {
                    "service_healthy" => "healthy",
                    "service_completed_successfully" => "completed",
                    _ => "started",
                };
                if *required {
                    when.to_owned()
                } else {
                    format!("{when}, optional")
                }
            }
            Self::Mounts { target, read_only } => match (target.as_str(), read_only) {
                ("", _) => String::new(),
                (target, true) => format!("{target} (ro)"),
                (target, false) => target.to_owned(),
            },
            Self::BuildsOn => "builds on".to_owned(),
            Self::Runs | Self::BuiltBy | Self::Joins | Self::Uses => String::new(),
        }
    }

    /// The word for the relation in the JSON form.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::DependsOn { .. } => "depends_on",
            Self::Runs => "runs",
            Self::BuiltBy => "built_by",
            Self::BuildsOn => "builds_on",
            Self::Joins => "joins",
            Self::Mounts { .. } => "mounts",
            Self::Uses => "uses",
        }
    }
}

/// How a service is, for showing it with the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// A few words, e.g. `running (healthy)`.
    pub text: String,
    /// How to see it.
    pub tone: Tone,
}

/// How a state is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is well.
    Good,
    /// On its way.
    Busy,
    /// It failed.
    Bad,
    /// It does not run, and that is no failure.
    Off,
}

/// States by service; services that are not in it have none.
pub type States = BTreeMap<String, State>;

impl Graph {
    /// The same graph with services only.
    #[must_use]
    pub fn services_only(&self) -> Self {
        let graph = self.graph.filter_map(
            |_, vertex| (vertex.kind == Kind::Service).then(|| vertex.clone()),
            |_, edge| Some(edge.clone()),
        );
        let index = graph
            .node_indices()
            .map(|at| ((graph[at].kind, graph[at].name.clone()), at))
            .collect();
        Self { graph, index }
    }

    /// All parts: services first, in the order of the model.
    pub fn vertices(&self) -> impl Iterator<Item = &Vertex> {
        self.graph.node_weights()
    }

    /// All edges: from, to, why.
    pub fn edges(&self) -> impl Iterator<Item = (&Vertex, &Vertex, &Relation)> {
        self.graph.edge_references().map(|edge| {
            let (from, to) = (&self.graph[edge.source()], &self.graph[edge.target()]);
            (from, to, &edge.weight().relation)
        })
    }
}
