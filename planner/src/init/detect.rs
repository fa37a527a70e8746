//! What is in a folder.

use std::collections::BTreeSet;
use std::path::Path;

use super::answers::{Answers, App, Mount, Server};
use super::dockerfile::Dockerfile;
use super::{languages, project_name};
use crate::source::Source;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The stack file that fits.
    pub answers: Answers,
    /// Nothing says what the folder is for; the answers are a web server.
    pub nothing: bool,
}

/// Looks into a folder: at the files of languages, their packages, and a
/// Dockerfile. Nothing is run.
pub fn detect(source: &dyn Source, folder: &Path) -> Found {
    let name = folder
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let dockerfile =
        languages::read(source, folder, "Dockerfile").map(|text| Dockerfile::new(&text));
    let program = languages::program(source, folder);
    let servers = program
        .as_ref()
        .map_or_else(Vec::new, |program| servers(&program.packages));
    let app = match (program, dockerfile) {
        (Some(program), Some(dockerfile)) => {
            let mut app = program.app;
            app.port = dockerfile.port.unwrap_or(app.port);
            app.dockerfile = true;
            app.reason = format!("{}, Dockerfile", app.reason);
            Some(app)
        }
        (Some(program), None) => Some(program.app),
        (None, Some(dockerfile)) => from_dockerfile(dockerfile),
        (None, None) => None,
    };
    let nothing = app.is_none();
    Found {
        answers: Answers {
            project: project_name(&name),
            app: Some(app.unwrap_or_else(App::web)),
            servers,
        },
        nothing,
    }
}

fn from_dockerfile(dockerfile: Dockerfile) -> Option<App> {
    let folder = dockerfile.folder.unwrap_or_else(|| "/app".to_owned());
    Some(App {
        service: "app".to_owned(),
        image: dockerfile.from.map(tagged)?,
        command: dockerfile.command,
        folder: Some(Mount {
            source: ".".to_owned(),
            target: folder,
            read_only: false,
        }),
        port: dockerfile.port.unwrap_or(0),
        reason: "Dockerfile".to_owned(),
        dockerfile: true,
    })
}

/// With a tag that says that there was none.
fn tagged(image: String) -> String {
    let last = image.rsplit('/').next().unwrap_or(&image);
    if last.contains([':', '@']) {
        image
    } else {
        format!("{image}:latest")
    }
}

/// The servers whose packages are named in a text.
fn servers(text: &str) -> Vec<Server> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    let lower = text.to_lowercase();
    let words: BTreeSet<&str> = lower
        .split(|c| !is_word(c))
        .map(|word| word.trim_matches(['.', '-', '/']))
        .collect();
    let names = |package: &str| {
        // Modules of Go have their version behind them.
        words.iter().any(|word| {
            *word == package
                || word
                    .strip_prefix(package)
                    .is_some_and(|rest| package.contains('/') && rest.starts_with("/v"))
        })
    };
    let mut found: Vec<Server> = Server::all()
        .filter(|server| server.0.packages.iter().any(|package| names(package)))
        .collect();
    // Programs that can use several SQL databases get the first.
    let mut sql = false;
    found.retain(|server| {
        let is_sql = server.0.environment.0 == "DATABASE_URL";
        let keep = !(is_sql && sql);
        sql |= is_sql;
        keep
    });
    found
}
