//! Values of a spec as a stack file writes them.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::hash;

/// The value of a field; `None` for one that says nothing.
pub(super) fn value(field: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(match number.as_u64() {
            Some(bytes)
                if matches!(
                    field,
                    "memory" | "root_size" | "shm_size" | "size" | "read_bps" | "write_bps"
                ) =>
            {
                size(bytes)
            }
            Some(ms) if field.ends_with("_ms") => duration(ms),
            _ => number.to_string(),
        }),
        Value::String(text) if field == "restart" => Some(text.replace('_', "-")),
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if field == "ulimits" => Some(
            items
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(":"),
        ),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        Value::Object(fields) => Some(match field {
            "ports" => port(fields),
            "sockets" => socket(fields),
            "mounts" => mount(fields),
            "restart" => restart(fields),
            "seccomp" => profile(value),
            _ => value.to_string(),
        }),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    fields.get(name).and_then(Value::as_u64)
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool) == Some(true)
}

/// `127.0.0.1:8080:80/udp`
fn port(fields: &Map<String, Value>) -> String {
    let mut out = String::new();
    if let Some(ip) = text(fields, "host_ip") {
        let v6 = ip.contains(':');
        out = if v6 {
            format!("[{ip}]:")
        } else {
            format!("{ip}:")
        };
    }
    if let Some(first) = number(fields, "published") {
        out.push_str(&first.to_string());
        if let Some(last) = number(fields, "published_end") {
            out.push_str(&format!("-{last}"));
        }
        out.push(':');
    }
    out.push_str(&number(fields, "target").unwrap_or(0).to_string());
    if flag(fields, "udp") {
        out.push_str("/udp");
    }
    let labels = fields.get("labels").and_then(Value::as_array);
    let labels: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !labels.is_empty() {
        out.push_str(&format!(" ({})", labels.join(", ")));
    }
    out
}

/// `/run/app.sock: /home/me/app.sock`
fn socket(fields: &Map<String, Value>) -> String {
    let target = fields.get("target").and_then(Value::as_object);
    let target = target.and_then(|target| target.values().next());
    let target = match target {
        Some(Value::String(path)) => path.clone(),
        Some(port) => port.to_string(),
        None => String::new(),
    };
    format!("{target}: {}", text(fields, "path").unwrap_or_default())
}

/// `data/sub`
fn within(name: &str, source: &Map<String, Value>) -> String {
    match text(source, "subpath") {
        Some(subpath) => format!("{name}/{subpath}"),
        None => name.to_owned(),
    }
}

/// `source:target:ro`
fn mount(fields: &Map<String, Value>) -> String {
    let target = text(fields, "target").unwrap_or_default();
    let empty = Map::new();
    let source = fields
        .get("source")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut out = match text(source, "type") {
        Some("bind") => {
            let path = text(source, "path").unwrap_or_default();
            format!("{}:{target}", within(path, source))
        }
        Some("nfs") => {
            let server = text(source, "server").unwrap_or_default();
            let path = within(text(source, "path").unwrap_or_default(), source);
            let options = source.get("options").and_then(Value::as_array);
            let options = options.into_iter().flatten().filter_map(Value::as_str);
            let options: String = options.map(|option| format!(":{option}")).collect();
            format!("{server}:{path}:{target}{options}")
        }
        Some("volume") => {
            let name = text(source, "volume").unwrap_or_default();
            format!("{}:{target}", within(name, source))
        }
        Some("tmpfs") => {
            let size = number(source, "size").map(size);
            let size = size.map_or(String::new(), |size| format!(":size={size}"));
            let mode = number(source, "mode").map_or(String::new(), |m| format!(":mode={m:o}"));
            format!("tmpfs:{target}{size}{mode}")
        }
        _ => target.to_owned(),
    };
    if flag(source, "nocopy") {
        out.push_str(":nocopy");
    }
    if flag(fields, "read_only") {
        out.push_str(":ro");
    }
    out
}

/// `on-failure:3`
fn restart(fields: &Map<String, Value>) -> String {
    let max = fields
        .get("on_failure")
        .and_then(|policy| policy.get("max"))
        .and_then(Value::as_u64);
    match max {
        Some(max) => format!("on-failure:{max}"),
        None => "on-failure".to_owned(),
    }
}

/// A profile of system calls by the beginning of its hash: it is long.
fn profile(value: &Value) -> String {
    let hash = hash::hex(&Sha256::digest(value.to_string()));
    format!("profile {}", &hash[..12])
}

/// `256M`; bytes that are no whole unit stay bytes.
fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// `1m30s`, `250ms`
fn duration(ms: u64) -> String {
    if !ms.is_multiple_of(1000) || ms == 0 {
        return if ms < 1000 {
            format!("{ms}ms")
        } else {
            format!("{}s{}ms", ms / 1000, ms % 1000)
        };
    }
    let seconds = ms / 1000;
    let parts = [
        (seconds / 3600, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_stack_file_writes_it() {
        let show = |field: &str, json: Value| value(field, &json).unwrap_or_default();
        assert_eq!(show("memory", 268_435_456.into()), "256M");
        assert_eq!(show("shm_size", 1000.into()), "1000");
        assert_eq!(show("interval_ms", 90_000.into()), "1m30s");
        assert_eq!(show("interval_ms", 1_500.into()), "1s500ms");
        assert_eq!(show("restart", "unless_stopped".into()), "unless-stopped");
        let policy = serde_json::json!({"on_failure": {"max": 3}});
        assert_eq!(show("restart", policy), "on-failure:3");
        let port = serde_json::json!({"host_ip": "127.0.0.1", "published": 8080,
            "published_end": null, "target": 80, "udp": true});
        assert_eq!(show("ports", port), "127.0.0.1:8080:80/udp");
        let mount = serde_json::json!({"target": "/data", "read_only": true,
            "source": {"type": "volume", "volume": "db", "nocopy": false, "subpath": null}});
        assert_eq!(show("mounts", mount), "db:/data:ro");
        let words = serde_json::json!(["sh", "-c", "echo a"]);
        assert_eq!(show("command", words), r#"["sh", "-c", "echo a"]"#);
        assert_eq!(value("user", &Value::Null), None);
    }
}
