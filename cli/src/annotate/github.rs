//! Workflow commands of GitHub Actions.
//!
//! <https://docs.github.com/actions/reference/workflow-commands>

use super::Note;

/// The line that makes GitHub show a note.
pub(super) fn command(note: &Note) -> String {
    let kind = if note.is_error { "error" } else { "warning" };
    let mut properties = Vec::new();
    if let Some((file, line)) = &note.place {
        properties.push(format!("file={}", property(&file.display().to_string())));
        properties.push(format!("line={line}"));
    }
    properties.push(format!("title=stack: {}", property(&note.code)));
    format!("::{kind} {}::{}", properties.join(","), data(&note.message))
}

/// A line break or a percent sign would end or change the message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_is_a_command() {
        let note = Note {
            is_error: true,
            code: "E0101".to_owned(),
            message: "100% wrong\n::set-output x".to_owned(),
            place: Some(("a,b:c.yaml".into(), 7)),
        };
        assert_eq!(
            command(&note),
            "::error file=a%2Cb%3Ac.yaml,line=7,title=stack: E0101::\
             100%25 wrong%0A::set-output x"
        );
        let bare = Note {
            is_error: false,
            place: None,
            ..note
        };
        assert!(command(&bare).starts_with("::warning title=stack: E0101::100%25"));
    }
}
