//! The keys that end a conversation and leave its process alone.

use std::str::FromStr;

/// A sequence of keys, and how much of it has been pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    sequence: Vec<u8>,
    pressed: usize,
}

impl Default for Keys {
    /// Docker's: Ctrl-P, Ctrl-Q.
    fn default() -> Keys {
        Keys {
            sequence: vec![0x10, 0x11],
            pressed: 0,
        }
    }
}

impl FromStr for Keys {
    type Err = String;

    /// Keys with commas in between: a character, or `ctrl-` and a letter or
    /// one of `@ [ \ ] ^ _`.
    fn from_str(text: &str) -> Result<Keys, String> {
        let sequence: Result<Vec<u8>, String> = text.split(',').map(key).collect();
        Ok(Keys {
            sequence: sequence?,
            pressed: 0,
        })
    }
}

fn key(text: &str) -> Result<u8, String> {
    let wrong = || format!("`{text}` is not a key: write a character or ctrl-x");
    let (name, control) = match text.strip_prefix("ctrl-") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let [byte] = name.as_bytes() else {
        return Err(wrong());
    };
    match (control, byte.to_ascii_uppercase()) {
        (false, _) if byte.is_ascii() => Ok(*byte),
        (true, upper @ b'@'..=b'_') => Ok(upper & 0x1f),
        _ => Err(wrong()),
    }
}

impl Keys {
    /// What of the input is for the process; `None`: the sequence was
    /// pressed. Its beginning is held back until it is something else.
    pub(super) fn filter(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let mut rest = Vec::with_capacity(input.len());
        for byte in input {
            if *byte != self.sequence[self.pressed] {
                rest.extend_from_slice(&self.sequence[..self.pressed]);
                self.pressed = 0;
            }
            if *byte == self.sequence[self.pressed] {
                self.pressed += 1;
                if self.pressed == self.sequence.len() {
                    return None;
                }
            } else {
                rest.push(*byte);
            }
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_for_docker() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(Keys::default()));
        assert_eq!(
            "ctrl-@,a,ctrl-[".parse::<Keys>().unwrap().sequence,
            [0, b'a', 27]
        );
        assert!("ctrl-".parse::<Keys>().is_err());
        assert!("ctrl-1".parse::<Keys>().is_err());
        assert!("".parse::<Keys>().is_err());
        assert!("ä".parse::<Keys>().is_err());
    }

    #[test]
    fn only_the_whole_sequence_is_held_back() {
        let mut keys = Keys::default();
        assert_eq!(keys.filter(b"ab").unwrap(), b"ab");
        assert_eq!(keys.filter(b"a\x10").unwrap(), b"a");
        assert_eq!(keys.filter(b"b").unwrap(), b"\x10b");
        assert_eq!(keys.filter(b"\x10\x10").unwrap(), b"\x10");
        assert_eq!(keys.filter(b"\x11"), None);
    }
}
