//! Every option of Docker Compose's commands is taken here, or its absence is
//! on purpose.

use std::collections::BTreeMap;

/// `command`, or `command --option`; the reasons are in `docs/differences.md`.
const ABSENT: &[&str] = &[
    "* --all-resources",
    "* --compatibility",
    "* --dry-run",
    "* --insecure-registry",
    "* --no-ansi",
    "* --parallel",
    "* --verbose",
    "* --version/-v",
    "* --workdir",
    "convert",
    "publish",
];

fn theirs() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut command = "";
    for line in include_str!("compose_options.txt").lines() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let mut options = line;
        if !line.starts_with(' ') {
            (command, options) = line.split_once(':').unwrap();
        }
        all.entry(command)
            .or_default()
            .extend(options.split_whitespace());
    }
    all
}

fn takes(command: &clap::Command, option: &str) -> bool {
    let (long, short) = match option.split_once("/-") {
        Some((long, short)) => (long, short.chars().next()),
        None => (option, None),
    };
    let long = long.trim_start_matches('-');
    command.get_arguments().any(|arg| {
        let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
        (longs.contains(&long) || aliases.contains(&long))
            && short.is_none_or(|short| shorts.contains(&short))
    })
}

#[test]
fn options_of_docker_compose_are_taken_or_absent_on_purpose() {
    let mut ours = super::command();
    // Options of all commands come down to each.
    ours.build();
    let mut absent = Vec::new();
    let commands = theirs();
    assert!(commands.len() > 30 && commands["up"].len() > 25);
    for (name, options) in commands {
        let command = match name {
            "*" => Some(&ours),
            name => ours.find_subcommand(name),
        };
        // Another command than Docker Compose's.
        let Some(command) = command.filter(|_| name != "convert") else {
            absent.push(name.to_owned());
            continue;
        };
        for option in options {
            if !takes(command, option) {
                absent.push(format!("{name} {option}"));
            }
        }
    }
    absent.sort();
    assert_eq!(absent, ABSENT);
}
