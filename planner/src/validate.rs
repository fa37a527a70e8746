//! The merged tree against the tables of [`crate::schema`]: keys that do not
//! exist, values of the wrong type, missing keys. Everything is reported.

mod misplaced;
mod mistakes;
mod scalars;
mod unknown;

use std::collections::BTreeMap;

use crate::diagnostic::{Problem, Report, codes};
use crate::schema::{Kind, Names, Object, ROOT, Short};
use crate::tree::{Mapping, Node, Path, Span, Tag, Value};

/// Checks a whole file. What is wrong is reported and given up.
pub(crate) fn validate(root: &mut Node, report: &mut Report) {
    misplaced::repair(root, report);
    let mut check = Check {
        report,
        path: Path::default(),
    };
    if !root.is_broken() {
        check.object(root, &ROOT);
    }
}

/// Checks `include`, which is followed before the rest is checked.
pub(crate) fn validate_include(includes: &mut Node, report: &mut Report) {
    let mut check = Check {
        report,
        path: Path::of(&["include"]),
    };
    if let Some(field) = ROOT.field("include") {
        check.node(includes, &field.kind);
    }
}

struct Check<'a> {
    report: &'a mut Report,
    path: Path,
}

impl Check<'_> {
    fn node(&mut self, node: &mut Node, kind: &Kind) {
        if matches!(node.tag, Tag::Reset | Tag::Broken) {
            return;
        }
        match *kind {
            Kind::Object(object) => self.object(node, object),
            Kind::ObjectOrNull(object) => {
                if !node.is_null() {
                    self.object(node, object);
                }
            }
            Kind::List(kind) => self.list(node, kind),
            Kind::Named(kind, names) => self.named(node, kind, names),
            Kind::Either(short, long) => self.either(node, short, long),
            Kind::Texts
            | Kind::TextsRepeat
            | Kind::TextsOrNumbers
            | Kind::TextOrTexts
            | Kind::Test => {
                self.texts(node, kind);
            }
            Kind::Command => match &node.value {
                Value::Null | Value::String(_) => {}
                _ => self.texts(node, kind),
            },
            Kind::Pairs(_) => self.pairs(node),
            Kind::Hosts => self.hosts(node),
            Kind::Options | Kind::OptionsOrNull | Kind::TextMap | Kind::MultiOptions => {
                self.options(node, kind)
            }
            _ => {
                if let Err(wanted) = scalars::check(node, kind) {
                    self.wrong_type(node, wanted);
                } else {
                    self.allowed(node, kind);
                }
            }
        }
    }

    fn object(&mut self, node: &mut Node, object: &Object) {
        let place = node.place();
        let Value::Mapping(entries) = &mut node.value else {
            return self.wrong_type(node, "a mapping");
        };
        let mut meant = Vec::new();
        for (key, child) in entries.iter_mut().filter(|(_, child)| !child.is_broken()) {
            match object.field(key) {
                Some(field) => self.below(key, |check| check.node(child, &field.kind)),
                None if object.extensions && key.starts_with("x-") => {}
                None => meant.extend(self.unknown_key(key, child, object)),
            }
        }
        for (name, span) in meant {
            // The attribute is there, only under a wrong name.
            let node = entries.entry(name).or_insert_with(|| Node::null(span));
            if node.is_null() {
                node.give_up();
            }
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if !entries.contains_key(field.name) && !entries.contains_key("<<") {
                let message = format!("{} needs `{}`", object.what, field.name);
                let problem =
                    Problem::error(codes::MISSING_KEY, format!("`{}`: {message}", self.path));
                self.report
                    .push(problem.at(place, format!("`{}` is missing", field.name)));
            }
        }
    }

    fn below(&mut self, key: &str, check: impl FnOnce(&mut Self)) {
        self.path.push_key(key);
        check(self);
        self.path.pop();
    }

    /// Gives the attribute that was meant, if that can be told.
    fn unknown_key(
        &mut self,
        key: &str,
        node: &mut Node,
        object: &Object,
    ) -> Option<(String, Span)> {
        let message = format!("`{key}` is not an attribute of {}", object.what);
        if self.report.is_full() {
            let problem = Problem::error(codes::UNKNOWN_KEY, message);
            self.report.blame(node, problem);
            return None;
        }
        let guess = unknown::guess(key, node, object);
        let problem = Problem::error(codes::UNKNOWN_KEY, message).at(node.place(), guess.label);
        let place = node.place();
        self.report.blame(node, problem.maybe_help(guess.help));
        Some((guess.meant?.to_owned(), place))
    }

    fn list(&mut self, node: &mut Node, kind: &Kind) {
        let Value::Sequence(items) = &mut node.value else {
            return self.wrong_type(node, "a list");
        };
        for (i, item) in items.iter_mut().enumerate() {
            self.path.push_index(i);
            self.node(item, kind);
            self.path.pop();
        }
        items.retain(|item| !item.is_broken());
    }

    fn named(&mut self, node: &mut Node, kind: &Kind, names: Names) {
        let Value::Mapping(entries) = &mut node.value else {
            return self.wrong_type(node, "a mapping");
        };
        for (key, child) in entries.iter_mut().filter(|(_, child)| !child.is_broken()) {
            if names == Names::Strict && !is_name(key) {
                let message = format!("`{key}` cannot be a name in `{}`", self.path);
                let problem =
                    Problem::error(codes::BAD_NAME, message).at(child.place(), "this name");
                self.report
                    .push(problem.help("letters, digits, `.`, `_` and `-` are allowed"));
            }
            self.below(key, |check| check.node(child, kind));
        }
    }

    fn either(&mut self, node: &mut Node, short: Short, long: &Kind) {
        let wanted = match (short, &node.value) {
            (Short::Text | Short::TextOrNumber | Short::Int | Short::Flag, Value::String(_)) => {
                return;
            }
            (Short::TextOrNumber, Value::Int(_) | Value::Float(_)) => return,
            (Short::Int, Value::Int(_)) => return,
            (Short::Flag, Value::Bool(_)) => return,
            (Short::Texts, Value::Sequence(_)) => return self.texts(node, &Kind::Texts),
            (_, Value::Mapping(_)) => return self.node(node, long),
            (_, Value::Sequence(_)) if matches!(long, Kind::List(_)) => {
                return self.node(node, long);
            }
            (Short::Texts, _) => "a list or a mapping",
            (Short::Int, _) => "an integer or a mapping",
            (Short::Flag, _) => "a boolean or a mapping",
            (Short::TextOrNumber, _) => "a string, a number or a mapping",
            (Short::Text, _) if matches!(long, Kind::List(_)) => "a string or a list",
            (Short::Text, _) => "a string or a mapping",
        };
        self.wrong_type(node, wanted);
    }

    fn texts(&mut self, node: &mut Node, kind: &Kind) {
        let single = matches!(kind, Kind::TextOrTexts | Kind::Test | Kind::Command);
        if single && node.as_str().is_some() {
            return;
        }
        let Value::Sequence(items) = &mut node.value else {
            let wanted = if single {
                "a string or a list of strings"
            } else {
                "a list"
            };
            return self.wrong_type(node, wanted);
        };
        let numbers = matches!(kind, Kind::TextsOrNumbers);
        for (i, item) in items
            .iter_mut()
            .enumerate()
            .filter(|(_, item)| !item.is_broken())
        {
            self.path.push_index(i);
            match &item.value {
                Value::String(_) => {}
                Value::Int(_) | Value::Float(_) if numbers => {}
                _ => self.wrong_type(
                    item,
                    if numbers {
                        "a string or a number"
                    } else {
                        "a string"
                    },
                ),
            }
            self.path.pop();
        }
        items.retain(|item| !item.is_broken());
        if !matches!(kind, Kind::TextsRepeat | Kind::Test | Kind::Command) {
            self.unique(items);
        }
    }

    fn unique(&mut self, items: &[Node]) {
        let mut seen = BTreeMap::new();
        for item in items {
            let Some(text) = item.scalar_text() else {
                continue;
            };
            if let Some(first) = seen.insert((item.kind(), text.clone()), item.span) {
                let message = format!("`{text}` is in `{}` twice", self.path);
                let problem = Problem::error(codes::NOT_UNIQUE, message).on(item, "again");
                self.report.push(
                    problem
                        .at(first, "first here")
                        .help("leave one of them out"),
                );
            }
        }
    }

    fn pairs(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Mapping(entries) => self.entries(entries, |node| match node.value {
                Value::Sequence(_) | Value::Mapping(_) => {
                    Err("a string, a number, a boolean or null")
                }
                _ => Ok(()),
            }),
            Value::Sequence(_) => self.texts(node, &Kind::Texts),
            _ => self.wrong_type(node, "a mapping or a list"),
        }
    }

    fn entries(
        &mut self,
        entries: &mut Mapping,
        check: impl Fn(&Node) -> Result<(), &'static str>,
    ) {
        let marked = |node: &Node| matches!(node.tag, Tag::Reset | Tag::Broken);
        for (key, child) in entries.iter_mut().filter(|(_, child)| !marked(child)) {
            if let Err(wanted) = check(child) {
                self.below(key, |check| check.wrong_type(child, wanted));
            }
        }
    }

    fn hosts(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Mapping(entries) => self.entries(entries, |node| match &node.value {
                Value::String(_) => Ok(()),
                Value::Sequence(items) if items.iter().all(|item| item.as_str().is_some()) => {
                    Ok(())
                }
                _ => Err("a string or a list of strings"),
            }),
            Value::Sequence(_) => self.texts(node, &Kind::Texts),
            _ => self.wrong_type(node, "a mapping or a list"),
        }
    }

    fn options(&mut self, node: &mut Node, kind: &Kind) {
        let Value::Mapping(entries) = &mut node.value else {
            return self.wrong_type(node, "a mapping");
        };
        let kind = *kind;
        self.entries(entries, |node| match (&node.value, kind) {
            (Value::String(_), _) => Ok(()),
            (
                Value::Int(_) | Value::Float(_),
                Kind::Options | Kind::OptionsOrNull | Kind::MultiOptions,
            ) => Ok(()),
            (Value::Null, Kind::OptionsOrNull) | (Value::Bool(_), Kind::MultiOptions) => Ok(()),
            (Value::Sequence(items), Kind::MultiOptions)
                if items.iter().all(|i| i.scalar_text().is_some()) =>
            {
                Ok(())
            }
            (_, Kind::TextMap) => Err("a string"),
            _ => Err("a string or a number"),
        });
    }

    fn allowed(&mut self, node: &mut Node, kind: &Kind) {
        let Err((wanted, help)) = scalars::allowed(node, kind) else {
            return;
        };
        let text = node.scalar_text().unwrap_or_default();
        let problem = Problem::error(
            codes::NOT_ALLOWED,
            format!("`{}` cannot be `{text}`", self.path),
        );
        let problem = problem.on(node, wanted).maybe_help(help);
        self.report.blame(node, problem);
    }

    fn wrong_type(&mut self, node: &mut Node, wanted: &str) {
        if node.is_broken() {
            return;
        }
        let what = if self.path == Path::default() {
            "the file".to_owned()
        } else {
            format!("`{}`", self.path)
        };
        let message = if node.is_null() {
            format!("{what} must be {wanted}, but nothing is there")
        } else {
            format!("{what} must be {wanted}, not {}", node.kind())
        };
        let problem = Problem::error(codes::WRONG_TYPE, message)
            .on(node, format!("{wanted} is expected"))
            .maybe_help(mistakes::wrong_type(&self.path.keys(), node, wanted));
        self.report.blame(node, problem);
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
