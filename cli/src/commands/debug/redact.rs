//! Secrets do not go into a bundle: neither where they are defined nor where
//! a program has printed them.

use std::collections::BTreeSet;

use stack_api::spec::StackSpec;

/// What stands in their place.
pub(super) const HIDDEN: &str = "[redacted]";

/// Shorter values are not looked for in texts: they would turn up by chance.
const SHORTEST: usize = 6;

/// Words in the name of a variable whose value is nobody's business.
const WORDS: [&str; 10] = [
    "PASS",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "CERT",
    "DSN",
    "SALT",
];

/// Values that are secret.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Longest first: one may be a part of another.
    values: BTreeSet<(std::cmp::Reverse<usize>, String)>,
}

/// `user:password@` in an address.
fn password_in_url(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    if user.contains('/') {
        return None;
    }
    let (_, password) = user.split_once(':')?;
    Some(password).filter(|password| !password.is_empty())
}

fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    WORDS.iter().any(|word| upper.contains(word))
}

impl Secrets {
    /// Learns the secrets of a definition.
    pub(super) fn learn(&mut self, spec: &StackSpec) {
        for service in spec.services.values() {
            for file in &service.files {
                if file.source.starts_with("secrets") {
                    let text = String::from_utf8_lossy(&file.content);
                    self.add(&text);
                    text.lines().for_each(|line| self.add(line));
                }
            }
            for (name, value) in &service.environment {
                if is_secret(name) {
                    self.add(value);
                }
                if let Some(password) = password_in_url(value) {
                    self.add(password);
                }
            }
        }
    }

    fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.len() >= SHORTEST {
            let length = std::cmp::Reverse(value.len());
            self.values.insert((length, value.to_owned()));
        }
    }

    /// The text without them, also where JSON has escaped them.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (_, value) in &self.values {
            text = text.replace(value, HIDDEN);
            let escaped = serde_json::json!(value).to_string();
            let escaped = escaped.trim_matches('"');
            if escaped != value {
                text = text.replace(escaped, HIDDEN);
            }
        }
        text
    }

    /// The definition without contents of secrets, short ones included.
    pub(super) fn spec(&self, spec: &StackSpec) -> StackSpec {
        let mut spec = spec.clone();
        for service in spec.services.values_mut() {
            for file in &mut service.files {
                if file.source.starts_with("secrets") {
                    file.content = HIDDEN.as_bytes().to_vec();
                }
            }
            for (name, value) in &mut service.environment {
                if is_secret(name) {
                    HIDDEN.clone_into(value);
                } else if let Some(password) = password_in_url(value) {
                    *value = value.replace(&format!(":{password}@"), &format!(":{HIDDEN}@"));
                }
            }
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stack_api::spec::{FileSpec, ServiceSpec};

    #[test]
    fn a_secret_is_hidden_wherever_it_turns_up() {
        let mut service = ServiceSpec::default();
        let mut set = |name: &str, value: &str| {
            service
                .environment
                .insert(name.to_owned(), value.to_owned());
        };
        set("DB_PASSWORD", "hunter22\"x");
        set("PIN_KEY", "1");
        set("URL", "postgres://app:geheim1@db/app");
        set("PLAIN", "visible");
        service.files.push(FileSpec {
            source: "secrets.api".to_owned(),
            target: "/run/secrets/api".to_owned(),
            content: b"line one\nsecond line\n".to_vec(),
            mode: 0o400,
            uid: 0,
            gid: 0,
        });
        let mut spec = StackSpec::default();
        spec.services.insert("web".to_owned(), service);
        let mut secrets = Secrets::default();
        secrets.learn(&spec);
        let log = "got hunter22\"x and \"hunter22\\\"x\", second line, geheim1, visible";
        assert_eq!(
            secrets.hide(log),
            "got [redacted] and \"[redacted]\", [redacted], [redacted], visible"
        );
        let json = serde_json::to_string(&secrets.spec(&spec)).unwrap();
        for word in ["hunter22", "geheim1", "\"1\""] {
            assert!(!json.contains(word), "{word} in {json}");
        }
        assert!(json.contains("visible"));
        let bytes = serde_json::json!(b"line one").to_string();
        assert!(!json.contains(bytes.trim_end_matches(']')), "{json}");
    }
}
