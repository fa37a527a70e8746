//! Messages on a byte stream: two bytes of length before each (RFC 1035,
//! 4.2.2).

/// Longest query taken from a guest, in bytes; answers may be longer.
const MAX_QUERY: usize = 4096;

/// Collects what a stream brings.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    buffer: Vec<u8>,
}

impl Framer {
    /// Takes bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// The next message is longer than a query may be.
    pub(crate) fn pop(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_QUERY {
            return Err(TooLong);
        }
        let Some(message) = rest.get(..length) else {
            return Ok(None);
        };
        let message = message.to_vec();
        self.buffer.drain(..2 + length);
        Ok(Some(message))
    }
}

/// A message is longer than a query may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// A message with its length before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message[..usize::from(length)]);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole() {
        let mut framer = Framer::default();
        let stream = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let mut out = Vec::new();
        for byte in stream {
            framer.push(&[byte]);
            while let Some(message) = framer.pop().unwrap() {
                out.push(message);
            }
        }
        assert_eq!(out, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        framer.push(&[0xff, 0xff]);
        assert_eq!(framer.pop(), Err(TooLong));
    }
}
