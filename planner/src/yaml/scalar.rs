//! What a plain scalar means. YAML 1.2 core schema plus what Compose's reader
//! accepts beyond it: `0o17` and `017` octal, `0b1`, underscores in numbers.
//! `yes`, `no`, `on` and `off` are text.

use granit_parser::Tag;

use crate::tree::Value;

/// The value of a plain scalar; with a core tag, of any scalar.
///
/// # Errors
/// What the tag asks for, in words, when the text is not that.
pub(super) fn resolve(text: &str, tag: Option<&Tag>) -> Result<Value, &'static str> {
    let Some(tag) = tag else {
        return Ok(plain(text));
    };
    if !tag.is_yaml_core_schema() {
        return Ok(Value::String(text.to_owned()));
    }
    match (tag.suffix(), plain(text)) {
        ("int", Value::Int(value)) => Ok(Value::Int(value)),
        ("int", _) => Err("an integer"),
        ("float", Value::Int(value)) => Ok(Value::Float(value as f64)),
        ("float", Value::Float(value)) => Ok(Value::Float(value)),
        ("float", _) => Err("a number"),
        ("bool", Value::Bool(value)) => Ok(Value::Bool(value)),
        ("bool", _) => match text {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Ok(Value::Bool(true)),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Ok(Value::Bool(false)),
            _ => Err("a boolean"),
        },
        ("null", Value::Null) => Ok(Value::Null),
        ("null", _) => Err("null"),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The value of an untagged plain scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        || text.len() > 64
    {
        return Value::String(text.to_owned());
    }
    let bare = text.replace('_', "");
    if let Some(value) = integer(&bare) {
        return Value::Int(value);
    }
    if is_float(&bare)
        && let Ok(value) = bare.parse::<f64>()
    {
        return Value::Float(value);
    }
    Value::String(text.to_owned())
}

/// `12`, `-0x1f`, `0o17`, `017`, `0b101`.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// `[-+]? (digits [. digits?] | . digits) (e [-+]? digits)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let whole = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    whole && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}
