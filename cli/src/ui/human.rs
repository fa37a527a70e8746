//! Numbers as people read them.

/// `1.2s`, `45s`, `3m 5s`, `2h 7m`.
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10_000..60_000 => format!("{}s", ms / 1000),
        60_000..3_600_000 => format!("{}m {}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}h {}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// `Less than a second`, `5 seconds`, `About a minute`, `3 hours`…: the words
/// of `docker ps`, which scripts know.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours) = (seconds / 60, seconds.saturating_add(1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `512B`, `1.5kB`, `27.4MB`: decimal, as registries and Docker count.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n}B"),
        _ if value < 9.95 => format!("{value:.2}{}", UNITS[unit]),
        _ if value < 99.5 => format!("{value:.1}{}", UNITS[unit]),
        _ => format!("{value:.0}{}", UNITS[unit]),
    }
}

/// `512B`, `1.5KiB`, `27.4MiB`: in powers of 1024, as memory is counted.
pub(crate) fn binary(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.3}");
    // Four digits, without zeros at the end.
    let text: String = text.chars().take(5).collect();
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

/// `1 container`, `2 containers`.
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

/// As RFC 3339 has it; nothing when it is not known.
pub(crate) fn timestamp(ms: u64) -> String {
    let at = i64::try_from(ms).ok().filter(|ms| *ms > 0);
    let at = at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| at.to_string())
}

/// Milliseconds since the epoch, now.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// The first twelve digits of an id, without the name of its hash.
pub(crate) fn short_id(id: &str) -> &str {
    let bare = bare_id(id);
    bare.get(..12).unwrap_or(bare)
}

/// An id without the name of its hash.
pub(crate) fn bare_id(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_powers_of_1024() {
        let texts = [0, 1023, 1536, 64 << 20, 1000 << 20, (1 << 30) + (1 << 29)].map(binary);
        assert_eq!(
            texts,
            ["0B", "1023B", "1.5KiB", "64MiB", "1000MiB", "1.5GiB"]
        );
    }

    #[test]
    fn durations_read_well() {
        let took: Vec<String> = [0, 1234, 9999, 45_600, 185_000, 7_620_000]
            .into_iter()
            .map(took)
            .collect();
        assert_eq!(took, ["0.0s", "1.2s", "9.9s", "45s", "3m 5s", "2h 7m"]);
        let spans: Vec<String> = [
            900,
            1000,
            59_000,
            61_000,
            150_000,
            3_700_000,
            7_200_000,
            200_000_000,
        ]
        .into_iter()
        .map(span)
        .collect();
        assert_eq!(
            spans,
            [
                "Less than a second",
                "1 second",
                "59 seconds",
                "About a minute",
                "2 minutes",
                "About an hour",
                "2 hours",
                "2 days"
            ]
        );
    }

    #[test]
    fn sizes_have_three_digits() {
        let sizes: Vec<String> = [0, 999, 1000, 27_430_000, 999_600_000, u64::MAX]
            .into_iter()
            .map(bytes)
            .collect();
        assert_eq!(
            sizes,
            ["0B", "999B", "1.00kB", "27.4MB", "1.00GB", "18446744TB"]
        );
    }

    #[test]
    fn ids_are_cut() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
    }
}
