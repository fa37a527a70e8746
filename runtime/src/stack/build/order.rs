//! What is built before what.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::build::BuildSpec;
use stack_api::event::ApiError;

use super::Job;
use super::context::Context;

/// Builds that are still to be begun, with those that each waits for.
#[derive(Debug)]
pub(super) struct Order<'a> {
    left: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Order<'a> {
    /// The wanted builds and those they need.
    ///
    /// # Errors
    /// They need each other.
    pub(super) fn new(
        jobs: &'a BTreeMap<&'a str, Job<'a>>,
        wanted: &BTreeSet<&'a str>,
    ) -> Result<Order<'a>, ApiError> {
        let mut by_image: BTreeMap<String, &str> = BTreeMap::new();
        for (service, job) in jobs {
            for name in job.names()? {
                by_image.entry(name).or_insert(service);
            }
        }
        let mut left: BTreeMap<&'a str, BTreeSet<&'a str>> = BTreeMap::new();
        let mut new: Vec<&'a str> = wanted.iter().copied().collect();
        while let Some(service) = new.pop() {
            if !left.contains_key(service) {
                let needed = needs(jobs, &by_image, service);
                new.extend(&needed);
                left.insert(service, needed);
            }
        }
        let order = Order { left };
        order.check()?;
        let alike = order.with_alike(jobs);
        // Whatever it is: without that, it can be built.
        Ok(match alike.check() {
            Ok(()) => alike,
            Err(_) => order,
        })
    }

    /// The same, where builds of the same wait for the first of them: side by side
    /// each would make an image of its own, and afterwards it is in the cache.
    fn with_alike(&self, jobs: &BTreeMap<&'a str, Job<'a>>) -> Order<'a> {
        let mut left = self.left.clone();
        let mut first = BTreeMap::new();
        for (service, needed) in &mut left {
            let Some(job) = jobs.get(service).filter(|job| !job.spec.no_cache) else {
                continue;
            };
            let context = job.context.as_ref().map(Context::target);
            let place = context.unwrap_or_else(|| job.spec.context.clone());
            let made = (&job.content, &job.spec.target, &job.spec.args);
            let key = (place, made, &job.spec.additional_contexts);
            let first = *first.entry(key).or_insert(*service);
            if first != *service {
                needed.insert(first);
            }
        }
        Order { left }
    }

    /// All of them.
    pub(super) fn services(&self) -> impl Iterator<Item = &'a str> {
        self.left.keys().copied()
    }

    /// Those that wait for nothing any more; each is given once.
    pub(super) fn ready(&mut self) -> Vec<&'a str> {
        let free = |(_, needed): &(&&str, &BTreeSet<&str>)| needed.is_empty();
        let ready = self.left.iter().filter(free).map(|(name, _)| *name);
        let ready: Vec<&str> = ready.collect();
        self.left.retain(|_, needed| !needed.is_empty());
        ready
    }

    /// This one is built.
    pub(super) fn done(&mut self, service: &str) {
        for needed in self.left.values_mut() {
            needed.remove(service);
        }
    }

    fn check(&self) -> Result<(), ApiError> {
        let mut left = Order {
            left: self.left.clone(),
        };
        loop {
            let ready = left.ready();
            ready.iter().for_each(|service| left.done(service));
            if !ready.is_empty() {
                continue;
            }
            if left.left.is_empty() {
                return Ok(());
            }
            let names: Vec<&str> = left.services().collect();
            let names = names.join(", ");
            let what = format!("the images of {names} are built from each other");
            return Err(ApiError::new("build_cycle", what));
        }
    }
}

fn needs<'a>(
    jobs: &'a BTreeMap<&'a str, Job<'a>>,
    by_image: &BTreeMap<String, &'a str>,
    service: &str,
) -> BTreeSet<&'a str> {
    let Some(job) = jobs.get(service) else {
        return BTreeSet::new();
    };
    let images = job.images().into_iter().filter_map(|image| {
        let full = stack_images::full_name(&image).ok()?;
        by_image.get(&full).copied()
    });
    let services = job.spec.base_services();
    let services = services.filter_map(|name| Some(*jobs.get_key_value(name)?.0));
    let mut all: BTreeSet<&str> = images.chain(services).collect();
    // An image may be built from an older one of the same name.
    all.remove(service);
    all
}

/// The services that these need, as far as it can be told, themselves
/// included: also those that are no jobs, because their contexts are not
/// there yet or cannot be had.
pub(super) fn needed(
    jobs: &BTreeMap<&str, Job<'_>>,
    builds: &BTreeMap<String, BuildSpec>,
    wanted: &BTreeSet<String>,
) -> BTreeSet<String> {
    // One that can be built comes before one of the same name that cannot.
    let (can, cannot): (Vec<_>, Vec<_>) = builds
        .iter()
        .partition(|(service, _)| jobs.contains_key(service.as_str()));
    let mut by_image: BTreeMap<String, &String> = BTreeMap::new();
    for (service, spec) in can.into_iter().chain(cannot) {
        for name in spec.tags.iter().chain([&spec.image]) {
            if let Ok(name) = stack_images::full_name(name) {
                by_image.entry(name).or_insert(service);
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut new: Vec<String> = wanted.iter().cloned().collect();
    while let Some(service) = new.pop() {
        let job = jobs.get(service.as_str());
        if !found.insert(service) {
            continue;
        }
        let Some(job) = job else { continue };
        let images = job.images().into_iter().filter_map(|image| {
            let full = stack_images::full_name(&image).ok()?;
            by_image.get(&full).copied().cloned()
        });
        new.extend(images.chain(job.spec.base_services().map(str::to_owned)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(list: &[(&str, &str)]) -> BTreeMap<String, BuildSpec> {
        let one = |(image, dockerfile): &(&str, &str)| {
            let spec = BuildSpec {
                image: (*image).to_owned(),
                dockerfile_inline: Some((*dockerfile).to_owned()),
                ..BuildSpec::default()
            };
            ((*image).to_owned(), spec)
        };
        list.iter().map(one).collect()
    }

    fn jobs(specs: &BTreeMap<String, BuildSpec>) -> BTreeMap<&str, Job<'_>> {
        let one = |(service, spec)| {
            let service: &String = service;
            let spec: &BuildSpec = spec;
            let job = Job {
                service,
                spec,
                dockerfile: (spec.dockerfile_inline.clone().unwrap(), String::new()),
                content: spec.dockerfile_inline.clone().unwrap().into_bytes(),
                context: Some(Context {
                    path: "/".into(),
                    ignore: None,
                }),
                more: BTreeMap::new(),
            };
            (service.as_str(), job)
        };
        specs.iter().map(one).collect()
    }

    #[test]
    fn what_others_are_built_from_comes_first() {
        let specs = specs(&[
            ("base", "FROM busybox"),
            ("app", "FROM base:latest"),
            ("web", "FROM busybox\nCOPY --from=app /x /x"),
            ("other", "FROM alpine"),
        ]);
        let jobs = jobs(&specs);
        let mut order = Order::new(&jobs, &BTreeSet::from(["web", "other"])).unwrap();
        assert_eq!(order.ready(), ["base", "other"]);
        assert!(order.ready().is_empty());
        // Nobody waits for what is not needed.
        order.done("base");
        assert_eq!(order.ready(), ["app"]);
        order.done("other");
        assert!(order.ready().is_empty());
        order.done("app");
        assert_eq!(order.ready(), ["web"]);
    }

    #[test]
    fn builds_of_the_same_come_after_each_other() {
        let mut specs = specs(&[
            ("beat", "FROM busybox\nRUN x"),
            ("other", "FROM busybox\nRUN y"),
            ("web", "FROM busybox\nRUN x"),
            ("worker", "FROM busybox\nRUN x"),
        ]);
        let all = BTreeSet::from(["beat", "other", "web", "worker"]);
        {
            let jobs = jobs(&specs);
            let mut order = Order::new(&jobs, &all).unwrap();
            assert_eq!(order.ready(), ["beat", "other"]);
            order.done("beat");
            assert_eq!(order.ready(), ["web", "worker"]);
        }
        // The first of the same may be built from another of them.
        let from_web = BTreeMap::from([("busybox".to_owned(), "service:web".to_owned())]);
        for name in ["beat", "web"] {
            let spec = specs.get_mut(name).unwrap();
            spec.additional_contexts = from_web.clone();
        }
        specs.get_mut("worker").unwrap().no_cache = true;
        let jobs = jobs(&specs);
        let mut order = Order::new(&jobs, &all).unwrap();
        assert_eq!(order.ready(), ["other", "web", "worker"]);
    }

    #[test]
    fn what_is_needed_and_not_there_is_found() {
        let specs = specs(&[
            ("base", "FROM busybox"),
            ("app", "FROM base"),
            ("web", "FROM busybox\nCOPY --from=app /x /x"),
            ("other", "FROM busybox"),
        ]);
        let mut jobs = jobs(&specs);
        let web = BTreeSet::from(["web".to_owned()]);
        let found = |jobs: &_| Vec::from_iter(needed(jobs, &specs, &web));
        assert_eq!(found(&jobs), ["app", "base", "web"]);
        // What it is made from is not known.
        jobs.remove("app");
        assert_eq!(found(&jobs), ["app", "web"]);
    }

    #[test]
    fn a_ring_is_told() {
        let specs = specs(&[("a", "FROM b"), ("b", "FROM a"), ("c", "FROM c")]);
        let jobs = jobs(&specs);
        assert!(Order::new(&jobs, &BTreeSet::from(["c"])).is_ok());
        let error = Order::new(&jobs, &BTreeSet::from(["a"])).unwrap_err();
        assert!(error.message.contains("a, b"), "{error}");
    }
}
