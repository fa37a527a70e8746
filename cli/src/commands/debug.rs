//! `stack debug`

mod redact;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use stack_api::container::Container;
use stack_api::debug::Debug as Details;
use stack_api::journal::EventQuery;
use stack_api::request::{self, Check, LogQuery, Version};
use stack_api::spec::StackSpec;
use stack_archive::Pack;
use stack_planner::plan::Plan;

use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::paths::Paths;
use crate::ui::human;
use crate::{exit, ui};
use redact::Secrets;

/// Lines of each container's log.
const LINES: u64 = 5000;
/// Bytes of the daemon's own log.
const DAEMON_LOG: usize = 256 << 10;

/// What is left out of the bundle of a stack that nobody can describe.
const UNKNOWN: &str = "logs, consoles and health checks: it cannot be had what the containers were \
     made from, so it is not known what is secret in them";

/// Gather what helps to find a problem
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: after a failure in CI\n  \
                  stack debug bundle -o bundle.tar")]
pub(crate) struct Debug {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Bundle(Bundle),
}

/// Write all that is known of a stack into a tar file
///
/// Logs, events, health probes, consoles of the VMs, the plan, the definition
/// and versions. Contents of secrets, and of variables that sound like one,
/// are replaced, wherever they turn up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: look at it\n  \
                  stack debug bundle -o b.tar && tar -xOf b.tar stack-debug/README")]
struct Bundle {
    /// File to write (default: stack-debug-PROJECT.tar)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Debug {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let What::Bundle(bundle) = self.what;
        bundle.run(context).await
    }
}

/// A folder that becomes the bundle.
struct Folder {
    dir: tempfile::TempDir,
    secrets: Secrets,
    /// What could not be had.
    missing: Vec<String>,
}

impl Folder {
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.dir.path().join(name);
        let failed = |source| Error::File {
            doing: "cannot write",
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&path, self.secrets.hide(text)).map_err(failed)
    }

    fn json(&self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from);
        self.write(name, &text.map_err(Error::Output)?)
    }

    /// Keeps a result, or remembers why there is none.
    fn keep<T>(&mut self, what: &str, result: Result<T, Error>) -> Option<T> {
        result
            .map_err(|error| self.missing.push(format!("{what}: {error}")))
            .ok()
    }
}

impl Bundle {
    async fn run(self, context: &Context) -> Result<u8, Error> {
        let name = context.named()?.name;
        let client = context.client().await?;
        let dir = tempfile::tempdir().map_err(Error::Output)?;
        let mut folder = Folder {
            dir,
            secrets: Secrets::default(),
            missing: Vec::new(),
        };
        let path = format!("/v1/stacks/{name}");
        let applied = client.get::<StackSpec>(&path).await;
        let applied = folder.keep("the definition that was applied", applied);
        let wanted = folder.keep("the stack file", context.spec(&[]));
        let details = client.get::<Vec<Details>>(&format!("{path}/debug")).await;
        let details = folder.keep("consoles", details);
        for spec in applied.iter().chain(&wanted) {
            folder.secrets.learn(spec);
        }
        let mut is_known = details.is_some() && (applied.is_some() || wanted.is_some());
        // What is in no definition any more has secrets, too.
        if let Some(details) = &details {
            let own = |one: &Details| one.definition.is_some();
            is_known |= !details.is_empty() && details.iter().all(own);
            for one in details {
                folder.secrets.learn_container(one);
            }
        }
        if let Some(spec) = &applied {
            folder.json("applied.json", &redact::spec(spec))?;
        }
        if let Some(spec) = wanted {
            folder.json("wanted.json", &redact::spec(&spec))?;
            let request = request::Up {
                spec,
                ..request::Up::default()
            };
            let plan = client.call::<Plan>(&format!("{path}/plan"), &request).await;
            if let Some(plan) = folder.keep("the plan", plan) {
                folder.json("plan.json", &redact::value(json!(plan)))?;
            }
        }
        let list = containers(&client, &name).await?;
        folder.json("containers.json", &redact::value(json!(list)))?;
        machine(&client, &mut folder).await?;
        events(&client, &name, &mut folder).await?;
        if is_known {
            consoles(details.unwrap_or_default(), &folder)?;
            logs(&client, &name, &list, &mut folder).await?;
        } else {
            context.ui.warn(UNKNOWN);
            folder.missing.push(UNKNOWN.to_owned());
        }
        folder.write("README", &readme(&name, &folder.missing))?;
        let output = self
            .output
            .unwrap_or_else(|| format!("stack-debug-{name}.tar").into());
        pack(&folder, &output)?;
        ui::print_line(output.display())?;
        Ok(exit::OK)
    }
}

fn pack(folder: &Folder, output: &Path) -> Result<(), Error> {
    let order = Pack {
        path: folder.dir.path().to_path_buf(),
        name: "stack-debug".to_owned(),
        ..Pack::default()
    };
    let failed = |source| Error::File {
        doing: "cannot write",
        path: output.to_path_buf(),
        source,
    };
    let file = fs::File::create(output).map_err(failed)?;
    stack_archive::pack(&order, std::io::BufWriter::new(file)).map_err(failed)
}

/// Versions, the state of this machine, and the daemon's log.
async fn machine(client: &Client, folder: &mut Folder) -> Result<(), Error> {
    let version = client.get::<Version>("/v1/version").await;
    let version = folder.keep("the daemon's version", version);
    folder.json(
        "versions.json",
        &json!({"stack": env!("CARGO_PKG_VERSION"), "stackd": version,
                "os": std::env::consts::OS, "arch": std::env::consts::ARCH}),
    )?;
    let checks = client.get::<Vec<Check>>("/v1/doctor").await;
    if let Some(checks) = folder.keep("the doctor's checks", checks) {
        folder.json("doctor.json", &checks)?;
    }
    if let Ok(paths) = Paths::from_env()
        && let Ok(bytes) = fs::read(paths.log())
    {
        let end = &bytes[bytes.len().saturating_sub(DAEMON_LOG)..];
        folder.write("stackd.log", &String::from_utf8_lossy(end))?;
    }
    Ok(())
}

fn consoles(list: Vec<Details>, folder: &Folder) -> Result<(), Error> {
    for details in list {
        let container = &details.container;
        for (kind, text) in [("console", &details.console), ("vmm", &details.vmm)] {
            if !text.is_empty() {
                folder.write(&format!("{kind}/{container}.txt"), text)?;
            }
        }
        if let Some(probe) = &details.probe {
            let text = format!("exit code {}\n{}", probe.code, probe.output);
            folder.write(&format!("health/{container}.txt"), &text)?;
        }
    }
    Ok(())
}

async fn events(client: &Client, name: &str, folder: &mut Folder) -> Result<(), Error> {
    let query = EventQuery {
        since_ns: Some(0),
        until_ns: Some(human::now_ms().saturating_mul(1_000_000)),
        ..EventQuery::default()
    };
    let all = async {
        let mut events = client.happenings(name, &query).await?;
        let mut text = String::new();
        while let Some(event) = events.next().await? {
            text.push_str(&redact::value(json!(event)).to_string());
            text.push('\n');
        }
        Ok(text)
    };
    if let Some(text) = folder.keep("events", all.await) {
        folder.write("events.jsonl", &text)?;
    }
    Ok(())
}

async fn logs(
    client: &Client,
    name: &str,
    list: &[Container],
    folder: &mut Folder,
) -> Result<(), Error> {
    for container in list {
        let query = LogQuery {
            services: Some(container.name.clone()),
            tail: Some(LINES),
            ..LogQuery::default()
        };
        let all = async {
            let mut lines = client.logs(name, &query).await?;
            let mut text = String::new();
            while let Some(line) = lines.next().await? {
                text.push_str(&crate::logs::timestamp(line.time_ns));
                text.push_str(if line.stderr { " err " } else { " out " });
                text.push_str(&line.line);
                text.push('\n');
            }
            Ok(text)
        };
        let what = format!("the log of {}", container.name);
        if let Some(text) = folder.keep(&what, all.await) {
            folder.write(&format!("logs/{}.txt", container.name), &text)?;
        }
    }
    Ok(())
}

fn readme(name: &str, missing: &[String]) -> String {
    let mut text = format!(
        "What `stack debug bundle` knew of the stack {name}.\n\n\
         applied.json, wanted.json  the definition that runs, and that of the file\n\
         plan.json                  what `stack up` would do\n\
         containers.json            containers as they are\n\
         events.jsonl               what happened to them\n\
         logs/ health/              what they and their health checks said\n\
         console/ vmm/              what their kernels and VMMs said\n\
         versions.json doctor.json stackd.log  this machine\n\n\
         Secrets are replaced by {}.\n",
        redact::HIDDEN
    );
    if !missing.is_empty() {
        text.push_str("\nNot in here:\n");
    }
    for what in missing {
        text.push_str(&format!("- {what}\n"));
    }
    text
}
