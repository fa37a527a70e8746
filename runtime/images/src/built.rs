//! What an engine that builds images beside the store has to know: which
//! layers need not come, and where registries are.

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
