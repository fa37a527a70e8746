//! Builds tar archives for tests, good ones and bad ones, byte by byte.

/// An archive in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archive(Vec<u8>);

/// A header's fields.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    pub(crate) kind: u8,
    pub(crate) path: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) device: (u32, u32),
}

impl Default for Header<'_> {
    fn default() -> Self {
        let (path, target) = (&b""[..], &b""[..]);
        Header {
            kind: b'0',
            path,
            target,
            size: 0,
            mode: 0o644,
            owner: (0, 0),
            device: (0, 0),
        }
    }
}

impl Header<'_> {
    /// The 512 bytes (POSIX.1-2017, pax, "ustar Interchange Format").
    pub(crate) fn encode(&self) -> [u8; 512] {
        let mut out = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.path);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.owner.0).as_bytes());
        put(116, format!("{:07o}", self.owner.1).as_bytes());
        if self.size < 1 << 33 {
            put(124, format!("{:011o}", self.size).as_bytes());
        } else {
            // GNU's form of large numbers.
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, b"14524770400");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.target);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
        out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out
    }
}

impl Archive {
    pub(crate) fn new() -> Archive {
        Archive::default()
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Archive {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header and contents with padding.
    pub(crate) fn entry(mut self, header: &Header<'_>, contents: &[u8]) -> Archive {
        self.0.extend(header.encode());
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, contents: &[u8]) -> Archive {
        let size = contents.len() as u64;
        self.entry(
            &Header {
                path: path.as_bytes(),
                size,
                ..Header::default()
            },
            contents,
        )
    }

    pub(crate) fn dir(self, path: &str) -> Archive {
        self.special(b'5', path, "", 0o755)
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Archive {
        self.special(b'2', path, target, 0o777)
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Archive {
        self.special(b'1', path, target, 0o644)
    }

    fn special(self, kind: u8, path: &str, target: &str, mode: u32) -> Archive {
        let (path, target) = (path.as_bytes(), target.as_bytes());
        self.entry(
            &Header {
                kind,
                path,
                target,
                mode,
                ..Header::default()
            },
            b"",
        )
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Archive {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            body.extend_from_slice(format!("{len} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        let size = body.len() as u64;
        self.entry(
            &Header {
                kind: b'x',
                path: b"pax",
                size,
                ..Header::default()
            },
            &body,
        )
    }

    /// The archive with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    /// The archive without its end.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }
}
