//! The conversation with [`Builtin::Sync`](crate::config::Builtin::Sync):
//! files of the host are made to be the same in a running container.
//!
//! Both directions are [`write`]-framed messages: four bytes of length,
//! little endian, and as many bytes of JSON. A [`ToGuest::Put`] of a regular
//! file is followed by its content, as many bytes as its size says.
//!
//! ```text
//! host                                   guest
//! Begin ───────────────────────────────►
//! Compare ─────────────────────────────►
//!        ◄───────────────────────────── Compared      (any number of times)
//! List ────────────────────────────────►
//!        ◄───────────────────────────── Listed, …     (when it is of interest)
//! Put, content, Put, …, Remove, … ─────►              (staged aside)
//! Commit ──────────────────────────────►
//!        ◄───────────────────────────── Committed     (renamed into place)
//! ```

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest message in bytes, content of files not counted.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Items in one [`ToGuest::Compare`] at most.
pub const MAX_COMPARE: usize = 1000;
/// Conflicts and failures of an [`Outcome`] at most.
pub const MOST_TOLD: usize = 100;

/// From the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", try_from = "Flat")]
pub enum ToGuest {
    /// Paths of what follows start here.
    Begin {
        /// Absolute path in the container. A file, when the items' path is
        /// empty.
        target: String,
        /// The target is to be the same and nothing else: a link never counts
        /// as the directory that it leads to, and modes are taken with their
        /// setuid, setgid and sticky bits.
        #[serde(default)]
        exact: bool,
    },
    /// Which of these are there already?
    Compare {
        /// What the host has.
        items: Vec<Item>,
    },
    /// What is below the target?
    List,
    /// Write this.
    Put {
        /// What to write.
        item: Item,
        /// What the host wrote last: anything else is a conflict.
        expected: Option<Stamp>,
    },
    /// Delete a file, or a directory with all that is in it.
    Remove {
        /// Relative to the target.
        path: String,
        /// As in [`ToGuest::Put`].
        expected: Option<Stamp>,
    },
    /// Everything has been said: make it so.
    Commit,
}

/// [`ToGuest`] with the fields of all: read in one go, where an enum of which a
/// field says which it is takes three times as long.
#[derive(Deserialize)]
struct Flat {
    r#type: Which,
    target: Option<String>,
    #[serde(default)]
    exact: bool,
    items: Option<Vec<Item>>,
    item: Option<Item>,
    path: Option<String>,
    expected: Option<Stamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Begin,
    Compare,
    List,
    Put,
    Remove,
    Commit,
}

impl TryFrom<Flat> for ToGuest {
    type Error = &'static str;

    fn try_from(flat: Flat) -> Result<ToGuest, &'static str> {
        let Flat {
            exact, expected, ..
        } = flat;
        Ok(match flat.r#type {
            Which::Begin => ToGuest::Begin {
                target: flat.target.ok_or("no target")?,
                exact,
            },
            Which::Compare => ToGuest::Compare {
                items: flat.items.ok_or("no items")?,
            },
            Which::List => ToGuest::List,
            Which::Put => ToGuest::Put {
                item: flat.item.ok_or("no item")?,
                expected,
            },
            Which::Remove => ToGuest::Remove {
                path: flat.path.ok_or("no path")?,
                expected,
            },
            Which::Commit => ToGuest::Commit,
        })
    }
}

/// From the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum FromGuest {
    /// Answer to [`ToGuest::Compare`], in its order.
    Compared {
        /// One for each item.
        answers: Vec<Answer>,
    },
    /// Answer to [`ToGuest::List`]: one or more of these.
    Listed {
        /// Relative to the target, `/` between names, a directory before what
        /// is in it. Links are not followed; names that are no text are left
        /// out.
        paths: Vec<String>,
        /// No more will come.
        last: bool,
    },
    /// Answer to [`ToGuest::Commit`].
    Committed(Outcome),
}

/// A file, directory or symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Relative to the target, `/` between names, without `..`; empty is the
    /// target itself.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Item`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File {
        /// Size and time of the last change.
        stamp: Stamp,
        /// Permission bits.
        mode: u32,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points to, as it is written in the link.
        to: String,
    },
}

/// How a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Stamp {
    /// The same file, as far as can be told: a file system may keep whole
    /// seconds only.
    pub fn is_like(&self, other: &Stamp) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let coarse = self.modified_ns % SECOND == 0 || other.modified_ns % SECOND == 0;
        let same_time = self.modified_ns == other.modified_ns
            || (coarse
                && self.modified_ns.div_euclid(SECOND) == other.modified_ns.div_euclid(SECOND));
        self.size == other.size && same_time
    }
}

/// What the container has in place of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The same.
    Same,
    /// Nothing, or something else.
    Differs,
    /// A file of the same size and another time: the SHA-256 of its content,
    /// in hexadecimal digits.
    Content {
        /// The digest.
        sha256: String,
    },
}

/// What came of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Files, directories and links that were written.
    pub written: u64,
    /// Paths that were removed.
    pub removed: u64,
    /// Had been changed in the container since they were written from here,
    /// and are overwritten; the first [`MOST_TOLD`].
    pub conflicts: Vec<String>,
    /// Could not be done: path and reason; the first [`MOST_TOLD`].
    /// An empty path is that of the target: nothing could be done.
    pub failures: Vec<(String, String)>,
}

/// Writes a message.
///
/// # Errors
/// As `to`; the message is too long.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    to.write_all(&(json.len() as u32).to_le_bytes())?;
    to.write_all(&json)
}

/// Reads a message; `None` at the end.
///
/// # Errors
/// As `from`; it is no message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    let mut json = vec![0; length];
    from.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let mut bytes = Vec::new();
        let begin = ToGuest::Begin {
            target: "/app".to_owned(),
            exact: true,
        };
        let older: ToGuest = serde_json::from_str(r#"{"type":"begin","target":"/"}"#).unwrap();
        assert!(matches!(older, ToGuest::Begin { exact: false, .. }));
        write(&mut bytes, &begin).unwrap();
        write(&mut bytes, &ToGuest::Commit).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from).unwrap(), Some(begin));
        assert_eq!(read(&mut from).unwrap(), Some(ToGuest::Commit));
        assert_eq!(read::<ToGuest>(&mut from).unwrap(), None);
    }

    #[test]
    fn a_length_is_not_believed() {
        let mut from: &[u8] = &[0xff, 0xff, 0xff, 0xff, b'{'];
        assert!(read::<ToGuest>(&mut from).is_err());
    }

    #[test]
    fn whole_seconds_are_enough() {
        let stamp = |modified_ns| Stamp {
            size: 1,
            modified_ns,
        };
        assert!(stamp(5_000_000_000).is_like(&stamp(5_700_000_000)));
        assert!(!stamp(5_100_000_000).is_like(&stamp(5_700_000_000)));
    }
}
