//! What is found, and that what is written is good.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Answers, Server, TEMPLATES, detect, project_name, stack_file, template};
use crate::{LoadOptions, MemorySource, load};

/// Loads what was written; there is nothing to say about it.
#[track_caller]
fn is_good(text: &str) -> crate::Project {
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let mut options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    (options.prune, options.resolve_environment) = (false, false);
    let loaded = load(&source, &options);
    assert_eq!(loaded.diagnostics, [], "{text}");
    let project = loaded.project.unwrap();
    project
        .spec()
        .unwrap_or_else(|found| panic!("{text}\n{found:?}"));
    let lints = crate::lint::lint(&project, &BTreeSet::new());
    assert_eq!(lints, [], "{text}");
    let formatted = crate::format(text, Path::new("stack.yaml"));
    assert_eq!(formatted.as_deref(), Ok(text));
    project
}

fn found(files: &[(&str, &str)]) -> Answers {
    let mut source = MemorySource::new();
    for (name, text) in files {
        source = source.with(Path::new("/home/me/My Shop!").join(name), *text);
    }
    detect(&source, Path::new("/home/me/My Shop!")).answers
}

#[test]
fn every_template_is_good() {
    for (name, _) in TEMPLATES {
        let project = is_good(&stack_file(&template(name, "x").unwrap()));
        assert!(!project.service_names().is_empty());
        for server in Server::all() {
            assert_ne!(server.port(), 0, "{}", server.name());
        }
    }
    assert!(template("nope", "x").is_none());
}

/// Files; image, port, last word of the command, servers.
type Case<'a> = (
    &'a [(&'a str, &'a str)],
    &'a str,
    u16,
    &'a str,
    &'a [&'a str],
);

#[test]
fn programs_are_recognized() {
    let cases: &[Case<'_>] = &[
        (
            &[(
                "package.json",
                r#"{"scripts": {"start": "x"}, "dependencies": {"pg": "1", "ioredis": "1"}, "description": "mongodb"}"#,
            )],
            "node:22",
            3000,
            "npm install && npm start",
            &["postgres", "redis"],
        ),
        (
            &[("package.json", "{}"), ("yarn.lock", "")],
            "node:22",
            3000,
            "corepack enable && yarn install && node index.js",
            &[],
        ),
        (
            &[
                ("requirements.txt", "fastapi==1\npsycopg[binary]>=3\n"),
                ("main.py", ""),
            ],
            "python:3.13",
            8000,
            "pip install -r requirements.txt && uvicorn main:app --host 0.0.0.0 --port 8000",
            &["postgres"],
        ),
        (
            &[
                ("pyproject.toml", "[project]\ndependencies = [\"pymongo\"]"),
                ("manage.py", ""),
            ],
            "python:3.13",
            8000,
            "pip install . && python manage.py runserver 0.0.0.0:8000",
            &["mongo"],
        ),
        (
            &[(
                "Cargo.toml",
                "[dependencies]\ntokio-postgres = \"1\"\nlapin = \"2\"",
            )],
            "rust:1.90",
            8080,
            "cargo run --release",
            &["postgres", "rabbitmq"],
        ),
        (
            &[(
                "go.mod",
                "module m\ngo 1.24.1\nrequire github.com/jackc/pgx/v5 v5.0.0\nrequire github.com/redis/go-redis/v9 v9\n",
            )],
            "golang:1.24",
            8080,
            "go run .",
            &["postgres", "redis"],
        ),
        (
            &[(
                "pom.xml",
                "<a>spring-boot</a><artifactId>mysql-connector-j</artifactId>",
            )],
            "maven:3.9-eclipse-temurin-21",
            8080,
            "mvn -q spring-boot:run",
            &["mysql"],
        ),
        (
            &[("Gemfile", "gem 'rails'\ngem 'pg'\ngem \"sidekiq\"")],
            "ruby:3.4",
            3000,
            "bundle install && bundle exec rails server -b 0.0.0.0",
            &["postgres", "redis"],
        ),
        (
            &[
                ("composer.json", r#"{"require": {"ext-pdo_mysql": "*"}}"#),
                ("public/index.php", ""),
            ],
            "php:8.4-cli",
            8000,
            "php -S 0.0.0.0:8000 -t public",
            &["mysql"],
        ),
        (
            &[
                ("Dockerfile", "FROM a/b:2\nEXPOSE 80\nCMD run $X"),
                ("Cargo.toml", ""),
            ],
            "rust:1.90",
            80,
            "cargo run --release",
            &[],
        ),
        (
            &[(
                "Dockerfile",
                "FROM a/b:2\nWORKDIR /w\nEXPOSE 80\nCMD run $X",
            )],
            "a/b:2",
            80,
            "run $X",
            &[],
        ),
        (&[("README.md", "postgres")], "nginx:1.27", 80, "", &[]),
    ];
    for (files, image, port, command, servers) in cases {
        let answers = found(files);
        let app = answers.app.as_ref().unwrap();
        assert_eq!((app.image.as_str(), app.port), (*image, *port), "{files:?}");
        assert_eq!(app.command.last().map_or("", String::as_str), *command);
        let names: Vec<_> = answers.servers.iter().map(Server::name).collect();
        assert_eq!(names, *servers, "{files:?}");
        assert_eq!(answers.project, "myshop");
        is_good(&stack_file(&answers));
    }
}

#[test]
fn hostile_folders_do_no_harm() {
    let answers = found(&[(
        "package.json",
        "{\"main\": \"x\\\"; rm -rf /\\n\", \"scripts\": 7}",
    )]);
    let project = is_good(&stack_file(&answers));
    assert!(!project.to_yaml().contains("rm -rf"));
    let answers = found(&[(
        "Dockerfile",
        "FROM a:1\nWORKDIR /a\"\nCMD [\"a\\n\\\"b: c\", \"$Y\"]\n",
    )]);
    let project = is_good(&stack_file(&answers));
    let service = project.model().at(&["services", "app"]).unwrap();
    assert!(service.get("build").is_some() && service.get("command").is_none());
    for (text, wanted) in [
        ("My Shop!", "myshop"),
        ("-_", "app"),
        ("", "app"),
        ("Ä", "app"),
    ] {
        assert_eq!(project_name(text), wanted);
    }
}
