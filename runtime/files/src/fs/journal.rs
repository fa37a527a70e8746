//! What the next server must know of a VM's file system, as records in a
//! memory file that the keeper holds. Only the first records up to one that
//! is cut off or damaged count: what it would have said was not answered yet.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use super::locks::Range;
use super::tree::Identity;

/// A journal of this size is worth writing anew, when most of it is history.
const LARGE: u64 = 8 << 20;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A node has this name, too.
    Name {
        node: u64,
        share: u32,
        identity: Identity,
        parent: u64,
        name: Vec<u8>,
    },
    /// A name is gone.
    Unname { parent: u64, name: Vec<u8> },
    /// The guest takes this name for not there.
    Absent { parent: u64, name: Vec<u8> },
    /// The request with this number has told the guest of the node.
    Told { node: u64, request: u64 },
    /// By the request with this number the guest knows it so many times less.
    Forget { node: u64, times: u64, request: u64 },
    /// In a journal that was written anew: a node, whether it has names or not, and how
    /// often the guest was told of it.
    Node {
        node: u64,
        share: u32,
        identity: Identity,
        lookups: u64,
    },
    /// In such a journal: the next new node has this number.
    Next { node: u64 },
    /// The request with this number, which cannot be done twice, has come so far.
    Begun { request: u64, deed: Deed },
    /// All locks of this owner on this file.
    Locks {
        identity: Identity,
        owner: u64,
        flock: bool,
        ranges: Vec<Range>,
    },
}

/// What tells whether a request has been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is about to make something that must not be there yet, at this time:
    /// nanoseconds since the epoch.
    Making(u64),
    /// It has made something that must not be there yet.
    Made,
    /// It moves or removes what had a name: this file.
    Named(Identity),
    /// It appends to a file that has this size.
    Appends(u64),
}

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: OwnedFd,
    end: u64,
    /// Size after it was written anew.
    base: u64,
}

impl Journal {
    /// Takes it over, and gives what is in it.
    pub(super) fn open(file: OwnedFd) -> io::Result<(Journal, Vec<Record>)> {
        let size = rustix::fs::fstat(&file)?.st_size;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut got = 0;
        while got < bytes.len() {
            match rustix::io::pread(&file, &mut bytes[got..], got as u64)? {
                0 => break,
                n => got += n,
            }
        }
        let (records, end) = parse(&bytes[..got]);
        // How much of it is history nobody knows: a large one is soon written anew.
        let (end, base) = (end as u64, 0);
        Ok((Journal { file, end, base }, records))
    }

    /// Adds records.
    pub(super) fn add(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes = records.iter().flat_map(encode).collect::<Vec<u8>>();
        let mut done = 0;
        while done < bytes.len() {
            done += rustix::io::pwrite(&self.file, &bytes[done..], self.end + done as u64)?;
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        self.end
    }

    /// Nothing is known any more.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        rustix::fs::ftruncate(&self.file, 0)?;
        (self.end, self.base) = (0, 0);
        Ok(())
    }

    /// Most of it is history.
    pub(super) fn is_large(&self) -> bool {
        self.end > LARGE && self.end > 4 * self.base
    }

    /// Goes on with a new one that begins with these records; gives its file,
    /// which the keeper must get.
    pub(super) fn renew(&mut self, records: &[Record]) -> io::Result<OwnedFd> {
        let mut fresh = Journal {
            file: rustix::fs::memfd_create("journal", MemfdFlags::CLOEXEC)?,
            end: 0,
            base: 0,
        };
        fresh.add(records)?;
        fresh.base = fresh.end;
        let file = fresh.file.try_clone()?;
        *self = fresh;
        Ok(file)
    }
}

/// Length and check sum, then a letter, numbers, and a name.
fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    let mut put = |letter: u8, numbers: &[u64], name: &[u8]| {
        bytes.push(letter);
        bytes.push(numbers.len() as u8);
        for number in numbers {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(name);
    };
    match record {
        Record::Name {
            node,
            share,
            identity: Identity { dev, ino, born },
            parent,
            name,
        } => put(
            b'n',
            &[*node, u64::from(*share), *dev, *ino, *born, *parent],
            name,
        ),
        Record::Unname { parent, name } => put(b'u', &[*parent], name),
        Record::Absent { parent, name } => put(b'a', &[*parent], name),
        Record::Told { node, request } => put(b't', &[*node, *request], b""),
        Record::Forget {
            node,
            times,
            request,
        } => put(b'f', &[*node, *times, *request], b""),
        Record::Node {
            node,
            share,
            identity: Identity { dev, ino, born },
            lookups,
        } => {
            let numbers = [*node, u64::from(*share), *dev, *ino, *born, *lookups];
            put(b'd', &numbers, b"");
        }
        Record::Next { node } => put(b'i', &[*node], b""),
        Record::Begun { request, deed } => match deed {
            Deed::Making(since) => put(b'g', &[*request, *since], b""),
            Deed::Made => put(b'm', &[*request], b""),
            Deed::Named(Identity { dev, ino, born }) => {
                put(b'x', &[*request, *dev, *ino, *born], b"");
            }
            Deed::Appends(size) => put(b'p', &[*request, *size], b""),
        },
        Record::Locks {
            identity: Identity { dev, ino, born },
            owner,
            flock,
            ranges,
        } => {
            let mut all = Vec::new();
            for range in ranges {
                all.extend(range.start.to_le_bytes());
                all.extend(range.end.to_le_bytes());
                all.push(u8::from(range.write));
            }
            put(b'l', &[*dev, *ino, *born, *owner, u64::from(*flock)], &all);
        }
    }
    let length = (bytes.len() - 8) as u32;
    let sum = sum(&bytes[8..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn parse(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((record, length)) = first(&bytes[at..]) {
        records.push(record);
        at += length;
    }
    (records, at)
}

fn first(bytes: &[u8]) -> Option<(Record, usize)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (length, expected) = (number(0)? as usize, number(4)?);
    let body = bytes.get(8..8 + length)?;
    if length < 2 || sum(body) != expected {
        return None;
    }
    let count = usize::from(body[1]);
    let (numbers, name) = body[2..].split_at_checked(count * 8)?;
    let numbers: Vec<u64> = numbers
        .chunks_exact(8)
        .filter_map(|eight| Some(u64::from_le_bytes(eight.try_into().ok()?)))
        .collect();
    let record = match (body[0], &numbers[..]) {
        (b'n', &[node, share, dev, ino, born, parent]) => Record::Name {
            node,
            share: share as u32,
            identity: Identity { dev, ino, born },
            parent,
            name: name.to_vec(),
        },
        (b'u', &[parent]) => Record::Unname {
            parent,
            name: name.to_vec(),
        },
        (b'a', &[parent]) => Record::Absent {
            parent,
            name: name.to_vec(),
        },
        (b't', &[node, request]) => Record::Told { node, request },
        (b'f', &[node, times, request]) => Record::Forget {
            node,
            times,
            request,
        },
        (b'd', &[node, share, dev, ino, born, lookups]) => Record::Node {
            node,
            share: share as u32,
            identity: Identity { dev, ino, born },
            lookups,
        },
        (b'i', &[node]) => Record::Next { node },
        (b'g', &[request, since]) => Record::Begun {
            request,
            deed: Deed::Making(since),
        },
        (b'm', &[request]) => Record::Begun {
            request,
            deed: Deed::Made,
        },
        (b'x', &[request, dev, ino, born]) => Record::Begun {
            request,
            deed: Deed::Named(Identity { dev, ino, born }),
        },
        (b'p', &[request, size]) => Record::Begun {
            request,
            deed: Deed::Appends(size),
        },
        (b'l', &[dev, ino, born, owner, flock]) => Record::Locks {
            identity: Identity { dev, ino, born },
            owner,
            flock: flock == 1,
            ranges: name.chunks_exact(17).filter_map(range).collect(),
        },
        _ => return None,
    };
    Some((record, 8 + length))
}

fn range(bytes: &[u8]) -> Option<Range> {
    Some(Range {
        start: u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?),
        end: u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
        write: bytes.get(16) == Some(&1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_torn_end_is_left_out() {
        let identity = Identity {
            dev: 1,
            ino: u64::MAX,
            born: 3,
        };
        let range = Range {
            start: 0,
            end: u64::MAX,
            write: true,
        };
        let records = vec![
            Record::Name {
                node: 9,
                share: 2,
                identity,
                parent: 1,
                name: b"a \xff".to_vec(),
            },
            Record::Unname {
                parent: 1,
                name: vec![],
            },
            Record::Locks {
                identity,
                owner: 77,
                flock: true,
                ranges: vec![range, range],
            },
            Record::Absent {
                parent: 9,
                name: b"none".to_vec(),
            },
            Record::Begun {
                request: 12,
                deed: Deed::Made,
            },
            Record::Begun {
                request: 14,
                deed: Deed::Named(identity),
            },
            Record::Begun {
                request: 15,
                deed: Deed::Making(800),
            },
            Record::Begun {
                request: 16,
                deed: Deed::Appends(900),
            },
            Record::Told {
                node: 9,
                request: 16,
            },
            Record::Node {
                node: 9,
                share: 2,
                identity,
                lookups: 3,
            },
            Record::Next { node: 10 },
            Record::Forget {
                node: 9,
                times: 2,
                request: 18,
            },
        ];
        let memory = rustix::fs::memfd_create("j", MemfdFlags::CLOEXEC).unwrap();
        let (mut journal, old) = Journal::open(memory.try_clone().unwrap()).unwrap();
        assert_eq!(old, []);
        journal.add(&records[..2]).unwrap();
        journal.add(&records[2..]).unwrap();
        let (_, read) = Journal::open(memory.try_clone().unwrap()).unwrap();
        assert_eq!(read, records);
        // Every way to be cut off leaves what came before.
        let size = rustix::fs::fstat(&memory).unwrap().st_size as u64;
        rustix::fs::ftruncate(&memory, size - 1).unwrap();
        let (mut journal, read) = Journal::open(memory.try_clone().unwrap()).unwrap();
        assert_eq!(read, records[..11]);
        // And the next record goes over the torn one.
        journal.add(&records[1..2]).unwrap();
        let (_, read) = Journal::open(memory).unwrap();
        assert_eq!(read.len(), 12);
        assert_eq!(read[11], records[1]);
    }
}
