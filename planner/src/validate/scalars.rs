//! Types and values of single scalars.

use crate::schema::{Kind, Size};
use crate::suggest;
use crate::tree::{Node, Value};

/// What the value must be, when it is not.
pub(super) fn check(node: &Node, kind: &Kind) -> Result<(), &'static str> {
    let value = &node.value;
    let (text, int) = (
        matches!(value, Value::String(_)),
        matches!(value, Value::Int(_)),
    );
    let number = int || matches!(value, Value::Float(_));
    let bool = matches!(value, Value::Bool(_));
    let (fits, wanted) = match kind {
        Kind::Flag | Kind::FlagKept => (bool || text, "a boolean"),
        Kind::Bool | Kind::BoolKept => (bool, "a boolean"),
        Kind::Int | Kind::IntKept | Kind::IntBetween(..) | Kind::DeviceCount => {
            (int || text, "an integer")
        }
        Kind::Bytes(Size::IntOrText) => (int || text, "an integer or a string"),
        Kind::Number | Kind::NumberKept | Kind::Float | Kind::FileMode => {
            (number || text, "a number")
        }
        Kind::PlainNumber => (number, "a number"),
        Kind::Bytes(Size::NumberOrText) | Kind::TextOrNumber => {
            (number || text, "a number or a string")
        }
        Kind::Duration | Kind::DurationNotZero => (text, "a time such as `90s`"),
        Kind::TextOrNull => (text || node.is_null(), "a string"),
        _ => (text, "a string"),
    };
    if fits { Ok(()) } else { Err(wanted) }
}

/// What is allowed and a suggestion, when a value of the right type is not.
pub(super) fn allowed(node: &Node, kind: &Kind) -> Result<(), (String, Option<String>)> {
    match *kind {
        Kind::OneOf(texts) => {
            let text = node.as_str().unwrap_or_default();
            if texts.contains(&text) {
                return Ok(());
            }
            let list = texts
                .iter()
                .map(|text| format!("`{text}`"))
                .collect::<Vec<_>>()
                .join(", ");
            Err((
                format!("must be one of {list}"),
                suggest::did_you_mean_part(text, texts.iter().copied()),
            ))
        }
        Kind::IntBetween(least, most) => match node.as_int() {
            Some(value) if !(least..=most).contains(&value) => {
                Err((format!("must be {least} to {most}"), None))
            }
            _ => Ok(()),
        },
        Kind::PullPolicy => {
            let text = node.as_str().unwrap_or_default();
            let known = [
                "always",
                "never",
                "build",
                "if_not_present",
                "missing",
                "refresh",
                "daily",
                "weekly",
            ];
            if known.iter().any(|name| text.contains(name)) || text.contains("every_") {
                return Ok(());
            }
            let wanted = "must be `always`, `never`, `missing`, `build`, `daily`, `weekly` or `every_<time>`";
            Err((
                wanted.to_owned(),
                suggest::did_you_mean(text, known.into_iter()),
            ))
        }
        _ => Ok(()),
    }
}
