//! One piece of the service's output, as a log frame carries it.
//!
//! ```text
//! u64 sequence | u64 time (ns since the epoch) | u8 stream | u8 flags | bytes
//! ```

/// Which output a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Standard output (also a terminal's only output).
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// A line of output without its newline, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// 1, 2, 3… in the order the agent read them, per boot.
    pub sequence: u64,
    /// When the agent read it: nanoseconds since 1970-01-01 UTC.
    pub time_ns: u64,
    /// Where it came from.
    pub stream: Stream,
    /// No newline followed (yet): the next record of this stream goes on.
    pub partial: bool,
    /// At most [`MAX_DATA`] bytes.
    pub data: Vec<u8>,
}

const HEADER: usize = 18;

/// Most bytes of output in one record.
pub const MAX_DATA: usize = 16 << 10;

impl Record {
    /// The payload of a log frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.data.len());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.time_ns.to_le_bytes());
        out.push(self.stream as u8);
        out.push(u8::from(self.partial));
        out.extend_from_slice(&self.data);
        out
    }

    /// Reads a log frame's payload; `None` when it is not one.
    pub fn decode(payload: &[u8]) -> Option<Record> {
        let (header, data) = payload.split_at_checked(HEADER)?;
        if data.len() > MAX_DATA {
            return None;
        }
        Some(Record {
            sequence: u64::from_le_bytes(header[..8].try_into().ok()?),
            time_ns: u64::from_le_bytes(header[8..16].try_into().ok()?),
            stream: match header[16] {
                1 => Stream::Stdout,
                2 => Stream::Stderr,
                _ => return None,
            },
            partial: header[17] & 1 == 1,
            data: data.to_vec(),
        })
    }
}
