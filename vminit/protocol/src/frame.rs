//! Frames: the unit on the wire, and how the two sides find the first one.
//!
//! Layout, all integers little-endian:
//!
//! ```text
//! u8 kind | u8 0 | u16 0xA57C (check) | u32 channel | u32 length | payload
//! ```
//!
//! `length` counts the payload alone and is at most [`MAX_PAYLOAD`], from
//! host to guest [`MAX_CONFIGURE`].

/// Bytes before the payload.
pub const HEADER_LEN: usize = 12;

/// Largest payload in bytes, but for a `Configure` message.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Largest payload that the guest takes, in bytes: `Configure` carries the
/// small files of the service.
pub const MAX_CONFIGURE: usize = 16 << 20;

/// How many unacknowledged bytes one side may send on a data channel.
pub const WINDOW: u32 = 256 * 1024;

const CHECK: u16 = 0xA57C;

/// What the payload of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One JSON message; `channel` is 0.
    Control = 1,
    /// Bytes of an exec session. `channel` is `session * 4 + stream`, stream
    /// 0 = standard input, 1 = standard output, 2 = standard error. An empty
    /// payload means end of file on that stream. Session 0 is the service,
    /// which has standard input alone: its output comes as log frames.
    Data = 2,
    /// `channel` as for data; the payload is a `u32`: so many more bytes may
    /// be sent on that channel. Both sides start with [`WINDOW`].
    Credit = 3,
    /// One [`Record`](crate::log::Record) of the service's output; channel 0.
    Log = 4,
}

/// A frame was not one: the stream must be re-synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFrame;

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed frame on the agent stream")
    }
}

impl std::error::Error for BadFrame {}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: Kind,
    /// Which session and stream; 0 outside data and credit frames.
    pub channel: u32,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A control frame that holds `message` as JSON.
    ///
    /// # Panics
    /// Never for this crate's messages: they all serialise.
    pub fn control<T: serde::Serialize>(message: &T) -> Frame {
        let payload = serde_json::to_vec(message).unwrap_or_default();
        Frame {
            kind: Kind::Control,
            channel: 0,
            payload,
        }
    }

    /// A data frame for `stream` (0, 1 or 2) of an exec session.
    pub fn data(session: u32, stream: u32, payload: Vec<u8>) -> Frame {
        Frame {
            kind: Kind::Data,
            channel: session * 4 + stream,
            payload,
        }
    }

    /// Grants `bytes` more on `stream` of an exec session.
    pub fn credit(session: u32, stream: u32, bytes: u32) -> Frame {
        Frame {
            kind: Kind::Credit,
            channel: session * 4 + stream,
            payload: bytes.to_le_bytes().to_vec(),
        }
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(HEADER_LEN + self.payload.len());
        out.push(self.kind as u8);
        out.push(0);
        out.extend_from_slice(&CHECK.to_le_bytes());
        out.extend_from_slice(&self.channel.to_le_bytes());
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.payload);
    }

    /// The frame's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// Collects bytes and gives frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl Default for Decoder {
    /// Takes payloads of at most [`MAX_PAYLOAD`] bytes.
    fn default() -> Decoder {
        Decoder::with_limit(MAX_PAYLOAD)
    }
}

impl Decoder {
    /// Takes payloads of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Decoder {
        Decoder {
            buffer: Vec::new(),
            start: 0,
            limit,
        }
    }

    /// The bytes so far end within a frame.
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Takes more bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`BadFrame`] when the bytes cannot be a frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BadFrame> {
        let rest = &self.buffer[self.start..];
        let Some((header, body)) = rest.split_at_checked(HEADER_LEN) else {
            return Ok(None);
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let kind = match header[0] {
            1 => Kind::Control,
            2 => Kind::Data,
            3 => Kind::Credit,
            4 => Kind::Log,
            _ => return Err(BadFrame),
        };
        let length = word(8) as usize;
        if header[1] != 0 || header[2..4] != CHECK.to_le_bytes() || length > self.limit {
            return Err(BadFrame);
        }
        let Some(payload) = body.get(..length) else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            channel: word(4),
            payload: payload.to_vec(),
        };
        self.start += HEADER_LEN + length;
        Ok(Some(frame))
    }

    /// Drops everything up to and including the next [`Preamble`]; gives its
    /// nonce when one was found. Bytes after it stay for
    /// [`next_frame`](Self::next_frame).
    pub fn find_preamble(&mut self) -> Option<[u8; 8]> {
        let rest = &self.buffer[self.start..];
        let found = rest
            .windows(Preamble::MAGIC.len())
            .position(|w| w == Preamble::MAGIC);
        let Some(at) = found else {
            // Keep what may be the beginning of the magic.
            let keep = rest.len().min(Preamble::MAGIC.len() - 1);
            self.start += rest.len() - keep;
            return None;
        };
        let end = at + Preamble::LEN;
        let Some(nonce) = rest.get(at + Preamble::MAGIC.len()..end) else {
            self.start += at;
            return None;
        };
        let nonce: [u8; 8] = nonce.try_into().ok()?;
        self.start += end;
        Some(nonce)
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }
}

/// The first bytes of a conversation: magic and a random nonce.
///
/// The host opens the port and sends a preamble; whatever the guest was in
/// the middle of, it drops its half-read input, answers with the *same*
/// preamble and goes on with whole frames. The host skips all bytes before
/// its own preamble. The guest looks for a preamble whenever the port was
/// closed by the host, and after a [`BadFrame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble;

impl Preamble {
    /// Cannot begin a frame: no frame kind is 0x7f.
    pub const MAGIC: [u8; 8] = *b"\x7fSTACK\r\n";
    /// Length of a preamble: magic and nonce.
    pub const LEN: usize = 16;

    /// The 16 bytes for a nonce.
    pub fn bytes(nonce: [u8; 8]) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&Self::MAGIC);
        out[8..].copy_from_slice(&nonce);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_split() {
        let frames = [
            Frame::data(3, 1, b"hello".to_vec()),
            Frame::credit(3, 1, 77),
            Frame::data(3, 1, Vec::new()),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn preamble_is_found_behind_rubbish() {
        let mut decoder = Decoder::default();
        decoder.push(b"half a fra\x7fSTACK");
        assert_eq!(decoder.find_preamble(), None);
        decoder.push(b"\r\n12345678");
        decoder.push(&Frame::data(1, 0, b"x".to_vec()).to_bytes());
        assert_eq!(decoder.find_preamble(), Some(*b"12345678"));
        assert_eq!(decoder.next_frame().unwrap().unwrap().payload, b"x");
    }

    #[test]
    fn rubbish_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[9; 12]);
        assert_eq!(decoder.next_frame(), Err(BadFrame));
    }
}
