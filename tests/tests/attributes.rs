//! Attributes of a service and what they do in its VM: one VM, many checks.

use stack_tests::Home;

const FILE: &str = r#"services:
  box:
    image: busybox:1
    command: sh -c 'trap "exit 42" USR1; while true; do sleep 0.1; done'
    hostname: host
    domainname: example.test
    user: "33"
    group_add: [daemon, "4711"]
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, CAP_CHOWN]
    security_opt: ["no-new-privileges:true"]
    sysctls:
      net.core.somaxconn: 321
      vm.max_map_count: 262144
    ulimits:
      nofile: {soft: 321, hard: 654}
      core: 0
    oom_score_adj: 123
    mem_limit: 100m
    cpus: 0.5
    pids_limit: 55
    shm_size: 8m
    read_only: true
    tmpfs: ["/scratch:size=4m,mode=700", /tmp]
    stop_signal: USR1
    devices: ["/dev/fuse"]
    extra_hosts: ["db.local:10.9.8.7"]
    dns_search: [example.test]
    ipc: private
    privileged: false
    init: false
    configs:
      - {source: conf, target: /etc/app.conf, mode: 0440, uid: "33"}
    secrets:
      - {source: word, target: word, mode: 0400, uid: "33", gid: "33"}
    labels: {team: blue}
    annotations: {note: "is kept"}
  big:
    image: busybox:1
    command: sleep 1000
    init: true
    privileged: true
    stop_grace_period: 1s
configs:
  conf: {content: "a=b"}
secrets:
  word: {environment: WORD}
"#;

#[test]
fn what_a_service_asks_for_is_so_in_its_machine() {
    let home = Home::new();
    let project = home.project("attributes", FILE).env("WORD", "sesame");
    let up = project.stack(&["up", "-d", "--wait"]);
    assert!(!up.stderr.contains("no effect"), "{up}");
    up.ok();
    let script = r"
        hostname; cat /proc/sys/kernel/domainname; id -u; id -G
        grep -E 'CapBnd|NoNewPrivs' /proc/1/status
        cat /proc/sys/net/core/somaxconn /proc/sys/vm/max_map_count
        ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/1/oom_score_adj
        cd /sys/fs/cgroup; cat memory.max cpu.max pids.max
        touch /x 2>&1; df -k /dev/shm /scratch | awk 'NR>1 {print $2}'
        stat -c %a /scratch; touch /tmp/x && echo written
        cat /etc/app.conf; echo; stat -c '%a %u' /etc/app.conf
        cat /run/secrets/word; echo; stat -c '%a %u:%g' /run/secrets/word
        stat -f -c %T /run/secrets/word; ls /dev/fuse; grep db.local /etc/hosts
    ";
    let said = project.stack(&["exec", "-T", "box", "sh", "-c", script]);
    let wanted = [
        "host",
        "example.test",
        "33",
        "33 1 4711",
        "CapBnd:\t0000000000000401",
        "NoNewPrivs:\t1",
        "321",
        "262144",
        "321",
        "654",
        "0",
        "123",
        "104857600",
        "50000 100000",
        "55",
        "touch: /x: Read-only file system",
        "8192",
        "4096",
        "700",
        "written",
        "a=b",
        "440 33",
        "sesame",
        "400 33:33",
        "tmpfs",
        "/dev/fuse",
        "10.9.8.7\tdb.local",
    ];
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines, wanted, "{said}");

    // A privileged one may do all in its own kernel, and harms nobody.
    let script = "grep CapBnd /proc/1/status; mount -t tmpfs none /mnt && echo mounted; \
                  echo 1 > /proc/sys/vm/drop_caches && echo dropped";
    project.stack(&["exec", "-T", "big", "mkdir", "/mnt"]).ok();
    let said = project
        .stack(&["exec", "-T", "big", "sh", "-c", script])
        .ok();
    assert_eq!(said, "CapBnd:\t000001ffffffffff\nmounted\ndropped\n");
    assert!(
        project.container("box")["Labels"]
            .as_str()
            .unwrap_or_default()
            .contains("team=blue")
    );

    project.stack(&["stop", "box"]).ok();
    assert_eq!(
        project.container("box")["ExitCode"],
        42,
        "the stop signal was caught"
    );
}
