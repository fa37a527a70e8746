//! Signals by name, without `SIG` (signal(7)).

/// `SIGTERM`, `TERM`, `term` or `15` as a Linux number.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    for (end, sign) in [("RTMIN", '+'), ("RTMAX", '-')] {
        let Some(distance) = short.strip_prefix(end) else {
            continue;
        };
        let distance: i32 = match distance {
            "" => 0,
            distance => distance.strip_prefix(sign)?.parse().ok()?,
        };
        let inside = (0..=RTMAX - RTMIN).contains(&distance);
        let number = if sign == '+' {
            RTMIN + distance
        } else {
            RTMAX - distance
        };
        return inside.then_some(number);
    }
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == short);
    let short = other.map_or(short, |(_, name)| *name);
    NAMES
        .iter()
        .position(|known| *known == short)
        .map(|at| at as i32 + 1)
}

/// The signals for programs' own use: the first that a libc leaves them, and
/// the last.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Other names that Docker knows.
const OTHER_NAMES: [(&str, &str); 3] = [("IOT", "ABRT"), ("CLD", "CHLD"), ("POLL", "IO")];

/// In the kernel's order, from 1.
pub const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number("SIGTERM"), Some(15));
        assert_eq!(number("int"), Some(2));
        assert_eq!(number("9"), Some(9));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("SIGRTMAX-1"), Some(63));
        assert_eq!(number("rtmax"), Some(64));
        assert_eq!(number("RTMIN-1"), None);
        assert_eq!(number("RTMAX-31"), None);
        assert_eq!(number("SIGIOT"), Some(6));
        assert_eq!(number("CLD"), Some(17));
        assert_eq!(number("POLL"), Some(29));
        assert_eq!(number("SIGNOTHING"), None);
        assert_eq!(number("0"), None);
    }
}
