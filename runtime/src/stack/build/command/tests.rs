//! Command lines and messages.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::super::context::Context;
use super::*;

const ALL: Tools = Tools {
    runtime: true,
    unshare: true,
    version: Some((1, 28)),
    gateway: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2))),
};

fn job<'a>(spec: &'a BuildSpec, dockerfile: &str) -> Job<'a> {
    Job {
        service: "web",
        spec,
        dockerfile: (dockerfile.to_owned(), "Dockerfile".to_owned()),
        content: dockerfile.as_bytes().to_vec(),
        context: Some(Context {
            path: PathBuf::from("/src"),
            ignore: None,
        }),
        more: BTreeMap::new(),
    }
}

async fn command(spec: &BuildSpec) -> Command {
    let all = BTreeMap::from([(
        "base".to_owned(),
        BuildSpec {
            image: "shop-base".to_owned(),
            ..BuildSpec::default()
        },
    )]);
    let job = job(spec, "FROM busybox\n");
    let options = PullOptions::default();
    Command::new(&job, &all, "7", (&options, ALL))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_the_file_says_is_on_the_command_line() {
    let pair = |a: &str, b: &str| BTreeMap::from([(a.to_owned(), b.to_owned())]);
    let spec = BuildSpec {
        image: "shop-web".to_owned(),
        tags: vec!["other:2".to_owned()],
        args: pair("A", "b c"),
        target: Some("last".to_owned()),
        labels: pair("l", "1"),
        cache_from: vec![
            "type=registry,ref=r.x/cache:1".to_owned(),
            "type=gha".to_owned(),
        ],
        secrets: BTreeMap::from([("token".to_owned(), b"hidden".to_vec())]),
        additional_contexts: pair("base", "service:base"),
        extra_hosts: [("db", "10.0.0.1"), ("here", "host-gateway")]
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .into(),
        no_cache: true,
        pull: true,
        shm_size: Some(1 << 20),
        ulimits: BTreeMap::from([("nofile".to_owned(), (10, 20))]),
        privileged: true,
        ..BuildSpec::default()
    };
    let command = command(&spec).await;
    let line = command.args.join(" ");
    for part in [
        "--tag docker.io/library/shop-web:latest",
        "--tag docker.io/library/other:2",
        "--build-arg A=b c",
        "--target last",
        "--label l=1",
        "--cache-from r.x/cache",
        "--secret id=token,type=file,src=/dev/shm/stack-7/secret-0",
        "--build-context base=docker-image://docker.io/library/shop-base:latest",
        "--add-host db:10.0.0.1",
        "--add-host here:10.0.2.2",
        "--no-cache",
        "--shm-size 1024k",
        "--ulimit nofile=10:20",
        "--cap-add all",
        "--network host",
        "--isolation oci",
        "unshare --pid --fork --kill-child --mount-proc -- buildah build",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("hidden") && !line.contains("--ssh"));
    // It is built from another service's image, which is in no registry.
    assert!(
        !line.contains("--pull-always") && line.contains("--pull=missing"),
        "{line}"
    );
    assert_eq!(command.pulls, ["docker.io/library/busybox:latest"]);
    assert_eq!(command.warnings.len(), 1, "{:?}", command.warnings);
    let secret = command
        .files
        .iter()
        .find(|(path, _)| path.ends_with("secret-0"));
    assert_eq!(secret.unwrap().1, b"hidden");

    // With images of registries only, the engine asks.
    let spec = BuildSpec {
        image: "shop-web".to_owned(),
        pull: true,
        ..BuildSpec::default()
    };
    let command = self::command(&spec).await;
    assert!(command.args.iter().any(|word| word == "--pull-always"));
    assert!(command.pulls.is_empty());

    // And for what is not there only, unless it is told to.
    let spec = BuildSpec {
        image: "shop-web".to_owned(),
        ..BuildSpec::default()
    };
    let line = self::command(&spec).await.args.join(" ");
    for part in [
        "--pull=missing",
        "--cap-add CAP_AUDIT_WRITE,CAP_MKNOD,CAP_NET_RAW",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn what_old_engines_do_not_notice_is_told() {
    let spec = BuildSpec {
        image: "a".to_owned(),
        ..BuildSpec::default()
    };
    let warned = async |dockerfile: &str, version| {
        let tools = Tools { version, ..ALL };
        let (options, none) = (PullOptions::default(), BTreeMap::new());
        let job = job(&spec, dockerfile);
        let made = Command::new(&job, &none, "7", (&options, tools)).await;
        !made.unwrap().warnings.is_empty()
    };
    let mount = "FROM a\nRUN --mount=type=bind,source=f,target=/f x\n";
    assert!(warned(mount, Some((1, 28))).await);
    assert!(!warned(mount, Some((1, 39))).await);
    assert!(!warned("FROM a\nCOPY f /f\n", Some((1, 28))).await);
}

#[tokio::test]
async fn an_image_is_no_cache() {
    let spec = BuildSpec {
        image: "a".to_owned(),
        cache_from: vec!["r.x/app:1".to_owned()],
        ..BuildSpec::default()
    };
    let command = command(&spec).await;
    assert!(command.args.join(" ").contains("--cache-from r.x/app"));
    assert_eq!(command.warnings.len(), 1, "{:?}", command.warnings);
}

#[tokio::test]
async fn an_archive_is_fetched_by_the_engine() {
    let spec = BuildSpec {
        image: "a".to_owned(),
        context: "https://example.org/a.tar.gz".to_owned(),
        dockerfile: "Other".to_owned(),
        network: Some("none".to_owned()),
        ..BuildSpec::default()
    };
    let job = Job {
        context: None,
        ..job(&spec, "")
    };
    let (options, none) = (PullOptions::default(), BTreeMap::new());
    let command = Command::new(&job, &none, "7", (&options, ALL))
        .await
        .unwrap();
    let line = command.args.join(" ");
    assert!(line.contains("--file Other"), "{line}");
    assert!(line.ends_with(" https://example.org/a.tar.gz"), "{line}");
    assert!(
        !line.contains("--ignorefile") && line.contains("--network none"),
        "{line}"
    );

    // Without a runtime there is no network to take away.
    let bare = Tools::default();
    let error = Command::new(&job, &none, "7", (&options, bare))
        .await
        .err()
        .unwrap();
    assert!(error.message.contains("crun"), "{error}");
}

#[tokio::test]
async fn agents_are_told_from_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, key) = (dir.path().join("agent"), dir.path().join("key"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::write(&key, "private").unwrap();
    let with = |path: &str| BuildSpec {
        image: "a".to_owned(),
        ssh: BTreeMap::from([("default".to_owned(), path.to_owned())]),
        ..BuildSpec::default()
    };
    let agent = command(&with(socket.to_str().unwrap())).await;
    let inside = "/dev/shm/stack-7/agent-0".to_owned();
    assert_eq!(agent.sockets, [(socket, inside)]);
    let line = agent.args.join(" ");
    assert!(
        line.contains("--ssh default=/dev/shm/stack-7/agent-0"),
        "{line}"
    );
    let named = command(&with(key.to_str().unwrap())).await;
    assert!(named.sockets.is_empty());
    assert!(named.files.iter().any(|(_, content)| content == b"private"));

    let none = with("");
    let job = job(&none, "FROM busybox\n");
    let options = PullOptions::default();
    let error = Command::new(&job, &BTreeMap::new(), "7", (&options, ALL)).await;
    let error = error.err().unwrap();
    assert!(error.message.contains("SSH_AUTH_SOCK"), "{error}");
}

#[test]
fn steps_are_told_apart_from_output() {
    assert_eq!(step("STEP 2/4: RUN x: y"), Some(("2/4", "RUN x: y")));
    assert_eq!(step("[1/2] STEP 3/3: COPY . ."), Some(("3/3", "COPY . .")));
    assert_eq!(step("STEP by step: x"), None);
}

#[test]
fn a_failure_names_the_line() {
    let spec = BuildSpec::default();
    let job = job(&spec, "FROM busybox:1\n\nRUN exit 3\n");
    let why =
        "Error: error building at STEP \"RUN exit 3\": error while running runtime: exit status 3";
    let error = failure(&job, "", why);
    assert_eq!(
        error.message,
        "service web: Dockerfile:3: `RUN exit 3` failed: exit status 3"
    );
    let error = failure(&job, "FROM busybox:1", "Error: no such image");
    assert_eq!(
        error.message,
        "service web: Dockerfile:1: `FROM busybox:1` failed: no such image"
    );
}

#[test]
fn a_source_that_is_missing_is_named_as_it_was_written() {
    let spec = BuildSpec::default();
    let job = job(&spec, "FROM busybox:1\nCOPY a/b /x\n");
    let why = "Error: building at STEP \"COPY a/b /x\": checking on sources under \
               \"/var/contexts/1\": copier: stat: \"/a/b\": no such file or directory";
    let error = failure(&job, "", why);
    assert_eq!(
        error.message,
        "service web: Dockerfile:2: `COPY a/b /x` failed: there is no a/b"
    );
    assert!(error.help.unwrap().contains(".dockerignore"));
}

#[test]
fn what_was_killed_wanted_memory() {
    let exit = |code, oom| Exit {
        code,
        oom,
        ..Exit::default()
    };
    assert!(is_killed(&exit(137, false), "") && is_killed(&exit(1, true), ""));
    assert!(is_killed(
        &exit(1, false),
        "while running runtime: exit status 137"
    ));
    assert!(!is_killed(&exit(1, false), "exit status 1"));
}

#[test]
fn a_failure_names_the_line_of_the_step_that_was_last() {
    let spec = BuildSpec::default();
    let twice = job(&spec, "FROM a\nRUN x\nRUN x\n");
    let error = failure(&twice, "STEP 3/3: RUN x", "Error: exit status 1");
    assert!(error.message.contains("Dockerfile:3: `RUN x`"), "{error}");
    let error = failure(&twice, "[1/2] STEP 2/2: RUN x", "Error: exit status 1");
    assert!(error.message.contains("Dockerfile:2: `RUN x`"), "{error}");
}

#[test]
fn a_key_is_a_file_of_a_sensible_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("key"), "k").unwrap();
    std::fs::write(path("large"), vec![b'k'; MAX_KEY + 1]).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
    assert!(matches!(agent_or_key(&path("key")), Ok(Ssh::Key(key)) if key == b"k"));
    for bad in ["large", "zero", "."] {
        assert!(agent_or_key(&path(bad)).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn proxies_are_the_engines_and_in_no_argument() {
    let proxies = [("HTTPS_PROXY", "http://u:hidden@127.0.0.1:3128")];
    let proxies = proxies.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let spec = BuildSpec {
        image: "a".to_owned(),
        proxies: proxies.into(),
        ..BuildSpec::default()
    };
    let command = command(&spec).await;
    for wanted in [
        "HTTPS_PROXY=http://u:hidden@host.docker.internal:3128",
        "https_proxy=http://u:hidden@host.docker.internal:3128",
        "NO_PROXY=host.docker.internal",
    ] {
        assert!(command.env.iter().any(|entry| entry == wanted), "{wanted}");
    }
    assert!(!command.args.join(" ").contains("hidden"));
}

#[tokio::test]
async fn an_archive_may_begin_with_an_image_of_any_known_registry() {
    let dir = tempfile::tempdir().unwrap();
    // Of `user:secret`.
    let auths = r#"{"auths": {"r.x:5000": {"auth": "dXNlcjpzZWNyZXQ="}}}"#;
    std::fs::write(dir.path().join("config.json"), auths).unwrap();
    let options = PullOptions {
        docker_config: Some(dir.path().to_owned()),
        ..PullOptions::default()
    };
    let spec = BuildSpec {
        image: "a".to_owned(),
        context: "https://r.x/a.tar.gz".to_owned(),
        ..BuildSpec::default()
    };
    let mut job = job(&spec, "");
    let known = async |job: &Job<'_>| {
        let made = Command::new(job, &BTreeMap::new(), "7", (&options, ALL)).await;
        let made = made.unwrap();
        made.files.iter().any(|(path, content)| {
            path.ends_with("auth.json") && String::from_utf8_lossy(content).contains("r.x:5000")
        })
    };
    assert!(!known(&job).await);
    job.context = None;
    assert!(known(&job).await);
}
