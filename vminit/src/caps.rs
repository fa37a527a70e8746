//! Capabilities as the masks that the kernel takes.

use stack_protocol::capability::{DEFAULT, NAMES};

/// Number of capabilities.
pub(crate) const COUNT: u32 = NAMES.len() as u32;

/// The mask of a list; an empty one is Docker's default.
pub(crate) fn mask(names: &[String], all: bool) -> u64 {
    if all {
        return (1 << COUNT) - 1;
    }
    let bit = |name: &str| {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        NAMES
            .iter()
            .position(|known| *known == bare)
            .map_or(0, |n| 1u64 << n)
    };
    if names.is_empty() {
        return DEFAULT.iter().map(|name| bit(name)).sum();
    }
    names.iter().fold(0, |mask, name| mask | bit(name))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn docker_default() {
        assert_eq!(mask(&[], false), 0xa804_25fb);
        assert_eq!(mask(&["NONE".to_owned()], false), 0);
        assert_eq!(mask(&["CAP_NET_ADMIN".to_owned()], false), 1 << 12);
    }
}
