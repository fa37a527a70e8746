//! Changes as they are written: instructions of a Dockerfile.

use serde_json::Value;

use super::Change;
use super::words::{self, Variables};

/// Reads instructions, one after the other. `env`: `NAME=value` of the container, which
/// they may refer to, as they may to what those before them set.
///
/// # Errors
/// One is none of those that change a configuration, in words.
pub fn parse_changes(texts: &[String], env: &[String]) -> Result<Vec<Change>, String> {
    let pairs = env.iter().filter_map(|entry| entry.split_once('='));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut known: Variables = pairs.map(owned).collect();
    let mut all = Vec::new();
    for text in texts {
        let changes = one(text, &known)?;
        for change in &changes {
            if let Change::Env(name, value) = change {
                known.insert(name.clone(), value.clone());
            }
        }
        all.extend(changes);
    }
    Ok(all)
}

fn one(text: &str, env: &Variables) -> Result<Vec<Change>, String> {
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
        "ENV" => Ok(pairs(rest, env)?
            .into_iter()
            .map(|(name, value)| Change::Env(name, value))
            .collect()),
        "LABEL" => Ok(pairs(rest, env)?
            .into_iter()
            .map(|(name, value)| Change::Label(name, value))
            .collect()),
        "EXPOSE" => {
            // A variable may stand for several.
            let ports = words::whole(rest, env)?;
            ports.split_whitespace().map(port).collect()
        }
        "VOLUME" => {
            let paths = match list(rest)? {
                Some(paths) => paths.iter().map(|path| words::whole(path, env)).collect(),
                None => words::split(rest, env),
            };
            Ok(paths?.into_iter().map(Change::Volume).collect())
        }
        "USER" => some(Change::User(words::whole(rest, env)?)),
        "WORKDIR" => some(Change::WorkingDir(words::whole(rest, env)?)),
        "STOPSIGNAL" => some(Change::StopSignal(words::whole(rest, env)?)),
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

/// A list in JSON; what begins like one and is none may be a command.
fn list(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Ok(None);
    };
    serde_json::from_value(value)
        .map(Some)
        .map_err(|_| format!("{text:.80} is not a list of strings in JSON"))
}

/// `a=b c="d e"`, or `a b` for one.
fn pairs(text: &str, env: &Variables) -> Result<Vec<(String, String)>, String> {
    let words = words::split(text, env)?;
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{text:.80} has no value"))?;
        return Ok(vec![(name.to_owned(), words::whole(value.trim(), env)?)]);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Change>, String> {
        let env = ["PATH=/bin".to_owned(), "PORTS=1 2/udp".to_owned()];
        parse_changes(&[text.to_owned()], &env)
    }

    #[test]
    fn instructions_are_read() {
        let one = |text: &str| read(text).unwrap().remove(0);
        assert_eq!(
            one(r#"CMD ["a", "b c"]"#),
            Change::Cmd(vec!["a".into(), "b c".into()])
        );
        assert_eq!(
            one("entrypoint a b"),
            Change::Entrypoint(vec!["/bin/sh".into(), "-c".into(), "a b".into()])
        );
        assert_eq!(
            read(r#"ENV A=1 B="x y" C=z\ z"#).unwrap(),
            [("A", "1"), ("B", "x y"), ("C", "z z")].map(|(n, v)| Change::Env(n.into(), v.into()))
        );
        assert_eq!(
            one("ENV A some words"),
            Change::Env("A".into(), "some words".into())
        );
        assert_eq!(
            read("EXPOSE 80 53/udp").unwrap(),
            ["80/tcp", "53/udp"].map(|p| Change::Expose(p.into()))
        );
        assert_eq!(one(r#"VOLUME ["/a"]"#), Change::Volume("/a".into()));
        assert_eq!(one("HEALTHCHECK NONE"), Change::NoHealthcheck);
        assert_eq!(
            one("CMD [ -f /x ] && y"),
            Change::Cmd(vec!["/bin/sh".into(), "-c".into(), "[ -f /x ] && y".into()])
        );
    }

    #[test]
    fn variables_are_those_of_the_container_and_of_the_changes_before() {
        let texts = [
            "ENV PATH=$PATH:/opt/bin HOME=/h",
            "ENV A=${PATH} B='$PATH'",
            "WORKDIR $HOME/in",
            "EXPOSE $PORTS",
            r#"VOLUME ["$HOME/v"]"#,
            "USER ${NOBODY:-5}",
            "CMD echo $PATH",
        ];
        let env = ["PATH=/bin".to_owned(), "PORTS=1 2/udp".to_owned()];
        let env_is = |name: &str, value: &str| Change::Env(name.into(), value.into());
        let changes = parse_changes(&texts.map(str::to_owned), &env).unwrap();
        assert_eq!(
            changes,
            [
                env_is("PATH", "/bin:/opt/bin"),
                env_is("HOME", "/h"),
                env_is("A", "/bin:/opt/bin"),
                env_is("B", "$PATH"),
                Change::WorkingDir("/h/in".into()),
                Change::Expose("1/tcp".into()),
                Change::Expose("2/udp".into()),
                Change::Volume("/h/v".into()),
                Change::User("5".into()),
                Change::Cmd(vec!["/bin/sh".into(), "-c".into(), "echo $PATH".into()]),
            ]
        );
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
            "USER ${A",
            "USER ${A:?is missing}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
