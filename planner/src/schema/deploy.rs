//! `services.*.deploy`

use super::{Kind, Object, Pairs, Size, field, object, required};

pub(super) static DEPLOY: Object = object(
    "a deploy section",
    &[
        field("mode", Kind::Text),
        field("replicas", Kind::IntKept),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("update_config", Kind::Object(&UPDATE)),
        field("rollback_config", Kind::Object(&UPDATE)),
        field("resources", Kind::Object(&RESOURCES)),
        field("restart_policy", Kind::Object(&RESTART_POLICY)),
        field("placement", Kind::Object(&PLACEMENT)),
        field("endpoint_mode", Kind::Text),
    ],
);

static UPDATE: Object = object(
    "an update configuration",
    &[
        field("parallelism", Kind::IntKept),
        field("delay", Kind::DurationNotZero),
        field("failure_action", Kind::Text),
        field("monitor", Kind::DurationNotZero),
        field("max_failure_ratio", Kind::Float),
        field("order", Kind::OneOf(&["start-first", "stop-first"])),
    ],
);

static RESOURCES: Object = object(
    "a resources section",
    &[
        field("limits", Kind::Object(&LIMITS)),
        field("reservations", Kind::Object(&RESERVATIONS)),
    ],
);

static LIMITS: Object = object(
    "limits",
    &[
        field("cpus", Kind::Float),
        field("memory", Kind::Bytes(Size::Text)),
        field("pids", Kind::Int),
    ],
);

static RESERVATIONS: Object = object(
    "reservations",
    &[
        field("cpus", Kind::Float),
        field("memory", Kind::Bytes(Size::Text)),
        field("devices", Kind::List(&Kind::Object(&DEVICE_REQUEST))),
        field("generic_resources", Kind::List(&Kind::Object(&GENERIC))),
    ],
);

static GENERIC: Object = object(
    "a generic resource",
    &[field("discrete_resource_spec", Kind::Object(&DISCRETE))],
);

static DISCRETE: Object = object(
    "a discrete resource",
    &[field("kind", Kind::Text), field("value", Kind::NumberKept)],
);

static RESTART_POLICY: Object = object(
    "a restart policy",
    &[
        field("condition", Kind::Text),
        field("delay", Kind::Duration),
        field("max_attempts", Kind::IntKept),
        field("window", Kind::Duration),
    ],
);

static PLACEMENT: Object = object(
    "a placement",
    &[
        field("constraints", Kind::TextsRepeat),
        field("preferences", Kind::List(&Kind::Object(&PREFERENCE))),
        field("max_replicas_per_node", Kind::Int),
    ],
);

static PREFERENCE: Object = object("a preference", &[field("spread", Kind::Text)]);

static DEVICE_REQUEST: Object = object(
    "a device request",
    &[
        required("capabilities", Kind::Texts),
        field("driver", Kind::Text),
        field("count", Kind::DeviceCount),
        field("device_ids", Kind::Texts),
        field("options", Kind::Pairs(Pairs::Filled)),
    ],
);

/// Under `gpus`, where the capabilities are understood.
pub(super) static DEVICE_REQUEST_FREE: Object = object(
    "a device request",
    &[
        field("capabilities", Kind::Texts),
        field("driver", Kind::Text),
        field("count", Kind::DeviceCount),
        field("device_ids", Kind::Texts),
        field("options", Kind::Pairs(Pairs::Filled)),
    ],
);
