//! How the builder reaches registries: containers-registries.conf(5) and
//! containers-auth.json(5) for one build.

use std::collections::{BTreeMap, BTreeSet};

use stack_images::{PullOptions, Upstream};

/// How a VM names this host.
pub(super) const HOST: &str = "host.docker.internal";

/// `registries.conf` for the images of a build. A registry on this host's
/// loopback is reached under the host's name.
pub(super) fn conf(options: &PullOptions, images: &[String]) -> String {
    let mut out = "unqualified-search-registries = [\"docker.io\"]\n\
        short-name-mode = \"disabled\"\n"
        .to_owned();
    let mut by_hand = BTreeSet::new();
    for upstream in upstreams(options, images).values() {
        let Upstream {
            named,
            host,
            prefix,
            plain_http,
        } = upstream;
        let location = seen_from_a_vm(host);
        if location != *host && *plain_http {
            by_hand.insert(location.clone());
        }
        let prefix = prefix.trim_end_matches('/');
        let location = match prefix {
            "" => location,
            prefix => format!("{location}/{prefix}"),
        };
        if location != *named || *plain_http {
            out += &format!(
                "\n[[registry]]\nprefix = {named:?}\nlocation = {location:?}\n\
                 insecure = {plain_http}\n"
            );
        }
    }
    // What is pushed is not looked up here, so it goes to the host's name.
    for name in by_hand {
        out +=
            &format!("\n[[registry]]\nprefix = {name:?}\nlocation = {name:?}\ninsecure = true\n");
    }
    out
}

/// A full name of an image, or a URL without its scheme, as the builder
/// reaches it.
pub(super) fn reached(place: &str) -> String {
    match place.split_once('/') {
        Some((host, rest)) => format!("{}/{rest}", seen_from_a_vm(host)),
        None => place.to_owned(),
    }
}

/// A proxy's address as the builder reaches it; a list of hosts without one has
/// this host's name besides.
pub(super) fn proxy(name: &str, value: &str) -> String {
    if name == "NO_PROXY" {
        return format!("{value},{HOST}").trim_start_matches(',').to_owned();
    }
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), value),
    };
    let (who, rest) = match rest.rsplit_once('@') {
        Some((who, rest)) => (format!("{who}@"), rest),
        None => (String::new(), rest),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let slash = if rest.contains('/') { "/" } else { "" };
    format!("{scheme}{who}{}{slash}{path}", seen_from_a_vm(host))
}

/// Files that say which authorities are trusted for the registries of these
/// images (containers-certs.d(5)).
pub(super) fn authorities(options: &PullOptions, images: &[String]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for upstream in upstreams(options, images).values() {
        let host = &upstream.host;
        let seen = seen_from_a_vm(host);
        let own = options.authorities(host).into_iter();
        let path = |name: String| format!("/etc/containers/certs.d/{seen}/{name}");
        files.extend(own.map(|(name, content)| (path(name), content)));
    }
    files
}

/// The credentials for these registries; `None`: there are none.
pub(super) async fn auth(options: &PullOptions, images: &[String]) -> Option<Vec<u8>> {
    let mut auths = serde_json::Map::new();
    for (named, upstream) in upstreams(options, images) {
        let Some(login) = options.credentials(&upstream.host).await else {
            continue;
        };
        let auth = base64(format!("{}:{}", login.user, login.password).as_bytes());
        let mut entry = serde_json::json!({ "auth": auth });
        if let Some(token) = login.identity_token {
            entry["identitytoken"] = token.into();
        }
        for name in [named, seen_from_a_vm(&upstream.host)] {
            auths.insert(name, entry.clone());
        }
    }
    let file = serde_json::json!({ "auths": auths });
    (!auths.is_empty()).then(|| file.to_string().into_bytes())
}

/// By the registry's name as written; Docker Hub is always among them.
fn upstreams(options: &PullOptions, images: &[String]) -> BTreeMap<String, Upstream> {
    let images = images.iter().map(String::as_str).chain(["busybox"]);
    images
        .filter_map(|image| options.upstream(image).ok())
        .map(|upstream| (upstream.named.clone(), upstream))
        .collect()
}

fn seen_from_a_vm(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let loopback = name == "localhost"
        || name
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match port {
        Some(port) if loopback => format!("{HOST}:{port}"),
        None if loopback => HOST.to_owned(),
        _ => host.to_owned(),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for n in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]);
            out.push(if n <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_the_host() {
        assert_eq!(seen_from_a_vm("127.0.0.1:5"), "host.docker.internal:5");
        assert_eq!(seen_from_a_vm("localhost"), "host.docker.internal");
        assert_eq!(seen_from_a_vm("[::1]:5"), "host.docker.internal:5");
        assert_eq!(seen_from_a_vm("ghcr.io"), "ghcr.io");
        assert_eq!(seen_from_a_vm("r.x:80"), "r.x:80");
    }

    #[test]
    fn a_mirror_stands_in_for_docker_hub() {
        let options = PullOptions {
            mirror: Some("http://127.0.0.1:5000/hub".to_owned()),
            ..PullOptions::default()
        };
        let text = conf(
            &options,
            &["localhost:7/a".to_owned(), "ghcr.io/a/b".to_owned()],
        );
        assert!(text.contains(
            "prefix = \"docker.io\"\nlocation = \"host.docker.internal:5000/hub\"\ninsecure = true"
        ));
        assert!(text.contains(
            "prefix = \"localhost:7\"\nlocation = \"host.docker.internal:7\"\ninsecure = true"
        ));
        assert!(text.contains("prefix = \"host.docker.internal:7\""));
        assert!(!text.contains("ghcr.io"));
    }

    #[test]
    fn a_proxy_on_this_host_is_reached_from_a_vm() {
        for (there, seen) in [
            ("http://127.0.0.1:3128", "http://host.docker.internal:3128"),
            (
                "http://u:p@localhost:1/",
                "http://u:p@host.docker.internal:1/",
            ),
            ("proxy.x:8080", "proxy.x:8080"),
            ("http://proxy.x:8080", "http://proxy.x:8080"),
        ] {
            assert_eq!(proxy("HTTP_PROXY", there), seen);
        }
        assert_eq!(proxy("NO_PROXY", ""), "host.docker.internal");
        assert_eq!(proxy("NO_PROXY", ".x"), ".x,host.docker.internal");
    }

    #[test]
    fn authorities_of_a_registry_are_brought_in() {
        let dir = tempfile::tempdir().unwrap();
        let of = dir.path().join("r.x:5000");
        std::fs::create_dir(&of).unwrap();
        std::fs::write(of.join("ca.crt"), "PEM").unwrap();
        std::fs::write(of.join("client.key"), "private").unwrap();
        let options = PullOptions {
            certificates: vec![dir.path().to_owned()],
            ..PullOptions::default()
        };
        let files = authorities(&options, &["r.x:5000/a:1".to_owned()]);
        let path = "/etc/containers/certs.d/r.x:5000/0-ca.crt".to_owned();
        assert_eq!(files, [(path, b"PEM".to_vec())]);
        assert!(authorities(&options, &["other.x/a".to_owned()]).is_empty());
    }

    #[test]
    fn places_of_this_host_are_reached_from_a_vm() {
        assert_eq!(reached("localhost:7/a/b"), "host.docker.internal:7/a/b");
        assert_eq!(reached("example.org/a.tar"), "example.org/a.tar");
    }

    #[test]
    fn base64_has_padding() {
        assert_eq!(base64(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
    }
}
