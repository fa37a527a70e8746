//! Relative paths to absolute ones.

use std::path::Path as FilePath;

use crate::canonical::is_windows_absolute;
use crate::source::join;
use crate::tree::{Node, Value, visit_mut};

/// Where relative paths start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) folder: &'a FilePath,
    /// What `~` stands for.
    pub(crate) home: Option<&'a str>,
}

impl Base<'_> {
    /// The path from `folder`; an empty one stays.
    pub(crate) fn absolute(&self, text: &str) -> String {
        let expanded = self.expand_home(text);
        if expanded.is_empty() || expanded.starts_with('/') {
            return expanded;
        }
        join(self.folder, FilePath::new(&expanded))
            .to_string_lossy()
            .into_owned()
    }

    /// As [`Self::absolute`]; an absolute Windows path stays.
    fn absolute_anywhere(&self, text: &str) -> String {
        let expanded = self.expand_home(text);
        if expanded.starts_with('/') || is_windows_absolute(&expanded) {
            return expanded;
        }
        join(self.folder, FilePath::new(&expanded))
            .to_string_lossy()
            .into_owned()
    }

    fn expand_home(&self, text: &str) -> String {
        match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => {
                let rest = rest.trim_start_matches('/');
                join(FilePath::new(home), FilePath::new(rest))
                    .to_string_lossy()
                    .into_owned()
            }
            _ => text.to_owned(),
        }
    }

    fn context(&self, text: &str) -> String {
        let remote = [
            "https://",
            "http://",
            "git://",
            "ssh://",
            "github.com/",
            "git@",
            "service:",
        ];
        if text.contains("://") || remote.iter().any(|prefix| text.starts_with(prefix)) {
            return text.to_owned();
        }
        self.absolute(text)
    }
}

/// Makes every path in the canonical tree absolute.
pub(crate) fn resolve(root: &mut Node, base: Base<'_>) {
    let absolute: &[&[&str]] = &[
        &["services", "*", "env_file", "*", "path"],
        &["services", "*", "label_file", "*"],
        &["services", "*", "develop", "watch", "*", "path"],
        &["services", "*", "x-stack", "machine", "kernel"],
        &["services", "*", "x-stack", "sockets", "*"],
        &["x-stack", "machine", "kernel"],
    ];
    for pattern in absolute {
        visit_mut(root, pattern, &mut |node, _| {
            change(node, |text| base.absolute(text))
        });
    }
    let anywhere: &[&[&str]] = &[
        &["services", "*", "build", "ssh", "*"],
        &["configs", "*", "file"],
        &["secrets", "*", "file"],
    ];
    for pattern in anywhere {
        visit_mut(root, pattern, &mut |node, _| {
            change(node, |text| base.absolute_anywhere(text))
        });
    }
    let contexts: &[&[&str]] = &[
        &["services", "*", "extends", "file"],
        &["services", "*", "build", "context"],
        &["services", "*", "build", "additional_contexts", "*"],
    ];
    for pattern in contexts {
        visit_mut(root, pattern, &mut |node, _| {
            change(node, |text| base.context(text))
        });
    }
    visit_mut(root, &["services", "*", "volumes", "*"], &mut |node, _| {
        if node.get("type").and_then(Node::as_str) == Some("bind")
            && let Some(source) = node.get_mut("source")
        {
            change(source, |text| base.absolute_anywhere(text));
        }
    });
    visit_mut(root, &["volumes", "*"], &mut |node, _| {
        bound_volume(node, base)
    });
}

/// A local volume that is a bind mount in truth. Compose makes its path absolute
/// where `driver: local` is written and `o` is `bind` alone, and leaves another one
/// to an engine that refuses it.
fn bound_volume(node: &mut Node, base: Base<'_>) {
    let driver = node.get("driver").and_then(Node::as_str);
    let local = driver.is_none_or(|driver| driver == "local");
    let Some(options) = node.get_mut("driver_opts").filter(|_| local) else {
        return;
    };
    let flags = options.get("o").and_then(Node::as_str).unwrap_or_default();
    let bound = flags
        .split(',')
        .any(|flag| matches!(flag, "bind" | "rbind"));
    if let Some(device) = options.get_mut("device").filter(|_| bound) {
        change(device, |text| base.absolute_anywhere(text));
    }
}

fn change(node: &mut Node, make: impl FnOnce(&str) -> String) {
    if let Value::String(text) = &mut node.value {
        *text = make(text);
    }
}
