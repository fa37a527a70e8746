//! What a service may do inside its VM.

use stack_protocol::config::VmConfig;
use stack_protocol::log::Stream;

use crate::harness::{Machine, assets, service};

const SCRIPT: &str = "grep -E 'Cap(Prm|Bnd)' /proc/self/status | awk '{print $2}'; \
     mount -t tmpfs x /mnt 2>/dev/null && echo mounted; \
     echo 1 > /proc/sys/vm/drop_caches 2>/dev/null && echo wrote; \
     ls -a / | grep -c '^init$'; cat /proc/1/cgroup; ulimit -n; cat /proc/sys/net/core/somaxconn; \
     nproc";

#[tokio::test]
async fn docker_capabilities_and_protected_paths() {
    let Some(assets) = assets() else { return };
    let mut config = service(SCRIPT);
    config.process.rlimits = vec![("nofile".to_owned(), 1000, 2000)];
    config.sysctls = vec![("net.core.somaxconn".to_owned(), "777".to_owned())];
    let mut vm = Machine::new(assets).run(config).await;
    vm.exited().await;
    let lines = vm.lines(Stream::Stdout);
    let expected = [
        "00000000a80425fb",
        "00000000a80425fb",
        "0",
        "0::/",
        "1000",
        "777",
        "1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn privileged_may_do_everything() {
    let Some(assets) = assets() else { return };
    let mut config = VmConfig {
        privileged: true,
        ..service("")
    };
    config.process = stack_protocol::config::Exec {
        privileged: true,
        ..crate::harness::sh(
            "mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted; \
             echo 1 > /proc/sys/vm/drop_caches && echo wrote; ls /dev | grep -c -E '^(vd|vport)'; \
             ls /dev/fuse /dev/net/tun",
        )
    };
    let mut vm = Machine::new(assets).run(config).await;
    vm.exited().await;
    let lines = vm.lines(Stream::Stdout);
    assert_eq!(
        lines,
        ["mounted", "wrote", "0", "/dev/fuse", "/dev/net/tun"]
    );
}

#[tokio::test]
async fn a_bad_sysctl_or_user_is_an_error() {
    let Some(assets) = assets() else { return };
    let mut config = service("true");
    config.process.user = "nobody-here".to_owned();
    let vm = Machine::new(assets).boot().await;
    let outcome = vm.configure(config).await;
    let said = format!("{outcome:?}");
    assert!(said.contains("unable to find user nobody-here"), "{said}");
    drop(vm);

    let mut config = service("true");
    config.sysctls = vec![("no.such".to_owned(), "1".to_owned())];
    let vm = Machine::new(assets).boot().await;
    let said = format!("{:?}", vm.configure(config).await);
    assert!(said.contains("sysctl no.such=1"), "{said}");
}
