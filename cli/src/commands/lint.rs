//! `stack lint`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use stack_planner::lint::{self, Fix, Lint as Found};
use stack_planner::{Diagnostic, Loaded, Source};

use super::fmt::replace::replace;
use crate::context::Context;
use crate::error::Error;
use crate::project::diagnostics::Form;
use crate::source::Files;
use crate::ui::human;
use crate::{exit, ui};

/// Find what is legal but unwise
///
/// Each finding has a code, its place and what to do; `stack explain CODE`
/// says more. One is silenced by a comment `# stack-lint: allow(L0001)` on its
/// line or above it, in the whole stack by `x-stack: {lint: {allow: [L0001]}}`.
/// Services of all profiles are looked at.
///
/// Exit codes: 0 nothing found, 1 something found, 15 the stack file has errors.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: all but one, for a pipeline\n  \
                  stack lint --allow L0001 --format json")]
pub(crate) struct Lint {
    /// Codes not to look for, separated by commas; may be repeated
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    allow: Vec<String>,

    /// text, or json: one object per line
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,

    /// Put right what can be put right without harm
    #[arg(long)]
    fix: bool,

    /// List all codes
    #[arg(long, exclusive = true)]
    list: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

impl Lint {
    pub(super) fn run(self, context: &Context) -> Result<u8, Error> {
        if self.list {
            for about in lint::all() {
                ui::print_line(format_args!("{}  {}", about.code, about.title))?;
            }
            return Ok(exit::OK);
        }
        if let Some(code) = self.allow.iter().find(|code| lint::explain(code).is_none()) {
            let message = format!("there is no lint {code}");
            return Err(Error::usage(message, "`stack lint --list` shows all codes"));
        }
        let allow: BTreeSet<String> = self.allow.iter().cloned().collect();
        let linted = context.lint(&allow)?;
        let mut found = linted.found;
        if self.fix {
            let (fixable, rest): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|lint| lint.fix.as_ref().is_some_and(can_be_written));
            fix(context, &fixable)?;
            found = rest;
        }
        match self.format {
            Format::Json => {
                for lint in &found {
                    ui::print_line(json(context, lint, &linted.loaded)?)?;
                }
            }
            Format::Text => {
                let all: Vec<Diagnostic> =
                    found.iter().map(|lint| lint.diagnostic.clone()).collect();
                context.show(&all, |file| {
                    linted.loaded.source_text(file).map(str::to_owned)
                });
                summary(context, &found);
            }
        }
        Ok(if found.is_empty() {
            exit::OK
        } else {
            exit::FAILURE
        })
    }
}

/// A finding as `--diagnostics json` writes it, and whether --fix can put it right.
fn json(context: &Context, lint: &Found, loaded: &Loaded) -> Result<serde_json::Value, Error> {
    let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
    let line = context.finding_json(&lint.diagnostic, text);
    let line = serde_json::from_str(&line).map_err(std::io::Error::from);
    let mut line: serde_json::Value = line.map_err(Error::Output)?;
    line["fixable"] = lint.fix.is_some().into();
    Ok(line)
}

fn can_be_written(fix: &Fix) -> bool {
    fix.file.as_os_str() != "-"
}

fn summary(context: &Context, found: &[Found]) {
    if context.global.diagnostics == Form::Json {
        return;
    }
    if found.is_empty() {
        context.ui.note("nothing found");
        return;
    }
    let codes: BTreeSet<&str> = found.iter().map(|lint| lint.diagnostic.code).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let count = human::count(found.len(), "finding");
    let first = codes.first().copied().unwrap_or_default();
    context.ui.note(format_args!(
        "{count} ({}); more about one: stack explain {first}",
        codes.join(", ")
    ));
}

/// Changes files from their ends to their beginnings, so that places stay right.
fn fix(context: &Context, lints: &[Found]) -> Result<(), Error> {
    let mut by_file: BTreeMap<PathBuf, Vec<&Fix>> = BTreeMap::new();
    for fix in lints.iter().filter_map(|lint| lint.fix.as_ref()) {
        by_file.entry(fix.file.clone()).or_default().push(fix);
    }
    for (file, mut fixes) in by_file {
        fixes.sort_by_key(|fix| std::cmp::Reverse(fix.range.start));
        fixes.dedup();
        let failed = |source| Error::File {
            doing: "cannot read",
            path: file.clone(),
            source,
        };
        let bytes = Files::default()
            .read(&file)
            .map_err(|e| failed(std::io::Error::other(e)))?;
        let mut text = String::from_utf8(bytes).map_err(|e| failed(std::io::Error::other(e)))?;
        for fix in &fixes {
            if text.get(fix.range.clone()).is_some() {
                text.replace_range(fix.range.clone(), &fix.text);
            }
        }
        replace(&file, text.as_bytes())?;
        let count = human::count(fixes.len(), "finding");
        context.ui.note(format_args!(
            "put {count} right in {}",
            context.shown(&file).display()
        ));
    }
    Ok(())
}
