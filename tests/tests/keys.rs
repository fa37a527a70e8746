//! Keys while `up` shows logs: `script` gives it a terminal.

use stack_tests::Home;

#[test]
fn detach_keys_leave_an_attached_service_running() {
    let home = Home::new();
    let file = "services: {web: {image: 'busybox:1', tty: true, stdin_open: true, \
                stop_grace_period: 0s, command: [sh, -c, \
                'echo ready; while read -r x; do echo \"got $$x\"; done'], init: true}}";
    let project = home.project("detach", file);
    project.stack(&["up", "-d"]).ok();
    std::fs::write(project.dir().join("out"), "").expect("a file");
    let script = r#"
        seen() { for i in $(seq 400); do grep -q "$1" out && return; sleep 0.1; done; }
        ( sleep 2; printf 'one\n'; seen 'got one'; printf '\020'; sleep 0.2; printf '\021'; seen code
        ) | timeout 60 script -qefc "\"$STACK\" attach web; echo code \$?" out > /dev/null
        cat out"#;
    let said = project.shell(script);
    for part in ["got one", "code 0"] {
        assert!(said.stdout.contains(part), "{part}: {said}");
    }
    assert_eq!(project.field("web", "State"), "running");
}

#[test]
fn w_watches_files_and_d_leaves_the_services_running() {
    let home = Home::new();
    let file = "services: {web: {image: 'busybox:1', stop_grace_period: 0s, \
                command: [sh, -c, 'while true; do echo tick; sleep 1; done'], \
                develop: {watch: [{path: ./src, action: sync, target: /src}]}}}";
    let project = home.project("keys", file);
    std::fs::create_dir(project.dir().join("src")).expect("a folder");
    // Keys are pressed once what was waited for is seen.
    let script = r#"
        seen() { for i in $(seq 400); do grep -q "$1" out && return; sleep 0.1; done; }
        ( seen tick; printf w; seen 'watching 1\|watching 2'; echo hello > src/new; seen 'sync 1'
          printf w; seen 'not watched any more'; printf d; seen 'in the background'; sleep 1
        ) | script -qefc "\"$STACK\" up; echo code \$?" out > /dev/null
        cat out"#;
    std::fs::write(project.dir().join("out"), "").expect("a file");
    let said = project.shell(script);
    for part in [
        "watching files",
        "sync 1",
        "go on in the background",
        "code 0",
    ] {
        assert!(said.stdout.contains(part), "{part}: {said}");
    }
    let text = project
        .stack(&["exec", "-T", "web", "cat", "/src/new"])
        .ok();
    assert_eq!(text, "hello\n");

    // Who wants no keys gets none.
    let script = r#"(sleep 6; printf d; sleep 1) | timeout -s INT 20 \
        script -qefc "COMPOSE_MENU=false timeout -s INT 12 \"$STACK\" up" out > /dev/null; cat out"#;
    let said = project.shell(script);
    assert!(!said.stdout.contains("in the background"), "{said}");
}
