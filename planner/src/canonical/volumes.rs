//! `[source:]target[:options]`

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Span, Value};

/// A text becomes a mapping.
pub(super) fn canonical(node: &mut Node, report: &mut Report) {
    let Some(text) = node.as_str() else { return };
    match parse(text) {
        Ok(volume) => {
            for option in &volume.unknown {
                let message = format!("the volume option `{option}` has no effect");
                report.push(Problem::warning(codes::IGNORED, message).on(node, "unknown option"));
            }
            node.value = volume.into_value(node.span);
        }
        Err(reason) => {
            let problem = Problem::error(
                codes::BAD_VOLUME,
                format!("`{text}` is not a volume: {reason}"),
            );
            let problem = problem
                .on(node, "this volume")
                .help("`[source:]target[:ro]` is expected");
            report.blame(node, problem);
        }
    }
}

/// The place in the container that a text mounts at.
pub(crate) fn target_of(text: &str) -> Option<String> {
    parse(text).ok().map(|volume| volume.target)
}

#[derive(Debug, Default)]
struct Volume {
    source: String,
    target: String,
    read_only: bool,
    nocopy: bool,
    propagation: Option<String>,
    selinux: Option<String>,
    unknown: Vec<String>,
}

impl Volume {
    fn into_value(self, span: Span) -> Value {
        let text = |text: String| Node::string(text, span);
        let flag = |value| Node::bool(value, span);
        let mut entries = Mapping::new();
        let bind = is_path(&self.source);
        entries.insert(
            "type".to_owned(),
            text(if bind { "bind" } else { "volume" }.to_owned()),
        );
        if !self.source.is_empty() {
            entries.insert("source".to_owned(), text(self.source));
        }
        let target = if self.target.is_empty() {
            self.target
        } else {
            clean(&self.target)
        };
        entries.insert("target".to_owned(), text(target));
        if self.read_only {
            entries.insert("read_only".to_owned(), flag(true));
        }
        let mut options = Mapping::new();
        let pairs = [("selinux", self.selinux), ("propagation", self.propagation)];
        options.extend(
            pairs
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), text(value?)))),
        );
        if bind {
            options.insert("create_host_path".to_owned(), flag(true));
        }
        if bind || !options.is_empty() {
            entries.insert("bind".to_owned(), Node::mapping(options, span));
        }
        if !bind || self.nocopy {
            let nocopy = self.nocopy.then(|| ("nocopy".to_owned(), flag(true)));
            entries.insert(
                "volume".to_owned(),
                Node::mapping(nocopy.into_iter().collect(), span),
            );
        }
        Value::Mapping(entries)
    }
}

/// Lexically clean text of an absolute or relative path with `/`.
pub(crate) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let body = parts.join("/");
    match (absolute, body.is_empty()) {
        (true, _) => format!("/{body}"),
        (false, true) => ".".to_owned(),
        (false, false) => body,
    }
}

fn parse(text: &str) -> Result<Volume, &'static str> {
    let mut volume = Volume::default();
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.chars().count() <= 2 {
        volume.target = text.to_owned();
        return Ok(volume);
    }
    let sections = sections(text);
    if sections.iter().any(|section| section.is_empty()) {
        return Err("there is nothing between two colons");
    }
    match &sections[..] {
        [target] => volume.target = (*target).to_owned(),
        [source, target] => {
            (volume.source, volume.target) = ((*source).to_owned(), (*target).to_owned())
        }
        [source, target, options] => {
            (volume.source, volume.target) = ((*source).to_owned(), (*target).to_owned());
            options.split(',').for_each(|option| volume.option(option));
        }
        _ => return Err("there are too many colons"),
    }
    Ok(volume)
}

impl Volume {
    fn option(&mut self, option: &str) {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.nocopy = true,
            "z" | "Z" => self.selinux = Some(option.to_owned()),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                self.propagation = Some(option.to_owned());
            }
            // They say how changes become visible, which is at once here.
            "cached" | "delegated" | "consistent" => {}
            _ => self.unknown.push(option.to_owned()),
        }
    }
}

/// The parts between colons; a drive letter's colon and those in `${…}` do not
/// separate.
fn sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut start, mut braces) = (0, 0usize);
    let mut previous = None;
    for (at, c) in text.char_indices() {
        match c {
            '{' if previous == Some('$') => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ':' if braces == 0 && !is_drive(&text[start..at]) => {
                sections.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        previous = Some(c);
    }
    sections.push(&text[start..]);
    sections
}

fn is_drive(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

/// The source is a place on the host and not the name of a volume.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
        || source.starts_with(r"\\")
        || source
            .split_once(':')
            .is_some_and(|(drive, _)| is_drive(drive))
}

/// `C:\…`, `C:/…` or `\\server\share\…`.
pub(crate) fn is_windows_absolute(path: &str) -> bool {
    let slash = |byte: Option<&u8>| matches!(byte, Some(b'\\' | b'/'));
    let bytes = path.as_bytes();
    match bytes {
        [_, b':', rest @ ..] => slash(rest.first()),
        _ => slash(bytes.first()) && slash(bytes.get(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, is_windows_absolute, parse};

    #[test]
    fn short_forms() {
        let cases = [
            ("/data", "", "/data"),
            ("data:/x", "data", "/x"),
            ("./a:/b", "./a", "/b"),
            (r"C:\a:/b", r"C:\a", "/b"),
            (r"C:\a:D:\b", r"C:\a", r"D:\b"),
            ("${A:-x:y}:/b", "${A:-x:y}", "/b"),
            ("a:b", "a:b", ""),
        ];
        for (text, source, target) in cases {
            let volume = parse(text).unwrap();
            let (source, target) = if text == "a:b" {
                ("", "a:b")
            } else {
                (source, target)
            };
            assert_eq!(
                (volume.source.as_str(), volume.target.as_str()),
                (source, target),
                "{text}"
            );
        }
        let volume = parse("a1:/b:ro,nocopy,z,rslave,what").unwrap();
        assert!(volume.read_only && volume.nocopy);
        assert_eq!(
            (volume.selinux.as_deref(), volume.propagation.as_deref()),
            (Some("z"), Some("rslave"))
        );
        for bad in ["", ":/x", "aa:", "aa::/x", "aa:/x:ro:more"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        let cases = [
            ("/a/../b//c/.", "/b/c"),
            ("/..", "/"),
            ("a/..", "."),
            ("../x", "../x"),
            ("/", "/"),
        ];
        for (path, wanted) in cases {
            assert_eq!(clean(path), wanted);
        }
        assert!(
            is_windows_absolute(r"C:\x")
                && is_windows_absolute(r"\\host\share")
                && !is_windows_absolute("C:x")
        );
        assert!(!is_windows_absolute("/x") && !is_windows_absolute(""));
    }
}
