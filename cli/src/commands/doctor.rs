//! `stack doctor`

use std::path::Path;

use stack_api::request::Check;

use crate::client::daemon;
use crate::context::Context;
use crate::error::Error;
use crate::paths::Paths;
use crate::ui::form::Format;
use crate::ui::{palette, untrusted};
use crate::{exit, ui};

/// Check what this machine offers and what is missing
///
/// Ends with 1 when something is missing without which nothing can run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: what to put into a bug report\n  stack doctor; stack version")]
pub(crate) struct Doctor {
    /// table, or json: one object per line
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let mut checks = vec![check("stack", "ok", env!("CARGO_PKG_VERSION").to_owned())];
        checks.extend(here());
        let theirs = match context.client().await {
            Ok(client) => client.get::<Vec<Check>>("/v1/doctor").await,
            Err(error) => Err(error),
        };
        match theirs {
            Ok(theirs) => checks.extend(theirs),
            Err(error) => checks.push(failed("daemon", &error)),
        }
        for check in &checks {
            match self.format {
                Format::Json => {
                    let line = serde_json::to_string(check).map_err(std::io::Error::from);
                    ui::print_line(line.map_err(Error::Output)?)?;
                }
                Format::Table => self.show(context, check)?,
            }
        }
        let is_ill = checks.iter().any(|check| check.status == "error");
        Ok(if is_ill { exit::FAILURE } else { exit::OK })
    }

    fn show(&self, context: &Context, check: &Check) -> Result<(), Error> {
        let paint = context.ui.out;
        let mark = match check.status.as_str() {
            "ok" => paint.paint(palette::GOOD, "✔"),
            "warning" => paint.paint(palette::WARN, "!"),
            _ => paint.paint(palette::BAD, "✘"),
        };
        let name = format!("{:<12}", check.name);
        let found = untrusted::plain(&check.found);
        ui::print_line(format_args!(
            "{mark} {} {found}",
            paint.paint(palette::STRONG, name)
        ))?;
        if let Some(help) = &check.help {
            let help = paint.paint(palette::DIM, untrusted::plain(help));
            ui::print_line(format_args!("  {:<12} {help}", ""))?;
        }
        Ok(())
    }
}

/// What can be said without the daemon.
fn here() -> Vec<Check> {
    let mut checks = Vec::new();
    match daemon::find() {
        Ok(path) => checks.push(check("stackd", "ok", path.display().to_string())),
        // Only worth an error when none is running: the attempt to start it
        // tells.
        Err(error) => checks.push(Check {
            status: "warning".to_owned(),
            ..failed("stackd", &error)
        }),
    }
    match Paths::from_env() {
        Ok(paths) => {
            checks.push(check("data", "ok", paths.data.display().to_string()));
            checks.push(check("socket", "ok", paths.socket.display().to_string()));
            let log = paths.log();
            let found = log.display().to_string();
            let found = if log.exists() {
                found
            } else {
                format!("{found} (not there yet)")
            };
            checks.push(check("log", "ok", found));
        }
        Err(error) => checks.push(failed("data", &error)),
    }
    if cfg!(target_os = "linux") {
        checks.push(kvm(Path::new("/dev/kvm")));
    }
    checks
}

fn kvm(device: &Path) -> Check {
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(device)
    {
        Ok(_) => check("kvm", "ok", format!("{} can be opened", device.display())),
        Err(error) => {
            let mut check = check("kvm", "warning", format!("{}: {error}", device.display()));
            check.help = Some(match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "let your user use it: sudo usermod -aG kvm $USER, then log in again".to_owned()
                }
                _ => "VMs are emulated without it, several times slower".to_owned(),
            });
            check
        }
    }
}

fn check(name: &str, status: &str, found: String) -> Check {
    Check {
        name: name.to_owned(),
        status: status.to_owned(),
        found,
        help: None,
    }
}

fn failed(name: &str, error: &Error) -> Check {
    let found = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Check {
        help: error.help(),
        ..check(name, "error", found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_no_error() {
        let check = kvm(Path::new("/nonexistent/kvm"));
        assert_eq!(check.status, "warning");
        assert!(check.help.unwrap().contains("emulated"));
    }
}
