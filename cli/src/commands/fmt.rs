//! `stack fmt`

pub(super) mod replace;

use std::io;
use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};
use stack_planner::{FormatError, Source, SourceError};

use crate::context::Context;
use crate::error::Error;
use crate::source::Files;
use crate::ui::{Paint, palette};
use crate::{exit, ui};

/// Put stack files into the usual layout
///
/// Comments, anchors, quotes that matter, the order of keys and blank lines
/// stay. A file is written only when it says exactly the same as before.
/// `# stack-fmt: ignore` between two entries keeps the second as it is.
///
/// Exit codes: 0 all is well, 1 a file would change (--check) or cannot be
/// formatted, 15 a file is not YAML.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: fail in a pipeline when a file is not formatted, and show why\n  \
                  stack fmt --check --diff"
)]
pub(crate) struct Fmt {
    /// Files; `-` is standard input, formatted to standard output (default: the
    /// stack files)
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Write nothing; end with 1 when a file would change
    #[arg(long)]
    check: bool,

    /// Write nothing; show what would change
    #[arg(long)]
    diff: bool,
}

impl Fmt {
    pub(super) fn run(self, context: &Context) -> Result<u8, Error> {
        let files = if self.paths.is_empty() {
            context.stack_files()?
        } else {
            self.paths.clone()
        };
        let mut code = exit::OK;
        for file in &files {
            let found = self.file(context, file)?;
            code = code.max(found);
        }
        Ok(code)
    }

    fn file(&self, context: &Context, file: &Path) -> Result<u8, Error> {
        let text = read(file)?;
        let file = context.shown(file);
        let file = file.as_path();
        let path = context.absolute(file)?;
        let formatted = match quietly(|| stack_planner::format(&text, &path)) {
            Ok(formatted) => formatted,
            Err(FormatError::Syntax(found)) => {
                context.show(&found, |_| Some(text.clone()));
                return Ok(exit::BAD_FILE);
            }
            Err(FormatError::Refused(why)) => {
                context
                    .ui
                    .warn(format_args!("{} is left as it is: {why}", file.display()));
                return Ok(exit::FAILURE);
            }
        };
        let changes = formatted != text;
        if self.diff && changes {
            ui::print(diff(context.ui.out, file, &text, &formatted))?;
        }
        if self.check || self.diff {
            if self.check && !self.diff && changes {
                ui::print_line(file.display())?;
            }
            let bad = self.check && changes;
            return Ok(if bad { exit::FAILURE } else { exit::OK });
        }
        if file.as_os_str() == "-" {
            ui::print(formatted)?;
        } else if changes {
            replace::replace(&path, formatted.as_bytes())?;
            context
                .ui
                .note(format_args!("formatted {}", file.display()));
        }
        Ok(exit::OK)
    }
}

fn read(file: &Path) -> Result<String, Error> {
    let failed = |source| Error::File {
        doing: "cannot read",
        path: file.to_path_buf(),
        source,
    };
    let bytes = Files::default().read(file).map_err(|error| match error {
        SourceError::NotFound => Error::NoSuchFile(file.to_path_buf()),
        SourceError::Other(why) => failed(io::Error::other(why)),
    })?;
    String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is not UTF-8 text")))
}

/// A panic of the formatter becomes an error of its own; nothing is printed.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = act();
    std::panic::set_hook(hook);
    result
}

/// A unified diff with three lines around each change.
fn diff(paint: Paint, file: &Path, before: &str, after: &str) -> String {
    let mut out = String::new();
    let heads = [("---", palette::BAD), ("+++", palette::GOOD)];
    for (mark, style) in heads {
        out.push_str(&paint.paint(style, format_args!("{mark} {}", file.display())));
        out.push('\n');
    }
    let diff = TextDiff::from_lines(before, after);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        out.push_str(&paint.paint(palette::BUSY, hunk.header()));
        out.push('\n');
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches(['\n', '\r']);
            let line = crate::ui::untrusted::plain(line);
            out.push_str(&match change.tag() {
                ChangeTag::Equal => format!(" {line}"),
                ChangeTag::Delete => paint.paint(palette::BAD, format_args!("-{line}")),
                ChangeTag::Insert => paint.paint(palette::GOOD, format_args!("+{line}")),
            });
            out.push('\n');
        }
    }
    out
}
