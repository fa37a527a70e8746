//! Mistakes in the stack file: nothing is started, and the place is shown.

use stack_tests::Home;

const BAD_FILE: Option<i32> = Some(15);

fn refused(stack_file: &str, messages: &[&str]) {
    let home = Home::new();
    let project = home.project("bad", stack_file);
    let mut failed = project.stack(&["up", "-d"]).fails();
    assert_eq!(failed.code, BAD_FILE, "{failed}");
    for message in messages {
        failed = failed.says(message);
    }
    assert!(home.vms().is_empty());
}

#[test]
fn broken_yaml() {
    refused(
        "services:\n  web:\n    image: [busybox:1\n",
        &["stack.yaml:"],
    );
}

#[test]
fn an_unknown_key() {
    let file = "services:\n  web:\n    image: busybox:1\n    comand: sleep 10\n";
    refused(file, &["comand", "command", "stack.yaml:4"]);
}

#[test]
fn a_dependency_cycle() {
    let file = "services:\n  a:\n    image: busybox:1\n    depends_on: [b]\n  \
                b:\n    image: busybox:1\n    depends_on: [c]\n  \
                c:\n    image: busybox:1\n    depends_on: [a]\n";
    refused(
        file,
        &["depend on each other", "a → b → c → a", "stack.yaml:"],
    );
}

#[test]
fn no_file_at_all() {
    let home = Home::new();
    let project = home.project("none", "");
    std::fs::remove_file(project.dir().join("stack.yaml")).unwrap();
    let failed = project.stack(&["up", "-d"]).fails().says("no stack file");
    assert_eq!(failed.code, Some(14), "{failed}");
}
