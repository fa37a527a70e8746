//! The flags of `docker run` and `podman run`, and what becomes of them.

/// What a flag becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Nothing: it is about the command, not about the container.
    Nothing,
    /// Nothing, for this reason.
    Lost(&'static str),
    /// An attribute with this text.
    Text(&'static str),
    /// An attribute with this number.
    Number(&'static str),
    /// An attribute that is true.
    Switch(&'static str),
    /// One more item of a list.
    Item(&'static str),
    /// One more `key=value`.
    Pair(&'static str),
    /// An attribute of the health check.
    Health(&'static str),
    /// A rate of a device.
    Rate(&'static str),
    /// A rule of its own.
    Special,
}

/// A flag: long name, short name, whether it has a value, what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) value: bool,
    pub(super) to: To,
}

const fn with(long: &'static str, to: To) -> Flag {
    Flag {
        long,
        short: None,
        value: true,
        to,
    }
}

const fn short(long: &'static str, short: char, to: To) -> Flag {
    Flag {
        long,
        short: Some(short),
        value: true,
        to,
    }
}

const fn switch(long: &'static str, short: Option<char>, to: To) -> Flag {
    Flag {
        long,
        short,
        value: false,
        to,
    }
}

/// The flag of a long name.
pub(super) fn long(name: &str) -> Option<Flag> {
    if let Some(flag) = FLAGS.iter().find(|flag| flag.long == name) {
        return Some(*flag);
    }
    let value = PODMAN_VALUES.iter().find(|known| **known == name);
    let value = value.map(|name| with(name, PODMAN));
    value.or_else(|| {
        let name = PODMAN_SWITCHES.iter().find(|known| **known == name)?;
        Some(switch(name, None, PODMAN))
    })
}

/// The flag of a letter.
pub(super) fn letter(letter: char) -> Option<Flag> {
    FLAGS
        .iter()
        .find(|flag| flag.short == Some(letter))
        .copied()
}

/// Flags of podman alone that have a value.
const PODMAN_VALUES: &[&str] = &[
    "arch",
    "authfile",
    "cgroups",
    "chrootdirs",
    "conmon-pidfile",
    "decryption-key",
    "gidmap",
    "group-entry",
    "health-log-destination",
    "health-max-log-count",
    "health-max-log-size",
    "health-on-failure",
    "health-startup-cmd",
    "health-startup-interval",
    "health-startup-retries",
    "health-startup-success",
    "health-startup-timeout",
    "hostuser",
    "image-volume",
    "init-path",
    "os",
    "passwd-entry",
    "personality",
    "pidfile",
    "pod-id-file",
    "preserve-fd",
    "preserve-fds",
    "rdt-class",
    "retry",
    "retry-delay",
    "sdnotify",
    "seccomp-policy",
    "shm-size-systemd",
    "subgidname",
    "subuidname",
    "systemd",
    "timeout",
    "tz",
    "uidmap",
    "umask",
    "unsetenv",
    "variant",
];
/// Flags of podman alone that have none.
const PODMAN_SWITCHES: &[&str] = &[
    "env-host",
    "http-proxy",
    "no-hostname",
    "no-hosts",
    "passwd",
    "read-only-tmpfs",
    "rmi",
    "rootfs",
    "unsetenv-all",
];

const PODMAN: To = To::Lost("only podman has it");
const WINDOWS: To = To::Lost("it is for Windows containers");
const CLIENT: To = To::Nothing;

const FLAGS: &[Flag] = &[
    with("add-host", To::Item("extra_hosts")),
    with("annotation", To::Pair("annotations")),
    short(
        "attach",
        'a',
        To::Lost("output is followed by `stack up` and `stack logs`"),
    ),
    with("blkio-weight", To::Special),
    with("blkio-weight-device", To::Rate("weight_device")),
    with("cap-add", To::Item("cap_add")),
    with("cap-drop", To::Item("cap_drop")),
    with("cgroup-parent", To::Text("cgroup_parent")),
    with("cgroupns", To::Text("cgroup")),
    with("cidfile", To::Lost("`stack ps -q` shows the ids")),
    with("cpu-count", To::Number("cpu_count")),
    with("cpu-percent", To::Number("cpu_percent")),
    with("cpu-period", To::Number("cpu_period")),
    with("cpu-quota", To::Number("cpu_quota")),
    with("cpu-rt-period", To::Number("cpu_rt_period")),
    with("cpu-rt-runtime", To::Number("cpu_rt_runtime")),
    short("cpu-shares", 'c', To::Number("cpu_shares")),
    with("cpus", To::Number("cpus")),
    with("cpuset-cpus", To::Text("cpuset")),
    with("cpuset-mems", To::Lost("memory is not bound to nodes")),
    switch("detach", Some('d'), CLIENT),
    with("detach-keys", CLIENT),
    with("device", To::Item("devices")),
    with("device-cgroup-rule", To::Item("device_cgroup_rules")),
    with("device-read-bps", To::Rate("device_read_bps")),
    with("device-read-iops", To::Rate("device_read_iops")),
    with("device-write-bps", To::Rate("device_write_bps")),
    with("device-write-iops", To::Rate("device_write_iops")),
    switch("disable-content-trust", None, CLIENT),
    with("dns", To::Item("dns")),
    with("dns-opt", To::Item("dns_opt")),
    with("dns-option", To::Item("dns_opt")),
    with("dns-search", To::Item("dns_search")),
    with("domainname", To::Text("domainname")),
    with("entrypoint", To::Special),
    short("env", 'e', To::Pair("environment")),
    with("env-file", To::Item("env_file")),
    with("expose", To::Item("expose")),
    with("gpus", To::Special),
    with("group-add", To::Item("group_add")),
    with("health-cmd", To::Health("test")),
    with("health-interval", To::Health("interval")),
    with("health-retries", To::Health("retries")),
    with("health-start-interval", To::Health("start_interval")),
    with("health-start-period", To::Health("start_period")),
    with("health-timeout", To::Health("timeout")),
    short("hostname", 'h', To::Text("hostname")),
    switch("init", None, To::Switch("init")),
    switch("interactive", Some('i'), To::Switch("stdin_open")),
    with("io-maxbandwidth", WINDOWS),
    with("io-maxiops", WINDOWS),
    with("ip", To::Special),
    with("ip6", To::Special),
    with("ipc", To::Special),
    with("isolation", To::Text("isolation")),
    with(
        "kernel-memory",
        To::Lost("it has no effect in Docker either"),
    ),
    short("label", 'l', To::Pair("labels")),
    with("label-file", To::Item("label_file")),
    with("link", To::Special),
    with("link-local-ip", To::Special),
    with("log-driver", To::Special),
    with("log-opt", To::Special),
    with("mac-address", To::Text("mac_address")),
    short("memory", 'm', To::Text("mem_limit")),
    with("memory-reservation", To::Text("mem_reservation")),
    with("memory-swap", To::Text("memswap_limit")),
    with("memory-swappiness", To::Number("mem_swappiness")),
    with("mount", To::Special),
    with("name", To::Special),
    with("net", To::Special),
    with("net-alias", To::Special),
    with("network", To::Special),
    with("network-alias", To::Special),
    switch("no-healthcheck", None, To::Special),
    switch("oom-kill-disable", None, To::Switch("oom_kill_disable")),
    with("oom-score-adj", To::Number("oom_score_adj")),
    with("pid", To::Special),
    with("pids-limit", To::Number("pids_limit")),
    with("platform", To::Text("platform")),
    with(
        "pod",
        To::Lost("services of a stack share networks instead"),
    ),
    switch("privileged", None, To::Switch("privileged")),
    short("publish", 'p', To::Special),
    switch(
        "publish-all",
        Some('P'),
        To::Lost("name the ports in `ports`"),
    ),
    with("pull", To::Special),
    switch("quiet", Some('q'), CLIENT),
    switch("read-only", None, To::Switch("read_only")),
    switch("replace", None, CLIENT),
    with("requires", To::Special),
    with("restart", To::Text("restart")),
    switch(
        "rm",
        None,
        To::Lost("containers are removed by `stack down`"),
    ),
    with("runtime", To::Text("runtime")),
    with(
        "secret",
        To::Lost("define it in `secrets` and name it in the service"),
    ),
    with("security-opt", To::Item("security_opt")),
    with("shm-size", To::Text("shm_size")),
    switch("sig-proxy", None, CLIENT),
    with("stop-signal", To::Text("stop_signal")),
    with("stop-timeout", To::Special),
    with("storage-opt", To::Pair("storage_opt")),
    with("sysctl", To::Pair("sysctls")),
    switch("tls-verify", None, CLIENT),
    with("tmpfs", To::Item("tmpfs")),
    switch("tty", Some('t'), To::Switch("tty")),
    with("ulimit", To::Special),
    switch("use-api-socket", None, To::Switch("use_api_socket")),
    short("user", 'u', To::Text("user")),
    with("userns", To::Text("userns_mode")),
    with("uts", To::Text("uts")),
    short("volume", 'v', To::Special),
    with("volume-driver", To::Lost("only `local` volumes exist")),
    with("volumes-from", To::Item("volumes_from")),
    short("workdir", 'w', To::Text("working_dir")),
];
