//! How a line of `stats` is written: the words of `docker stats`.

use serde_json::{Value, json};
use stack_api::look::Usage;

use crate::ui::form::Form;
use crate::ui::human;

/// Reads `--format`.
pub(super) fn parse(text: &str) -> Result<Form, String> {
    Form::parse(text, &Row::default().json().into())
}

/// A container's line, in words.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) service: String,
    pub(super) cpu: String,
    pub(super) memory: String,
    pub(super) memory_share: String,
    pub(super) net: String,
    pub(super) disk: String,
    pub(super) pids: String,
    /// Shares of a processor at the last looks.
    pub(super) bars: String,
}

impl Row {
    /// `share`: percent of one processor.
    pub(super) fn new(usage: &Usage, share: f64) -> Row {
        let pair = |a, b| format!("{} / {}", human::bytes(a), human::bytes(b));
        let of_limit = usage.memory as f64 * 100.0 / usage.memory_limit.max(1) as f64;
        Row {
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
            bars: String::new(),
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
    fn words_of_docker() {
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
        assert!(parse("{{.Name}} {{.PIDs}}").is_ok());
        assert!(parse("{{.Nmae}}").is_err());
    }
}
