//! `x-stack`, for the JSON Schema. Files are checked by [`crate::extension`].

use super::{Kind, Object, Size, field};

pub(super) static X_STACK: Object = Object {
    what: "an x-stack section",
    extensions: false,
    fields: &[
        field("machine", Kind::Object(&MACHINE)),
        field("sockets", Kind::TextMap),
        field("lint", Kind::Object(&LINT)),
    ],
};

pub(super) static MACHINE: Object = Object {
    what: "a machine",
    extensions: false,
    fields: &[
        field("vcpus", Kind::IntBetween(1, 64)),
        field("memory", Kind::Bytes(Size::IntOrText)),
        field("kernel", Kind::Text),
        field("boot", Kind::OneOf(&["cold", "template"])),
    ],
};

pub(super) static LINT: Object = Object {
    what: "a lint section",
    extensions: false,
    fields: &[field("allow", Kind::TextsRepeat)],
};

/// Mappings that may have it.
pub(super) const PLACES: [&str; 2] = ["a stack file", "a service"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{LINT, MACHINE, Object, X_STACK};
    use crate::extension;

    #[test]
    fn the_keys_are_those_that_are_checked() {
        let names = |object: &Object| -> BTreeSet<&str> {
            object.fields.iter().map(|field| field.name).collect()
        };
        assert_eq!(names(&X_STACK), BTreeSet::from(extension::SECTIONS));
        assert_eq!(names(&MACHINE), BTreeSet::from(extension::MACHINE));
        assert_eq!(names(&LINT), BTreeSet::from(extension::LINT));
    }
}
