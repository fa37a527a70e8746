//! Stack files in git repositories and registries, both on loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::home::{Home, Run};

const WEB: &str =
    "services:\n  web: {image: \"web:1\", env_file: one.env, volumes: [\"./d:/d\"]}\n";

/// `git daemon` over a folder with the repository `work`.
struct Repository {
    home: Home,
    daemon: Child,
    port: u16,
}

impl Repository {
    fn new() -> Repository {
        let home = Home::with(WEB);
        let folder = home.work();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        std::fs::create_dir(folder.join("sub")).unwrap();
        write("one.env", "X=1\n");
        write(
            "sub/base.yaml",
            "services: {base: {image: base, labels: {from: git}}}\n",
        );
        std::os::unix::fs::symlink("/etc/passwd", folder.join("out.yaml")).unwrap();
        git(&folder, &["init", "-q", "-b", "main"]);
        commit(&folder);
        git(&folder, &["tag", "-a", "v1", "-m", "one"]);
        write("stack.yaml", &WEB.replace("web:1", "web:2"));
        commit(&folder);
        let (daemon, port) = serve(home.path());
        Repository { home, daemon, port }
    }

    fn url(&self, fragment: &str) -> String {
        format!("git://127.0.0.1:{}/work{fragment}", self.port)
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // git starts the daemon as a process of its own in the same group.
        let group = format!("-{}", self.daemon.id());
        drop(
            Command::new("kill")
                .args(["-s", "KILL", "--", &group])
                .status(),
        );
        drop(self.daemon.wait());
    }
}

/// Starts a daemon on a free port, which may be taken by the time it binds it.
fn serve(folder: &Path) -> (Child, u16) {
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut daemon = Command::new("git")
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", folder.display()))
            .process_group(0)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (daemon, port);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(daemon.kill());
        drop(daemon.wait());
    }
    panic!("git daemon did not start");
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(folder: &Path) {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "-q", "-m", "x"]);
}

#[test]
fn a_repository_by_branch_tag_and_commit() {
    let (repository, home) = (Repository::new(), Home::new());
    let images = |fragment: &str| {
        let url = repository.url(fragment);
        home.run(&["-f", &url, "config", "--images"])
            .ended_with(0)
            .out
    };
    assert_eq!(images(""), "web:2\n");
    assert_eq!(images("#main"), "web:2\n");
    assert_eq!(images("#v1:stack.yaml"), "web:1\n");
    let first = git(&repository.home.work(), &["rev-parse", "v1^{commit}"]);
    // What is in the cache needs no network.
    let url = repository.url(&format!("#{first}"));
    drop(repository);
    let run = home
        .run(&["-f", &url, "config", "--format", "json"])
        .ended_with(0);
    let model: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(model["name"], "work");
    assert_eq!(model["services"]["web"]["environment"]["X"], "1");
    let source = model["services"]["web"]["volumes"][0]["source"]
        .as_str()
        .unwrap();
    let checkout = home
        .path()
        .join("cache/remote/git")
        .join(first)
        .join("work/d");
    assert_eq!(Path::new(source), checkout);
}

#[test]
fn included_and_extended_from_a_repository() {
    let repository = Repository::new();
    let file = format!(
        "name: shop\ninclude: [\"{}\"]\nservices:\n  own:\n    image: own\n    \
         extends: {{file: \"{}\", service: base}}\n",
        repository.url("#v1"),
        repository.url("#:sub/base.yaml")
    );
    let home = Home::with(&file);
    let run = home.run(&["config", "--format", "json"]).ended_with(0);
    let model: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(model["services"]["web"]["image"], "web:1");
    assert_eq!(model["services"]["own"]["labels"]["from"], "git");
    std::fs::write(home.work().join("stack.yaml"), file.replace("#v1", "#v9")).unwrap();
    let run = home.run(&["config"]).ended_with(15);
    assert!(run.err.contains("no branch or tag `v9`"), "{}", run.err);
    assert!(run.err.contains("stack.yaml:2:11"), "{}", run.err);
}

#[test]
fn what_a_repository_cannot_do() {
    let (repository, home) = (Repository::new(), Home::new());
    for (fragment, says) in [
        ("#v9", "no branch or tag `v9`"),
        ("#v1:../work", "leads out of the repository"),
        ("#v1:/etc/passwd", "leads out of the repository"),
        ("#v1:out.yaml", "a link that leads out"),
        ("#v1:sub", "no stack file in v1:sub"),
        ("#v1:none.yaml", "there is no `none.yaml`"),
        ("#--upload-pack=x", "is not a branch"),
        ("#*", "is not a branch"),
    ] {
        let url = repository.url(fragment);
        let run = home.run(&["-f", &url, "config"]).ended_with(14);
        let words = run.err.split_whitespace().filter(|word| *word != "│");
        let said = words.collect::<Vec<_>>().join(" ");
        assert!(said.contains(says), "{fragment}: {}", run.err);
    }
    let off = home
        .command(&["-f", &repository.url(""), "config"])
        .env("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "false")
        .output();
    let run = Run::of(off.unwrap()).ended_with(14);
    assert!(
        run.err.contains("COMPOSE_EXPERIMENTAL_GIT_REMOTE"),
        "{}",
        run.err
    );
    let run = home
        .run(&["-f", "https://example.org/x.yaml", "config"])
        .ended_with(14);
    assert!(run.err.contains("git repository"), "{}", run.err);
}

/// A registry with one artifact, and how often it was asked.
struct Registry {
    host: String,
    digest: String,
    asked: Arc<Mutex<usize>>,
}

fn digest(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha256:{}", hex.concat())
}

/// A file of an artifact: media type, annotations, content.
type File<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

impl Registry {
    fn serve(files: &[File<'_>]) -> Registry {
        let mut content: BTreeMap<String, Bytes> = BTreeMap::new();
        let mut layers = Vec::new();
        for (kind, annotations, text) in files {
            let name = digest(text.as_bytes());
            let annotations: BTreeMap<String, &str> = annotations
                .iter()
                .map(|(key, value)| (format!("com.docker.compose.{key}"), *value))
                .collect();
            layers.push(json!({
                "mediaType": format!("application/vnd.docker.compose.{kind}"),
                "digest": name, "size": text.len(), "annotations": annotations,
            }));
            content.insert(
                format!("/v2/a/shop/blobs/{name}"),
                (*text).to_owned().into(),
            );
        }
        let manifest = json!({"schemaVersion": 2, "layers": layers}).to_string();
        let digest = digest(manifest.as_bytes());
        for name in ["v1", &digest] {
            let path = format!("/v2/a/shop/manifests/{name}");
            content.insert(path, manifest.clone().into());
        }
        let asked = Arc::new(Mutex::new(0));
        let host = listen(content, Arc::clone(&asked));
        Registry {
            host,
            digest,
            asked,
        }
    }
}

/// Serves these paths until the test process ends.
fn listen(content: BTreeMap<String, Bytes>, asked: Arc<Mutex<usize>>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let content = Arc::new(content);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (content, asked) = (Arc::clone(&content), Arc::clone(&asked));
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    *asked.lock().unwrap() += 1;
                    let path = request.uri().path();
                    let found = content.get(path).cloned();
                    let status = match (&found, path) {
                        (Some(_), _) | (None, "/v2/") => StatusCode::OK,
                        (None, _) => StatusCode::NOT_FOUND,
                    };
                    let mut response = Response::new(Full::new(found.unwrap_or_default()));
                    *response.status_mut() = status;
                    async { Ok::<_, Infallible>(response) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
    });
    host
}

#[test]
fn an_artifact_of_a_registry() {
    let registry = Registry::serve(&[
        (
            "file+yaml",
            &[("file", "compose.yaml")],
            "services: {web: {image: \"web:1\", env_file: one.env, \
             extends: {file: base.yaml, service: base}}}\n",
        ),
        (
            "file+yaml",
            &[("file", "more.yaml")],
            "services: {web: {image: \"web:2\"}}\n",
        ),
        (
            "file+yaml",
            &[("file", "base.yaml"), ("extends", "true")],
            "services: {base: {labels: {from: oci}}}\n",
        ),
        ("envfile", &[("envfile", "one.env")], "X=1\n"),
    ]);
    let home = Home::with("include: [\"oci://${HOST}/a/shop:v1\"]\n");
    let output = home
        .command(&["config", "--format", "json"])
        .env("HOST", &registry.host)
        .output();
    let run = Run::of(output.unwrap()).ended_with(0);
    let model: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let web = &model["services"]["web"];
    assert_eq!(web["image"], "web:2");
    assert_eq!(web["labels"]["from"], "oci");
    assert_eq!(web["environment"]["X"], "1");

    // By its digest it is known, and the network not needed.
    let before = *registry.asked.lock().unwrap();
    let pinned = format!("oci://{}/a/shop@{}", registry.host, registry.digest);
    let run = home
        .run(&["-f", &pinned, "config", "--images"])
        .ended_with(0);
    assert_eq!(run.out, "web:2\n");
    assert_eq!(*registry.asked.lock().unwrap(), before);
    let none = format!("oci://{}/a/other:v1", registry.host);
    let run = home.run(&["-f", &none, "config"]).ended_with(14);
    assert!(run.err.contains("does not exist"), "{}", run.err);
}

#[test]
fn an_artifact_cannot_write_elsewhere() {
    let files: [File<'_>; 2] = [
        ("file+yaml", &[("file", "compose.yaml")], "services: {}\n"),
        ("envfile", &[("envfile", "../../../../x.env")], "X=1\n"),
    ];
    let (registry, home) = (Registry::serve(&files), Home::new());
    let url = format!("oci://{}/a/shop:v1", registry.host);
    let run = home.run(&["-f", &url, "config"]).ended_with(14);
    assert!(run.err.contains("cannot be called"), "{}", run.err);
    assert!(!home.path().join("x.env").exists());
    assert!(!home.path().join("cache/x.env").exists());
}
