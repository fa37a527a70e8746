//! What a Dockerfile says that a stack file can use.

/// The last stage of a Dockerfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// The image it starts from; `None` when it cannot be told.
    pub(super) from: Option<String>,
    /// First TCP port of `EXPOSE`.
    pub(super) port: Option<u16>,
    /// `WORKDIR`, absolute.
    pub(super) folder: Option<String>,
    /// `CMD`.
    pub(super) command: Vec<String>,
}

impl Dockerfile {
    pub(super) fn new(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.replace("\\\r\n", " ").replace("\\\n", " ").lines() {
            let Some((word, rest)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            let rest = rest.trim();
            match word.to_ascii_uppercase().as_str() {
                "FROM" => {
                    let image = rest.split_whitespace().find(|word| !word.starts_with("--"));
                    found = Self {
                        from: image.filter(|image| is_image(image)).map(str::to_owned),
                        ..Self::default()
                    };
                }
                "EXPOSE" => {
                    let tcp = rest
                        .split_whitespace()
                        .filter_map(|port| port.trim_end_matches("/tcp").parse().ok());
                    found.port = found.port.or(tcp.into_iter().next());
                }
                "WORKDIR" if is_path(rest) => found.folder = Some(rest.to_owned()),
                "CMD" => {
                    let words = serde_json::from_str::<Vec<String>>(rest);
                    found.command =
                        words.unwrap_or_else(|_| vec!["sh".into(), "-c".into(), rest.to_owned()]);
                }
                _ => {}
            }
        }
        found
    }
}

/// A reference with a repository, without variables.
fn is_image(text: &str) -> bool {
    text != "scratch"
        && text.len() < 256
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() < 256
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::Dockerfile;

    #[test]
    fn the_last_stage_counts() {
        let text = "FROM rust:1 AS build\nEXPOSE 1\nRUN a \\\n  b\nFROM --platform=x debian:12\nWORKDIR /srv/app\nexpose 53/udp 8080/tcp 9\nCMD [\"./app\", \"-v\"]\n";
        let found = Dockerfile::new(text);
        assert_eq!(found.from.as_deref(), Some("debian:12"));
        assert_eq!(
            (found.port, found.folder.as_deref()),
            (Some(8080), Some("/srv/app"))
        );
        assert_eq!(found.command, ["./app", "-v"]);
        let odd = Dockerfile::new("FROM ${BASE}\nWORKDIR $x\nEXPOSE $PORT\nCMD run it");
        assert_eq!(
            odd,
            Dockerfile {
                command: vec!["sh".into(), "-c".into(), "run it".into()],
                ..Dockerfile::default()
            }
        );
    }
}
