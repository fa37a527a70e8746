//! Stack files in registries: artifacts as `docker compose publish` makes them.

use std::io::Write;
use std::path::{Path, PathBuf};

use stack_images::{ArtifactFile, PullOptions};

use super::remote::{folder_name, publish, stays_below, wait};

/// A part of the stack's description.
const FILE: &str = "application/vnd.docker.compose.file+yaml";
/// An environment file that it names.
const ENV_FILE: &str = "application/vnd.docker.compose.envfile";
/// The name that the whole has here.
const MAIN: &str = "compose.yaml";

/// The stack file, in the cache by the artifact's digest.
pub(super) fn fetch(reference: &str, cache: &Path) -> Result<PathBuf, String> {
    if let Some((repository, digest)) = reference.split_once("@sha256:")
        && digest.bytes().all(|b| b.is_ascii_hexdigit())
    {
        let known = cache.join(digest).join(folder_name(repository)).join(MAIN);
        if known.is_file() {
            return Ok(known);
        }
    }
    let artifact = wait(async {
        let wanted = |kind: &str| matches!(kind, FILE | ENV_FILE);
        let got = stack_images::artifact(reference, &PullOptions::from_env(), wanted).await;
        got.map_err(|error| match error.help() {
            Some(help) => format!("{error} ({help})"),
            None => error.to_string(),
        })
    })?;
    if !artifact.files.iter().any(|file| file.media_type == FILE) {
        return Err("it is no stack: it has no part of the type of Compose files".to_owned());
    }
    let digest = artifact.digest.trim_start_matches("sha256:");
    let folder = cache.join(digest).join(folder_name(reference));
    if !folder.exists() {
        publish(&folder, |folder| unpack(&artifact.files, folder))?;
    }
    Ok(folder.join(MAIN))
}

/// Several files are the documents of one; those that only serve `extends` and
/// environment files keep their names.
fn unpack(files: &[ArtifactFile], folder: &Path) -> Result<(), String> {
    let mut documents = 0;
    for file in files {
        let named = |annotation: &str| {
            let name = file.annotations.get(annotation).map_or("", String::as_str);
            match stays_below(name) {
                true => Ok(name),
                false => Err(format!("a file of it cannot be called `{name}`")),
            }
        };
        let extends = file.annotations.contains_key("com.docker.compose.extends");
        let (name, separate) = match file.media_type.as_str() {
            ENV_FILE => (named("com.docker.compose.envfile")?, false),
            _ if extends => (named("com.docker.compose.file")?, false),
            _ => {
                documents += 1;
                (MAIN, documents > 1)
            }
        };
        let path = folder.join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut out = std::fs::OpenOptions::new();
        let mut out = out.create(true).append(true).open(&path).map_err(failed)?;
        if separate {
            out.write_all(b"\n---\n").map_err(failed)?;
        }
        out.write_all(&file.content).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: &str, annotations: &[(&str, &str)], content: &str) -> ArtifactFile {
        let annotations = annotations.iter();
        ArtifactFile {
            media_type: kind.to_owned(),
            annotations: annotations
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            content: content.into(),
        }
    }

    #[test]
    fn parts_are_documents_of_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            file(FILE, &[("com.docker.compose.file", "compose.yaml")], "a: 1"),
            file(FILE, &[("com.docker.compose.file", "o.yaml")], "b: 2"),
            file(
                FILE,
                &[
                    ("com.docker.compose.extends", "true"),
                    ("com.docker.compose.file", "x.yaml"),
                ],
                "c: 3",
            ),
            file(
                ENV_FILE,
                &[("com.docker.compose.envfile", "one.env")],
                "A=1",
            ),
        ];
        unpack(&files, dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("compose.yaml"), "a: 1\n---\nb: 2");
        assert_eq!(read("x.yaml"), "c: 3");
        assert_eq!(read("one.env"), "A=1");
    }

    #[test]
    fn names_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../x", "/x", "a/../../x", ""] {
            let bad = file(ENV_FILE, &[("com.docker.compose.envfile", name)], "A=1");
            let error = unpack(&[bad], dir.path()).unwrap_err();
            assert!(error.contains("cannot be called"), "{error}");
        }
    }
}
