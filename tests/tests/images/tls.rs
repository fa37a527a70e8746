//! Registries that speak TLS, with a certificate that no system knows.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use stack_tests::Home;

use super::SLEEPER;

/// Debian's registry on loopback, with TLS.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    /// Its certificate is of an authority whose own is put into `ca.crt`.
    fn start(dir: &Path) -> Registry {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(dir.join("ca.crt"), authority.pem()).unwrap();
        fs::write(dir.join("server.crt"), certificate.pem()).unwrap();
        fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
        let dir = dir.display();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: s\n  tls:\n    certificate: {dir}/server.crt\n    \
             key: {dir}/server.key\n"
        );
        let file = format!("{dir}/config.yml");
        fs::write(&file, config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve", &file])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry cannot be run: `make test` installs it");
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                let end = rest.find([',', ' ', '"']).unwrap_or(rest.len());
                Some(rest[..end].to_owned())
            })
            .expect("the registry did not start");
        std::thread::spawn(move || said.for_each(drop));
        Registry { child, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_registry_with_a_certificate_of_ones_own() {
    let home = Home::new();
    let tls = home.dir().join("tls");
    fs::create_dir(&tls).unwrap();
    let registry = Registry::start(&tls);
    let project = home.project("tls", SLEEPER);
    project.stack(&["pull"]).ok();

    // On loopback anybody is believed, as with Docker.
    let name = format!("{}/library/busybox:1", registry.host);
    project.stack(&["image", "tag", "busybox:1", &name]).ok();
    project.stack(&["push", "--image", &name]).ok();
    let other = home.beside();
    let file = format!("services:\n  app:\n    image: {name}\n");
    other.project("other", &file).stack(&["pull"]).ok();

    // One that must have TLS has to be known.
    let third = home.beside().env(
        "STACK_REGISTRY_MIRROR",
        format!("https://{}", registry.host),
    );
    let third_project = third.project("third", SLEEPER);
    third_project
        .stack(&["pull"])
        .fails()
        .says("UnknownIssuer")
        .says(&format!("certs.d/{}/ca.crt", registry.host));
    let certificates = third.dir().join("docker/certs.d").join(&registry.host);
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(tls.join("ca.crt"), certificates.join("ca.crt")).unwrap();
    third_project.stack(&["pull"]).ok();
}
