//! Platforms, and which variant of an image fits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Does an image for the platform `there` (`os/arch[/variant]`) do where `wanted`
/// is asked for? What is no platform says nothing.
pub fn does_fit(wanted: &str, there: &str) -> bool {
    match (Platform::parse(wanted), Platform::parse(there)) {
        (Some(wanted), Some(there)) => wanted.fit(&there).is_some(),
        _ => true,
    }
}

/// Operating system, architecture and variant, in Go's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this machine's processor.
    pub(crate) fn host() -> Platform {
        Platform::new("linux", std::env::consts::ARCH, None)
    }

    /// `os/arch[/variant]`, or an architecture alone.
    pub(crate) fn parse(text: &str) -> Option<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        match parts[..] {
            [architecture] => Some(Platform::new("linux", architecture, None)),
            [os, architecture] => Some(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Some(Platform::new(os, architecture, Some(variant))),
            _ => None,
        }
    }

    // One word for each architecture (containerd, platforms/database.go).
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            "i386" | "x86" => ("386".to_owned(), None),
            other => (other.to_owned(), None),
        };
        Platform {
            os: os.to_ascii_lowercase(),
            architecture,
            variant: variant.or(implied).map(str::to_ascii_lowercase),
        }
    }

    /// How well an image of platform `other` fits: `None` not at all, lower
    /// is better.
    pub(crate) fn fit(&self, other: &Platform) -> Option<u32> {
        let other = Platform::new(&other.os, &other.architecture, other.variant.as_deref());
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let base = |platform: &Platform| match (&platform.variant, &*platform.architecture) {
            (Some(variant), _) => variant.trim_start_matches('v').parse().unwrap_or(0),
            (None, "arm64") => 8,
            (None, "arm") => 7,
            (None, _) => 1,
        };
        let (wanted, there): (u32, u32) = (base(self), base(&other));
        // A processor runs what was built for an older one.
        wanted.checked_sub(there)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variant_fits_best() {
        let fit = |wanted: &str, there: &str| {
            Platform::parse(wanted)
                .unwrap()
                .fit(&Platform::parse(there).unwrap())
        };
        assert_eq!(fit("linux/amd64", "linux/x86_64"), Some(0));
        assert_eq!(fit("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(fit("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(fit("linux/arm", "linux/arm/v6"), Some(1));
        assert_eq!(fit("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(fit("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(fit("linux/amd64", "windows/amd64"), None);
        assert_eq!(fit("linux/amd64", "unknown/unknown"), None);
    }

    #[test]
    fn an_image_of_another_platform_does_not_do() {
        assert!(does_fit("linux/x86_64", "linux/amd64"));
        assert!(does_fit("amd64", "linux/amd64"));
        assert!(!does_fit("linux/arm64", "linux/amd64"));
        assert!(does_fit("linux/arm64", ""));
    }

    #[test]
    fn platforms_are_read() {
        assert_eq!(
            Platform::parse("linux/aarch64").unwrap().to_string(),
            "linux/arm64"
        );
        assert_eq!(
            Platform::parse("armhf").unwrap().to_string(),
            "linux/arm/v7"
        );
        assert!(Platform::parse("linux//v8").is_none());
        assert!(Platform::parse("a/b/c/d").is_none());
        assert!(Platform::parse("").is_none());
    }
}
