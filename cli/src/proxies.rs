//! Proxies for builds: those of Docker's `config.json` for all containers, or
//! else those of the environment.

use std::collections::BTreeMap;

use serde_json::Value;
use stack_images::PullOptions;

/// As variables, and in the file.
const NAMES: [(&str, &str); 5] = [
    ("HTTP_PROXY", "httpProxy"),
    ("HTTPS_PROXY", "httpsProxy"),
    ("NO_PROXY", "noProxy"),
    ("FTP_PROXY", "ftpProxy"),
    ("ALL_PROXY", "allProxy"),
];

/// By the name of the variable.
pub(crate) fn of_builds() -> BTreeMap<String, String> {
    let config = PullOptions::from_env().docker_configuration();
    chosen(&config, |name| std::env::var(name).ok())
}

fn chosen(config: &Value, variable: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let one = |(name, key): &(&str, &str)| {
        let given = config["proxies"]["default"][*key].as_str();
        let value = given
            .map(str::to_owned)
            .or_else(|| variable(name))
            .or_else(|| variable(&name.to_lowercase()))?;
        (!value.trim().is_empty()).then(|| ((*name).to_owned(), value))
    };
    NAMES.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_before_the_environment() {
        let config = serde_json::json!({"proxies": {
            "default": {"httpProxy": "http://file:1", "httpsProxy": ""},
            "tcp://other": {"ftpProxy": "http://other:1"},
        }});
        let variable = |name: &str| match name {
            "HTTP_PROXY" => Some("http://variable:1".to_owned()),
            "HTTPS_PROXY" => Some("http://variable:2".to_owned()),
            "no_proxy" => Some(".x".to_owned()),
            _ => None,
        };
        let found = chosen(&config, variable);
        let wanted = [("HTTP_PROXY", "http://file:1"), ("NO_PROXY", ".x")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, wanted.into());
        assert_eq!(chosen(&Value::Null, variable).len(), 3);
    }
}
