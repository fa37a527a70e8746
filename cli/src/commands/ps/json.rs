//! `ps --format json`: the fields of `docker compose ps --format json`, and
//! some of our own: `BootID`, `Pid`, `Memory`, `Restarts`, `Error`. As there, no
//! disk is measured for `Size`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use stack_api::container::{Container, Health, Published};

use super::status;
use crate::ui::form::Row;
use crate::ui::human;

/// One container, for `--format`.
pub(super) fn row(container: &Container, now_ms: u64) -> Row {
    Row::with_labels(line(container, now_ms), &container.labels)
}

/// One container as a JSON object.
fn line(container: &Container, now_ms: u64) -> Value {
    let health = match container.health {
        None => "",
        Some(Health::Starting) => "starting",
        Some(Health::Healthy) => "healthy",
        Some(Health::Unhealthy) => "unhealthy",
    };
    let networks: Vec<&str> = container
        .networks
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let volumes = container
        .mounts
        .iter()
        .filter(|name| !name.starts_with('/'));
    let labels = container.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let addresses: serde_json::Map<String, Value> = container
        .networks
        .iter()
        .map(|(name, ip)| (name.clone(), json!(ip)))
        .collect();
    json!({
        "ID": container.id,
        "Name": container.name,
        "Names": container.name,
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": container.command,
        "ConfigHash": container.config_hash,
        "Labels": labels.join(","),
        "Annotations": container.annotations,
        "Project": container.project,
        "Service": container.service,
        "Number": container.number,
        "State": container.state.as_str(),
        "Status": status::text(container, now_ms),
        "Health": health,
        "ExitCode": container.exit_code.unwrap_or(0),
        "OOMKilled": container.oom,
        "Error": container.error,
        "CreatedAt": created(container.created_ms, &TimeZone::system()),
        "StartedAt": time(container.started_ms),
        "FinishedAt": time(container.finished_ms),
        "RunningFor": format!("{} ago", human::span(now_ms.saturating_sub(container.created_ms))),
        "Restarts": container.restarts,
        "NextStartAt": time(container.next_start_ms),
        "OneOff": container.one_off,
        "Mounts": container.mounts.join(","),
        "LocalVolumes": volumes.count().to_string(),
        "Size": "0B",
        "Networks": networks.join(","),
        "Addresses": addresses,
        "Ports": status::ports(container),
        "Publishers": container.ports.iter().map(publisher).collect::<Vec<_>>(),
        "BootID": container.boot_id,
        "Pid": container.pid,
        "Memory": container.memory,
    })
}

fn publisher(port: &Published) -> Value {
    json!({
        "URL": port.host_ip,
        "TargetPort": port.target,
        "PublishedPort": port.host_port,
        "Protocol": status::protocol(port),
    })
}

/// As Docker's client prints a moment.
fn created(ms: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(ms).map(|ms| Timestamp::from_second(ms / 1000));
    let Ok(Ok(moment)) = moment else {
        return String::new();
    };
    let moment = moment.to_zoned(zone.clone());
    moment.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

fn time(ms: Option<u64>) -> Option<String> {
    let ms = i64::try_from(ms?).ok()?;
    Timestamp::from_millisecond(ms)
        .ok()
        .map(|time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stack_api::container::State;

    #[test]
    fn the_fields_that_scripts_read() {
        let container = Container {
            id: "ab".repeat(32),
            name: "shop-web-1".to_owned(),
            state: State::Exited,
            exit_code: Some(3),
            created_ms: 1_700_000_000_123,
            started_ms: Some(1_700_000_000_123),
            mounts: vec!["shop_data".to_owned(), "/srv".to_owned()],
            boot_id: Some("b".to_owned()),
            config_hash: "c".to_owned(),
            labels: [("tier".to_owned(), "back".to_owned())].into(),
            ports: vec![Published {
                host_ip: "127.0.0.1".parse().unwrap(),
                host_port: 8080,
                target: 80,
                udp: false,
            }],
            ..Container::default()
        };
        let line = line(&container, 1_700_000_005_000);
        assert_eq!(line["State"], "exited");
        assert_eq!(line["ExitCode"], 3);
        assert_eq!(line["Health"], "");
        assert_eq!(line["ConfigHash"], "c");
        assert_eq!(line["Labels"], "tier=back");
        assert_eq!(line["BootID"], "b");
        assert_eq!(line["StartedAt"], "2023-11-14T22:13:20.123Z");
        assert_eq!(
            created(container.created_ms, &TimeZone::UTC),
            "2023-11-14 22:13:20 +0000 UTC"
        );
        assert_eq!(line["Mounts"], "shop_data,/srv");
        assert_eq!(
            (&line["LocalVolumes"], &line["Size"]),
            (&json!("1"), &json!("0B"))
        );
        assert_eq!(line["Publishers"][0]["PublishedPort"], 8080);
        assert_eq!(line["Publishers"][0]["URL"], "127.0.0.1");
    }
}
