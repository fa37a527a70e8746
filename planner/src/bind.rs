//! The canonical model: every value in the one form in which it is printed,
//! attributes in their order, what is empty left out.

mod command;
mod pairs;
pub(crate) mod quantity;

use crate::diagnostic::{Problem, Report, codes};
use crate::schema::{Kind, Object, Pairs, ROOT};
use crate::tree::{Mapping, Node, Path, Span, Value};
use crate::yaml::emit::natural_order;

/// The model of a whole file.
pub(crate) fn bind(root: Node, report: &mut Report) -> Node {
    let mut binder = Binder {
        report,
        path: Path::default(),
    };
    let (span, key) = (root.span, root.key);
    let entries = match root.value {
        Value::Mapping(entries) => binder.object(entries, &ROOT),
        _ => Mapping::new(),
    };
    Node {
        key,
        ..Node::mapping(entries, span)
    }
}

struct Binder<'a> {
    report: &'a mut Report,
    path: Path,
}

impl Binder<'_> {
    fn object(&mut self, mut entries: Mapping, object: &Object) -> Mapping {
        let mut out = Mapping::with_capacity(entries.len());
        // In the order of the fields; there are many more of them than entries.
        let mut known: Vec<(usize, Node)> = Vec::with_capacity(entries.len());
        entries.retain(|key, node| match object.rank(key) {
            Some(rank) => {
                known.push((rank, std::mem::replace(node, Node::null(Span::NONE))));
                false
            }
            None => true,
        });
        known.sort_by_key(|(rank, _)| *rank);
        for (rank, node) in known {
            let field = &object.fields[rank];
            self.path.push_key(field.name);
            // What must be there stays, even when it is empty.
            let written = field
                .required
                .then(|| node.clone())
                .filter(|node| !node.is_null());
            if let Some(bound) = self.node(node, &field.kind).or(written) {
                out.insert(field.name.to_owned(), bound);
            }
            self.path.pop();
        }
        let mut extensions: Vec<_> = entries
            .into_iter()
            .filter(|(key, node)| key.starts_with("x-") || node.is_broken())
            .collect();
        extensions.sort_by(|(a, _), (b, _)| natural_order(a, b));
        out.extend(
            extensions
                .into_iter()
                .map(|(key, node)| (key, sorted(node))),
        );
        out
    }

    /// `None` when the value is as good as not written.
    fn node(&mut self, node: Node, kind: &Kind) -> Option<Node> {
        if node.is_broken() {
            return Some(node);
        }
        let (span, key, tag) = (node.span, node.key, node.tag);
        let place = node.value_place();
        let value = match self.value(node, kind) {
            Ok(value) => value?,
            Err(problem) => {
                let mut broken = Node::string("", place);
                broken.key = key;
                self.report.blame(&mut broken, *problem);
                return Some(broken);
            }
        };
        Some(Node {
            value,
            span,
            key,
            tag,
        })
    }

    fn value(&mut self, node: Node, kind: &Kind) -> Bound {
        Ok(match *kind {
            Kind::Object(object) | Kind::ObjectOrNull(object) => match node.value {
                Value::Mapping(entries) => Some(Value::Mapping(self.object(entries, object))),
                Value::Null => matches!(kind, Kind::ObjectOrNull(_)).then_some(Value::Null),
                other => Some(other),
            },
            Kind::Either(_, kind) => return self.value(node, kind),
            Kind::List(kind) => match node.value {
                Value::Sequence(items) => {
                    let mut out = Vec::with_capacity(items.len());
                    for (i, item) in items.into_iter().enumerate() {
                        self.path.push_index(i);
                        out.extend(self.node(item, kind).filter(|item| !item.is_broken()));
                        self.path.pop();
                    }
                    (!out.is_empty()).then_some(Value::Sequence(out))
                }
                other => Some(other),
            },
            Kind::Named(kind, _) => match node.value {
                Value::Mapping(entries) => self.named(entries, kind),
                other => Some(other),
            },
            Kind::Command => return command::command(node, &self.path, self.report),
            Kind::Test => Some(match node.value {
                Value::String(text) => {
                    let shell = Node::string("CMD-SHELL", node.span);
                    Value::Sequence(vec![shell, Node::string(text, node.span)])
                }
                other => other,
            }),
            Kind::Texts | Kind::TextsRepeat | Kind::TextsOrNumbers | Kind::TextOrTexts => {
                pairs::texts(node)
            }
            Kind::Pairs(Pairs::Ssh) => pairs::ssh(node),
            Kind::Pairs(form) => pairs::pairs(node, form == Pairs::Open)?,
            Kind::Options | Kind::OptionsOrNull | Kind::TextMap => pairs::pairs(node, false)?,
            Kind::MultiOptions => pairs::multi(node),
            Kind::Hosts => pairs::hosts(node)?,
            _ => return quantity::scalar(node, kind),
        })
    }

    fn named(&mut self, entries: Mapping, kind: &Kind) -> Option<Value> {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| natural_order(a, b));
        let mut out = Mapping::with_capacity(entries.len());
        for (key, node) in entries {
            self.path.push_key(&key);
            let (span, place) = (node.span, node.key);
            let bound = self.node(node, kind).unwrap_or_else(|| Node {
                key: place,
                ..Node::null(span)
            });
            out.insert(key, bound);
            self.path.pop();
        }
        let services = self.path.keys() == ["services"];
        (!out.is_empty() || services).then_some(Value::Mapping(out))
    }
}

/// The printed form of a value, `None` when it is as good as not written, or
/// why it is not what its attribute wants.
pub(crate) type Bound = Result<Option<Value>, Box<Problem>>;

fn unfit(node: &Node, code: &'static str, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::error(code, message).on(node, "this value"))
}

fn not_a_quantity(node: &Node, wanted: &str) -> Box<Problem> {
    let text = node.scalar_text().unwrap_or_else(|| node.kind().to_owned());
    unfit(
        node,
        codes::BAD_QUANTITY,
        format!("`{text}` is not {wanted}"),
    )
}

/// Free content with its keys in order.
pub(crate) fn sorted(mut node: Node) -> Node {
    match &mut node.value {
        Value::Mapping(entries) => {
            entries.sort_by(|a, _, b, _| natural_order(a, b));
            for child in entries.values_mut() {
                let inner = std::mem::replace(child, Node::null(child.span));
                *child = sorted(inner);
            }
        }
        Value::Sequence(items) => {
            *items = std::mem::take(items).into_iter().map(sorted).collect();
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
    node
}
