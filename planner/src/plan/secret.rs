//! What of a value must not be shown.

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

/// `scheme://user:password@host` without the password.
fn without_password(value: &str) -> String {
    let hidden = value.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = authority.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}@{host}{path}"))
    });
    hidden.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
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
