//! Exit codes: what they mean and which error ends with which.
//!
//! The same list is shown by `stack help exit-codes`.

/// Everything went well.
pub(crate) const OK: u8 = 0;
/// Any error that has no code of its own.
pub(crate) const FAILURE: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// There is no stack file, or it cannot be read.
pub(crate) const NO_FILE: u8 = 14;
/// The stack file has errors.
pub(crate) const BAD_FILE: u8 = 15;
/// `stack.lock` is missing, broken or does not fit the stack file.
pub(crate) const LOCK: u8 = 16;
/// An image cannot be built.
pub(crate) const BUILD: u8 = 17;
/// An image cannot be had.
pub(crate) const IMAGE: u8 = 18;
/// A service failed, or was not ready in time.
pub(crate) const NOT_READY: u8 = 20;
/// The daemon cannot be started or reached, or this machine cannot run VMs.
pub(crate) const MACHINE: u8 = 21;
/// A port of the host is taken, or not for this user.
pub(crate) const PORT: u8 = 22;
/// The host has too little memory.
pub(crate) const MEMORY: u8 = 23;
/// The host's disk is full.
pub(crate) const DISK: u8 = 24;
/// Ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code for an error of the daemon by its code word; `fallback` is
/// what the daemon asked for.
pub(crate) fn for_api(code: &str, fallback: i32) -> u8 {
    if fallback != i32::from(FAILURE) {
        return clamp(fallback);
    }
    match code {
        "image_not_found"
        | "image_missing"
        | "unauthorized"
        | "registry_unreachable"
        | "digest_mismatch"
        | "bad_image"
        | "platform_missing"
        | "bad_reference" => IMAGE,
        "bad_dockerfile" | "bad_ignore_file" | "build_cycle" | "build_failed" | "builder"
        | "cannot_build" | "no_context" | "no_dockerfile" | "no_ssh_key" => BUILD,
        "service_failed" | "dependency_failed" | "wait_timeout" => NOT_READY,
        "boot_timeout" | "qemu" | "qemu_missing" | "tool_missing" | "vm_failed" => MACHINE,
        "no_such_address" | "port_in_use" | "port_reserved" => PORT,
        "memory" => MEMORY,
        "disk_full" | "ledger_full" => DISK,
        _ => FAILURE,
    }
}

/// An exit code of another process as ours: what does not fit is a failure.
pub(crate) fn clamp(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_may_choose_the_code() {
        assert_eq!(for_api("anything", 127), 127);
        assert_eq!(for_api("image_not_found", 1), IMAGE);
        assert_eq!(for_api("wait_timeout", 1), NOT_READY);
        assert_eq!(for_api("no_such_service", 1), FAILURE);
        assert_eq!(for_api("anything", -1), FAILURE);
    }

    #[test]
    fn what_is_at_fault_has_a_code() {
        for (code, exit) in [
            ("build_failed", BUILD),
            ("service_failed", NOT_READY),
            ("qemu_missing", MACHINE),
            ("tool_missing", MACHINE),
            ("vm_failed", MACHINE),
            ("port_in_use", PORT),
            ("memory", MEMORY),
            ("disk_full", DISK),
        ] {
            assert_eq!(for_api(code, 1), exit, "{code}");
        }
    }
}
