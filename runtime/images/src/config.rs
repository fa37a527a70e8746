//! An image's configuration (OCI image specification, config.md, with
//! Docker's health check).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// How an image wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a user replaces; the program too, without entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// Absolute path; empty for `/`.
    pub working_dir: String,
    /// `user[:group]`, names or numbers; empty for root.
    pub user: String,
    /// Paths that are volumes.
    pub volumes: Vec<String>,
    /// Name or number.
    pub stop_signal: Option<String>,
    /// `port[/protocol]`
    pub exposed_ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Docker's health check.
    pub healthcheck: Option<ImageHealthcheck>,
    /// What runs commands that are written as text (Docker's `SHELL`); empty for
    /// the usual one.
    #[serde(default)]
    pub shell: Vec<String>,
}

/// Docker's health check. A duration of 0 means its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageHealthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    pub test: Vec<String>,
    /// Milliseconds between checks.
    pub interval_ms: u64,
    /// Milliseconds one check may take.
    pub timeout_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Milliseconds in which failures do not count.
    pub start_period_ms: u64,
    /// Milliseconds between checks in the start period.
    pub start_interval_ms: u64,
}

/// The parts of a configuration file that matter here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: Raw,
    pub rootfs: RootFs,
}

/// The layers, lowest first.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Raw {
    #[serde(deserialize_with = "or_default")]
    entrypoint: Words,
    #[serde(deserialize_with = "or_default")]
    cmd: Words,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    volumes: BTreeMap<String, serde::de::IgnoredAny>,
    stop_signal: Option<String>,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    healthcheck: Option<RawHealthcheck>,
    #[serde(deserialize_with = "or_default")]
    shell: Vec<String>,
}

// Durations in nanoseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealthcheck {
    #[serde(deserialize_with = "or_default")]
    test: Words,
    interval: i64,
    timeout: i64,
    retries: i64,
    start_period: i64,
    start_interval: i64,
}

// A list, or one string, as the oldest images have it.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Words;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

// `null` is what Go writes for an empty list.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(raw: &[u8]) -> Result<ConfigFile, String> {
        serde_json::from_slice(raw).map_err(|error| format!("its configuration: {error}"))
    }

    /// The platform; old images do not name one.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        let known = !os.is_empty() && !architecture.is_empty();
        known.then(|| Platform {
            os,
            architecture,
            variant: self.variant.clone(),
        })
    }

    /// How it wants to be run.
    pub(crate) fn image_config(self) -> ImageConfig {
        let raw = self.config;
        let ms = |ns: i64| u64::try_from(ns / 1_000_000).unwrap_or(0);
        ImageConfig {
            entrypoint: raw.entrypoint.0,
            cmd: raw.cmd.0,
            env: raw.env,
            working_dir: raw.working_dir,
            user: raw.user,
            volumes: raw.volumes.into_keys().collect(),
            stop_signal: raw.stop_signal.filter(|signal| !signal.is_empty()),
            exposed_ports: raw.exposed_ports.into_keys().collect(),
            labels: raw.labels,
            shell: raw.shell,
            healthcheck: raw
                .healthcheck
                .filter(|check| !check.test.0.is_empty())
                .map(|check| ImageHealthcheck {
                    test: check.test.0,
                    interval_ms: ms(check.interval),
                    timeout_ms: ms(check.timeout),
                    retries: u32::try_from(check.retries).unwrap_or(0),
                    start_period_ms: ms(check.start_period),
                    start_interval_ms: ms(check.start_interval),
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_configuration() {
        let raw = br#"{"os":"linux","architecture":"arm64","variant":"v8","config":{
            "Entrypoint":["/e"],"Cmd":["a","b"],"Env":["A=1"],"WorkingDir":"/w","User":"u:g",
            "Volumes":{"/v":{}},"StopSignal":"SIGINT","ExposedPorts":{"80/tcp":{}},
            "Labels":{"k":"v"},"Healthcheck":{"Test":["CMD","x"],"Interval":5000000000,
            "Timeout":1500000,"Retries":4,"StartPeriod":-1},
            "Shell":["/bin/bash","-c"]},"rootfs":{"diff_ids":[]}}"#;
        let file = ConfigFile::parse(raw).unwrap();
        assert_eq!(file.platform().unwrap().to_string(), "linux/arm64/v8");
        let config = file.image_config();
        assert_eq!(config.volumes, ["/v"]);
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.shell, ["/bin/bash", "-c"]);
        let check = config.healthcheck.unwrap();
        assert_eq!(
            (check.interval_ms, check.timeout_ms, check.retries),
            (5000, 1, 4)
        );
        assert_eq!(check.start_period_ms, 0);
    }

    #[test]
    fn nulls_and_old_forms() {
        let raw = br#"{"config":{"Entrypoint":"/bin/sh","Cmd":null,"Env":null,"Volumes":null,
            "Labels":null,"Healthcheck":null,"Shell":null},"rootfs":{"diff_ids":null}}"#;
        let file = ConfigFile::parse(raw).unwrap();
        assert!(file.platform().is_none());
        let config = file.image_config();
        assert_eq!(config.entrypoint, ["/bin/sh"]);
        assert_eq!(config.healthcheck, None);
        assert!(ConfigFile::parse(br#"{"rootfs":{"diff_ids":["sha256:12"]}}"#).is_err());
        assert!(ConfigFile::parse(br#"{"config":null}"#).is_err());
    }
}
