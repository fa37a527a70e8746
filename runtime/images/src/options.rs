//! How to pull.

use std::path::PathBuf;

use crate::reference::{HUB, Reference, is_loopback, valid_host};

/// Where images come from and who asks.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// `os/arch[/variant]`; Linux on this machine's processor when not set.
    pub platform: Option<String>,
    /// Directory of Docker's `config.json`, for credentials.
    pub docker_config: Option<PathBuf>,
    /// Registry that stands in for Docker Hub: `[http[s]://]host[:port][/path]`.
    pub mirror: Option<String>,
    /// Registries (`host[:port]`) that are spoken to over plain HTTP, or with
    /// TLS whoever they are. Those on this machine are in any case.
    pub insecure: Vec<String>,
    /// Directories that have certificates of authorities, `HOST/*.crt`, as Docker's
    /// `certs.d` has.
    pub certificates: Vec<PathBuf>,
}

impl PullOptions {
    /// Options from `DOCKER_CONFIG` (or `~/.docker`), `STACK_REGISTRY_MIRROR`
    /// and `STACK_INSECURE_REGISTRIES` (a list with commas).
    pub fn from_env() -> PullOptions {
        let set = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let below_home = |dir: &str| Some(PathBuf::from(std::env::var_os("HOME")?).join(dir));
        let docker_config = set("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| below_home(".docker"));
        let insecure = set("STACK_INSECURE_REGISTRIES").unwrap_or_default();
        PullOptions {
            platform: None,
            certificates: [
                docker_config.as_ref().map(|dir| dir.join("certs.d")),
                below_home(".config/docker/certs.d"),
                Some(PathBuf::from("/etc/docker/certs.d")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            docker_config,
            mirror: set("STACK_REGISTRY_MIRROR"),
            insecure: insecure
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        }
    }

    /// Where a reference really leads.
    ///
    /// # Errors
    /// The mirror's address is not good, in words.
    pub(crate) fn endpoint(&self, reference: &Reference) -> Result<Endpoint, String> {
        let mirror = self.mirror.as_deref().filter(|_| reference.registry == HUB);
        let Some(mirror) = mirror else {
            return Ok(Endpoint {
                host: reference.registry.clone(),
                repository: reference.repository.clone(),
                plain_http: self.plain_http(&reference.registry),
            });
        };
        let (scheme, rest) = mirror
            .trim()
            .split_once("://")
            .unwrap_or(("", mirror.trim()));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        if !valid_host(host) || !matches!(scheme, "" | "http" | "https") {
            return Err(format!(
                "STACK_REGISTRY_MIRROR is not the address of a registry: {mirror}"
            ));
        }
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        Ok(Endpoint {
            host: host.to_owned(),
            repository: format!("{prefix}{}", reference.repository),
            plain_http: match scheme {
                "http" => true,
                "https" => false,
                _ => self.plain_http(host),
            },
        })
    }

    fn plain_http(&self, registry: &str) -> bool {
        is_loopback(registry) || self.insecure.iter().any(|insecure| insecure == registry)
    }
}

/// A repository on a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub host: String,
    pub repository: String,
    pub plain_http: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_stands_in_for_docker_hub_only() {
        let mut options = PullOptions::default();
        let mut to = |name: &str, mirror: &str| {
            options.mirror = Some(mirror.to_owned()).filter(|m| !m.is_empty());
            let end = options.endpoint(&name.parse().unwrap())?;
            Ok::<_, String>((end.host, end.repository, end.plain_http))
        };
        let is = |host: &str, repository: &str, plain| Ok((host.into(), repository.into(), plain));
        assert_eq!(to("nginx", ""), is("docker.io", "library/nginx", false));
        assert_eq!(
            to("nginx", "127.0.0.1:5"),
            is("127.0.0.1:5", "library/nginx", true)
        );
        assert_eq!(to("a/b", "http://m.x/hub/"), is("m.x", "hub/a/b", true));
        assert_eq!(
            to("nginx", "https://m.x"),
            is("m.x", "library/nginx", false)
        );
        assert_eq!(to("ghcr.io/a/b", "m.x"), is("ghcr.io", "a/b", false));
        assert!(to("nginx", "ftp://m.x").is_err());
    }

    #[test]
    fn insecure_registries_are_named() {
        let options = PullOptions {
            insecure: vec!["r.x:80".into()],
            ..PullOptions::default()
        };
        let plain = |name: &str| options.endpoint(&name.parse().unwrap()).unwrap().plain_http;
        assert!(plain("r.x:80/a"));
        assert!(!plain("r.x/a"));
        assert!(plain("[::1]:5000/a"));
    }
}
