//! A stack file to start from: for what is found in a folder, or from a template.

mod answers;
mod detect;
mod dockerfile;
mod languages;
mod servers;
#[cfg(test)]
mod tests;
mod write;

pub use answers::{Answers, App, Server};
pub use detect::{Found, detect};
pub use write::stack_file;

/// Names of the templates, each with what is in it.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("postgres", "PostgreSQL"),
    ("mysql", "MySQL"),
    ("mariadb", "MariaDB"),
    ("mongo", "MongoDB"),
    ("redis", "Redis"),
    ("rabbitmq", "RabbitMQ"),
    ("web", "nginx with a folder of files"),
    ("web-postgres", "nginx and PostgreSQL"),
];

/// The answers of a template; `None` when there is none of that name.
pub fn template(name: &str, project: &str) -> Option<Answers> {
    TEMPLATES.iter().find(|(known, _)| *known == name)?;
    let (web, server) = match name {
        "web" => (true, None),
        "web-postgres" => (true, Server::named("postgres")),
        server => (false, Server::named(server)),
    };
    Some(Answers {
        project: project_name(project),
        app: web.then(App::web),
        servers: server.into_iter().collect(),
    })
}

/// A project name like this text: lower-case letters, digits, `-` and `_`.
pub fn project_name(text: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .take(60)
        .collect();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() {
        "app".to_owned()
    } else {
        name.to_owned()
    }
}
