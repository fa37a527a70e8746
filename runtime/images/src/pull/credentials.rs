//! Credentials from Docker's configuration and its helpers.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use crate::reference::HUB;

/// How long a helper may take; it may ask the user.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    User {
        name: String,
        password: String,
    },
    /// Known by a token that others are given for (Azure's registries).
    Identity(String),
}

/// What to tell the registry about who asks. Trouble with the configuration
/// is logged and means "nobody": most images are public.
pub(crate) async fn find(host: &str, docker_config: Option<&Path>) -> Who {
    let Some(path) = docker_config.map(|dir| dir.join("config.json")) else {
        return Who::Nobody;
    };
    if !path.exists() {
        return Who::Nobody;
    }
    let owned = host.to_owned();
    let work = tokio::task::spawn_blocking(move || look_up(&owned, &path));
    match tokio::time::timeout(HELPER_TIMEOUT, work).await {
        Ok(Ok(Some(auth))) => auth,
        Ok(Ok(None)) => Who::Nobody,
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(host, "a credential helper does not answer");
            Who::Nobody
        }
    }
}

fn look_up(host: &str, path: &Path) -> Option<Who> {
    // Docker Hub goes by the name of its first API.
    let names = match host {
        HUB => vec![
            "https://index.docker.io/v1/",
            "docker.io",
            "index.docker.io",
        ],
        other => vec![other],
    };
    for name in names {
        let file = File::open(path).ok()?;
        match get_credential_from_reader(BufReader::new(file), name) {
            Ok(DockerCredential::UsernamePassword(name, password)) => {
                return Some(Who::User { name, password });
            }
            Ok(DockerCredential::IdentityToken(token)) => return Some(Who::Identity(token)),
            // Helpers fail when they know nothing.
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::HelperFailure { .. },
            ) => {}
            Err(error) => {
                tracing::warn!(host, %error, "the Docker credentials cannot be used");
                return None;
            }
        }
    }
    None
}
