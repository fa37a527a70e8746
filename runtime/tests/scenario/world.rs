//! A daemon of its own in a directory of its own, with made-up VMs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stack_api::container::Container;
use stack_api::event::ApiError;
use stack_api::history::{Entry, Rollback};
use stack_api::network::{Connect, Disconnect};
use stack_api::request::{Action, Down, Up};
use stack_api::spec::{Condition, Dependency, NetworkSpec, ServiceSpec, StackSpec};
use stack_planner::plan::Plan;
use stack_runtime::assets::Assets;
use stack_runtime::container::Record;
use stack_runtime::daemon::Daemon;
use stack_runtime::paths::Paths;
use stack_runtime::progress::Progress;
use stack_runtime::{logs, stack};
use stack_vmm::{AnyBackend, Fake};

use crate::image;

/// The world of one test.
pub(crate) struct World {
    home: tempfile::TempDir,
    pub daemon: Arc<Daemon>,
}

/// A service with the only image there is.
pub(crate) fn service(
    name: &str,
    command: &[&str],
    depends_on: &[(String, Dependency)],
) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        image: image::NAME.to_owned(),
        replicas: 1,
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        networks: [("default".to_owned(), Default::default())].into(),
        depends_on: depends_on.iter().cloned().collect(),
        config_hash: "first".to_owned(),
        ..ServiceSpec::default()
    }
}

/// An entry of `depends_on`.
pub(crate) fn depends(on: &str, condition: Condition) -> (String, Dependency) {
    (
        on.to_owned(),
        Dependency {
            condition,
            restart: false,
            required: true,
        },
    )
}

impl World {
    pub(crate) async fn new() -> World {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = open(home.path()).await;
        let layout = home.path().join("layout");
        image::write_layout(&layout, 1);
        daemon.images.load(&layout, |_| {}).await.unwrap();
        World { home, daemon }
    }

    /// The image's name leads to another image now.
    pub(crate) async fn another_image(&self, version: u32) {
        let layout = self.home.path().join(format!("layout{version}"));
        image::write_layout(&layout, version);
        self.daemon.images.load(&layout, |_| {}).await.unwrap();
    }

    /// The daemon is killed and started again.
    pub(crate) async fn restarted(self) -> World {
        let World { home, daemon } = self;
        drop(daemon);
        let daemon = open(home.path()).await;
        World { home, daemon }
    }

    pub(crate) fn fake(&self) -> &Fake {
        match &self.daemon.backend {
            AnyBackend::Fake(fake) => fake,
            AnyBackend::Qemu(_) => panic!("not a made-up world"),
        }
    }

    pub(crate) fn started(&self) -> Vec<String> {
        self.fake().started()
    }

    pub(crate) fn stack(&self, services: Vec<ServiceSpec>) -> StackSpec {
        let network = NetworkSpec {
            name: "shop_default".to_owned(),
            ..NetworkSpec::default()
        };
        StackSpec {
            name: "shop".to_owned(),
            services: services.into_iter().map(|s| (s.name.clone(), s)).collect(),
            networks: [("default".to_owned(), network)].into(),
            ..StackSpec::default()
        }
    }

    pub(crate) async fn up(&self, spec: &StackSpec) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        let request = Up {
            spec: spec.clone(),
            ..Up::default()
        };
        stack::up(Arc::clone(&self.daemon), request, progress).await
    }

    pub(crate) async fn up_and_wait(&self, spec: &StackSpec) -> Result<(), ApiError> {
        self.up_within(spec, 20).await
    }

    /// As `up --wait --wait-timeout SECONDS`.
    pub(crate) async fn up_within(&self, spec: &StackSpec, seconds: u64) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        let request = Up {
            spec: spec.clone(),
            wait: true,
            wait_timeout: Some(seconds),
            ..Up::default()
        };
        stack::up(Arc::clone(&self.daemon), request, progress).await
    }

    /// What the ledger has of the container of a service.
    pub(crate) fn record(&self, service: &str) -> Record {
        let handles = self.daemon.handles(Some("shop"));
        let mut records = handles.iter().map(|handle| handle.record());
        records.find(|r| r.container.service == service).unwrap()
    }

    pub(crate) async fn rollback(&self, to: Option<u32>) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        let request = Rollback {
            to,
            ..Rollback::default()
        };
        stack::rollback(
            Arc::clone(&self.daemon),
            "shop".to_owned(),
            request,
            progress,
        )
        .await
    }

    /// Number, cause and changes of each definition that was reached; the
    /// present one is marked.
    pub(crate) fn history(&self) -> Vec<String> {
        let line = |entry: Entry| {
            let mark = if entry.present { "* " } else { "" };
            let changes = entry.changes.join("; ");
            format!("{mark}{} {}: {changes}", entry.number, entry.by)
        };
        let entries = stack::entries(&self.daemon, "shop").unwrap();
        entries.into_iter().map(line).collect()
    }

    /// What `up` would do, a line per step.
    pub(crate) fn plan(&self, spec: &StackSpec) -> Vec<String> {
        let plan = self.whole_plan(spec);
        plan.steps.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn whole_plan(&self, spec: &StackSpec) -> Plan {
        let request = Up {
            spec: spec.clone(),
            ..Up::default()
        };
        stack::plan(&self.daemon, &request).unwrap()
    }

    pub(crate) async fn down(&self, request: Down) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        stack::down(
            Arc::clone(&self.daemon),
            "shop".to_owned(),
            request,
            progress,
        )
        .await
    }

    pub(crate) async fn act(&self, request: Action) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        stack::act(
            Arc::clone(&self.daemon),
            "shop".to_owned(),
            request,
            progress,
        )
        .await
    }

    /// A network of no stack.
    pub(crate) fn create_network(&self, name: &str) {
        let wanted = NetworkSpec {
            name: name.to_owned(),
            ..NetworkSpec::default()
        };
        stack::create_network(&self.daemon, &wanted).unwrap();
    }

    pub(crate) async fn connect(&self, network: &str, container: &str) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        let request = Connect {
            container: container.to_owned(),
            ..Connect::default()
        };
        let daemon = Arc::clone(&self.daemon);
        stack::connect(daemon, network.to_owned(), request, progress).await
    }

    pub(crate) async fn disconnect(&self, network: &str, container: &str) -> Result<(), ApiError> {
        let (progress, _events) = Progress::new();
        let request = Disconnect {
            container: container.to_owned(),
        };
        let daemon = Arc::clone(&self.daemon);
        stack::disconnect(daemon, network.to_owned(), request, progress).await
    }

    pub(crate) fn containers(&self) -> Vec<Container> {
        self.daemon
            .handles(Some("shop"))
            .iter()
            .map(|handle| handle.container())
            .collect()
    }

    pub(crate) fn container(&self, service: &str) -> Container {
        self.containers()
            .into_iter()
            .find(|c| c.service == service)
            .unwrap()
    }

    pub(crate) async fn until(&self, service: &str, is: impl Fn(&Container) -> bool) -> Container {
        for _ in 0..1000 {
            let container = self.container(service);
            if is(&container) {
                return container;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never came to it: {:?}", self.container(service));
    }

    pub(crate) fn log(&self, service: &str) -> Vec<String> {
        let id = self.container(service).id;
        let mut reader = logs::Reader::open(&self.daemon.paths.log(&id));
        std::iter::from_fn(|| reader.next_entry())
            .map(|entry| entry.text())
            .collect()
    }

    /// Names in a directory, without hidden ones.
    pub(crate) fn files(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path().join(dir))
            .unwrap()
            .flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

async fn open(home: &Path) -> Arc<Daemon> {
    let paths = Paths::under(home).unwrap();
    let none = home.join("none");
    let assets = Assets {
        kernel: none.clone(),
        initramfs: none.clone(),
        netd: none,
        fsd: home.join("none"),
        templates: true,
    };
    Daemon::open(paths, assets, AnyBackend::Fake(Fake::default()))
        .await
        .unwrap()
}
