//! Plans for small stacks, and what holds for every plan.

use stack_api::container::{Container, State};
use stack_api::request::Up;
use stack_api::spec::{Condition, Dependency, NetworkSpec, ServiceSpec, StackSpec};

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

/// What there is after the plan was carried out.
fn carry_out(request: &Up, plan: &Plan, observed: &mut Observed) {
    for (n, step) in plan.steps.iter().enumerate() {
        assert!(
            step.after.iter().all(|before| *before < n),
            "{step} follows a later step"
        );
        match &step.action {
            Action::Pull { image } => {
                observed
                    .images
                    .insert(image.clone(), format!("id of {image}"));
            }
            Action::CreateNetwork { network, name } | Action::UpdateNetwork { network, name } => {
                let wanted = &request.spec.networks[network];
                let subnet = wanted.subnet.clone().unwrap_or_default();
                observed.networks.insert(
                    name.clone(),
                    ObservedNetwork {
                        internal: wanted.internal,
                        subnet,
                    },
                );
            }
            Action::CreateVolume { name, .. } => {
                observed.volumes.insert(name.clone());
            }
            Action::Create {
                service,
                number,
                name,
            }
            | Action::Recreate {
                service,
                number,
                name,
                ..
            } => {
                observed.containers.retain(|c| c.container.name != *name);
                let spec = request.spec.services[service].clone();
                observed.containers.push(ObservedContainer {
                    container: Container {
                        name: name.clone(),
                        service: service.clone(),
                        number: *number,
                        image_id: observed.images[&spec.image].clone(),
                        config_hash: spec.config_hash.clone(),
                        ..Container::default()
                    },
                    spec,
                });
            }
            Action::Start { name, .. } => state(observed, name, State::Running),
            Action::Stop { name, .. } => state(observed, name, State::Exited),
            Action::Remove { name, .. } => {
                observed.containers.retain(|c| c.container.name != *name);
            }
        }
    }
}

fn state(observed: &mut Observed, name: &str, state: State) {
    for container in observed
        .containers
        .iter_mut()
        .filter(|c| c.container.name == name)
    {
        container.container.state = state;
        container.container.exit_code = (state == State::Exited).then_some(0);
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
            "recreate container shop-app-1: environment changed",
            "start container shop-app-1: environment changed",
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
