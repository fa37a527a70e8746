//! Numbers, sizes, times and booleans.

use super::{Bound, not_a_quantity};
use crate::schema::Kind;
use crate::tree::{Node, Value};

/// The printed form of a scalar; `None` when it is as good as not written.
pub(super) fn scalar(node: Node, kind: &Kind) -> Bound {
    Ok(match kind {
        Kind::Flag | Kind::Bool => flag(node)?.filter(|value| *value != Value::Bool(false)),
        Kind::FlagKept | Kind::BoolKept => flag(node)?,
        Kind::Int | Kind::Number | Kind::PlainNumber | Kind::IntBetween(..) => {
            whole(node)?.filter(|value| *value != Value::Int(0))
        }
        Kind::IntKept | Kind::NumberKept => whole(node)?,
        Kind::Float => float(node)?,
        Kind::Bytes(_) => bytes(node)?,
        Kind::Duration => duration(node, true)?,
        Kind::DurationNotZero => duration(node, false)?,
        Kind::FileMode => file_mode(node)?,
        Kind::DeviceCount => device_count(node)?.filter(|value| *value != Value::Int(0)),
        _ => match node.scalar_text() {
            Some(text) if !text.is_empty() => Some(Value::String(text)),
            _ => None,
        },
    })
}

fn flag(node: Node) -> Bound {
    match node.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "y" | "yes" | "on") => Ok(Some(Value::Bool(true))),
        Some("false" | "n" | "no" | "off") => Ok(Some(Value::Bool(false))),
        Some(_) => Err(not_a_quantity(&node, "a boolean")),
        None => Ok((!node.is_null()).then_some(node.value)),
    }
}

fn whole(node: Node) -> Bound {
    match &node.value {
        Value::Null => Ok(None),
        Value::String(text) => match text.parse::<i64>() {
            Ok(value) => Ok(Some(Value::Int(value))),
            Err(_) => Err(not_a_quantity(&node, "an integer")),
        },
        Value::Float(value) => Ok(Some(Value::Int(*value as i64))),
        _ => Ok(Some(node.value)),
    }
}

/// Numbers are kept with the precision of 32 bits, as Compose does.
fn float(node: Node) -> Bound {
    let value = match &node.value {
        Value::String(text) => text.parse::<f64>().ok(),
        _ => node.as_float(),
    };
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return if node.is_null() {
            Ok(None)
        } else {
            Err(not_a_quantity(&node, "a number"))
        };
    };
    let short = (value as f32).to_string().parse::<f64>().unwrap_or(value);
    Ok(match short {
        0.0 => None,
        short if short.fract() == 0.0 && short.abs() < 1e15 => Some(Value::Int(short as i64)),
        short => Some(Value::Float(short)),
    })
}

fn bytes(node: Node) -> Bound {
    let size = match &node.value {
        Value::Null => return Ok(None),
        Value::String(text) => parse_bytes(text),
        Value::Int(value) => Some(*value),
        // Compose reads nothing out of a fraction.
        Value::Float(_) => Some(0),
        _ => None,
    };
    match size {
        Some(0) => Ok(None),
        Some(size) => Ok(Some(Value::String(size.to_string()))),
        None => Err(not_a_quantity(&node, "a size such as `512m` or `2gb`")),
    }
}

/// `64`, `64k`, `1.5g`, `2 GiB`: powers of 1024, any case, `b` or `ib` after the unit.
pub(crate) fn parse_bytes(text: &str) -> Option<i64> {
    if let Ok(plain) = text.parse::<i64>() {
        return Some(plain);
    }
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let number = &text[..end];
    let unit = text[end..]
        .strip_prefix(' ')
        .unwrap_or(&text[end..])
        .to_ascii_lowercase();
    let value = number
        .parse::<f64>()
        .ok()
        .filter(|value| *value >= 0.0 && value.is_finite())?;
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let size = value * 1024f64.powi(power);
    (size < 9.2e18).then_some(size as i64)
}

fn duration(node: Node, keep_zero: bool) -> Bound {
    let Some(text) = node.scalar_text() else {
        return Ok(None);
    };
    match parse_duration(&text) {
        Some(0) if !keep_zero => Ok(None),
        Some(nanoseconds) => Ok(Some(Value::String(duration_text(nanoseconds)))),
        None => Err(not_a_quantity(&node, "a time such as `1m30s`")),
    }
}

/// Nanoseconds of `1h2m3s4ms5us6ns`, with `d` and `w` too; fractions allowed.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0f64;
    let mut whole = 0i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let factor: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        match number.parse::<i64>() {
            Ok(number) => whole = whole.checked_add(number.checked_mul(factor)?)?,
            Err(_) => total += number.parse::<f64>().ok()? * factor as f64,
        }
        rest = after;
    }
    if total > 9e18 {
        return None;
    }
    let sum = whole.checked_add(total.round() as i64)?;
    Some(if negative { -sum } else { sum })
}

/// `1h0m0s`, `1m30s`, `1.5s`, `250ms`.
pub(crate) fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, digits: usize| {
        let rest = format!("{:0digits$}", value % unit);
        match rest.trim_end_matches('0') {
            "" => (value / unit).to_string(),
            rest => format!("{}.{rest}", value / unit),
        }
    };
    match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(n, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(n, 1_000_000, 6)),
        _ => {
            let minute = 60_000_000_000;
            let seconds = format!("{}s", fraction(n % minute, 1_000_000_000, 9));
            match (n / (60 * minute), n / minute % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

fn file_mode(node: Node) -> Bound {
    let mode = match &node.value {
        Value::Null => return Ok(None),
        Value::String(text) => i64::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok(),
        _ => node.as_int(),
    };
    match mode.filter(|mode| (0..=0o7777).contains(mode)) {
        Some(mode) => Ok(Some(Value::String(format!("0{mode:o}")))),
        None => Err(not_a_quantity(&node, "a file mode such as `0440`")),
    }
}

fn device_count(node: Node) -> Bound {
    match node.as_str() {
        Some(text) if text.eq_ignore_ascii_case("all") => Ok(Some(Value::Int(-1))),
        Some(text) => match text.parse() {
            Ok(count) => Ok(Some(Value::Int(count))),
            Err(_) => Err(not_a_quantity(&node, "`all` or a number")),
        },
        None => Ok((!node.is_null()).then_some(node.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration_text, parse_bytes, parse_duration};

    #[test]
    fn sizes() {
        let cases = [
            ("64", Some(64)),
            ("-1", Some(-1)),
            ("1k", Some(1024)),
            ("1.5g", Some(3 << 29)),
            ("2 GiB", Some(2 << 30)),
            ("10MB", Some(10 << 20)),
            ("8b", Some(8)),
            ("", None),
            ("x", None),
            ("1x", None),
            ("-1k", None),
            ("1..5k", None),
            ("9999p", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_bytes(text), wanted, "{text}");
        }
    }

    #[test]
    fn times() {
        let second = 1_000_000_000;
        let cases = [
            ("1m30s", Some(90 * second), "1m30s"),
            ("1.5s", Some(3 * second / 2), "1.5s"),
            ("0", Some(0), "0s"),
            ("250ms", Some(second / 4), "250ms"),
            ("2h", Some(7200 * second), "2h0m0s"),
            ("1d", Some(86_400 * second), "24h0m0s"),
            ("3us", Some(3000), "3µs"),
            ("90s", Some(90 * second), "1m30s"),
            ("-5s", Some(-5 * second), "-5s"),
        ];
        for (text, wanted, shown) in cases {
            assert_eq!(parse_duration(text), wanted, "{text}");
            assert_eq!(duration_text(wanted.unwrap()), shown);
        }
        for bad in [
            "",
            "5",
            "s",
            "5x",
            "1m30",
            "--1s",
            "1.2.3s",
            "99999999999h",
            "1e9s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
