//! What of a value must not be shown.

use serde_json::Value;

use super::change::HIDDEN;

/// Anywhere in the name.
const PARTS: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "CREDENTIAL",
    "PRIVATE",
    "SIGNATURE",
];
/// A word of the name.
const WORDS: [&str; 6] = ["KEY", "PASS", "PW", "PWD", "AUTH", "SALT"];

/// The name of a variable whose value is nobody's business.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word))
}

/// The value as it may be shown: hidden when its name says so, without the
/// password when it is an address with one.
pub(super) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        return HIDDEN.to_owned();
    }
    without_password(value)
}

/// A value of any kind as it may be shown: commands, with their arguments and what
/// they have in their environment, and addresses.
pub(super) fn without(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let words: Vec<&str> = text.split(' ').collect();
            match text.split_once('=') {
                Some((name, _)) if is_variable(name) && is_secret(name) => {
                    format!("{name}={HIDDEN}").into()
                }
                _ => arguments(&words).join(" ").into(),
            }
        }
        Value::Array(items) => {
            let mut announced = false;
            let item = |item: &Value| {
                let is_value =
                    std::mem::replace(&mut announced, item.as_str().is_some_and(announces));
                match is_value {
                    true => HIDDEN.into(),
                    false => without(item),
                }
            };
            items.iter().map(item).collect()
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), without(value));
            fields.iter().map(field).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn arguments(words: &[&str]) -> Vec<String> {
    let mut announced = false;
    let shown = words.iter().map(|word| {
        let is_value = std::mem::replace(&mut announced, announces(word));
        match word.split_once('=') {
            _ if is_value => HIDDEN.to_owned(),
            Some((name, _)) if is_variable(name) && is_secret(name) => format!("{name}={HIDDEN}"),
            _ => without_password(word),
        }
    });
    shown.collect()
}

/// `NAME` of `NAME=value`, or an option.
fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.chars().all(plain)
}

/// `--password`, whose value is the next word.
fn announces(word: &str) -> bool {
    word.strip_prefix("--")
        .is_some_and(|name| is_variable(name) && is_secret(name))
}

/// `scheme://user:password@host` without the passwords, wherever it stands.
fn without_password(value: &str) -> String {
    let mut parts = value.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        shown.push_str("://");
        let end = rest
            .find(['/', '?', '#', ' ', '"', '\''])
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let login = authority.rsplit_once('@');
        match login.and_then(|(login, host)| Some((login.split_once(':')?.0, host))) {
            Some((user, host)) => shown.push_str(&format!("{user}:{HIDDEN}@{host}")),
            None => shown.push_str(authority),
        }
        shown.push_str(path);
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_hide() {
        for name in [
            "POSTGRES_PASSWORD",
            "aws_secret_access_key",
            "API_KEY",
            "GITHUB_TOKEN",
            "DB_PASS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "PATH", "AUTHOR", "DEBUG", "MONKEY"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn commands_without_what_is_secret_in_them() {
        let shown = |value: Value| without(&value);
        assert_eq!(
            shown(
                json!([{"command": ["load", "--db-password", "hunter2", "--port", "80"],
                          "environment": ["SEED_TOKEN=abc", "A=1", "API_KEY"]}])
            ),
            json!([{"command": ["load", "--db-password", "(hidden)", "--port", "80"],
                    "environment": ["SEED_TOKEN=(hidden)", "A=1", "API_KEY"]}])
        );
        assert_eq!(
            shown(json!(
                "PGPASSWORD=x psql pg://a:hunter2@db 'pg://b:hunter3@db'"
            )),
            json!("PGPASSWORD=(hidden)")
        );
        assert_eq!(
            shown(json!(
                "psql pg://a:hunter2@db 'pg://b:hunter3@db' --token x"
            )),
            json!("psql pg://a:(hidden)@db 'pg://b:(hidden)@db' --token (hidden)")
        );
    }

    #[test]
    fn passwords_in_addresses() {
        assert_eq!(
            shown("DATABASE_URL", "postgres://app:hunter2@db:5432/shop?x=1"),
            "postgres://app:(hidden)@db:5432/shop?x=1"
        );
        assert_eq!(shown("URL", "http://db:80/a@b:c"), "http://db:80/a@b:c");
        assert_eq!(shown("URL", "http://me@db"), "http://me@db");
        assert_eq!(
            shown("URL", "redis://:pa:s@s@cache"),
            "redis://:(hidden)@cache"
        );
    }
}
