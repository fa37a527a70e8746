//! What an engine that builds images beside the store has to know: which
//! layers need not come, and where registries are.

use std::path::{Path, PathBuf};

use crate::assemble::Stack;
use crate::config::ConfigFile;
use crate::error::Error;
use crate::options::PullOptions;
use crate::pull::credentials::{self, Who};
use crate::record::LayerFile;
use crate::reference::Reference;
use crate::store::Store;

/// The full form of a reference: `docker.io/library/app:latest`.
///
/// # Errors
/// It is no reference.
pub fn full_name(reference: &str) -> Result<String, Error> {
    Ok(reference.parse::<Reference>()?.to_string())
}

/// The repository that a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port of the reference as written.
    pub named: String,
    /// Host and port that is asked: a mirror's, when there is one.
    pub host: String,
    /// What the mirror's repositories have before their names: empty or
    /// `path/`.
    pub prefix: String,
    /// It is spoken to without TLS.
    pub plain_http: bool,
}

impl PullOptions {
    /// Where a reference leads.
    ///
    /// # Errors
    /// It is no reference, or the mirror's address is not good.
    pub fn upstream(&self, reference: &str) -> Result<Upstream, Error> {
        let reference: Reference = reference.parse()?;
        let end = self
            .endpoint(&reference)
            .map_err(|why| Error::bad(reference.to_string(), why))?;
        let prefix = end.repository.strip_suffix(&reference.repository);
        Ok(Upstream {
            prefix: prefix.unwrap_or_default().to_owned(),
            named: reference.registry,
            host: end.host,
            plain_http: end.plain_http,
        })
    }

    /// The files with certificates of authorities that are trusted for a registry
    /// beside the system's: name and content. What cannot be read is left out.
    pub fn authorities(&self, host: &str) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for (n, path) in self.certificate_files(host) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match small_file(&path) {
                Ok(content) => all.push((format!("{n}-{name}"), content)),
                Err(error) => tracing::warn!(%error, %name, "certificate of an authority"),
            }
        }
        all.sort();
        all
    }

    /// The same files where they are, and the number of their directory.
    pub(crate) fn certificate_files(&self, host: &str) -> Vec<(usize, PathBuf)> {
        let mut all = Vec::new();
        for (n, dir) in self.certificates.iter().enumerate() {
            let entries = std::fs::read_dir(dir.join(host)).into_iter().flatten();
            let files = entries.flatten().map(|entry| (n, entry.path()));
            all.extend(files.filter(|(_, path)| path.extension() == Some("crt".as_ref())));
        }
        all.sort();
        all
    }

    /// Registries that Docker's configuration has credentials for, and those that
    /// may be insecure, where nobody knows which are needed.
    pub fn known_registries(&self) -> Vec<String> {
        let config = self.docker_configuration();
        let named = ["auths", "credHelpers"].map(|key| config[key].as_object());
        let named = named.into_iter().flatten().flat_map(|object| object.keys());
        let mut all: Vec<String> = named.chain(&self.insecure).cloned().collect();
        all.retain(|host| crate::reference::valid_host(host));
        all.sort();
        all.dedup();
        all
    }

    /// Docker's configuration; nothing where there is none that can be read.
    pub fn docker_configuration(&self) -> serde_json::Value {
        let dir = self.docker_config.as_ref();
        let text = dir.and_then(|dir| small_file(&dir.join("config.json")).ok());
        let config = text.and_then(|text| serde_json::from_slice(&text).ok());
        config.unwrap_or_default()
    }

    /// How to log in at a registry, from Docker's configuration.
    pub async fn credentials(&self, host: &str) -> Option<Login> {
        match credentials::find(host, self.docker_config.as_deref()).await {
            Who::User { name, password } => Some(Login {
                user: name,
                password,
                identity_token: None,
            }),
            Who::Identity(token) => Some(Login {
                user: NO_USER.to_owned(),
                password: String::new(),
                identity_token: Some(token),
            }),
            Who::Nobody => None,
        }
    }
}

/// The authorities that this system trusts (PEM), where programs in Go look for
/// them; `None` when there are none.
pub fn system_authorities() -> Option<Vec<u8>> {
    let own = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = AUTHORITIES.iter().map(PathBuf::from);
    own.into_iter()
        .chain(usual)
        .find_map(|path| small_file(&path).ok())
}

/// Of Debian, Fedora, openSUSE, RHEL and Alpine (Go: `crypto/x509`,
/// root_linux.go).
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A regular file of 4 MiB at most.
pub(crate) fn small_file(path: &Path) -> std::io::Result<Vec<u8>> {
    const LONGEST: u64 = 4 << 20;
    let meta = std::fs::metadata(path)?;
    match meta.is_file() && meta.len() <= LONGEST {
        true => std::fs::read(path),
        false => Err(std::io::Error::other("no file of a sensible size")),
    }
}

/// What Azure's registries call whoever has an identity token.
const NO_USER: &str = "00000000-0000-0000-0000-000000000000";

/// A login at a registry.
pub struct Login {
    /// User.
    pub user: String,
    /// Empty with an identity token.
    pub password: String,
    /// A token that the registry's token service gives others for.
    pub identity_token: Option<String>,
}

impl Store {
    /// The layers of an image with this configuration: the diff id of each,
    /// lowest first, and whether it has to come for the image to be loaded.
    ///
    /// # Errors
    /// It is no configuration.
    pub fn layers_to_bring(&self, config: &[u8]) -> Result<Vec<(String, bool)>, Error> {
        let bad = |why: String| Error::bad("the image", why);
        let config = ConfigFile::parse(config).map_err(bad)?;
        let root = self.root();
        let ids = config.rootfs.diff_ids;
        let needed = Stack::new(&ids).needed(root);
        let there = |id| LayerFile::Layer(id).is_whole(root);
        let layers = ids.into_iter().map(|id| {
            let brought = needed.contains(&id) && !there(id.clone());
            (id.to_string(), brought)
        });
        Ok(layers.collect())
    }
}
