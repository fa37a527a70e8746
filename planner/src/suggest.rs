//! "Did you mean".

/// Bytes of a word that is compared with others.
const LONGEST: usize = 40;

/// Candidates that are looked at.
const MOST: usize = 500;

/// The candidate nearest to `word`, as a help text, when one is near enough.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// As [`did_you_mean`]; lists the candidates when none is near and there are few.
pub(crate) fn did_you_mean_or_list<'a>(
    word: &str,
    what: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    did_you_mean(word, candidates.clone()).or_else(|| {
        let names: Vec<_> = candidates.take(9).map(|name| format!("`{name}`")).collect();
        match names.len() {
            0 => Some(format!("there are no {what}")),
            1..9 => Some(format!("the {what} are {}", names.join(", "))),
            _ => None,
        }
    })
}

/// As [`did_you_mean`]; a part of a candidate's words is near, too (`healthy` of
/// `service_healthy`) when it is of no other.
pub(crate) fn did_you_mean_part<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let part = |name: &&str| name.split('_').any(|part| part.eq_ignore_ascii_case(word));
    let mut with = candidates.clone().filter(part);
    match (did_you_mean(word, candidates), with.next(), with.next()) {
        (Some(help), _, _) => Some(help),
        (None, Some(name), None) => Some(format!("did you mean `{name}`?")),
        _ => None,
    }
}

/// The candidate nearest to `word` when one is near enough, not counting case and `-`
/// for `_`; one that shares no letter with it never is.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('-', "_");
    let most = (lower.chars().count() / 3).clamp(1, 3);
    candidates
        .take(MOST)
        .filter(|name| name.len() <= LONGEST && name.len().abs_diff(word.len()) <= most)
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase().replace('-', "_")),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= most && *distance < lower.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, did_you_mean_or_list};

    #[test]
    fn near_names_are_found() {
        let names = ["ports", "networks", "depends_on"];
        for (word, wanted) in [
            ("port", "ports"),
            ("portz", "ports"),
            ("dependsOn", "depends_on"),
            ("DEPENDS-ON", "depends_on"),
        ] {
            assert_eq!(
                did_you_mean(word, names.into_iter()),
                Some(format!("did you mean `{wanted}`?"))
            );
        }
        assert_eq!(did_you_mean("volumes", names.into_iter()), None);
        assert_eq!(did_you_mean("X", ["_"].into_iter()), None);
        let list = did_you_mean_or_list("zzzzzz", "services", ["a", "b"].into_iter());
        assert_eq!(list.as_deref(), Some("the services are `a`, `b`"));
    }
}
