//! New images from old ones: one more layer, and another configuration.

mod parse;
mod words;

pub use parse::parse_changes;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::assemble::Stack;
use crate::config::{ConfigFile, ImageHealthcheck};
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::image::ImageSummary;
use crate::layer::{LayerError, unpack};
use crate::lock::blocking;
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::record::{LayerFile, Origin};
use crate::reference::Reference;
use crate::save::Whole;
use crate::space::SpaceGuard;
use crate::store::{Finished, Store};

/// What is new about an image.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The image that it is made from, as in [`Store::find_image`].
    pub base: String,
    /// Its name; without one it is known by its id.
    pub name: Option<String>,
    /// Who made it.
    pub author: String,
    /// What it is.
    pub message: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// What made the layer, for the history.
    pub made_by: String,
    /// What becomes of the `config` object of its configuration.
    pub changes: Vec<Change>,
}

/// A change of how an image wants to be run, with the meaning of the
/// Dockerfile's instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Arguments.
    Cmd(Vec<String>),
    /// Program; arguments of before are forgotten.
    Entrypoint(Vec<String>),
    /// A variable.
    Env(String, String),
    /// A variable is not there any more.
    Unset(String),
    /// `port/protocol`
    Expose(String),
    /// A label.
    Label(String, String),
    /// A path that is a volume.
    Volume(String),
    /// User.
    User(String),
    /// Working directory; a relative one goes on from that of before.
    WorkingDir(String),
    /// Signal.
    StopSignal(String),
    /// No health check.
    NoHealthcheck,
    /// A health check; what is empty or 0 in it is that of before.
    Healthcheck(ImageHealthcheck),
    /// Command for images that are built from this one.
    OnBuild(String),
}

/// The archive of a new layer. Writing fails when
/// it becomes too large, or the disk is nearly full.
#[derive(Debug)]
pub struct Spool {
    file: File,
    space: SpaceGuard,
    /// Bytes that it may still get.
    left: u64,
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                "there are more changes than a layer may have",
            )
        })?;
        self.space.before_write(&self.file, bytes.len())?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Store {
    /// A file without a name for the archive of a new layer.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn spool(&self) -> Result<Spool, Error> {
        let file = tempfile::tempfile_in(self.root().join("tmp"));
        Ok(self.spool_to(file.map_err(Error::store("a new layer"))?))
    }

    /// As [`Store::spool`], into a file that is there.
    pub fn spool_to(&self, file: File) -> Spool {
        Spool {
            file,
            space: SpaceGuard::default(),
            left: self.inner().limits.unpacked,
        }
    }

    /// Makes an image of another one and the archive of one more layer.
    ///
    /// # Errors
    /// The base is not here, the archive is not good, or the disk is full.
    pub async fn commit(&self, order: &Commit, layer: Spool) -> Result<ImageSummary, Error> {
        let mut layer = layer.file;
        let held = self.hold().await?;
        let name = order.name.clone().unwrap_or_else(|| "the new image".into());
        let named: Option<Reference> = order.name.as_deref().map(Reference::to_give).transpose()?;
        let base = Whole::find(self, &order.base)?.record;
        let (diff_id, mut layer) = blocking(move || Ok((digest(&mut layer)?, layer)))
            .await
            .map_err(Error::store("a new layer"))?;
        layer
            .seek(SeekFrom::Start(0))
            .map_err(Error::store("a new layer"))?;
        let config = configuration(&base.origin.config, &diff_id, order)
            .map_err(|why| Error::bad(&name, why))?;
        let id = Digest::of(config.as_bytes());
        let parsed = ConfigFile::parse(config.as_bytes()).map_err(|why| Error::bad(&name, why))?;
        let inner = self.inner();
        let reporter = Reporter::new(Arc::new(|_| {}), &name, diff_id.short(), 0);
        inner
            .ensure_layer(&diff_id, &reporter, async |lock| {
                let job = inner.job(layer, None, &diff_id);
                let held = (lock, held.clone());
                let work = tokio::task::spawn_blocking(move || {
                    let _held = held;
                    unpack(job)
                });
                let result = work.await;
                result
                    .unwrap_or_else(|error| Err(LayerError::from(io::Error::other(error))))
                    .map_err(|error| Error::layer(error, &name, &inner.root))
            })
            .await?;
        let mut layers = base.origin.layers.clone();
        layers.push(diff_id);
        let stack = Stack::new(&layers);
        // Layers of the base that are merged there and are not here.
        let missing = stack
            .needed(self.root())
            .into_iter()
            .filter(|id| !LayerFile::Layer(id.clone()).is_whole(self.root()))
            .collect::<Vec<_>>();
        for id in missing {
            self.make_again(&base, &id, &held).await?;
        }
        let finished = Finished {
            reference: named.map_or_else(|| id.to_string(), |name| name.to_string()),
            digest: id.clone(),
            id,
            platform: parsed.platform().unwrap_or_else(Platform::host).to_string(),
            config: parsed.image_config(),
            stack,
            origin: Origin {
                config,
                layers,
                ..Origin::default()
            },
        };
        let record = inner.finish(finished, held.into_inner()).await?;
        Ok(record.summary(self.root()))
    }
}

fn digest(file: &mut File) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(&buffer[..len]),
        }
    }
}

/// The base's configuration with the new layer and all changes. What nobody
/// here knows of stays as it is.
fn configuration(base: &str, diff_id: &Digest, order: &Commit) -> Result<String, String> {
    let mut config: Value =
        serde_json::from_str(base).map_err(|error| format!("its configuration: {error}"))?;
    let whole = config
        .as_object_mut()
        .ok_or("its configuration is no object")?;
    whole.insert("created".to_owned(), json!(order.created));
    match order.author.as_str() {
        "" => drop(whole.shift_remove("author")),
        author => drop(whole.insert("author".to_owned(), json!(author))),
    }
    // Docker's own, about the container that made the base.
    for name in ["container", "container_config", "id", "parent"] {
        whole.shift_remove(name);
    }
    let mut step = json!({"created": order.created, "created_by": order.made_by});
    if !order.author.is_empty() {
        step["author"] = json!(order.author);
    }
    if !order.message.is_empty() {
        step["comment"] = json!(order.message);
    }
    match whole.entry("history").or_insert_with(|| json!([])) {
        Value::Array(history) => history.push(step),
        other => *other = json!([step]),
    }
    let Some(Value::Array(layers)) = whole.get_mut("rootfs").map(|root| &mut root["diff_ids"])
    else {
        return Err("its configuration names no layers".to_owned());
    };
    layers.push(json!(diff_id));
    let run = whole.entry("config").or_insert_with(|| json!({}));
    if !run.is_object() {
        *run = json!({});
    }
    if let Some(run) = run.as_object_mut() {
        for change in &order.changes {
            change.apply(run);
        }
    }
    Ok(config.to_string())
}

impl Change {
    fn apply(&self, run: &mut Map<String, Value>) {
        let set = |run: &mut Map<String, Value>, name: &str, value: Value| {
            run.insert(name.to_owned(), value);
        };
        let into = |run: &mut Map<String, Value>, name: &str, key: &str, value: Value| match run
            .get_mut(name)
        {
            Some(Value::Object(all)) => drop(all.insert(key.to_owned(), value)),
            _ => drop(run.insert(name.to_owned(), json!({key: value}))),
        };
        match self {
            Change::Cmd(words) => set(run, "Cmd", json!(words)),
            Change::Entrypoint(words) => {
                set(run, "Entrypoint", json!(words));
                run.shift_remove("Cmd");
            }
            Change::Env(name, value) => {
                let line = format!("{name}={value}");
                let begins = format!("{name}=");
                let mut lines: Vec<Value> = match run.get("Env") {
                    Some(Value::Array(lines)) => lines.clone(),
                    _ => Vec::new(),
                };
                let there = lines
                    .iter_mut()
                    .find(|known| known.as_str().is_some_and(|l| l.starts_with(&begins)));
                match there {
                    Some(known) => *known = json!(line),
                    None => lines.push(json!(line)),
                }
                set(run, "Env", json!(lines));
            }
            Change::Unset(name) => {
                let begins = format!("{name}=");
                if let Some(Value::Array(lines)) = run.get_mut("Env") {
                    lines.retain(|line| !line.as_str().is_some_and(|l| l.starts_with(&begins)));
                }
            }
            Change::Expose(port) => into(run, "ExposedPorts", port, json!({})),
            Change::Label(name, value) => into(run, "Labels", name, json!(value)),
            Change::Volume(path) => into(run, "Volumes", path, json!({})),
            Change::User(user) => set(run, "User", json!(user)),
            Change::WorkingDir(dir) => {
                let before = run.get("WorkingDir").and_then(Value::as_str);
                let dir = match dir.starts_with('/') {
                    true => dir.clone(),
                    false => format!("{}/{dir}", before.unwrap_or("").trim_end_matches('/')),
                };
                set(run, "WorkingDir", json!(dir));
            }
            Change::StopSignal(signal) => set(run, "StopSignal", json!(signal)),
            Change::NoHealthcheck => set(run, "Healthcheck", json!({"Test": ["NONE"]})),
            Change::Healthcheck(check) => healthcheck(check, run),
            Change::OnBuild(line) => match run.get_mut("OnBuild") {
                Some(Value::Array(lines)) => lines.push(json!(line)),
                _ => set(run, "OnBuild", json!([line])),
            },
        }
    }
}

fn healthcheck(check: &ImageHealthcheck, run: &mut Map<String, Value>) {
    let mut whole = match run.get("Healthcheck") {
        Some(Value::Object(before)) => before.clone(),
        _ => Map::new(),
    };
    if !check.test.is_empty() {
        whole.insert("Test".to_owned(), json!(check.test));
    }
    if check.retries > 0 {
        whole.insert("Retries".to_owned(), json!(check.retries));
    }
    let times = [
        ("Interval", check.interval_ms),
        ("Timeout", check.timeout_ms),
        ("StartPeriod", check.start_period_ms),
        ("StartInterval", check.start_interval_ms),
    ];
    for (name, ms) in times.into_iter().filter(|(_, ms)| *ms > 0) {
        // In nanoseconds, which Go has 63 bits for.
        let ns = ms.saturating_mul(1_000_000).min(i64::MAX as u64);
        whole.insert(name.to_owned(), json!(ns));
    }
    run.insert("Healthcheck".to_owned(), json!(whole));
}

#[cfg(test)]
mod tests;
