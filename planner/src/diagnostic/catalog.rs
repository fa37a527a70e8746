//! What every code means, for `stack explain` and the documentation.

/// The long text of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// E.g. `E0401`.
    pub code: &'static str,
    /// Markdown: a heading, what it means and what to do, and for most codes the
    /// sections `Wrong` and `Right` with a stack file each (and the files
    /// beside it, named after the language of their blocks).
    pub text: &'static str,
}

impl Explanation {
    /// The heading.
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("# ")
    }

    /// The stack can be used all the same.
    pub fn is_warning(&self) -> bool {
        self.code.starts_with('W')
    }
}

macro_rules! explanations {
    ($($code:literal),* $(,)?) => {
        &[$(Explanation {
            code: $code,
            text: include_str!(concat!("explain/", $code, ".md")),
        }),*]
    };
}

/// All codes: errors and warnings of each phase together.
pub const CATALOG: &[Explanation] = explanations![
    "E0101", "E0102", "E0103", "E0104", "E0105", "E0106", "E0107", "E0108", "E0109", "W0101",
    "E0201", "E0202", "E0203", "E0204", "E0205", "E0206", "W0201", "W0202", "E0301", "E0302",
    "E0303", "E0304", "E0305", "E0401", "E0402", "E0403", "E0404", "E0405", "E0406", "E0407",
    "W0401", "W0402", "E0501", "E0502", "E0503", "E0504", "E0505", "E0506", "E0507", "W0501",
    "E0601", "E0602", "E0603", "E0604", "E0605", "E0606", "E0701", "E0702", "W0701", "W0702",
    "W0703", "W0901",
];

/// The text of a code, however it is capitalised.
pub fn explain(code: &str) -> Option<&'static Explanation> {
    CATALOG
        .iter()
        .find(|explanation| explanation.code.eq_ignore_ascii_case(code))
}

/// Codes that look like `code`, the nearest first, three at most. Words are
/// looked for in the headings.
pub fn similar(code: &str) -> Vec<&'static Explanation> {
    let wanted = code.to_ascii_uppercase();
    let distance = |explanation: &Explanation| {
        let title = explanation.title().to_ascii_uppercase();
        if wanted.len() > 2 && title.contains(&wanted) {
            return 0;
        }
        strsim::damerau_levenshtein(&wanted, explanation.code)
    };
    let mut found: Vec<_> = CATALOG
        .iter()
        .map(|explanation| (distance(explanation), explanation))
        .filter(|(distance, _)| *distance <= 2 && wanted.len() <= 40)
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    found
        .into_iter()
        .take(3)
        .map(|(_, explanation)| explanation)
        .collect()
}

/// The table of `docs/diagnostics.md`.
pub fn table() -> String {
    let rows = CATALOG.iter().map(|explanation| {
        let kind = if explanation.is_warning() {
            "warning"
        } else {
            "error"
        };
        format!(
            "| `{}` | {kind} | {} |\n",
            explanation.code,
            explanation.title()
        )
    });
    format!(
        "| code | | what |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}
