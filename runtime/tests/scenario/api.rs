//! The API server: who reads long logs keeps nobody waiting, and who waits hears of
//! the end.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::request::{Action, Verb};
use stack_api::run::Attach;
use stack_api::spec::{MountSource, MountSpec, VolumeSpec};
use stack_protocol::log::{Record, Stream};
use stack_runtime::logs::{Limits, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::locks::{action, soon};
use crate::world::{World, service};

/// Its service has ended; its log has so many lines.
async fn spoken(lines: u64, text: &str) -> World {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["exit", "0"], &[])]);
    world.up(&shop).await.unwrap();
    world.until("web", |c| c.state == State::Exited).await;
    let path = world.daemon.paths.log(&world.container("web").id);
    let limits = Limits {
        size: u64::MAX,
        files: 1,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    for sequence in 1..=lines {
        let record = Record {
            sequence,
            time_ns: sequence,
            stream: Stream::Stdout,
            partial: false,
            data: format!("{text}{sequence}").into_bytes(),
        };
        writer.append(&record).unwrap();
    }
    writer.flush().unwrap();
    tokio::spawn(stack_runtime::api::serve(Arc::clone(&world.daemon)));
    world
}

async fn client(world: &World) -> UnixStream {
    loop {
        match UnixStream::connect(&world.daemon.paths.socket).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn ask(world: &World, query: &str) -> UnixStream {
    let mut client = client(world).await;
    let request = format!("GET /v1/stacks/shop/logs?{query} HTTP/1.0\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// The texts of the lines.
async fn answer(world: &World, query: &str) -> Vec<String> {
    let mut answer = String::new();
    let mut client = ask(world, query).await;
    soon(client.read_to_string(&mut answer)).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = |line: &str| serde_json::from_str::<stack_api::logs::LogLine>(line);
    body.lines().map(|text| line(text).unwrap().line).collect()
}

#[tokio::test]
async fn a_volume_that_is_only_read_takes_no_import() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.mounts = vec![MountSpec {
        target: "/data".to_owned(),
        read_only: true,
        source: MountSource::Volume {
            volume: "data".to_owned(),
            nocopy: true,
            subpath: None,
        },
    }];
    let mut shop = world.stack(vec![web]);
    let data = VolumeSpec {
        name: "shop_data".to_owned(),
        ..VolumeSpec::default()
    };
    shop.volumes.insert("data".to_owned(), data);
    world.up(&shop).await.unwrap();
    tokio::spawn(stack_runtime::api::serve(Arc::clone(&world.daemon)));
    let mut client = client(&world).await;
    let request = "PUT /v1/volumes/shop_data/archive HTTP/1.0\r\nHost: x\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    let why = "shop-web-1 has volume shop_data read-only";
    assert!(answer.contains(why), "{answer}");
}

/// The answer to a call, with its head; the body is JSON.
async fn call(world: &World, method: &str, path: &str, body: &str) -> String {
    let mut client = client(world).await;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_volume_is_made_for_its_stack() {
    let world = World::new().await;
    tokio::spawn(stack_runtime::api::serve(Arc::clone(&world.daemon)));
    let order =
        r#"{"name": "shop_data", "project": "shop", "labels": {"a": "b"}, "size": 67108864}"#;
    let answer = call(&world, "POST", "/v1/volumes", order).await;
    assert!(answer.contains(r#""project":"shop""#), "{answer}");
    let volume = world.daemon.volumes().unwrap().remove(0);
    assert_eq!((volume.project.as_str(), volume.labels.len()), ("shop", 1));
    assert_eq!(std::fs::metadata(volume.path).unwrap().len(), 64 << 20);
}

#[tokio::test]
async fn an_image_is_found_by_the_digest_of_its_manifest() {
    let world = World::new().await;
    tokio::spawn(stack_runtime::api::serve(Arc::clone(&world.daemon)));
    let image = world.daemon.images.details().unwrap().remove(0);
    let digest = image.digest.unwrap();
    for word in [
        format!("made-up@{digest}"),
        "made-up:1".to_owned(),
        digest,
        image.id,
    ] {
        let path = format!("/v1/images/find?image={word}");
        let answer = call(&world, "GET", &path, "").await;
        let name = format!("\"{}\"", image.reference);
        assert!(answer.ends_with(&name), "{word}: {answer}");
    }
    let answer = call(&world, "GET", "/v1/images/find?image=none", "").await;
    assert!(answer.contains("image_not_found"), "{answer}");
}

#[tokio::test]
async fn all_lines_come_in_order() {
    let world = spoken(3000, "some line or other, number ").await;
    let all = answer(&world, "").await;
    assert_eq!(all.len(), 3000);
    assert!(all[0].ends_with(" 1") && all[2999].ends_with(" 3000"));
    assert_eq!(answer(&world, "tail=2").await, all[2998..]);
    assert_eq!(answer(&world, "grep=299[78]").await, all[2996..2998]);
    assert_eq!(answer(&world, "follow=true").await, all);
}

/// Also where they are in files that were put aside, and far from the end.
#[tokio::test]
async fn the_last_lines_are_the_same_from_wherever_they_are_read() {
    let world = spoken(0, "").await;
    let path = world.daemon.paths.log(&world.container("web").id);
    let limits = Limits {
        size: 1 << 20,
        files: 9,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    for sequence in 1..=40_000 {
        let part = sequence % 40 == 0;
        let record = Record {
            sequence,
            time_ns: sequence,
            stream: if part { Stream::Stderr } else { Stream::Stdout },
            // Some have so many parts that one of them is all that is read first.
            partial: part && sequence % 1000 != 0 || (4000..20_000).contains(&sequence),
            data: format!("{sequence} {}", "y".repeat(60)).into_bytes(),
        };
        writer.append(&record).unwrap();
    }
    writer.flush().unwrap();
    let all = answer(&world, "").await;
    assert!(all.len() > 20_000, "{}", all.len());
    for tail in [0, 1, 30, 9000, 19_000, 21_000, 50_000] {
        let last = answer(&world, &format!("tail={tail}")).await;
        assert_eq!(last.len(), tail.min(all.len()));
        assert!(all.ends_with(&last), "{tail}");
    }
    for (query, count) in [
        ("tail=3&grep=^39[0-9]*1%20", 3),
        ("tail=1&grep=^17%20", 1),
        ("tail=7&until_ns=100", 7),
    ] {
        assert_eq!(answer(&world, query).await.len(), count, "{query}");
    }
}

#[tokio::test]
async fn others_have_their_turn_meanwhile() {
    let world = spoken(100_000, "nothing that anybody looks for ").await;
    for query in ["grep=nosuch", "tail=1"] {
        let mut turns = 0;
        let others = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                turns += 1;
            }
        };
        tokio::select! {
            lines = answer(&world, query) => assert!(lines.len() < 2),
            () = others => {}
        }
        assert!(turns > 5, "{query}: {turns}");
    }
}

#[tokio::test]
async fn long_lines_do_not_pile_up_for_who_does_not_read() {
    let world = spoken(24, &"x".repeat(1 << 20)).await;
    let path = world.daemon.paths.log(&world.container("web").id);
    let mut client = ask(&world, "").await;
    client.read_u8().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What is read later has not been read yet.
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 12 << 20, "{}", rest.len());
}

#[tokio::test]
async fn who_runs_something_hears_that_it_was_stopped_while_it_started() {
    let world = spoken(1, "").await;
    world.fake().hang_next_boot();
    let mut client = attach(&world).await;
    world.until("web", |c| c.pid.is_some()).await;
    let stop = Action {
        timeout: Some(0),
        ..action(Verb::Stop)
    };
    soon(world.act(stop)).await.unwrap();
    let mut said = Vec::new();
    soon(client.read_to_end(&mut said)).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("it was stopped while it was starting"),
        "{said}"
    );
}

/// The code of a container that never ran is none of its process.
#[tokio::test]
async fn who_runs_something_hears_what_kept_it_from_starting() {
    let world = spoken(1, "").await;
    world.fake().fail_next_start("no such machine");
    let mut said = Vec::new();
    let mut client = attach(&world).await;
    soon(client.read_to_end(&mut said)).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("no such machine"), "{said}");
    assert!(said.contains(r#""error_code":"vm_failed""#), "{said}");
    assert!(said.contains(r#""code":1,"#), "{said}");
}

/// Starts the service and stays with it.
async fn attach(world: &World) -> UnixStream {
    let attach = Attach {
        service: "web".to_owned(),
        start: true,
        ..Attach::default()
    };
    let body = serde_json::to_string(&attach).unwrap();
    let request = format!(
        "POST /v1/stacks/shop/attach HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\
         Upgrade: stack-exec/1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = client(world).await;
    client.write_all(request.as_bytes()).await.unwrap();
    client
}
