//! The health check.

use stack_protocol::config::{Exec, HealthCheck, VmConfig};
use stack_protocol::message::{Command, Event, Health};

use crate::harness::{Machine, Vm, assets, service};

fn check(test: &[&str]) -> HealthCheck {
    HealthCheck {
        test: test.iter().map(|part| (*part).to_owned()).collect(),
        interval_ms: 200,
        timeout_ms: 5_000,
        retries: 2,
        start_period_ms: 0,
        start_interval_ms: 50,
    }
}

async fn health(vm: &mut Vm) -> (Health, u32, i32, String) {
    loop {
        if let Event::Health {
            health,
            failing_streak,
            code,
            output,
        } = vm.event().await
        {
            return (health, failing_streak, code, output);
        }
    }
}

#[tokio::test]
async fn healthy_unhealthy_and_back() {
    let Some(assets) = assets() else { return };
    let mut config = VmConfig {
        healthcheck: Some(check(&[
            "CMD-SHELL",
            "echo probed as $(id -un) $WHO; test ! -e /tmp/bad",
        ])),
        ..service("sleep 1000")
    };
    config.process.user = "web".to_owned();
    config.process.env = vec!["WHO=me".to_owned()];
    config.mounts = vec![stack_protocol::config::Mount {
        target: "/tmp".to_owned(),
        source: stack_protocol::config::MountSource::Tmpfs {
            size: None,
            mode: None,
            options: Vec::new(),
        },
        read_only: false,
        subpath: String::new(),
    }];
    let mut vm = Machine::new(assets).run(config).await;
    let said = "probed as web me\n".to_owned();
    assert_eq!(health(&mut vm).await, (Health::Healthy, 0, 0, said.clone()));
    vm.sh("touch /tmp/bad").await;
    assert_eq!(health(&mut vm).await, (Health::Healthy, 1, 1, said.clone()));
    assert_eq!(
        health(&mut vm).await,
        (Health::Unhealthy, 2, 1, said.clone())
    );
    assert_eq!(vm.connect(0).await.health, Health::Unhealthy);
    vm.sh("rm /tmp/bad").await;
    loop {
        let (now, ..) = health(&mut vm).await;
        if now == Health::Healthy {
            break;
        }
    }
    // A frozen service is not asked.
    vm.request(Command::Freeze { frozen: true }).await;
    assert!(
        vm.exec(Exec {
            args: vec!["true".to_owned()],
            ..Exec::default()
        })
        .await
        .is_err()
    );
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    vm.request(Command::Freeze { frozen: false }).await;
    assert_eq!(vm.connect(0).await.health, Health::Healthy);
    assert_eq!(vm.sh("echo thawed").await.0, "thawed\n");
}

#[tokio::test]
async fn probes_that_hang_or_are_missing_fail() {
    let Some(assets) = assets() else { return };
    let hang = HealthCheck {
        timeout_ms: 300,
        ..check(&["CMD", "sleep", "1000"])
    };
    let mut vm = Machine::new(assets)
        .run(VmConfig {
            healthcheck: Some(hang),
            ..service("sleep 1000")
        })
        .await;
    let (now, streak, code, output) = health(&mut vm).await;
    assert_eq!((now, streak, code), (Health::Starting, 1, -1));
    assert_eq!(output, "Health check exceeded timeout (300ms)");
    assert_eq!(health(&mut vm).await.0, Health::Unhealthy);
    let (left, _) = vm.sh("ps | grep -c '[s]leep 1000'").await;
    // The service's own and at most one probe that runs now.
    assert!(left.trim().parse::<u32>().unwrap() <= 2, "{left}");
    drop(vm);

    let missing = check(&["CMD", "no-such"]);
    let config = VmConfig {
        healthcheck: Some(missing),
        ..service("sleep 1000")
    };
    let mut vm = Machine::new(assets).run(config).await;
    let (_, _, code, output) = health(&mut vm).await;
    assert_eq!(code, 127);
    assert_eq!(
        output,
        "exec: \"no-such\": executable file not found in $PATH"
    );
}
