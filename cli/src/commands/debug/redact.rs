//! Secrets do not go into a bundle: neither where they are defined nor where
//! a program has printed them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use stack_api::debug::Debug;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_planner::plan::secret;

/// What stands in their place.
pub(super) const HIDDEN: &str = "[redacted]";

/// Shorter values are not looked for in texts: they would turn up by chance.
const SHORTEST: usize = 6;

/// Values that are secret.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Longest first: one may be a part of another.
    values: BTreeSet<(Reverse<usize>, String)>,
}

/// The value of a line of a file with settings whose name sounds like a secret's:
/// `password = x`, `"password": "x",`.
fn setting(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(['=', ':'])?;
    let name = bare(name).trim_start_matches("export ");
    secret::is_secret(name).then(|| bare(value))
}

fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || "\"',;{}".contains(c))
}

/// What is secret in a text.
fn within(text: &str) -> impl Iterator<Item = &str> {
    secret::places(text).into_iter().map(|place| &text[place])
}

/// `%40` is `@`. `None`: nothing of that kind, or nothing that is a text.
fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| decoded.into_owned())
}

impl Secrets {
    /// Learns the secrets of a definition.
    pub(super) fn learn(&mut self, spec: &StackSpec) {
        let services = spec.services.values();
        services.for_each(|service| self.learn_files(service));
        self.learn_tree(json!(without_contents(spec.clone())));
    }

    /// Learns those of a container.
    pub(super) fn learn_container(&mut self, container: &Debug) {
        if let Some(service) = &container.definition {
            self.learn_files(service);
            let mut service = ServiceSpec::clone(service);
            leave_contents_out(&mut service);
            self.learn_tree(json!(service));
        }
        self.learn_tree(json!(container.environment));
    }

    fn learn_files(&mut self, service: &ServiceSpec) {
        for file in &service.files {
            let text = String::from_utf8_lossy(&file.content);
            if file.source.starts_with("secrets") {
                self.add(&text);
            }
            for line in text.lines() {
                setting(line).into_iter().for_each(|value| self.add(value));
                within(line.trim()).for_each(|value| self.add(value));
            }
        }
    }

    fn learn_tree(&mut self, mut tree: Value) {
        let mut found = Vec::new();
        each(&mut tree, false, &mut |text, is_secret| {
            if is_secret {
                found.push(text.clone());
            }
            found.extend(within(text).map(str::to_owned));
        });
        found.iter().for_each(|value| self.add(value));
    }

    fn add(&mut self, value: &str) {
        self.add_one(value);
        // Logs have a time before each line.
        if value.trim().contains('\n') {
            value.lines().for_each(|line| self.add_one(line));
        }
    }

    fn add_one(&mut self, value: &str) {
        let value = value.trim();
        let bare = value.trim_matches(['"', '\'']);
        let decoded = decoded(bare);
        let all = [Some(value), Some(bare), decoded.as_deref()];
        for value in all.into_iter().flatten() {
            if value.len() < SHORTEST {
                continue;
            }
            for form in forms(value) {
                if form.len() >= SHORTEST {
                    self.values.insert((Reverse(form.len()), form));
                }
            }
        }
    }

    /// The text without them, also in other forms that programs print.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (_, value) in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), HIDDEN);
            }
        }
        text
    }
}

/// A definition without its secrets, short ones included, and without what is in
/// files, which may be anything.
pub(super) fn spec(spec: &StackSpec) -> Value {
    value(json!(without_contents(spec.clone())))
}

/// The same for whatever else tells of containers, as their commands.
pub(super) fn value(mut value: Value) -> Value {
    each(&mut value, false, &mut |text, is_secret| match is_secret {
        true => HIDDEN.clone_into(text),
        false => *text = secret::replaced(text, HIDDEN),
    });
    value
}

fn without_contents(mut spec: StackSpec) -> StackSpec {
    spec.services.values_mut().for_each(leave_contents_out);
    spec
}

fn leave_contents_out(service: &mut ServiceSpec) {
    service
        .files
        .iter_mut()
        .for_each(|file| file.content.clear());
}

/// Every text, and whether its name says that it is secret.
fn each(value: &mut Value, is_secret: bool, visit: &mut impl FnMut(&mut String, bool)) {
    match value {
        Value::String(text) => visit(text, is_secret),
        Value::Array(items) => {
            let mut announced = false;
            for item in items {
                let next = item.as_str().is_some_and(secret::announces);
                each(item, is_secret || announced, visit);
                announced = next;
            }
        }
        Value::Object(entries) => {
            for (name, entry) in entries {
                // What a service is called says nothing of what it is.
                let is_secret = is_secret || (entry.is_string() && secret::is_secret(name));
                each(entry, is_secret, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// As it is, and as programs print it: in JSON (also within JSON), in addresses,
/// in base64 (also behind something else, as in `user:password`), in
/// hexadecimal.
fn forms(value: &str) -> Vec<String> {
    let in_json = |text: &str| {
        let text = json!(text).to_string();
        text[1..text.len() - 1].to_owned()
    };
    let once = in_json(value);
    let mut forms = vec![value.to_owned(), in_json(&once), once];
    let percent = |upper: bool| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let encode = |byte: u8| match (plain(byte), upper) {
            (true, _) => char::from(byte).to_string(),
            (false, true) => format!("%{byte:02X}"),
            (false, false) => format!("%{byte:02x}"),
        };
        value.bytes().map(encode).collect()
    };
    forms.extend([percent(true), percent(false)]);
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.extend([hex.to_uppercase(), hex]);
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            // What stands before and after it reaches into its first and last
            // digits: those in between are its own.
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(value.as_bytes());
            let text = engine.encode(&bytes);
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            forms.push(text[own].to_owned());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use stack_api::spec::FileSpec;

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
        set("MYSQL_PWD", "word-of-mouth");
        set("PWD", "/workdir");
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
        let json = super::spec(&spec).to_string();
        for word in ["hunter22", "geheim1", "\"1\"", "word-of-mouth"] {
            assert!(!json.contains(word), "{word} in {json}");
        }
        assert!(json.contains("visible") && json.contains("/workdir"));
        let bytes = serde_json::json!(b"line one").to_string();
        assert!(!json.contains(bytes.trim_end_matches(']')), "{json}");
    }

    #[test]
    fn configs_are_left_out_and_looked_through() {
        let mut service = ServiceSpec::default();
        let content = "user = app\npassword=s3cret-word\nurl=http://a:geheim1@b/";
        service.files.push(FileSpec {
            source: "configs.app".to_owned(),
            target: "/app.ini".to_owned(),
            content: content.as_bytes().to_vec(),
            mode: 0o444,
            uid: 0,
            gid: 0,
        });
        let mut spec = StackSpec::default();
        spec.services.insert("web".to_owned(), service);
        let json = super::spec(&spec).to_string();
        let bytes = json!(content.as_bytes()).to_string();
        assert!(json.contains("/app.ini"), "{json}");
        assert!(!json.contains(&bytes) && !json.contains("s3cret"), "{json}");
        let mut secrets = Secrets::default();
        secrets.learn(&spec);
        assert_eq!(
            secrets.hide("s3cret-word, geheim1"),
            "[redacted], [redacted]"
        );
    }

    #[test]
    fn what_is_within_a_secret_is_secret() {
        let mut service = ServiceSpec::default();
        let content = "DB_PASSWORD=s3cret-word\nurl: postgres://app:geheim1%40x@db/app\n\
                       \"api_key\": \"json-word\",\n";
        service.files.push(FileSpec {
            source: "secrets.app".to_owned(),
            target: "/run/secrets/app".to_owned(),
            content: content.as_bytes().to_vec(),
            mode: 0o400,
            uid: 0,
            gid: 0,
        });
        for (name, value) in [
            ("TLS_KEY", "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"),
            ("URL", "jdbc:postgresql://db/app?user=a&password=hunter22"),
            ("DB", "Server=db;Password=hunter33"),
        ] {
            let (name, value) = (name.to_owned(), value.to_owned());
            service.environment.insert(name, value);
        }
        let mut spec = StackSpec::default();
        spec.services.insert("web".to_owned(), service);
        let mut secrets = Secrets::default();
        secrets.learn(&spec);
        for text in [
            "s3cret-word",
            "geheim1%40x",
            "geheim1@x",
            "json-word",
            "MIIEvQIBADAN",
            "hunter22",
            "hunter33",
        ] {
            assert_eq!(secrets.hide(text), HIDDEN, "{text}");
        }
        let json = super::spec(&spec).to_string();
        assert!(
            !json.contains("hunter") && json.contains("user=a&"),
            "{json}"
        );
    }

    #[test]
    fn a_container_tells_of_secrets_that_no_definition_has() {
        let service = ServiceSpec {
            command: Some(vec![
                "sh".to_owned(),
                "-c".to_owned(),
                "load --password of-the-past TOKEN=abcdefgh".to_owned(),
            ]),
            ..ServiceSpec::default()
        };
        let mut secrets = Secrets::default();
        secrets.learn_container(&Debug {
            definition: Some(Box::new(service)),
            environment: vec!["API_KEY=of-the-image".to_owned()],
            ..Debug::default()
        });
        assert_eq!(
            secrets.hide("of-the-past, abcdefgh, of-the-image"),
            "[redacted], [redacted], [redacted]"
        );
        let list =
            json!([{"name": "web-1", "command": "load --password 1 PIN_KEY=2 http://u:3@h"}]);
        assert_eq!(
            value(list),
            json!([{"name": "web-1",
                "command": "load --password [redacted] PIN_KEY=[redacted] http://u:[redacted]@h"}])
        );
    }

    #[test]
    fn whatever_form_it_has_and_wherever_it_was_written() {
        let mut service = ServiceSpec::default();
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
        service.command = words("serve --api-token T0ken+Of/Mine --auth=Basic+Word1 --port 80");
        let label = ("proxy.auth", "admin:$apr1$abcdefgh");
        service
            .labels
            .insert(label.0.to_owned(), label.1.to_owned());
        service.hooks.post_start = vec![stack_api::hook::Hook {
            environment: vec!["SEED_SECRET=from the hook".to_owned()],
            ..stack_api::hook::Hook::default()
        }];
        service.healthcheck = Some(stack_api::spec::HealthCheckSpec {
            test: words("CMD curl http://probe:Pr0bePass@localhost/"),
            ..stack_api::spec::HealthCheckSpec::default()
        });
        let mut spec = StackSpec::default();
        spec.services.insert("web".to_owned(), service);
        let mut secrets = Secrets::default();
        secrets.learn(&spec);
        let json = super::spec(&spec).to_string();
        let all = [
            "T0ken+Of/Mine",
            "Basic+Word1",
            "apr1",
            "from the hook",
            "Pr0bePass",
        ];
        for word in all {
            assert!(!json.contains(word), "{word} in {json}");
        }
        assert!(json.contains("--port") && json.contains("80"), "{json}");
        let encoded = |text: &str| STANDARD_NO_PAD.encode(text);
        for text in [
            "token=T0ken%2BOf%2FMine".to_owned(),
            "token=T0ken%2bOf%2fMine".to_owned(),
            encoded("T0ken+Of/Mine"),
            encoded("me:T0ken+Of/Mine"),
            encoded("you:T0ken+Of/Mine\n"),
            encoded("someone:T0ken+Of/Mine and more"),
            "54306B656E2B4F662F4D696E65".to_owned(),
            json!({"inner": json!({"x": "from the hook"}).to_string()}).to_string(),
        ] {
            let hidden = secrets.hide(&text);
            assert!(hidden.contains(HIDDEN), "{text} became {hidden}");
        }
        assert_eq!(secrets.hide("nothing to hide"), "nothing to hide");
    }
}
