//! Circles among services and the way through them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::NodeIndex;
use petgraph::visit::{EdgeFiltered, EdgeRef};

use super::{Graph, Kind, Relation};
use crate::tree::Span;

impl Graph {
    /// A shortest circle of every group of services that depend on each other, in
    /// the order of the file. Each is a list of steps: a service, the place where it
    /// names the next, the next; it starts at its first place in the file.
    pub(crate) fn cycles(&self) -> Vec<Vec<(String, Span, String)>> {
        let dependencies = EdgeFiltered::from_fn(&self.graph, |edge| {
            matches!(edge.weight().relation, Relation::DependsOn { .. })
        });
        let mut found: Vec<_> = tarjan_scc(&dependencies)
            .into_iter()
            .filter_map(|group| self.cycle(*group.iter().min()?))
            .collect();
        found.sort_by_key(|steps| steps.first().map(|(_, span, _)| *span));
        found
    }

    /// A shortest way from `start` back to itself.
    fn cycle(&self, start: NodeIndex) -> Option<Vec<(String, Span, String)>> {
        let mut before: BTreeMap<NodeIndex, (NodeIndex, Span)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let mut edges: Vec<_> = self
                .graph
                .edges(at)
                .filter(|edge| matches!(edge.weight().relation, Relation::DependsOn { .. }))
                .map(|edge| (edge.target(), edge.weight().span))
                .collect();
            edges.sort();
            for (next, span) in edges {
                if next == start {
                    return Some(self.way_back(&before, at, span, start));
                }
                if let Entry::Vacant(slot) = before.entry(next) {
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
        let name = |index: NodeIndex| self.graph[index].name.clone();
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
            .filter_map(|name| self.index.get(&(Kind::Service, name.to_owned())))
            .copied()
            .collect();
        while let Some(at) = queue.pop() {
            if found.insert(self.graph[at].name.clone()) {
                let next = self.graph.neighbors(at);
                queue.extend(next.filter(|next| self.graph[*next].kind == Kind::Service));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::Report;
    use crate::graph::Graph;

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
