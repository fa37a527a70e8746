//! What each attribute is for, in one sentence: the descriptions that editors
//! show. One table for each mapping of the schema, by what it is called in
//! messages; a test holds them and the attributes together.

mod build;
mod deploy;
pub(super) mod extension;
mod resources;
mod service;
mod storage;

/// A mapping: what it is called, what it is, and its attributes.
pub(super) struct About {
    pub(super) what: &'static str,
    pub(super) text: &'static str,
    pub(super) fields: &'static [(&'static str, &'static str)],
}

const ROOT: About = About {
    what: "a stack file",
    text: "A stack: services, each in a virtual machine of its own, and what they use.",
    fields: &[
        ("version", "Obsolete and without meaning; leave it out."),
        (
            "name",
            "Name of the project: lower-case letters, digits, `-` and `_`. Default: the folder's name.",
        ),
        (
            "include",
            "Other stack files whose services and resources become part of this stack.",
        ),
        ("services", "The services by name."),
        (
            "networks",
            "The networks by name. Services that name none share `default`.",
        ),
        ("volumes", "Named volumes: data that outlives its services."),
        (
            "secrets",
            "Confidential files that services are given, from a file or a variable.",
        ),
        (
            "configs",
            "Files that services are given, from a file, a variable or the text itself.",
        ),
        ("models", "AI models that services use."),
    ],
};

const INCLUDE: About = About {
    what: "an include",
    text: "Another stack file, with its own folder and variables.",
    fields: &[
        (
            "path",
            "The file, or several that are merged in this order.",
        ),
        (
            "env_file",
            "Files with variables for the included files. Default: `.env` in their folder.",
        ),
        (
            "project_directory",
            "Folder that relative paths in the included files start from.",
        ),
    ],
};

/// All tables.
fn tables() -> impl Iterator<Item = &'static About> {
    [&ROOT, &INCLUDE]
        .into_iter()
        .chain(service::ABOUT)
        .chain(build::ABOUT)
        .chain(deploy::ABOUT)
        .chain(resources::ABOUT)
        .chain(storage::ABOUT)
        .chain(extension::ABOUT)
}

/// The table of a mapping.
pub(super) fn about(what: &str) -> Option<&'static About> {
    tables().find(|about| about.what == what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::tables;
    use crate::schema::json_schema::objects;

    #[test]
    fn every_attribute_is_described_and_nothing_else() {
        let mut missing = Vec::new();
        let mut known = BTreeSet::new();
        for object in objects() {
            let about = super::about(object.what);
            for field in object.fields {
                known.insert((object.what, field.name));
                let text = about
                    .and_then(|about| about.fields.iter().find(|(name, _)| *name == field.name));
                if text.is_none_or(|(_, text)| !text.ends_with('.')) {
                    missing.push(format!("{}: {}", object.what, field.name));
                }
            }
        }
        assert!(missing.is_empty(), "no sentence for {missing:#?}");
        for about in tables() {
            for (name, _) in about.fields {
                assert!(
                    known.contains(&(about.what, *name)),
                    "{}: {name} is no attribute",
                    about.what
                );
            }
        }
    }
}
