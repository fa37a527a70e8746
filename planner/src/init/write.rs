//! Answers to the text of a stack file.

use std::fmt::Write;

use super::answers::{Answers, App};

/// A commented stack file. It loads without warnings and has no lints, but for
/// an image that the folder's own Dockerfile names without a version.
pub fn stack_file(answers: &Answers) -> String {
    let mut out = format!(
        "\
# Each service runs in a virtual machine of its own.
#
#   stack up -d --wait   starts everything and waits until it works
#   stack logs -f        shows what the services say
#   stack down           stops everything; data stays (-v deletes it)
#
# `stack config` shows how this file is understood, `stack lint` what could be better.

name: {}

services:
",
        answers.project
    );
    let mut first = true;
    if let Some(app) = &answers.app {
        write_app(&mut out, app, answers);
        first = false;
    }
    for server in &answers.servers {
        if !first {
            out.push('\n');
        }
        first = false;
        let _ = write!(out, "  {}:\n{}", server.name(), server.0.service);
    }
    if let (None, Some(server)) = (&answers.app, answers.servers.last()) {
        out.push_str("    # To reach it from this machine, and from this machine only:\n");
        let port = server.port();
        let _ = writeln!(out, "    # ports: [\"127.0.0.1:{port}:{port}\"]");
    }
    let with_data: Vec<_> = answers
        .servers
        .iter()
        .filter(|server| server.0.has_data)
        .collect();
    if !with_data.is_empty() {
        out.push_str("\n# Data that stays when a service is replaced.\nvolumes:\n");
        for server in with_data {
            let _ = writeln!(out, "  {}-data:", server.name());
        }
    }
    out
}

fn write_app(out: &mut String, app: &App, answers: &Answers) {
    let found = if app.dockerfile || !app.command.is_empty() {
        "Found in this folder: "
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "  {}:\n    # {found}{}",
        app.service,
        comment(&app.reason)
    );
    if app.dockerfile {
        out.push_str("    build: .\n");
    } else {
        let _ = writeln!(out, "    image: {}", app.image);
        if !app.command.is_empty() {
            out.push_str("    command:\n");
            for word in &app.command {
                let _ = writeln!(out, "      - {}", quoted(word));
            }
        }
        if let Some(mount) = &app.folder {
            if !app.command.is_empty() {
                let _ = writeln!(out, "    working_dir: {}", mount.target);
            }
            let _ = write!(
                out,
                "    volumes:\n      - {}:{}",
                mount.source, mount.target
            );
            out.push_str(if mount.read_only { ":ro\n" } else { "\n" });
        }
    }
    if app.port != 0 {
        out.push_str("    ports:\n      # host:service; with an address in front, only this machine can reach it\n");
        let _ = writeln!(
            out,
            "      - \"127.0.0.1:{}:{}\"",
            app.host_port(),
            app.port
        );
    }
    if answers.servers.is_empty() {
        return;
    }
    out.push_str("    environment:\n");
    for server in &answers.servers {
        let (variable, value) = server.0.environment;
        let _ = writeln!(out, "      {variable}: {value}");
    }
    out.push_str("    depends_on:\n");
    for server in &answers.servers {
        let _ = writeln!(
            out,
            "      {}:\n        condition: service_healthy",
            server.name()
        );
    }
}

/// A double-quoted scalar without variables.
fn quoted(word: &str) -> String {
    serde_json::Value::from(word.replace('$', "$$")).to_string()
}

fn comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
