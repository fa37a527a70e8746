//! The words of `ps` for a container.

use anstyle::Style;
use stack_api::container::{Container, Health, Published, State};

use crate::ui::human::span;
use crate::ui::palette;

/// `Up 5 minutes (healthy)`, `Exited (1) 3 seconds ago`…
pub(super) fn text(container: &Container, now_ms: u64) -> String {
    let since = |ms: Option<u64>| span(now_ms.saturating_sub(ms.unwrap_or(now_ms)));
    let up = || since(container.started_ms);
    let ended = |word: &str| {
        let code = container
            .exit_code
            .map_or(String::new(), |code| format!(" ({code})"));
        let oom = if container.oom { ", out of memory" } else { "" };
        format!("{word}{code} {} ago{oom}", since(container.finished_ms))
    };
    match container.state {
        State::Created => "Created".to_owned(),
        State::Starting => "Starting".to_owned(),
        State::Running => match container.health {
            None => format!("Up {}", up()),
            Some(Health::Starting) => format!("Up {} (health: starting)", up()),
            Some(Health::Healthy) => format!("Up {} (healthy)", up()),
            Some(Health::Unhealthy) => format!("Up {} (unhealthy)", up()),
        },
        State::Paused => format!("Up {} (Paused)", up()),
        State::Restarting => format!("{}{}", ended("Restarting"), again(container, now_ms)),
        State::Stopping => "Stopping".to_owned(),
        State::Exited => ended("Exited"),
        State::Dead => ended("Dead"),
    }
}

/// How a container that ends again and again is treated.
fn again(container: &Container, now_ms: u64) -> String {
    let restarts = match container.restarts {
        0 | 1 => "1 restart".to_owned(),
        n => format!("{n} restarts"),
    };
    match container.next_start_ms {
        Some(next) if next > now_ms => {
            let wait = (next - now_ms).div_ceil(1000);
            format!(", {restarts}, next in {wait} s")
        }
        _ => format!(", {restarts}"),
    }
}

/// Green for what works, red for what failed, yellow for what is between.
pub(super) fn colour(container: &Container) -> Style {
    match (container.state, container.health) {
        (State::Running, None | Some(Health::Healthy)) => palette::GOOD,
        (State::Running, Some(Health::Unhealthy)) | (State::Dead, _) => palette::BAD,
        (State::Exited, _) if container.exit_code == Some(0) => palette::DIM,
        (State::Exited, _) => palette::BAD,
        (State::Created, _) => palette::DIM,
        (State::Running, Some(Health::Starting))
        | (State::Starting | State::Paused | State::Restarting | State::Stopping, _) => {
            palette::WARN
        }
    }
}

/// `0.0.0.0:8080->80/tcp, …`
pub(super) fn ports(container: &Container) -> String {
    container
        .ports
        .iter()
        .map(port)
        .collect::<Vec<_>>()
        .join(", ")
}

fn port(port: &Published) -> String {
    let host = std::net::SocketAddr::new(port.host_ip, port.host_port);
    format!("{host}->{}/{}", port.target, protocol(port))
}

/// `tcp` or `udp`.
pub(super) fn protocol(port: &Published) -> &'static str {
    if port.udp { "udp" } else { "tcp" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: State) -> Container {
        Container {
            state,
            started_ms: Some(1000),
            finished_ms: Some(5000),
            ..Container::default()
        }
    }

    #[test]
    fn states_read_like_docker_ps() {
        let mut running = container(State::Running);
        assert_eq!(text(&running, 61_000), "Up About a minute");
        running.health = Some(Health::Healthy);
        assert_eq!(text(&running, 31_000), "Up 30 seconds (healthy)");
        assert_eq!(colour(&running), palette::GOOD);
        running.health = Some(Health::Unhealthy);
        assert_eq!(colour(&running), palette::BAD);
        let exited = Container {
            exit_code: Some(137),
            oom: true,
            ..container(State::Exited)
        };
        assert_eq!(
            text(&exited, 8000),
            "Exited (137) 3 seconds ago, out of memory"
        );
        assert_eq!(text(&container(State::Created), 0), "Created");
        let flapping = Container {
            exit_code: Some(1),
            restarts: 6,
            next_start_ms: Some(14_400),
            ..container(State::Restarting)
        };
        assert_eq!(
            text(&flapping, 8000),
            "Restarting (1) 3 seconds ago, 6 restarts, next in 7 s"
        );
    }

    #[test]
    fn addresses_of_both_kinds() {
        let port = |ip: &str, udp| Published {
            host_ip: ip.parse().unwrap(),
            host_port: 8080,
            target: 80,
            udp,
        };
        let ports = vec![port("0.0.0.0", false), port("::", true)];
        let container = Container {
            ports,
            ..Container::default()
        };
        assert_eq!(
            super::ports(&container),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/udp"
        );
    }
}
