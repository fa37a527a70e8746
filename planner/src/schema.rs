//! The attributes of a stack file: what may be written where, and what it
//! becomes in the canonical model. The tables follow the Compose Specification's
//! JSON schema; fields stand in the order in which they are printed.

mod build;
mod deploy;
mod describe;
mod extension;
pub(crate) mod json_schema;
mod resources;
mod service;
mod storage;

use crate::tree::same;

/// What a value must be and what it becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Text; left out when empty.
    Text,
    /// Text or nothing.
    TextOrNull,
    /// Text or a number; becomes text.
    TextOrNumber,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// When to pull an image.
    PullPolicy,
    /// A boolean or text for one; left out when false.
    Flag,
    /// A boolean or text for one; kept when false.
    FlagKept,
    /// A boolean, nothing else; left out when false.
    Bool,
    /// A boolean, nothing else; always printed.
    BoolKept,
    /// An integer or text for one; left out when zero.
    Int,
    /// An integer or text for one; kept when zero.
    IntKept,
    /// An integer from the first to the second or text for one.
    IntBetween(i64, i64),
    /// Any number or text for one, made an integer; left out when zero.
    Number,
    /// Any number; made an integer; left out when zero.
    PlainNumber,
    /// Any number or text for one, made an integer; kept when zero.
    NumberKept,
    /// Any number or text for one; left out when zero.
    Float,
    /// A size such as `64m`, becomes bytes as text; left out when zero.
    Bytes(Size),
    /// A time such as `1m30s`.
    Duration,
    /// A time such as `1m30s`; left out when zero.
    DurationNotZero,
    /// Permission bits, becomes `0` and octal digits.
    FileMode,
    /// The number of devices or `all`.
    DeviceCount,
    /// A command line: text, a list or nothing.
    Command,
    /// `healthcheck.test`: text or a list.
    Test,
    /// A list of texts without repetition.
    Texts,
    /// A list of texts.
    TextsRepeat,
    /// A list of texts or numbers without repetition; becomes texts.
    TextsOrNumbers,
    /// One text or a list of texts.
    TextOrTexts,
    /// `key: value` or `key=value` pairs.
    Pairs(Pairs),
    /// Host names and addresses.
    Hosts,
    /// Keys with a text or number.
    Options,
    /// Keys with a text, number or nothing.
    OptionsOrNull,
    /// Keys with text.
    TextMap,
    /// Keys with one or several scalars, becomes lists.
    MultiOptions,
    /// A mapping with these fields.
    Object(&'static Object),
    /// As [`Kind::Object`] or nothing.
    ObjectOrNull(&'static Object),
    /// A list of these.
    List(&'static Kind),
    /// A mapping from names to these.
    Named(&'static Kind, Names),
    /// What the short form may be and the long form.
    Either(Short, &'static Kind),
}

/// What a size may be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// A number or text.
    NumberOrText,
    /// An integer or text.
    IntOrText,
    /// Text.
    Text,
}

/// What pairs become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// A key without value has an empty one.
    Filled,
    /// A key without value is kept as such.
    Open,
    /// SSH keys: `id` or `id=path`, printed as a list.
    Ssh,
}

/// Which keys a mapping may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Letters, digits, `.`, `_` and `-`.
    Strict,
    /// Any.
    Free,
}

/// Short forms beside a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// Text.
    Text,
    /// Text or a number.
    TextOrNumber,
    /// An integer or text for one.
    Int,
    /// A list of texts.
    Texts,
    /// A boolean or text for one.
    Flag,
}

/// A mapping with known fields.
#[derive(Debug)]
pub(crate) struct Object {
    /// What it is called in messages, e.g. `a service`.
    pub(crate) what: &'static str,
    /// Keys that start with `x-` are allowed.
    pub(crate) extensions: bool,
    pub(crate) fields: &'static [Field],
}

/// One attribute.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

impl Object {
    /// The place of a field among its neighbours.
    pub(crate) fn rank(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| same(field.name, name))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| same(field.name, name))
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

const fn object(what: &'static str, fields: &'static [Field]) -> Object {
    Object {
        what,
        extensions: true,
        fields,
    }
}

/// The whole file.
pub(crate) static ROOT: Object = object(
    "a stack file",
    &[
        field("version", Kind::Text),
        field("name", Kind::Text),
        field(
            "include",
            Kind::List(&Kind::Either(Short::Text, &Kind::Object(&INCLUDE))),
        ),
        field(
            "services",
            Kind::Named(&Kind::Object(&service::SERVICE), Names::Strict),
        ),
        field(
            "networks",
            Kind::Named(&Kind::ObjectOrNull(&resources::NETWORK), Names::Free),
        ),
        field(
            "volumes",
            Kind::Named(&Kind::ObjectOrNull(&resources::VOLUME), Names::Strict),
        ),
        field(
            "secrets",
            Kind::Named(&Kind::Object(&resources::SECRET), Names::Strict),
        ),
        field(
            "configs",
            Kind::Named(&Kind::Object(&resources::CONFIG), Names::Strict),
        ),
        field(
            "models",
            Kind::Named(&Kind::Object(&resources::MODEL), Names::Free),
        ),
    ],
);

/// One entry of `include`.
pub(crate) static INCLUDE: Object = Object {
    what: "an include",
    extensions: false,
    fields: &[
        field("path", Kind::TextOrTexts),
        field("env_file", Kind::TextOrTexts),
        field("project_directory", Kind::Text),
    ],
};

/// Puts the attributes of a service back into their order.
pub(crate) fn sort_service(entries: &mut crate::tree::Mapping) {
    let fields = service::SERVICE.fields;
    let rank = |name: &str| {
        fields
            .iter()
            .position(|field| field.name == name)
            .unwrap_or(fields.len())
    };
    entries.sort_by(|a, _, b, _| rank(a).cmp(&rank(b)));
}

/// All attributes of a service with those below them, as `deploy.mode`.
#[cfg(test)]
pub(crate) fn service_attributes() -> Vec<String> {
    fn below(path: &str, kind: &Kind, out: &mut Vec<String>) {
        match kind {
            Kind::Object(object) | Kind::ObjectOrNull(object) => {
                for field in object.fields {
                    below(&format!("{path}.{}", field.name), &field.kind, out);
                }
            }
            Kind::List(kind) | Kind::Named(kind, _) | Kind::Either(_, kind) => {
                below(path, kind, out);
            }
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    for field in service::SERVICE.fields {
        below(field.name, &field.kind, &mut out);
    }
    out
}

/// What a service is called in messages.
pub(crate) const SERVICE_WHAT: &str = "a service";

/// Is there such an attribute of a service?
pub(crate) fn is_service_attribute(name: &str) -> bool {
    service::SERVICE.field(name).is_some()
}

/// Where an attribute belongs that `object` does not have.
pub(crate) fn elsewhere(name: &str, object: &Object) -> Option<String> {
    let places: [(&Object, &str); 4] = [
        (&service::SERVICE, "a service"),
        (&build::BUILD, "`build` of a service"),
        (&deploy::DEPLOY, "`deploy` of a service"),
        (&ROOT, "the top level of the file"),
    ];
    let (_, place) = places
        .iter()
        .find(|(other, _)| other.what != object.what && other.field(name).is_some())?;
    Some(format!(
        "`{name}` belongs to {place}: check the indentation"
    ))
}
