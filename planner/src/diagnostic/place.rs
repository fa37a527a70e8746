//! Lines and columns.

/// A place as editors count: both from 1, columns in characters (Unicode scalar
/// values), not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte in `text`; its end when there are fewer bytes.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before[..start].matches('\n').count() + 1;
        let mark = |c: &char| !(start == 0 && *c == '\u{feff}');
        Self {
            line,
            column: before[start..].chars().filter(mark).count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn characters_are_counted() {
        let at = |text: &str, offset| {
            let place = Position::of(text, offset);
            (place.line, place.column)
        };
        assert_eq!(at("", 0), (1, 1));
        assert_eq!(at("a\nbc", 3), (2, 2));
        assert_eq!(at("ä: ü", 6), (1, 5));
        assert_eq!(at("\u{feff}a", 3), (1, 1));
        assert_eq!(at("a\n", 99), (2, 1));
    }
}
