//! The head of a table that is a text: each field says its own name.

use serde_json::Value;

use super::function;
use super::parse::{Kind, Node, Pipe, Word};

/// What Docker writes above a column, where it is not the field's own name.
const HEADS: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("ImageID", "IMAGE ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("NetIO", "NET I/O"),
    ("OOMKilled", "OOM KILLED"),
    ("PIDs", "PIDS"),
    ("RunningFor", "CREATED"),
    ("BootID", "BOOT ID"),
    ("CreatedMs", "CREATED"),
];

/// The head.
pub(super) fn text(nodes: &[Node]) -> String {
    of_nodes(nodes, "")
}

/// `dot`: the head of what the dot is.
fn of_nodes(nodes: &[Node], dot: &str) -> String {
    let parts = nodes.iter().map(|node| match node {
        Node::Text(text) => text.clone(),
        Node::Say(pipe) => of_pipe(pipe, dot),
        Node::Block { kind, of, then, .. } => match kind {
            Kind::If => of_nodes(then, dot),
            Kind::With => of_nodes(then, &of_pipe(of, dot)),
            // However many there are: they have one column.
            Kind::Range => of_pipe(of, dot),
        },
    });
    parts.collect()
}

fn of_pipe(pipe: &Pipe, dot: &str) -> String {
    let mut before = None;
    for call in pipe {
        before = Some(of_call(call, before, dot));
    }
    before.unwrap_or_default()
}

fn of_call(call: &[Word], before: Option<String>, dot: &str) -> String {
    let Some((first, rest)) = call.split_first() else {
        return String::new();
    };
    let literal = |word: &Word| match word {
        Word::Literal(value) => value.clone(),
        word => of_word(word, dot).into(),
    };
    let mut arguments: Vec<Value> = rest.iter().map(literal).collect();
    arguments.extend(before.map(Value::from));
    match (first, arguments.as_slice()) {
        // These lay out what they are given.
        (Word::Function(name), _) if name.starts_with("print") || name == "pad" => {
            function::call(name, &arguments).map_or_else(|_| String::new(), |v| function::plain(&v))
        }
        // Of all others the first argument is what is shown, changed.
        (Word::Function(_), [first, ..]) => function::plain(first),
        (Word::Field(path) | Word::Root(path), [name]) if path.as_slice() == ["Label"] => {
            label(&function::plain(name))
        }
        _ => of_word(first, dot),
    }
}

fn of_word(word: &Word, dot: &str) -> String {
    match word {
        Word::Field(path) if path.is_empty() => dot.to_owned(),
        Word::Field(path) | Word::Root(path) => path.last().map_or_else(String::new, |name| {
            let known = HEADS.iter().find(|(field, _)| field == name);
            known.map_or_else(|| words(name), |(_, head)| (*head).to_owned())
        }),
        Word::Literal(value) => function::plain(value),
        Word::Nested(pipe) => of_pipe(pipe, dot),
        Word::Function(_) => String::new(),
    }
}

/// `com.example.my-tier`: `my tier`, as Docker does it.
fn label(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.replace(['-', '_'], " ")
}

/// `CreatedAt`: `CREATED AT`.
fn words(name: &str) -> String {
    let mut text = String::new();
    let mut before_is_small = false;
    for letter in name.chars() {
        if letter.is_uppercase() && before_is_small {
            text.push(' ');
        }
        before_is_small = letter.is_lowercase();
        text.extend(letter.to_uppercase());
    }
    text
}
