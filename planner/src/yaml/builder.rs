//! Puts the parser's events together to a tree.

use std::collections::BTreeMap;

use granit_parser::{Event, ScalarStyle, Tag as YamlTag};

use super::{merge_key, scalar};
use crate::budget::{Budget, Weight};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Span, Tag, Value};

type Refused = Box<Problem>;

pub(super) struct Builder<'a> {
    budget: &'a mut Budget,
    pub(super) documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Weight)>,
    /// What the tree weighs so far.
    weight: Weight,
}

/// A collection whose end has not come yet.
struct Open {
    anchor: usize,
    node: Node,
    /// The key whose value comes next.
    key: Option<Key>,
    merges: Vec<Node>,
    /// Place of the last `<<`.
    merge_key: Option<Span>,
    before: Weight,
    /// Something inside has no place in a tree.
    broken: bool,
}

enum Key {
    Named(String, Span),
    Merge(Span),
    /// Reported already; the value is given up.
    Broken(String, Span),
    /// Reported already; the value is dropped.
    Bad,
}

impl<'a> Builder<'a> {
    pub(super) fn new(budget: &'a mut Budget) -> Self {
        Self {
            budget,
            documents: Vec::new(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            weight: Weight::default(),
        }
    }

    /// Takes the next event. Mistakes after which the tree still makes sense go
    /// to `report`; the others end the file.
    pub(super) fn event(
        &mut self,
        event: Event<'_>,
        span: Span,
        report: &mut Report,
    ) -> Result<(), Refused> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.budget.take_document(span)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.grow(Weight::scalar(text.len()), span)?;
                let plain = style == ScalarStyle::Plain;
                if self.wants_key() {
                    return self.take_key(&text, plain, tag.as_deref(), anchor, span, report);
                }
                let node = scalar_node(&text, plain, tag.as_deref(), span, report);
                if anchor > 0 {
                    self.keep(anchor, &node, Weight::scalar(text.len()))?;
                }
                self.place(node);
                Ok(())
            }
            Event::Alias(id) => {
                if self.open.iter().any(|open| open.anchor == id) {
                    let problem = Problem::error(
                        codes::ALIAS_CYCLE,
                        "the alias refers to a node that contains it",
                    );
                    return Err(Box::new(problem.at(span, "this alias")));
                }
                let Some((node, weight)) = self.anchors.get(&id).cloned() else {
                    return Ok(());
                };
                self.grow(weight, span)?;
                if self.wants_key() {
                    let text = node.scalar_text().unwrap_or_default();
                    return self.take_key(&text, false, None, 0, span, report);
                }
                self.place(node);
                Ok(())
            }
            Event::SequenceStart(_, anchor, tag) => self.start(
                Value::Sequence(Vec::new()),
                anchor,
                tag.as_deref(),
                span,
                report,
            ),
            Event::MappingStart(_, anchor, tag) => self.start(
                Value::Mapping(Mapping::new()),
                anchor,
                tag.as_deref(),
                span,
                report,
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(report),
            _ => Ok(()),
        }
    }

    fn grow(&mut self, weight: Weight, span: Span) -> Result<(), Refused> {
        self.weight = self.weight.plus(weight);
        self.budget.take(weight, span)
    }

    fn keep(&mut self, anchor: usize, node: &Node, weight: Weight) -> Result<(), Refused> {
        // Nested anchors hold copies of copies.
        self.budget.take(weight, node.span)?;
        self.anchors.insert(anchor, (node.clone(), weight));
        Ok(())
    }

    fn wants_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.node.value, Value::Mapping(_)) && open.key.is_none())
    }

    fn take_key(
        &mut self,
        text: &str,
        plain: bool,
        tag: Option<&YamlTag>,
        anchor: usize,
        span: Span,
        report: &mut Report,
    ) -> Result<(), Refused> {
        if anchor > 0 {
            let weight = Weight::scalar(text.len());
            self.keep(anchor, &Node::string(text, span), weight)?;
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let value = if plain {
            scalar::resolve(text, tag)
        } else {
            Ok(Value::String(text.to_owned()))
        };
        if !matches!(value, Ok(Value::String(_))) {
            let kind = value.map_or("a value of another type", |value| {
                Node::new(value, span).kind()
            });
            let problem = Problem::error(
                codes::KEY_NOT_TEXT,
                format!("a key must be text, `{text}` is {kind}"),
            );
            report.push(
                problem
                    .at(span, "this key")
                    .help(format!("put it in quotes: \"{text}\"")),
            );
            open.key = Some(Key::Broken(text.to_owned(), span));
            return Ok(());
        }
        let is_merge = plain && text == "<<";
        let first = match &open.node.value {
            _ if is_merge => open.merge_key.replace(span),
            Value::Mapping(entries) => entries.get(text).map(|node| node.key),
            _ => None,
        };
        if let Some(first) = first {
            let problem = Problem::error(codes::DUPLICATE_KEY, format!("`{text}` is given twice"));
            report.push(problem.at(span, "again here").at(first, "first here"));
            open.key = Some(Key::Bad);
            return Ok(());
        }
        open.key = Some(if is_merge {
            Key::Merge(span)
        } else {
            Key::Named(text.to_owned(), span)
        });
        Ok(())
    }

    fn start(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<&YamlTag>,
        span: Span,
        report: &mut Report,
    ) -> Result<(), Refused> {
        let before = self.weight;
        self.grow(Weight::scalar(0), span)?;
        if self.wants_key() {
            report.push(
                Problem::error(codes::KEY_NOT_TEXT, "a key must be text, not a list or mapping")
                    .at(span, "this is a key")
                    .help("put text with brackets in quotes; a variable is written `${NAME}`, not `{{ name }}`"),
            );
            if let Some(open) = self.open.last_mut() {
                open.broken = true;
                open.key = Some(Key::Bad);
            }
            // Its content is read like the value of a key that is dropped, the
            // value itself then replaces it.
            let span = Span {
                end: span.start,
                ..span
            };
            self.push_open(Node::new(value, span), usize::MAX, before);
            return Ok(());
        }
        let mut node = Node::new(value, span);
        node.tag = compose_tag(tag);
        self.push_open(node, anchor, before);
        Ok(())
    }

    fn push_open(&mut self, node: Node, anchor: usize, before: Weight) {
        self.open.push(Open {
            anchor,
            node,
            key: None,
            merges: Vec::new(),
            merge_key: None,
            before,
            broken: false,
        });
    }

    fn end(&mut self, report: &mut Report) -> Result<(), Refused> {
        let Some(mut open) = self.open.pop() else {
            return Ok(());
        };
        if let Value::Mapping(entries) = &mut open.node.value {
            for merge in std::mem::take(&mut open.merges) {
                merge_key::apply(entries, merge, report);
            }
            for child in entries.values_mut().filter(|child| child.is_broken()) {
                report.give_up(child);
            }
        }
        if open.broken {
            open.node.give_up();
        }
        if open.node.span.start == open.node.span.end {
            // A block has no bracket to point at.
            open.node.span = first_place(&open.node).unwrap_or(open.node.span);
        }
        if open.anchor == usize::MAX {
            return Ok(()); // a collection as key: its value comes next
        }
        if open.anchor > 0 {
            let weight = self.weight.minus(open.before);
            self.keep(open.anchor, &open.node, weight)?;
        }
        self.place(open.node);
        Ok(())
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, mut node: Node) {
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return;
        };
        match &mut open.node.value {
            Value::Sequence(items) => {
                if node.tag != Tag::Reset {
                    node.key = Span::NONE;
                    items.push(node);
                }
            }
            Value::Mapping(entries) => match open.key.take() {
                Some(Key::Named(name, span)) => {
                    node.key = span;
                    entries.insert(name, node);
                }
                Some(Key::Broken(name, span)) => {
                    node.key = span;
                    node.give_up();
                    entries.entry(name).or_insert(node);
                }
                Some(Key::Merge(span)) => {
                    node.key = span;
                    open.merges.push(node);
                }
                Some(Key::Bad) | None => {}
            },
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
        }
    }
}

fn first_place(node: &Node) -> Option<Span> {
    match &node.value {
        Value::Mapping(entries) => entries.values().next().map(Node::place),
        Value::Sequence(items) => items.first().map(|item| item.span),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => None,
    }
}

fn compose_tag(tag: Option<&YamlTag>) -> Tag {
    match tag {
        Some(tag) if tag.handle() == "!" && tag.suffix() == "reset" => Tag::Reset,
        Some(tag) if tag.handle() == "!" && tag.suffix() == "override" => Tag::Override,
        Some(_) | None => Tag::None,
    }
}

fn scalar_node(
    text: &str,
    plain: bool,
    tag: Option<&YamlTag>,
    span: Span,
    report: &mut Report,
) -> Node {
    let compose = compose_tag(tag);
    let core = tag.filter(|_| compose == Tag::None);
    let value = match core {
        None if !plain => Ok(Value::String(text.to_owned())),
        _ => scalar::resolve(text, core),
    };
    let value = match value {
        Ok(value) => value,
        Err(wanted) => {
            let problem = Problem::error(codes::BAD_TAG, format!("`{text}` is not {wanted}"));
            report.push(problem.at(span, "the tag does not fit"));
            let mut node = Node::string(text, span);
            node.give_up();
            return node;
        }
    };
    let mut node = Node::new(value, span);
    node.tag = compose;
    if compose == Tag::Reset {
        node.value = Value::Null;
    }
    node
}
