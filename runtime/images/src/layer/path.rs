//! Names in archives.

use super::LayerError;

/// Longest name of a file, `NAME_MAX`.
pub(super) const NAME_MAX: usize = 255;

/// What an entry's path means, by the OCI image specification (layer.md,
/// "Representing Changes").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The root directory itself.
    Root,
    /// A name below directories.
    Name(Vec<&'a [u8]>, &'a [u8]),
    /// Hides the name in lower layers.
    Whiteout(Vec<&'a [u8]>, &'a [u8]),
    /// Hides all that lower layers have in the directory.
    Opaque(Vec<&'a [u8]>),
    /// Bookkeeping of aufs, which Docker leaves out as well.
    Ignored,
}

const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";

/// Reads an entry's path.
///
/// # Errors
/// It leads out of the root, or a name is too long or impossible.
pub(super) fn place(path: &[u8]) -> Result<Place<'_>, LayerError> {
    let mut parents = components(path)?;
    let Some(name) = parents.pop() else {
        return Ok(Place::Root);
    };
    if name == b".wh..wh..opq" {
        return Ok(Place::Opaque(parents));
    }
    if name.starts_with(META) || parents.iter().any(|parent| parent.starts_with(META)) {
        return Ok(Place::Ignored);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Place::Name(parents, name)),
        Some(b"" | b"." | b"..") => Err(LayerError::bad(format!("whiteout {}", shown(path)))),
        Some(hidden) => Ok(Place::Whiteout(parents, hidden)),
    }
}

/// The names in a path, from the root down; `.` and `..` are resolved by
/// their text, and an absolute path is taken as one below the root.
///
/// # Errors
/// It leads out of the root, or a name is too long or impossible.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    if path.contains(&0) {
        return Err(LayerError::bad(format!(
            "a NUL byte in the path {}",
            shown(path)
        )));
    }
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                if names.pop().is_none() {
                    return Err(LayerError::bad(format!(
                        "{} leads out of the root",
                        shown(path)
                    )));
                }
            }
            _ if name.len() > NAME_MAX => {
                return Err(LayerError::bad(format!(
                    "a name too long in {}",
                    shown(path)
                )));
            }
            _ => names.push(name),
        }
    }
    Ok(names)
}

/// A path for people: printable and not too long.
pub(super) fn shown(path: &[u8]) -> String {
    const LONGEST: usize = 120;
    let text = path[..path.len().min(LONGEST)].escape_ascii();
    format!("\"{text}\"{}", if path.len() > LONGEST { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let ok = |path: &'static [u8]| components(path).unwrap();
        assert_eq!(ok(b"./a//b/../c/"), [b"a", b"c"]);
        assert_eq!(ok(b"/etc/passwd"), [&b"etc"[..], b"passwd"]);
        assert_eq!(ok(b"./"), Vec::<&[u8]>::new());
        assert_eq!(ok(b"\xff\xfe"), [b"\xff\xfe"]);
        for bad in [&b".."[..], b"a/../../b", b"/../a", b"a\0b", &[b'x'; 256]] {
            assert!(components(bad).is_err(), "{}", shown(bad));
        }
    }

    #[test]
    fn whiteouts_are_known_by_their_names() {
        assert_eq!(
            place(b"a/.wh.b").unwrap(),
            Place::Whiteout(vec![b"a"], b"b")
        );
        assert_eq!(place(b"a/.wh..wh..opq").unwrap(), Place::Opaque(vec![b"a"]));
        assert_eq!(place(b".wh..wh..opq").unwrap(), Place::Opaque(vec![]));
        assert_eq!(place(b".wh..wh.plnk/7").unwrap(), Place::Ignored);
        assert_eq!(place(b"./").unwrap(), Place::Root);
        assert_eq!(place(b"a/.b").unwrap(), Place::Name(vec![b"a"], b".b"));
        for bad in [&b"a/.wh."[..], b".wh..", b"a/.wh..."] {
            assert!(place(bad).is_err(), "{}", shown(bad));
        }
    }
}
