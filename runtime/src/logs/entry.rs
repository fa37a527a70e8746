//! One line of a log file.

use serde::{Deserialize, Serialize};
use stack_protocol::log::{Record, Stream};

/// A record as it is stored, or whole line made of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Sequence number in its boot; 0 at the start of a boot.
    pub sequence: u64,
    /// 1 standard output, 2 standard error, 0 the start of a boot.
    pub stream: u8,
    /// No newline followed.
    pub partial: bool,
    /// A hook of the service wrote it, not its own process.
    pub aside: bool,
    /// What was written.
    pub data: Vec<u8>,
}

/// The form in the file. Bytes that are no UTF-8 stand as characters of the
/// same numbers.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    #[serde(rename = "t")]
    time_ns: u64,
    #[serde(rename = "n")]
    sequence: u64,
    #[serde(rename = "s")]
    stream: u8,
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    aside: bool,
    #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
    bytes: bool,
    #[serde(rename = "l")]
    line: T,
}

impl Entry {
    /// The mark of a boot.
    pub(super) fn boot(time_ns: u64) -> Entry {
        Entry {
            time_ns,
            ..Entry::default()
        }
    }

    /// What was written, as text: what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// Reads a line of the file; `None` when it is none.
    pub(super) fn parse(line: &[u8]) -> Option<Entry> {
        let stored: Stored<String> = serde_json::from_slice(line).ok()?;
        let data = if stored.bytes {
            stored.line.chars().map(|c| u32::from(c) as u8).collect()
        } else {
            stored.line.into_bytes()
        };
        Some(Entry {
            time_ns: stored.time_ns,
            sequence: stored.sequence,
            stream: stored.stream,
            partial: stored.partial,
            aside: stored.aside,
            data,
        })
    }

    /// Appends the line for the file.
    pub(super) fn write(&self, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let Entry {
            time_ns,
            sequence,
            stream,
            partial,
            aside,
            ..
        } = *self;
        let stored = Stored {
            time_ns,
            sequence,
            stream,
            partial,
            aside,
            bytes: false,
            line: (),
        };
        write(to, stored, &self.data)
    }
}

/// Appends the line of a record.
pub(super) fn write_record(
    record: &Record,
    aside: bool,
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let stored = Stored {
        time_ns: record.time_ns,
        sequence: record.sequence,
        stream: match record.stream {
            Stream::Stderr => 2,
            Stream::Stdout => 1,
        },
        partial: record.partial,
        aside,
        bytes: false,
        line: (),
    };
    write(to, stored, &record.data)
}

fn write(to: &mut Vec<u8>, stored: Stored<()>, data: &[u8]) -> serde_json::Result<()> {
    let text = std::str::from_utf8(data);
    let characters: String;
    let (bytes, line) = match text {
        Ok(text) => (false, text),
        Err(_) => {
            characters = data.iter().map(|byte| char::from(*byte)).collect();
            (true, characters.as_str())
        }
    };
    let stored = Stored {
        time_ns: stored.time_ns,
        sequence: stored.sequence,
        stream: stored.stream,
        partial: stored.partial,
        aside: stored.aside,
        bytes,
        line,
    };
    serde_json::to_writer(&mut *to, &stored)?;
    to.push(b'\n');
    Ok(())
}
