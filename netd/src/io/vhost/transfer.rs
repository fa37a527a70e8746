//! Frames out of one VM's memory, and into it.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::header::{self, LENGTH};
use super::ring::{Broken, Direction, Piece, Ring};
use crate::frame::{Batch, Features, FrameRef, LONGEST, Offload, Parts};

/// Lists that are used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pieces: Vec<Piece>,
    // Heads and lengths of chains.
    chains: Vec<(u16, u32)>,
}

/// Bytes of a large frame that are copied out at once: all its headers, which
/// are looked at. The guest may not change them after that.
const HEAD: usize = 256;

/// A large frame whose end is still where its guest put it.
#[derive(Debug)]
pub(super) struct Left {
    /// Its number in the batch.
    pub(super) number: usize,
    // Where its end lies; all of it is in memory.
    pieces: Vec<Piece>,
    /// Bytes of that.
    pub(super) length: usize,
}

/// What was received in one go.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Chains to give back once the batch is done with.
    chains: Vec<(u16, u32)>,
    /// Frames that lie in the guest's memory until then.
    pub(super) left: Vec<Left>,
}

impl Received {
    /// Gives the chains back.
    pub(super) fn done(&mut self, ring: &mut Ring, memory: &GuestMemoryMmap) -> Result<(), Broken> {
        ring.give(memory, &self.chains)
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.left.clear();
        self.chains.clear();
    }
}

/// Takes frames that the guest sends, as long as the batch has room. Returns
/// whether there may be more, for which nobody will be kicked.
pub(super) fn receive(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    may: Features,
    batch: &mut Batch,
    scratch: &mut Scratch,
    received: &mut Received,
) -> Result<bool, Broken> {
    ring.ignore(memory)?;
    loop {
        while batch.room() > 0 {
            scratch.pieces.clear();
            let head = ring.take(memory, Direction::FromGuest, &mut scratch.pieces)?;
            let Some(head) = head else {
                break;
            };
            received.chains.push((head, 0));
            take(memory, &scratch.pieces, may, batch, received)?;
        }
        if batch.room() == 0 {
            return Ok(true);
        }
        if !ring.listen(memory, 0)? {
            return Ok(false);
        }
    }
}

/// Takes one frame. One that cannot be has no bytes: whoever looks at it
/// finds it malformed.
fn take(
    memory: &GuestMemoryMmap,
    pieces: &[Piece],
    may: Features,
    batch: &mut Batch,
    received: &mut Received,
) -> Result<(), Broken> {
    let total: usize = pieces.iter().map(|piece| piece.length).sum();
    let mut header = [0; LENGTH];
    let frame = total
        .checked_sub(LENGTH)
        .filter(|length| *length <= LONGEST);
    let Some(length) = frame else {
        batch.push(0, Offload::NONE);
        return Ok(());
    };
    read(memory, &mut header, pieces, 0)?;
    let Some(offload) = header::parse(&header, length, may) else {
        batch.push(0, Offload::NONE);
        return Ok(());
    };
    let lent = offload.segments.is_some() && length > 4 * HEAD;
    let copied = if lent { HEAD } else { length };
    if lent {
        let pieces: Vec<Piece> = behind(pieces, LENGTH + HEAD).collect();
        for piece in &pieces {
            let found = memory.get_slice(piece.address, piece.length);
            found.map_err(|_| Broken::Buffer)?;
        }
        received.left.push(Left {
            number: batch.len(),
            pieces,
            length: length - HEAD,
        });
    }
    if let Some(place) = batch.places().next() {
        read(memory, &mut place[..copied], pieces, LENGTH)?;
    }
    batch.push(copied, offload);
    Ok(())
}

/// Copies the end of a frame to the batch after all.
pub(super) fn complete(memory: &GuestMemoryMmap, left: &Left, batch: &mut Batch) {
    let place = batch.lengthen(left.number, left.length);
    if read(memory, place, &left.pieces, 0).is_err() {
        tracing::debug!("memory is gone while it is read");
    }
}

/// The pieces behind the first `skip` bytes.
fn behind(pieces: &[Piece], skip: usize) -> impl Iterator<Item = Piece> {
    let mut skip = skip;
    pieces.iter().filter_map(move |piece| {
        let skipped = skip.min(piece.length);
        skip -= skipped;
        (skipped < piece.length).then(|| Piece {
            address: GuestAddress(piece.address.0.wrapping_add(skipped as u64)),
            length: piece.length - skipped,
        })
    })
}

/// Fills `to` with what comes behind the first `skip` bytes.
fn read(
    memory: &GuestMemoryMmap,
    to: &mut [u8],
    pieces: &[Piece],
    skip: usize,
) -> Result<(), Broken> {
    let mut rest = to;
    for piece in behind(pieces, skip) {
        let (now, later) = rest.split_at_mut(piece.length.min(rest.len()));
        if now.is_empty() {
            break;
        }
        memory
            .read_slice(now, piece.address)
            .map_err(|_| Broken::Buffer)?;
        rest = later;
    }
    Ok(())
}

/// A frame that lies in another guest's memory, but for its headers.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    pub(super) head: FrameRef<'a>,
    pub(super) memory: &'a GuestMemoryMmap,
    pub(super) left: &'a Left,
}

/// What became of a frame for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// The guest has it.
    Done,
    /// There are not enough buffers now, only this many chains.
    Later(usize),
    /// It does not fit the buffers that this guest has.
    Never,
}

/// Hands a frame to the guest.
pub(super) fn send(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    mergeable: bool,
    frame: &Parts<'_>,
    scratch: &mut Scratch,
) -> Result<Put, Broken> {
    if let Err(put) = reserve(ring, memory, mergeable, LENGTH + frame.len(), scratch)? {
        return Ok(put);
    }
    let header = header::emit(&frame.offload, headers(frame), scratch.chains.len() as u16);
    let mut buffers = Buffers::new(memory, &scratch.pieces);
    buffers.write(&header)?;
    for piece in frame.pieces {
        buffers.write(piece)?;
    }
    ring.give(memory, &scratch.chains)?;
    Ok(Put::Done)
}

/// Hands a frame from another guest to this one.
pub(super) fn send_lent(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    mergeable: bool,
    lent: &Lent<'_>,
    scratch: &mut Scratch,
) -> Result<Put, Broken> {
    let head = Parts::from(lent.head);
    let total = LENGTH + head.len() + lent.left.length;
    if let Err(put) = reserve(ring, memory, mergeable, total, scratch)? {
        return Ok(put);
    }
    let header = header::emit(&head.offload, headers(&head), scratch.chains.len() as u16);
    let mut buffers = Buffers::new(memory, &scratch.pieces);
    buffers.write(&header)?;
    buffers.write(lent.head.bytes)?;
    for piece in &lent.left.pieces {
        buffers.copy(lent.memory, *piece)?;
    }
    ring.give(memory, &scratch.chains)?;
    Ok(Put::Done)
}

/// Takes as many chains as `total` bytes need.
fn reserve(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    mergeable: bool,
    total: usize,
    scratch: &mut Scratch,
) -> Result<Result<(), Put>, Broken> {
    scratch.pieces.clear();
    scratch.chains.clear();
    let mut room = 0;
    while room < total {
        if !mergeable && !scratch.chains.is_empty() {
            ring.untake(scratch.chains.len());
            return Ok(Err(Put::Never));
        }
        let begin = scratch.pieces.len();
        let Some(head) = ring.take(memory, Direction::ToGuest, &mut scratch.pieces)? else {
            ring.untake(scratch.chains.len());
            return Ok(Err(Put::Later(scratch.chains.len())));
        };
        let chain: usize = scratch.pieces[begin..].iter().map(|p| p.length).sum();
        if chain < LENGTH && scratch.chains.is_empty() {
            return Err(Broken::Buffer);
        }
        scratch.chains.push((head, chain.min(total - room) as u32));
        room += chain;
    }
    Ok(Ok(()))
}

/// How many bytes of headers a large frame has: a hint for the receiver.
fn headers(frame: &Parts<'_>) -> usize {
    let Some(checksum) = frame.offload.checksum else {
        return 0;
    };
    let tcp = usize::from(checksum.start);
    let length = frame.pieces[0].get(tcp + 12).map_or(5, |byte| byte >> 4);
    tcp + usize::from(length) * 4
}

/// A guest's buffers, filled one after the other.
struct Buffers<'a> {
    memory: &'a GuestMemoryMmap,
    rest: std::slice::Iter<'a, Piece>,
    now: Piece,
}

impl<'a> Buffers<'a> {
    fn new(memory: &'a GuestMemoryMmap, pieces: &'a [Piece]) -> Buffers<'a> {
        Buffers {
            memory,
            rest: pieces.iter(),
            now: Piece {
                address: GuestAddress(0),
                length: 0,
            },
        }
    }

    /// The next place, with at most `length` bytes.
    fn place(&mut self, length: usize) -> Result<Piece, Broken> {
        while self.now.length == 0 {
            self.now = *self.rest.next().ok_or(Broken::Buffer)?;
        }
        let place = Piece {
            length: length.min(self.now.length),
            ..self.now
        };
        self.now.address.0 = self.now.address.0.wrapping_add(place.length as u64);
        self.now.length -= place.length;
        Ok(place)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let place = self.place(bytes.len())?;
            let (now, later) = bytes.split_at(place.length);
            self.memory
                .write_slice(now, place.address)
                .map_err(|_| Broken::Buffer)?;
            bytes = later;
        }
        Ok(())
    }

    /// Copies from another memory, where the piece is known to be.
    fn copy(&mut self, from: &GuestMemoryMmap, mut piece: Piece) -> Result<(), Broken> {
        while piece.length > 0 {
            let place = self.place(piece.length)?;
            let to = self.memory.get_slice(place.address, place.length);
            let to = to.map_err(|_| Broken::Buffer)?;
            if let Ok(from) = from.get_slice(piece.address, place.length) {
                from.copy_to_volatile_slice(to);
            }
            piece.address.0 += place.length as u64;
            piece.length -= place.length;
        }
        Ok(())
    }
}
