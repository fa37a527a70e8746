//! All mistakes of all files are reported at once, in the order of their places,
//! and nothing that only follows from them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use stack_planner::{LoadOptions, Loaded, MemorySource, load};

fn loaded(files: &[(&str, &str)]) -> Loaded {
    let mut source = MemorySource::new();
    for (path, text) in files {
        source = source.with(format!("/app/{path}"), *text);
    }
    let named = files
        .iter()
        .map(|(path, _)| PathBuf::from(format!("/app/{path}")));
    let named = named.filter(|path| path.to_str().unwrap().contains("compose"));
    load(&source, &LoadOptions::new(named.collect(), "/app".into()))
}

/// Code, file and marked text of every finding.
fn findings(loaded: &Loaded) -> Vec<(&'static str, String, String)> {
    let all = loaded.all_diagnostics();
    all.iter()
        .map(|found| {
            let Some(label) = found.labels.first() else {
                return (found.code, String::new(), String::new());
            };
            let text = &loaded.source_text(&label.file).unwrap()[label.span.clone()];
            let file = label.file.strip_prefix("/app").unwrap();
            (found.code, file.display().to_string(), text.to_owned())
        })
        .collect()
}

#[test]
fn of_several_files_and_phases() {
    let main = "\
include: [sub/inner.yaml]
services:
  web:
    imgae: nginx
    depends_on: [databse, worker]
    ports: ['80:99999', '8080:80']
    mem_limit: lots
    networks: [font]
    privileged: maybe
  database:
    image: postgres
    memory: 512m
    healthcheck: {test: [curl]}
  worker:
    extends: {file: base.yaml, service: base}
    volumes: [dat:/x]
    command: '${CMD:?} ${ARG:?the arg} ${CMD:?}'
  gone:
    extends: nobody
    scale: 2
    deploy: {replicas: 3}
  x1: {image: a, depends_on: [x2]}
  x2: {image: a, links: [x1]}
networks: {front: }
volumes: {data: }
";
    let inner =
        "services:\n  inner:\n    image: i\n    ports: ['1:2:3:4']\n    restart: sometimes\n";
    let base = "services:\n  base:\n    image: i\n    restrat: always\n    gpus: all\n";
    let over = "services:\n  web:\n    cap_add: [KILL]\n  database:\n    tty: [1]\n";
    let loaded = loaded(&[
        ("compose.yaml", main),
        ("compose.over.yaml", over),
        ("sub/inner.yaml", inner),
        ("base.yaml", base),
    ]);
    let wanted = [
        ("E0401", "compose.yaml", "imgae"),
        ("E0601", "compose.yaml", "databse"),
        ("E0501", "compose.yaml", "'80:99999'"),
        ("E0503", "compose.yaml", "lots"),
        ("E0602", "compose.yaml", "font"),
        ("E0203", "compose.yaml", "maybe"),
        ("E0401", "compose.yaml", "memory"),
        ("E0404", "compose.yaml", "curl"),
        ("E0602", "compose.yaml", "dat:/x"),
        ("E0202", "compose.yaml", "CMD"),
        ("E0202", "compose.yaml", "ARG"),
        ("E0303", "compose.yaml", "nobody"),
        ("E0606", "compose.yaml", "2"),
        ("E0603", "compose.yaml", "x2"),
        ("E0402", "compose.over.yaml", "tty"),
        ("E0501", "sub/inner.yaml", "'1:2:3:4'"),
        ("E0702", "sub/inner.yaml", "sometimes"),
        ("E0401", "base.yaml", "restrat"),
        ("E0701", "base.yaml", "gpus"),
    ];
    let found = findings(&loaded);
    let found: Vec<_> = found
        .iter()
        .map(|(code, file, text)| (*code, file.as_str(), text.as_str()))
        .collect();
    assert_eq!(found, wanted);
    assert!(loaded.project.is_none());
}

#[test]
fn one_mistake_is_one_finding() {
    let cases = [
        // What is missing was only misspelt, or could not be read.
        "services: {a: {imgae: i}}",
        "services: {a: {image: [i]}}",
        "services: {a: {image: '${I:?}'}}",
        "services: {a: {<<: 7}}",
        "services: {a: {extends: nobody}}",
        "services: {a: {extends: {file: none.yaml, service: b}}}",
        "services: {a: {dockerfile: D}}",
        // Names are known although what they name is broken.
        "services: {a: [x], b: {image: i, depends_on: [a]}}",
        "services: {1: {image: i}, b: {image: i, depends_on: ['1']}}",
        "services: {b: {image: i, networks: [n]}}\nnetworks: [n]",
        "services: {b: {image: i, networks: [n]}}\nnetwroks: {n: }",
        "services: {b: {image: i, volumes: ['vol:/v']}}\nvolumes: {vol: x}",
        "services: {b: {image: i, configs: [c]}}\nconfigs: {c: {content: [x]}}",
        "services: {b: {image: i, secrets: [c]}}\nsecrets: {c: {fiel: x}}",
        "services: {b: {image: i, secrets: [c]}}\nsecrets: {c: {}}",
        "include: [none.yaml]\nservices: {b: {image: i, networks: [n], depends_on: [x], volumes: ['vol:/v']}}",
        // Two values cannot disagree when one of them is broken.
        "services: {a: {image: i, scale: two, deploy: {replicas: 2}}}",
        "services: {a: {image: i, mem_limit: 1g, deploy: {resources: {limits: {memory: [x]}}}}}",
        "services: {a: {image: i, mem_limit: 1g, deploy: [x]}}",
        // What is broken has no wrong value.
        "services: {a: {image: i, ports: [{target: x}]}}",
        "services: {a: {image: i, volumes: [{type: bind, source: /a, target: [x]}]}}",
        "services: {a: {image: i, container_name: [x]}}",
        "services: {a: {image: i, gpus: 7}}",
        "services: {a: {image: i, network_mode: [host], networks: [n]}}",
        "services: {a: {image: i, develop: {watch: [{path: ., action: dance}]}}}",
        "services: {a: {image: i, healthcheck: {test: {a: b}}}}",
        // One mistake, used in several places.
        "x-c: &c {restrat: always}\nservices: {a: {<<: *c, image: i}, b: {<<: *c, image: i}}",
        "services: {a: {extends: c}, b: {extends: c}, c: {image: i, tty: maybe}}",
        "services: {a: {image: i, user: '${U:?}', command: '${U:?}'}}",
        // Something at another level.
        "services:\n  a:\n  image: i\n",
        "services:\n  a: {image: i, depends_on: [b]}\nb: {image: i}\n",
        "services:\n  a: {image: i, b: {image: i}, depends_on: [b]}\n",
        "a: {image: i, links: [b]}\nb: {image: i}\n",
        "services:\n  a: {image: i, networks: [n]}\n  networks: {n: {driver_opts: {}}}\n",
    ];
    for text in cases {
        let found = findings(&loaded(&[("compose.yaml", text)]));
        let errors = found.iter().filter(|(code, _, _)| code.starts_with('E'));
        assert_eq!(errors.count(), 1, "{text}\n{found:#?}");
    }
}

#[test]
fn a_file_that_cannot_be_parsed_does_not_hide_the_others() {
    let good = "services: {a: {image: i, tty: maybe, depends_on: [b]}}";
    let found = findings(&loaded(&[
        ("compose.yaml", good),
        ("compose.over.yaml", "services:\n  b: [1\n"),
    ]));
    let codes: Vec<_> = found.iter().map(|(code, _, _)| *code).collect();
    assert_eq!(codes, ["E0203", "E0102"]);
}

/// The places that brought a file in are shown, nearest first.
#[test]
fn the_way_to_a_file() {
    let loaded = loaded(&[
        (
            "compose.yaml",
            "include: [b.yaml]\nservices: {web: {extends: {file: base.yaml, service: base}}}",
        ),
        ("b.yaml", "include: [c.yaml]\n"),
        ("c.yaml", "services: {c: {image: i, env_file: e.env}}"),
        ("e.env", "A B=1\n"),
        ("base.yaml", "services: {base: {image: i, tty: maybe}}"),
    ]);
    let shown: Vec<Vec<_>> = loaded
        .diagnostics
        .iter()
        .map(|found| {
            let label = |label: &stack_planner::Label| {
                format!(
                    "{} {}",
                    label.file.file_name().unwrap().display(),
                    label.text
                )
            };
            found.labels.iter().map(label).collect()
        })
        .collect();
    let way = [
        "e.env here",
        "c.yaml read because of this",
        "b.yaml included from here",
        "compose.yaml included from here",
    ];
    assert!(
        shown.contains(&way.map(str::to_owned).to_vec()),
        "{shown:#?}"
    );
    let base = [
        "base.yaml a boolean is expected",
        "compose.yaml extended from here",
    ];
    assert!(
        shown.contains(&base.map(str::to_owned).to_vec()),
        "{shown:#?}"
    );
}
