//! `security_opt`

use stack_api::seccomp::Profile;

use super::items;
use crate::diagnostic::{Problem, Report, codes};
use crate::project::Contents;
use crate::tree::Node;

/// The section of contents that profiles are in.
pub(crate) const SECCOMP: &str = "seccomp";

/// What one option asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// `no-new-privileges`, or not.
    NoNewPrivileges(bool),
    /// The profile in this file.
    Profile(&'a str),
    /// What holds anyway.
    Nothing,
    /// What there is not.
    Unknown,
}

/// Understands an option; Docker takes `:` and `=`.
pub(crate) fn wish(text: &str) -> Wish<'_> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => Wish::NoNewPrivileges(true),
        ("no-new-privileges", "false") => Wish::NoNewPrivileges(false),
        ("seccomp" | "apparmor" | "systempaths", "unconfined") | ("label", "disable") => {
            match name {
                // Those of `/proc` and `/sys` are covered all the same.
                "systempaths" => Wish::Unknown,
                _ => Wish::Nothing,
            }
        }
        ("seccomp", "" | "builtin") => Wish::Unknown,
        ("seccomp", file) => Wish::Profile(file),
        _ => Wish::Unknown,
    }
}

/// `no-new-privileges` is asked for.
pub(super) fn no_new_privileges(service: &Node) -> bool {
    items(service.get("security_opt"))
        .iter()
        .filter_map(Node::as_str)
        .any(|text| wish(text) == Wish::NoNewPrivileges(true))
}

/// The profile of system calls; the last one counts.
pub(super) fn seccomp(service: &Node, contents: &Contents, report: &mut Report) -> Option<Profile> {
    let mut last = None;
    for node in items(service.get("security_opt")) {
        match node.as_str().map(wish) {
            Some(Wish::Profile(file)) => last = profile(node, file, contents, report),
            // `seccomp=unconfined`
            Some(Wish::Nothing)
                if node
                    .as_str()
                    .is_some_and(|text| text.starts_with("seccomp")) =>
            {
                last = None;
            }
            _ => {}
        }
    }
    last
}

fn profile(node: &Node, file: &str, contents: &Contents, report: &mut Report) -> Option<Profile> {
    let read = match contents.get(&(SECCOMP, file.to_owned()))? {
        Ok(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| format!("it is not a profile in Docker's form: {error}")),
        Err(none) => Err(none.why.clone()),
    };
    match read.and_then(checked) {
        Ok(profile) => Some(profile),
        Err(why) => {
            let message = format!("the seccomp profile {file} cannot be used: {why}");
            let problem = Problem::error(codes::UNUSABLE_VALUE, message).on(node, "this profile");
            report.push(problem.help(
                "profiles are JSON with `defaultAction` and `syscalls`, as Docker's `default.json`",
            ));
            None
        }
    }
}

fn checked(profile: Profile) -> Result<Profile, String> {
    let arguments = profile
        .syscalls
        .iter()
        .filter_map(|rule| rule.args.as_ref());
    match arguments.flatten().find(|argument| argument.index > 5) {
        Some(argument) => Err(format!("system calls have no argument {}", argument.index)),
        None => Ok(profile),
    }
}
