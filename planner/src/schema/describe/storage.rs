//! Entries of `services.*.volumes`, `configs` and `secrets`

use super::About;

pub(super) const ABOUT: &[About] = &[
    About {
        what: "a volume mount",
        text: "Something mounted in the service.",
        fields: &[
            (
                "type",
                "`volume` (named, or anonymous without `source`), `bind` (of the host), `tmpfs` (in memory) or `image`.",
            ),
            ("source", "Name of the volume, path of the host, or image."),
            ("target", "Path in the service."),
            ("read_only", "The service cannot write there."),
            ("consistency", "How soon changes are seen on both sides."),
            ("bind", "Options of a bind mount."),
            ("volume", "Options of a volume."),
            ("tmpfs", "Options of a file system in memory."),
            ("image", "Options of an image."),
        ],
    },
    About {
        what: "bind options",
        text: "Options of a bind mount.",
        fields: &[
            ("selinux", "Relabel the files: `z` shared, `Z` private."),
            ("propagation", "Whether mounts below are passed on."),
            (
                "create_host_path",
                "Make the folder when it is not there. Default: true.",
            ),
            (
                "recursive",
                "Whether mounts below are shown, and can be written.",
            ),
        ],
    },
    About {
        what: "volume options",
        text: "Options of a volume.",
        fields: &[
            ("labels", "Labels of an anonymous volume."),
            (
                "nocopy",
                "Do not fill an empty volume with what the image has there.",
            ),
            ("subpath", "A folder in the volume instead of the whole."),
        ],
    },
    About {
        what: "tmpfs options",
        text: "Options of a file system in memory.",
        fields: &[
            ("size", "Its size at most, e.g. `64m`."),
            ("mode", "Permission bits of its top folder, in octal."),
        ],
    },
    About {
        what: "image options",
        text: "Options of an image that is mounted.",
        fields: &[("subpath", "A folder in the image instead of the whole.")],
    },
    About {
        what: "a file reference",
        text: "A config or secret as a file.",
        fields: &[
            ("source", "Its key at the top level."),
            (
                "target",
                "Path or name of the file. Default: `/NAME` for a config, `/run/secrets/NAME` for a secret.",
            ),
            ("uid", "Owner of the file."),
            ("gid", "Group of the file."),
            (
                "mode",
                "Permission bits of the file, in octal. Default: 0444.",
            ),
        ],
    },
];
