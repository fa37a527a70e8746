//! What of a value must not be shown.

use std::ops::Range;

use serde_json::Value;

use super::change::HIDDEN;

/// Anywhere in a word of the name.
const PARTS: [&str; 12] = [
    "PASS",
    "PWD",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "CERT",
    "DSN",
    "SALT",
    "SIGNATURE",
];
/// Words that have such a part and are nobody's secret.
const HARMLESS: [&str; 20] = [
    "AUTHOR",
    "AUTHORITIES",
    "AUTHORITY",
    "AUTHORS",
    "BYPASS",
    "CERTBOT",
    "CERTRESOLVER",
    "COMPASS",
    "HOTKEY",
    "HOTKEYS",
    "KEYBOARD",
    "KEYCLOAK",
    "KEYSPACE",
    "KEYWORD",
    "KEYWORDS",
    "MONKEY",
    "PASSTHROUGH",
    "PASSENGER",
    "PASSIVE",
    "TURNKEY",
];

/// Last words of names of places, which are no secrets: `DB_PASSWORD_FILE`.
const PLACES: [&str; 3] = ["DIR", "FILE", "PATH"];

/// The name of a variable whose value is nobody's business.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // Directories, as shells have them.
    if matches!(name.as_str(), "PWD" | "OLDPWD") {
        return false;
    }
    let last = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
    if last.is_some_and(|word| PLACES.contains(&word)) {
        return false;
    }
    let has_part = |word: &str| PARTS.iter().any(|part| word.contains(part));
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == "PW" || has_part(word) && !HARMLESS.contains(&word))
}

/// `--name`, whose value is the next word.
pub fn announces(word: &str) -> bool {
    word.strip_prefix("--")
        .is_some_and(|name| is_variable(name) && is_secret(name))
}

/// The text with another one in the place of what is secret in it.
pub fn replaced(text: &str, by: &str) -> String {
    let mut shown = String::new();
    let mut at = 0;
    for place in places(text) {
        shown.push_str(&text[at..place.start]);
        shown.push_str(by);
        at = place.end;
    }
    shown + &text[at..]
}

/// Where a text, as a command line or an address, has something secret: in order,
/// none in another one.
pub fn places(text: &str) -> Vec<Range<usize>> {
    if let Some(value) = assigned(text, 0) {
        return vec![value];
    }
    let mut found = passwords_in_addresses(text);
    let mut announced = false;
    for (at, word) in pieces(text, &[' ', '\n', '\t'], 0) {
        if std::mem::replace(&mut announced, announces(word)) {
            found.push(at..at + word.len());
        } else if let Some(value) = assigned(word, at) {
            found.push(value);
        } else {
            // The queries of addresses, and connection strings.
            let settings = pieces(word, &['?', '&', ';', ','], at);
            found.extend(settings.filter_map(|(at, piece)| assigned(piece, at)));
        }
    }
    found.retain(|place| !place.is_empty());
    found.sort_by_key(|place| (place.start, place.end));
    let mut end = 0;
    found.retain_mut(|place| {
        place.start = place.start.max(end);
        end = end.max(place.end);
        place.start < place.end
    });
    found
}

/// What stands between separators, each with its place.
fn pieces<'a>(
    text: &'a str,
    separators: &'a [char],
    mut at: usize,
) -> impl Iterator<Item = (usize, &'a str)> {
    text.split(separators).map(move |piece| {
        let start = at;
        at += piece.len() + 1;
        (start, piece)
    })
}

/// The value of `NAME=value` or `--name=value` whose name sounds like a
/// secret's, in a text that begins at `at`.
fn assigned(text: &str, at: usize) -> Option<Range<usize>> {
    let (name, _) = text.split_once('=')?;
    let start = at + name.len() + 1;
    let name = name.trim_start_matches(['"', '\'']);
    (is_variable(name) && is_secret(name)).then_some(start..at + text.len())
}

/// `NAME` of `NAME=value`, or an option.
fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.chars().all(plain)
}

/// Those of `scheme://user:password@host`, wherever it stands.
fn passwords_in_addresses(text: &str) -> Vec<Range<usize>> {
    const SCHEME: &str = "://";
    let password = |at: usize| {
        let rest = &text[at + SCHEME.len()..];
        let authority = rest.split(['/', '?', '#', ' ', '"', '\'']).next()?;
        let (login, _) = authority.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        let start = at + SCHEME.len();
        Some(start + user.len() + 1..start + login.len())
    };
    text.match_indices(SCHEME)
        .filter_map(|(at, _)| password(at))
        .collect()
}

/// The value as it may be shown: hidden when its name says so, else without what is
/// secret in it.
pub(super) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        return HIDDEN.to_owned();
    }
    replaced(value, HIDDEN)
}

/// A value of any kind as it may be shown: commands, with their arguments and what
/// they have in their environment, and addresses.
pub(super) fn without(value: &Value) -> Value {
    match value {
        Value::String(text) => replaced(text, HIDDEN).into(),
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
            "DBPASS",
            "ENCRYPTIONKEY",
            "MYSQL_PWD",
            "db_pw",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "PATH", "AUTHOR", "DEBUG", "MONKEY", "PWD"] {
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
    fn passwords_in_queries_and_connection_strings() {
        assert_eq!(
            shown(
                "URL",
                "jdbc:postgresql://db/app?user=a&password=hunter2&ssl=1"
            ),
            "jdbc:postgresql://db/app?user=a&password=(hidden)&ssl=1"
        );
        assert_eq!(
            shown("DB", "Server=db;User Id=a;Password=hunter2;Timeout=5"),
            "Server=db;User Id=a;Password=(hidden);Timeout=5"
        );
        assert_eq!(
            shown("DB", "host=db password=hunter2 user=a"),
            "host=db password=(hidden) user=a"
        );
        assert_eq!(
            shown("A", "http://a:b=@c?token=d&e http://f:g@h"),
            "http://a:(hidden)@c?token=(hidden)&e http://f:(hidden)@h"
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
