//! Templates: a VM that has booted, was saved before it became a service,
//! and is restored as any.
//!
//! The host boots it with [`KERNEL_ARGUMENT`]; the agent then lets go of the
//! disks, shared directories and network devices, which will be other ones,
//! before it opens its port. `Configure` takes up those that are there.

/// On the kernel's command line of a VM that is to be saved.
pub const KERNEL_ARGUMENT: &str = "stack.template";

/// Hardware address of network device `n` of a template: until `Configure`
/// sets the real one, a restored VM has it.
pub fn hardware_address(n: usize) -> String {
    format!("02:73:74:6b:00:{:02x}", n & 0xff)
}
