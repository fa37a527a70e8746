//! What holds for every plan, tried on random stacks and random changes of
//! them, with plans that are cut off anywhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::*;
use stack_api::container::{Health, State};
use stack_api::request::Up;
use stack_api::rollout::{Order, Rollout};
use stack_api::spec::{
    Condition, Dependency, MountSource, MountSpec, NetworkSpec, PortSpec, ServiceSpec, StackSpec,
    VolumeSpec,
};

use super::world::{carry_out_one, is_refused};
use super::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What a service can look like; dependencies go to services before it.
#[derive(Debug, Clone)]
struct Draft {
    there: bool,
    replicas: u32,
    image: u8,
    user: u8,
    label: u8,
    port: Option<u8>,
    networks: u8,
    volume: Option<u8>,
    dependencies: Vec<(u8, bool, u8)>,
    rollout: Option<(u32, bool)>,
    name: Option<u8>,
    address: Option<u8>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let shape = (
        prop::bool::weighted(0.8),
        0..4u32,
        0..2u8,
        0..2u8,
        0..2u8,
        prop::option::weighted(0.3, 0..3u8),
    );
    let places = (
        0..4u8,
        prop::option::weighted(0.3, 0..2u8),
        vec((0..5u8, any::<bool>(), 0..3u8), 0..3),
        prop::option::weighted(0.4, (0..3u32, any::<bool>())),
    );
    let own = (
        prop::option::weighted(0.3, 0..3u8),
        prop::option::weighted(0.3, 0..3u8),
    );
    (shape, places, own).prop_map(|(shape, places, own)| Draft {
        there: shape.0,
        replicas: shape.1,
        image: shape.2,
        user: shape.3,
        label: shape.4,
        port: shape.5,
        networks: places.0,
        volume: places.1,
        dependencies: places.2,
        rollout: places.3,
        name: own.0,
        address: own.1,
    })
}

fn service(n: usize, draft: &Draft, there: &[bool]) -> ServiceSpec {
    let mut spec = ServiceSpec {
        name: NAMES[n].to_owned(),
        image: format!("image:{}", draft.image),
        replicas: draft.replicas,
        user: (draft.user > 0).then(|| "someone".to_owned()),
        ..ServiceSpec::default()
    };
    if draft.label > 0 {
        spec.labels.insert("l".to_owned(), "1".to_owned());
    }
    spec.ports = draft
        .port
        .iter()
        .map(|port| PortSpec {
            host_ip: None,
            published: Some(8000 + u16::from(*port)),
            published_end: None,
            target: 80,
            udp: false,
            labels: Vec::new(),
        })
        .collect();
    for (bit, key) in [(1, "x"), (2, "y")] {
        if draft.networks & bit != 0 {
            spec.networks.insert(key.to_owned(), Default::default());
        }
    }
    spec.mounts = draft
        .volume
        .iter()
        .map(|volume| MountSpec {
            target: "/data".to_owned(),
            read_only: false,
            source: MountSource::Volume {
                volume: format!("v{volume}"),
                nocopy: false,
                subpath: None,
            },
        })
        .collect();
    for (other, restart, condition) in &draft.dependencies {
        let other = usize::from(*other);
        if other < n && there[other] {
            let condition = match condition {
                0 => Condition::ServiceStarted,
                _ => Condition::ServiceHealthy,
            };
            spec.depends_on.insert(
                NAMES[other].to_owned(),
                Dependency {
                    condition,
                    restart: *restart,
                    required: true,
                },
            );
        }
    }
    spec.update = draft.rollout.map(|(parallelism, start_first)| Rollout {
        parallelism,
        order: if start_first {
            Order::StartFirst
        } else {
            Order::StopFirst
        },
        ..Rollout::default()
    });
    // Only one container can have them; and names cannot be swapped while both run.
    if draft.replicas < 2 {
        let start_first = matches!(draft.rollout, Some((_, true)));
        let name = draft.name.filter(|_| !start_first);
        spec.container_name = name.map(|name| format!("name{name}"));
        if let Some(place) = spec.networks.get_mut("x") {
            let address = draft.address.map(|n| Ipv4Addr::new(10, 0, 0, 200 + n));
            place.ipv4 = address;
        }
    }
    // As the loader does it: a hash of what makes a container.
    let free = ServiceSpec {
        replicas: 0,
        depends_on: BTreeMap::new(),
        update: None,
        ..spec.clone()
    };
    spec.config_hash = format!("{free:?}");
    spec
}

/// Names and addresses are given once.
fn unique(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for draft in drafts.iter_mut().filter(|draft| draft.there) {
        draft.name = draft.name.filter(|name| names.insert(*name));
        draft.address = draft.address.filter(|address| addresses.insert(*address));
    }
    drafts
}

fn stack(drafts: &[Draft], internal: bool, names: u8, subnet: Option<u8>) -> StackSpec {
    let there: Vec<bool> = drafts.iter().map(|draft| draft.there).collect();
    let network = |key: &str| NetworkSpec {
        name: format!("shop_{key}_{}", if key == "x" { names } else { 0 }),
        internal: internal && key == "y",
        subnet: subnet
            .filter(|_| key == "y")
            .and_then(|n| format!("10.1.{n}.0/24").parse().ok()),
        ..NetworkSpec::default()
    };
    let volume = |n: u8| VolumeSpec {
        name: format!("shop_v{n}_{names}"),
        ..VolumeSpec::default()
    };
    StackSpec {
        name: "shop".to_owned(),
        services: drafts
            .iter()
            .enumerate()
            .filter(|(_, draft)| draft.there)
            .map(|(n, draft)| (NAMES[n].to_owned(), service(n, draft, &there)))
            .collect(),
        networks: ["x", "y"].map(|key| (key.to_owned(), network(key))).into(),
        volumes: [0, 1].map(|n| (format!("v{n}"), volume(n))).into(),
        ..StackSpec::default()
    }
}

fn request() -> impl Strategy<Value = Up> {
    let subnet = prop::option::weighted(0.5, 0..2u8);
    let flags = (any::<bool>(), 0..2u8, subnet, any::<bool>());
    (vec(draft(), NAMES.len()), flags).prop_map(|(drafts, (internal, names, subnet, orphans))| Up {
        spec: stack(&unique(drafts), internal, names, subnet),
        remove_orphans: orphans,
        ..Up::default()
    })
}

/// Something that happens to a container by itself.
fn accident(observed: &mut Observed, which: usize, how: u8) {
    let count = observed.containers.len().max(1);
    if let Some(found) = observed.containers.get_mut(which % count) {
        let container = &mut found.container;
        match how {
            0 => {
                container.state = State::Exited;
                container.exit_code = Some(1);
                container.health = None;
            }
            1 if container.state == State::Running => container.health = Some(Health::Starting),
            _ => {}
        }
    }
}

/// Steps in an order that the edges allow, chosen by `order`; those not
/// beyond `cut`. Gives the steps that were done.
fn run(request: &Up, plan: &Plan, observed: &mut Observed, order: u64, cut: usize) -> Vec<usize> {
    let mut done: Vec<usize> = Vec::new();
    let mut random = order | 1;
    while done.len() < cut.min(plan.steps.len()) {
        let ready: Vec<usize> = (0..plan.steps.len())
            .filter(|n| !done.contains(n))
            .filter(|n| {
                plan.steps[*n]
                    .after
                    .iter()
                    .all(|before| done.contains(before))
            })
            .collect();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let next = ready[(random >> 33) as usize % ready.len()];
        heal(observed);
        carry_out_one(request, &plan.steps[next], observed);
        done.push(next);
    }
    done
}

/// Time passes: what runs gets healthy.
fn heal(observed: &mut Observed) {
    for found in &mut observed.containers {
        if found.container.state == State::Running {
            found.container.health = Some(Health::Healthy);
        }
    }
}

fn reach(request: &Up, observed: &mut Observed, order: u64) {
    if is_refused(request, observed) {
        return;
    }
    let first = plan(request, observed).unwrap();
    assert_eq!(
        first,
        plan(request, observed).unwrap(),
        "the same plan twice"
    );
    run(request, &first, observed, order, usize::MAX);
    let again = plan(request, observed).unwrap();
    let left: Vec<String> = again.steps.iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "left to do: {left:?}");
    for found in &observed.containers {
        stands_on_what_is_wanted(request, found);
    }
}

/// Its networks and volumes are those that the keys lead to now.
fn stands_on_what_is_wanted(request: &Up, found: &ObservedContainer) {
    let spec = &request.spec;
    if !spec.services.contains_key(&found.container.service) {
        return;
    }
    let name = &found.container.name;
    for (key, place) in &found.places {
        assert_eq!(place.network, spec.networks[key].name, "{name}");
    }
    for (key, volume) in &found.volumes {
        assert_eq!(*volume, spec.volumes[key].name, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// After a whole plan there is nothing to do, whatever there was before,
    /// and in whatever order the steps were done.
    #[test]
    fn plans_converge(old in request(), new in request(), order in any::<u64>()) {
        let mut observed = Observed::default();
        reach(&old, &mut observed, order);
        reach(&new, &mut observed, order);
    }

    /// A plan that is cut off anywhere, with accidents, leaves a state that
    /// the next plan brings to the goal: that of the new definition, or of
    /// the old one again.
    #[test]
    fn every_prefix_can_be_gone_on_from(
        old in request(),
        new in request(),
        back in any::<bool>(),
        (order, cut) in (any::<u64>(), 0..40usize),
        accidents in vec((0..20usize, 0..2u8), 0..3),
    ) {
        let mut observed = Observed::default();
        reach(&old, &mut observed, order);
        prop_assume!(!is_refused(&new, &observed));
        let first = plan(&new, &observed).unwrap();
        run(&new, &first, &mut observed, order, cut);
        for (which, how) in accidents {
            accident(&mut observed, which, how);
        }
        reach(if back { &old } else { &new }, &mut observed, order);
    }

    /// Who asks for one service gets steps for it alone.
    #[test]
    fn the_others_are_left_alone(old in request(), new in request(), which in 0..NAMES.len()) {
        let mut observed = Observed::default();
        reach(&old, &mut observed, 1);
        let name = NAMES[which].to_owned();
        prop_assume!(new.spec.services.contains_key(&name));
        let request = Up { services: vec![name.clone()], no_deps: true, ..new };
        let plan = plan(&request, &observed).unwrap();
        for step in &plan.steps {
            let service = step.action.container().map(|(service, _)| service);
            let own = service.is_none_or(|service| service == name);
            prop_assert!(own || step.reason == Reason::Orphan, "{step}");
        }
    }

    /// What did not change is not touched, unless what it depends on asks
    /// for it, or what it stands on changes.
    #[test]
    fn what_did_not_change_is_left_alone(old in request(), new in request(), order in any::<u64>()) {
        let mut observed = Observed::default();
        reach(&old, &mut observed, order);
        let plan = plan(&new, &observed).unwrap();
        for step in &plan.steps {
            let Some((service, _)) = step.action.container() else { continue };
            if plan.rollouts.contains_key(service) {
                continue;
            }
            let same = match (old.spec.services.get(service), new.spec.services.get(service)) {
                (Some(old), Some(new)) => old.config_hash == new.config_hash,
                _ => false,
            };
            let allowed = matches!(
                step.reason,
                Reason::Missing
                    | Reason::ScaledDown
                    | Reason::DependencyRestarts { .. }
                    | Reason::NetworkChanged { .. }
                    | Reason::VolumeChanged { .. }
                    | Reason::Orphan
            );
            prop_assert!(!same || allowed, "{step}");
            let live = matches!(step.action, Action::Update { .. });
            if let Reason::Changed { changes } = &step.reason
                && live
            {
                prop_assert!(changes.iter().all(|change| change.class == Class::Live));
            }
        }
        for name in &plan.unchanged {
            let touched = plan.steps.iter().any(|step| {
                step.action.container().is_some_and(|(_, touched)| touched == name)
            });
            prop_assert!(!touched, "{name} is unchanged and touched");
        }
    }
}
