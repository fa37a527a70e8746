//! `x-stack`: what a micro-VM can do and a container cannot. It is written at
//! a service, or at the top for all services of the file; other tools pass
//! over it, for its name starts with `x-`.
//!
//! ```yaml
//! x-stack:
//!   machine:
//!     vcpus: 2
//! services:
//!   db:
//!     image: postgres
//!     x-stack:
//!       machine: {memory: 2g, kernel: ./vmlinux-debug}
//! ```

use stack_api::spec::{Boot, MachineSpec};

use crate::bind::quantity::parse_bytes;
use crate::diagnostic::{Problem, Report, codes};
use crate::merge::merge;
use crate::suggest;
use crate::tree::{Mapping, Node, Path};

/// The key.
pub(crate) const KEY: &str = "x-stack";

/// What may be in `x-stack`.
pub(crate) const SECTIONS: [&str; 3] = ["lint", "machine", "sockets"];
/// What may be in `x-stack.machine`.
pub(crate) const MACHINE: [&str; 4] = ["boot", "kernel", "memory", "vcpus"];
/// What may be in `x-stack.lint`.
pub(crate) const LINT: [&str; 1] = ["allow"];

/// Virtual processors of a VM at most.
const MAX_VCPUS: u32 = 64;
/// Bytes a VM must have at least, for its kernel and agent beside the service.
const MIN_MEMORY: u64 = 128 << 20;
/// Bytes a VM can have.
const MAX_MEMORY: u64 = 1 << 40;

/// Checks every `x-stack` of the model.
pub(crate) fn check(model: &Node, report: &mut Report) {
    let services = model.get("services").and_then(Node::as_mapping);
    let at_services = services.into_iter().flat_map(Mapping::values);
    for owner in at_services.chain([model]) {
        let Some(node) = owner.get(KEY) else {
            continue;
        };
        known_keys(node, KEY, &SECTIONS, report);
        if let Some(machine) = node.get("machine") {
            known_keys(machine, "x-stack.machine", &MACHINE, report);
            read(machine, report);
        }
        if let Some(sockets) = node.get("sockets") {
            sockets_of_one(sockets, std::ptr::eq(owner, model), report);
        }
        if let Some(lint) = node.get("lint") {
            known_keys(lint, "x-stack.lint", &LINT, report);
            allowed_lints(lint, report);
        }
    }
}

/// Sockets lead to one service; where is looked at with its other parts.
fn sockets_of_one(sockets: &Node, at_top: bool, report: &mut Report) {
    if at_top {
        let message = "`sockets` is for one service";
        let problem = Problem::error(codes::MISPLACED, message);
        let problem = problem.at(sockets.place(), "at the top of the file");
        report.push(problem.help("write it under the service's own `x-stack`"));
    } else if sockets.as_mapping().is_none() {
        let message = format!(
            "`x-stack.sockets` must be a mapping, not {}",
            sockets.kind()
        );
        let problem = Problem::error(codes::WRONG_TYPE, message);
        let problem = problem.on(sockets, "a mapping is expected");
        report.push(problem.help("write `\"80\": ./web.sock` or `/run/app.sock: ./app.sock`"));
    }
}

/// A list of codes; which there are is up to `stack lint`.
fn allowed_lints(lint: &Node, report: &mut Report) {
    let Some(allow) = lint.get("allow") else {
        return;
    };
    let is_text = |node: &Node| node.as_str().is_some();
    if !allow
        .as_sequence()
        .is_some_and(|items| items.iter().all(is_text))
    {
        let message = "`x-stack.lint.allow` must be a list of codes such as `L0001`";
        let problem = Problem::error(codes::WRONG_TYPE, message);
        report.push(problem.on(allow, "a list is expected"));
    }
}

/// The machine of a service: its own wishes over those of the whole file.
pub(crate) fn machine(model: &Node, service: &Node, report: &mut Report) -> MachineSpec {
    let of = |node: &Node, report: &mut Report| match node.at(&[KEY, "machine"]) {
        Some(machine) => read(machine, report),
        None => MachineSpec::default(),
    };
    let (own, all) = (of(service, report), of(model, report));
    MachineSpec {
        kernel: own.kernel.or(all.kernel),
        vcpus: own.vcpus.or(all.vcpus),
        memory: own.memory.or(all.memory),
        boot: own.boot.or(all.boot),
    }
}

/// Gives an included stack's `x-stack` to each of its services, for the stack
/// that includes it has another one.
pub(crate) fn hand_down(stack: &mut Node, report: &mut Report) {
    let Some(all) = stack.get(KEY).cloned() else {
        return;
    };
    let services = stack.get_mut("services").and_then(Node::as_mapping_mut);
    for (name, service) in services.into_iter().flatten() {
        let Some(entries) = service.as_mapping_mut() else {
            continue;
        };
        let merged = match entries.shift_remove(KEY) {
            Some(own) => {
                let mut path = Path::of(&["services", name, KEY]);
                merge(all.clone(), own, &mut path, report)
            }
            None => all.clone(),
        };
        entries.insert(KEY.to_owned(), merged);
    }
}

fn known_keys(node: &Node, what: &str, known: &[&str], report: &mut Report) {
    let Some(entries) = node.as_mapping() else {
        let message = format!("`{what}` must be a mapping, not {}", node.kind());
        let problem = Problem::error(codes::WRONG_TYPE, message);
        report.push(problem.on(node, "a mapping is expected"));
        return;
    };
    for (key, child) in entries
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()))
    {
        let message = format!("`{key}` is not an attribute of `{what}`");
        let help = suggest::did_you_mean_or_list(key, "attributes", known.iter().copied());
        let problem = Problem::error(codes::UNKNOWN_KEY, message);
        report.push(
            problem
                .at(child.place(), "unknown attribute")
                .maybe_help(help),
        );
    }
}

fn read(machine: &Node, report: &mut Report) -> MachineSpec {
    let mut wrong = |node: &Node, why: String| {
        let text = node.scalar_text().unwrap_or_else(|| node.kind().to_owned());
        let problem = Problem::error(codes::UNUSABLE_VALUE, format!("`{text}` {why}"));
        report.push(problem.on(node, "cannot be used"));
    };
    let mut spec = MachineSpec::default();
    if let Some(node) = machine.get("kernel") {
        match node.as_str().filter(|path| !path.is_empty()) {
            Some(path) => spec.kernel = Some(path.into()),
            None => wrong(node, "is not the path of a kernel".to_owned()),
        }
    }
    if let Some(node) = machine.get("boot") {
        match node.as_str() {
            Some("cold") => spec.boot = Some(Boot::Cold),
            Some("template") => spec.boot = Some(Boot::Template),
            _ => wrong(node, "is neither `cold` nor `template`".to_owned()),
        }
    }
    if let Some(node) = machine.get("vcpus") {
        let number = node.as_int().or_else(|| node.as_str()?.parse().ok());
        let number = number.and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (1..=MAX_VCPUS).contains(number)) {
            Some(number) => spec.vcpus = Some(number),
            None => wrong(node, format!("is not a number from 1 to {MAX_VCPUS}")),
        }
    }
    if let Some(node) = machine.get("memory") {
        let bytes = node.as_int().or_else(|| parse_bytes(node.as_str()?));
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        match bytes.filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes)) {
            Some(bytes) => spec.memory = Some(bytes),
            None => wrong(node, "is not a size from 128m to 1t".to_owned()),
        }
    }
    spec
}
