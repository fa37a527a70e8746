//! Queries of calls, as they stand in a path.

use stack_api::journal::EventQuery;
use stack_api::look::Archive;
use stack_api::request::LogQuery;

type Form = form_urlencoded::Serializer<'static, String>;

/// The query of `logs`.
pub(super) fn logs(query: &LogQuery) -> String {
    let mut form = Form::new(String::new());
    if let Some(services) = &query.services {
        form.append_pair("services", services);
    }
    if query.follow {
        form.append_pair("follow", "true");
    }
    number(&mut form, "tail", query.tail);
    number(&mut form, "since_ns", query.since_ns);
    number(&mut form, "until_ns", query.until_ns);
    if let Some(pattern) = &query.grep {
        form.append_pair("grep", pattern);
    }
    number(&mut form, "index", query.index.map(u64::from));
    form.finish()
}

/// The query of `events`.
pub(super) fn events(query: &EventQuery) -> String {
    let mut form = Form::new(String::new());
    if let Some(services) = &query.services {
        form.append_pair("services", services);
    }
    number(&mut form, "since_ns", query.since_ns);
    number(&mut form, "until_ns", query.until_ns);
    number(&mut form, "after", query.after);
    form.finish()
}

/// The query of calls for some services, or all.
pub(crate) fn services(services: &[String]) -> String {
    let mut form = Form::new(String::new());
    if !services.is_empty() {
        form.append_pair("services", &services.join(","));
    }
    form.finish()
}

/// The query of `save`.
pub(crate) fn images(images: &[String]) -> String {
    let mut form = Form::new(String::new());
    form.append_pair("images", &images.join(","));
    form.finish()
}

/// The query of what one image is called.
pub(crate) fn image(image: &str) -> String {
    let mut form = Form::new(String::new());
    form.append_pair("image", image);
    form.finish()
}

/// The query of `archive`.
pub(super) fn archive(query: &Archive) -> String {
    let mut form = Form::new(String::new());
    form.append_pair("service", &query.service);
    number(&mut form, "index", query.index.map(u64::from));
    if let Some(container) = &query.container {
        form.append_pair("container", container);
    }
    form.append_pair("path", &query.path);
    form.append_pair("name", &query.name);
    for (name, value) in [
        ("follow", query.follow),
        ("one_file_system", query.one_file_system),
        ("tree", query.tree),
        ("contents", query.contents),
        ("owners", query.owners),
    ] {
        if value {
            form.append_pair(name, "true");
        }
    }
    form.finish()
}

fn number(form: &mut Form, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        form.append_pair(name, &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_container_of_a_name() {
        let query = Archive {
            service: "web".to_owned(),
            container: Some("shop-web-2".to_owned()),
            path: "/a b".to_owned(),
            tree: true,
            ..Archive::default()
        };
        assert_eq!(
            archive(&query),
            "service=web&container=shop-web-2&path=%2Fa+b&name=&tree=true"
        );
    }

    #[test]
    fn a_query_holds_what_is_set() {
        assert_eq!(logs(&LogQuery::default()), "");
        let query = LogQuery {
            services: Some("web,db".to_owned()),
            follow: true,
            tail: Some(10),
            since_ns: None,
            until_ns: Some(7),
            grep: Some("a b".to_owned()),
            index: None,
        };
        assert_eq!(
            logs(&query),
            "services=web%2Cdb&follow=true&tail=10&until_ns=7&grep=a+b"
        );
    }
}
