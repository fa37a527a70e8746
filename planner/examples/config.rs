//! Prints the canonical model of a stack: `config [-f FILE]… [-p NAME]
//! [--profile P]… config [--format json|yaml] [--no-consistency] [--no-interpolate]`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command, which does what the library must not"
)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use stack_planner::{LoadOptions, Source, SourceError, discover, load};

struct Disk;

impl Source for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        let other = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => SourceError::NotFound,
            _ => SourceError::Other(error.to_string()),
        };
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            return std::io::stdin()
                .read_to_end(&mut bytes)
                .map(|_| bytes)
                .map_err(other);
        }
        std::fs::read(path).map_err(other)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

fn main() -> ExitCode {
    let Ok(here) = std::env::current_dir() else {
        return ExitCode::FAILURE;
    };
    let mut options = LoadOptions::new(Vec::new(), here.clone());
    options.environment = std::env::vars().collect();
    let (mut json, mut spec) = (false, false);
    let mut list = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_default();
        match arg.as_str() {
            "-f" => match value() {
                dash if dash == "-" => options.files.push(PathBuf::from(dash)),
                file => options.files.push(here.join(file)),
            },
            "-p" => options.project_name = Some(value()),
            "--profile" => options.profiles.push(value()),
            "--format" => json = value() == "json",
            "--no-consistency" => options.check_consistency = false,
            "--no-interpolate" => options.interpolate = false,
            "--spec" => spec = true,
            "--services" | "--volumes" | "--networks" | "--images" | "--profiles" => {
                list = Some(arg)
            }
            "config" => {}
            name => options.services.push(name.to_owned()),
        }
    }
    if options.files.is_empty() {
        options.files = discover(&Disk, &here).map_or_else(Vec::new, |found| found.files);
    }
    let loaded = load(&Disk, &options);
    let show = |found: &[stack_planner::Diagnostic]| {
        for finding in found {
            eprintln!(
                "{:?} {}: {}",
                finding.severity, finding.code, finding.message
            );
            for label in &finding.labels {
                let text = loaded.source_text(&label.file).unwrap_or_default();
                let line = text[..label.span.start].lines().count().max(1);
                let part = &text[label.span.clone()];
                eprintln!("  {}:{line}: `{part}` {}", label.file.display(), label.text);
            }
            if let Some(help) = &finding.help {
                eprintln!("  help: {help}");
            }
        }
    };
    show(&loaded.diagnostics);
    let Some(project) = &loaded.project else {
        return ExitCode::FAILURE;
    };
    if spec {
        match project.spec() {
            Ok(spec) => println!("{spec:#?}"),
            Err(found) => {
                show(&found);
                return ExitCode::FAILURE;
            }
        }
        return ExitCode::SUCCESS;
    }
    if let Some(list) = list {
        let names = match list.as_str() {
            "--services" => project.service_names(),
            "--volumes" => project.volumes(),
            "--networks" => project.networks(),
            "--images" => project.images(),
            _ => project.profiles(),
        };
        names.iter().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    println!(
        "{}",
        if json {
            project.to_json()
        } else {
            project.to_yaml()
        }
    );
    ExitCode::SUCCESS
}
