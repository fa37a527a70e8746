//! What the stack file is to hold.

use super::servers::{About, SERVERS};
use crate::lint::servers;

/// What the stack file is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// A valid project name.
    pub project: String,
    /// The program in the folder.
    pub app: Option<App>,
    /// What it talks to.
    pub servers: Vec<Server>,
}

/// The program in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Name of its service.
    pub service: String,
    /// Image that can run it.
    pub image: String,
    /// Words of the command; empty is the image's own.
    pub command: Vec<String>,
    /// Where the folder is mounted; `None` when it is not.
    pub folder: Option<Mount>,
    /// Port it listens on; 0 is none.
    pub port: u16,
    /// What it was recognized by, for a comment.
    pub reason: String,
    /// There is a Dockerfile in the folder.
    pub dockerfile: bool,
}

/// A folder of the host in the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Relative to the stack file.
    pub source: String,
    /// Absolute path in the service.
    pub target: String,
    /// The service cannot write there.
    pub read_only: bool,
}

impl App {
    /// A web server for files.
    pub(super) fn web() -> Self {
        Self {
            service: "web".to_owned(),
            image: "nginx:1.27".to_owned(),
            command: Vec::new(),
            folder: Some(Mount {
                source: "./html".to_owned(),
                target: "/usr/share/nginx/html".to_owned(),
                read_only: true,
            }),
            port: 80,
            reason: "serves the files in ./html".to_owned(),
            dockerfile: false,
        }
    }

    /// Port of the host it is published on: low ones are taken often.
    pub fn host_port(&self) -> u16 {
        if self.port < 1024 {
            self.port + 8000
        } else {
            self.port
        }
    }
}

/// A well-known server.
#[derive(Debug, Clone, Copy)]
pub struct Server(pub(super) &'static About);

impl Server {
    /// The server of that name, e.g. `postgres`.
    pub fn named(name: &str) -> Option<Self> {
        SERVERS.iter().find(|about| about.name == name).map(Self)
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        SERVERS.iter().map(Self)
    }

    /// Name of its service.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Port it listens on.
    pub(super) fn port(&self) -> u16 {
        let image = self.0.service.lines().next().unwrap_or_default();
        let image = image.trim().trim_start_matches("image: ");
        let ports = servers::of_image(image).map_or(&[][..], |server| server.ports);
        ports.first().copied().unwrap_or_default()
    }

    /// What it is called, e.g. `PostgreSQL`.
    pub fn title(&self) -> &'static str {
        self.0.title
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Server {}
