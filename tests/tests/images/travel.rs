//! `commit`, `save`, `load`, `tag` and `push`.

use serde_json::Value;
use stack_tests::Home;

use super::SLEEPER;

/// The registry of the tests: `host:port`.
fn registry() -> String {
    let address = stack_tests::registry();
    address.split("://").last().unwrap_or_default().to_owned()
}

fn inspect(home: &Home, image: &str) -> Value {
    let project = home.project("look", SLEEPER);
    let raw = project.stack(&["image", "inspect", image]).ok();
    let all: Value = serde_json::from_str(&raw).unwrap();
    all[0].clone()
}

#[test]
fn what_a_service_changed_becomes_an_image_that_travels() {
    let home = Home::new();
    let file = r#"services:
  app:
    image: busybox:1
    command: ["sleep", "infinity"]
    environment: {OWN: kept}
    stop_grace_period: 0s
    tmpfs: /temporary
    volumes: ["data:/data"]
    configs: [{source: c, target: /etc/app.conf}]
volumes: {data: {}}
configs: {c: {content: "hello"}}
"#;
    let project = home.project("commit", file);
    project.stack(&["up", "-d"]).ok();
    let change = "echo new > /new && mkdir -p /d && echo 1 > /d/one && ln /d/one /d/two && \
                  chown 12:34 /new && chmod 4750 /new && rm /bin/vi && \
                  echo no > /temporary/x && echo no > /data/x";
    project
        .stack(&["exec", "-T", "app", "sh", "-c", change])
        .ok();
    let id = project
        .stack(&[
            "commit",
            "-a",
            "me",
            "-m",
            "why",
            "-c",
            "ENV MADE=\"yes and $OWN\"",
            "-c",
            r#"CMD ["sleep", "1000"]"#,
            "-c",
            "LABEL kind=test",
            "app",
            "made:1",
        ])
        .ok();
    // It runs on.
    project.stack(&["exec", "-T", "app", "true"]).ok();
    assert_eq!(project.field("app", "State"), "running");

    let made = inspect(&home, "made:1");
    assert_eq!(made["Id"], id.trim());
    assert_eq!(made["Author"], "me");
    assert_eq!(made["Config"]["Labels"]["kind"], "test");
    let user = home.project(
        "user",
        "services:\n  app:\n    image: made:1\n    pull_policy: never\n    stop_grace_period: 0s\n",
    );
    user.stack(&["up", "-d"]).ok();
    let look = "cat /new; stat -c '%a %u %g' /new; stat -c %h /d/two; ls /bin/vi; ls -a /data \
                /temporary /etc/app.conf; echo $MADE; echo $OWN; tr '\\0' ' ' < /proc/1/cmdline";
    let seen = user.stack(&["exec", "-T", "app", "sh", "-c", look]);
    let text = format!("{}\n{}", seen.stdout, seen.stderr);
    for line in [
        "new",
        "4750 12 34",
        "2",
        "yes and kept",
        "kept",
        "sleep 1000",
    ] {
        assert!(text.lines().any(|l| l.trim() == line), "{line}: {text}");
    }
    assert!(text.contains("/bin/vi: No such file"), "{text}");
    assert!(!text.lines().any(|l| l == "x"), "{text}");
    assert!(text.contains("/etc/app.conf: No such file"), "{text}");
    user.stack(&["down", "--timeout", "0"]).ok();

    // A container that does not run.
    project.stack(&["stop"]).ok();
    let again = project.stack(&["commit", "app"]).ok();
    assert_ne!(again.trim(), id.trim());

    // To another home and back, as the same image.
    let saved = project.dir().join("made.tar");
    let saved = saved.to_str().unwrap();
    project.stack(&["save", "-o", saved, "made:1"]).ok();
    let other = home.beside();
    other.project("other", SLEEPER).stack(&["load", saved]).ok();
    assert_eq!(inspect(&other, "made:1")["Id"], made["Id"]);

    // To a registry, and from there to another home.
    let name = format!("{}/team/made:1", registry());
    project.stack(&["image", "tag", "made:1", &name]).ok();
    project.stack(&["push", "--image", &name]).ok();
    let skopeo = format!("skopeo inspect --tls-verify=false docker://{name}");
    let there: Value = serde_json::from_str(&project.shell(&skopeo).ok()).unwrap();
    assert_eq!(there["Labels"]["kind"], "test");
    assert_eq!(there["Digest"], digest(&home, &name));
    let third = home.beside();
    let pulled = third.project(
        "third",
        &format!("services:\n  app:\n    image: {name}\n    stop_grace_period: 0s\n"),
    );
    pulled.stack(&["pull"]).ok();
    assert_eq!(inspect(&third, &name)["Id"], made["Id"]);

    // What others say of the archive.
    let skopeo = format!(
        "skopeo inspect docker-archive:{saved} && skopeo copy -q oci-archive:{saved} dir:copied"
    );
    project.shell(&skopeo).ok();
}

fn digest(home: &Home, image: &str) -> String {
    let digests = inspect(home, image)["RepoDigests"].clone();
    let all = digests.as_array().unwrap().iter();
    let mut all = all.map(|digest| digest.as_str().unwrap().to_owned());
    let full = all.next_back().unwrap();
    full.split('@').next_back().unwrap().to_owned()
}

#[test]
fn images_are_saved_as_they_came() {
    let home = Home::new();
    let project = home.project("saved", SLEEPER);
    project.stack(&["pull"]).ok();
    let before = inspect(&home, "busybox:1");
    let digest = digest(&home, "busybox:1");
    // Through a pipe into another home.
    let other = home.beside();
    let path = project.dir().join("b.tar");
    project
        .shell(&format!("\"$STACK\" save busybox:1 > {}", path.display()))
        .ok();
    let elsewhere = other.project("other", SLEEPER);
    elsewhere
        .shell(&format!("\"$STACK\" load - < {}", path.display()))
        .ok();
    assert_eq!(inspect(&other, "busybox:1")["Id"], before["Id"]);
    // Nothing is sent to the registry that it came from; it is the same there.
    let name = format!("{}/library/again:1", registry());
    project.stack(&["image", "tag", "busybox:1", &name]).ok();
    project.stack(&["push", "--image", &name]).ok();
    let skopeo = format!("skopeo inspect --tls-verify=false docker://{name}");
    let there: Value = serde_json::from_str(&project.shell(&skopeo).ok()).unwrap();
    assert_eq!(there["Digest"], digest);
    project
        .stack(&["save", "-o", "/nowhere/x.tar", "nothing:1"])
        .fails()
        .says("image nothing:1 is not on this machine");
    project
        .stack(&["push", "--image", "127.0.0.1:1/x:1"])
        .fails()
        .says("127.0.0.1:1/x:1 is not on this machine");
}
