//! Which attributes of a service changed, for the reason of a step.

use stack_api::spec::ServiceSpec;

/// Attributes whose change does not ask for a new container, or that are
/// not attributes at all.
const NOT_TOLD: [&str; 5] = [
    "name",
    "replicas",
    "depends_on",
    "pull_policy",
    "config_hash",
];

/// Names of the attributes that differ, as the stack file calls them.
pub(super) fn changed(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let fields = |spec: &ServiceSpec| match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let mut names: Vec<String> = new
        .iter()
        .filter(|(name, value)| !NOT_TOLD.contains(&name.as_str()) && old.get(*name) != Some(value))
        .map(|(name, _)| as_written(name).to_owned())
        .collect();
    names.dedup();
    if names.is_empty() {
        names.push("configuration".to_owned());
    }
    names
}

fn as_written(field: &str) -> &str {
    match field {
        "mounts" => "volumes",
        "files" => "configs or secrets",
        "memory" => "mem_limit",
        "stop_grace_period_ms" => "stop_grace_period",
        "no_new_privileges" => "security_opt",
        other => other,
    }
}
