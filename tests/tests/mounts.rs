//! Mounts of each kind, and what becomes of volumes, on real VMs.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use stack_tests::{Home, Project};

fn inside(project: &Project<'_>, service: &str, script: &str) -> String {
    project
        .stack(&["exec", "-T", service, "sh", "-c", script])
        .ok()
}

const KINDS: &str = r#"services:
  box:
    image: busybox:1
    command: sleep 1000
    init: true
    read_only: true
    user: "33"
    stop_grace_period: 0s
    volumes:
      - copied:/etc
      - {type: volume, source: shared, target: /part, volume: {subpath: a/b}}
      - real:/real
      - memory:/memory
      - {type: tmpfs, target: /long, tmpfs: {size: 2m, mode: 0o1770}}
      - ./host:/host
      - ./one:/one:ro
      - given:/given
      - sticky:/tmp
      - tools:/usr/sbin:ro
      - {type: image, source: 'nginx:1', target: /other, image: {subpath: etc/nginx}}
      - {type: image, source: 'busybox:1', target: /busybox-other, image: {subpath: bin/busybox}}
    configs:
      - {source: written, target: /conf/written}
      - {source: file, target: /conf/file, uid: "33", gid: "34", mode: 0o400}
      - {source: variable, target: /conf/variable}
    secrets: [file, {source: variable, target: /memory/variable, mode: 0o444}]
  empty:
    image: busybox:1
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    volumes:
      - {type: volume, source: bare, target: /etc, volume: {nocopy: true}}
      - shared:/all
volumes:
  copied: {}
  bare: {}
  shared: {}
  sticky: {}
  tools: {}
  real: {driver: local, driver_opts: {type: none, o: bind, device: ./real}}
  memory: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=3m,mode=711"}}
  given: {external: true, name: mine}
configs:
  written: {content: "a ${WORD}"}
  file: {file: ./one}
  variable: {environment: WORD}
secrets:
  file: {file: ./key}
  variable: {environment: KEY}
"#;

#[test]
fn mounts_are_as_they_were_asked_for() {
    let home = Home::new();
    let key = "a-very-secret-9c2f";
    let project = home.project("kinds", KINDS).env("WORD", "word");
    let project = project.env("KEY", key);
    let at = |name: &str| project.dir().join(name);
    for dir in ["host", "real"] {
        std::fs::create_dir(at(dir)).unwrap();
    }
    std::fs::write(at("one"), "single").unwrap();
    std::fs::write(at("key"), format!("f-{key}")).unwrap();
    let _listener = UnixListener::bind(at("host/theirs")).unwrap();
    let missing = project.stack(&["up", "-d"]).fails();
    missing.says("mine").says("volume create");
    project.stack(&["volume", "create", "mine"]).ok();
    // Part of a volume is made when it is not there.
    project.stack(&["up", "-d"]).ok();
    inside(
        &project,
        "empty",
        "echo a-part-of-it > /all/a/b/f; chmod 777 /all/a/b",
    );

    let script = r"
        cat /etc/passwd | head -n 1; cat /part/f; echo more > /part/g && echo wrote
        echo host > /real/f && cat /real/f; df -k /memory /long | awk 'NR>1 {print $2}'
        stat -c %a /memory /long; touch /one /x 2>&1; cat /one; echo
        for f in written file variable; do cat /conf/$f; stat -c ' %a %u:%g' /conf/$f; done
        cat /run/secrets/file /memory/variable; echo
        stat -f -c %T /run/secrets/file /memory/variable
        stat -c %F /host/theirs
        stat -c %a /tmp; touch /usr/sbin/new 2>&1
        test $(stat -c %h /usr/sbin/chroot) -gt 1 && echo linked
        head -n 1 /other/nginx.conf; touch /other/x 2>&1; /busybox-other echo tool
    ";
    let said = inside(&project, "box", script);
    let wanted = [
        "root:x:0:0:root:/root:/bin/sh",
        "a-part-of-it",
        "wrote",
        "host",
        "3072",
        "2048",
        "711",
        "1770",
        "touch: /one: Read-only file system",
        "touch: /x: Read-only file system",
        "single",
        "a word 444 0:0",
        "single 400 33:34",
        "word 444 0:0",
        &format!("f-{key}{key}"),
        "tmpfs",
        "tmpfs",
        "socket",
        // What the image has there: nothing but a mode, and names of one file.
        "1755",
        "touch: /usr/sbin/new: Read-only file system",
        "linked",
        "user www-data;",
        "touch: /other/x: Read-only file system",
        "tool",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted, "{said}");
    let bare = inside(&project, "empty", "ls /etc; sync; cat /all/a/b/g");
    assert!(
        !bare.contains("passwd") && bare.ends_with("more\n"),
        "{bare}"
    );
    project
        .stack(&["exec", "-T", "-u", "0", "box", "touch", "/given/f"])
        .ok();
    // The host sees its own files, and they are the user's.
    assert_eq!(std::fs::read_to_string(at("real/f")).unwrap(), "host\n");
    let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&at("real/f")), owner(project.dir()));
    assert!(
        std::fs::metadata(at("host/theirs"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    // What is mounted in a volume, or in the container, is not taken out with it.
    let copied = project
        .shell("$STACK volume export copied > v.tar; tar -xOf v.tar hosts; tar -xOf v.tar passwd")
        .ok();
    assert!(copied.starts_with("root:x:0:0"), "{copied}");
    let export = "$STACK export box > e.tar; tar -xOf e.tar conf/file; tar -xOf e.tar one; \
                  tar -xOf e.tar run/secrets/file; tar -xOf e.tar etc/hosts; tar -tf e.tar one";
    assert_eq!(project.shell(export).ok(), "one\n");
    // Secrets are on no disk of a machine.
    inside(&project, "box", "sync");
    // With tar, which does not read the holes.
    let data = home.dir().join("home/data");
    let search = |text: &str| {
        let tar = format!("tar -cSf - -C {} disks volumes", data.display());
        project.shell(&format!("{tar} | grep -qaF -- '{text}'"))
    };
    search("a-part-of-it").ok();
    search(key).fails();

    project.stack(&["down", "-v"]).ok();
    assert_eq!(project.stack(&["volume", "ls", "-q"]).ok(), "mine\n");
    assert!(at("real/f").exists(), "the user's own files stay");
    project.stack(&["volume", "rm", "mine"]).ok();
}

#[test]
fn volumes_without_a_name_go_with_their_container() {
    let home = Home::new();
    let file = "services:\n  box:\n    image: busybox:1\n    command: sleep 1000\n    init: true\n    \
                stop_grace_period: 0s\n    volumes: [ /data ]\n    environment: { N: '${N}' }\n";
    let project = home.project("nameless", file).env("N", "1");
    let names = || project.stack(&["volume", "ls", "-q"]).ok();
    project.stack(&["up", "-d"]).ok();
    inside(&project, "box", "echo kept > /data/f; sync");
    let first = names();
    assert_eq!(first.lines().count(), 1, "{first}");
    // A new container has the old one's.
    project.stack(&["up", "-d", "--force-recreate"]).ok();
    assert_eq!(inside(&project, "box", "cat /data/f"), "kept\n");
    assert_eq!(names(), first);
    // Unless a new one is asked for.
    project.stack(&["up", "-d", "--force-recreate", "-V"]).ok();
    assert_eq!(
        inside(&project, "box", "ls -A /data | grep -vx lost+found; true"),
        ""
    );
    assert_ne!(names(), first);
    assert_eq!(names().lines().count(), 1);
    project.stack(&["rm", "--stop", "--force"]).ok();
    assert_eq!(names().lines().count(), 1);
    project.stack(&["volume", "prune", "--force"]).ok();
    assert_eq!(names(), "");
    project.stack(&["up", "-d"]).ok();
    project.stack(&["rm", "--stop", "--force", "-v"]).ok();
    assert_eq!(names(), "");
    project.stack(&["up", "-d"]).ok();
    project.stack(&["down", "-v"]).ok();
    assert_eq!(names(), "");
}

const NFS: &str = r#"services:
  server:
    image: nfs:4
    cap_add: [DAC_READ_SEARCH, SYS_RESOURCE]
    stop_grace_period: 0s
    volumes: [exported:/srv/nfs]
    healthcheck: {test: [CMD, bash, -c, "</dev/tcp/127.0.0.1/2049"], interval: 1s}
  web:
    image: busybox:1
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    depends_on: {server: {condition: service_healthy}}
    volumes:
      - remote:/all
      - {type: volume, source: remote, target: /part, volume: {subpath: sub, nocopy: true}}
      - look:/look
  none:
    image: busybox:1
    profiles: [none]
    command: sleep 1000
    volumes: [none:/none]
volumes:
  exported: {}
  remote: {driver_opts: {type: nfs, o: "addr=server,rw,nfsvers=4.1,soft", device: ":/data"}}
  look: {driver_opts: {type: nfs, o: "addr=server,ro", device: ":/data"}}
  none: {driver_opts: {type: nfs4, o: addr=server, device: ":/none"}}
"#;

#[test]
fn a_volume_is_a_directory_of_an_nfs_server() {
    let home = Home::new();
    let project = home.project("remote", NFS);
    project.stack(&["up", "-d", "server", "--wait"]).ok();
    inside(&project, "server", "mkdir -m 777 /srv/nfs/sub");
    project.stack(&["up", "-d"]).ok();
    let script = "
        touch /look/x 2>&1; echo web > /part/f; chown 33:34 /part/f; cat /all/sub/f /look/sub/f
        awk '$3 == \"nfs4\" {print $2, substr($4, 1, 2)}' /etc/mtab
    ";
    let said = inside(&project, "web", script);
    assert_eq!(
        said,
        "touch: /look/x: Read-only file system\nweb\nweb\n/all rw\n/part rw\n/look ro\n"
    );
    let said = inside(
        &project,
        "server",
        "stat -c %u:%g /srv/nfs/sub/f; cat /srv/nfs/sub/f",
    );
    assert_eq!(said, "33:34\nweb\n");
    let failed = project.stack(&["up", "-d", "none"]).fails();
    failed.says("NFS server server: it has no directory /none");
}
