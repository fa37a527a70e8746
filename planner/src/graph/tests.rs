//! What the graph holds and how it is drawn.

use super::{State, States, Tone};
use crate::{LoadOptions, MemorySource, Project, load};

const SHOP: &str = r#"
name: shop
services:
  web:
    image: nginx:1.27
    depends_on: {app: {condition: service_healthy}, mail: {condition: service_started, required: false}}
    networks: [front]
    configs: [{source: conf, target: /etc/nginx.conf}]
  app:
    build: {context: ./app, secrets: [token]}
    image: shop/app
    healthcheck: {test: ["CMD", "true"]}
    depends_on: [db]
    networks: [front, back]
    secrets: [token]
  mail: {image: mail, networks: [back]}
  db:
    image: postgres:17
    networks: [back]
    volumes: ["data:/var/lib/postgresql/data:ro", "./x:/x"]
networks: {front: {}, back: {internal: true}}
volumes: {data: {external: true}}
secrets: {token: {environment: TOKEN}}
configs: {conf: {content: x}}
"#;

fn project(text: &str) -> Project {
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let mut options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    options
        .environment
        .insert("TOKEN".to_owned(), "t".to_owned());
    let loaded = load(&source, &options);
    loaded
        .project
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn states() -> States {
    let state = State {
        text: "running".to_owned(),
        tone: Tone::Good,
    };
    States::from([("db".to_owned(), state)])
}

#[test]
fn the_tree_unfolds_everything_once() {
    let graph = project(SHOP).graph();
    let lines: Vec<String> = graph
        .lines()
        .iter()
        .map(|line| {
            let again = if line.again { " …" } else { "" };
            format!(
                "{}{} {}{again}",
                line.guide(false),
                line.part.kind.word(),
                line.part.name
            )
        })
        .collect();
    assert_eq!(
        lines.join("\n"),
        "\
└── service web
    ├── image nginx:1.27
    ├── network front
    ├── config conf
    ├── service app
    │   ├── image shop/app
    │   │   └── build app
    │   │       └── secret token
    │   ├── network back
    │   ├── network front
    │   ├── secret token
    │   └── service db
    │       ├── image postgres:17
    │       ├── network back
    │       └── volume data
    └── service mail
        ├── image mail
        └── network back"
    );
    let services = graph.services_only();
    let names: Vec<_> = services
        .lines()
        .iter()
        .map(|line| line.part.name.clone())
        .collect();
    assert_eq!(names, ["web", "app", "db", "mail"]);
    assert_eq!(graph.lines()[1].guide(true), "    |-- ");
}

#[test]
fn a_shared_dependency_is_shown_again_without_its_parts() {
    let graph = project(
        "name: p\nservices:\n  a: {image: i, depends_on: [c]}\n  b: {image: i, depends_on: [c]}\n  c: {image: i}\n",
    )
    .graph();
    let c: Vec<_> = graph
        .lines()
        .iter()
        .filter(|line| line.part.name == "c")
        .map(|line| line.again)
        .collect();
    assert_eq!(c, [false, true]);
}

#[test]
fn a_long_chain_stays_readable() {
    let mut text = String::from("name: p\nservices:\n");
    for i in 0..300 {
        text.push_str(&format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", i + 1));
    }
    text.push_str("  s300: {image: i}\n");
    let graph = project(&text).graph().services_only();
    let lines = graph.lines();
    assert!(lines.iter().all(|line| line.levels.len() <= 26));
    let unfolded = lines.iter().filter(|line| !line.again).count();
    assert_eq!(unfolded, 301);
}

#[test]
fn edges_say_why() {
    let project = project(SHOP);
    let json = project.graph_json(&project.graph(), &states());
    let edges = json["edges"].as_array().unwrap();
    let find = |from: &str, to: &str| {
        edges
            .iter()
            .find(|e| e["from"] == from && e["to"] == to)
            .unwrap()
    };
    assert_eq!(
        find("service:web", "service:app")["condition"],
        "service_healthy"
    );
    assert_eq!(find("service:web", "service:app")["line"], 6);
    assert_eq!(find("service:web", "service:mail")["required"], false);
    assert_eq!(find("service:db", "volume:data")["read_only"], true);
    assert_eq!(find("image:shop/app", "build:app")["type"], "built_by");
    let nodes = json["nodes"].as_array().unwrap();
    let node = |id: &str| nodes.iter().find(|n| n["id"] == id).unwrap();
    assert_eq!(node("service:db")["state"], "running");
    assert_eq!(node("volume:data")["external"], true);
    assert_eq!(node("network:back")["full_name"], "shop_back");
}

/// The image is text of the file: nothing in it may leave its place.
const HOSTILE: &str = "name: p\nservices:\n  a:\n    image: \"</text><script>alert(1)</script>\\\"]; x -->|\\n\\e[31m\\\\\"\n";

#[test]
fn hostile_text_stays_text() {
    let graph = project(HOSTILE).graph();
    let svg = graph.to_svg("<p>", &states());
    assert!(!svg.contains("<script"), "{svg}");
    assert!(!svg.contains('\u{1b}'), "{svg}");
    assert!(svg.contains("&lt;p&gt;"));
    let mermaid = graph.to_mermaid(&states());
    assert_eq!(mermaid.lines().count(), 6, "{mermaid}");
    for forbidden in ["<script", "\"]; x", "-->|", "\u{1b}"] {
        assert!(!mermaid.contains(forbidden), "{forbidden} in {mermaid}");
    }
    let dot = graph.to_dot("p\"x", &states());
    assert!(dot.starts_with("digraph \"p\\\"x\" {"));
    assert_eq!(dot.lines().count(), 10, "{dot}");
    assert!(!dot.contains('\u{1b}'));
}

#[test]
fn pictures_have_all_parts() {
    let graph = project(SHOP).graph();
    let svg = graph.to_svg("shop", &states());
    assert_eq!(svg.matches("<rect ").count(), graph.vertices().count());
    assert_eq!(
        svg.matches("<path class=\"edge").count(),
        graph.edges().count()
    );
    assert_eq!(svg.matches("<circle class=\"good\"").count(), 1);
    let mermaid = graph.to_mermaid(&states());
    assert!(mermaid.contains("-->|\"healthy\"|"), "{mermaid}");
    assert!(mermaid.contains("classDef good"), "{mermaid}");
    let dot = graph.to_dot("shop", &states());
    assert!(
        dot.contains("\"service:web\" -> \"service:app\" [label=\"healthy\"];"),
        "{dot}"
    );
    assert!(
        dot.contains("\"volume:data\" [label=\"data\", shape=cylinder, style=dashed];"),
        "{dot}"
    );
}
