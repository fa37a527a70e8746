//! Exec sessions.

use std::time::{Duration, Instant};

use stack_protocol::config::Exec;
use stack_vmm::ExecSession;

use crate::harness::{LIMIT, Machine, assets, output, service, sh};

#[tokio::test]
async fn streams_input_and_exit_code() {
    let Some(assets) = assets() else { return };
    let vm = Machine::new(assets).run(service("sleep 1000")).await;
    assert_eq!(vm.sh("echo out; exit 5").await, ("out\n".to_owned(), 5));

    let mut session = vm
        .exec(sh("echo out; echo err >&2; kill -9 $$"))
        .await
        .unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((stream, data)) = session.output.recv().await {
        if stream == 1 { &mut out } else { &mut err }.extend(data);
    }
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let exit = session.exit().await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));

    // More than all windows and pipes together goes through and comes back.
    let data: Vec<u8> = (0..3_000_000u32)
        .flat_map(|n| (n as u16).to_le_bytes())
        .collect();
    let session = vm
        .exec(Exec {
            stdin: true,
            ..sh("cat")
        })
        .await
        .unwrap();
    let (back, code) = through(session, data.clone()).await;
    assert_eq!((back == data, back.len(), code), (true, data.len(), 0));

    // Input that nobody reads does not hang whoever writes it.
    let session = vm
        .exec(Exec {
            stdin: true,
            ..sh("exec 0<&-; sleep 0.2; exit 4")
        })
        .await
        .unwrap();
    let (back, code) = through(session, data).await;
    assert_eq!((back.len(), code), (0, 4));

    // What is left in the background does not hold the session.
    let start = Instant::now();
    assert_eq!(
        vm.sh("sleep 20 & echo done").await,
        ("done\n".to_owned(), 0)
    );
    assert!(start.elapsed() < Duration::from_secs(10));

    // A slow reader gets everything, in order, long after the end.
    let mut session = vm.exec(sh("seq 1 200000")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (text, code) = output(&mut session).await;
    assert_eq!(
        (text.lines().count(), text.lines().last(), code),
        (200_000, Some("200000"), 0)
    );
    vm.shutdown().await;
}

async fn through(mut session: ExecSession, data: Vec<u8>) -> (Vec<u8>, i32) {
    let input = session.input();
    let writing = tokio::spawn(async move {
        input.write(data).await;
        input.write(Vec::new()).await;
    });
    let all = async {
        let mut back = Vec::new();
        while let Some((_, data)) = session.output.recv().await {
            back.extend(data);
        }
        writing.await.expect("the writer ends");
        (back, session.exit().await.code)
    };
    tokio::time::timeout(LIMIT, all)
        .await
        .expect("the session ends")
}

#[tokio::test]
async fn terminal_resize_and_signals() {
    let Some(assets) = assets() else { return };
    let vm = Machine::new(assets).run(service("sleep 1000")).await;
    let script =
        "trap 'stty size; exit 6' WINCH; stty size; echo ready; while :; do sleep 0.05; done";
    let exec = Exec {
        tty: true,
        stdin: true,
        size: Some((24, 80)),
        ..sh(script)
    };
    let mut session = vm.exec(exec).await.unwrap();
    until(&mut session, "ready").await;
    session.resize(50, 132).await;
    let (text, code) = output(&mut session).await;
    assert_eq!((text.trim(), code), ("50 132", 6));

    // Keys are signals; the terminal's echo comes back.
    let exec = Exec {
        tty: true,
        stdin: true,
        ..sh("trap 'echo int; exit 8' INT; cat")
    };
    let mut session = vm.exec(exec).await.unwrap();
    session.write(b"hello\n".to_vec()).await;
    until(&mut session, "hello\r\nhello\r\n").await;
    session.write(vec![3]).await;
    let (text, code) = output(&mut session).await;
    assert!(text.contains("int"), "{text:?}");
    assert_eq!(code, 8);

    let mut session = vm
        .exec(sh(
            "trap 'exit 11' HUP; echo ready; while :; do sleep 0.05; done",
        ))
        .await
        .unwrap();
    until(&mut session, "ready").await;
    session.signal(libc::SIGHUP).await;
    assert_eq!(output(&mut session).await.1, 11);
    vm.shutdown().await;
}

async fn until(session: &mut ExecSession, what: &str) {
    let mut text = String::new();
    let wait = async {
        while !text.contains(what) {
            let (_, data) = session.output.recv().await.expect("more output");
            text.push_str(&String::from_utf8_lossy(&data));
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .expect("the text comes");
}

#[tokio::test]
async fn it_runs_in_the_services_place() {
    let Some(assets) = assets() else { return };
    let mut config = service("touch /tmp/mine; echo ready; sleep 1000");
    config.process.env = vec!["GREETING=hello".to_owned()];
    let mut vm = Machine::new(assets).run(config).await;
    vm.logged(1).await;
    let exec = Exec {
        env: vec!["A=b".to_owned()],
        cwd: "/tmp".to_owned(),
        user: "web".to_owned(),
        groups: vec!["extra".to_owned()],
        ..sh("ls; id; echo $A $HOME $HOSTNAME; hostname; ls /proc | grep -c '^[0-9]'")
    };
    let mut session = vm.exec(exec).await.unwrap();
    let (text, code) = output(&mut session).await;
    let expected = "mine\nuid=101(web) gid=103(web) groups=103(web),104(ssl),200(extra)\n\
                    b /var/web web-1\nweb-1\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(code, 0);
    // The service and itself, and its own children: no process of the VM.
    let processes: u32 = text.lines().last().unwrap().parse().unwrap();
    assert!(processes <= 5, "{text}");
    vm.shutdown().await;
}
