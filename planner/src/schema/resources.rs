//! `networks.*`, `volumes.*`, `secrets.*`, `configs.*` and `models.*`

use super::{Kind, Object, Pairs, Short, field, object, required};

const EXTERNAL: Kind = Kind::Either(Short::Flag, &Kind::Object(&EXTERNAL_NAME));
static EXTERNAL_NAME: Object = object("an external reference", &[field("name", Kind::Text)]);

pub(super) static NETWORK: Object = object(
    "a network",
    &[
        field("name", Kind::Text),
        field("driver", Kind::Text),
        field("driver_opts", Kind::Options),
        field("ipam", Kind::Object(&IPAM)),
        field("external", EXTERNAL),
        field("internal", Kind::Flag),
        field("attachable", Kind::Flag),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("enable_ipv4", Kind::FlagKept),
        field("enable_ipv6", Kind::FlagKept),
    ],
);

static IPAM: Object = object(
    "an ipam section",
    &[
        field("driver", Kind::Text),
        field("config", Kind::List(&Kind::Object(&POOL))),
        field("options", Kind::TextMap),
    ],
);

static POOL: Object = object(
    "an address pool",
    &[
        field("subnet", Kind::Text),
        field("gateway", Kind::Text),
        field("ip_range", Kind::Text),
        field("aux_addresses", Kind::TextMap),
    ],
);

pub(super) static VOLUME: Object = object(
    "a volume",
    &[
        field("name", Kind::Text),
        field("driver", Kind::Text),
        field("driver_opts", Kind::Options),
        field("external", EXTERNAL),
        field("labels", Kind::Pairs(Pairs::Filled)),
    ],
);

pub(super) static SECRET: Object = object(
    "a secret",
    &[
        field("name", Kind::Text),
        field("file", Kind::Text),
        field("environment", Kind::Text),
        field("external", EXTERNAL),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("driver", Kind::Text),
        field("driver_opts", Kind::Options),
        field("template_driver", Kind::Text),
    ],
);

pub(super) static CONFIG: Object = object(
    "a config",
    &[
        field("name", Kind::Text),
        field("file", Kind::Text),
        field("environment", Kind::Text),
        field("content", Kind::Text),
        field("external", EXTERNAL),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("template_driver", Kind::Text),
    ],
);

pub(super) static MODEL: Object = object(
    "a model",
    &[
        field("name", Kind::Text),
        required("model", Kind::Text),
        field("context_size", Kind::Int),
        field("runtime_flags", Kind::TextsRepeat),
    ],
);
