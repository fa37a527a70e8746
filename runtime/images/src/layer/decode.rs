//! Compressions of layers, told apart by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use super::LayerError;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Largest window of a zstd frame: 2^27 bytes, the tool's own limit.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Looks at the first bytes.
///
/// # Errors
/// A compression that images cannot have.
pub(crate) fn sniff(head: &[u8]) -> Result<Compression, LayerError> {
    let unsupported = |name| {
        Err(LayerError::bad(format!(
            "compression {name} is not supported; `{name} -d` undoes it"
        )))
    };
    match head {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame of zstd (RFC 8878, 3.1.2).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("xz"),
        [b'B', b'Z', b'h', b'0'..=b'9', ..] => unsupported("bzip2"),
        _ => Ok(Compression::None),
    }
}

/// The plain content of a blob, and how that was compressed.
///
/// # Errors
/// Those of the source, or an unsupported compression.
pub(crate) fn decompress<'a>(
    source: impl Read + 'a,
) -> Result<(Box<dyn Read + 'a>, Compression), LayerError> {
    let mut source = BufReader::with_capacity(256 << 10, source);
    let head = source.fill_buf()?;
    let compression = sniff(head)?;
    let plain: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(Checked(flate2::bufread::MultiGzDecoder::new(source))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(Checked(decoder))
        }
    };
    Ok((plain, compression))
}

/// The plain content of any stream that may be compressed in a way that layers may.
///
/// # Errors
/// Those of the source, or an unsupported compression.
pub fn plain<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(decompress(source)?.0)
}

/// Tells what a decoder finds wrong from what its source does: sources wrap
/// their errors as [`LayerError`].
struct Checked<R>(R);

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .read(buffer)
            .map_err(|error| match error.downcast::<LayerError>() {
                Ok(source) => source.into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => error,
                Err(error) => LayerError::bad(format!("it cannot be decompressed: {error}")).into(),
            })
    }
}
