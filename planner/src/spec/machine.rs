//! The virtual machine of a service.

use sha2::{Digest, Sha256};
use stack_api::spec::MachineSpec;

use super::limits;
use crate::diagnostic::{Problem, Report, codes};
use crate::extension;
use crate::hash;
use crate::project::Parts;
use crate::tree::Node;

/// What `x-stack.machine` says, with an absolute kernel.
pub(crate) fn machine(parts: &Parts, service: &Node, report: &mut Report) -> MachineSpec {
    let mut machine = extension::machine(&parts.model, service, report);
    machine.kernel = machine.kernel.map(|path| parts.folder.join(path));
    let limit = service.get("mem_limit");
    let limit = limit.or(service.at(&["deploy", "resources", "limits", "memory"]));
    if let (Some(memory), Some(limit)) = (machine.memory, limit)
        && limits::size(Some(limit), report).is_some_and(|limit| limit > memory)
    {
        let message = "the service may use more memory than its machine has";
        let mut problem = Problem::error(codes::INCONSISTENT, message).on(limit, "the limit");
        if let Some(own) = service.at(&[extension::KEY, "machine", "memory"]) {
            problem = problem.on(own, "the machine's memory");
        }
        report.push(problem.help("raise `x-stack.machine.memory`, or lower `mem_limit`"));
    }
    machine
}

/// A service's hash with its machine in it. That of a service without wishes
/// stays as it is.
pub(crate) fn with_machine(hash: String, machine: &MachineSpec) -> String {
    if *machine == MachineSpec::default() {
        return hash;
    }
    let MachineSpec {
        kernel,
        vcpus,
        memory,
        boot,
    } = machine;
    let text = format!("{hash} machine {kernel:?} {vcpus:?} {memory:?} {boot:?}");
    hash::hex(&Sha256::digest(text.as_bytes()))
}
