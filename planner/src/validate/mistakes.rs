//! Values of the wrong type: the mistake that usually leads to them.

use crate::schema::is_service_attribute;
use crate::tree::{Node, Value};

/// What to write instead of `node`, which is at `path` and should be `wanted`.
pub(super) fn wrong_type(path: &[&str], node: &Node, wanted: &str) -> Option<String> {
    if let ["services", _, "depends_on", name] = path
        && node.is_null()
    {
        return Some(format!(
            "write `depends_on: [{name}]`, or a `condition` below it"
        ));
    }
    if node.is_null() {
        return Some(if wanted.contains("mapping") || wanted.contains("list") {
            "nothing is written below it: check the indentation of the next lines, or leave it out"
                .to_owned()
        } else {
            "write a value, or leave it out".to_owned()
        });
    }
    if let Some(help) = of_section(path, node) {
        return Some(help);
    }
    if let Some(help) = of_attribute(path, node) {
        return Some(help);
    }
    let key = path
        .last()
        .copied()
        .filter(|key| *key != "*")
        .unwrap_or_default();
    match &node.value {
        Value::String(text) => of_text(key, text, wanted),
        Value::Int(seconds) if wanted.contains("a time") => {
            Some(format!("write the unit, for instance `{seconds}s`"))
        }
        Value::Float(_) if wanted.contains("string") => Some("put it in quotes".to_owned()),
        Value::Bool(_) | Value::Int(_) if wanted.contains("string") => {
            let text = node.scalar_text()?;
            Some(format!("put it in quotes: `\"{text}\"`"))
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) if wanted.contains("list") => {
            let text = node.scalar_text()?;
            Some(format!("write `{key}: [\"{text}\"]`"))
        }
        Value::Mapping(_) if wanted == "a list" => Some("start each item with `- `".to_owned()),
        Value::Mapping(entries) if wanted.contains("string") && path.last() == Some(&"*") => {
            let (key, value) = entries.first()?;
            let value = value.scalar_text().unwrap_or_else(|| "…".to_owned());
            Some(format!(
                "`: ` makes a mapping of it: put the whole text in quotes, `\"{key}: {value}\"`"
            ))
        }
        Value::Sequence(items) if wanted == "a mapping" => match items
            .first()
            .map(|item| &item.value)
        {
            Some(Value::Mapping(_)) => Some("leave the dashes out: each name is a key".to_owned()),
            Some(Value::String(text)) if !text.contains(['=', ' ']) => {
                Some(format!("leave the dashes out and write `{text}:`"))
            }
            _ => Some("write `key: value` lines without dashes".to_owned()),
        },
        Value::Sequence(items) if wanted == "a string" => {
            let only = items
                .first()
                .and_then(Node::scalar_text)
                .filter(|_| items.len() == 1)?;
            Some(format!("write `{key}: {only}`"))
        }
        _ => None,
    }
}

/// A text in the place of a service or a resource.
fn of_section(path: &[&str], node: &Node) -> Option<String> {
    let text = node.scalar_text()?;
    match path {
        ["version"] => Some("leave it out: it has no meaning".to_owned()),
        ["services", name] => {
            let attribute = text
                .split_once(':')
                .filter(|(key, _)| is_service_attribute(key));
            Some(match attribute {
                Some((key, value)) => {
                    format!("a space is missing after the colon: `{key}: {value}`")
                }
                None => format!("write `{name}: {{image: \"{text}\"}}`"),
            })
        }
        ["networks", name] => Some(format!(
            "write `{name}:` alone, or `{name}: {{driver: {text}}}`"
        )),
        ["volumes", name] if text.starts_with(['/', '.', '~']) => Some(format!(
            "write `{name}:` alone; a directory of the host is mounted with `- {text}:/path` in the service"
        )),
        ["volumes", name] => Some(format!(
            "write `{name}:` alone, or `{name}: {{driver: {text}}}`"
        )),
        ["secrets" | "configs", name] => Some(format!("write `{name}: {{file: {text}}}`")),
        _ => None,
    }
}

/// Attributes with mistakes of their own.
fn of_attribute(path: &[&str], node: &Node) -> Option<String> {
    let text = node.scalar_text();
    let ["services", _, rest @ ..] = path else {
        return None;
    };
    match (rest, text.as_deref()) {
        (["ports"], Some(text)) => Some(format!("ports are a list: `ports: [\"{text}\"]`")),
        (["ports"], None) => Some("ports are a list: `ports: [\"8080:80\"]`".to_owned()),
        (["volumes"], Some(text)) => Some(format!("volumes are a list: `volumes: [\"{text}\"]`")),
        (["volumes"], None) => {
            let (source, target) = node.as_mapping()?.first()?;
            let target = target.scalar_text()?;
            Some(format!("volumes are a list: `- {source}:{target}`"))
        }
        (["restart"], Some("false")) => Some("write `restart: \"no\"`".to_owned()),
        (["restart"], Some("true")) => Some("write `restart: always`".to_owned()),
        (["healthcheck"], Some(_)) => Some("write `healthcheck: {test: \"…\"}`".to_owned()),
        (["environment" | "labels" | "annotations" | "sysctls", "*"], None) => {
            let (key, value) = node.as_mapping()?.first()?;
            let value = value.scalar_text().unwrap_or_default();
            Some(format!(
                "write `- {key}={value}`, or leave the dash out: `{key}: {value}`"
            ))
        }
        (["environment" | "labels", key], None) if *key != "*" => Some(format!(
            "one text only, whatever form the program wants: `{key}: \"…\"`"
        )),
        (["logging"], Some(text)) => Some(format!("write `logging: {{driver: {text}}}`")),
        (["ulimits"], Some(text)) => Some(format!("write `ulimits: {{nofile: {text}}}`")),
        (["extra_hosts"], Some(text)) => Some(format!("write `extra_hosts: [\"{text}\"]`")),
        (["deploy", "restart_policy"], Some(text)) => {
            Some(format!("write `restart_policy: {{condition: {text}}}`"))
        }
        (["depends_on" | "networks" | "models", "*"], None) => {
            let (name, _) = node.as_mapping()?.first()?;
            Some(format!(
                "leave the dashes out: `{name}:` with what belongs to it below"
            ))
        }
        (["environment"], Some(text)) => Some(match text.split_once('=') {
            Some((key, value)) => format!("write `environment: {{{key}: {value}}}`"),
            None => "write `environment: {KEY: value}`".to_owned(),
        }),
        _ => None,
    }
}

fn of_text(key: &str, text: &str, wanted: &str) -> Option<String> {
    let short = text.chars().count() <= 60;
    match text.split_once(':') {
        Some((name, value))
            if wanted.starts_with("a mapping")
                && !value.is_empty()
                && !value.starts_with(['/', ' '])
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') =>
        {
            Some(format!(
                "a space is missing after the colon: `{name}: {value}`"
            ))
        }
        _ if wanted.contains("list") && short => Some(format!("write `{key}: [{text}]`")),
        _ if wanted == "a boolean" => Some("write `true` or `false`".to_owned()),
        _ => None,
    }
}
