//! The conversation: cut, taken up again, by the same host or another.

use std::time::Duration;

use stack_protocol::log::Stream;
use stack_protocol::message::{Command, Outcome};

use crate::harness::{Machine, assets, service, sh};

#[tokio::test]
async fn no_line_is_lost_or_doubled() {
    let Some(assets) = assets() else { return };
    let script = "n=0; while [ $n -lt 3000 ]; do echo line $n; n=$((n+1)); done; exit 2";
    let mut vm = Machine::new(assets).run(service(script)).await;
    let mut cuts = 0;
    while vm.logs.len() < 3000 {
        let more = (vm.logs.len() + 400).min(3000);
        vm.logged(more).await;
        vm.disconnect();
        tokio::time::sleep(Duration::from_millis(20 * (cuts % 3))).await;
        let last = vm.logs.last().map_or(0, |record| record.sequence);
        assert!(vm.connect(last).await.configured);
        cuts += 1;
    }
    assert!(cuts > 5);
    // The exit is told in every conversation, behind the output.
    assert_eq!(vm.exited().await.code, 2);
    let hello = vm.connect(3000).await;
    assert_eq!(hello.exit.map(|exit| exit.code), Some(2));
    assert_eq!(vm.exited().await.code, 2);
    let expected: Vec<String> = (0..3000).map(|n| format!("line {n}")).collect();
    assert_eq!(vm.lines(Stream::Stdout), expected);
    vm.shutdown().await;
}

#[tokio::test]
async fn a_service_whose_output_nobody_takes_waits() {
    let Some(assets) = assets() else { return };
    // 10 MB: more than the agent keeps.
    let script = "yes 0123456789012345678901234567890123456789012345678 | head -n 200000; echo end";
    let mut vm = Machine::new(assets).run(service(script)).await;
    vm.disconnect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let hello = vm.connect(0).await;
    assert!(hello.exit.is_none(), "it did not wait");
    assert_eq!(vm.exited().await.code, 0);
    // Half a line is told as such when its rest does not come at once.
    let whole = vm.logs.iter().filter(|record| !record.partial);
    assert_eq!(whole.count(), 200_001);
    assert_eq!(
        vm.logs.last().map(|record| &record.data[..]),
        Some(&b"end"[..])
    );
    assert!(
        vm.logs
            .windows(2)
            .all(|pair| pair[0].sequence + 1 == pair[1].sequence)
    );
}

#[tokio::test]
async fn an_exec_session_ends_with_its_conversation() {
    let Some(assets) = assets() else { return };
    let mut vm = Machine::new(assets).run(service("sleep 1000")).await;
    let exec = stack_protocol::config::Exec {
        tty: true,
        stdin: true,
        ..sh("exec sleep 777")
    };
    let session = vm.exec(exec).await.unwrap();
    assert_eq!(vm.sh("ps | grep -c '[s]leep 777'").await.0, "1\n");
    drop(session);
    vm.connect(0).await;
    // The terminal is gone, and what ran on it got SIGHUP.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(vm.sh("ps | grep -c '[s]leep 777'").await.0, "0\n");
}

#[tokio::test]
async fn a_host_that_dies_in_the_middle_of_a_frame() {
    use std::io::Write;
    let Some(assets) = assets() else { return };
    let mut vm = Machine::new(assets).run(service("sleep 1000")).await;
    for pause in [0, 0, 30] {
        vm.disconnect();
        tokio::task::yield_now().await;
        let socket = vm.socket().to_path_buf();
        let mut raw = loop {
            if let Ok(raw) = std::os::unix::net::UnixStream::connect(&socket) {
                break raw;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        raw.write_all(&stack_protocol::frame::Preamble::bytes(*b"12345678"))
            .unwrap();
        let frame = stack_protocol::frame::Frame::data(1, 0, vec![0; 500_000]).to_bytes();
        raw.write_all(&frame[..20_000]).unwrap();
        drop(raw);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let start = std::time::Instant::now();
        assert!(vm.connect(0).await.configured);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
    }
    assert_eq!(vm.sh("echo fine").await.0, "fine\n");
}

#[tokio::test]
async fn counters() {
    let Some(assets) = assets() else { return };
    let vm = Machine::new(assets)
        .run(service("cat /bin/busybox > /tmp/x; sleep 1000"))
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let Outcome::Stats(stats) = vm.request(Command::Stats).await else {
        panic!("no counters")
    };
    assert!(
        stats.cpu_usec > 0 && stats.pids >= 1 && stats.read_bytes > 0,
        "{stats:?}"
    );
    assert!(
        stats.memory_total > 200 << 20 && stats.memory_available > 100 << 20,
        "{stats:?}"
    );
    assert!(
        stats.memory_bytes > 0 && stats.memory_bytes < 64 << 20,
        "{stats:?}"
    );
}
