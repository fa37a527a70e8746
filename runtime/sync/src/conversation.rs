//! The conversation with the agent of one container that writes the files
//! ([`stack_protocol::sync`]).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use stack_protocol::sync::{
    self, Answer, FromGuest, Item, Kind, MAX_COMPARE, Outcome, Stamp, ToGuest,
};

use crate::beneath;
use crate::tree::{self, Unreadable};

/// Bytes sent at a time.
const PIECE: usize = 32 << 10;
/// How often a file is read that changes meanwhile.
const ATTEMPTS: usize = 3;
/// Paths that a target may have.
const MAX_LISTED: usize = 4 << 20;

/// The streams of an exec session that runs the agent's tool.
pub trait Channel {
    /// Sends bytes to its standard input.
    ///
    /// # Errors
    /// It has ended.
    fn send(&mut self, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;

    /// The next bytes of its standard output, never none.
    ///
    /// # Errors
    /// It has ended: why.
    fn receive(&mut self) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// What is to be done in a batch.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where.
    pub path: String,
    /// What to be there; `None`: nothing.
    pub now: Option<Kind>,
    /// What this host wrote there last.
    pub expected: Option<Stamp>,
}

/// An open conversation.
#[derive(Debug)]
pub struct Conversation<C> {
    channel: C,
    exact: bool,
    ahead: Option<Ahead>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// What was said before its batch was complete.
#[derive(Debug)]
struct Ahead {
    target: String,
    said: HashMap<String, Kind>,
}

/// A path, and why it could not be done.
pub type Failure = (String, String);

/// What came of saying an item.
#[derive(Default)]
struct Put {
    /// It was not read as a whole.
    why: Option<io::Error>,
    /// What was said last of it is half of it.
    is_spoiled: bool,
}

impl<C: Channel> Conversation<C> {
    /// Begins one.
    pub fn new(channel: C) -> Conversation<C> {
        Conversation {
            channel,
            exact: false,
            ahead: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        }
    }

    /// The target is to be the same and nothing else (`exact` of
    /// [`ToGuest::Begin`]), and a file that cannot be read is an error, and not
    /// left out with a failure: nobody tells later how it is.
    #[must_use]
    pub fn exact(self) -> Conversation<C> {
        Conversation {
            exact: true,
            ..self
        }
    }

    /// All paths below the target, relative to it. What cannot be read, or is
    /// no text, is left out.
    ///
    /// # Errors
    /// The container has ended.
    pub async fn list(&mut self, target: &str) -> io::Result<Vec<String>> {
        self.begin(target).await?;
        self.say(&ToGuest::List).await?;
        self.flush().await?;
        let mut all = Vec::new();
        loop {
            let FromGuest::Listed { paths, last } = self.hear().await? else {
                return Err(other_answer());
            };
            all.extend(paths);
            if all.len() > MAX_LISTED {
                return Err(io::Error::other("the container has too many files"));
            }
            if last {
                return Ok(all);
            }
        }
    }

    /// Which items the container does not have as they are in `root`.
    ///
    /// # Errors
    /// The container has ended.
    pub async fn missing(
        &mut self,
        root: &Path,
        target: &str,
        items: Vec<Item>,
    ) -> io::Result<Vec<Item>> {
        self.begin(target).await?;
        let mut missing = Vec::new();
        for chunk in items.chunks(MAX_COMPARE / 2) {
            self.say(&ToGuest::Compare {
                items: chunk.to_vec(),
            })
            .await?;
            self.flush().await?;
            let FromGuest::Compared { answers } = self.hear().await? else {
                return Err(other_answer());
            };
            for (item, answer) in chunk.iter().zip(answers) {
                let same = match answer {
                    Answer::Same => true,
                    Answer::Differs => false,
                    Answer::Content { sha256 } => {
                        digest(root, &item.path).is_ok_and(|own| own == sha256)
                    }
                };
                if !same {
                    missing.push(item.clone());
                }
            }
        }
        Ok(missing)
    }

    /// Says a part of a batch that is not complete yet: it lies ready when the
    /// rest comes. [`Conversation::apply`] with all of it has to follow; with
    /// another target, or after anything else, nothing is gained or lost.
    ///
    /// # Errors
    /// The container has ended.
    pub async fn ahead(&mut self, root: &Path, target: &str, steps: &mut [Step]) -> io::Result<()> {
        let mut ahead = self.take_ahead(target).await?;
        for step in steps {
            // What was below a directory is removed before a link takes its place.
            if matches!(step.now, Some(Kind::Symlink { .. })) {
                continue;
            }
            let put = self.put(root, step).await?;
            if put.is_spoiled {
                // With the whole, it is tried again.
                self.begin(target).await?;
                ahead.said.clear();
            } else if let (None, Some(now)) = (put.why, &step.now) {
                ahead.said.insert(step.path.clone(), now.clone());
            }
        }
        self.flush().await?;
        self.ahead = Some(ahead);
        Ok(())
    }

    /// What was said of `path` ahead holds no longer, be it that it looks the same.
    pub fn unsay(&mut self, path: &str) {
        if let Some(ahead) = &mut self.ahead {
            ahead.said.remove(path);
        }
    }

    /// Does a batch; the steps say afterwards what was really sent. A file that
    /// cannot be read as a whole stays as it is in the container, and is one of
    /// the outcome's failures.
    ///
    /// # Errors
    /// The container has ended; where it is to be exact, a file cannot be read
    /// (it has an [`Unreadable`] inside). Then nothing is done.
    pub async fn apply(
        &mut self,
        root: &Path,
        target: &str,
        steps: &mut [Step],
    ) -> io::Result<(Outcome, Vec<Failure>)> {
        let mut ahead = self.take_ahead(target).await?.said;
        let mut left_out = BTreeMap::new();
        while self.say_all(root, steps, &ahead, &mut left_out).await? {
            // What was said cannot be taken back one by one.
            self.begin(target).await?;
            ahead.clear();
        }
        self.say(&ToGuest::Commit).await?;
        self.flush().await?;
        let FromGuest::Committed(outcome) = self.hear().await? else {
            return Err(other_answer());
        };
        let failure = |(path, why): (String, Option<io::Error>)| {
            let why = match why? {
                own if own.kind() == io::ErrorKind::Other => own.to_string(),
                error => format!("it cannot be read: {error}"),
            };
            Some((path, why))
        };
        let failures = left_out.into_iter().filter_map(failure).collect();
        Ok((outcome, failures))
    }

    /// Says what was not said ahead, and notes what is left out: it cannot be read,
    /// or has gone. Gives whether half of something was said.
    async fn say_all(
        &mut self,
        root: &Path,
        steps: &mut [Step],
        ahead: &HashMap<String, Kind>,
        left_out: &mut BTreeMap<String, Option<io::Error>>,
    ) -> io::Result<bool> {
        let mut is_spoiled = false;
        for step in steps {
            if left_out.contains_key(&step.path) {
                continue;
            }
            let is_wanted = step.now.is_some();
            if is_wanted && step.now.as_ref() != ahead.get(&step.path) {
                let put = self.put(root, step).await?;
                is_spoiled |= put.is_spoiled;
                // Of one that has gone meanwhile another burst tells, if there is
                // to be one.
                if put.why.is_some() || step.now.is_none() && !self.exact {
                    left_out.insert(step.path.clone(), put.why);
                    continue;
                }
            }
            if step.now.is_none() {
                self.say(&ToGuest::Remove {
                    path: step.path.clone(),
                    expected: step.expected,
                })
                .await?;
            }
        }
        Ok(is_spoiled)
    }

    /// What was said ahead for `target`; if there is nothing, a batch begins.
    async fn take_ahead(&mut self, target: &str) -> io::Result<Ahead> {
        match self.ahead.take() {
            Some(ahead) if ahead.target == target => Ok(ahead),
            _ => {
                self.begin(target).await?;
                Ok(Ahead {
                    target: target.to_owned(),
                    said: HashMap::new(),
                })
            }
        }
    }

    async fn begin(&mut self, target: &str) -> io::Result<()> {
        self.ahead = None;
        let target = target.to_owned();
        let exact = self.exact;
        self.say(&ToGuest::Begin { target, exact }).await
    }

    /// Says an item, a file with its content. One that changes while it is read
    /// is said again.
    async fn put(&mut self, root: &Path, step: &mut Step) -> io::Result<Put> {
        let path = match step.path.as_str() {
            "" => root.to_path_buf(),
            path => root.join(path),
        };
        let mut put = Put::default();
        for _ in 0..ATTEMPTS {
            let mut file = None;
            if let Some(Kind::File { stamp, .. }) = &mut step.now {
                match beneath::file(root, &step.path) {
                    Ok(open) => {
                        if let Ok(stat) = rustix::fs::fstat(&open) {
                            *stamp = tree::stamp(&stat);
                        }
                        file = Some((open, *stamp));
                    }
                    Err(error) if self.exact && error.kind() != io::ErrorKind::NotFound => {
                        return Err(unreadable(&path, error));
                    }
                    // Or something else is there now, which is a change as well.
                    Err(error) if tree::is_gone(&error) => {
                        step.now = None;
                        return Ok(Put { why: None, ..put });
                    }
                    Err(error) => {
                        put.why = Some(error);
                        return Ok(put);
                    }
                }
            }
            let Some(kind) = step.now.clone() else {
                return Ok(Put::default());
            };
            self.say(&ToGuest::Put {
                item: Item {
                    path: step.path.clone(),
                    kind,
                },
                expected: step.expected,
            })
            .await?;
            let Some((file, stamp)) = file else {
                return Ok(Put::default());
            };
            let Err(error) = self.send_content(&file, stamp).await? else {
                return Ok(Put::default());
            };
            // It was written to at that moment, and will be said again for it.
            if !self.exact && error.kind() == io::ErrorKind::InvalidData {
                return Ok(Put::default());
            }
            put.is_spoiled = true;
            let changes = [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
            if !changes.contains(&error.kind()) {
                put.why = Some(error);
                break;
            }
            put.why = Some(io::Error::other("it changes while it is read"));
        }
        match put.why {
            Some(why) if self.exact => Err(unreadable(&path, why)),
            why => Ok(Put { why, ..put }),
        }
    }

    /// Exactly as many bytes as the stamp says, whatever happens to the file;
    /// then whether these are what it had: it cannot be read, or has changed
    /// (`UnexpectedEof`). What was only added at its end is left out.
    ///
    /// # Errors
    /// The container has ended.
    async fn send_content(
        &mut self,
        mut file: &std::fs::File,
        stamp: Stamp,
    ) -> io::Result<io::Result<()>> {
        let mut left = stamp.size;
        let mut result = Ok(());
        let mut buffer = vec![0; PIECE];
        while left > 0 {
            let want = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let read = match io::Read::read(&mut file, &mut buffer[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(read @ 1..) => read,
                end => {
                    let why = end.err().unwrap_or(io::ErrorKind::UnexpectedEof.into());
                    result = result.and(Err(why));
                    buffer[..want].fill(0);
                    want
                }
            };
            left -= read as u64;
            self.outgoing.extend_from_slice(&buffer[..read]);
            if self.outgoing.len() >= PIECE {
                self.flush().await?;
            }
        }
        let now = rustix::fs::fstat(file).map(|stat| tree::stamp(&stat));
        if now.is_ok_and(|now| now != stamp && now.size <= stamp.size) {
            result = result.and(Err(io::ErrorKind::InvalidData.into()));
        }
        Ok(result)
    }

    async fn say(&mut self, message: &ToGuest) -> io::Result<()> {
        sync::write(&mut self.outgoing, message)?;
        match self.outgoing.len() >= PIECE {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let outgoing = std::mem::take(&mut self.outgoing);
        for piece in outgoing.chunks(PIECE) {
            self.channel.send(piece.to_vec()).await?;
        }
        Ok(())
    }

    async fn hear(&mut self) -> io::Result<FromGuest> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(message);
            }
            let bytes = self.channel.receive().await?;
            self.incoming.extend(bytes);
        }
    }

    fn message(&mut self) -> io::Result<Option<FromGuest>> {
        let Some(length) = self.incoming.first_chunk::<4>() else {
            return Ok(None);
        };
        let whole = 4 + u32::from_le_bytes(*length) as usize;
        if whole - 4 <= sync::MAX_MESSAGE && self.incoming.len() < whole {
            return Ok(None);
        }
        let mut from = self.incoming.as_slice();
        let message = sync::read(&mut from)?;
        self.incoming.drain(..whole.min(self.incoming.len()));
        Ok(message)
    }
}

fn unreadable(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unreadable::new(path, error))
}

fn other_answer() -> io::Error {
    io::Error::other("the agent gave another answer")
}

fn digest(root: &Path, path: &str) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut beneath::file(root, path)?, &mut hasher)?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a guest that has nothing, and keeps what it is told.
    #[derive(Default)]
    struct Guest {
        said: Vec<u8>,
        told: Vec<ToGuest>,
        /// A file that gets shorter whenever something is sent.
        shrinks: Option<std::path::PathBuf>,
    }

    impl Channel for Guest {
        async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
            self.said.extend(bytes);
            if let Some(path) = &self.shrinks {
                let file = std::fs::File::options().write(true).open(path)?;
                file.set_len(file.metadata()?.len().saturating_sub(1))?;
            }
            Ok(())
        }

        async fn receive(&mut self) -> io::Result<Vec<u8>> {
            let said = std::mem::take(&mut self.said);
            let mut from = said.as_slice();
            while let Some(message) = sync::read(&mut from)? {
                if let ToGuest::Put { item, .. } = &message
                    && let Kind::File { stamp, .. } = item.kind
                {
                    from = &from[usize::try_from(stamp.size).unwrap()..];
                }
                self.told.push(message);
            }
            let mut answer = Vec::new();
            sync::write(&mut answer, &FromGuest::Committed(Outcome::default()))?;
            Ok(answer)
        }
    }

    fn file(path: &str) -> Step {
        let stamp = Stamp {
            size: 1,
            modified_ns: 0,
        };
        Step {
            path: path.to_owned(),
            now: Some(Kind::File { stamp, mode: 0o644 }),
            expected: None,
        }
    }

    /// What comes of a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_where_it_is_to_be_exact() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("there"), "text").unwrap();
        let mut steps = [file("gone"), file("there")];
        let mut exact = Conversation::new(Guest::default()).exact();
        now(exact.apply(dir.path(), "/t", &mut steps)).unwrap();
        let told = &exact.channel.told;
        assert!(matches!(told[0], ToGuest::Begin { exact: true, .. }));
        assert!(matches!(&told[1], ToGuest::Remove { path, .. } if path == "gone"));
        assert!(matches!(&told[2], ToGuest::Put { item, .. } if item.path == "there"));

        // A directory can be opened, and not read; nobody may follow the ring.
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        std::os::unix::fs::symlink("ring", dir.path().join("ring")).unwrap();
        for name in ["directory", "ring"] {
            let mut steps = [file(name)];
            let error = now(exact.apply(dir.path(), "/t", &mut steps)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            let mut lenient = Conversation::new(Guest::default());
            let (_, failures) = now(lenient.apply(dir.path(), "/t", &mut steps)).unwrap();
            // What is to be tried again says what is to be there.
            let failed = name == "directory";
            assert_eq!(failures.len(), usize::from(failed));
            assert_eq!(steps[0].now.is_some(), failed);
            assert_eq!(lenient.channel.told.len(), 2, "neither put nor removed");
        }
    }

    #[test]
    fn half_of_a_file_is_not_put_into_place() {
        let dir = tempfile::tempdir().unwrap();
        let big = dir.path().join("big");
        std::fs::write(&big, vec![1; 4 * PIECE]).unwrap();
        for name in ["a", "z"] {
            std::fs::write(dir.path().join(name), "text").unwrap();
        }
        let guest = || Guest {
            shrinks: Some(big.clone()),
            ..Guest::default()
        };
        let names = |told: &[ToGuest]| -> Vec<String> {
            let put = |message: &ToGuest| match message {
                ToGuest::Put { item, .. } => item.path.clone(),
                ToGuest::Begin { .. } => "begin".to_owned(),
                _ => String::new(),
            };
            told.iter().map(put).collect()
        };
        let first = ["begin", "a", "big", "big", "big"];
        let mut steps = ["a", "big", "z"].map(file);
        let mut session = Conversation::new(guest());
        let (_, failures) = now(session.apply(dir.path(), "/t", &mut steps)).unwrap();
        let [(path, why)] = failures.as_slice() else {
            panic!("{failures:?}");
        };
        assert!(
            path == "big" && why == "it changes while it is read",
            "{path}: {why}"
        );
        assert!(steps[1].now.is_some(), "it is tried again");
        let rest = ["z", "begin", "a", "z", ""];
        assert_eq!(names(&session.channel.told), [first, rest].concat());

        // Nor is half of it there when the batch comes.
        let mut session = Conversation::new(guest());
        now(session.ahead(dir.path(), "/t", &mut steps)).unwrap();
        session.channel.shrinks = None;
        let (_, failures) = now(session.apply(dir.path(), "/t", &mut steps)).unwrap();
        assert_eq!(failures, []);
        let rest = ["begin", "z", "a", "big", ""];
        assert_eq!(names(&session.channel.told), [first, rest].concat());

        let mut session = Conversation::new(guest()).exact();
        assert!(now(session.apply(dir.path(), "/t", &mut steps)).is_err());
    }

    #[test]
    fn what_was_said_ahead_is_not_said_again() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["same", "newer", "left"] {
            std::fs::write(dir.path().join(name), "a").unwrap();
        }
        let mut session = Conversation::new(Guest::default());
        let mut part = ["same", "newer", "gone"].map(file);
        now(session.ahead(dir.path(), "/t", &mut part)).unwrap();
        assert!(session.channel.told.is_empty() && part[2].now.is_none());

        // What it is now, as the tree of files says.
        let mut all = [part[0].clone(), file("newer"), file("gone"), file("left")];
        all[2].now = None;
        now(session.apply(dir.path(), "/t", &mut all)).unwrap();
        let told = |told: &[ToGuest]| -> Vec<String> {
            let name = |message: &ToGuest| match message {
                ToGuest::Begin { target, .. } => target.clone(),
                ToGuest::Put { item, .. } => item.path.clone(),
                ToGuest::Remove { path, .. } => format!("no {path}"),
                _ => String::new(),
            };
            told.iter().map(name).collect()
        };
        let wanted = ["/t", "same", "newer", "newer", "no gone", "left", ""];
        assert_eq!(told(&session.channel.told), wanted);

        // Another target's batch comes in between: all of it is said.
        let mut part = [file("same")];
        now(session.ahead(dir.path(), "/t", &mut part)).unwrap();
        now(session.apply(dir.path(), "/u", &mut [])).unwrap();
        session.channel.told.clear();
        now(session.apply(dir.path(), "/t", &mut part)).unwrap();
        assert_eq!(told(&session.channel.told), ["/t", "same", ""]);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("key"), "private").unwrap();
        std::os::unix::fs::symlink("../key", root.join("a")).unwrap();
        std::os::unix::fs::symlink("../..", root.join("sub/up")).unwrap();
        let mut steps = [file("a"), file("sub/up/key")];
        let mut watch = Conversation::new(Guest::default());
        now(watch.apply(&root, "/t", &mut steps)).unwrap();
        assert!(steps.iter().all(|step| step.now.is_none()));
        assert_eq!(watch.channel.told.len(), 2, "{:?}", watch.channel.told);
        let mut exact = Conversation::new(Guest::default()).exact();
        assert!(now(exact.apply(&root, "/t", &mut [file("a")])).is_err());
        assert!(digest(&root, "a").is_err());
    }

    #[test]
    fn a_file_that_shrinks_is_seen_and_one_that_grows_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "text").unwrap();
        let open = std::fs::File::open(&path).unwrap();
        let stamp = tree::stamp(&rustix::fs::fstat(&open).unwrap());
        let mut session = Conversation::new(Guest::default());
        std::fs::write(&path, "text and more").unwrap();
        now(session.send_content(&open, stamp)).unwrap().unwrap();
        std::fs::write(&path, "te").unwrap();
        let sent = now(session.send_content(&open, stamp)).unwrap();
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
