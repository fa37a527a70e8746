//! The service's main process: output, exit, signals, limits.

use stack_protocol::config::{Exec, VmConfig};
use stack_protocol::log::Stream;
use stack_protocol::message::{Command, Event, Exit, Outcome};

use crate::harness::{Machine, assets, service, sh};

#[tokio::test]
async fn output_is_numbered_stamped_and_told_apart() {
    let Some(assets) = assets() else { return };
    let script = "echo one; echo error >&2; sleep 0.1; echo two; printf rest; exit 7";
    let mut vm = Machine::new(assets).run(service(script)).await;
    assert!(matches!(vm.event().await, Event::Started { .. }));
    let exit = vm.exited().await;
    assert_eq!(
        exit,
        Exit {
            code: 7,
            ..Exit::default()
        }
    );
    assert_eq!(vm.lines(Stream::Stdout), ["one", "two", "rest"]);
    assert_eq!(vm.lines(Stream::Stderr), ["error"]);
    let sequences: Vec<u64> = vm.logs.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    let times: Vec<u64> = vm.logs.iter().map(|record| record.time_ns).collect();
    assert!(
        times.is_sorted() && times[3] - times[0] >= 100_000_000,
        "{times:?}"
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let behind = now.as_nanos() as u64 - times[3];
    assert!(behind < 60_000_000_000, "the clock is {behind} ns behind");
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why() {
    let Some(assets) = assets() else { return };
    let cases = [
        (
            "no-such",
            127,
            "exec: \"no-such\": executable file not found in $PATH",
        ),
        (
            "/no/such",
            127,
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        (
            "/etc/not-a-program",
            126,
            "exec: \"/etc/not-a-program\": permission denied",
        ),
    ];
    let mut vm = Machine::new(assets).run(service("sleep 1000")).await;
    for (program, code, message) in cases {
        let exec = Exec {
            args: vec![program.to_owned()],
            ..Exec::default()
        };
        match vm.exec(exec).await.unwrap_err() {
            stack_vmm::Error::Guest {
                message: said,
                code: was,
            } => {
                assert_eq!((said.as_str(), was), (message, code));
            }
            other => panic!("{other:?}"),
        }
    }
    vm.request(Command::Stop {
        signal: libc::SIGKILL,
        grace_ms: 0,
    })
    .await;
    let exit = vm.exited().await;
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
    // There is nothing left to start it beside.
    assert!(vm.exec(sh("true")).await.is_err());
    drop(vm);

    // The same for the service itself, with and without a first process.
    for init in [false, true] {
        let process = Exec {
            args: vec!["no-such".to_owned()],
            ..Exec::default()
        };
        let vm = Machine::new(assets).boot().await;
        let config = VmConfig {
            process,
            init,
            ..service("")
        };
        let expected = Outcome::Error {
            message: cases[0].2.to_owned(),
            code: 127,
        };
        assert_eq!(vm.configure(config.clone()).await, expected);
        assert_eq!(vm.configure(config).await, expected);
    }
}

#[tokio::test]
async fn a_configuration_that_does_not_work_says_why() {
    let Some(assets) = assets() else { return };
    let vm = Machine::new(assets).boot().await;
    let mut config = service("true");
    config.root.layers = vec!["missing".to_owned()];
    let Outcome::Error { message, code } = vm.configure(config).await else {
        panic!("it worked")
    };
    assert_eq!(
        message,
        "root file system: no disk has the serial number missing"
    );
    assert_eq!(code, 128);
    let Outcome::Error { message, .. } = vm
        .request(Command::Stop {
            signal: 15,
            grace_ms: 0,
        })
        .await
    else {
        panic!("nothing runs")
    };
    assert_eq!(message, "the service is not running");
    vm.shutdown().await;
}

#[tokio::test]
async fn stop_is_a_signal_and_then_the_end() {
    let Some(assets) = assets() else { return };
    // It ends by itself: the handler's code counts, long before the grace
    // period is over.
    let trap = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut vm = Machine::new(assets).run(service(trap)).await;
    vm.logged(1).await;
    let start = std::time::Instant::now();
    vm.request(Command::Stop {
        signal: libc::SIGTERM,
        grace_ms: 30_000,
    })
    .await;
    let exit = vm.exited().await;
    assert_eq!((exit.code, exit.signal), (3, None));
    assert_eq!(vm.lines(Stream::Stdout), ["ready", "bye"]);
    assert!(start.elapsed().as_secs() < 10);
    drop(vm);

    // It does not listen, and neither does its child.
    let deaf = "trap '' TERM; (trap '' TERM; sleep 1000) & echo ready; while :; do sleep 1; done";
    let mut vm = Machine::new(assets).run(service(deaf)).await;
    vm.logged(1).await;
    let start = std::time::Instant::now();
    vm.request(Command::Stop {
        signal: libc::SIGTERM,
        grace_ms: 700,
    })
    .await;
    let exit = vm.exited().await;
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
    assert!(start.elapsed().as_millis() >= 700, "{:?}", start.elapsed());
}

#[tokio::test]
async fn init_reaps_and_passes_signals_on() {
    let Some(assets) = assets() else { return };
    let script = "trap 'exit 9' USR1; (sleep 0.1 & exit) ; echo $$; while :; do sleep 0.05; done";
    let config = VmConfig {
        init: true,
        ..service(script)
    };
    let mut vm = Machine::new(assets).run(config).await;
    vm.logged(1).await;
    // The first process is the small init, the service's comes second.
    assert_eq!(vm.lines(Stream::Stdout), ["2"]);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (processes, _) = vm.sh("ps -o pid,stat,args").await;
    assert!(!processes.contains(" Z"), "{processes}");
    let (fds, _) = vm.sh("ls /proc/1/fd | wc -l").await;
    assert_eq!(fds.trim(), "3");
    vm.request(Command::Signal {
        session: 0,
        signal: libc::SIGUSR1,
    })
    .await;
    assert_eq!(vm.exited().await.code, 9);
}

#[tokio::test]
async fn out_of_memory_is_told() {
    let Some(assets) = assets() else { return };
    let script = "sleep 0.2; tail /dev/zero; echo survived; sleep 0.2; exec tail /dev/zero";
    let config = VmConfig {
        memory_limit: Some(32 << 20),
        ..service(script)
    };
    let mut vm = Machine::new(assets).run(config).await;
    let mut told = 0;
    let exit = loop {
        match vm.event().await {
            Event::OutOfMemory => told += 1,
            Event::Exited(exit) => break exit,
            Event::Started { .. } | Event::Health { .. } | Event::ExecExited { .. } => {}
        }
    };
    assert_eq!(vm.lines(Stream::Stdout), ["survived"]);
    assert_eq!(told, 2);
    assert_eq!(
        (exit.code, exit.signal, exit.oom),
        (137, Some(libc::SIGKILL), true)
    );
}

#[tokio::test]
async fn a_service_with_a_terminal_and_input() {
    let Some(assets) = assets() else { return };
    let mut config =
        service("trap 'stty size; exit' WINCH; tty; stty size; while :; do sleep 0.05; done");
    config.process = Exec {
        tty: true,
        size: Some((30, 100)),
        ..config.process
    };
    let mut vm = Machine::new(assets).run(config).await;
    vm.logged(2).await;
    vm.request(Command::Resize {
        session: 0,
        rows: 40,
        columns: 120,
    })
    .await;
    assert_eq!(vm.exited().await.code, 0);
    let lines = vm.lines(Stream::Stdout);
    assert!(lines[0].starts_with("/dev/pts/"), "{lines:?}");
    assert_eq!(lines[1..], ["30 100\r", "40 120\r"]);
}

#[tokio::test]
async fn the_service_reads_its_input() {
    let Some(assets) = assets() else { return };
    let mut config = service("while read -r line; do echo got $line; done; echo end");
    config.process.stdin = true;
    let mut vm = Machine::new(assets).run(config).await;
    let input = vm.agent().service_input();
    input.write(b"one\ntwo\n".to_vec()).await;
    vm.logged(2).await;
    input.write(Vec::new()).await;
    assert_eq!(vm.exited().await.code, 0);
    assert_eq!(vm.lines(Stream::Stdout), ["got one", "got two", "end"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let Some(assets) = assets() else { return };
    let vm = Machine::new(assets).boot().await;
    let file = |bytes: usize| stack_protocol::config::File {
        path: "/run/big".to_owned(),
        content: vec![1; bytes],
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let mut config = service("wc -c < /run/big");
    config.files = vec![file(20 << 20)];
    let command = Command::Configure(Box::new(config.clone()));
    let error = vm.agent().request(command).await.unwrap_err();
    assert!(
        matches!(error, stack_vmm::Error::TooLarge { .. }),
        "{error}"
    );
    let mut vm = vm;
    config.files = vec![file(5 << 20)];
    assert_eq!(vm.configure(config).await, Outcome::Ok);
    vm.exited().await;
    assert_eq!(vm.lines(Stream::Stdout), [(5 << 20).to_string()]);
}

#[tokio::test]
async fn a_user_may_open_its_own_streams() {
    let Some(assets) = assets() else {
        return;
    };
    let mut config = service("echo out > /dev/stdout; echo err > /dev/stderr; id -un");
    config.process.user = "web".to_owned();
    let mut vm = Machine::new(assets).run(config).await;
    assert_eq!(vm.exited().await.code, 0);
    assert_eq!(vm.lines(Stream::Stdout), ["out", "web"]);
    assert_eq!(vm.lines(Stream::Stderr), ["err"]);
}
