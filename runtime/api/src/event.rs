//! Progress and results of a long-running call: one JSON object per line.

use serde::{Deserialize, Serialize};

/// One line of the answer. The last line is always [`Event::Done`] or
/// [`Event::Failed`]; a connection that ends without one was cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// An image layer moved on.
    Layer {
        /// Image reference.
        image: String,
        /// Short digest.
        layer: String,
        /// What is being done.
        phase: LayerPhase,
        /// Bytes done.
        done: u64,
        /// Bytes in all; 0 when not known.
        total: u64,
    },
    /// A thing moved on: `kind` is image, network, volume or container.
    Step {
        /// image, network, volume, container.
        kind: String,
        /// Its name.
        name: String,
        /// The phase, as a word for the user: "creating", "created",
        /// "starting", "started", "waiting", "healthy", "stopping",
        /// "stopped", "removing", "removed", "pulling", "pulled", "running",
        /// "recreating".
        status: String,
        /// It ended (well): the line can stop spinning.
        finished: bool,
        /// More to say, e.g. why it waits.
        detail: Option<String>,
        /// Milliseconds since the operation began.
        at_ms: u64,
    },
    /// A line that a build wrote.
    Output {
        /// The image that is built.
        name: String,
        /// Without its end; not to be trusted.
        line: String,
    },
    /// Something to know that is not an error.
    Warning {
        /// One sentence.
        message: String,
    },
    /// Something that is as it should be, and good to know.
    Note {
        /// One sentence.
        message: String,
    },
    /// The call is done.
    Done {
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// The call failed.
    Failed(ApiError),
}

/// What is being done to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerPhase {
    /// Coming from the registry.
    Downloading,
    /// Being unpacked.
    Extracting,
    /// Going to the registry.
    Uploading,
    /// Ready.
    Done,
    /// Was there already.
    Exists,
}

/// An error for the user; also the body of every answer with a 4xx or 5xx
/// status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// Stable word, e.g. `port_in_use`, `image_not_found`, `unauthorized`.
    pub code: String,
    /// What went wrong, one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Exit code for the command; 1 unless there is a better one.
    pub exit_code: i32,
}

impl ApiError {
    /// An error with exit code 1 and no help.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        ApiError {
            code: code.to_owned(),
            message: message.into(),
            help: None,
            exit_code: 1,
        }
    }

    /// The same error with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
