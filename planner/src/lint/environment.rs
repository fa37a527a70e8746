//! Secrets in environment variables.

use super::{Lints, entries};
use crate::tree::Node;

/// Last words of names that say what the value is.
const SECRET_WORDS: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "KEY",
    "APIKEY",
    "CREDENTIALS",
];
/// Words before `KEY` that make it no secret.
const HARMLESS_KEYS: [&str; 7] = [
    "PUBLIC",
    "PRIMARY",
    "PARTITION",
    "SORT",
    "CACHE",
    "FOREIGN",
    "ROUTING",
];

/// L0005: a value that should not be in the file.
pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        for (variable, node) in entries(service.get("environment")) {
            let Some(value) = node.scalar_text().filter(|value| !value.is_empty()) else {
                continue;
            };
            // A value with a variable comes from elsewhere, so does one of `env_file`.
            let written = lints.written(node.value_place());
            if written.contains('$') || !(is_secret_name(variable, &value) || has_password(&value))
            {
                continue;
            }
            let message = format!(
                "`{variable}` of `{name}` is a secret that everybody sees who sees the file"
            );
            lints.push("L0005", message, |problem| {
                problem.at(Node::place(node), "its value is written here").help(format!(
                    "use `secrets` and `{variable}_FILE` where the image knows it, or `${{{variable}:?}}` and a file that is not checked in"
                ))
            });
        }
    }
}

fn is_secret_name(variable: &str, value: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    let words: Vec<&str> = upper
        .split(['_', '-', '.'])
        .filter(|word| !word.is_empty())
        .collect();
    let Some((last, before)) = words.split_last() else {
        return false;
    };
    let switch = matches!(
        value.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "0" | "1"
    );
    let harmless = *last == "KEY"
        && before
            .last()
            .is_none_or(|word| HARMLESS_KEYS.contains(word));
    // `/run/secrets/x` is a path to a secret.
    SECRET_WORDS.contains(last) && !harmless && !switch && !value.starts_with("/run/secrets/")
}

/// `scheme://user:password@host`
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let Some((user, _)) = authority.rsplit_once('@') else {
        return false;
    };
    user.split_once(':')
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{has_password, is_secret_name};

    #[test]
    fn names_and_addresses_tell() {
        for name in [
            "POSTGRES_PASSWORD",
            "API_KEY",
            "github.token",
            "AWS_SECRET_ACCESS_KEY",
            "SECRET",
        ] {
            assert!(is_secret_name(name, "x"), "{name}");
        }
        for name in [
            "PASSWORD_FILE",
            "TOKEN_TTL",
            "PUBLIC_KEY",
            "KEY",
            "MONKEY",
            "",
        ] {
            assert!(!is_secret_name(name, "x"), "{name}");
        }
        assert!(!is_secret_name("ALLOW_EMPTY_PASSWORD", "yes"));
        assert!(has_password("postgres://u:p@db/x"));
        assert!(!has_password("postgres://u@db/x") && !has_password("http://db:80/a@b"));
    }
}
