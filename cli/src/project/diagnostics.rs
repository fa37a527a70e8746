//! What the planner found, drawn with the lines of the file.

pub(super) mod json;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::path::Path;

use miette::{Diagnostic as Draw, LabeledSpan, NamedSource, Severity as Level, SourceCode};
use stack_planner::diagnostic::Position;
use stack_planner::{Diagnostic, Loaded, Severity};

use crate::context::Context;
use crate::error::Error;
use crate::ui::{self, Ui, human, palette, report};

/// Findings that are shown; a broken file may have thousands.
const MOST: usize = 50;

/// `--diagnostics`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// With the lines of the file.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Shows findings of loading on standard error.
pub(super) fn show(context: &Context, loaded: &Loaded, found: &[Diagnostic]) {
    let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
    show_all(context, found, text);
}

/// Shows any findings on standard error; `text` gives the content of a file. For
/// people errors come last, so that they are what stays on the screen; for
/// programs all come in the order of places.
pub(super) fn show_all(
    context: &Context,
    found: &[Diagnostic],
    text: impl Fn(&Path) -> Option<String>,
) {
    context.global.annotate.findings(found, &text);
    if context.global.diagnostics == Form::Json {
        for diagnostic in found {
            ui::say(json::line(diagnostic, &text));
        }
        return;
    }
    let ui = context.ui;
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.iter().partition(|diagnostic| diagnostic.is_error());
    for diagnostic in warnings.iter().chain(&errors).take(MOST) {
        ui::say(drawn(ui, diagnostic, &text));
    }
    let hidden = found.len().saturating_sub(MOST);
    if hidden > 0 {
        ui.note(format_args!(
            "… and {} more",
            human::count(hidden, "problem")
        ));
    }
    if errors.len() > 1 {
        let count = human::count(errors.len(), "error");
        ui::say(ui.err.paint(palette::BAD, count));
    }
    if let Some(first) = errors.first() {
        ui.note(format_args!("`stack explain {}` tells more", first.code));
    }
}

/// Tells of warnings, a line each, where the file is not what the user is busy
/// with: `stack config` draws them.
pub(super) fn mention(context: &Context, loaded: &Loaded, warnings: &[Diagnostic]) {
    let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
    if context.global.diagnostics == Form::Json {
        show_all(context, warnings, text);
        return;
    }
    context.global.annotate.findings(warnings, text);
    for warning in warnings.iter().take(MOST) {
        context.ui.warn(brief(context.ui, warning, text));
    }
    let hidden = warnings.len().saturating_sub(MOST);
    if hidden > 0 {
        let more = human::count(hidden, "warning");
        context
            .ui
            .note(format_args!("… and {more} more: `stack config -q`"));
    }
}

/// The first place, what is wrong, what to do, and the code.
fn brief(ui: Ui, found: &Diagnostic, text: impl Fn(&Path) -> Option<String>) -> String {
    let place = found.labels.first().map(|label| {
        let text = text(&label.file).unwrap_or_default();
        let Position { line, column } = Position::of(&text, label.span.start);
        format!("{}:{line}:{column}: ", shown(&label.file))
    });
    let help = found.help.as_deref().map(|help| format!(": {help}"));
    let told = format!(
        "{}{}{}",
        place.unwrap_or_default(),
        found.message,
        help.unwrap_or_default()
    );
    let code = ui.err.paint(palette::DIM, format!("({})", found.code));
    // One line, whatever is in it.
    format!("{} {code}", told.replace('\n', " "))
}

/// Shows why a command failed when that is nothing about the content of a file.
pub(crate) fn failure(ui: Ui, form: Form, error: &Error) {
    match form {
        Form::Human => ui::say(report::failure(ui, error)),
        Form::Json => ui::say(json::failure(error)),
    }
}

/// One finding with its lines: those of the first file under the message, those
/// of other files below, then the advice.
fn drawn(ui: Ui, diagnostic: &Diagnostic, text: impl Fn(&Path) -> Option<String>) -> String {
    let parts = Finding::parts(diagnostic, text);
    let drawn: Vec<_> = parts.iter().map(|part| report::draw(ui, part)).collect();
    drawn.join("\n")
}

/// The labels of one file as miette draws them.
#[derive(Debug)]
struct Finding<'a> {
    code: Option<&'a str>,
    severity: Level,
    message: String,
    help: Option<&'a str>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
}

impl<'a> Finding<'a> {
    fn parts(
        diagnostic: &'a Diagnostic,
        text: impl Fn(&Path) -> Option<String>,
    ) -> Vec<Finding<'a>> {
        let mut files: Vec<&Path> = Vec::new();
        for label in &diagnostic.labels {
            if !files.contains(&label.file.as_path()) {
                files.push(&label.file);
            }
        }
        let mut parts = vec![Finding {
            code: Some(diagnostic.code),
            severity: match diagnostic.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
            },
            message: diagnostic.message.clone(),
            help: None,
            source: None,
            labels: Vec::new(),
        }];
        for (i, file) in files.iter().enumerate() {
            if i > 0 {
                parts.push(Finding {
                    code: None,
                    severity: Level::Advice,
                    message: format!("and in {}", shown(file)),
                    help: None,
                    source: None,
                    labels: Vec::new(),
                });
            }
            if let Some(part) = parts.last_mut() {
                part.source = text(file).map(|text| NamedSource::new(shown(file), text));
                let labels = diagnostic.labels.iter().filter(|label| label.file == *file);
                part.labels = labels
                    .map(|label| {
                        let words = (!label.text.is_empty()).then(|| label.text.clone());
                        let length = label.span.end.saturating_sub(label.span.start);
                        LabeledSpan::new(words, label.span.start, length)
                    })
                    .collect();
            }
        }
        if let Some(last) = parts.last_mut() {
            last.help = diagnostic.help.as_deref();
        }
        parts
    }
}

/// A path as the user would write it here.
fn shown(file: &Path) -> String {
    if file == Path::new("-") {
        return "standard input".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    file.strip_prefix(&here)
        .unwrap_or(file)
        .display()
        .to_string()
}

impl Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Finding<'_> {}

impl Draw for Finding<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn Display + 'b>> {
        self.code.map(|code| Box::new(code) as Box<dyn Display>)
    }

    fn severity(&self) -> Option<Level> {
        Some(self.severity)
    }

    fn help<'b>(&'b self) -> Option<Box<dyn Display + 'b>> {
        self.help.map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        Some(Box::new(self.labels.iter().cloned()))
    }
}
