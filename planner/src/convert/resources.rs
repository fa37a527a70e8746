//! `docker network create` and `docker volume create`.

use super::service::{plain, string};
use crate::tree::{Mapping, Node, Span};

/// A network or volume and what was left out of it. `None` without a name.
pub(super) fn create(kind: &str, words: &[String]) -> Option<(String, Mapping, Vec<String>)> {
    let mut entries = Mapping::new();
    let mut pool = Mapping::new();
    let (mut name, mut notes) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-') else {
            name = Some(plain(word));
            continue;
        };
        let flag = flag.trim_start_matches('-');
        let (flag, given) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        let switch = match flag {
            "internal" => Some("internal"),
            "attachable" => Some("attachable"),
            "ipv6" => Some("enable_ipv6"),
            _ => None,
        };
        if let Some(key) = switch {
            let on = given.as_deref() != Some("false");
            entries.insert(key.to_owned(), Node::bool(on, Span::NONE));
            continue;
        }
        let value = given.unwrap_or_else(|| words.next().cloned().unwrap_or_default());
        match flag {
            "driver" | "d" => drop(entries.insert("driver".to_owned(), string(&value))),
            "subnet" => drop(pool.insert("subnet".to_owned(), string(&value))),
            "gateway" => drop(pool.insert("gateway".to_owned(), string(&value))),
            "ip-range" => drop(pool.insert("ip_range".to_owned(), string(&value))),
            "opt" | "o" => pair(&mut entries, "driver_opts", &value),
            "label" => pair(&mut entries, "labels", &value),
            "name" if kind == "volumes" => name = Some(plain(&value)),
            _ => notes.push(format!("the flag {word} {value} was left out")),
        }
    }
    if !pool.is_empty() {
        let list = Node::sequence(vec![Node::mapping(pool, Span::NONE)], Span::NONE);
        let ipam = Mapping::from([("config".to_owned(), list)]);
        entries.insert("ipam".to_owned(), Node::mapping(ipam, Span::NONE));
    }
    Some((name?, entries, notes))
}

fn pair(entries: &mut Mapping, key: &str, text: &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let node = entries.entry(key.to_owned());
    let node = node.or_insert_with(|| Node::mapping(Mapping::new(), Span::NONE));
    if let Some(entries) = node.as_mapping_mut() {
        entries.insert(plain(name), string(value));
    }
}
