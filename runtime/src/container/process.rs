//! The service's process: image configuration and spec merged by Docker's
//! rules.

use std::collections::BTreeMap;

use stack_api::event::ApiError;
use stack_api::spec::ServiceSpec;
use stack_images::ImageConfig;
use stack_protocol::capability;
use stack_protocol::config::{Exec, HealthCheck};

/// The process of a service.
///
/// # Errors
/// Neither the image nor the file gives a command.
pub(super) fn process(spec: &ServiceSpec, image: &ImageConfig) -> Result<Exec, ApiError> {
    Ok(Exec {
        args: arguments(spec, image)?,
        env: environment(spec, image),
        cwd: spec
            .working_dir
            .clone()
            .or_else(|| Some(image.working_dir.clone()).filter(|dir| !dir.is_empty()))
            .unwrap_or_else(|| "/".to_owned()),
        user: spec.user.clone().unwrap_or_else(|| image.user.clone()),
        groups: spec.group_add.clone(),
        tty: spec.tty,
        size: None,
        stdin: spec.stdin_open,
        unheard: false,
        capabilities: capabilities(spec),
        privileged: spec.privileged,
        rlimits: spec
            .ulimits
            .iter()
            .map(|(name, (soft, hard))| (name.clone(), limit(*soft), limit(*hard)))
            .collect(),
        no_new_privileges: spec.no_new_privileges,
        seccomp: seccomp(spec)?,
        oom_score_adj: spec.oom_score_adj,
        builtin: None,
    })
}

fn seccomp(spec: &ServiceSpec) -> Result<Vec<u8>, ApiError> {
    let Some(profile) = &spec.seccomp else {
        return Ok(Vec::new());
    };
    let named = capabilities(spec);
    let held: Vec<String> = match (spec.privileged, named.is_empty()) {
        (true, _) => capability::NAMES.iter().map(|s| (*s).to_owned()).collect(),
        (false, true) => capability::DEFAULT
            .iter()
            .map(|s| (*s).to_owned())
            .collect(),
        (false, false) => named
            .iter()
            .map(|name| name.trim_start_matches("CAP_").to_owned())
            .collect(),
    };
    super::seccomp::program(profile, &held).map_err(|why| {
        let message = format!("service {}: its seccomp profile: {why}", spec.name);
        ApiError::new("seccomp", message)
            .help("fewer rules, or rules without conditions, make it shorter")
    })
}

fn limit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn arguments(spec: &ServiceSpec, image: &ImageConfig) -> Result<Vec<String>, ApiError> {
    // A new entrypoint drops the image's command (Dockerfile reference,
    // "Understand how CMD and ENTRYPOINT interact"); none at all leaves it, as
    // Docker Engine merges the two.
    let (entrypoint, default_command) = match &spec.entrypoint {
        Some(own) if own.is_empty() => (Vec::new(), image.cmd.clone()),
        Some(own) => (own.clone(), Vec::new()),
        None => (image.entrypoint.clone(), image.cmd.clone()),
    };
    let mut args = entrypoint;
    args.extend(spec.command.clone().unwrap_or(default_command));
    if args.is_empty() {
        return Err(ApiError::new(
            "no_command",
            format!(
                "service {}: the image {} has no command",
                spec.name, spec.image
            ),
        )
        .help("give one with `command:`"));
    }
    Ok(args)
}

fn environment(spec: &ServiceSpec, image: &ImageConfig) -> Vec<String> {
    let mut merged: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in &image.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        merged.insert(name, value);
    }
    merged.retain(|name, _| !spec.environment_unset.contains(*name));
    for (name, value) in &spec.environment {
        merged.insert(name, value);
    }
    merged
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// `NAME=value` entries over others; a bare `NAME` takes one away, as Docker
/// Engine has it.
pub fn over(base: &[String], own: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged = base.to_vec();
    for entry in own {
        merged.retain(|old| name(old) != name(entry));
        if entry.contains('=') {
            merged.push(entry.clone());
        }
    }
    merged
}

fn capabilities(spec: &ServiceSpec) -> Vec<String> {
    if spec.cap_add.is_empty() && spec.cap_drop.is_empty() {
        return Vec::new();
    }
    let bare = |name: &String| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    let added: Vec<String> = spec.cap_add.iter().map(bare).collect();
    let dropped: Vec<String> = spec.cap_drop.iter().map(bare).collect();
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut set: Vec<String> = match (all(&added), all(&dropped)) {
        (true, _) => capability::NAMES.iter().map(|s| (*s).to_owned()).collect(),
        (false, true) => Vec::new(),
        (false, false) => capability::DEFAULT
            .iter()
            .map(|s| (*s).to_owned())
            .collect(),
    };
    if !all(&dropped) || all(&added) {
        set.retain(|name| !dropped.contains(name));
    }
    for name in added {
        if name != "ALL" && !set.contains(&name) {
            set.push(name);
        }
    }
    if set.is_empty() {
        // The agent takes an empty list for "the default".
        return vec!["NONE".to_owned()];
    }
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

/// The health check: the file's over the image's, with Docker's defaults.
pub(super) fn healthcheck(spec: &ServiceSpec, image: &ImageConfig) -> Option<HealthCheck> {
    let own = spec.healthcheck.clone().unwrap_or_default();
    if own.disable {
        return None;
    }
    let base = image.healthcheck.as_ref();
    let test = own.test.or_else(|| base.map(|b| b.test.clone()))?;
    let test = match test.split_first() {
        None => return None,
        Some((kind, _)) if kind == "NONE" => return None,
        // As Docker: the image's shell, whoever has written the test.
        Some((kind, command)) if kind == "CMD-SHELL" && !image.shell.is_empty() => {
            let words = ["CMD".to_owned()].into_iter();
            let words = words.chain(image.shell.iter().cloned());
            words.chain(command.iter().cloned()).collect()
        }
        Some(_) => test,
    };
    let pick = |own: Option<u64>, image: Option<u64>, default: u64| {
        own.or(image.filter(|ms| *ms > 0)).unwrap_or(default)
    };
    Some(HealthCheck {
        test,
        interval_ms: pick(own.interval_ms, base.map(|b| b.interval_ms), 30_000),
        timeout_ms: pick(own.timeout_ms, base.map(|b| b.timeout_ms), 30_000),
        retries: own
            .retries
            .or(base.map(|b| b.retries).filter(|n| *n > 0))
            .unwrap_or(3),
        start_period_ms: pick(own.start_period_ms, base.map(|b| b.start_period_ms), 0),
        start_interval_ms: pick(
            own.start_interval_ms,
            base.map(|b| b.start_interval_ms),
            5_000,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_without_words_leaves_the_image_its_command() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let image = ImageConfig {
            entrypoint: words("/entry"),
            cmd: words("serve"),
            ..ImageConfig::default()
        };
        let args = |entrypoint: Option<&str>, command: Option<&str>| {
            let spec = ServiceSpec {
                entrypoint: entrypoint.map(words),
                command: command.map(words),
                ..ServiceSpec::default()
            };
            arguments(&spec, &image).unwrap().join(" ")
        };
        assert_eq!(args(None, None), "/entry serve");
        assert_eq!(args(Some(""), None), "serve");
        assert_eq!(args(Some(""), Some("own")), "own");
        assert_eq!(args(Some("/own"), None), "/own");
        assert_eq!(args(None, Some("own")), "/entry own");
    }

    #[test]
    fn a_health_check_is_run_by_the_shell_of_the_image() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let image = |shell: Vec<String>| ImageConfig {
            shell,
            healthcheck: Some(stack_images::ImageHealthcheck {
                test: words("CMD-SHELL check"),
                ..Default::default()
            }),
            ..ImageConfig::default()
        };
        let spec = ServiceSpec::default();
        let test = |shell| healthcheck(&spec, &image(shell)).unwrap().test;
        assert_eq!(test(Vec::new()), words("CMD-SHELL check"));
        assert_eq!(
            test(words("/bin/bash -o pipefail -c")),
            words("CMD /bin/bash -o pipefail -c check")
        );
    }

    #[test]
    fn a_variable_without_a_value_is_taken_away() {
        let image = ImageConfig {
            env: vec!["PROXY=http://image".to_owned(), "PATH=/bin".to_owned()],
            ..ImageConfig::default()
        };
        let spec = ServiceSpec {
            environment: [("OWN".to_owned(), String::new())].into(),
            environment_unset: ["PROXY".to_owned()].into(),
            ..ServiceSpec::default()
        };
        let env = environment(&spec, &image);
        assert_eq!(env, ["OWN=", "PATH=/bin"]);
        let own = ["PATH".to_owned(), "X=1".to_owned()];
        assert_eq!(over(&env, &own), ["OWN=", "X=1"]);
    }
}
