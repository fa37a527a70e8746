//! `events --filter KEY=VALUE`, with Docker's keys.

use std::str::FromStr;

use stack_api::journal::Happening;

use crate::commands::filters::Filters;

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    Event(String),
    Container(String),
    Service(String),
    Image(String),
    Label(String),
    /// `type=container`: everything here is of containers.
    Type,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("KEY=VALUE, e.g. event=die".to_owned())?;
        let own = value.to_owned();
        Ok(match key {
            "event" => Filter::Event(own),
            "container" => Filter::Container(own),
            "service" => Filter::Service(own),
            "image" => Filter::Image(own),
            "label" => Filter::Label(own),
            "type" if value == "container" => Filter::Type,
            "type" => return Err(format!("`{value}` has no events, only `container` has")),
            _ => {
                return Err(format!(
                    "`{key}` is not among event, container, service, image, label and type"
                ));
            }
        })
    }
}

impl Filter {
    fn fits(&self, happening: &Happening) -> bool {
        let attribute = |name: &str| happening.attributes.get(name).map(String::as_str);
        match self {
            // `health_status` is what comes before `: healthy`.
            Filter::Event(value) => {
                let first = happening.action.split(':').next().unwrap_or_default();
                happening.action == *value || first == value
            }
            Filter::Container(value) => {
                attribute("name") == Some(value)
                    || (value.len() >= 4 && happening.id.starts_with(value))
            }
            Filter::Service(value) => happening.service == *value,
            Filter::Image(value) => attribute("image") == Some(value),
            Filter::Label(value) => match value.split_once('=') {
                Some((name, wanted)) => attribute(name) == Some(wanted),
                None => attribute(value).is_some(),
            },
            Filter::Type => true,
        }
    }
}

/// All keys must fit; what each of them takes is said by [`Filters`].
pub(super) fn all(filters: &[Filter], happening: &Happening) -> bool {
    let filters = Filters::new(filters, |filter| matches!(filter, Filter::Label(_)));
    filters.take(|filter| filter.fits(happening))
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
    fn one_key_is_either_but_labels_and_two_keys_are_both() {
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
        assert!(!fits(&["label=tier=a", "label=tier=b"]));
        assert!(!fits(&["label=tier", "label=team"]));
        assert!(fits(&["type=container"]));
        assert!(!fits(&["type=container", "event=die"]));
        assert!(!fits(&["event=die", "type=container"]));
        assert!("type=network".parse::<Filter>().is_err());
        assert!("colour=red".parse::<Filter>().is_err());
    }
}
