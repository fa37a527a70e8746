//! Entries of `services.*.volumes`, `configs` and `secrets`

use super::{Kind, Object, Pairs, Size, field, object, required};

pub(super) static VOLUME_MOUNT: Object = object(
    "a volume mount",
    &[
        required(
            "type",
            Kind::OneOf(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
        ),
        field("source", Kind::Text),
        field("target", Kind::Text),
        field("read_only", Kind::Flag),
        field("consistency", Kind::Text),
        field("bind", Kind::Object(&BIND)),
        field("volume", Kind::Object(&VOLUME)),
        field("tmpfs", Kind::Object(&TMPFS)),
        field("image", Kind::Object(&IMAGE)),
    ],
);

static BIND: Object = object(
    "bind options",
    &[
        field("selinux", Kind::OneOf(&["z", "Z"])),
        field("propagation", Kind::Text),
        field("create_host_path", Kind::FlagKept),
        field(
            "recursive",
            Kind::OneOf(&["enabled", "disabled", "writable", "readonly"]),
        ),
    ],
);

static VOLUME: Object = object(
    "volume options",
    &[
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("nocopy", Kind::Flag),
        field("subpath", Kind::Text),
    ],
);

static TMPFS: Object = object(
    "tmpfs options",
    &[
        field("size", Kind::Bytes(Size::IntOrText)),
        field("mode", Kind::Number),
    ],
);

static IMAGE: Object = object("image options", &[field("subpath", Kind::Text)]);

pub(super) static FILE_REFERENCE: Object = object(
    "a file reference",
    &[
        field("source", Kind::Text),
        field("target", Kind::Text),
        field("uid", Kind::Text),
        field("gid", Kind::Text),
        field("mode", Kind::FileMode),
    ],
);
