//! `[[ip:]published[-end]:]target[-end][/protocol]`

use std::net::IpAddr;

use crate::budget::{Budget, Weight};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Span, Value};

/// Nodes of one port.
const NODES: usize = 6;

/// Every entry becomes one mapping per port of the container.
pub(super) fn canonical(node: &mut Node, budget: &mut Budget, report: &mut Report) {
    let Value::Sequence(items) = &mut node.value else {
        return;
    };
    let mut out = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let text = match &item.value {
            Value::Int(_) | Value::String(_) => item.scalar_text().unwrap_or_default(),
            _ => {
                out.push(item);
                continue;
            }
        };
        match parse(&text) {
            Ok(ports) => match budget.take(
                Weight {
                    nodes: ports.len() * NODES,
                    text: 0,
                },
                item.span,
            ) {
                Ok(()) => out.extend(ports.into_iter().map(|port| port.into_node(item.span))),
                Err(problem) => report.push(*problem),
            },
            Err(message) => {
                let problem = Problem::error(codes::BAD_PORT, message).on(&item, "this port");
                let problem = problem.help(match text.strip_prefix("localhost:") {
                    Some(rest) => format!("write `127.0.0.1:{rest}`"),
                    None => "the form is `[[ip:]published:]target[/udp]`, with ranges such as `8000-8010`".to_owned(),
                });
                let mut item = item;
                report.blame(&mut item, problem);
                out.push(item);
            }
        }
    }
    out.retain(|item| !item.is_broken());
    *items = out;
}

struct Port {
    ip: String,
    published: String,
    target: u32,
    protocol: String,
}

impl Port {
    fn into_node(self, span: Span) -> Node {
        let mut entries = Mapping::new();
        let mut put =
            |key: &str, value: Value| _ = entries.insert(key.to_owned(), Node::new(value, span));
        put("mode", Value::String("ingress".to_owned()));
        if !self.ip.is_empty() {
            put("host_ip", Value::String(self.ip));
        }
        put("target", Value::Int(i64::from(self.target)));
        if !self.published.is_empty() {
            put("published", Value::String(self.published));
        }
        put("protocol", Value::String(self.protocol));
        Node::mapping(entries, span)
    }
}

fn parse(text: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (ip, published, target) = split(rest);
    let protocol = if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_ascii_lowercase()
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is not a protocol: `tcp` or `udp`"));
    }
    let ip = address(ip)?;
    if target.is_empty() {
        return Err(format!("`{text}` has no port of the service"));
    }
    let (first, last) = range(target)
        .ok_or_else(|| format!("`{target}` is not a port of the service (1 to 65535)"))?;
    let host = if published.is_empty() {
        None
    } else {
        Some(
            range(published)
                .ok_or_else(|| format!("`{published}` is not a port of the host (1 to 65535)"))?,
        )
    };
    if let Some((start, end)) = host
        && end - start != last - first
        && first != last
    {
        return Err(format!(
            "the ranges `{published}` and `{target}` are not equally long"
        ));
    }
    let mut ports: Vec<Port> = (first..=last)
        .map(|target| Port {
            ip: ip.clone(),
            published: match host {
                None => String::new(),
                // A range for one port of the container: any of them will do.
                Some((start, end)) if first == last && start != end => format!("{start}-{end}"),
                Some((start, _)) => (start + target - first).to_string(),
            },
            target,
            protocol: protocol.clone(),
        })
        .collect();
    ports.sort_by_key(|port| format!("{}/{}", port.target, port.protocol));
    Ok(ports)
}

/// Address, published and target; the address may hold colons.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, target)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match rest.rsplit_once(':') {
        None => ("", rest, target),
        Some((ip, published)) => (ip, published, target),
    }
}

fn address(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    Err(format!("`{text}` is not an address"))
}

fn range(text: &str) -> Option<(u32, u32)> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|_| !text.starts_with('+'))
            .map(u32::from)
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((start, end)) => Some((port(start)?, port(end)?)).filter(|(start, end)| start <= end),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn shown(text: &str) -> Result<String, String> {
        let ports = parse(text)?;
        let one = |port: super::Port| {
            format!(
                "{} {} {}/{}",
                port.ip, port.published, port.target, port.protocol
            )
        };
        Ok(ports.into_iter().map(one).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn short_forms() {
        let cases = [
            ("80", "  80/tcp"),
            ("80/UDP", "  80/udp"),
            ("8080:80", " 8080 80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80/tcp"),
            ("127.0.0.1::80", "127.0.0.1  80/tcp"),
            ("[::1]:1:2", "::1 1 2/tcp"),
            ("::1:1:2", "::1 1 2/tcp"),
            ("1-2:3-4", " 1 3/tcp,  2 4/tcp"),
            ("8000-8010:80", " 8000-8010 80/tcp"),
            ("3-4", "  3/tcp,   4/tcp"),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for bad in [
            "",
            "x",
            "80:",
            "70000",
            "1:70000",
            "80/xyz",
            "localhost:1:2",
            "1-3:1-2",
            "5-3",
            "+80",
            "1:2:3:4",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
