//! Plans of services with an `update_config`.

use stack_api::request::Up;
use stack_api::rollout::{FailureAction, Order, Rollout};
use stack_api::spec::{MountSource, MountSpec, ServiceSpec, StackSpec};

use super::world::carry_out;
use super::*;

/// Three replicas that run, and the request that changes them.
fn changed(rollout: Rollout) -> (Up, Observed) {
    let web = ServiceSpec {
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        replicas: 3,
        config_hash: "a".to_owned(),
        update: Some(rollout),
        ..ServiceSpec::default()
    };
    let mut request = Up {
        spec: StackSpec {
            name: "shop".to_owned(),
            services: [("web".to_owned(), web)].into(),
            ..StackSpec::default()
        },
        ..Up::default()
    };
    let mut observed = Observed::default();
    let first = plan(&request, &observed).unwrap();
    assert!(first.rollouts.is_empty(), "nothing is replaced");
    carry_out(&request, &first, &mut observed);
    let web = request.spec.services.get_mut("web").unwrap();
    web.user = Some("www".to_owned());
    web.config_hash = "b".to_owned();
    (request, observed)
}

/// Verb, container and what it follows.
fn shape(plan: &Plan) -> Vec<String> {
    let line = |(n, step): (usize, &Step)| {
        let what = match &step.action {
            Action::Watch {
                names,
                monitor_ms,
                delay_ms,
                ..
            } => format!("{} {monitor_ms}+{delay_ms}", names.join(",")),
            Action::Remove { id, .. } => id.clone(),
            action => action.subject().1.to_owned(),
        };
        format!("{n} {} {what} {:?}", step.action.verb(), step.after)
    };
    plan.steps.iter().enumerate().map(line).collect()
}

fn to_the_end(request: &Up, mut observed: Observed) {
    let first = plan(request, &observed).unwrap();
    carry_out(request, &first, &mut observed);
    let again = plan(request, &observed).unwrap();
    assert!(again.is_empty(), "{:?}", shape(&again));
}

#[test]
fn one_after_another() {
    let (request, observed) = changed(Rollout {
        delay_ms: 10,
        monitor_ms: 5,
        failure_action: FailureAction::Rollback,
        ..Rollout::default()
    });
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        shape(&plan),
        [
            "0 recreate shop-web-1 []",
            "1 start shop-web-1 [0]",
            "2 watch shop-web-1 5+10 [1]",
            "3 recreate shop-web-2 [2]",
            "4 start shop-web-2 [3]",
            "5 watch shop-web-2 5+10 [4]",
            "6 recreate shop-web-3 [5]",
            "7 start shop-web-3 [6]",
            "8 watch shop-web-3 5+0 [7]",
        ]
    );
    let guard = plan.rollouts["web"];
    assert_eq!(guard.failure_action, FailureAction::Rollback);
    assert_eq!(guard.tolerated, 0);
    to_the_end(&request, observed);
}

#[test]
fn two_at_a_time() {
    let (request, observed) = changed(Rollout {
        parallelism: 2,
        max_failure_ratio: 0.5,
        ..Rollout::default()
    });
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        shape(&plan),
        [
            "0 recreate shop-web-1 []",
            "1 start shop-web-1 [0]",
            "2 recreate shop-web-2 []",
            "3 start shop-web-2 [2]",
            "4 watch shop-web-1,shop-web-2 0+0 [1, 3]",
            "5 recreate shop-web-3 [4]",
            "6 start shop-web-3 [5]",
            "7 watch shop-web-3 0+0 [6]",
        ]
    );
    assert_eq!(plan.rollouts["web"].tolerated, 1);
    to_the_end(&request, observed);
}

#[test]
fn the_new_one_first() {
    let (mut request, observed) = changed(Rollout {
        order: Order::StartFirst,
        monitor_ms: 7,
        ..Rollout::default()
    });
    request.spec.services.get_mut("web").unwrap().replicas = 2;
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        shape(&plan),
        [
            "0 remove web3-3 []",
            "1 create shop-web-1-next []",
            "2 start shop-web-1-next [1]",
            "3 watch shop-web-1-next 7+0 [2]",
            "4 switch shop-web-1 [3]",
            "5 remove web1-1 [4]",
            "6 create shop-web-2-next [5]",
            "7 start shop-web-2-next [6]",
            "8 watch shop-web-2-next 7+0 [7]",
            "9 switch shop-web-2 [8]",
            "10 remove web2-2 [9]",
        ]
    );
    to_the_end(&request, observed);
}

#[test]
fn a_disk_has_one_holder() {
    let (mut request, observed) = changed(Rollout {
        order: Order::StartFirst,
        ..Rollout::default()
    });
    let web = request.spec.services.get_mut("web").unwrap();
    web.mounts = vec![MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Anonymous { nocopy: false },
    }];
    let plan = plan(&request, &observed).unwrap();
    assert_eq!(
        plan.notes,
        [
            "web: start-first is not possible, for the volume at /data is a disk, which one \
             machine alone can use: each container is stopped before its successor starts"
        ]
    );
    assert_eq!(plan.steps[0].action.verb(), "recreate");
    to_the_end(&request, observed);
}

#[test]
fn updates_in_place_are_not_rolled_out() {
    let (mut request, observed) = changed(Rollout::default());
    let web = request.spec.services.get_mut("web").unwrap();
    web.user = None;
    web.labels.insert("a".to_owned(), "b".to_owned());
    let plan = plan(&request, &observed).unwrap();
    assert!(plan.rollouts.is_empty());
    assert!(plan.steps.iter().all(|step| step.action.verb() == "update"));
    to_the_end(&request, observed);
}

#[test]
fn in_a_network_with_other_addresses_all_are_replaced_at_once() {
    use stack_api::spec::NetworkSpec;
    let (mut request, _) = changed(Rollout {
        order: Order::StartFirst,
        ..Rollout::default()
    });
    let network = NetworkSpec {
        name: "shop_default".to_owned(),
        ..NetworkSpec::default()
    };
    let networks = &mut request.spec.networks;
    networks.insert("default".to_owned(), network);
    let web = request.spec.services.get_mut("web").unwrap();
    web.networks
        .insert("default".to_owned(), Default::default());
    let mut observed = Observed::default();
    let first = plan(&request, &observed).unwrap();
    carry_out(&request, &first, &mut observed);
    let network = request.spec.networks.get_mut("default").unwrap();
    network.subnet = "10.7.0.0/24".parse().ok();
    let moves = plan(&request, &observed).unwrap();
    assert!(
        moves.notes[0].contains("other addresses"),
        "{:?}",
        moves.notes
    );
    let verbs: Vec<&str> = moves.steps.iter().map(|s| s.action.verb()).collect();
    assert_eq!(
        verbs,
        [
            "update", "recreate", "recreate", "recreate", "start", "start", "start", "watch"
        ]
    );
    to_the_end(&request, observed);
}
