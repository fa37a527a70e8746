//! `networks.*`, `volumes.*`, `secrets.*`, `configs.*` and `models.*`

use super::About;

pub(super) const ABOUT: &[About] = &[
    About {
        what: "an external reference",
        text: "The old way to name a resource that exists already.",
        fields: &[(
            "name",
            "Deprecated: write `external: true` and `name` beside it.",
        )],
    },
    About {
        what: "a network",
        text: "A network that services share.",
        fields: &[
            ("name", "Its full name. Default: `<project>_<key>`."),
            ("driver", "Its driver; `bridge` is the only one."),
            ("driver_opts", "Options of the driver."),
            ("ipam", "Its addresses."),
            (
                "external",
                "It exists already and is not made by this stack.",
            ),
            ("internal", "No way from it to the outside."),
            ("attachable", "Other containers may join it."),
            ("labels", "Labels of the network."),
            ("enable_ipv4", "Whether there are IPv4 addresses."),
            ("enable_ipv6", "Whether there are IPv6 addresses."),
        ],
    },
    About {
        what: "an ipam section",
        text: "Addresses of a network.",
        fields: &[
            ("driver", "Who gives out addresses."),
            ("config", "Subnets."),
            ("options", "Options of the driver."),
        ],
    },
    About {
        what: "an address pool",
        text: "A subnet.",
        fields: &[
            ("subnet", "The subnet, e.g. `10.5.0.0/16`."),
            ("gateway", "Address of the gateway. Default: the first one."),
            (
                "ip_range",
                "The part of the subnet that addresses are taken from.",
            ),
            (
                "aux_addresses",
                "Addresses that are taken by something else, by name.",
            ),
        ],
    },
    About {
        what: "a volume",
        text: "Data that outlives its services.",
        fields: &[
            ("name", "Its full name. Default: `<project>_<key>`."),
            ("driver", "Its driver; `local` is the only one."),
            (
                "driver_opts",
                "Options of the driver; `size` is how large it can get.",
            ),
            (
                "external",
                "It exists already and is not made or deleted by this stack.",
            ),
            ("labels", "Labels of the volume."),
        ],
    },
    About {
        what: "a secret",
        text: "A confidential file, from a file or a variable.",
        fields: &[
            ("name", "Its full name."),
            ("file", "File with its content."),
            ("environment", "Variable with its content."),
            ("external", "It is kept elsewhere."),
            ("labels", "Labels of the secret."),
            ("driver", "Who keeps it."),
            ("driver_opts", "Options of the driver."),
            ("template_driver", "What fills in its content."),
        ],
    },
    About {
        what: "a config",
        text: "A file for services, from a file, a variable or the text itself.",
        fields: &[
            ("name", "Its full name."),
            ("file", "File with its content."),
            ("environment", "Variable with its content."),
            (
                "content",
                "The content itself; variables in it are replaced.",
            ),
            ("external", "It is kept elsewhere."),
            ("labels", "Labels of the config."),
            ("template_driver", "What fills in its content."),
        ],
    },
    About {
        what: "a model",
        text: "An AI model.",
        fields: &[
            ("name", "Its full name."),
            ("model", "Where it comes from, e.g. `ai/smollm2`."),
            ("context_size", "Tokens it looks at."),
            ("runtime_flags", "Flags of what runs it."),
        ],
    },
];
