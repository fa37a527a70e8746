//! Escape sequences in double-quoted values: `\a \b \c \f \n \r \t \v`, `\0ooo`
//! octal and `\$` for a dollar sign that starts no reference. The rest stays.

/// The text with its escapes replaced; `\$` becomes `$$`, which the template
/// that follows turns into `$`.
pub(super) fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let simple = match rest.chars().next() {
            Some('$') => Some("$$"),
            Some('a') => Some("\u{7}"),
            Some('b') => Some("\u{8}"),
            Some('f') => Some("\u{c}"),
            Some('n') => Some("\n"),
            Some('r') => Some("\r"),
            Some('t') => Some("\t"),
            Some('v') => Some("\u{b}"),
            Some('\\') => Some("\\"),
            _ => None,
        };
        if let Some(simple) = simple {
            out.push_str(simple);
            rest = &rest[1..];
            continue;
        }
        match octal(rest) {
            Some((c, length)) => {
                out.push(c);
                rest = &rest[length..];
            }
            None => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

/// `0` and one to three octal digits, of which three make a character.
fn octal(text: &str) -> Option<(char, usize)> {
    let digits: String = text
        .strip_prefix('0')?
        .chars()
        .take(3)
        .take_while(|c| c.is_digit(8))
        .collect();
    if digits.len() != 3 {
        return None;
    }
    let code = u32::from_str_radix(&digits, 8)
        .ok()
        .filter(|code| *code < 256)?;
    Some((char::from_u32(code)?, 1 + digits.len()))
}
