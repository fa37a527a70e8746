//! From the model to the graph.

use petgraph::graph::NodeIndex;

use super::{Edge, Graph, Kind, Relation, Vertex};
use crate::tree::{Mapping, Node, Span};

/// Sections of the model whose entries are parts.
const SECTIONS: [(&str, Kind); 5] = [
    ("networks", Kind::Network),
    ("volumes", Kind::Volume),
    ("configs", Kind::Config),
    ("secrets", Kind::Secret),
    ("models", Kind::Model),
];

impl Graph {
    /// The graph of these services alone; dependencies that are not among them
    /// are left out.
    pub(crate) fn new(services: &Mapping) -> Self {
        let mut graph = Self::default();
        for (name, service) in services {
            graph.vertex(Kind::Service, name, text(service, "image"), service);
        }
        graph.dependencies(services);
        graph
    }

    /// The graph of a whole model; `project` names images that have no name.
    pub(crate) fn of(model: &Node, project: &str) -> Self {
        let empty = Mapping::new();
        let services = model
            .get("services")
            .and_then(Node::as_mapping)
            .unwrap_or(&empty);
        let mut graph = Self::new(services);
        for (section, kind) in SECTIONS {
            for (name, node) in entries(model.get(section)) {
                let at = graph.vertex(kind, name, text(node, "name"), node);
                graph.graph[at].external =
                    node.get("external").and_then(Node::as_bool) == Some(true);
            }
        }
        for (name, service) in services {
            graph.images(project, name, service);
        }
        for (name, service) in services {
            graph.resources(name, service);
            graph.build_resources(name, service);
        }
        graph
    }

    fn vertex(&mut self, kind: Kind, name: &str, detail: &str, node: &Node) -> NodeIndex {
        let key = (kind, name.to_owned());
        if let Some(known) = self.index.get(&key) {
            return *known;
        }
        let at = self.graph.add_node(Vertex {
            kind,
            name: name.to_owned(),
            detail: detail.to_owned(),
            external: false,
            span: node.place(),
        });
        self.index.insert(key, at);
        at
    }

    /// An edge between two parts that are there.
    fn edge(&mut self, from: (Kind, &str), to: (Kind, &str), relation: Relation, span: Span) {
        let find = |(kind, name): (Kind, &str)| self.index.get(&(kind, name.to_owned())).copied();
        if let (Some(from), Some(to)) = (find(from), find(to)) {
            self.graph.add_edge(from, to, Edge { relation, span });
        }
    }

    fn dependencies(&mut self, services: &Mapping) {
        for (name, service) in services {
            for (dependency, node) in entries(service.get("depends_on")) {
                let condition = match text(node, "condition") {
                    "" => "service_started",
                    condition => condition,
                };
                let relation = Relation::DependsOn {
                    condition: condition.to_owned(),
                    required: node.get("required").and_then(Node::as_bool) != Some(false),
                };
                let ends = (
                    (Kind::Service, name.as_str()),
                    (Kind::Service, dependency.as_str()),
                );
                self.edge(ends.0, ends.1, relation, node.place());
            }
        }
    }

    fn images(&mut self, project: &str, name: &str, service: &Node) {
        let build = service.get("build");
        let (image, node) = match (service.get("image"), build) {
            (Some(node), _) => (node.as_str().unwrap_or_default().to_owned(), node),
            (None, Some(node)) => (format!("{project}-{name}"), node),
            (None, None) => return,
        };
        self.vertex(Kind::Image, &image, "", node);
        self.edge(
            (Kind::Service, name),
            (Kind::Image, &image),
            Relation::Runs,
            node.place(),
        );
        if let Some(build) = build {
            self.vertex(Kind::Build, name, text(build, "context"), build);
            let ends = ((Kind::Image, image.as_str()), (Kind::Build, name));
            self.edge(ends.0, ends.1, Relation::BuiltBy, build.place());
        }
    }

    fn resources(&mut self, name: &str, service: &Node) {
        let from = (Kind::Service, name);
        for (network, node) in entries(service.get("networks")) {
            self.edge(
                from,
                (Kind::Network, network),
                Relation::Joins,
                node.place(),
            );
        }
        for (model, node) in entries(service.get("models")) {
            self.edge(from, (Kind::Model, model), Relation::Uses, node.place());
        }
        let lists = [
            ("volumes", Kind::Volume),
            ("configs", Kind::Config),
            ("secrets", Kind::Secret),
        ];
        for (list, kind) in lists {
            for mount in items(service.get(list)) {
                if kind == Kind::Volume && text(mount, "type") != "volume" {
                    continue;
                }
                let relation = Relation::Mounts {
                    target: text(mount, "target").to_owned(),
                    read_only: kind == Kind::Volume
                        && mount.get("read_only").and_then(Node::as_bool) == Some(true),
                };
                let span = mount.get("source").map_or(mount.place(), Node::value_place);
                self.edge(from, (kind, text(mount, "source")), relation, span);
            }
        }
    }

    fn build_resources(&mut self, name: &str, service: &Node) {
        let from = (Kind::Build, name);
        for secret in items(service.at(&["build", "secrets"])) {
            let to = (Kind::Secret, text(secret, "source"));
            self.edge(from, to, Relation::Uses, secret.place());
        }
        for (_, context) in entries(service.at(&["build", "additional_contexts"])) {
            if let Some(other) = context
                .as_str()
                .and_then(|text| text.strip_prefix("service:"))
            {
                self.edge(
                    from,
                    (Kind::Build, other),
                    Relation::BuildsOn,
                    context.place(),
                );
            }
        }
    }
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::as_str).unwrap_or_default()
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&String, &Node)> {
    node.and_then(Node::as_mapping).into_iter().flatten()
}

fn items(node: Option<&Node>) -> &[Node] {
    node.and_then(Node::as_sequence).unwrap_or_default()
}
