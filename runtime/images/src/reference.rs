//! Names of images: `[registry/]repository[:tag][@digest]`, with Docker's
//! rules for what is left out (distribution, `reference/normalize.go`).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Error;

/// Docker Hub.
pub(crate) const HUB: &str = "docker.io";

/// A full reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Host and port.
    pub registry: String,
    pub repository: String,
    /// `latest` unless a tag or a digest is given.
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference {
            registry,
            repository,
            tag,
            digest,
        } = self;
        write!(f, "{registry}/{repository}")?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Reference {
    /// The same as far as another digest than these is in it: a name that comes
    /// with an image says only by its tag what it is. `None` when nothing
    /// is left that could lead to the image.
    pub(crate) fn believed(self, checked: &[Digest]) -> Option<Reference> {
        let digest = self.digest.filter(|digest| checked.contains(digest));
        let is_named = self.tag.is_some() || digest.is_some();
        is_named.then_some(Reference { digest, ..self })
    }

    /// A name that is to be given to an image.
    ///
    /// # Errors
    /// It has a digest: nobody can choose that.
    pub(crate) fn to_give(text: &str) -> Result<Reference, Error> {
        let reference: Reference = text.parse()?;
        match reference.digest {
            None => Ok(reference),
            Some(_) => Err(Error::BadReference {
                reference: text.to_owned(),
                why: "a name that is given has no digest".to_owned(),
            }),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        parse(text).map_err(|why| Error::BadReference {
            reference: text.chars().take(300).collect(),
            why: why.to_owned(),
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (
            rest,
            Some(
                digest
                    .parse()
                    .map_err(|_| "the digest is not a SHA-256 digest")?,
            ),
        ),
    };
    let (registry, rest) = match rest.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (HUB, rest),
    };
    let registry = if registry == "index.docker.io" {
        HUB
    } else {
        registry
    };
    if !valid_host(registry) {
        return Err("the registry's name is not good");
    }
    let (path, tag) = match rest.rsplit_once(':') {
        None => (rest, None),
        Some((path, tag)) => (path, Some(tag)),
    };
    if let Some(tag) = tag
        && !valid_tag(tag)
    {
        return Err("the tag is not good");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the name must be in lower case");
    }
    if path.is_empty() || !path.split('/').all(valid_component) {
        return Err("the name is not good");
    }
    let repository = match registry {
        HUB if !path.contains('/') => format!("library/{path}"),
        _ => path.to_owned(),
    };
    if repository.len() > LONGEST_REPOSITORY {
        return Err("the name is longer than 255 characters");
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(Reference {
        registry: registry.to_owned(),
        repository,
        tag,
        digest,
    })
}

// `alpine/git` is on Docker Hub, `localhost/git` is not.
fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// `name`, `name:port`, `[::1]:port`
pub(crate) fn valid_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                (None, after)
            }
            _ => return false,
        },
        None => match text.find(':') {
            Some(at) => (Some(&text[..at]), &text[at..]),
            None => (Some(text), ""),
        },
    };
    let port_ok = match port.strip_prefix(':') {
        Some(port) => port
            .parse::<u16>()
            .is_ok_and(|_| port.bytes().all(|b| b.is_ascii_digit())),
        None => port.is_empty(),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port_ok && host.is_none_or(|host| host.len() <= 253 && host.split('.').all(label))
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

// Letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn valid_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<u8>| b.is_some_and(plain);
    ends(text.bytes().next())
        && ends(text.bytes().next_back())
        && text
            .split(|c: char| plain(c as u8) && c.is_ascii())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

/// Does the host name this machine?
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        let full = |text: &str| text.parse::<Reference>().unwrap().to_string();
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("nginx:1.27"), "docker.io/library/nginx:1.27");
        assert_eq!(full("bitnami/redis"), "docker.io/bitnami/redis:latest");
        assert_eq!(
            full("index.docker.io/library/a"),
            "docker.io/library/a:latest"
        );
        assert_eq!(full("localhost/a"), "localhost/a:latest");
        assert_eq!(full("localhost:5000/a/b:c"), "localhost:5000/a/b:c");
        assert_eq!(full("[::1]:5000/a"), "[::1]:5000/a:latest");
        assert_eq!(
            full("ghcr.io/x/y.z_a__b--c:T_1.2-3"),
            "ghcr.io/x/y.z_a__b--c:T_1.2-3"
        );
        let digest = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(
            full(&format!("a@{digest}")),
            format!("docker.io/library/a@{digest}")
        );
        assert_eq!(
            full(&format!("a:b@{digest}")),
            format!("docker.io/library/a:b@{digest}")
        );
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(300);
        for bad in [
            "",
            "/",
            "Nginx",
            "a/../b",
            "a//b",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "a:",
            "a:-b",
            "a b",
            "a@sha256:00",
            "a@md5:00",
            "x.y:99999/a",
            "x.y:/a",
            "[::g]/a",
            "a/b:c/d",
            "é",
            &long,
            "-x.y/a",
            "x.y/",
            "http://x.y/a",
        ] {
            let error = bad.parse::<Reference>().unwrap_err();
            assert_eq!(error.code(), "bad_reference", "{bad}");
        }
    }

    #[test]
    fn loopback() {
        for yes in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["docker.io", "localhost.example", "10.0.0.1:5000", "[::2]:1"] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
