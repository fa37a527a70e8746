//! What the planner found, drawn with the lines of the file.

use std::fmt::{self, Display};
use std::path::Path;

use miette::{Diagnostic as Draw, LabeledSpan, NamedSource, Severity as Level, SourceCode};
use stack_planner::{Diagnostic, Loaded, Severity};

use crate::ui::{self, Ui, human, palette, report};

/// Findings that are shown; a broken file may have thousands.
const MOST: usize = 50;

/// Shows all findings on standard error, errors last, so that they are what
/// stays on the screen.
pub(super) fn show(ui: Ui, loaded: &Loaded) {
    let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
    show_all(ui, &loaded.diagnostics, text);
}

/// The same for any findings; `text` gives the content of a file.
pub(super) fn show_all(ui: Ui, found: &[Diagnostic], text: impl Fn(&Path) -> Option<String>) {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.iter().partition(|diagnostic| diagnostic.is_error());
    for diagnostic in warnings.iter().chain(&errors).take(MOST) {
        ui::say(report::draw(ui, &Finding::new(diagnostic, &text)));
    }
    let hidden = (warnings.len() + errors.len()).saturating_sub(MOST);
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
}

/// One finding as miette draws it: the labels of the first file under the
/// message, those of other files below as related ones.
#[derive(Debug)]
struct Finding<'a> {
    code: Option<&'a str>,
    severity: Level,
    message: String,
    help: Option<&'a str>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Finding<'a>>,
}

impl<'a> Finding<'a> {
    fn new(diagnostic: &'a Diagnostic, text: impl Fn(&Path) -> Option<String>) -> Finding<'a> {
        let severity = match diagnostic.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        let mut files: Vec<&Path> = Vec::new();
        for label in &diagnostic.labels {
            if !files.contains(&label.file.as_path()) {
                files.push(&label.file);
            }
        }
        let mut parts = files.iter().map(|file| {
            let source = text(file).map(|text| NamedSource::new(shown(file), text));
            let labels = diagnostic.labels.iter().filter(|label| label.file == *file);
            let labels = labels.map(|label| {
                let words = (!label.text.is_empty()).then(|| label.text.clone());
                let length = label.span.end.saturating_sub(label.span.start);
                LabeledSpan::new(words, label.span.start, length)
            });
            (source, labels.collect::<Vec<_>>(), file)
        });
        let (source, labels) = parts
            .next()
            .map_or((None, Vec::new()), |(source, labels, _)| (source, labels));
        let elsewhere = parts.map(|(source, labels, file)| Finding {
            code: None,
            severity: Level::Advice,
            message: format!("in {}", shown(file)),
            help: None,
            source,
            labels,
            elsewhere: Vec::new(),
        });
        let elsewhere = elsewhere.collect();
        Finding {
            code: Some(diagnostic.code),
            severity,
            message: diagnostic.message.clone(),
            help: diagnostic.help.as_deref(),
            source,
            labels,
            elsewhere,
        }
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

    fn related<'b>(&'b self) -> Option<Box<dyn Iterator<Item = &'b dyn Draw> + 'b>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(
            self.elsewhere.iter().map(|finding| finding as &dyn Draw),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Paint;
    use stack_planner::Label;

    #[test]
    fn a_finding_shows_its_line() {
        let text = "services:\n  web:\n    imagee: nginx\n";
        let at = text.find("imagee").unwrap();
        let diagnostic = Diagnostic {
            code: "E0401",
            severity: Severity::Error,
            message: "unknown key `imagee`".to_owned(),
            labels: vec![Label {
                file: "/x/stack.yaml".into(),
                span: at..at + 6,
                text: "here".to_owned(),
            }],
            help: Some("did you mean `image`?".to_owned()),
        };
        let ui = Ui {
            out: Paint(false),
            err: Paint(false),
            live: false,
            width: 80,
        };
        let drawn = report::draw(ui, &Finding::new(&diagnostic, |_| Some(text.to_owned())));
        assert!(drawn.contains("E0401"), "{drawn}");
        assert!(drawn.contains("/x/stack.yaml:3:5"), "{drawn}");
        assert!(drawn.contains("imagee: nginx"), "{drawn}");
        assert!(drawn.contains("did you mean `image`?"), "{drawn}");
        let bare = report::draw(ui, &Finding::new(&diagnostic, |_| None));
        assert!(bare.contains("unknown key"), "{bare}");
    }
}
