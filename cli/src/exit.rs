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
/// An image cannot be had.
pub(crate) const IMAGE: u8 = 18;
/// A service failed, or was not ready in time.
pub(crate) const NOT_READY: u8 = 20;
/// The daemon cannot be started or reached.
pub(crate) const DAEMON: u8 = 21;
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
        "service_failed" | "dependency_failed" | "wait_timeout" => NOT_READY,
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
        assert_eq!(for_api("port_in_use", 1), FAILURE);
        assert_eq!(for_api("anything", -1), FAILURE);
    }
}
