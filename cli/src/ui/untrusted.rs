//! Text that a guest or a file wrote, made safe for a terminal.
//!
//! A log line may hold any bytes. On a terminal, colours (SGR sequences) and
//! tabs stay; every other control character or sequence – cursor movement,
//! window titles, clipboard access – is left out, so that no service can
//! draw over what others said or make the terminal do things.

use std::borrow::Cow;

/// A line for a terminal. When it has colours it ends with a reset.
pub(crate) fn for_terminal(line: &str) -> Cow<'_, str> {
    if !line.chars().any(is_control) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut coloured = false;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\t' => out.push(c),
            '\u{1b}' => {
                if let Some(sgr) = sequence(&mut rest) {
                    out.push_str("\u{1b}[");
                    out.push_str(&sgr);
                    out.push('m');
                    coloured = true;
                }
            }
            // The eight-bit forms of CSI and OSC.
            '\u{9b}' => drop(csi(&mut rest)),
            '\u{9d}' | '\u{90}' | '\u{9e}' | '\u{9f}' | '\u{98}' => string(&mut rest),
            c if is_control(c) => {}
            c => out.push(c),
        }
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

/// One word or sentence without any control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_control(c) || c == '\t' { ' ' } else { c })
        .collect()
}

/// Sentences that may have several lines: each as of [`plain`].
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

fn is_control(c: char) -> bool {
    // Bidirectional overrides reorder what stands around them.
    (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What follows an escape; the parameters when it is a colour.
fn sequence(rest: &mut std::str::Chars<'_>) -> Option<String> {
    match rest.next()? {
        '[' => csi(rest),
        ']' | 'P' | '^' | '_' | 'X' => {
            string(rest);
            None
        }
        // Character sets and the like: one more.
        '(' | ')' | '*' | '+' | '#' | '%' | ' ' => {
            rest.next();
            None
        }
        _ => None,
    }
}

fn csi(rest: &mut std::str::Chars<'_>) -> Option<String> {
    let mut parameters = String::new();
    for c in rest.by_ref() {
        match c {
            '0'..='9' | ';' | ':' if parameters.len() < 64 => parameters.push(c),
            'm' => return Some(parameters),
            ' '..='?' => parameters.push('?'),
            // The final character, or rubbish that ends it.
            _ => return None,
        }
        if parameters.contains('?') {
            // A private sequence: never a colour. Skip to its end.
            rest.by_ref().find(|c| !matches!(c, ' '..='?'));
            return None;
        }
    }
    None
}

/// Skips a control string up to its terminator (BEL or ST).
fn string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next();
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_end() {
        assert_eq!(
            for_terminal("a \u{1b}[1;31mred"),
            "a \u{1b}[1;31mred\u{1b}[0m"
        );
        assert_eq!(for_terminal("plain\ttext ä"), "plain\ttext ä");
    }

    #[test]
    fn nothing_else_gets_through() {
        assert_eq!(for_terminal("a\u{1b}[2J\u{1b}[Hb"), "ab");
        assert_eq!(for_terminal("a\u{1b}[?25lb"), "ab");
        assert_eq!(for_terminal("a\u{1b}[>4;1mb"), "ab");
        assert_eq!(
            for_terminal("a\u{1b}]52;c;aGk=\u{7}b\u{1b}]0;title\u{1b}\\c"),
            "abc"
        );
        assert_eq!(for_terminal("a\u{9b}2Jb\rc\u{8}d\u{7}"), "abcd");
        assert_eq!(for_terminal("x\u{202e}y"), "xy");
        assert_eq!(for_terminal("cut \u{1b}"), "cut ");
        assert_eq!(for_terminal("cut \u{1b}[31"), "cut ");
    }

    #[test]
    fn words_have_no_lines() {
        assert_eq!(plain("a\nb\u{1b}[31mc"), "a b [31mc");
        assert_eq!(lines("a\n\u{1b}]0;b\u{7}\r\nc"), "a\n ]0;b \nc");
    }
}
