//! Who depends on whom.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::tree::{Mapping, Node, Span};

/// Services and their dependencies; an edge goes to what must run first.
pub(crate) struct Graph {
    graph: DiGraph<String, Span>,
    index: BTreeMap<String, NodeIndex>,
}

impl Graph {
    /// The graph of these services; dependencies that are not among them are left out.
    pub(crate) fn new(services: &Mapping) -> Self {
        let mut graph = DiGraph::new();
        let index: BTreeMap<_, _> = services
            .keys()
            .map(|name| (name.clone(), graph.add_node(name.clone())))
            .collect();
        for (name, service) in services {
            for (dependency, node) in service
                .get("depends_on")
                .and_then(Node::as_mapping)
                .into_iter()
                .flatten()
            {
                if let (Some(from), Some(to)) = (index.get(name), index.get(dependency)) {
                    graph.add_edge(*from, *to, node.place());
                }
            }
        }
        Self { graph, index }
    }

    /// A shortest circle of every group of services that depend on each other, in
    /// the order of the file. Each is a list of steps: a service, the place where it
    /// names the next, the next; it starts at its first place in the file.
    pub(crate) fn cycles(&self) -> Vec<Vec<(String, Span, String)>> {
        let mut found: Vec<_> = tarjan_scc(&self.graph)
            .into_iter()
            .filter_map(|group| self.cycle(*group.iter().min()?))
            .collect();
        found.sort_by_key(|steps| steps.first().map(|(_, span, _)| *span));
        found
    }

    /// A shortest way from `start` back to itself.
    fn cycle(&self, start: NodeIndex) -> Option<Vec<(String, Span, String)>> {
        let mut before: BTreeMap<NodeIndex, (NodeIndex, Span)> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let mut edges: Vec<_> = self
                .graph
                .edges(at)
                .map(|edge| (petgraph::visit::EdgeRef::target(&edge), *edge.weight()))
                .collect();
            edges.sort();
            for (next, span) in edges {
                if next == start {
                    return Some(self.way_back(&before, at, span, start));
                }
                if let std::collections::btree_map::Entry::Vacant(slot) = before.entry(next) {
                    slot.insert((at, span));
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn way_back(
        &self,
        before: &BTreeMap<NodeIndex, (NodeIndex, Span)>,
        last: NodeIndex,
        closing: Span,
        start: NodeIndex,
    ) -> Vec<(String, Span, String)> {
        let name = |index: NodeIndex| self.graph[index].clone();
        let mut steps = vec![(name(last), closing, name(start))];
        let mut at = last;
        while let Some((earlier, span)) = before.get(&at).filter(|_| at != start) {
            steps.push((name(*earlier), *span, name(at)));
            at = *earlier;
        }
        steps.reverse();
        let first = steps
            .iter()
            .enumerate()
            .min_by_key(|(_, (_, span, _))| *span)
            .map_or(0, |(i, _)| i);
        steps.rotate_left(first);
        steps
    }

    /// These services and everything they depend on.
    pub(crate) fn with_dependencies<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut queue: Vec<NodeIndex> = names
            .into_iter()
            .filter_map(|name| self.index.get(name))
            .copied()
            .collect();
        while let Some(at) = queue.pop() {
            if found.insert(self.graph[at].clone()) {
                queue.extend(self.graph.neighbors(at));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;
    use crate::diagnostic::Report;

    fn graph(text: &str) -> Graph {
        let mut report = Report::default();
        let document =
            crate::yaml::parse(text, 0, &mut crate::budget::Budget::default(), &mut report)
                .unwrap()
                .remove(0);
        Graph::new(document.as_mapping().unwrap())
    }

    #[test]
    fn a_circle_is_a_path() {
        let found =
            graph("a: {depends_on: {b: {}}}\nb: {depends_on: {c: {}}}\nc: {depends_on: {b: {}}}\n");
        let steps = found.cycles().remove(0);
        let names: Vec<_> = steps
            .iter()
            .map(|(from, _, to)| format!("{from}→{to}"))
            .collect();
        assert!(
            names == ["b→c", "c→b"] || names == ["c→b", "b→c"],
            "{names:?}"
        );
        assert_eq!(graph("a: {depends_on: {a: {}}}").cycles().len(), 1);
        let two = "a: {depends_on: {b: {}}}\nb: {depends_on: {a: {}}}\nc: {depends_on: {c: {}}}";
        assert_eq!(graph(two).cycles().len(), 2);
        assert!(
            graph("a: {depends_on: {b: {}, zz: {}}}\nb: {}")
                .cycles()
                .is_empty()
        );
    }

    #[test]
    fn dependencies_are_followed() {
        let graph = graph("a: {depends_on: {b: {}}}\nb: {depends_on: {c: {}}}\nc: {}\nd: {}");
        assert_eq!(
            graph
                .with_dependencies(["a"])
                .into_iter()
                .collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
    }
}
