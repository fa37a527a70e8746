//! The functions of a `--format`: Go's own and those that Docker adds.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::Value;

const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "split", "title", "truncate", "upper",
];

/// There is such a function.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls one.
///
/// # Errors
/// It does not take these.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let all = || arguments.iter().map(plain);
    Ok(match (name, arguments) {
        ("json", [value]) => value.to_string().into(),
        ("lower", [text]) => plain(text).to_lowercase().into(),
        ("upper", [text]) => plain(text).to_uppercase().into(),
        ("title", [text]) => title(&plain(text)).into(),
        ("len", [value]) => match value {
            Value::Array(list) => list.len().into(),
            Value::Object(fields) => fields.len().into(),
            other => plain(other).len().into(),
        },
        ("split", [text, by]) => {
            let (text, by) = (plain(text), plain(by));
            text.split(by.as_str()).collect::<Vec<_>>().into()
        }
        ("join", [Value::Array(list), by]) => {
            let texts: Vec<String> = list.iter().map(plain).collect();
            texts.join(&plain(by)).into()
        }
        ("pad", [text, before, after]) => match plain(text) {
            text if text.is_empty() => text.into(),
            text => format!("{}{text}{}", spaces(before)?, spaces(after)?).into(),
        },
        ("truncate", [text, length]) => {
            let length = count(length)?;
            plain(text).chars().take(length).collect::<String>().into()
        }
        ("index", [of, keys @ ..]) => keys.iter().fold(of.clone(), |of, key| {
            let found = match (&of, key) {
                (Value::Array(list), key) => count(key).ok().and_then(|n| list.get(n)),
                (Value::Object(fields), key) => fields.get(&plain(key)),
                _ => None,
            };
            found.cloned().unwrap_or_default()
        }),
        ("eq", [first, others @ ..]) if !others.is_empty() => others.contains(first).into(),
        ("ne", [one, other]) => (one != other).into(),
        ("lt", [one, other]) => order(one, other)?.is_lt().into(),
        ("le", [one, other]) => order(one, other)?.is_le().into(),
        ("gt", [one, other]) => order(one, other)?.is_gt().into(),
        ("ge", [one, other]) => order(one, other)?.is_ge().into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [.., last]) => {
            let stop = arguments.iter().find(|value| !is_true(value));
            stop.unwrap_or(last).clone()
        }
        ("or", [.., last]) => {
            let stop = arguments.iter().find(|value| is_true(value));
            stop.unwrap_or(last).clone()
        }
        ("print", _) => all().collect::<String>().into(),
        ("println", _) => (all().collect::<Vec<_>>().join(" ") + "\n").into(),
        ("printf", [form, values @ ..]) => printf(&plain(form), values)?.into(),
        _ => return Err(format!("`{name}` takes other arguments")),
    })
}

/// Numbers by size and texts by letters. What is not there for a line is the
/// least of its kind.
fn order(one: &Value, other: &Value) -> Result<Ordering, String> {
    let (zero, nothing) = (Value::from(0), Value::from(""));
    let instead = |other: &Value| match other {
        Value::Number(_) => zero.clone(),
        _ => nothing.clone(),
    };
    let known = |value: &Value, other: &Value| match value {
        Value::Null => instead(other),
        value => value.clone(),
    };
    match (known(one, other), known(other, one)) {
        (Value::String(one), Value::String(other)) => Ok(one.cmp(&other)),
        (Value::Number(one), Value::Number(other)) => {
            let order = match (one.as_i128(), other.as_i128()) {
                (Some(one), Some(other)) => Some(one.cmp(&other)),
                _ => one.as_f64().partial_cmp(&other.as_f64()),
            };
            order.ok_or_else(|| "what is no number has no order".to_owned())
        }
        (one, other) => Err(format!(
            "`{}` and `{}` have no order: both must be numbers, or texts",
            plain(&one),
            plain(&other)
        )),
    }
}

/// A value as text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let texts: Vec<String> = list.iter().map(plain).collect();
            format!("[{}]", texts.join(" "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Go's truth: neither empty nor zero.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A length; more than a line can hold is a mistake.
fn count(value: &Value) -> Result<usize, String> {
    let number = value.as_u64().filter(|number| *number <= 10_000);
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("`{}` is no length", plain(value)))
}

fn spaces(value: &Value) -> Result<String, String> {
    Ok(" ".repeat(count(value)?))
}

fn title(text: &str) -> String {
    let mut begins = true;
    let letters = text.chars().map(|letter| {
        let new = match begins {
            true => letter.to_uppercase().next().unwrap_or(letter),
            false => letter,
        };
        begins = !letter.is_alphanumeric();
        new
    });
    letters.collect()
}

/// `%s`, `%v`, `%d`, `%q` and `%%`, with a width: `%-20s`.
fn printf(form: &str, values: &[Value]) -> Result<String, String> {
    let mut values = values.iter();
    let mut out = String::new();
    let mut letters = form.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let left = letters.next_if_eq(&'-').is_some();
        let mut width = 0;
        while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
            width = (width * 10 + digit as usize).min(10_000);
            letters.next();
        }
        let verb = letters.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| format!("`{form}` has more places than there are values"))?;
        let text = match verb {
            Some('s' | 'v' | 'd') => plain(value),
            Some('q') => format!("{:?}", plain(value)),
            _ => return Err(format!("`{form}`: there are %s, %v, %d, %q and %%")),
        };
        let _ = match left {
            true => write!(out, "{text:<width$}"),
            false => write!(out, "{text:>width$}"),
        };
    }
    Ok(out)
}
