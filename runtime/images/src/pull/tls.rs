//! How a registry is spoken to: with TLS, whose certificates are trusted, and
//! what is done where TLS is not asked for.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use futures_util::StreamExt;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use reqwest::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::built::small_file;
use crate::options::PullOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("stack/", env!("CARGO_PKG_VERSION"));

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP.
    Plain,
    /// HTTPS, with anybody: of registries that may be insecure.
    Unverified,
    /// HTTPS, with who has a certificate.
    Verified,
}

/// What speaks.
pub(super) struct Clients {
    pub speech: Speech,
    pub oci: Client,
    pub http: reqwest::Client,
}

impl Clients {
    /// For `host` (`host[:port]`). One that may be insecure has TLS if it wants
    /// it, as with Docker.
    ///
    /// # Errors
    /// A file of certificates is none; the system's cannot be read.
    pub(super) async fn find(
        host: &str,
        may_be_plain: bool,
        options: &PullOptions,
    ) -> Result<Clients, String> {
        let trusted = trusted(host, options)?;
        if !may_be_plain {
            return Clients::new(Speech::Verified, &trusted);
        }
        let plain = Clients::new(Speech::Plain, &trusted)?;
        match wants_tls(&plain.http, host).await {
            true => Clients::new(Speech::Unverified, &trusted),
            false => Ok(plain),
        }
    }

    fn new(speech: Speech, trusted: &[CertificateDer<'static>]) -> Result<Clients, String> {
        use_provider();
        let config = ClientConfig {
            protocol: match speech {
                Speech::Plain => ClientProtocol::Http,
                Speech::Unverified | Speech::Verified => ClientProtocol::Https,
            },
            accept_invalid_certificates: speech == Speech::Unverified,
            extra_root_certificates: trusted
                .iter()
                .map(|certificate| Certificate {
                    encoding: CertificateEncoding::Der,
                    data: certificate.to_vec(),
                })
                .collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let roots: Result<Vec<_>, _> = trusted
            .iter()
            .map(|certificate| reqwest::Certificate::from_der(certificate))
            .collect();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(USER_AGENT)
            .tls_certs_merge(roots.map_err(|error| super::registry::reason(&error))?)
            .tls_danger_accept_invalid_certs(speech == Speech::Unverified);
        Ok(Clients {
            speech,
            oci: Client::try_from(config).map_err(|error| error.to_string())?,
            http: http
                .build()
                .map_err(|error| super::registry::reason(&error))?,
        })
    }
}

/// Who does the cryptography: once for the process.
fn use_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error: there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Does it take what comes for TLS, if it is spoken to in plain HTTP? Servers of
/// Go, nginx and Apache say so with status 400, others end the connection.
async fn wants_tls(http: &reqwest::Client, host: &str) -> bool {
    let response = match http.get(format!("http://{host}/v2/")).send().await {
        Ok(response) => response,
        Err(error) => return !error.is_connect() && !error.is_timeout(),
    };
    if response.status() != StatusCode::BAD_REQUEST {
        return false;
    }
    let mut said = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await
        && said.len() < 4096
    {
        said.extend_from_slice(&bytes);
    }
    let said = String::from_utf8_lossy(&said);
    said.contains("HTTPS") || said.contains("SSL")
}

/// Certificates that are trusted beside the system's, of one registry: Docker's
/// `certs.d/HOST/*.crt`.
///
/// # Errors
/// One of the files has none, or cannot be read.
fn trusted(host: &str, options: &PullOptions) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut all = Vec::new();
    for (_, file) in options.certificate_files(host) {
        all.extend(certificates(&file).map_err(|why| format!("{}: {why}", file.display()))?);
    }
    Ok(all)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = small_file(file).map_err(|error| error.to_string())?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("no certificate in it (PEM)".to_owned()),
        Err(error) => Err(format!("no certificate: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let of_host = dir.path().join("a.test:5000");
        fs::create_dir(&of_host).unwrap();
        let options = PullOptions {
            certificates: vec![dir.path().to_owned(), dir.path().join("none")],
            ..PullOptions::default()
        };
        assert_eq!(trusted("a.test:5000", &options), Ok(Vec::new()));
        fs::write(of_host.join("client.key"), "not looked at").unwrap();
        assert_eq!(trusted("a.test:5000", &options), Ok(Vec::new()));
        fs::write(of_host.join("ca.crt"), "hello").unwrap();
        let why = trusted("a.test:5000", &options).unwrap_err();
        assert!(why.ends_with("ca.crt: no certificate in it (PEM)"), "{why}");
        assert_eq!(trusted("b.test", &options), Ok(Vec::new()));
    }
}
