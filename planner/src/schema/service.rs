//! `services.*`

use super::build::BUILD;
use super::deploy::{DEPLOY, DEVICE_REQUEST_FREE};
use super::storage::{FILE_REFERENCE, VOLUME_MOUNT};
use super::{Field, Kind, Names, Object, Pairs, Short, Size, field, object, required};

pub(super) static SERVICE: Object = object(
    "a service",
    &[
        field("profiles", Kind::Texts),
        field("annotations", Kind::Pairs(Pairs::Filled)),
        field("attach", Kind::FlagKept),
        field("build", Kind::Either(Short::Text, &Kind::Object(&BUILD))),
        field("develop", Kind::ObjectOrNull(&DEVELOP)),
        field("blkio_config", Kind::Object(&BLKIO)),
        field("cap_add", Kind::Texts),
        field("cap_drop", Kind::Texts),
        field("cgroup_parent", Kind::Text),
        field("cgroup", Kind::OneOf(&["host", "private"])),
        field("cpu_count", Kind::IntBetween(0, i64::MAX)),
        field("cpu_percent", Kind::Float),
        field("cpu_period", Kind::Number),
        field("cpu_quota", Kind::Number),
        field("cpu_rt_period", Kind::Number),
        field("cpu_rt_runtime", Kind::Number),
        field("cpus", Kind::Float),
        field("cpuset", Kind::Text),
        field("cpu_shares", Kind::Number),
        field("command", Kind::Command),
        field("configs", Kind::List(&FILE_MOUNT)),
        field("container_name", Kind::Text),
        field("credential_spec", Kind::Object(&CREDENTIAL_SPEC)),
        field(
            "depends_on",
            Kind::Either(
                Short::Texts,
                &Kind::Named(&Kind::Object(&DEPENDENCY), Names::Strict),
            ),
        ),
        field("deploy", Kind::ObjectOrNull(&DEPLOY)),
        field("device_cgroup_rules", Kind::Texts),
        field(
            "devices",
            Kind::List(&Kind::Either(Short::Text, &Kind::Object(&DEVICE))),
        ),
        field("dns", Kind::TextOrTexts),
        field("dns_opt", Kind::Texts),
        field("dns_search", Kind::TextOrTexts),
        field("domainname", Kind::Text),
        field("entrypoint", Kind::Command),
        field("provider", Kind::Object(&PROVIDER)),
        field("environment", Kind::Pairs(Pairs::Open)),
        field(
            "env_file",
            Kind::Either(
                Short::Text,
                &Kind::List(&Kind::Either(Short::Text, &Kind::Object(&ENV_FILE))),
            ),
        ),
        field("expose", Kind::TextsOrNumbers),
        field(
            "extends",
            Kind::Either(Short::Text, &Kind::Object(&EXTENDS)),
        ),
        field("external_links", Kind::Texts),
        field("extra_hosts", Kind::Hosts),
        field("group_add", Kind::TextsOrNumbers),
        field(
            "gpus",
            Kind::Either(
                Short::Text,
                &Kind::List(&Kind::Object(&DEVICE_REQUEST_FREE)),
            ),
        ),
        field("hostname", Kind::Text),
        field("healthcheck", Kind::Object(&HEALTHCHECK)),
        field("image", Kind::Text),
        field("init", Kind::FlagKept),
        field("ipc", Kind::Text),
        field("isolation", Kind::Text),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("label_file", Kind::TextOrTexts),
        field("links", Kind::Texts),
        field("logging", Kind::Object(&LOGGING)),
        field("mem_limit", Kind::Bytes(Size::NumberOrText)),
        field("mem_reservation", Kind::Bytes(Size::IntOrText)),
        field("memswap_limit", Kind::Bytes(Size::NumberOrText)),
        field("mem_swappiness", Kind::Bytes(Size::IntOrText)),
        field("mac_address", Kind::Text),
        field(
            "models",
            Kind::Either(
                Short::Texts,
                &Kind::Named(&Kind::ObjectOrNull(&SERVICE_MODEL), Names::Free),
            ),
        ),
        field("network_mode", Kind::Text),
        field(
            "networks",
            Kind::Either(
                Short::Texts,
                &Kind::Named(&Kind::ObjectOrNull(&ATTACHMENT), Names::Strict),
            ),
        ),
        field("oom_kill_disable", Kind::Flag),
        field("oom_score_adj", Kind::IntBetween(-1000, 1000)),
        field("pid", Kind::TextOrNull),
        field("pids_limit", Kind::Number),
        field("platform", Kind::Text),
        field(
            "ports",
            Kind::List(&Kind::Either(Short::TextOrNumber, &Kind::Object(&PORT))),
        ),
        field("privileged", Kind::Flag),
        field("pull_policy", Kind::PullPolicy),
        field("pull_refresh_after", Kind::Text),
        field("read_only", Kind::Flag),
        field("restart", Kind::Text),
        field("runtime", Kind::Text),
        field("scale", Kind::IntKept),
        field("secrets", Kind::List(&FILE_MOUNT)),
        field("security_opt", Kind::Texts),
        field("shm_size", Kind::Bytes(Size::NumberOrText)),
        field("stdin_open", Kind::Flag),
        field("stop_grace_period", Kind::Duration),
        field("stop_signal", Kind::Text),
        field("storage_opt", Kind::OptionsOrNull),
        field("sysctls", Kind::Pairs(Pairs::Filled)),
        field("tmpfs", Kind::TextOrTexts),
        field("tty", Kind::Flag),
        field("ulimits", ULIMITS),
        field("use_api_socket", Kind::Bool),
        field("user", Kind::Text),
        field("userns_mode", Kind::Text),
        field("uts", Kind::Text),
        field(
            "volumes",
            Kind::List(&Kind::Either(Short::Text, &Kind::Object(&VOLUME_MOUNT))),
        ),
        field("volumes_from", Kind::Texts),
        field("working_dir", Kind::Text),
        field("pre_start", Kind::List(&Kind::Object(&PRE_START))),
        field("post_start", Kind::List(&Kind::Object(&HOOK))),
        field("pre_stop", Kind::List(&Kind::Object(&HOOK))),
    ],
);

pub(super) const FILE_MOUNT: Kind = Kind::Either(Short::Text, &Kind::Object(&FILE_REFERENCE));
pub(super) const ULIMITS: Kind = Kind::Named(
    &Kind::Either(Short::Int, &Kind::Object(&ULIMIT)),
    Names::Free,
);

static ULIMIT: Object = object(
    "a limit",
    &[
        required("soft", Kind::IntKept),
        required("hard", Kind::IntKept),
    ],
);

static BLKIO: Object = Object {
    what: "a blkio_config",
    extensions: false,
    fields: &[
        field("weight", Kind::Int),
        field("weight_device", Kind::List(&Kind::Object(&WEIGHT))),
        field("device_read_bps", Kind::List(&Kind::Object(&RATE))),
        field("device_read_iops", Kind::List(&Kind::Object(&RATE))),
        field("device_write_bps", Kind::List(&Kind::Object(&RATE))),
        field("device_write_iops", Kind::List(&Kind::Object(&RATE))),
    ],
};

static WEIGHT: Object = Object {
    what: "a device weight",
    extensions: false,
    fields: &[field("path", Kind::Text), field("weight", Kind::Int)],
};

static RATE: Object = Object {
    what: "a device rate",
    extensions: false,
    fields: &[
        field("path", Kind::Text),
        field("rate", Kind::Bytes(Size::IntOrText)),
    ],
};

static CREDENTIAL_SPEC: Object = object(
    "a credential_spec",
    &[
        field("config", Kind::Text),
        field("file", Kind::Text),
        field("registry", Kind::Text),
    ],
);

static DEPENDENCY: Object = object(
    "a dependency",
    &[
        required(
            "condition",
            Kind::OneOf(&[
                "service_started",
                "service_healthy",
                "service_completed_successfully",
            ]),
        ),
        field("restart", Kind::Flag),
        field("required", Kind::BoolKept),
    ],
);

static DEVICE: Object = object(
    "a device",
    &[
        required("source", Kind::Text),
        field("target", Kind::Text),
        field("permissions", Kind::Text),
    ],
);

static PROVIDER: Object = object(
    "a provider",
    &[
        required("type", Kind::Text),
        field("options", Kind::MultiOptions),
    ],
);

static ENV_FILE: Object = Object {
    what: "an env_file",
    extensions: false,
    fields: &[
        required("path", Kind::Text),
        field("required", Kind::FlagKept),
        field("format", Kind::Text),
    ],
};

static EXTENDS: Object = Object {
    what: "an extends",
    extensions: false,
    fields: &[field("file", Kind::Text), required("service", Kind::Text)],
};

static HEALTHCHECK: Object = object(
    "a healthcheck",
    &[
        field("test", Kind::Test),
        field("timeout", Kind::Duration),
        field("interval", Kind::Duration),
        field("retries", Kind::NumberKept),
        field("start_period", Kind::Duration),
        field("start_interval", Kind::Duration),
        field("disable", Kind::Flag),
    ],
);

static LOGGING: Object = object(
    "a logging section",
    &[
        field("driver", Kind::Text),
        field("options", Kind::OptionsOrNull),
    ],
);

static SERVICE_MODEL: Object = object(
    "a model reference",
    &[
        field("endpoint_var", Kind::Text),
        field("model_var", Kind::Text),
    ],
);

static ATTACHMENT: Object = object(
    "a network attachment",
    &[
        field("aliases", Kind::Texts),
        field("driver_opts", Kind::Options),
        field("gw_priority", Kind::PlainNumber),
        field("interface_name", Kind::Text),
        field("ipv4_address", Kind::Text),
        field("ipv6_address", Kind::Text),
        field("link_local_ips", Kind::Texts),
        field("mac_address", Kind::Text),
        field("priority", Kind::PlainNumber),
    ],
);

static PORT: Object = object(
    "a port",
    &[
        field("name", Kind::Text),
        field("mode", Kind::Text),
        field("host_ip", Kind::Text),
        field("target", Kind::Int),
        field("published", Kind::TextOrNumber),
        field("protocol", Kind::Text),
        field("app_protocol", Kind::Text),
    ],
);

static DEVELOP: Object = object(
    "a develop section",
    &[field("watch", Kind::List(&Kind::Object(&WATCH)))],
);

static WATCH: Object = object(
    "a watch rule",
    &[
        required("path", Kind::Text),
        required(
            "action",
            Kind::OneOf(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
        ),
        field("target", Kind::Text),
        field("exec", Kind::Object(&HOOK)),
        field("include", Kind::TextOrTexts),
        field("ignore", Kind::TextOrTexts),
        field("initial_sync", Kind::Bool),
    ],
);

const HOOK_ENVIRONMENT: Field = field("environment", Kind::Pairs(Pairs::Open));

static HOOK: Object = object(
    "a hook",
    &[
        required("command", Kind::Command),
        field("user", Kind::Text),
        field("privileged", Kind::Flag),
        field("working_dir", Kind::Text),
        HOOK_ENVIRONMENT,
    ],
);

static PRE_START: Object = object(
    "a pre_start hook",
    &[
        field("command", Kind::Command),
        field("image", Kind::Text),
        field("user", Kind::Text),
        field("privileged", Kind::Flag),
        field("working_dir", Kind::Text),
        HOOK_ENVIRONMENT,
        field("per_replica", Kind::Flag),
    ],
);
