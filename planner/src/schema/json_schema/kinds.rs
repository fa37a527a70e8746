//! One attribute's kind as JSON Schema.

use serde_json::{Value, json};

use super::Definitions;
use crate::schema::{Kind, Names, Pairs, Short, Size};

/// A text with a variable may become anything.
const VARIABLE: &str = "\\$";
const BOOLEAN: &str =
    "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy]([Ee][Ss])?|[Nn][Oo]?|[Oo][Nn]|[Oo][Ff][Ff])$";
const INTEGER: &str = "^[+-]?[0-9]+$";
const NUMBER: &str = "^[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?$";
const BYTES: &str = "^-?[0-9]+$|^([0-9]+(\\.[0-9]*)?|\\.[0-9]+) ?([bB]|[kKmMgGtTpP]([iI]?[bB])?)?$";
const DURATION: &str = "^[+-]?(0|([0-9]*\\.?[0-9]*(ns|us|µs|μs|ms|s|m|h|d|w))+)$";
const PULL: &str = "always|never|build|if_not_present|missing|refresh|daily|weekly|every_";

pub(super) fn schema(kind: &Kind, names: &Definitions) -> Value {
    match *kind {
        Kind::Text => json!({"type": "string"}),
        Kind::TextOrNull => json!({"type": ["string", "null"]}),
        Kind::TextOrNumber => json!({"type": ["string", "number"]}),
        Kind::OneOf(texts) => json!({"anyOf": [{"enum": texts}, text(&[VARIABLE])]}),
        Kind::PullPolicy => text(&[PULL, VARIABLE]),
        Kind::Flag | Kind::FlagKept | Kind::BoolKept => either("boolean", &[BOOLEAN, VARIABLE]),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int | Kind::IntKept => either("integer", &[INTEGER, VARIABLE]),
        Kind::IntBetween(least, most) => json!({"anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            text(&[INTEGER, VARIABLE]),
        ]}),
        Kind::Number | Kind::NumberKept => either("number", &[INTEGER, VARIABLE]),
        Kind::Float => either("number", &[NUMBER, VARIABLE]),
        Kind::PlainNumber => json!({"type": "number"}),
        Kind::Bytes(Size::NumberOrText) => either("number", &[BYTES, VARIABLE]),
        Kind::Bytes(Size::IntOrText) => either("integer", &[BYTES, VARIABLE]),
        Kind::Bytes(Size::Text) => text(&[BYTES, VARIABLE]),
        Kind::Duration | Kind::DurationNotZero => text(&[DURATION, VARIABLE]),
        Kind::FileMode => json!({"type": ["number", "string"]}),
        Kind::DeviceCount => either("integer", &["^all$", INTEGER, VARIABLE]),
        Kind::Command => json!({"anyOf": [{"type": ["string", "null"]}, texts(false)]}),
        Kind::Test => json!({"anyOf": [{"type": "string"}, texts(false)]}),
        Kind::Texts => texts(true),
        Kind::TextsRepeat => texts(false),
        Kind::TextsOrNumbers => {
            json!({"type": "array", "items": {"type": ["string", "number"]}, "uniqueItems": true})
        }
        Kind::TextOrTexts => json!({"anyOf": [{"type": "string"}, texts(true)]}),
        Kind::Pairs(Pairs::Filled | Pairs::Open | Pairs::Ssh) => json!({"anyOf": [
            map(json!({"type": ["string", "number", "boolean", "null"]})),
            texts(true),
        ]}),
        Kind::Hosts => json!({"anyOf": [
            map(json!({"anyOf": [{"type": "string"}, texts(false)]})),
            texts(true),
        ]}),
        Kind::Options => map(json!({"type": ["string", "number"]})),
        Kind::OptionsOrNull => map(json!({"type": ["string", "number", "null"]})),
        Kind::TextMap => map(json!({"type": "string"})),
        Kind::MultiOptions => {
            let scalar = json!({"type": ["string", "number", "boolean"]});
            map(json!({"anyOf": [scalar, {"type": "array", "items": scalar}]}))
        }
        Kind::Object(object) => reference(names.of(object)),
        Kind::ObjectOrNull(object) => {
            json!({"anyOf": [reference(names.of(object)), {"type": "null"}]})
        }
        Kind::List(kind) => json!({"type": "array", "items": schema(kind, names)}),
        Kind::Named(kind, Names::Strict) => json!({
            "type": "object",
            "patternProperties": {"^[a-zA-Z0-9._-]+$": schema(kind, names)},
            "additionalProperties": false,
        }),
        Kind::Named(kind, Names::Free) => map(schema(kind, names)),
        Kind::Either(short, kind) => {
            let short = match short {
                Short::Text => json!({"type": "string"}),
                Short::TextOrNumber => json!({"type": ["string", "number"]}),
                Short::Int => either("integer", &[INTEGER, VARIABLE]),
                Short::Texts => texts(true),
                Short::Flag => either("boolean", &[BOOLEAN, VARIABLE]),
            };
            json!({"anyOf": [short, schema(kind, names)]})
        }
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// Text that fits one of the patterns.
fn text(patterns: &[&str]) -> Value {
    json!({"type": "string", "pattern": patterns.join("|")})
}

/// A value of a type, or text that fits one of the patterns.
fn either(kind: &str, patterns: &[&str]) -> Value {
    json!({"anyOf": [{"type": kind}, text(patterns)]})
}

fn texts(unique: bool) -> Value {
    let mut schema = json!({"type": "array", "items": {"type": "string"}});
    if unique {
        schema["uniqueItems"] = json!(true);
    }
    schema
}

fn map(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}
