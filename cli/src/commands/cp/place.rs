//! `SERVICE:PATH`, a path here, or `-`.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// An end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a container.
    Service { service: String, path: Within },
    /// On this machine.
    Here(PathBuf),
    /// A tar stream.
    Stream,
}

/// A path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Within {
    /// Absolute, with a `/` at its end if it was written with one.
    pub(super) written: String,
    /// Absolute and clean.
    pub(super) path: String,
    /// Its last part.
    pub(super) name: String,
    /// What is in the directory is meant.
    pub(super) contents: bool,
}

impl Within {
    /// What a symbolic link leads to is meant, for only directories have
    /// something in them.
    pub(super) fn follows(&self) -> bool {
        self.contents || self.written.ends_with('/')
    }
}

/// Does the path end with `.`, so that what is in the directory is meant?
pub(super) fn means_contents(path: &str) -> bool {
    path.trim_end_matches('/').rsplit('/').next() == Some(".")
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Place, Infallible> {
        if text == "-" {
            return Ok(Place::Stream);
        }
        // A path with a colon in it can be written with ./ before it.
        let here = text.starts_with('/') || text.starts_with('.');
        Ok(match text.split_once(':') {
            Some((service, path)) if !here && !service.contains('/') => Place::Service {
                service: service.to_owned(),
                path: Within::new(path),
            },
            _ => Place::Here(PathBuf::from(text)),
        })
    }
}

impl Within {
    fn new(text: &str) -> Within {
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = format!("/{}", parts.join("/"));
        let slash = text.ends_with('/') && path != "/";
        Within {
            written: if slash {
                format!("{path}/")
            } else {
                path.clone()
            },
            name: (*parts.last().unwrap_or(&"root")).to_owned(),
            contents: means_contents(text),
            path,
        }
    }
}

/// Absolute, with its last `/` if it has one.
///
/// # Errors
/// The working directory is gone.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::File {
        doing: "cannot find",
        path: path.to_path_buf(),
        source,
    };
    let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut clean = PathBuf::new();
    for component in absolute.components() {
        match component {
            // As the shell's `cd`: the name before it goes.
            Component::ParentDir => drop(clean.pop()),
            component => clean.push(component),
        }
    }
    if slash {
        clean.push("");
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str) -> Within {
        match text.parse() {
            Ok(Place::Service { path, .. }) => path,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn places_are_told_apart() {
        assert_eq!("-".parse(), Ok(Place::Stream));
        assert_eq!("./a:b".parse(), Ok(Place::Here("./a:b".into())));
        assert_eq!("/a:b".parse(), Ok(Place::Here("/a:b".into())));
        assert_eq!("dir/a:b".parse(), Ok(Place::Here("dir/a:b".into())));
        assert_eq!("file".parse(), Ok(Place::Here("file".into())));
        let log = within("web:var/log/../x.log");
        assert_eq!(log.path, "/var/x.log");
        assert_eq!(log.name, "x.log");
        assert!(!log.contents);
        for contents in ["web:/etc/.", "web:/etc/./", "web:.", "web:./"] {
            assert!(within(contents).contents, "{contents}");
            assert!(within(contents).follows(), "{contents}");
        }
        assert!(within("web:/var/run/").follows());
        for name in ["web:/etc/", "web:/etc/.conf", "web:/etc/..", "web:/a."] {
            assert!(!within(name).contents, "{name}");
        }
        assert_eq!(within("web:/etc/.").name, "etc");
        assert_eq!(within("web:/../..").path, "/");
        assert_eq!(within("web:/etc/").written, "/etc/");
        assert_eq!(within("web:/").written, "/");
    }
}
