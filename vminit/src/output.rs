//! The service's output: lines, stamped and numbered, kept until the host
//! has them on disk.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stack_protocol::log::{MAX_DATA, Record, Stream};

/// Longest piece of a line.
const PIECE: usize = MAX_DATA;
/// Beyond this many bytes that the host has not stored, the service's
/// output is not read: a service that writes faster must wait.
const KEEP: usize = 4 << 20;
/// What has waited that long for its newline (a prompt, say) goes without.
const PATIENCE: Duration = Duration::from_millis(40);

/// Output on its way to the host.
#[derive(Debug, Default)]
pub(crate) struct Output {
    kept: VecDeque<Record>,
    bytes: usize,
    sequence: u64,
    sent: u64,
    half: [Vec<u8>; 2],
    /// Since when there has been half a line.
    since: Option<Instant>,
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

impl Output {
    /// There is room for more.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < KEEP
    }

    /// Takes bytes as they were read.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let half = usize::from(stream == Stream::Stderr);
        let mut pending = std::mem::take(&mut self.half[half]);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            pending.extend_from_slice(part);
            if pending.ends_with(b"\n") {
                pending.pop();
                self.record(stream, std::mem::take(&mut pending), false);
            } else if pending.len() >= PIECE {
                self.record(stream, std::mem::take(&mut pending), true);
            }
        }
        self.half[half] = pending;
        if self.half.iter().all(Vec::is_empty) {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// What has no newline goes without: nobody shall wait for it.
    pub(crate) fn flush(&mut self) {
        for (n, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            let rest = std::mem::take(&mut self.half[n]);
            if !rest.is_empty() {
                self.record(stream, rest, true);
            }
        }
        self.since = None;
    }

    /// When to call [`flush`](Self::flush).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    fn record(&mut self, stream: Stream, data: Vec<u8>, partial: bool) {
        let mut data = data;
        loop {
            let rest = if data.len() > PIECE {
                data.split_off(PIECE)
            } else {
                Vec::new()
            };
            self.sequence += 1;
            self.bytes += data.len() + 64;
            self.kept.push_back(Record {
                sequence: self.sequence,
                time_ns: now_ns(),
                stream,
                partial: partial || !rest.is_empty(),
                data,
            });
            if rest.is_empty() {
                return;
            }
            data = rest;
        }
    }

    /// The next record that was not sent in this conversation.
    pub(crate) fn next_to_send(&mut self) -> Option<&Record> {
        let first = self.kept.front()?.sequence;
        let index = (self.sent + 1).saturating_sub(first) as usize;
        let record = self.kept.get(index)?;
        self.sent = record.sequence;
        Some(record)
    }

    /// The host has everything up to this one.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        while self
            .kept
            .front()
            .is_some_and(|record| record.sequence <= sequence)
        {
            if let Some(record) = self.kept.pop_front() {
                self.bytes -= record.data.len() + 64;
            }
        }
    }

    /// A new conversation: the host has everything up to this one.
    pub(crate) fn resume(&mut self, sequence: u64) {
        self.acknowledge(sequence);
        self.sent = sequence;
    }

    /// Everything has been sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent >= self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_resent() {
        let mut output = Output::default();
        output.push(Stream::Stdout, b"one\ntw");
        output.push(Stream::Stdout, b"o\nrest");
        output.flush();
        let mut texts = Vec::new();
        while let Some(record) = output.next_to_send() {
            texts.push(String::from_utf8(record.data.clone()).unwrap());
        }
        assert_eq!(texts, ["one", "two", "rest"]);
        output.resume(1);
        assert_eq!(output.next_to_send().unwrap().sequence, 2);
        output.acknowledge(2);
        assert_eq!(output.next_to_send().unwrap().sequence, 3);
        assert!(output.is_sent());
    }

    #[test]
    fn half_a_line_goes_when_it_is_time_and_its_rest_ends_it() {
        let mut output = Output::default();
        output.push(Stream::Stdout, b"name? ");
        assert!(output.deadline().is_some());
        assert!(output.next_to_send().is_none());
        output.flush();
        assert!(output.deadline().is_none());
        let first = output.next_to_send().unwrap().clone();
        assert_eq!(
            (first.data.as_slice(), first.partial),
            (&b"name? "[..], true)
        );
        output.push(Stream::Stdout, b"\n");
        let rest = output.next_to_send().unwrap();
        assert_eq!((rest.data.len(), rest.partial), (0, false));
    }
}
