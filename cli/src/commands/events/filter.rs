//! `events --filter KEY=VALUE`, with Docker's keys.

use std::str::FromStr;

use stack_api::journal::Happening;

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    key: Key,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Event,
    Container,
    Service,
    Image,
    Label,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("KEY=VALUE, e.g. event=die".to_owned())?;
        let key = match key {
            "event" => Key::Event,
            "container" => Key::Container,
            "service" => Key::Service,
            "image" => Key::Image,
            "label" => Key::Label,
            // Everything here is of containers.
            "type" if value == "container" => Key::Event,
            _ => {
                return Err(format!(
                    "`{key}` is not among event, container, service, image and label"
                ));
            }
        };
        let any = text == "type=container";
        Ok(Filter {
            key,
            value: if any { String::new() } else { value.to_owned() },
        })
    }
}

impl Filter {
    fn fits(&self, happening: &Happening) -> bool {
        let value = self.value.as_str();
        let attribute = |name: &str| happening.attributes.get(name).map(String::as_str);
        match self.key {
            // `health_status` is what comes before `: healthy`.
            Key::Event => {
                let first = happening.action.split(':').next().unwrap_or_default();
                value.is_empty() || happening.action == value || first == value
            }
            Key::Container => {
                attribute("name") == Some(value)
                    || (value.len() >= 4 && happening.id.starts_with(value))
            }
            Key::Service => happening.service == value,
            Key::Image => attribute("image") == Some(value),
            Key::Label => match value.split_once('=') {
                Some((name, wanted)) => attribute(name) == Some(wanted),
                None => attribute(value).is_some(),
            },
        }
    }
}

/// Filters with the same key are alternatives, different keys must all fit.
pub(super) fn all(filters: &[Filter], happening: &Happening) -> bool {
    filters.iter().all(|filter| {
        filters
            .iter()
            .any(|other| other.key == filter.key && other.fits(happening))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filters: &[&str]) -> bool {
        let filters: Vec<Filter> = filters.iter().map(|text| text.parse().unwrap()).collect();
        let happening = Happening {
            service: "web".to_owned(),
            id: "abcdef".to_owned(),
            action: "health_status: healthy".to_owned(),
            attributes: [("name", "shop-web-1"), ("image", "nginx"), ("tier", "a")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Happening::default()
        };
        all(&filters, &happening)
    }

    #[test]
    fn one_key_is_either_two_keys_are_both() {
        assert!(fits(&[]));
        assert!(fits(&["event=health_status"]));
        assert!(fits(&["event=die", "event=health_status: healthy"]));
        assert!(!fits(&["event=die"]));
        assert!(!fits(&["event=health_status", "service=db"]));
        assert!(fits(&[
            "container=shop-web-1",
            "image=nginx",
            "label=tier=a",
            "label=tier"
        ]));
        assert!(fits(&["container=abcd"]));
        assert!(!fits(&["label=tier=b"]));
        assert!(fits(&["type=container"]));
        assert!("colour=red".parse::<Filter>().is_err());
    }
}
