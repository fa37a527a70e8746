//! Frames out of one VM's memory, and into it.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::header::{self, LENGTH};
use super::ring::{Broken, Direction, Piece, Ring};
use crate::frame::{Batch, Features, LONGEST, Offload, Parts};

/// Lists that are used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pieces: Vec<Piece>,
    // Heads and lengths of chains.
    chains: Vec<(u16, u32)>,
}

/// Takes frames that the guest sends, as long as the batch has room. Returns
/// whether there may be more, for which nobody will be kicked.
pub(super) fn receive(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    may: Features,
    batch: &mut Batch,
    scratch: &mut Scratch,
) -> Result<bool, Broken> {
    ring.ignore(memory)?;
    loop {
        while batch.room() > 0 {
            scratch.pieces.clear();
            let head = ring.take(memory, Direction::FromGuest, &mut scratch.pieces)?;
            let Some(head) = head else {
                break;
            };
            let (length, offload) = match batch.places().next() {
                Some(place) => gather(memory, &scratch.pieces, may, place)?,
                None => (0, Offload::NONE),
            };
            batch.push(length, offload);
            ring.give(memory, &[(head, 0)])?;
        }
        if batch.room() == 0 {
            return Ok(true);
        }
        if !ring.listen(memory, 0)? {
            return Ok(false);
        }
    }
}

/// Copies one frame to `place`. One that cannot be has no bytes: whoever
/// looks at it finds it malformed.
fn gather(
    memory: &GuestMemoryMmap,
    pieces: &[Piece],
    may: Features,
    place: &mut [u8],
) -> Result<(usize, Offload), Broken> {
    let total: usize = pieces.iter().map(|piece| piece.length).sum();
    let nothing = Ok((0, Offload::NONE));
    let Some(length) = total.checked_sub(LENGTH) else {
        return nothing;
    };
    if length > LONGEST || length > place.len() {
        return nothing;
    }
    let mut header = [0; LENGTH];
    let mut done = 0;
    for piece in pieces {
        let mut address = piece.address;
        let mut left = piece.length;
        if done < LENGTH {
            let part = left.min(LENGTH - done);
            read(memory, &mut header[done..done + part], address)?;
            address = GuestAddress(address.0 + part as u64);
            left -= part;
            done += part;
        }
        if left > 0 {
            let at = done - LENGTH;
            read(memory, &mut place[at..at + left], address)?;
            done += left;
        }
    }
    match header::parse(&header, length, may) {
        Some(offload) => Ok((length, offload)),
        None => nothing,
    }
}

fn read(memory: &GuestMemoryMmap, to: &mut [u8], from: GuestAddress) -> Result<(), Broken> {
    memory.read_slice(to, from).map_err(|_| Broken::Buffer)
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
    let total = LENGTH + frame.len();
    scratch.pieces.clear();
    scratch.chains.clear();
    let mut room = 0;
    while room < total {
        if !mergeable && !scratch.chains.is_empty() {
            ring.untake(scratch.chains.len());
            return Ok(Put::Never);
        }
        let begin = scratch.pieces.len();
        let Some(head) = ring.take(memory, Direction::ToGuest, &mut scratch.pieces)? else {
            ring.untake(scratch.chains.len());
            return Ok(Put::Later(scratch.chains.len()));
        };
        let chain: usize = scratch.pieces[begin..].iter().map(|p| p.length).sum();
        if chain < LENGTH && scratch.chains.is_empty() {
            return Err(Broken::Buffer);
        }
        scratch.chains.push((head, chain.min(total - room) as u32));
        room += chain;
    }
    let header = header::emit(&frame.offload, headers(frame), scratch.chains.len() as u16);
    let [a, b, c] = frame.pieces;
    scatter(memory, &scratch.pieces, [&header, a, b, c])?;
    ring.give(memory, &scratch.chains)?;
    Ok(Put::Done)
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

/// Writes bytes one after the other into the buffers, which have room.
fn scatter(memory: &GuestMemoryMmap, buffers: &[Piece], bytes: [&[u8]; 4]) -> Result<(), Broken> {
    let mut buffers = buffers.iter();
    let (mut address, mut room) = (GuestAddress(0), 0);
    for mut bytes in bytes {
        while !bytes.is_empty() {
            if room == 0 {
                let next = buffers.next().ok_or(Broken::Buffer)?;
                (address, room) = (next.address, next.length);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            memory
                .write_slice(now, address)
                .map_err(|_| Broken::Buffer)?;
            address = GuestAddress(address.0 + now.len() as u64);
            room -= now.len();
            bytes = later;
        }
    }
    Ok(())
}
