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
    tmpfs: ["/scratch:size=4m,mode=700", "/tmp:mode=1777", /root, /other]
    working_dir: /root
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
    ulimits: {nofile: 2000000}
    network_mode: none
    storage_opt: {size: 1G}
    userns_mode: host
    label_file: own.labels
configs:
  conf: {content: "a=b"}
secrets:
  word: {environment: WORD}
"#;

#[test]
fn what_a_service_asks_for_is_so_in_its_machine() {
    let home = Home::new();
    let project = home.project("attributes", FILE).env("WORD", "sesame");
    std::fs::write(project.dir().join("own.labels"), "team=red\n").expect("a file");
    let up = project.stack(&["up", "-d", "--wait"]);
    let told = "`services.big.userns_mode` has no effect";
    assert!(up.stderr.contains(told), "{up}");
    assert_eq!(up.stderr.matches("no effect:").count(), 1, "{up}");
    up.ok();
    let script = r"
        hostname; cat /proc/sys/kernel/domainname; id -u; id -G
        grep -E 'CapBnd|NoNewPrivs' /proc/1/status
        cat /proc/sys/net/core/somaxconn /proc/sys/vm/max_map_count
        ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/1/oom_score_adj
        cd /sys/fs/cgroup; cat memory.max cpu.max pids.max
        touch /x 2>&1; df -k /dev/shm /scratch | awk 'NR>1 {print $2}'
        stat -c %a /scratch /root /other; touch /tmp/x && echo written
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
        "700",
        "1777",
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
    // 1 GiB, less what the file system needs itself.
    let script = "df -k / | awk 'NR>1 {print ($2 > 950000 && $2 <= 1048576)}'";
    let said = project.stack(&["exec", "-T", "big", "sh", "-c", script]);
    assert_eq!(said.ok(), "1\n");
    // More open files than the kernel grants by itself, and a file of name servers
    // of its own, for networks that it joins later.
    let script = "ulimit -Hn; grep -c ' /etc/resolv.conf ' /proc/mounts; cd /proc/sys; \
                  cat vm/max_map_count fs/inotify/max_user_watches";
    let said = project.stack(&["exec", "-T", "big", "sh", "-c", script]);
    assert_eq!(said.ok(), "2000000\n1\n1048576\n524288\n");
    assert!(project.field("big", "Labels").contains("team=red"));
    // Nobody will ever read what a detached command writes, which harms it not.
    let script = "readlink /proc/self/fd/2 > /mnt/out; mv /mnt/out /mnt/told";
    project
        .stack(&["exec", "-d", "big", "sh", "-c", script])
        .ok();
    let script = "until [ -e /mnt/told ]; do sleep 0.1; done; cat /mnt/told";
    let told = project.stack(&["exec", "-T", "big", "sh", "-c", script]);
    assert_eq!(told.ok(), "/dev/null\n");
    let users = ["4294967295", "2147483648"];
    for user in users {
        let said = project.stack(&["exec", "-T", "-u", user, "big", "id"]);
        said.fails().says("is not a number from 0 to 2147483647");
    }
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

#[test]
fn system_calls_processors_and_disks_are_limited() {
    let home = Home::new();
    let file = r#"services:
  box:
    image: busybox:1
    command: sleep 1000
    stop_grace_period: 0s
    security_opt: ["seccomp=profile.json"]
    cpuset: "0"
    blkio_config:
      device_write_bps: [{path: /dev/sda, rate: 4m}]
    annotations: {note: "is kept"}
  user:
    image: busybox:1
    command: sleep 1000
    stop_grace_period: 0s
    user: "33"
    security_opt: ["seccomp:profile.json", "no-new-privileges"]
    volumes: [{type: volume, target: /anonymous, read_only: true}]
    devices: [/dev/kmsg]
"#;
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30},
        {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO",
         "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_EQ"}]}]}"#;
    let project = home.project("limits", file);
    std::fs::write(project.dir().join("profile.json"), profile).expect("a profile");
    let up = project.stack(&["up", "-d", "--wait"]);
    assert!(!up.stderr.contains("no effect"), "{up}");
    up.ok();
    for service in ["box", "user"] {
        let script = "mkdir /tmp/x; mkdir /tmp/y || echo refused; hostname other; echo $?; \
                      grep -E '^Seccomp:' /proc/1/status";
        let said = project.stack(&["exec", "-T", service, "sh", "-c", script]);
        assert!(said.stderr.contains("Read-only file system"), "{said}");
        assert!(said.stdout.starts_with("refused\n159\n"), "{said}");
        assert!(said.stdout.ends_with("Seccomp:\t2\n"), "{said}");
    }
    // Not root, and yet at a port below 1024, as with Docker.
    let script = "(nc -l -p 80 & sleep 0.5; netstat -ltn; kill $!); ls /dev/kmsg; \
                  cat /proc/sys/net/ipv4/ping_group_range; touch /anonymous/x || echo refused";
    let said = project.stack(&["exec", "-T", "user", "sh", "-c", script]);
    assert!(said.stdout.contains(":80 "), "{said}");
    assert!(
        said.stdout.ends_with("/dev/kmsg\n0\t2147483647\nrefused\n"),
        "{said}"
    );
    assert!(said.stderr.contains("Read-only file system"), "{said}");
    let container = project.container("box");
    assert_eq!(container["Annotations"]["note"], "is kept");
    let pid = container["Pid"].as_u64().expect("the VM's process");
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status"));
    let status = status.expect("the VM runs");
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");

    let script = "dd if=/dev/zero of=/big bs=1M count=16 conv=fsync 2>/dev/null";
    let began = std::time::Instant::now();
    project
        .stack(&["exec", "-T", "box", "sh", "-c", script])
        .ok();
    let took = began.elapsed().as_secs_f64();
    assert!(took > 2.0, "16 MiB at 4 MiB a second in {took} s");

    // Another profile makes other containers.
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#;
    std::fs::write(project.dir().join("profile.json"), profile).expect("a profile");
    let plan = project.stack(&["plan"]).ok();
    assert!(plan.contains("seccomp: profile"), "{plan}");
    std::fs::write(project.dir().join("profile.json"), "{}").expect("a profile");
    let refused = project.stack(&["up", "-d"]);
    assert_eq!(refused.code, Some(15), "{refused}");
    assert!(refused.stderr.contains("profile.json"), "{refused}");
}

#[test]
fn processors_that_are_not_there_are_refused() {
    let home = Home::new();
    let file = "services: {box: {image: 'busybox:1', command: sleep 9, cpuset: '4000'}}";
    let project = home.project("cpuset", file);
    let up = project.stack(&["up", "-d"]);
    assert_ne!(up.code, Some(0), "{up}");
    assert!(up.stderr.contains("processor 4000"), "{up}");
}
