//! Programs by the files their languages keep beside them.

use std::path::Path;

use super::answers::{App, Mount};
use crate::source::Source;

/// Bytes of a file that are looked at.
const MOST: usize = 1 << 20;

/// The program in a folder and the text that names its packages.
pub(super) struct Program {
    pub(super) app: App,
    pub(super) packages: String,
}

/// The text of a small file.
pub(super) fn read(source: &dyn Source, folder: &Path, name: &str) -> Option<String> {
    let bytes = source.read(&folder.join(name)).ok()?;
    let bytes = bytes.get(..MOST.min(bytes.len()))?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The first language whose files are there.
pub(super) fn program(source: &dyn Source, folder: &Path) -> Option<Program> {
    let languages = [node, python, rust, go, java, ruby, php];
    languages
        .into_iter()
        .find_map(|language| language(source, folder))
}

fn app(reason: &str, image: &str, command: &str, port: u16) -> App {
    App {
        service: "app".to_owned(),
        image: image.to_owned(),
        command: ["sh", "-c", command].map(str::to_owned).to_vec(),
        folder: Some(Mount {
            source: ".".to_owned(),
            target: "/app".to_owned(),
            read_only: false,
        }),
        port,
        reason: reason.to_owned(),
        dockerfile: false,
    }
}

fn node(source: &dyn Source, folder: &Path) -> Option<Program> {
    let text = read(source, folder, "package.json")?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let there = |name: &str| source.exists(&folder.join(name));
    let install = if there("pnpm-lock.yaml") {
        "corepack enable && pnpm install"
    } else if there("yarn.lock") {
        "corepack enable && yarn install"
    } else if there("package-lock.json") {
        "npm ci"
    } else {
        "npm install"
    };
    let script = |name: &str| json["scripts"][name].is_string();
    let start = if script("start") {
        "npm start".to_owned()
    } else if script("dev") {
        "npm run dev".to_owned()
    } else {
        let main = json["main"]
            .as_str()
            .filter(|main| is_file_name(main))
            .unwrap_or("index.js");
        format!("node {main}")
    };
    // The names of dependencies only: descriptions and scripts say other things.
    let sections = ["dependencies", "optionalDependencies"];
    let names = sections
        .iter()
        .filter_map(|key| json[key].as_object())
        .flat_map(|map| map.keys().cloned());
    Some(Program {
        app: app(
            "package.json",
            "node:22",
            &format!("{install} && {start}"),
            3000,
        ),
        packages: names.collect::<Vec<_>>().join("\n"),
    })
}

fn python(source: &dyn Source, folder: &Path) -> Option<Program> {
    let requirements = read(source, folder, "requirements.txt");
    let project = read(source, folder, "pyproject.toml");
    let reason = match (&requirements, &project) {
        (Some(_), _) => "requirements.txt",
        (None, Some(_)) => "pyproject.toml",
        (None, None) => return None,
    };
    let packages = format!(
        "{}\n{}",
        requirements.as_deref().unwrap_or_default(),
        project.unwrap_or_default()
    );
    let there = |name: &str| source.exists(&folder.join(name));
    let needs = |name: &str| packages.to_lowercase().contains(name);
    let module = ["main", "app", "server"]
        .into_iter()
        .find(|name| there(&format!("{name}.py")))
        .unwrap_or("main");
    let start = if there("manage.py") {
        "python manage.py runserver 0.0.0.0:8000".to_owned()
    } else if needs("fastapi") || needs("uvicorn") {
        format!("uvicorn {module}:app --host 0.0.0.0 --port 8000")
    } else if needs("flask") {
        format!("flask --app {module} run --host 0.0.0.0 --port 8000")
    } else {
        format!("python {module}.py")
    };
    let install = if requirements.is_some() {
        "pip install -r requirements.txt"
    } else {
        "pip install ."
    };
    Some(Program {
        app: app(
            reason,
            "python:3.13",
            &format!("{install} && {start}"),
            8000,
        ),
        packages,
    })
}

fn rust(source: &dyn Source, folder: &Path) -> Option<Program> {
    let packages = read(source, folder, "Cargo.toml")?;
    Some(Program {
        app: app("Cargo.toml", "rust:1.90", "cargo run --release", 8080),
        packages,
    })
}

fn go(source: &dyn Source, folder: &Path) -> Option<Program> {
    let packages = read(source, folder, "go.mod")?;
    let version = packages
        .lines()
        .find_map(|line| line.trim().strip_prefix("go "));
    let version = version.map(|text| text.split('.').take(2).collect::<Vec<_>>().join("."));
    let is_version =
        |text: &String| text.chars().all(|c| c.is_ascii_digit() || c == '.') && text.contains('.');
    let version = version
        .filter(is_version)
        .unwrap_or_else(|| "1.25".to_owned());
    Some(Program {
        app: app("go.mod", &format!("golang:{version}"), "go run .", 8080),
        packages,
    })
}

fn java(source: &dyn Source, folder: &Path) -> Option<Program> {
    let packages = read(source, folder, "pom.xml")?;
    let start = if packages.contains("spring-boot") {
        "mvn -q spring-boot:run"
    } else {
        "mvn -q compile exec:java"
    };
    Some(Program {
        app: app("pom.xml", "maven:3.9-eclipse-temurin-21", start, 8080),
        packages,
    })
}

fn ruby(source: &dyn Source, folder: &Path) -> Option<Program> {
    let packages = read(source, folder, "Gemfile")?;
    let start = if packages.contains("rails") {
        "bundle exec rails server -b 0.0.0.0"
    } else if source.exists(&folder.join("config.ru")) {
        "bundle exec rackup -o 0.0.0.0 -p 3000"
    } else {
        "bundle exec ruby app.rb"
    };
    Some(Program {
        app: app(
            "Gemfile",
            "ruby:3.4",
            &format!("bundle install && {start}"),
            3000,
        ),
        packages,
    })
}

fn php(source: &dyn Source, folder: &Path) -> Option<Program> {
    let text = read(source, folder, "composer.json")?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let names: Vec<String> = json["require"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys().cloned())
        .collect();
    let root = if source.is_dir(&folder.join("public")) {
        "public"
    } else {
        "."
    };
    Some(Program {
        app: app(
            "composer.json",
            "php:8.4-cli",
            &format!("php -S 0.0.0.0:8000 -t {root}"),
            8000,
        ),
        packages: names.join("\n"),
    })
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 200
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}
