//! Plans for small stacks, and what holds for every plan.

use stack_api::container::State;
use stack_api::request::Up;
use stack_api::spec::{
    Condition, Dependency, MountSource, MountSpec, NetworkSpec, PortSpec, ServiceSpec, StackSpec,
    VolumeSpec,
};

use super::world::{carry_out, state};
use super::*;

fn service(name: &str, deps: &[(&str, Condition)]) -> ServiceSpec {
    let depends_on = deps
        .iter()
        .map(|(dep, condition)| {
            (
                (*dep).to_owned(),
                Dependency {
                    condition: *condition,
                    restart: false,
                    required: true,
                },
            )
        })
        .collect();
    ServiceSpec {
        name: name.to_owned(),
        image: format!("{name}:1"),
        replicas: 1,
        config_hash: "a".to_owned(),
        networks: [("default".to_owned(), Default::default())].into(),
        depends_on,
        ..ServiceSpec::default()
    }
}

fn shop() -> Up {
    let services = [
        service("db", &[]),
        service("app", &[("db", Condition::ServiceHealthy)]),
        service("web", &[("app", Condition::ServiceStarted)]),
    ];
    let network = NetworkSpec {
        name: "shop_default".to_owned(),
        ..NetworkSpec::default()
    };
    Up {
        spec: StackSpec {
            name: "shop".to_owned(),
            services: services.into_iter().map(|s| (s.name.clone(), s)).collect(),
            networks: [("default".to_owned(), network)].into(),
            ..StackSpec::default()
        },
        ..Up::default()
    }
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

fn running() -> (Up, Observed) {
    let (request, mut observed) = (shop(), Observed::default());
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    (request, observed)
}

#[test]
fn a_new_stack_is_built_from_the_ground() {
    let plan = plan(&shop(), &Observed::default()).unwrap();
    let verbs: Vec<_> = plan
        .steps
        .iter()
        .map(|s| (s.action.verb(), s.action.subject().1))
        .collect();
    assert_eq!(
        verbs[4..],
        [
            ("create", "shop-db-1"),
            ("start", "shop-db-1"),
            ("create", "shop-app-1"),
            ("start", "shop-app-1"),
            ("create", "shop-web-1"),
            ("start", "shop-web-1"),
        ]
    );
    let start = &plan.steps[7];
    assert_eq!(
        start.after,
        [6, 5],
        "after its own creation and the start of db"
    );
    assert_eq!(start.wait_for[0].condition, Condition::ServiceHealthy);
}

/// Pulls and builds of a plan for `web`, whose image is built by `app`.
fn images(request: &Up, observed: &Observed) -> Vec<String> {
    let plan = plan(request, observed).unwrap();
    let steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Pull { image } => Some(format!("pull {image}")),
        Action::Build { service, image } => Some(format!("build {service} {image}")),
        _ => None,
    });
    steps.collect()
}

/// `web` has the image that `app` builds.
fn with_build(image: &str) -> Up {
    use stack_api::build::BuildSpec;
    let mut request = shop();
    for name in ["app", "web"] {
        image.clone_into(&mut request.spec.services.get_mut(name).unwrap().image);
    }
    let build = BuildSpec {
        image: image.to_owned(),
        ..BuildSpec::default()
    };
    request.builds = [("app".to_owned(), build)].into();
    request.no_deps = true;
    request
}

#[test]
fn an_image_that_the_file_does_not_name_is_built_and_not_pulled() {
    let image = "shop-app";
    let mut request = with_build(image);
    assert_eq!(request.spec.name, "shop");
    let none = Observed::default();
    for services in [&["web"][..], &["app", "web"], &["app"]] {
        request.services = services.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            images(&request, &none),
            ["build app shop-app"],
            "{services:?}"
        );
    }
    request.services = vec!["web".to_owned()];
    let there = Observed {
        images: [(image.to_owned(), "id".to_owned())].into(),
        ..Observed::default()
    };
    assert!(images(&request, &there).is_empty());
    // Only those that were named are built again.
    request.build = Some(BuildWhen::Always);
    assert!(images(&request, &there).is_empty());
    request.build = Some(BuildWhen::Never);
    assert_eq!(images(&request, &none), ["pull shop-app"]);
}

#[test]
fn an_image_that_the_file_names_is_pulled_before_it_is_built() {
    let none = Observed::default();
    let there = Observed {
        images: [("app:1".to_owned(), "id".to_owned())].into(),
        ..Observed::default()
    };
    for services in [&["web"][..], &["app", "web"], &["app"]] {
        let mut request = with_build("app:1");
        request.services = services.iter().map(|name| (*name).to_owned()).collect();
        // Whether it has to be built is known when no registry has it.
        assert_eq!(images(&request, &none), ["pull app:1"], "{services:?}");
        assert!(images(&request, &there).is_empty());
        request.pull = Some(PullPolicy::Always);
        assert_eq!(images(&request, &there), ["pull app:1"]);
        request.pull = Some(PullPolicy::Never);
        assert_eq!(images(&request, &none), ["build app app:1"]);
        request.pull = None;
        request.build = Some(BuildWhen::Never);
        assert_eq!(images(&request, &none), ["pull app:1"]);
    }
    let mut request = with_build("app:1");
    request.services = vec!["app".to_owned()];
    request.build = Some(BuildWhen::Always);
    assert_eq!(images(&request, &none), ["build app app:1"]);
    request.build = None;
    // `pull_policy: build`, and an option that says something else.
    request.builds.get_mut("app").unwrap().always = true;
    assert_eq!(images(&request, &there), ["build app app:1"]);
    request.pull = Some(PullPolicy::Always);
    assert_eq!(images(&request, &there), ["pull app:1"]);
}

#[test]
fn a_registry_is_asked_again_after_a_time() {
    let mut request = with_build("app:1");
    request.builds.clear();
    request.services = vec!["web".to_owned()];
    request.spec.services.get_mut("web").unwrap().pull_policy = PullPolicy::Every(60);
    let mut observed = Observed::default();
    assert_eq!(images(&request, &observed), ["pull app:1"]);
    observed.images = [("app:1".to_owned(), "id".to_owned())].into();
    for (asked, pulls) in [(59, 0), (60, 1)] {
        observed.asked_s = [("app:1".to_owned(), asked)].into();
        assert_eq!(images(&request, &observed).len(), pulls, "{asked}");
    }
    request.pull = Some(PullPolicy::Missing);
    assert!(images(&request, &observed).is_empty());
}

#[test]
fn nothing_is_left_to_do_after_the_plan() {
    let (request, observed) = running();
    let again = plan(&request, &observed).unwrap();
    assert!(again.is_empty(), "{:?}", texts(&again));
    assert_eq!(again.unchanged.len(), 3);
}

#[test]
fn a_change_touches_only_its_service() {
    let (mut request, observed) = running();
    let app = request.spec.services.get_mut("app").unwrap();
    app.config_hash = "b".to_owned();
    app.environment.insert("X".to_owned(), "1".to_owned());
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&plan),
        [
            "recreate container shop-app-1: environment.X changed",
            "start container shop-app-1: environment.X changed",
        ]
    );
}

#[test]
fn a_new_image_recreates_and_restarts_who_asked() {
    let (mut request, mut observed) = running();
    observed
        .images
        .insert("db:1".to_owned(), "another".to_owned());
    let app = request.spec.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().restart = true;
    let first = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&first),
        [
            "recreate container shop-db-1: image changed: id of db:1 → another",
            "start container shop-db-1: image changed: id of db:1 → another",
            "stop container shop-app-1: db is started anew",
            "start container shop-app-1: db is started anew",
        ]
    );
    carry_out(&request, &first, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn another_image_at_a_mount_recreates() {
    let (mut request, _) = running();
    let app = request.spec.services.get_mut("app").unwrap();
    app.mounts = vec![MountSpec {
        target: "/site".to_owned(),
        read_only: true,
        source: MountSource::Image {
            image: "site:1".to_owned(),
            subpath: None,
        },
    }];
    let mut observed = Observed::default();
    let mut is_there = |id: &str| {
        let id = id.to_owned();
        observed.images.insert("site:1".to_owned(), id);
        let first = plan(&request, &observed).unwrap();
        carry_out(&request, &first, &mut observed);
        assert!(plan(&request, &observed).unwrap().is_empty());
        texts(&first)
    };
    is_there("one");
    assert_eq!(
        is_there("other")[0],
        "recreate container shop-app-1: image changed: one → other"
    );
}

#[test]
fn what_ended_is_started_but_not_a_completed_job() {
    let (mut request, mut observed) = running();
    state(&mut observed, "shop-db-1", State::Exited);
    assert_eq!(
        texts(&plan(&request, &observed).unwrap()),
        ["start container shop-db-1: it is exited"]
    );
    let app = request.spec.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().condition = Condition::ServiceCompletedSuccessfully;
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn scale_down_orphans_and_selection() {
    let (mut request, mut observed) = running();
    request.scale.insert("web".to_owned(), 0);
    assert_eq!(
        texts(&plan(&request, &observed).unwrap()),
        ["remove container shop-web-1: fewer are wanted"]
    );
    request.scale.clear();
    request.spec.services.remove("web");
    assert_eq!(plan(&request, &observed).unwrap().orphans, ["shop-web-1"]);
    request.remove_orphans = true;
    let first = plan(&request, &observed).unwrap();
    assert_eq!(first.steps.len(), 1);
    carry_out(&request, &first, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
    request.services = vec!["nobody".to_owned()];
    assert_eq!(plan(&request, &observed).unwrap_err().name, "nobody");
}

#[test]
fn a_changed_network_renews_its_containers() {
    let (mut request, mut observed) = running();
    request.spec.networks.get_mut("default").unwrap().internal = true;
    let first = plan(&request, &observed).unwrap();
    assert_eq!(
        first
            .steps
            .iter()
            .filter(|s| s.action.verb() == "recreate")
            .count(),
        3
    );
    carry_out(&request, &first, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn what_a_running_machine_can_take_restarts_nothing() {
    let (mut request, mut observed) = running();
    let app = request.spec.services.get_mut("app").unwrap();
    app.config_hash = "b".to_owned();
    app.labels.insert("team".to_owned(), "blue".to_owned());
    let web = request.spec.services.get_mut("web").unwrap();
    web.depends_on.get_mut("app").unwrap().restart = true;
    let first = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&first),
        ["update container shop-app-1: labels.team changed"]
    );
    assert_eq!(first.unchanged, ["shop-db-1", "shop-web-1"]);
    carry_out(&request, &first, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
    // A hash alone, of an attribute without effect here.
    request.spec.services.get_mut("db").unwrap().config_hash = "c".to_owned();
    assert_eq!(
        texts(&plan(&request, &observed).unwrap()),
        ["update container shop-db-1: only attributes without effect changed"]
    );
}

#[test]
fn a_stopped_container_is_updated_and_started() {
    let (mut request, mut observed) = running();
    state(&mut observed, "shop-web-1", State::Exited);
    let web = request.spec.services.get_mut("web").unwrap();
    web.stop_signal = Some("INT".to_owned());
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&plan),
        [
            "update container shop-web-1: stop_signal changed",
            "start container shop-web-1: it is exited",
        ]
    );
    assert_eq!(plan.steps[1].after, [0]);
}

#[test]
fn what_is_updated_comes_before_who_waits_for_it() {
    let (mut request, mut observed) = running();
    state(&mut observed, "shop-app-1", State::Exited);
    let db = request.spec.services.get_mut("db").unwrap();
    db.healthcheck.get_or_insert_default().retries = Some(7);
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&plan),
        [
            "update container shop-db-1: healthcheck.retries changed",
            "start container shop-app-1: it is exited",
        ]
    );
    assert_eq!(plan.steps[1].after, [0]);
}

#[test]
fn no_recreate_still_takes_what_is_live() {
    let (mut request, observed) = running();
    request.no_recreate = true;
    let app = request.spec.services.get_mut("app").unwrap();
    app.labels.insert("a".to_owned(), "b".to_owned());
    let db = request.spec.services.get_mut("db").unwrap();
    db.user = Some("db".to_owned());
    assert_eq!(
        texts(&plan(&request, &observed).unwrap()),
        ["update container shop-app-1: labels.a changed"]
    );
}

#[test]
fn who_takes_a_port_waits_until_it_is_free() {
    let (mut request, mut observed) = running();
    let port = PortSpec {
        host_ip: None,
        published: Some(8080),
        published_end: None,
        target: 80,
        udp: false,
        labels: Vec::new(),
    };
    let db = request.spec.services.get_mut("db").unwrap();
    db.ports = vec![port.clone()];
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    request.spec.services.get_mut("db").unwrap().ports.clear();
    request.spec.services.get_mut("web").unwrap().ports = vec![port];
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&plan),
        [
            "update container shop-db-1: ports[0] changed",
            "update container shop-web-1: ports[0] changed",
        ]
    );
    assert_eq!(plan.steps[1].after, [0]);
}

#[test]
fn a_network_is_made_before_a_running_container_joins_it() {
    let (mut request, mut observed) = running();
    let network = |key: &str| NetworkSpec {
        name: format!("shop_{key}"),
        ..NetworkSpec::default()
    };
    let spec = &mut request.spec;
    spec.networks.insert("new".to_owned(), network("new"));
    let db = spec.services.get_mut("db").unwrap();
    db.networks.insert("new".to_owned(), Default::default());
    let joins = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&joins),
        [
            "create network shop_new: not there yet",
            "update container shop-db-1: networks.new changed",
        ]
    );
    assert_eq!(joins.steps[1].after, [0]);
    carry_out(&request, &joins, &mut observed);
    // One that is made anew is joined by a container that is made anew.
    request.spec.networks.get_mut("new").unwrap().internal = true;
    let anew = plan(&request, &observed).unwrap();
    assert!(
        texts(&anew)
            .iter()
            .any(|step| step.contains("recreate") || step.contains("replace")),
        "{:?}",
        texts(&anew)
    );
}

#[test]
fn a_port_that_a_dependant_frees_goes_to_what_it_depends_on() {
    let (mut request, mut observed) = running();
    let port = |published| PortSpec {
        host_ip: None,
        published: Some(published),
        published_end: None,
        target: 80,
        udp: false,
        labels: Vec::new(),
    };
    let ports = |request: &mut Up, name: &str, ports: Vec<PortSpec>| {
        request.spec.services.get_mut(name).unwrap().ports = ports;
    };
    ports(&mut request, "web", vec![port(80)]);
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    ports(&mut request, "web", vec![]);
    ports(&mut request, "db", vec![port(80)]);
    let moved = plan(&request, &observed).unwrap();
    let names: Vec<&str> = moved.steps.iter().map(|s| s.action.subject().1).collect();
    assert_eq!(names, ["shop-web-1", "shop-db-1"]);
    assert_eq!(moved.steps[1].after, [0]);
    carry_out(&request, &moved, &mut observed);
    // Two that swap: there is a plan, and it has no circle.
    ports(&mut request, "web", vec![port(81)]);
    let second = plan(&request, &observed).unwrap();
    carry_out(&request, &second, &mut observed);
    ports(&mut request, "web", vec![port(80)]);
    ports(&mut request, "db", vec![port(81)]);
    let swap = plan(&request, &observed).unwrap();
    let released: Vec<_> = swap.released.values().flatten().collect();
    assert_eq!(released.len(), 1, "one of them lets go first");
    assert!(first.released.is_empty() && moved.released.is_empty());
    carry_out(&request, &swap, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

fn volume(name: &str) -> VolumeSpec {
    VolumeSpec {
        name: name.to_owned(),
        ..VolumeSpec::default()
    }
}

/// The mount of the volume `data`.
fn data() -> MountSpec {
    MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Volume {
            volume: "data".to_owned(),
            nocopy: false,
            subpath: None,
        },
    }
}

/// The shop, whose `db` has the volume `data`.
fn with_data() -> (Up, Observed) {
    let (mut request, mut observed) = running();
    let spec = &mut request.spec;
    spec.volumes.insert("data".to_owned(), volume("one"));
    spec.services.get_mut("db").unwrap().mounts = vec![data()];
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    (request, observed)
}

/// The step's number, and the numbers of those that it follows.
fn place(plan: &Plan, verb: &str, container: &str) -> (usize, Vec<usize>) {
    let mut steps = plan.steps.iter().enumerate();
    let is_it = |step: &Step| step.action.verb() == verb && step.action.subject().1 == container;
    let (n, step) = steps.find(|(_, step)| is_it(step)).unwrap();
    (n, step.after.clone())
}

#[test]
fn a_disk_goes_to_another_service_when_its_machine_has_gone() {
    let (mut request, mut observed) = with_data();
    let spec = &mut request.spec;
    spec.services.get_mut("db").unwrap().mounts.clear();
    spec.services.get_mut("web").unwrap().mounts = vec![data()];
    let moved = plan(&request, &observed).unwrap();
    let (gone, _) = place(&moved, "recreate", "shop-db-1");
    assert!(place(&moved, "start", "shop-web-1").1.contains(&gone));
    carry_out(&request, &moved, &mut observed);
    request.spec.services.get_mut("web").unwrap().mounts.clear();
    request.spec.services.get_mut("db").unwrap().mounts = vec![data()];
    let back = plan(&request, &observed).unwrap();
    let (gone, _) = place(&back, "recreate", "shop-web-1");
    assert!(place(&back, "start", "shop-db-1").1.contains(&gone));
    carry_out(&request, &back, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn what_stays_needs_what_it_depends_on() {
    let (mut request, observed) = running();
    let kept = |request: &Up| {
        let kept = plan(request, &observed).unwrap().kept.into_iter();
        kept.map(|kept| (kept.name, kept.wait_for.service, kept.wait_for.required))
            .collect::<Vec<_>>()
    };
    // Of what web needs, nothing has to be waited for.
    let app = |required| ("shop-app-1".to_owned(), "db".to_owned(), required);
    assert_eq!(kept(&request), [app(true)]);
    // Once for all, and required if one of them requires it.
    let spec = &mut request.spec;
    let needs = spec.services["app"].depends_on.clone();
    spec.services.get_mut("web").unwrap().depends_on = needs;
    let needed = spec.services.get_mut("app").unwrap();
    needed.depends_on.get_mut("db").unwrap().required = false;
    assert_eq!(kept(&request), [app(true)]);
    request.no_start = true;
    assert_eq!(kept(&request), []);
    request.no_start = false;
    (request.no_deps, request.services) = (true, vec!["app".to_owned()]);
    assert_eq!(kept(&request), []);
}

#[test]
fn a_network_that_somebody_else_has_made_is_left_alone() {
    let foreign = [("shop_default".to_owned(), "other".to_owned())];
    let mut observed = Observed {
        foreign_networks: foreign.into(),
        ..Observed::default()
    };
    let mut request = shop();
    let first = plan(&request, &observed).unwrap();
    assert!(!texts(&first).iter().any(|step| step.contains("network")));
    assert_eq!(first.notes.len(), 1);
    observed.foreign_networks.clear();
    assert!(texts(&plan(&request, &observed).unwrap())[3].starts_with("create network"));
    let default = request.spec.networks.get_mut("default").unwrap();
    default.external = true;
    assert!(plan(&request, &observed).unwrap().notes.is_empty());
}

#[test]
fn a_service_with_another_name_gets_disk_and_name_of_the_old_one() {
    let (mut request, mut observed) = with_data();
    let spec = &mut request.spec;
    spec.services.get_mut("db").unwrap().container_name = Some("database".to_owned());
    let named = plan(&request, &observed).unwrap();
    carry_out(&request, &named, &mut observed);
    let spec = &mut request.spec;
    let mut postgres = spec.services.remove("db").unwrap();
    spec.services.get_mut("app").unwrap().depends_on.clear();
    postgres.name = "postgres".to_owned();
    spec.services.insert("postgres".to_owned(), postgres);
    request.remove_orphans = true;
    let renamed = plan(&request, &observed).unwrap();
    let (gone, _) = place(&renamed, "remove", "database");
    assert!(place(&renamed, "create", "database").1.contains(&gone));
    assert!(place(&renamed, "start", "database").1.contains(&gone));
    carry_out(&request, &renamed, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
    // A name that another service of the file gives up.
    let postgres = request.spec.services.get_mut("postgres").unwrap();
    postgres.container_name = None;
    let web = request.spec.services.get_mut("web").unwrap();
    web.container_name = Some("database".to_owned());
    let moved = plan(&request, &observed).unwrap();
    let (gone, _) = place(&moved, "recreate", "shop-postgres-1");
    assert!(place(&moved, "recreate", "database").1.contains(&gone));
    carry_out(&request, &moved, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn of_two_that_swap_names_one_goes_first() {
    let (mut request, mut observed) = running();
    let name = |request: &mut Up, service: &str, name: &str| {
        let spec = request.spec.services.get_mut(service).unwrap();
        spec.container_name = Some(name.to_owned());
    };
    name(&mut request, "db", "a");
    name(&mut request, "web", "b");
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    name(&mut request, "db", "b");
    name(&mut request, "web", "a");
    let swap = plan(&request, &observed).unwrap();
    let verbs = |plan: &Plan| -> Vec<(&str, String)> {
        let steps = plan.steps.iter();
        let steps = steps.map(|s| (s.action.verb(), s.action.subject().1.to_owned()));
        steps.collect()
    };
    let said = [
        ("remove", "a"),
        ("recreate", "a"),
        ("create", "b"),
        ("start", "b"),
        ("start", "a"),
    ];
    assert_eq!(
        verbs(&swap),
        said.map(|(verb, name)| (verb, name.to_owned()))
    );
    assert!(
        matches!(&swap.steps[0].action, Action::Remove { heir: Some(heir), .. } if heir == "b")
    );
    carry_out(&request, &swap, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn another_volume_is_another_disk() {
    let (mut request, observed) = with_data();
    request
        .spec
        .volumes
        .insert("data".to_owned(), volume("two"));
    assert_eq!(
        texts(&plan(&request, &observed).unwrap())[1],
        "recreate container shop-db-1: volume data is another one"
    );
}

#[test]
fn a_key_may_lead_to_something_else_that_is_there() {
    let (mut request, mut observed) = running();
    let default = request.spec.networks.get_mut("default").unwrap();
    default.name = "proxy".to_owned();
    default.external = true;
    // Not one of the stack's: nobody here knows it but by its name.
    let joins = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&joins)[0],
        "recreate container shop-db-1: network default changes"
    );
    // One that was taken off it by hand stays off, and an older record says nothing.
    for old in &mut observed.containers {
        old.places.clear();
    }
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn everybody_goes_before_a_network_has_other_addresses() {
    let (mut request, mut observed) = running();
    let default = request.spec.networks.get_mut("default").unwrap();
    default.subnet = "10.7.0.0/24".parse().ok();
    let moves = plan(&request, &observed).unwrap();
    let starts = moves.steps.iter().filter(|s| s.action.verb() == "start");
    for start in starts {
        for name in ["shop-db-1", "shop-app-1", "shop-web-1"] {
            let ended = moves.steps.iter().position(|step| {
                step.action.verb() == "recreate" && step.action.subject().1 == name
            });
            let follows = start.after.contains(&ended.unwrap());
            assert!(follows, "{start} does not follow the end of {name}");
        }
    }
    // For one alone: the others are told by the next plan.
    let one = Up {
        services: vec!["web".to_owned()],
        no_deps: true,
        no_start: true,
        ..request.clone()
    };
    let first = plan(&one, &observed).unwrap();
    carry_out(&one, &first, &mut observed);
    let second = plan(&request, &observed).unwrap();
    let again: Vec<String> = texts(&second)
        .into_iter()
        .filter(|step| step.starts_with("recreate"))
        .collect();
    assert_eq!(
        again,
        [
            "recreate container shop-db-1: network default changes",
            "recreate container shop-app-1: network default changes",
        ]
    );
    carry_out(&request, &second, &mut observed);
    assert!(plan(&request, &observed).unwrap().is_empty());
}

#[test]
fn nothing_starts_before_a_network_has_its_old_addresses_again() {
    let mut old = shop();
    let default = old.spec.networks.get_mut("default").unwrap();
    default.subnet = "10.0.0.0/24".parse().ok();
    let mut alone = service("alone", &[]);
    alone.networks.clear();
    old.spec.services.insert("alone".to_owned(), alone);
    let mut observed = Observed::default();
    carry_out(&old, &plan(&old, &observed).unwrap(), &mut observed);
    let mut new = old.clone();
    let default = new.spec.networks.get_mut("default").unwrap();
    default.subnet = "10.7.0.0/24".parse().ok();
    // Cut off when the network has other addresses, and all containers their own.
    let mut cut = plan(&new, &observed).unwrap();
    cut.steps.truncate(1);
    assert_eq!(cut.steps[0].action.verb(), "update");
    carry_out(&new, &cut, &mut observed);
    state(&mut observed, "shop-alone-1", State::Exited);
    let back = plan(&old, &observed).unwrap();
    let (_, after) = place(&back, "start", "shop-alone-1");
    assert_eq!(back.steps[after[0]].action.subject().0, "network");
    carry_out(&old, &back, &mut observed);
    assert!(plan(&old, &observed).unwrap().is_empty());
}

#[test]
fn fresh_volumes_are_for_new_containers() {
    let (mut request, observed) = running();
    request.renew_anon_volumes = true;
    request.services = vec!["web".to_owned()];
    let renewed = plan(&request, &observed).unwrap();
    assert_eq!(
        texts(&renewed),
        [
            "recreate container shop-web-1: --renew-anon-volumes",
            "start container shop-web-1: --renew-anon-volumes",
        ]
    );
    request.no_recreate = true;
    assert!(plan(&request, &observed).unwrap().is_empty());
}
