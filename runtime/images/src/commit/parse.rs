//! Changes as they are written: instructions of a Dockerfile.

use super::Change;

/// Reads one instruction.
///
/// # Errors
/// It is none of those that change a configuration, in words.
pub fn parse_change(text: &str) -> Result<Vec<Change>, String> {
    let text = text.trim();
    let (word, rest) = match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    };
    let name = word.to_ascii_uppercase();
    let some = |change: Change| Ok(vec![change]);
    let missing = || format!("{name} has no argument");
    if rest.is_empty() && name != "CMD" && name != "ENTRYPOINT" {
        return Err(missing());
    }
    match name.as_str() {
        "CMD" => some(Change::Cmd(command(rest)?)),
        "ENTRYPOINT" => some(Change::Entrypoint(command(rest)?)),
        "ENV" => Ok(pairs(rest)?
            .into_iter()
            .map(|(name, value)| Change::Env(name, value))
            .collect()),
        "LABEL" => Ok(pairs(rest)?
            .into_iter()
            .map(|(name, value)| Change::Label(name, value))
            .collect()),
        "EXPOSE" => rest.split_whitespace().map(port).collect(),
        "VOLUME" => {
            let paths = match list(rest)? {
                Some(paths) => paths,
                None => words(rest)?,
            };
            Ok(paths.into_iter().map(Change::Volume).collect())
        }
        "USER" => some(Change::User(rest.to_owned())),
        "WORKDIR" => some(Change::WorkingDir(rest.to_owned())),
        "STOPSIGNAL" => some(Change::StopSignal(rest.to_owned())),
        "ONBUILD" => some(Change::OnBuild(rest.to_owned())),
        "HEALTHCHECK" if rest.eq_ignore_ascii_case("none") => some(Change::NoHealthcheck),
        "HEALTHCHECK" => Err("of HEALTHCHECK only NONE can be a change".to_owned()),
        _ => Err(format!(
            "{word:.40} is no change: there are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK NONE, \
             LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR"
        )),
    }
}

fn port(text: &str) -> Result<Change, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let good = number.parse::<u16>().is_ok_and(|number| number > 0);
    if !good || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(format!("{text:.40} is not a port"));
    }
    Ok(Change::Expose(format!("{number}/{protocol}")))
}

/// A list in JSON, or what a shell is given.
fn command(text: &str) -> Result<Vec<String>, String> {
    match list(text)? {
        Some(words) => Ok(words),
        None if text.is_empty() => Ok(Vec::new()),
        None => Ok(vec!["/bin/sh".into(), "-c".into(), text.to_owned()]),
    }
}

fn list(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| format!("{text:.80} is not a list of strings in JSON: {error}"))
}

/// `a=b c="d e"`, or `a b` for one.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{text:.80} has no value"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:.80} has no value"))?;
        match name {
            "" => Err(format!("{word:.80} has no name")),
            name => Ok((name.to_owned(), value.to_owned())),
        }
    };
    words.into_iter().map(pair).collect()
}

/// Words as a shell parts them, with quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some(_), c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read() {
        let one = |text: &str| parse_change(text).unwrap().remove(0);
        assert_eq!(
            one(r#"CMD ["a", "b c"]"#),
            Change::Cmd(vec!["a".into(), "b c".into()])
        );
        assert_eq!(
            one("entrypoint a b"),
            Change::Entrypoint(vec!["/bin/sh".into(), "-c".into(), "a b".into()])
        );
        assert_eq!(
            parse_change(r#"ENV A=1 B="x y" C=z\ z"#).unwrap(),
            [("A", "1"), ("B", "x y"), ("C", "z z")].map(|(n, v)| Change::Env(n.into(), v.into()))
        );
        assert_eq!(
            one("ENV A some words"),
            Change::Env("A".into(), "some words".into())
        );
        assert_eq!(
            parse_change("EXPOSE 80 53/udp").unwrap(),
            ["80/tcp", "53/udp"].map(|p| Change::Expose(p.into()))
        );
        assert_eq!(one(r#"VOLUME ["/a"]"#), Change::Volume("/a".into()));
        assert_eq!(one("HEALTHCHECK NONE"), Change::NoHealthcheck);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for bad in [
            "",
            "RUN x",
            "EXPOSE 0",
            "EXPOSE x",
            "ENV",
            "ENV A",
            "CMD [1]",
            "LABEL a=\"b",
        ] {
            assert!(parse_change(bad).is_err(), "{bad}");
        }
    }
}
