//! `x-stack`

use super::About;

/// What the key itself is for.
pub(in crate::schema) const KEY: &str =
    "What a micro-VM can do and a container cannot; other tools pass over it.";

pub(super) const ABOUT: &[About] = &[
    About {
        what: "an x-stack section",
        text: "What a micro-VM can do and a container cannot.",
        fields: &[
            (
                "machine",
                "The virtual machine of the service, or of all services of the file.",
            ),
            (
                "sockets",
                "Sockets of the host that lead to the service: its port or socket, and the path of the host's.",
            ),
            ("lint", "What `stack lint` leaves out."),
        ],
    },
    About {
        what: "a machine",
        text: "A virtual machine.",
        fields: &[
            ("vcpus", "Virtual processors. Default: `cpus` rounded up."),
            (
                "memory",
                "Memory of the machine, its kernel's included, e.g. `2g`. Default: `mem_limit` and 96 MiB, or 1 GiB.",
            ),
            (
                "kernel",
                "Path of a kernel. Default: the one that comes with stack.",
            ),
            (
                "boot",
                "`template` restores the machine from one that has booted, when there is one of its shape; `cold` boots each time. Default: `template`.",
            ),
        ],
    },
    About {
        what: "a lint section",
        text: "What `stack lint` leaves out.",
        fields: &[("allow", "Codes that are not looked for, e.g. `[L0001]`.")],
    },
];
