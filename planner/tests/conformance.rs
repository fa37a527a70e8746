//! The model of a folder of conformance cases, when there is one: named by
//! `STACK_CONFORMANCE`, or beside the checkout.
//!
//! A case is a folder with `case.json` (`argv`, `env`, `mode`), `in/` (the project,
//! which is called `case`) and `expected.json` (the canonical model with `$DIR` for the
//! project's folder and `$PARENT` for the one above it), or no such file when the stack
//! has to be refused.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read files"
)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use stack_planner::{FILE_NAMES, LoadOptions, Loaded, Source, SourceError, load};

/// Where the project is said to be.
const PROJECT: &str = "/p/case";

/// Cases in which we follow a newer version of the specification, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("loader.loadYAMLWithEnv.00", "`ipam.options` is kept"),
    (
        "normalize.TestNormalizePreStartInheritsServiceImage.00",
        "`pre_start` exists",
    ),
    (
        "normalize.TestNormalizePreStartInheritsServiceImage.01",
        "`pre_start` exists",
    ),
    (
        "build_extra.TestBuildNoCacheFilter.00",
        "`no_cache_filter` exists",
    ),
    (
        "service_hooks.TestPreStartInheritsServiceImage.00",
        "`pre_start` exists",
    ),
    ("service_hooks.TestServiceHooks.00", "`pre_start` exists"),
    (
        "TestPreStartHookBuildInheritance.compose.yaml",
        "`pre_start` exists",
    ),
    (
        "TestPreStartHookForceRecreate.compose.yaml",
        "`pre_start` exists",
    ),
    (
        "TestPreStartHookIdempotentReUp.compose.yaml",
        "`pre_start` exists",
    ),
    ("TestPreStartHookInError.compose.yaml", "`pre_start` exists"),
    (
        "TestPreStartHookMidSequenceFailure.compose.yaml",
        "`pre_start` exists",
    ),
];

/// Cases whose output, which is the reference's, is no file of the same stack.
const ONE_WAY: &[(&str, &str)] = &[
    (
        "simple-build-test.compose-interpolate.yaml",
        "an empty `dockerfile` is left out",
    ),
    (
        "TestConfigInterpolate.compose.yaml",
        "an empty `dockerfile` is left out",
    ),
    (
        "TestUpSwitchVolumes.compose.yaml",
        "an empty `name` is left out",
    ),
    (
        "05-services.03",
        "`blkio_config` has `Path` for `path` in JSON",
    ),
    ("models.01", "`models` are left out of JSON"),
];

/// The project's folder on disk, as [`PROJECT`].
struct Folder(PathBuf);

impl Folder {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        Some(self.0.join(path.strip_prefix(PROJECT).ok()?))
    }
}

impl Source for Folder {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        if path == Path::new("-") {
            return Ok(Vec::new());
        }
        let path = self.real(path).ok_or(SourceError::NotFound)?;
        std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SourceError::NotFound,
            _ => SourceError::Other(error.to_string()),
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.real(path).is_some_and(|path| path.exists())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.real(path).is_some_and(|path| path.is_dir())
    }
}

struct Case {
    folder: PathBuf,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    strict: bool,
}

/// All folders with a `case.json`, in order.
fn cases() -> Vec<Case> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let root = std::env::var_os("STACK_CONFORMANCE").map_or(beside, PathBuf::from);
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(folder) = queue.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        if let Ok(text) = std::fs::read_to_string(folder.join("case.json")) {
            let case: Value = serde_json::from_str(&text).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            found.push(Case {
                argv: case["argv"].as_array().unwrap().iter().map(text).collect(),
                environment: case["env"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(k, v)| (k.clone(), text(v)))
                    .collect(),
                strict: case["mode"] == "strict",
                folder,
            });
            continue;
        }
        queue.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir()),
        );
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    found
}

impl Case {
    fn name(&self) -> String {
        self.folder
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    fn options(&self) -> LoadOptions {
        let project = Path::new(PROJECT);
        let mut options = LoadOptions::new(Vec::new(), project.to_owned());
        options.environment = self.environment.iter().cloned().collect();
        options
            .environment
            .insert("HOME".to_owned(), "/home/u".to_owned());
        options.check_consistency = self.strict;
        let mut words = self.argv.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap();
            match word.as_str() {
                "-f" => match value().as_str() {
                    "-" => options.files.push("-".into()),
                    file => options.files.push(project.join(file)),
                },
                "-p" => options.project_name = Some(value().clone()),
                "--profile" => options.profiles.push(value().clone()),
                "--env-file" => options.env_files.push(project.join(value())),
                other => panic!("{other} in the arguments of {}", self.name()),
            }
        }
        if options.files.is_empty() {
            let there = |name: &&&str| self.folder.join("in").join(name).exists();
            let name = FILE_NAMES.iter().find(there).unwrap();
            options.files.push(project.join(name));
        }
        options
    }

    fn load(&self) -> Loaded {
        load(&Folder(self.folder.join("in")), &self.options())
    }

    /// What is wrong, in words.
    fn verdict(&self) -> Result<(), String> {
        let loaded = self.load();
        let wanted = std::fs::read_to_string(self.folder.join("expected.json"));
        match (wanted, &loaded.project) {
            (Err(_), None) => Ok(()),
            (Err(_), Some(_)) => Err("is accepted".to_owned()),
            (Ok(_), None) => Err(format!("is refused: {:#?}", loaded.diagnostics)),
            (Ok(wanted), Some(project)) => {
                let ours = project
                    .to_json()
                    .replace(PROJECT, "$DIR")
                    .replace("\"/p\"", "\"$PARENT\"")
                    .replace("/p/", "$PARENT/");
                let ours = plain(serde_json::from_str(&ours).unwrap());
                let wanted = plain(serde_json::from_str(&wanted).unwrap());
                match difference(&wanted, &ours, "") {
                    None => Ok(()),
                    Some(difference) => Err(difference),
                }
            }
        }
    }
}

/// Without what is as good as not written: null, empty, `create_host_path: true`.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .filter(|(key, value)| !(key == "create_host_path" && value == true))
            .map(|(key, value)| (key.replace("$$", "$"), plain(value)))
            .filter(|(_, value)| !is_empty(value))
            .collect(),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::String(text) => text.replace("$$", "$").into(),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(entries) => entries.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn difference(wanted: &Value, ours: &Value, path: &str) -> Option<String> {
    match (wanted, ours) {
        (Value::Object(wanted), Value::Object(ours)) => {
            let mut keys: Vec<_> = wanted.keys().chain(ours.keys()).collect();
            keys.sort();
            let none = Value::Null;
            keys.into_iter().find_map(|key| {
                let (a, b) = (
                    wanted.get(key).unwrap_or(&none),
                    ours.get(key).unwrap_or(&none),
                );
                difference(a, b, &format!("{path}.{key}"))
            })
        }
        (Value::Array(wanted), Value::Array(ours)) if wanted.len() == ours.len() => wanted
            .iter()
            .zip(ours)
            .enumerate()
            .find_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]"))),
        _ if wanted == ours => None,
        _ => Some(format!("{path} should be {wanted}, but is {ours}")),
    }
}

#[test]
fn verdict_and_model() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.name();
        let different = DIFFERENT.iter().find(|(known, _)| name.ends_with(known));
        match (case.verdict(), different) {
            (Ok(()), None) => {}
            (Err(_), Some(_)) => {}
            (Ok(()), Some((_, why))) => wrong.push(format!("{name}: no difference, though {why}")),
            (Err(why), None) => wrong.push(format!("{name}: {why}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn read_again() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.name();
        let one_way = ONE_WAY.iter().any(|(known, _)| name.ends_with(known));
        let project = case.load().project.filter(|_| !one_way);
        let again = project.map_or(Ok(()), |project| {
            support::reads_again(&project, case.strict)
        });
        if let Err(why) = again {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
