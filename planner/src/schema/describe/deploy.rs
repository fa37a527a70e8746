//! `services.*.deploy`

use super::About;

pub(super) const ABOUT: &[About] = &[
    About {
        what: "a deploy section",
        text: "Replicas, resources and how changes are rolled out.",
        fields: &[
            ("mode", "`replicated` or `global`."),
            ("replicas", "Number of containers."),
            ("labels", "Labels of the service."),
            ("update_config", "How changes are rolled out."),
            ("rollback_config", "How changes are taken back."),
            ("resources", "Limits and reservations."),
            (
                "restart_policy",
                "When containers are restarted; `restart` is the short form.",
            ),
            ("placement", "Where containers may run."),
            (
                "endpoint_mode",
                "How the service is found: `vip` or `dnsrr`.",
            ),
        ],
    },
    About {
        what: "an update configuration",
        text: "How changes reach the containers.",
        fields: &[
            ("parallelism", "Containers at a time; 0 is all."),
            ("delay", "Time between one group and the next."),
            ("failure_action", "`pause`, `continue` or `rollback`."),
            ("monitor", "Time a new container is watched for failure."),
            ("max_failure_ratio", "Share of containers that may fail."),
            (
                "order",
                "`stop-first`: old before new; `start-first`: the other way round.",
            ),
        ],
    },
    About {
        what: "a resources section",
        text: "Limits and reservations.",
        fields: &[
            ("limits", "What a container cannot go beyond."),
            ("reservations", "What a container is sure to have."),
        ],
    },
    About {
        what: "limits",
        text: "What a container cannot go beyond.",
        fields: &[
            ("cpus", "Processors, e.g. `0.5`."),
            ("memory", "Memory, e.g. `512m`."),
            ("pids", "Processes."),
        ],
    },
    About {
        what: "reservations",
        text: "What a container is sure to have.",
        fields: &[
            ("cpus", "Processors."),
            ("memory", "Memory, e.g. `256m`."),
            ("devices", "Devices by what they can do."),
            ("generic_resources", "Resources of other kinds."),
        ],
    },
    About {
        what: "a generic resource",
        text: "A resource of another kind.",
        fields: &[("discrete_resource_spec", "One that is counted.")],
    },
    About {
        what: "a discrete resource",
        text: "A resource that is counted.",
        fields: &[("kind", "Its kind."), ("value", "How many.")],
    },
    About {
        what: "a restart policy",
        text: "When containers are restarted.",
        fields: &[
            ("condition", "`none`, `on-failure` or `any`."),
            ("delay", "Time before a restart."),
            ("max_attempts", "Restarts at most. Default: no limit."),
            ("window", "Time after which a restart has worked."),
        ],
    },
    About {
        what: "a placement",
        text: "Where containers may run.",
        fields: &[
            ("constraints", "Conditions for the node."),
            ("preferences", "How to spread containers."),
            ("max_replicas_per_node", "Containers on one node at most."),
        ],
    },
    About {
        what: "a preference",
        text: "How to spread containers.",
        fields: &[("spread", "Label whose values share them evenly.")],
    },
    About {
        what: "a device request",
        text: "Devices by what they can do.",
        fields: &[
            ("capabilities", "What they must be able to do, e.g. `gpu`."),
            ("driver", "Their driver."),
            ("count", "How many, or `all`."),
            ("device_ids", "Single ones by their ids."),
            ("options", "Options of the driver."),
        ],
    },
];
