//! The schema as JSON Schema (draft 7, which editors' YAML servers understand
//! best), made from the same tables that files are checked with.

mod kinds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Kind, Object, ROOT, describe, extension};
use crate::extension::KEY;

/// JSON Schema of a stack file, with a description for every attribute. Values
/// with variables are accepted wherever text may stand for the value.
pub fn json_schema() -> Value {
    let names = Definitions::new();
    let mut definitions = Map::new();
    for object in objects() {
        if !std::ptr::eq(object, &raw const ROOT) {
            definitions.insert(names.of(object).to_owned(), mapping(object, &names));
        }
    }
    let Value::Object(root) = mapping(&ROOT, &names) else {
        return Value::Null;
    };
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!("stack.yaml"));
    schema.extend(root);
    schema.insert("definitions".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}

/// Every mapping of the schema, each once, in the order in which they are met.
pub(super) fn objects() -> Vec<&'static Object> {
    let mut found: Vec<&'static Object> = Vec::new();
    let mut queue: Vec<&'static Object> = vec![&extension::X_STACK, &ROOT];
    while let Some(object) = queue.pop() {
        if found.iter().any(|known| std::ptr::eq(*known, object)) {
            continue;
        }
        found.push(object);
        queue.extend(
            object
                .fields
                .iter()
                .filter_map(|field| object_of(&field.kind)),
        );
    }
    found
}

fn object_of(kind: &Kind) -> Option<&'static Object> {
    match *kind {
        Kind::Object(object) | Kind::ObjectOrNull(object) => Some(object),
        Kind::List(kind) | Kind::Named(kind, _) | Kind::Either(_, kind) => object_of(kind),
        _ => None,
    }
}

/// Names of definitions: what the object is called, with a number when two
/// objects are called the same.
struct Definitions {
    names: BTreeMap<*const Object, String>,
    /// Attributes whose lists may hold an item twice.
    repeating: BTreeSet<(*const Object, &'static str)>,
}

impl Definitions {
    fn new() -> Self {
        let mut taken = BTreeSet::new();
        let mut names = BTreeMap::new();
        for object in objects() {
            let article = ["a ", "an "]
                .into_iter()
                .find_map(|a| object.what.strip_prefix(a));
            let base = article.unwrap_or(object.what).replace(' ', "_");
            let mut name = base.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{base}_{number}");
                number += 1;
            }
            names.insert(std::ptr::from_ref(object), name);
        }
        let repeating = crate::merge::unique_lists().filter_map(owner).collect();
        Self { names, repeating }
    }

    fn may_repeat(&self, object: &Object, field: &'static str) -> bool {
        self.repeating
            .contains(&(std::ptr::from_ref(object), field))
    }

    fn of(&self, object: &Object) -> &str {
        self.names
            .get(&std::ptr::from_ref(object))
            .map_or("", String::as_str)
    }
}

/// The mapping and the attribute that a path leads to.
fn owner(pattern: &'static [&'static str]) -> Option<(*const Object, &'static str)> {
    let (last, way) = pattern.split_last()?;
    let mut object: &'static Object = &ROOT;
    for key in way.iter().filter(|key| **key != "*") {
        object = object_of(&object.field(key)?.kind)?;
    }
    Some((std::ptr::from_ref(object), last))
}

fn allow_repetition(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.shift_remove("uniqueItems");
            entries.values_mut().for_each(allow_repetition);
        }
        Value::Array(items) => items.iter_mut().for_each(allow_repetition),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mapping(object: &'static Object, names: &Definitions) -> Value {
    let about = describe::about(object.what);
    let text = |name: &str| {
        let fields = about.map_or(&[][..], |about| about.fields);
        fields
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    };
    let mut properties = Map::new();
    for field in object.fields {
        let mut schema = Map::new();
        if let Some(text) = text(field.name) {
            schema.insert("description".to_owned(), json!(text));
        }
        let mut kind = kinds::schema(&field.kind, names);
        if names.may_repeat(object, field.name) {
            allow_repetition(&mut kind);
        }
        match kind {
            // Beside `$ref` draft 7 ignores everything.
            Value::Object(kind) if kind.contains_key("$ref") => {
                schema.insert("allOf".to_owned(), json!([kind]));
            }
            Value::Object(kind) => schema.extend(kind),
            other => {
                schema.insert("allOf".to_owned(), json!([other]));
            }
        }
        properties.insert(field.name.to_owned(), Value::Object(schema));
    }
    if extension::PLACES.contains(&object.what) {
        let section = json!({
            "description": describe::extension::KEY,
            "allOf": [kinds::schema(&Kind::Object(&extension::X_STACK), names)],
        });
        properties.insert(KEY.to_owned(), section);
    }
    let mut schema = Map::new();
    if let Some(about) = about {
        schema.insert("description".to_owned(), json!(about.text));
    }
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    let required: Vec<&str> = object
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if object.extensions {
        schema.insert("patternProperties".to_owned(), json!({"^x-": {}}));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    Value::Object(schema)
}
