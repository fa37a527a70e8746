//! `services.*`

use super::About;

pub(super) const ABOUT: &[About] = &[
    SERVICE,
    ULIMIT,
    BLKIO,
    WEIGHT,
    RATE,
    CREDENTIAL,
    DEPENDENCY,
    DEVICE,
    PROVIDER,
    ENV_FILE,
    EXTENDS,
    HEALTHCHECK,
    LOGGING,
    MODEL,
    ATTACHMENT,
    PORT,
    DEVELOP,
    WATCH,
    HOOK,
    PRE_START,
];

const SERVICE: About = About {
    what: "a service",
    text: "A service: an image and how it is run, once or several times.",
    fields: &[
        (
            "profiles",
            "The service takes part only when one of these profiles is enabled. Without any it always does.",
        ),
        ("annotations", "Annotations of the container."),
        ("attach", "Whether `up` shows the service's output."),
        (
            "build",
            "How the image is built: a folder with a Dockerfile, or the details.",
        ),
        (
            "develop",
            "What happens while you edit: rules for watched files.",
        ),
        ("blkio_config", "Limits for disk access."),
        ("cap_add", "Kernel capabilities to add, e.g. `NET_ADMIN`."),
        ("cap_drop", "Kernel capabilities to take away, e.g. `ALL`."),
        ("cgroup_parent", "Parent cgroup of the container."),
        ("cgroup", "Cgroup namespace: `private` or `host`."),
        ("cpu_count", "Number of usable processors (Windows)."),
        ("cpu_percent", "Usable share of the processors (Windows)."),
        (
            "cpu_period",
            "Period of the CFS scheduler in microseconds; with `cpu_quota`.",
        ),
        (
            "cpu_quota",
            "Processor time in microseconds for each `cpu_period`.",
        ),
        ("cpu_rt_period", "Period of the real-time scheduler."),
        ("cpu_rt_runtime", "Time of the real-time scheduler."),
        (
            "cpus",
            "Processors the service may use; a fraction is a share of one, e.g. `1.5`.",
        ),
        ("cpuset", "Processors the service may run on, e.g. `0-3`."),
        (
            "cpu_shares",
            "Weight against other services when processors are scarce.",
        ),
        (
            "command",
            "Command that replaces the image's: a list, or a text that is split into words.",
        ),
        ("configs", "Configs the service is given as files."),
        (
            "container_name",
            "Name of the container instead of `<project>-<service>-<number>`; excludes several replicas.",
        ),
        (
            "credential_spec",
            "Credentials of a managed service account (Windows).",
        ),
        (
            "depends_on",
            "Services that must be there first, with the condition to wait for.",
        ),
        (
            "deploy",
            "Replicas, resources and how changes are rolled out.",
        ),
        ("device_cgroup_rules", "Rules for access to devices."),
        (
            "devices",
            "Devices of the host to pass on, `host:container:permissions`.",
        ),
        ("dns", "Name servers instead of the network's own."),
        ("dns_opt", "Options of the resolver, e.g. `ndots:1`."),
        ("dns_search", "Domains in which short names are looked up."),
        ("domainname", "Domain name of the host."),
        (
            "entrypoint",
            "Entrypoint that replaces the image's: a list, or a text that is split into words.",
        ),
        (
            "provider",
            "The service is run by another program, not as a container.",
        ),
        (
            "environment",
            "Environment variables. A key without a value takes it from the environment of `stack`.",
        ),
        (
            "env_file",
            "Files with environment variables; `environment` wins over them.",
        ),
        (
            "expose",
            "Ports that other services may use; for documentation.",
        ),
        (
            "extends",
            "Another service, here or in another file, that this one starts from.",
        ),
        (
            "external_links",
            "Containers of other stacks, reachable by these names.",
        ),
        (
            "extra_hosts",
            "Host names and their addresses, as in `/etc/hosts`; `host-gateway` is the host.",
        ),
        (
            "group_add",
            "More groups of the user that the process runs as.",
        ),
        ("gpus", "GPUs to pass on: `all`, or a list of requests."),
        ("hostname", "Host name of the service's machine."),
        ("healthcheck", "How to find out whether the service works."),
        ("image", "Image to run, e.g. `postgres:17`."),
        (
            "init",
            "Run an init process that reaps processes and passes signals on.",
        ),
        ("ipc", "IPC namespace."),
        ("isolation", "Kind of isolation (Windows)."),
        ("labels", "Labels of the container."),
        ("label_file", "Files with labels; `labels` wins over them."),
        (
            "links",
            "Services to be reachable under other names, `service:alias`.",
        ),
        ("logging", "What becomes of the output."),
        ("mem_limit", "Memory of the service, e.g. `512m`."),
        ("mem_reservation", "Memory the service should always have."),
        ("memswap_limit", "Memory and swap together."),
        ("mem_swappiness", "Willingness to swap, 0 to 100."),
        ("mac_address", "Hardware address on the default network."),
        ("models", "Models that the service uses."),
        (
            "network_mode",
            "`none`, `bridge`, `host` or `service:NAME` instead of `networks`.",
        ),
        (
            "networks",
            "Networks the service is on, with names and addresses there.",
        ),
        (
            "oom_kill_disable",
            "Do not kill the process when memory runs out.",
        ),
        (
            "oom_score_adj",
            "Preference for being killed when memory runs out, -1000 to 1000.",
        ),
        ("pid", "PID namespace."),
        ("pids_limit", "Processes at most; -1 is no limit."),
        ("platform", "Platform of the image, e.g. `linux/arm64`."),
        (
            "ports",
            "Ports published on the host: `[address:][host:]container[/protocol]`, or the long form.",
        ),
        ("privileged", "All capabilities and devices of the machine."),
        (
            "pull_policy",
            "When the image is pulled: `always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_<time>`.",
        ),
        (
            "pull_refresh_after",
            "Age at which the image is pulled again.",
        ),
        ("read_only", "The root file system cannot be written."),
        (
            "restart",
            "Restart policy: `no`, `always`, `on-failure[:times]` or `unless-stopped`.",
        ),
        ("runtime", "Runtime of the engine."),
        (
            "scale",
            "Number of containers; `deploy.replicas` is the same.",
        ),
        (
            "secrets",
            "Secrets the service is given as files, in `/run/secrets` unless said otherwise.",
        ),
        (
            "security_opt",
            "Security options, e.g. `no-new-privileges:true`.",
        ),
        ("shm_size", "Size of `/dev/shm`, e.g. `128m`."),
        ("stdin_open", "Keep standard input open."),
        (
            "stop_grace_period",
            "Time to end after the stop signal before the service is killed, e.g. `30s`.",
        ),
        (
            "stop_signal",
            "Signal that asks the service to end. Default: the image's, or SIGTERM.",
        ),
        ("storage_opt", "Options of the storage driver."),
        ("sysctls", "Kernel parameters of the service's machine."),
        (
            "tmpfs",
            "Paths with a file system in memory, with options after a colon.",
        ),
        ("tty", "Run the process on a terminal."),
        (
            "ulimits",
            "Limits of the process: a number, or `soft` and `hard`.",
        ),
        ("use_api_socket", "Give the service the engine's socket."),
        (
            "user",
            "User, and group after a colon, that the process runs as.",
        ),
        ("userns_mode", "User namespace."),
        ("uts", "UTS namespace."),
        (
            "volumes",
            "Mounts: `[source:]target[:options]`, or the long form. A source with a slash is a path of the host, another one a named volume.",
        ),
        (
            "volumes_from",
            "Services whose volumes are mounted as well.",
        ),
        ("working_dir", "Folder the process starts in."),
        ("pre_start", "Commands to run before the container starts."),
        (
            "post_start",
            "Commands to run in the container after it started.",
        ),
        (
            "pre_stop",
            "Commands to run in the container before it is stopped.",
        ),
    ],
};

const ULIMIT: About = About {
    what: "a limit",
    text: "A limit with two values.",
    fields: &[
        ("soft", "The limit that is in force."),
        ("hard", "How far the process may raise it."),
    ],
};

const BLKIO: About = About {
    what: "a blkio_config",
    text: "Limits for disk access.",
    fields: &[
        ("weight", "Weight against other services, 10 to 1000."),
        ("weight_device", "Weights for single devices."),
        (
            "device_read_bps",
            "Bytes read each second at most, by device.",
        ),
        ("device_read_iops", "Reads each second at most, by device."),
        (
            "device_write_bps",
            "Bytes written each second at most, by device.",
        ),
        (
            "device_write_iops",
            "Writes each second at most, by device.",
        ),
    ],
};

const WEIGHT: About = About {
    what: "a device weight",
    text: "A weight for one device.",
    fields: &[
        ("path", "The device."),
        ("weight", "Its weight, 10 to 1000."),
    ],
};

const RATE: About = About {
    what: "a device rate",
    text: "A limit for one device.",
    fields: &[
        ("path", "The device."),
        ("rate", "Bytes or operations each second at most."),
    ],
};

const CREDENTIAL: About = About {
    what: "a credential_spec",
    text: "Credentials of a managed service account (Windows).",
    fields: &[
        ("config", "Config that holds the specification."),
        ("file", "File that holds the specification."),
        ("registry", "Registry key that holds the specification."),
    ],
};

const DEPENDENCY: About = About {
    what: "a dependency",
    text: "What to wait for before the service starts.",
    fields: &[
        (
            "condition",
            "`service_started`, `service_healthy` (its health check passes) or `service_completed_successfully` (it ended with 0).",
        ),
        (
            "restart",
            "Restart this service when the dependency is restarted or replaced.",
        ),
        (
            "required",
            "Whether this service cannot do without the dependency. Default: true.",
        ),
    ],
};

const DEVICE: About = About {
    what: "a device",
    text: "A device of the host.",
    fields: &[
        ("source", "Path on the host."),
        ("target", "Path in the container."),
        ("permissions", "`r`, `w` and `m` (mknod) together."),
    ],
};

const PROVIDER: About = About {
    what: "a provider",
    text: "Another program that runs the service.",
    fields: &[("type", "The program."), ("options", "Its options.")],
};

const ENV_FILE: About = About {
    what: "an env_file",
    text: "A file with environment variables.",
    fields: &[
        ("path", "The file."),
        ("required", "Whether it must be there. Default: true."),
        (
            "format",
            "`raw`: values are used as they are, without quotes and variables.",
        ),
    ],
};

const EXTENDS: About = About {
    what: "an extends",
    text: "A service to start from.",
    fields: &[
        ("file", "The file it is in. Default: this one."),
        ("service", "Its name."),
    ],
};

const HEALTHCHECK: About = About {
    what: "a healthcheck",
    text: "How to find out whether the service works.",
    fields: &[
        (
            "test",
            "Command that ends with 0 when all is well: `[CMD, …]`, `[CMD-SHELL, text]`, `[NONE]`, or a text for the shell.",
        ),
        (
            "timeout",
            "Time after which a probe has failed. Default: 30s.",
        ),
        ("interval", "Time between probes. Default: 30s."),
        (
            "retries",
            "Failed probes in a row that make the service unhealthy. Default: 3.",
        ),
        ("start_period", "Time in which failures do not count."),
        (
            "start_interval",
            "Time between probes during `start_period`.",
        ),
        ("disable", "No health check, not even the image's."),
    ],
};

const LOGGING: About = About {
    what: "a logging section",
    text: "What becomes of the output.",
    fields: &[
        ("driver", "The logging driver."),
        ("options", "Its options."),
    ],
};

const MODEL: About = About {
    what: "a model reference",
    text: "How the service learns about a model.",
    fields: &[
        ("endpoint_var", "Variable with the model's address."),
        ("model_var", "Variable with the model's name."),
    ],
};

const ATTACHMENT: About = About {
    what: "a network attachment",
    text: "The service on one network.",
    fields: &[
        ("aliases", "More names of the service on this network."),
        ("driver_opts", "Options of the network's driver."),
        (
            "gw_priority",
            "The network with the highest one is the way outwards.",
        ),
        ("interface_name", "Name of the network card."),
        (
            "ipv4_address",
            "Fixed IPv4 address; the network needs a `subnet`.",
        ),
        (
            "ipv6_address",
            "Fixed IPv6 address; the network needs a `subnet`.",
        ),
        ("link_local_ips", "More addresses, link-local."),
        ("mac_address", "Hardware address."),
        (
            "priority",
            "Networks are joined in this order, the highest first.",
        ),
    ],
};

const PORT: About = About {
    what: "a port",
    text: "A port published on the host.",
    fields: &[
        (
            "name",
            "Its name, for people and for SRV lookups: `_name._tcp.service`.",
        ),
        ("mode", "`ingress` or `host`."),
        ("host_ip", "Address of the host to listen on. Default: all."),
        ("target", "Port of the service."),
        (
            "published",
            "Port of the host, or a range `from-to`. Default: a free one.",
        ),
        ("protocol", "`tcp` or `udp`."),
        (
            "app_protocol",
            "What is spoken there, e.g. `http`; SRV lookups find it by that, too.",
        ),
    ],
};

const DEVELOP: About = About {
    what: "a develop section",
    text: "What happens while you edit.",
    fields: &[("watch", "Rules for changed files.")],
};

const WATCH: About = About {
    what: "a watch rule",
    text: "What to do when files change.",
    fields: &[
        ("path", "File or folder to watch."),
        (
            "action",
            "`rebuild`, `sync`, `restart`, `sync+restart` or `sync+exec`.",
        ),
        ("target", "Where the files go in the container."),
        (
            "exec",
            "Command to run in the container after the files went there.",
        ),
        ("include", "Patterns of files that count."),
        ("ignore", "Patterns of files that do not count."),
        (
            "initial_sync",
            "Bring the container's files up to date at the start.",
        ),
    ],
};

const HOOK: About = About {
    what: "a hook",
    text: "A command in the container.",
    fields: &[
        ("command", "The command."),
        ("user", "User it runs as. Default: the service's."),
        ("privileged", "With all capabilities."),
        ("working_dir", "Folder it runs in."),
        ("environment", "Environment variables of the command."),
    ],
};

const PRE_START: About = About {
    what: "a pre_start hook",
    text: "A command before the container starts.",
    fields: &[
        ("command", "The command."),
        ("image", "Image it runs in. Default: the service's."),
        ("user", "User it runs as."),
        ("privileged", "With all capabilities."),
        ("working_dir", "Folder it runs in."),
        ("environment", "Environment variables of the command."),
        ("per_replica", "Once for each replica instead of once."),
    ],
};
