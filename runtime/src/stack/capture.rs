//! What passes a container's network cards, frame by frame: a pcapng stream.
//!
//! Each network daemon gives a stream of the cards that it serves. Of several,
//! one is made: the interfaces of all come first, then the frames as they come,
//! with their interfaces' numbers in the whole.

use std::collections::BTreeMap;
use std::io;

use futures_util::{Stream, StreamExt, stream};
use stack_api::event::ApiError;
use stack_api::network::CaptureQuery;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::daemon::Daemon;
use crate::network::{Network, endpoint_id};

/// pcapng's blocks (draft-ietf-opsawg-pcapng): a section's header, and a frame.
const SECTION: u32 = 0x0A0D_0D0A;
const PACKET: u32 = 6;

/// Kind and length, before the body; and the length again, after it.
const AROUND: usize = 12;

/// No frame is longer.
const LONGEST: usize = 256 << 10;

/// `GET /v1/stacks/{name}/capture`
///
/// # Errors
/// There is no such container that runs, or it is not on the network.
pub async fn capture(
    daemon: &Daemon,
    project: &str,
    query: &CaptureQuery,
) -> Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static, ApiError> {
    let records: Vec<_> = daemon
        .handles(Some(project))
        .iter()
        .map(|h| h.record())
        .collect();
    let record = records.iter().find(|record| {
        let container = &record.container;
        container.service == query.service
            && container.state.is_live()
            && query.index.is_none_or(|index| index == container.number)
    });
    let Some(record) = record else {
        let message = format!("no container of service {} runs", query.service);
        return Err(ApiError::new("not_running", message).help("start it with `stack up -d`"));
    };
    let networks = daemon.all_networks()?;
    let home_of = |name: &String| networks.iter().find(|n| n.name == *name).map(Network::home);
    let on: Vec<_> = record.nics.iter().filter(|nic| !nic.unplugged).collect();
    let mut by_home: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for nic in &on {
        let asked = query.network.as_ref();
        if asked.is_none_or(|name| *name == nic.network)
            && let Some(home) = home_of(&nic.network)
        {
            let endpoint = endpoint_id(&record.container.id, nic);
            by_home.entry(home).or_default().push(endpoint);
        }
    }
    if by_home.is_empty() {
        let name = &record.container.name;
        let known: Vec<&str> = on.iter().map(|nic| nic.network.as_str()).collect();
        let error = |message: String| ApiError::new("no_such_network", message);
        return Err(match &query.network {
            Some(network) if !known.is_empty() => {
                error(format!("{name} is not on network {network}"))
                    .help(format!("it is on: {}", known.join(", ")))
            }
            _ => error(format!("{name} is on no network")),
        });
    }
    let mut sources = Vec::new();
    for (home, endpoints) in by_home {
        let interfaces = endpoints.len();
        let frames = daemon.netd(&home).capture(endpoints).await?;
        sources.push((frames, interfaces));
    }
    let joined = join(sources).await;
    joined.map_err(|error| ApiError::new("netd", format!("the capture failed: {error}")))
}

/// One stream of several, which have so many interfaces each.
async fn join<R: AsyncRead + Unpin + Send + 'static>(
    sources: Vec<(R, usize)>,
) -> io::Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static> {
    let (mut head, mut parts, mut first) = (Vec::new(), Vec::new(), 0);
    for (source, interfaces) in sources {
        let mut part = Part {
            source,
            unread: Vec::new(),
            first,
        };
        for _ in 0..=interfaces {
            let block = part.next_block().await?;
            if head.is_empty() || word(&block, 0) != SECTION {
                head.extend(block);
            }
        }
        parts.push(stream::unfold(part, async |mut part| {
            let blocks = part.blocks().await.transpose()?;
            Some((blocks, part))
        }));
        first += interfaces as u32;
    }
    let parts = parts.into_iter().map(StreamExt::boxed);
    Ok(stream::once(async { Ok(head) }).chain(stream::select_all(parts)))
}

/// A network daemon's stream.
struct Part<R> {
    source: R,
    unread: Vec<u8>,
    // The number that its first interface has in the whole.
    first: u32,
}

impl<R: AsyncRead + Unpin> Part<R> {
    async fn read(&mut self) -> io::Result<bool> {
        self.unread.reserve(64 << 10);
        Ok(self.source.read_buf(&mut self.unread).await? > 0)
    }

    async fn next_block(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = block(&self.unread)? {
                return Ok(self.unread.drain(..length).collect());
            }
            if !self.read().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// All blocks that are there, at least one; `None` at the end. What the
    /// client does not read waits in the network daemon, up to a limit.
    async fn blocks(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut whole = 0;
            while let Some(length) = block(&self.unread[whole..])? {
                let own = &mut self.unread[whole..whole + length];
                if word(own, 0) == PACKET {
                    let interface = word(own, 8).saturating_add(self.first);
                    own[8..AROUND].copy_from_slice(&interface.to_ne_bytes());
                }
                whole += length;
            }
            if whole > 0 {
                return Ok(Some(self.unread.drain(..whole).collect()));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }
}

/// How long the block is that these bytes begin with, if all of it is there.
fn block(bytes: &[u8]) -> io::Result<Option<usize>> {
    if bytes.len() < AROUND {
        return Ok(None);
    }
    let length = word(bytes, 4) as usize;
    let least = if word(bytes, 0) == PACKET {
        AROUND + 20
    } else {
        AROUND
    };
    if !(least..=LONGEST).contains(&length) {
        let message = format!("a block of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok((bytes.len() >= length).then_some(length))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACE: u32 = 1;

    fn bytes(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = ((body.len() + AROUND) as u32).to_ne_bytes();
        [&kind.to_ne_bytes(), &length[..], body, &length].concat()
    }

    fn packet(interface: u32, mark: u32) -> Vec<u8> {
        let words = [interface, 0, 0, 4, 4, mark];
        bytes(PACKET, &words.map(u32::to_ne_bytes).concat())
    }

    #[tokio::test]
    async fn streams_are_joined_with_all_their_interfaces() {
        let section = bytes(SECTION, &[0; 16]);
        let card = |n: u8| bytes(INTERFACE, &[n; 8]);
        let one = [
            &section[..],
            &card(1),
            &card(2),
            &packet(1, 10),
            &packet(0, 11),
        ]
        .concat();
        let two = [&section[..], &card(3), &packet(0, 12)].concat();
        // In pieces: blocks are whole nonetheless.
        let pieces = |all: &[u8]| {
            let (a, b) = all.split_at(all.len() / 2 + 1);
            std::io::Cursor::new(a.to_vec()).chain(std::io::Cursor::new(b.to_vec()))
        };
        let joined = join(vec![(pieces(&one), 2), (pieces(&two), 1)])
            .await
            .unwrap();
        let chunks: Vec<Vec<u8>> = joined.map(Result::unwrap).collect().await;
        assert_eq!(
            chunks[0],
            [&section[..], &card(1), &card(2), &card(3)].concat()
        );
        let mut rest = chunks[1..].concat();
        let mut seen = Vec::new();
        while let Some(length) = block(&rest).unwrap() {
            let packet: Vec<u8> = rest.drain(..length).collect();
            seen.push((word(&packet, 8), word(&packet, 28)));
        }
        seen.sort_unstable();
        assert_eq!(seen, [(0, 11), (1, 10), (2, 12)]);
    }

    #[tokio::test]
    async fn what_is_no_capture_ends_it() {
        let rubbish: &[u8] = b"this is no block of anything";
        assert!(join(vec![(rubbish, 1)]).await.is_err());
        let cut = std::io::Cursor::new(SECTION.to_ne_bytes());
        assert!(join(vec![(cut, 1)]).await.is_err());
    }
}
