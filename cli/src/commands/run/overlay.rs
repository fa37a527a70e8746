//! The options of `run` that change the service, as a stack file that is
//! merged over the others: they mean what the same words mean there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use stack_api::spec::ServiceSpec;
use stack_planner::parse_environment;

use super::super::exec::with_value;
use crate::error::Error;

/// Options that change the service.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Overlay {
    /// Environment variable; without a value, the one it has here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// File with environment variables, written as `.env`; --env wins, then the first file
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<PathBuf>,

    /// Mount, as under `volumes` in the stack file
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET[:ro]")]
    volumes: Vec<String>,

    /// Publish a port, as under `ports` in the stack file
    #[arg(short = 'p', long = "publish", value_name = "[HOST:]PORT")]
    publish: Vec<String>,

    /// Publish the service's own ports
    #[arg(short = 'P', long, conflicts_with = "publish")]
    service_ports: bool,

    /// Program that gets the command as its arguments
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// User (and group) to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Directory to run in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Label
    #[arg(short, long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<String>,

    /// Capability to add
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,

    /// Capability to drop
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
}

impl Overlay {
    /// With the variables of the files. `--env` wins over them and the first
    /// file over the others; what is known by then is what references in a
    /// file find. `here` has the values of those that `--env` only names.
    ///
    /// # Errors
    /// One cannot be read, or is none.
    pub(super) fn with_env_files(&self, here: &BTreeMap<String, String>) -> Result<Overlay, Error> {
        let given = self
            .env
            .iter()
            .filter_map(|entry| match entry.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => Some((entry.clone(), here.get(entry)?.clone())),
            });
        let mut known: BTreeMap<String, String> = given.collect();
        let mut overlay = self.clone();
        for path in &self.env_from_file {
            let text = std::fs::read_to_string(path).map_err(|source| Error::File {
                doing: "cannot read",
                path: path.clone(),
                source,
            })?;
            let found = parse_environment(&text, &known).map_err(|(line, why)| {
                Error::usage(
                    format!("{}: line {line}: {why}", path.display()),
                    "lines are written as in `.env`: NAME=value",
                )
            })?;
            for (name, value) in found {
                if known.contains_key(&name) {
                    continue;
                }
                // `--env` may name it, but has no value for it.
                overlay.env.retain(|entry| *entry != name);
                overlay.env.push(format!("{name}={value}"));
                known.insert(name, value);
            }
        }
        Ok(overlay)
    }

    /// What a file over the other one cannot say: capabilities that are given here are not
    /// taken away there, nor the other way round, and sockets of the host are one
    /// container's, as ports are.
    pub(super) fn settle(&self, service: &mut ServiceSpec) {
        prevail(&self.cap_drop, &self.cap_add, &mut service.cap_add);
        prevail(&self.cap_add, &self.cap_drop, &mut service.cap_drop);
        if !self.service_ports {
            service.sockets.clear();
        }
    }

    /// The volumes as the file has them: there, paths are those from its directory.
    fn mounts(&self) -> Vec<String> {
        let from_here = |mount: &String| {
            let (source, rest) = source(mount)?;
            let path = source.starts_with('.').then(|| std::path::absolute(source));
            Some(format!("{}:{rest}", path?.ok()?.to_str()?))
        };
        let volumes = self.volumes.iter();
        volumes
            .map(|mount| from_here(mount).unwrap_or_else(|| mount.clone()))
            .collect()
    }

    /// The top level's `volumes`: as in Compose, one that no file has is made. What a
    /// file says of it stays.
    fn named(&self) -> String {
        let sources = self.volumes.iter().filter_map(|mount| source(mount));
        let named = sources.filter(|(source, _)| !source.starts_with(['.', '/', '~']));
        let named: BTreeMap<&str, Value> = named.map(|(name, _)| (name, json!({}))).collect();
        match named.is_empty() {
            true => String::new(),
            false => format!("volumes: {}\n", literal(&json!(named))),
        }
    }

    /// The file. JSON is YAML but for the tags.
    pub(super) fn text(&self, service: &str, command: &[String], tty: bool, stdin: bool) -> String {
        let mut lines = vec![
            line("tty", &json!(tty)),
            line("stdin_open", &json!(stdin)),
            "container_name: !reset null".to_owned(),
        ];
        if let Some(entrypoint) = &self.entrypoint {
            // A text is taken apart as a shell does it; none clears it.
            let value = if entrypoint.is_empty() {
                json!([])
            } else {
                json!(entrypoint)
            };
            lines.push(line("entrypoint", &value));
        }
        if !command.is_empty() || self.entrypoint.is_some() {
            lines.push(line("command", &json!(command)));
        }
        if !self.service_ports {
            lines.push(format!("ports: !override {}", list(&self.publish)));
        }
        for (key, value) in [("user", &self.user), ("working_dir", &self.workdir)] {
            if let Some(value) = value {
                lines.push(line(key, &json!(value)));
            }
        }
        let env: Vec<String> = self.env.iter().map(|entry| with_value(entry)).collect();
        for (key, values) in [
            ("environment", &env),
            ("volumes", &self.mounts()),
            ("labels", &self.labels),
            ("cap_add", &self.cap_add),
            ("cap_drop", &self.cap_drop),
        ] {
            if !values.is_empty() {
                lines.push(line(key, &json!(values)));
            }
        }
        format!(
            "services: {{{}: {{{}}}}}\n{}",
            json!(service),
            lines.join(", "),
            self.named()
        )
    }
}

/// Takes away from `contrary` what `given` names, unless that is said here, too.
fn prevail(given: &[String], too: &[String], contrary: &mut Vec<String>) {
    let bare = |name: &String| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    let given: Vec<String> = given.iter().map(bare).collect();
    let too: Vec<String> = too.iter().map(bare).collect();
    let all = given.iter().any(|name| name == "ALL");
    contrary.retain(|name| {
        let name = bare(name);
        too.contains(&name) || !all && !given.contains(&name)
    });
}

/// The source of a mount, and what follows; `None`: it has none.
fn source(mount: &str) -> Option<(&str, &str)> {
    mount
        .split_once(':')
        .filter(|(source, _)| !source.is_empty())
}

fn line(key: &str, value: &Value) -> String {
    format!("{key}: {}", literal(value))
}

fn list(values: &[String]) -> String {
    literal(&json!(values))
}

/// No variable is replaced in what was typed: the shell has done that.
fn literal(value: &Value) -> String {
    value.to_string().replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use stack_api::spec::{SocketSpec, SocketTarget};

    use super::*;

    #[test]
    fn what_is_given_first_wins_and_is_found_by_references() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let overlay = Overlay {
            env: ["A=given", "HERE", "NOWHERE"].map(str::to_owned).into(),
            env_from_file: vec![
                write("one", "A=file\nB=${A} # here\nC=first\nD=<$PATH>\n"),
                write("two", "NOWHERE=file\nHERE=no\nC='new $X'\nE=$B$C\n"),
            ],
            ..Overlay::default()
        };
        let here = [("HERE", "yes"), ("PATH", "/bin")];
        let here = here.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            overlay.with_env_files(&here.into()).unwrap().env,
            [
                "A=given",
                "HERE",
                "B=given",
                "C=first",
                "D=<>",
                "E=givenfirst",
                "NOWHERE=file"
            ]
        );
        let wrong = Overlay {
            env_from_file: vec![write("three", "A=1\nB C\n")],
            ..Overlay::default()
        };
        let error = wrong
            .with_env_files(&BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn what_is_said_here_counts() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let left = |overlay: Overlay| {
            let mut service = ServiceSpec {
                cap_add: names("SYS_ADMIN NET_ADMIN"),
                cap_drop: names("CHOWN"),
                sockets: vec![SocketSpec {
                    target: SocketTarget::Port(80),
                    path: "/run/web.sock".into(),
                }],
                ..ServiceSpec::default()
            };
            // As the file over the other one makes it.
            service.cap_add.extend(overlay.cap_add.clone());
            service.cap_drop.extend(overlay.cap_drop.clone());
            overlay.settle(&mut service);
            let lists = [service.cap_add.join(" "), service.cap_drop.join(" ")];
            (lists.join(" - "), service.sockets.len())
        };
        let of = |add: &str, drop: &str| Overlay {
            cap_add: names(add),
            cap_drop: names(drop),
            ..Overlay::default()
        };
        assert_eq!(left(of("", "")).0, "SYS_ADMIN NET_ADMIN - CHOWN");
        assert_eq!(
            left(of("", "cap_sys_admin")).0,
            "NET_ADMIN - CHOWN cap_sys_admin"
        );
        assert_eq!(
            left(of("CAP_CHOWN", "")).0,
            "SYS_ADMIN NET_ADMIN CAP_CHOWN - "
        );
        assert_eq!(left(of("BPF", "ALL")).0, "BPF - CHOWN ALL");
        assert_eq!(left(of("", "")).1, 0);
        let with_ports = Overlay {
            service_ports: true,
            ..Overlay::default()
        };
        assert_eq!(left(with_ports).1, 1);
    }

    #[test]
    fn options_become_a_file() {
        let overlay = Overlay {
            env: vec!["A=$1".to_owned()],
            publish: vec!["8080:80".to_owned()],
            entrypoint: Some("sh -c".to_owned()),
            user: Some("7".to_owned()),
            ..Overlay::default()
        };
        let text = overlay.text("web", &["echo \"hi\"".to_owned()], true, false);
        assert_eq!(
            text,
            "services: {\"web\": {tty: true, stdin_open: false, container_name: !reset null, \
             entrypoint: \"sh -c\", command: [\"echo \\\"hi\\\"\"], \
             ports: !override [\"8080:80\"], user: \"7\", environment: [\"A=$$1\"]}}\n"
        );
        let mounts = Overlay {
            volumes: ["./x:/x:ro", "cache:/c", "/etc:/e", "/data"]
                .map(str::to_owned)
                .into(),
            ..Overlay::default()
        };
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            mounts.mounts(),
            [
                &format!("{}/x:/x:ro", here.display()),
                "cache:/c",
                "/etc:/e",
                "/data"
            ]
        );
        let text = mounts.text("web", &[], false, false);
        assert!(text.ends_with("}}\nvolumes: {\"cache\":{}}\n"), "{text}");
        let plain = Overlay::default().text("web", &[], false, true);
        assert!(!plain.contains("command"), "{plain}");
        assert!(plain.contains("ports: !override []"), "{plain}");
    }
}
