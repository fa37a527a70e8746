//! How a line of `stats` is written: the words of `docker stats`.

use std::str::FromStr;

use serde_json::{Value, json};
use stack_api::look::Usage;

use crate::ui::human;

/// `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
    Template(Template),
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        match text {
            "table" => Ok(Form::Table),
            "json" => Ok(Form::Json),
            text => Template::parse(text).map(Form::Template),
        }
    }
}

/// A text with fields in it, `{{.Name}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    fn parse(text: &str) -> Result<Template, String> {
        let text = text.strip_prefix("table ").unwrap_or(text);
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (field, after) = after
                .split_once("}}")
                .ok_or_else(|| "a `{{` has no `}}`".to_owned())?;
            let name = field.trim().trim_start_matches('.').to_owned();
            let known = Row::default().json();
            if known.get(&name).is_none() {
                let fields: Vec<&str> = known
                    .as_object()
                    .into_iter()
                    .flat_map(|fields| fields.keys().map(String::as_str))
                    .collect();
                return Err(format!("`{name}` is not among {}", fields.join(", ")));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(name));
            rest = after;
        }
        if parts.is_empty() {
            return Err("table, json, or a text with fields such as {{.Name}}".to_owned());
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    /// The text for a row.
    pub(super) fn fill(&self, row: &Row) -> String {
        let json = row.json();
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Field(name) => json[name].as_str().unwrap_or_default(),
        });
        parts.collect()
    }
}

/// A container's line, in words.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) full_id: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) service: String,
    pub(super) cpu: String,
    pub(super) memory: String,
    pub(super) memory_share: String,
    pub(super) net: String,
    pub(super) disk: String,
    pub(super) pids: String,
}

impl Row {
    /// `share`: percent of one processor.
    pub(super) fn new(usage: &Usage, share: f64) -> Row {
        let pair = |a, b| format!("{} / {}", human::bytes(a), human::bytes(b));
        let of_limit = usage.memory as f64 * 100.0 / usage.memory_limit.max(1) as f64;
        Row {
            full_id: usage.id.clone(),
            id: usage.id.clone(),
            name: usage.container.clone(),
            service: usage.service.clone(),
            cpu: format!("{share:.2}%"),
            memory: format!(
                "{} / {}",
                human::binary(usage.memory),
                human::binary(usage.memory_limit)
            ),
            memory_share: format!("{of_limit:.2}%"),
            net: pair(usage.rx_bytes, usage.tx_bytes),
            disk: pair(usage.read_bytes, usage.write_bytes),
            pids: usage.pids.to_string(),
        }
    }

    /// The fields of `docker stats --format json`, and `Service`.
    pub(super) fn json(&self) -> Value {
        json!({
            "BlockIO": self.disk,
            "CPUPerc": self.cpu,
            "Container": self.id,
            "ID": self.id,
            "MemPerc": self.memory_share,
            "MemUsage": self.memory,
            "Name": self.name,
            "NetIO": self.net,
            "PIDs": self.pids,
            "Service": self.service,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms() {
        let usage = Usage {
            id: "ab".repeat(32),
            container: "shop-web-1".to_owned(),
            memory: 64 << 20,
            memory_limit: 256 << 20,
            rx_bytes: 1200,
            pids: 3,
            ..Usage::default()
        };
        let row = Row::new(&usage, 12.345);
        let json = row.json();
        assert_eq!(json["CPUPerc"], "12.35%");
        assert_eq!(json["MemUsage"], "64MiB / 256MiB");
        assert_eq!(json["MemPerc"], "25.00%");
        assert_eq!(json["NetIO"], "1.20kB / 0B");
        let Ok(Form::Template(template)) = "{{.Name}}\\t{{ .PIDs }}!".parse() else {
            panic!("no template")
        };
        assert_eq!(template.fill(&row), "shop-web-1\t3!");
        assert!("{{.Nmae}}".parse::<Form>().is_err());
        assert!("tabel".parse::<Form>().is_err());
        assert_eq!("json".parse(), Ok(Form::Json));
    }
}
