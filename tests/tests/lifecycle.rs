//! What a developer does all day: one-off commands, files in and out, a look
//! at what runs, logs, hooks, events.

use std::time::Duration;

use serde_json::Value;
use stack_tests::{Home, Project, eventually, free_port, try_get};

/// Standard output of a shell in the only container of a service.
#[track_caller]
fn inside(project: &Project<'_>, service: &str, command: &str) -> String {
    project
        .stack(&["exec", "-T", service, "sh", "-c", command])
        .ok()
}

fn objects(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .map(|value| value.unwrap_or_else(|error| panic!("{error} in {text}")))
        .collect()
}

#[test]
fn one_off_commands_beside_their_service() {
    let home = Home::new();
    let port = free_port();
    let project = home.project(
        "oneoff",
        &format!(
            "services:\n  db:\n    image: busybox:1\n    \
             command: sh -c 'sleep 1; touch /ok; exec sleep 1000'\n    stop_grace_period: 1s\n    \
             healthcheck: {{test: [CMD, test, -e, /ok], interval: 1s}}\n  web:\n    \
             image: busybox:1\n    command: httpd -f -p 80\n    environment: {{WORD: file}}\n    \
             working_dir: /tmp\n    ports: ['127.0.0.1:{port}:80']\n    stop_grace_period: 1s\n    \
             volumes: ['data:/data']\n    depends_on: {{db: {{condition: service_healthy}}}}\n\
             volumes: {{data: {{}}}}\n"
        ),
    );
    std::fs::write(project.dir().join("vars"), "MORE=no\nWORD='a file'\n").unwrap();
    let script = "echo $WORD $MORE $(pwd) $(id -u); echo oops >&2; echo kept > /data/x; exit 7";
    let run = project.stack(&[
        "run",
        "--rm",
        "-T",
        "-e",
        "MORE=$HOME",
        "--env-from-file",
        "vars",
        "-u",
        "33",
        "-v",
        "./here:/here:ro",
        "--name",
        "mine",
        "-w",
        "/here",
        "--entrypoint",
        "sh -c",
        "web",
        script,
    ]);
    assert_eq!(run.code, Some(7), "{run}");
    assert_eq!(run.stdout, "a file $HOME /here 33\n", "{run}");
    assert!(run.stderr.contains("oops"), "{run}");
    // The dependency was waited for, and the container is gone with its end.
    assert_eq!(project.field("db", "Health"), "healthy");
    let left = project.containers();
    assert_eq!(left.len(), 1, "{left:?}");

    // In the background: a name of its own, no ports of the service.
    let id = project
        .stack(&["run", "-d", "web", "httpd", "-f", "-p", "80"])
        .ok();
    let web = project.container("web");
    assert_eq!(web["ID"], id.trim());
    let name = web["Name"].as_str().unwrap_or_default();
    assert!(name.starts_with("oneoff-web-run-"), "{name}");
    assert!(try_get(&format!("http://127.0.0.1:{port}/")).is_err());
    // Files reach it when it is asked for.
    let refused = project.stack(&["cp", "vars", "web:/tmp/vars"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    project
        .stack(&["cp", "--all", "vars", "web:/tmp/vars"])
        .ok();
    project
        .stack(&["cp", "--all", "web:/tmp/vars", "back"])
        .ok();
    let back = std::fs::read_to_string(project.dir().join("back")).unwrap();
    assert!(back.contains("a file"), "{back}");
    // The plan does not count it, nor does `ps` show it, and `down` finds it.
    let plan = project.stack(&["plan"]).ok();
    assert!(plan.contains("oneoff-web-1"), "{plan}");
    let shown = project.stack(&["ps", "--services"]).ok();
    assert_eq!(shown, "db\n");
    project.stack(&["stop", "-t", "0", "web"]).ok();

    // Its ports when asked for.
    project
        .stack(&["run", "--rm", "-d", "--service-ports", "--no-deps", "web"])
        .ok();
    eventually("an answer", 20, || {
        try_get(&format!("http://127.0.0.1:{port}/")).ok()
    });
    let wrong = project.stack(&["run", "--rm", "db", "no-such-program"]);
    assert_eq!(wrong.code, Some(127), "{wrong}");
    project.stack(&["down", "-t", "0", "-v"]).ok();
    assert!(project.containers().is_empty());
}

#[test]
fn streams_of_a_one_off_command() {
    let home = Home::new();
    let project = home.project(
        "streams",
        "services:\n  box:\n    image: busybox:1\n    restart: always\n    \
         stop_grace_period: 1s\n    deploy: {restart_policy: {condition: any}}\n    \
         logging: {options: {max-size: 64k}}\n",
    );
    // More than the log keeps, and nobody reads it for a while.
    let slow = r#"{ "$STACK" run --rm -T box sh -c \
        "head -c 3000000 /dev/zero | tr '\0' x | fold -w 999"; echo "code $?" >&2; } | (sleep 3; wc -c)"#;
    let slow = project.shell(slow);
    assert_eq!(slow.stdout.trim(), "3003003", "{slow}");
    assert!(slow.stderr.contains("code 0"), "{slow}");

    // A signal overtakes input that nobody takes. Policies mean nothing here.
    let blocked = project.shell(
        r#"mkfifo full; yes > full 2>/dev/null &
        "$STACK" run -T --name once box sh -c 'trap "exit 7" TERM; sleep 1000 & wait' < full &
        until "$STACK" ps -a --format json | grep -q '"State": *"running"'; do sleep 0.5; done
        sleep 2; kill -TERM $!; wait $!; echo "code $?""#,
    );
    assert_eq!(blocked.stdout, "code 7\n", "{blocked}");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(project.field("box", "State"), "exited");
}

#[test]
fn files_go_in_and_out_of_what_runs_and_what_does_not() {
    let home = Home::new();
    let project = home.project(
        "files",
        "services:\n  box:\n    image: busybox:1\n    init: true\n    \
         command: sh -c 'cat /etc/added; exec sleep 1000'\n    volumes: ['data:/data']\n\
         volumes: {data: {}}\n",
    );
    let here = |name: &str| project.dir().join(name);
    let write = |name: &str, text: &str| {
        let path = here(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("added", "before the start\n");
    write("tree/sub/file", "deep");
    std::os::unix::fs::symlink("sub/file", here("tree/link")).unwrap();

    // Into a container that was never started.
    project.stack(&["create"]).ok();
    assert_eq!(project.field("box", "State"), "created");
    project.stack(&["cp", "added", "box:/etc/added"]).ok();
    project.stack(&["up", "-d", "--wait"]).ok();
    let until_now = ["logs", "-f", "--until", "0s", "--no-log-prefix", "box"];
    let said = project.stack(&until_now).ok();
    assert_eq!(said, "before the start\n");

    // A directory into one that is there, its contents, and the way back.
    project.stack(&["cp", "tree", "box:/data"]).ok();
    project.stack(&["cp", "tree/.", "box:/data/new"]).ok();
    let found = inside(
        &project,
        "box",
        "cd /data; find . -not -name lost+found | sort; cat new/link",
    );
    let wanted = ". ./new ./new/link ./new/sub ./new/sub/file ./tree ./tree/link ./tree/sub \
                  ./tree/sub/file deep";
    assert_eq!(
        found.split_whitespace().collect::<Vec<_>>().join(" "),
        wanted
    );
    assert_eq!(
        inside(&project, "box", "stat -c %u:%g /data/tree/sub/file"),
        "0:0\n"
    );
    // Where one is: what is in it. What a link leads to: with a slash.
    project.shell("cd tree && $STACK cp . box:/data/new").ok();
    let script = "cat /data/new/link; ls /data/new | wc -l; ln -s /data/tree /ln; mkdir /to; \
                  touch /to/file; ln -s /to/file /to/link";
    assert_eq!(inside(&project, "box", script).trim(), "deep2");
    project.stack(&["cp", "box:/ln/", "by-slash"]).ok();
    project.stack(&["cp", "box:/ln/.", "by-dot"]).ok();
    project.stack(&["cp", "box:/ln", "link-itself"]).ok();
    for name in ["by-slash", "by-dot"] {
        assert!(here(name).join("sub/file").is_file(), "{name}");
    }
    assert_eq!(
        std::fs::read_link(here("link-itself")).unwrap(),
        std::path::Path::new("/data/tree")
    );
    project.stack(&["cp", "added", "box:/to/link"]).ok();
    let script = "cat /to/file; stat -c %F /to/link";
    assert_eq!(
        inside(&project, "box", script),
        "before the start\nsymbolic link\n"
    );
    project.stack(&["cp", "box:/data/tree", "back"]).ok();
    assert_eq!(std::fs::read_to_string(here("back/link")).unwrap(), "deep");
    project.stack(&["cp", "box:/etc/hostname", "."]).ok();
    assert!(here("hostname").is_file());
    let missing = project.stack(&["cp", "box:/no/such", "x"]);
    missing.fails().says("/no/such");
    assert!(!here("x").exists());
    project
        .stack(&["cp", "added", "box:/no/such/dir/"])
        .fails()
        .says("no directory");

    // Streams: what comes out of one container goes into another place.
    let listed = project
        .shell("$STACK cp box:/data/tree - | $STACK cp - box:/tmp && $STACK export box | tar -t")
        .ok();
    assert!(listed.lines().any(|line| line == "etc/added"), "{listed}");
    assert!(listed.lines().any(|line| line == "data/"), "{listed}");
    assert!(
        !listed.contains("data/tree"),
        "volumes are left out: {listed}"
    );
    assert_eq!(inside(&project, "box", "cat /tmp/tree/link"), "deep");

    // A command beside it has its volume, too, and neither loses anything.
    let beside = "cat /data/new/link; echo beside > /data/beside";
    let run = ["run", "--rm", "-T", "box", "sh", "-c", beside];
    assert_eq!(project.stack(&run).ok(), "deep");
    let after = inside(&project, "box", "cat /data/beside /data/tree/link");
    assert_eq!(after, "beside\ndeep");

    // Out of a container that has ended.
    inside(&project, "box", "echo last words > /left; sync");
    project.stack(&["stop", "-t", "1"]).ok();
    project.stack(&["cp", "box:/left", "left"]).ok();
    assert_eq!(
        std::fs::read_to_string(here("left")).unwrap(),
        "last words\n"
    );
    assert_eq!(project.field("box", "State"), "exited");
    // A stream can be read only once, and is for all of them.
    project.stack(&["create", "--scale", "box=2"]).ok();
    project.shell("tar -c added | $STACK cp - box:/tmp").ok();
    project
        .stack(&["cp", "--index", "2", "box:/tmp/added", "second"])
        .ok();
    assert!(here("second").is_file());
    assert!(home.vms().is_empty(), "no VM stays for it");
}

#[test]
fn a_look_at_what_runs() {
    let home = Home::new();
    let project = home.project(
        "look",
        "services:\n  box:\n    image: busybox:1\n    user: www-data\n    mem_limit: 100m\n    \
         command: sh -c 'while true; do :; done'\n    stop_grace_period: 1s\n    stdin_open: true\n  \
         job:\n    image: busybox:1\n    command: sh -c 'read code; echo got $$code; exit $$code'\n    \
         stdin_open: true\n",
    );
    project.stack(&["up", "-d", "--wait"]).ok();
    let top = project.stack(&["top", "box"]).ok();
    assert!(top.starts_with("look-box-1\n"), "{top}");
    assert!(top.contains("www-data"), "{top}");
    assert!(top.contains("while true"), "{top}");
    let stats = project
        .stack(&["stats", "--no-stream", "--format", "json", "box"])
        .ok();
    let stats = &objects(&stats)[0];
    assert_eq!(stats["Name"], "look-box-1");
    let table = project.stack(&["stats", "--no-stream"]).ok();
    let last = table.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("look: ") && last.contains("dropped: "),
        "{table}"
    );
    assert_eq!(stats["PIDs"], "1");
    let memory = stats["MemUsage"].as_str().unwrap_or_default();
    assert!(memory.ends_with(" / 100MiB"), "{memory}");
    let busy: f64 = stats["CPUPerc"]
        .as_str()
        .and_then(|text| text.trim_end_matches('%').parse().ok())
        .unwrap();
    assert!(busy > 1.0, "a busy loop takes {busy}%");

    // Frozen: it uses nothing, and goes on afterwards.
    project.stack(&["pause", "box"]).ok();
    assert_eq!(project.field("box", "State"), "paused");
    project.stack(&["exec", "-T", "box", "true"]).fails();
    project.stack(&["unpause", "box"]).ok();
    inside(&project, "box", "true");

    // Who waits sees the end; who is attached has its input and its output.
    let waiting = project.begin(&["wait", "job"]);
    // The end of a client, and of its input, is not the end of the service's.
    let script = "$STACK attach --sig-proxy=false job < /dev/null & sleep 2; kill $!";
    project.shell(script).ok();
    let attached = project.shell("echo 5 | $STACK attach job");
    assert_eq!(attached.stdout, "got 5\n", "{attached}");
    assert_eq!(attached.code, Some(5), "{attached}");
    let waited = waiting.finish(60);
    assert_eq!(waited.code, Some(5), "{waited}");
    assert!(
        waited
            .stdout
            .contains("\"look-job-1\" exited with status code 5"),
        "{waited}"
    );

    // All of it is in the journal, also when the daemon was killed.
    home.kill_all("stackd");
    let events = project
        .stack(&["events", "--json", "--since", "1h", "--until", "0s"])
        .ok();
    let of = |service: &str| -> Vec<String> {
        objects(&events)
            .iter()
            .filter(|event| event["service"] == service)
            .map(|event| event["action"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(of("job"), ["create", "start", "die"]);
    assert_eq!(of("box"), ["create", "start", "pause", "unpause"]);
}

#[test]
fn a_probe_that_is_frozen_is_no_failure() {
    let home = Home::new();
    let project = home.project(
        "frozen",
        "services:\n  box:\n    image: busybox:1\n    command: sleep infinity\n    \
         stop_grace_period: 0s\n    healthcheck: {test: [CMD, sleep, '1'], interval: 100ms, \
         timeout: 3s, retries: 1}\n",
    );
    project.stack(&["up", "-d", "--wait"]).ok();
    project.stack(&["pause", "box"]).ok();
    // Longer than a probe may take.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(project.field("box", "Health"), "healthy");
    project.stack(&["unpause", "box"]).ok();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(project.field("box", "Health"), "healthy");
}

#[test]
fn hooks_run_and_logs_are_bounded_and_searched() {
    let home = Home::new();
    let project = home.project(
        "care",
        "services:\n  box:\n    image: busybox:1\n    init: true\n    command: sleep 1000\n    \
         post_start:\n      - {command: [sh, -c, 'echo began $$WHO as $$(id -un); touch /ready'], \
         user: www-data, environment: {WHO: hook}, privileged: true, working_dir: /tmp}\n    \
         pre_stop:\n      - command: [sh, -c, 'echo ends']\n  \
         talk:\n    image: busybox:1\n    \
         command: sh -c 'for n in $$(seq 20000); do echo line number $$n of many; done; printf end'\n    \
         logging: {options: {max-size: 100k, max-file: '3'}}\n  \
         bad:\n    image: busybox:1\n    command: sleep 1000\n    profiles: [bad]\n    \
         post_start: [{command: [sh, -c, 'echo no luck; exit 3']}]\n",
    );
    // `/ready` cannot be made by that user: the hook fails, and so does `up`.
    let failed = project.stack(&["up", "-d"]);
    let failed = failed.fails();
    assert!(failed.stderr.contains("post_start"), "{failed}");
    let file = project.dir().join("stack.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("touch /ready", "true")).unwrap();
    project.stack(&["up", "-d", "--wait", "box", "talk"]).ok();
    project.stack(&["stop", "box"]).ok();
    let said = project.stack(&["logs", "--no-log-prefix", "box"]).ok();
    assert!(said.ends_with("began hook as www-data\nends\n"), "{said}");

    project.stack(&["wait", "talk"]).ok();
    let kept = project.stack(&["logs", "--no-log-prefix", "talk"]).ok();
    let lines: Vec<&str> = kept.lines().collect();
    assert_eq!(lines.last(), Some(&"end"));
    let last = project.stack(&["logs", "--no-log-prefix", "-n", "1", "talk"]);
    assert_eq!(last.ok(), "end\n");
    assert!((1000..6000).contains(&lines.len()), "{} lines", lines.len());
    let found = project
        .stack(&[
            "logs",
            "--no-log-prefix",
            "--grep",
            "number 199[0-9]{2} ",
            "-n",
            "3",
            "talk",
        ])
        .ok();
    let wanted = ["19997", "19998", "19999"].map(|n| format!("line number {n} of many\n"));
    assert_eq!(found, wanted.concat());
    project
        .stack(&["logs", "--grep", "(", "talk"])
        .fails()
        .says("not a pattern");
    project
        .stack(&["up", "-d", "bad"])
        .fails()
        .says("ended with exit code 3");
}

#[test]
fn no_line_is_lost_when_the_daemon_is_killed() {
    let home = Home::new();
    let project = home.project(
        "lines",
        "services:\n  talk:\n    image: busybox:1\n    \
         command: sh -c 'n=0; while [ $$n -lt 30000 ]; do n=$$((n+1)); echo $$n; done; exit 9'\n",
    );
    project.stack(&["up", "-d"]).ok();
    for _ in 0..3 {
        let count = || project.stack(&["logs", "-n", "1", "--no-log-prefix"]).ok();
        eventually("a line", 20, || (!count().is_empty()).then_some(()));
        home.kill_all("stackd");
    }
    let ended = project.stack(&["wait", "talk"]);
    assert_eq!(ended.code, Some(9), "{ended}");
    let logs = project.stack(&["logs", "--no-log-prefix", "talk"]).ok();
    let wanted: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(logs == wanted, "{} lines", logs.lines().count());
}
