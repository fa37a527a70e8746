//! The conversation with [`Builtin::Listen`](crate::config::Builtin::Listen):
//! connections to a socket in the guest, on one stream in each direction.
//!
//! Both directions are pieces: four bytes that number the connection, four of
//! length, both little endian, and as many bytes. A piece without bytes ends
//! that direction of its connection. Connections are numbered by the guest,
//! from 1; a piece of connection 0 says that the socket is there.

use std::io::{self, Read, Write};

/// Bytes in one piece at most.
pub const MAX_PIECE: usize = 32 << 10;
/// Connections at a time.
pub const MAX_CONNECTIONS: usize = 64;
/// Bytes before those of a piece.
pub const HEADER: usize = 8;

/// Some bytes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its number.
    pub connection: u32,
    /// None: no more will come.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// As it is on the stream.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.bytes.len());
        out.extend(self.connection.to_le_bytes());
        out.extend((self.bytes.len() as u32).to_le_bytes());
        out.extend(&self.bytes);
        out
    }

    /// Takes the first piece from what has arrived; `None` when it is not
    /// there as a whole yet.
    ///
    /// # Errors
    /// It is too long.
    pub fn take(arrived: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        let Some((connection, length)) = header(arrived)? else {
            return Ok(None);
        };
        if arrived.len() < HEADER + length {
            return Ok(None);
        }
        let bytes = arrived[HEADER..HEADER + length].to_vec();
        arrived.drain(..HEADER + length);
        Ok(Some(Piece { connection, bytes }))
    }
}

fn header(bytes: &[u8]) -> io::Result<Option<(u32, usize)>> {
    let Some((connection, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(length) = rest.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    match length > MAX_PIECE {
        true => Err(io::Error::other("the piece is too long")),
        false => Ok(Some((u32::from_le_bytes(*connection), length))),
    }
}

/// Writes a piece.
///
/// # Errors
/// As `to`.
pub fn write(to: &mut impl Write, piece: &Piece) -> io::Result<()> {
    to.write_all(&piece.encode())?;
    to.flush()
}

/// Reads a piece; `None` at the end.
///
/// # Errors
/// As `from`; it is too long.
pub fn read(from: &mut impl Read) -> io::Result<Option<Piece>> {
    let mut start = [0; HEADER];
    match from.read_exact(&mut start) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some((connection, length)) = header(&start)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(Piece { connection, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_from_any_cut() {
        let pieces = [(1, b"hello".to_vec()), (7, Vec::new()), (1, vec![3; 300])];
        let pieces = pieces.map(|(connection, bytes)| Piece { connection, bytes });
        let whole: Vec<u8> = pieces.iter().flat_map(Piece::encode).collect();
        for size in 1..whole.len() {
            let (mut arrived, mut found) = (Vec::new(), Vec::new());
            for part in whole.chunks(size) {
                arrived.extend(part);
                while let Some(piece) = Piece::take(&mut arrived).unwrap() {
                    found.push(piece);
                }
            }
            assert_eq!(found, pieces);
        }
        let mut from = whole.as_slice();
        assert_eq!(read(&mut from).unwrap().as_ref(), pieces.first());
        assert!(read(&mut &[][..]).unwrap().is_none());
    }

    #[test]
    fn a_length_is_not_believed() {
        let bytes = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(Piece::take(&mut bytes.to_vec()).is_err());
        assert!(read(&mut &bytes[..]).is_err());
    }
}
