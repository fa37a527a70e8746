//! The graph as a tree for a terminal: who depends on whom, each service's
//! resources below it.

use std::collections::{BTreeSet, VecDeque};

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{Graph, Kind, Relation, Vertex};

/// Levels at most; what is deeper starts again at the left.
const DEEPEST: usize = 24;

/// One line of the tree.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// What stands in front: for each level whether more comes on it; the last
    /// entry is this line's own level.
    pub levels: Vec<bool>,
    /// The part.
    pub part: &'a Vertex,
    /// How the line above needs it; `None` at the top.
    pub relation: Option<&'a Relation>,
    /// What is below it is shown elsewhere.
    pub again: bool,
}

impl Line<'_> {
    /// `│   ├── ` in front of the line, in ASCII when asked.
    pub fn guide(&self, ascii: bool) -> String {
        let marks = if ascii {
            ["|   ", "    ", "|-- ", "`-- "]
        } else {
            ["│   ", "    ", "├── ", "└── "]
        };
        let Some((own, above)) = self.levels.split_last() else {
            return String::new();
        };
        let mut out: String = above.iter().map(|more| marks[usize::from(!more)]).collect();
        out.push_str(marks[2 + usize::from(!own)]);
        out
    }
}

impl Graph {
    /// The lines: services that nobody needs first, each service's own parts
    /// before what it depends on. A service is unfolded once. Resources that
    /// no service uses come last.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let mut roots: VecDeque<NodeIndex> = self
            .graph
            .node_indices()
            .filter(|at| self.is_top(*at))
            .collect();
        let mut unfolded = BTreeSet::new();
        let mut lines = Vec::new();
        while let Some(root) = roots.pop_front() {
            if unfolded.contains(&root) {
                continue;
            }
            let mut stack = vec![(root, None, Vec::new())];
            while let Some((at, relation, mut levels)) = stack.pop() {
                let deep = levels.len() >= DEEPEST;
                let again = self.has_children(at) && (deep || unfolded.contains(&at));
                if deep && again {
                    roots.push_back(at);
                }
                if !again {
                    unfolded.insert(at);
                    let mut below = self.children(at);
                    below.reverse();
                    for (i, (child, relation)) in below.into_iter().enumerate() {
                        let mut inner = levels.clone();
                        inner.push(i > 0);
                        stack.push((child, Some(relation), inner));
                    }
                }
                levels.insert(0, true);
                lines.push(Line {
                    levels,
                    part: &self.graph[at],
                    relation,
                    again,
                });
            }
        }
        close(&mut lines);
        lines
    }

    /// Nobody needs it, or it is in a circle without an end.
    fn is_top(&self, at: NodeIndex) -> bool {
        self.graph
            .neighbors_directed(at, Direction::Incoming)
            .next()
            .is_none()
    }

    fn has_children(&self, at: NodeIndex) -> bool {
        self.graph.neighbors(at).next().is_some()
    }

    fn children(&self, at: NodeIndex) -> Vec<(NodeIndex, &Relation)> {
        let edges = self.graph.edges(at);
        let mut found: Vec<_> = edges
            .map(|edge| (edge.target(), &edge.weight().relation))
            .collect();
        let rank = |at: NodeIndex| {
            let part = &self.graph[at];
            (part.kind == Kind::Service, part.kind, at)
        };
        found.sort_by_key(|(at, _)| rank(*at));
        found
    }
}

/// The last root has nothing below it on the first level.
fn close(lines: &mut [Line<'_>]) {
    let Some(last) = lines.iter().rposition(|line| line.levels.len() == 1) else {
        return;
    };
    for line in &mut lines[last..] {
        line.levels[0] = false;
    }
}
