//! Loading through the public API: merging, including, extending, variables,
//! profiles and what is printed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use serde_json::{Value, json};
use stack_planner::{LoadOptions, MemorySource, Project, load};

struct Case {
    source: MemorySource,
    options: LoadOptions,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut source = MemorySource::new();
        for (path, text) in files {
            source = source.with(format!("/app/{path}"), *text);
        }
        let options = LoadOptions::new(
            vec![PathBuf::from("/app/compose.yaml")],
            PathBuf::from("/app"),
        );
        Self { source, options }
    }

    fn over(mut self, file: &str) -> Self {
        self.options.files.push(PathBuf::from("/app").join(file));
        self
    }

    fn project(&self) -> Project {
        let loaded = load(&self.source, &self.options);
        loaded
            .project
            .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.project().to_json()).unwrap()
    }

    fn service(&self, name: &str) -> Value {
        self.json()["services"][name].clone()
    }
}

#[test]
fn later_files_win_by_the_rules_of_each_attribute() {
    let base = "services:
  web:
    image: a
    command: [one, two]
    environment: {A: '1', B: '2'}
    ports: ['80:80', '81:81']
    volumes: ['data:/data', '/anon']
    depends_on: [db]
    dns: 1.1.1.1
    extra_hosts: ['x=1.1.1.1']
    logging: {driver: d, options: {a: b}}
    ulimits: {nofile: {soft: 1, hard: 2}}
    build: ctx
  db: {image: db}
volumes: {data: }
";
    let over = "services:
  web:
    command: three
    environment: ['B=3', C=4]
    ports: ['8080:80', '81:81']
    volumes: ['other:/data']
    depends_on: {db: {condition: service_healthy}}
    dns: [2.2.2.2]
    extra_hosts: ['x=1.1.1.1', 'y=2.2.2.2']
    logging: {driver: other}
    ulimits: {nofile: 5}
    build: {target: t}
volumes: {other: }
";
    let web = Case::new(&[("compose.yaml", base), ("over.yaml", over)])
        .over("over.yaml")
        .service("web");
    assert_eq!(web["command"], json!(["three"]));
    assert_eq!(web["environment"], json!({"A": "1", "B": "3", "C": "4"}));
    let ports: Vec<_> = web["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["published"].as_str().unwrap())
        .collect();
    assert_eq!(ports, ["80", "81", "8080"]);
    let mounts: Vec<_> = web["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["source"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(mounts, ["other", "-"]);
    assert_eq!(web["depends_on"]["db"]["condition"], "service_healthy");
    assert_eq!(web["dns"], json!(["1.1.1.1", "2.2.2.2"]));
    assert_eq!(web["extra_hosts"], json!(["x=1.1.1.1", "y=2.2.2.2"]));
    assert_eq!(web["logging"], json!({"driver": "other"}));
    assert_eq!(web["ulimits"]["nofile"], 5);
    assert_eq!(
        web["build"],
        json!({"context": "/app/ctx", "dockerfile": "Dockerfile", "target": "t"})
    );
}

#[test]
fn reset_and_override() {
    let base = "services:
  web:
    image: a
    ports: ['80:80']
    command: x
    environment: {A: '1', B: '2'}
    volumes: [/a, /b]
";
    let over = "services:
  web:
    ports: !reset []
    command: !reset
    environment: {A: !reset null}
    volumes: !override [/c]
";
    let web = Case::new(&[("compose.yaml", base), ("over.yaml", over)])
        .over("over.yaml")
        .service("web");
    assert_eq!(web["ports"], Value::Null);
    assert_eq!(web["command"], Value::Null);
    assert_eq!(web["environment"], json!({"B": "2"}));
    assert_eq!(web["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(web["volumes"][0]["target"], "/c");
}

#[test]
fn reset_reaches_through_extends_and_aliases() {
    let text = "x-less: &less
  ports: !reset []
services:
  base: {image: a, ports: ['80:80'], user: u}
  web: {extends: base, <<: *less}
  both: {extends: web, ports: ['81:81']}
";
    let case = Case::new(&[("compose.yaml", text)]);
    assert_eq!(case.service("web")["ports"], Value::Null);
    assert_eq!(case.service("web")["user"], "u");
    assert_eq!(case.service("both")["ports"][0]["target"], 81);
    assert_eq!(case.service("base")["ports"][0]["target"], 80);
}

#[test]
fn several_documents_merge_in_order() {
    let text = "services: {a: {image: i, user: one}}\n---\nservices: {a: {user: two}}\n";
    assert_eq!(
        Case::new(&[("compose.yaml", text)]).service("a")["user"],
        "two"
    );
}

#[test]
fn extended_files_have_their_own_folder() {
    let more = "services:\n  base: {image: b, env_file: v.env, volumes: ['./d:/d'], extends: {file: ../root.yaml, service: r}}\n";
    let case = Case::new(&[
        (
            "compose.yaml",
            "services: {web: {extends: {file: sub/base.yaml, service: base}, image: w}}",
        ),
        ("sub/base.yaml", more),
        (
            "root.yaml",
            "services: {r: {image: r, user: root, volumes: ['./e:/e']}}",
        ),
        ("sub/v.env", "K=v\n"),
    ]);
    let web = case.service("web");
    assert_eq!((&web["image"], &web["user"]), (&json!("w"), &json!("root")));
    assert_eq!(web["environment"], json!({"K": "v"}));
    let sources: Vec<_> = web["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, ["/app/e", "/app/sub/d"]);
}

#[test]
fn included_stacks_have_their_own_folder_and_variables() {
    let mut case = Case::new(&[
        (
            "compose.yaml",
            "include:\n  - sub/inner.yaml\n  - {path: other.yaml, project_directory: else, env_file: o.env}\nservices: {web: {image: 'w-$TAG', depends_on: [inner]}, inner: {user: mine}}\n",
        ),
        (".env", "TAG=outer\nBOTH=outer\n"),
        (
            "sub/inner.yaml",
            "services: {inner: {image: 'i-$SUB-$BOTH', volumes: ['./x:/x'], user: theirs}}\nvolumes: {v: }\n",
        ),
        ("sub/.env", "SUB=s\nBOTH=inner\n"),
        (
            "other.yaml",
            "services: {other: {image: 'o-$O', volumes: ['./y:/y']}}\n",
        ),
        ("o.env", "O=1\n"),
    ]);
    case.options
        .environment
        .insert("TAG".into(), "shell".into());
    let all = case.json();
    assert_eq!(all["services"]["web"]["image"], "w-shell");
    assert_eq!(all["services"]["inner"]["image"], "i-s-outer");
    assert_eq!(all["services"]["inner"]["user"], "mine");
    assert_eq!(
        all["services"]["inner"]["volumes"][0]["source"],
        "/app/sub/x"
    );
    assert_eq!(all["services"]["other"]["image"], "o-1");
    assert_eq!(
        all["services"]["other"]["volumes"][0]["source"],
        "/app/else/y"
    );
}

#[test]
fn environment_has_an_order() {
    let text = "services:\n  a:\n    image: i\n    env_file: [one.env, {path: two.env, required: false}, {path: raw.env, format: raw}]\n    environment: {OWN: own, BOTH: own, SHELL_ONLY: , NOWHERE: }\n";
    let mut case = Case::new(&[
        ("compose.yaml", text),
        (
            "one.env",
            "BOTH=file\nONE=1\nREF=${ONE}-${SHELL_ONLY}-${OWN}\n",
        ),
        ("raw.env", "RAW='$ONE' # x\n"),
    ]);
    case.options
        .environment
        .insert("SHELL_ONLY".into(), "sh".into());
    let wanted = json!({
        "BOTH": "own", "NOWHERE": null, "ONE": "1", "OWN": "own", "RAW": "'$$ONE' # x", "REF": "1-sh-own", "SHELL_ONLY": "sh"
    });
    assert_eq!(case.service("a")["environment"], wanted);
}

#[test]
fn names_come_from_the_user_the_environment_the_file_or_the_folder() {
    let mut case = Case::new(&[(
        "compose.yaml",
        "services: {a: {image: '${COMPOSE_PROJECT_NAME}'}}",
    )]);
    assert_eq!(case.service("a")["image"], "app");
    case = Case::new(&[(
        "compose.yaml",
        "name: In-File!\nservices: {a: {image: '${COMPOSE_PROJECT_NAME}'}}",
    )]);
    assert_eq!(case.service("a")["image"], "in-file");
    case.options
        .environment
        .insert("COMPOSE_PROJECT_NAME".into(), "env".into());
    assert_eq!(case.project().name(), "env");
    case.options.project_name = Some("given".into());
    assert_eq!(case.project().name(), "given");
    assert_eq!(case.json()["networks"]["default"]["name"], "given_default");
}

#[test]
fn volumes_that_are_external_are_not_the_stacks_own() {
    let text = "services: {a: {image: a, volumes: ['one:/1', 'two:/2', 'ext:/3', 'old:/4']}}
volumes:
  one:
  two: {name: called}
  ext: {external: true}
  old: {external: {name: older}}
";
    let case = Case::new(&[("compose.yaml", text)]);
    assert_eq!(case.project().own_volumes(), ["app_one", "called"]);
}

#[test]
fn volumes_that_no_enabled_service_uses_are_not_told() {
    let text = "services:
  a: {image: a, volumes: ['one:/1']}
  b: {image: b, volumes: ['one:/1', 'two:/2'], profiles: [x]}
volumes: {one: , two: , spare: }
";
    let mut case = Case::new(&[("compose.yaml", text)]);
    case.options.prune = false;
    assert_eq!(case.project().own_volumes(), ["app_one"]);
    assert_eq!(case.project().volumes(), ["one", "spare", "two"]);
    case.options.profiles = vec!["x".into()];
    assert_eq!(case.project().own_volumes(), ["app_one", "app_two"]);
}

#[test]
fn profiles_and_what_they_need() {
    let text = "services:
  a: {image: a}
  b: {image: b, profiles: [x, y], volumes: ['vol:/v']}
  c: {image: c, profiles: [z], depends_on: {b: {condition: service_started, required: false}}}
volumes: {vol: }
";
    let mut case = Case::new(&[("compose.yaml", text)]);
    assert_eq!(case.project().service_names(), ["a"]);
    assert_eq!(case.project().disabled_service_names(), ["b", "c"]);
    assert_eq!(case.project().profiles(), ["x", "y", "z"]);
    assert!(case.project().volumes().is_empty());
    case.options.services = vec!["b".into()];
    assert_eq!(case.project().service_names(), ["a", "b"]);
    assert_eq!(case.project().volumes(), ["vol"]);
    case.options.services.clear();
    case.options
        .environment
        .insert("COMPOSE_PROFILES".into(), "z".into());
    assert_eq!(case.project().service_names(), ["a", "c"]);
    case.options.profiles = vec!["*".into()];
    assert_eq!(case.project().service_names(), ["a", "b", "c"]);
    let some = case
        .project()
        .select(&case.project().with_dependencies(["c"]));
    assert_eq!(some.service_names(), ["b", "c"]);
}

#[test]
fn without_interpolation_the_text_stays() {
    let text = "services: {a: {image: '${I}', ports: ['${P}:80'], volumes: ['${V}:/v'], command: x y, profiles: [p]}}";
    let mut case = Case::new(&[("compose.yaml", text)]);
    case.options.interpolate = false;
    let a = case.service("a");
    assert_eq!(
        (&a["image"], &a["ports"], &a["command"]),
        (&json!("${I}"), &json!(["${P}:80"]), &json!("x y"))
    );
}

#[test]
fn printed_yaml_reads_back_the_same() {
    let text = "services:
  a:
    image: 'x:y'
    command: ['echo', '$$HOME', '', ' lead', 'tab\\t', 'no', '0x10', '1:2', '#c', 'a: b', \"line\\n\\nmore\\n\", \"\\e[0m\", '*x', '- y']
    environment: {E: '', N: 'null', Q: \"it's \\\"q\\\"\", 'K 1': \"a\\nb\", T: 'true'}
    labels: {a2: x, a10: y, a: z}
    healthcheck: {test: 'exit 0', interval: 90s}
    cpus: 0.5
    mem_limit: 1.5gb
x-top: {b: [1, 2.5, null, {c: d}], a: []}
";
    let first = Case::new(&[("compose.yaml", text)]).project();
    let again = Case::new(&[("compose.yaml", &first.to_yaml())]).project();
    assert_eq!(first.model(), again.model());
    assert_eq!(first.to_yaml(), again.to_yaml());
    assert_eq!(first.config_hash("a"), again.config_hash("a"));
    let json = Case::new(&[("compose.yaml", &first.to_json())]).project();
    assert_eq!(first.to_json(), json.to_json());
}

#[test]
fn the_hash_changes_with_what_needs_a_new_container() {
    let hash = |rest: &str, file: &str| {
        let text = format!(
            "services: {{a: {{image: i, configs: [c], {rest}}}, b: {{image: i}}}}\nconfigs: {{c: {{file: f}}}}"
        );
        Case::new(&[("compose.yaml", &text), ("f", file)])
            .project()
            .config_hash("a")
            .unwrap()
    };
    let plain = hash("user: u", "x");
    assert_eq!(plain.len(), 64);
    for same in [
        "user: u, scale: 3",
        "user: u, depends_on: [b]",
        "user: u, pull_policy: always",
        "user: u, deploy: {replicas: 2}",
    ] {
        assert_eq!(hash(same, "x"), plain, "{same}");
    }
    for other in [
        "user: v",
        "user: u, deploy: {resources: {limits: {memory: 1g}}}",
        "user: u, environment: [A=b]",
    ] {
        assert_ne!(hash(other, "x"), plain, "{other}");
    }
    assert_ne!(hash("user: u", "y"), plain);
}
