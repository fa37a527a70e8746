//! From command lines to a stack file and back.

use proptest::prelude::*;

use super::{from_commands, from_words, to_docker_run};
use crate::{LoadOptions, MemorySource, Project, load};

fn project(text: &str) -> Project {
    let source = MemorySource::new()
        .with("/p/stack.yaml", text)
        .with("/p/e.env", "A=1\n")
        .with("/p/s.txt", "x");
    let mut options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    options.resolve_environment = false;
    let loaded = load(&source, &options);
    loaded
        .project
        .unwrap_or_else(|| panic!("{text}\n{:?}", loaded.diagnostics))
}

#[test]
fn lines_become_services() {
    let text = r#"
# the database
docker network create --subnet 10.9.0.0/16 back
docker volume create data
docker run -d --name db --network back --restart unless-stopped \
  -v data:/var/lib/postgresql/data -v "$(pwd)/init:/docker-entrypoint-initdb.d:ro" \
  -e POSTGRES_PASSWORD=$PW -e 'GREETING=a $b' --health-cmd "pg_isready -U postgres" --health-interval=5s \
  postgres:17 -c shared_buffers=1GB

sudo podman run -itdp 8080:80 --name=web --network back --ip 10.9.0.7 -m 512m --cpus=1.5 \
  --ulimit nofile=1024:2048 --tmpfs /run --env-file e.env nginx
"#;
    let converted = from_commands(text).unwrap();
    assert_eq!(converted.notes, Vec::<String>::new());
    assert_eq!(
        converted.text,
        "\
services:
  db:
    image: postgres:17
    command:
      - -c
      - shared_buffers=1GB
    environment:
      POSTGRES_PASSWORD: $PW
      GREETING: a $$b
    healthcheck:
      test: pg_isready -U postgres
      interval: 5s
    networks:
      - back
    restart: unless-stopped
    volumes:
      - data:/var/lib/postgresql/data
      - ./init:/docker-entrypoint-initdb.d:ro

  web:
    image: nginx
    cpus: 1.5
    env_file:
      - e.env
    mem_limit: 512m
    networks:
      back:
        ipv4_address: 10.9.0.7
    ports:
      - 8080:80
    stdin_open: true
    tmpfs:
      - /run
    tty: true
    ulimits:
      nofile:
        soft: 1024
        hard: 2048

networks:
  back:
    ipam:
      config:
        - subnet: 10.9.0.0/16

volumes:
  data:
"
    );
    project(&converted.text);
}

#[test]
fn what_has_no_counterpart_is_said() {
    let converted = from_commands(
        "podman run --rm --tz local --user $(id) --gpus all --frobnicate=3 --cidfile x nginx\ncd /tmp\ndocker ps\n",
    )
    .unwrap();
    let all = converted.notes.join("\n");
    for part in [
        "--rm",
        "--tz local",
        "--frobnicate=3",
        "--cidfile x",
        "`cd /tmp`",
        "`docker ps`",
        "GPU cannot be passed on",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
        assert!(
            converted.text.contains(part),
            "{part} is not in {}",
            converted.text
        );
    }
    let at = converted
        .text
        .lines()
        .position(|line| line == "    gpus: all")
        .unwrap();
    let above = converted.text.lines().nth(at - 1).unwrap();
    assert!(above.starts_with("    # attention: "), "{above}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "",
        "ls",
        "docker run",
        "docker run -d --name x",
        "docker run 'x",
        "docker network create n",
    ] {
        assert!(from_commands(text).is_err(), "{text}");
    }
    assert!(from_commands(&"x ".repeat(1 << 20)).is_err());
}

#[test]
fn words_of_the_command_line_hold_no_variables() {
    let words = [
        "docker",
        "run",
        "-e",
        "A=$B",
        "--name",
        "a b/c",
        "x/y:1",
        "sh",
        "-c",
        "echo $HOME; ls",
    ];
    let converted = from_words(&words.map(str::to_owned)).unwrap();
    assert!(converted.text.contains("  a-b-c:\n"), "{}", converted.text);
    assert!(converted.text.contains("A: $$B"), "{}", converted.text);
    assert!(
        converted.text.contains("- echo $$HOME; ls"),
        "{}",
        converted.text
    );
}

/// Flags that survive the way there and back, as `to_docker_run` writes them.
const KEPT: &[&str] = &[
    "--hostname h",
    "--user 1:2",
    "--workdir /w",
    "--restart on-failure:3",
    "--cpus 0.5",
    "--cpu-shares 512",
    "--memory 134217728",
    "--pids-limit 100",
    "--shm-size 67108864",
    "--stop-signal SIGINT",
    "--platform linux/amd64",
    "--init",
    "--read-only",
    "--privileged",
    "--tty",
    "--interactive",
    "--cap-add NET_ADMIN",
    "--cap-drop ALL",
    "--dns 1.1.1.1",
    "--dns-option ndots:1",
    "--dns-search example.org",
    "--expose 90",
    "--add-host h:10.0.0.1",
    "--group-add 5",
    "--security-opt no-new-privileges:true",
    "--tmpfs /run",
    "--env A=b",
    "--env 'B=c d'",
    "--env 'C=$x'",
    "--env D=",
    "--label l=m",
    "--sysctl net.core.somaxconn=10",
    "--publish 8080:80",
    "--publish 127.0.0.1:53:53/udp",
    "--publish '[::1]:81:81'",
    "--publish 99",
    "--mount type=bind,source=/src,target=/dst,readonly",
    "--mount type=tmpfs,target=/t,tmpfs-size=1048576",
    "--mount type=volume,target=/anonymous",
    "--device /dev/fuse:/dev/fuse:rwm",
    "--ulimit nofile=1:2",
    "--ulimit core=0",
    "--log-driver json-file",
    "--log-opt max-size=1m",
    "--stop-timeout 30",
    "--pull always",
    "--health-cmd 'test -f /a b'",
    "--health-interval 5s",
    "--health-timeout 1s",
    "--health-retries 7",
    "--health-start-period 2s",
    "--entrypoint /bin/e",
    "--annotation a=b",
];

#[test]
fn there_and_back() {
    let text = format!("docker run -d {} img:1 'x y' '$z' \\\n", KEPT.join(" "));
    let converted = from_commands(&text).unwrap();
    let back = to_docker_run(&project(&converted.text), &[]);
    let lines: Vec<String> = back
        .text
        .lines()
        .map(|line| line.trim().trim_end_matches(" \\").to_owned())
        .collect();
    for flag in KEPT {
        assert!(
            lines.iter().any(|line| line == flag),
            "{flag} is not in\n{}\nof\n{}",
            back.text,
            converted.text
        );
    }
    assert_eq!(lines.last().unwrap(), "img:1 'x y' '$z'");
    // And once more: the same file, but for the names that the project gives.
    let again = from_commands(&back.text).unwrap();
    let once_more = to_docker_run(
        &project(
            &again
                .text
                .replace("p_default", "default")
                .replace("p-img-1", "img"),
        ),
        &[],
    );
    assert_eq!(
        once_more.text.replace("alias=img,alias=img", "alias=img"),
        back.text
    );
}

#[test]
fn a_stack_becomes_lines_in_order() {
    let text = r#"
name: shop
services:
  web:
    image: nginx:1
    depends_on: {db: {condition: service_healthy}}
    networks: {front: , back: {aliases: [w]}}
    secrets: [token, env]
    deploy: {replicas: 2, resources: {limits: {memory: 1g}}}
    command: []
  db:
    build: {context: ./db, args: {V: 1}}
    entrypoint: [a, "b c"]
    healthcheck: {test: [CMD, x, "y z"]}
    networks: [back]
    volumes: ["data:/d"]
    blkio_config: {weight: 300}
networks: {front: , back: {internal: true, external: false}, other: }
volumes: {data: {labels: {a: b}}}
secrets: {token: {file: ./s.txt}, env: {environment: HOME}}
"#;
    let converted = to_docker_run(&project(text), &[]);
    assert_eq!(
        converted.text,
        r"docker network create --internal shop_back
docker volume create --label a=b shop_data
docker build -t shop-db --build-arg V=1 /p/db
# db: `blkio_config` has no counterpart
docker run -d \
  --name shop-db-1 \
  --network name=shop_back,alias=db \
  --mount type=volume,source=shop_data,target=/d \
  --health-cmd 'x '\''y z'\''' \
  --entrypoint a \
  shop-db 'b c'

docker network create shop_front
# web: wait until db is healthy
# web: the secret `env` is not a file; write it into one and mount that
# web: this is one of 2 containers
docker run -d \
  --name shop-web-1 \
  --network name=shop_back,alias=web,alias=w \
  --network name=shop_front,alias=web \
  --mount type=bind,source=/p/s.txt,target=/run/secrets/token,readonly \
  --memory 1073741824 \
  nginx:1
"
    );
    let only = to_docker_run(&project(text), &["web".to_owned()]);
    assert!(!only.text.contains("shop-db-1"), "{}", only.text);
}

proptest! {
    /// Whatever the words are, the file is YAML, and every service is in it.
    #[test]
    fn any_line_gives_yaml(text in "( -[a-z-]{1,12}[= ]?| ['\"a-z0-9$(){}:=,./#\n\\\\-]{1,9}){0,12}") {
        let Ok(converted) = from_commands(&format!("docker run{text}\n")) else {
            return Ok(());
        };
        let source = MemorySource::new().with("/p/stack.yaml", converted.text.as_str());
        let loaded = load(&source, &LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into()));
        let syntax = loaded.diagnostics.iter().find(|found| found.code.starts_with("E01"));
        prop_assert!(syntax.is_none(), "{syntax:?}\n{}", converted.text);
    }
}
