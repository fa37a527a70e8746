//! `stack explain`

use std::fmt::Write;

use stack_planner::diagnostic::{CATALOG, Explanation, catalog, explain};
use stack_planner::lint;

use crate::context::Context;
use crate::error::Error;
use crate::ui::{Paint, palette};
use crate::{exit, ui};

/// Tell more about the code of an error or warning
///
/// Without a code, all codes are listed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: what is wrong when an attribute does not exist\n  \
                  stack explain E0401"
)]
pub(crate) struct Explain {
    /// Codes, such as E0401
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> Result<u8, Error> {
        let paint = context.ui.out;
        if self.codes.is_empty() {
            for explanation in CATALOG {
                let code = paint.paint(style(explanation), explanation.code);
                ui::print_line(format_args!("{code}  {}", explanation.title()))?;
            }
            for about in lint::all() {
                let code = paint.paint(palette::WARN, about.code);
                ui::print_line(format_args!("{code}  {}", about.title))?;
            }
            return Ok(exit::OK);
        }
        let found: Vec<_> = self
            .codes
            .iter()
            .map(|code| text(code, paint).ok_or_else(|| unknown(code)))
            .collect::<Result<_, _>>()?;
        for (i, explanation) in found.iter().enumerate() {
            if i > 0 {
                ui::print_line("")?;
            }
            ui::print(explanation)?;
        }
        Ok(exit::OK)
    }
}

/// What there is to say about a code of the planner or of `stack lint`.
fn text(code: &str, paint: Paint) -> Option<String> {
    let found = explain(code);
    let found = found.map(|found| rendered(found.code, style(found), found.text, paint));
    found.or_else(|| {
        let about = lint::explain(code)?;
        Some(rendered(
            about.code,
            palette::WARN,
            &about.markdown(),
            paint,
        ))
    })
}

fn unknown(code: &str) -> Error {
    let near: Vec<_> = catalog::similar(code)
        .iter()
        .map(|found| format!("{} ({})", found.code, found.title()))
        .collect();
    let help = if near.is_empty() {
        "`stack explain` lists all codes".to_owned()
    } else {
        format!("did you mean {}?", near.join(", or "))
    };
    Error::usage(format!("there is no code {code}"), help)
}

fn style(explanation: &Explanation) -> anstyle::Style {
    if explanation.is_warning() {
        palette::WARN
    } else {
        palette::BAD
    }
}

/// The Markdown for a terminal: headings stand out, code is indented.
fn rendered(name: &str, style: anstyle::Style, text: &str, paint: Paint) -> String {
    let mut out = String::new();
    let mut code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
            continue;
        }
        // Writing to a string does not fail.
        _ = if code {
            writeln!(out, "    {line}")
        } else if let Some(title) = line.strip_prefix("# ") {
            let code = paint.paint(style, name);
            writeln!(out, "{code}  {}", paint.paint(palette::STRONG, title))
        } else if let Some(heading) = line.strip_prefix("## ") {
            writeln!(
                out,
                "{}",
                paint.paint(palette::STRONG, format_args!("{heading}:"))
            )
        } else {
            writeln!(out, "{line}")
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_plain() {
        let text = text("E0604", Paint(false)).unwrap();
        assert!(
            text.starts_with("E0604  Nothing to run\n\nA service"),
            "{text}"
        );
        assert!(
            text.contains("Wrong:\n\n    services:\n      web:\n"),
            "{text}"
        );
        assert!(!text.contains("```"));
        let lint = super::text("l0001", Paint(false)).unwrap();
        assert!(
            lint.starts_with("L0001  An image without a version\n\n`latest`"),
            "{lint}"
        );
        assert!(lint.contains("Better:\n\n    services:\n"), "{lint}");
    }

    #[test]
    fn a_wrong_code_is_told_with_near_ones() {
        let help = unknown("E0606x").help().unwrap();
        assert!(help.contains("E0606 (Two attributes disagree)"), "{help}");
        assert!(unknown("nonsense").help().unwrap().contains("lists all"));
    }
}
