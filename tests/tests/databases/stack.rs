//! Three databases, each on another kind of storage.

use stack_tests::{Home, Project, Running, eventually, free_port};

use crate::engine::Engine;

/// Where a database has its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A volume that is a disk of the VM.
    Disk,
    /// A volume that is a tree of files, by way of the file server.
    Tree,
    /// A directory of the host.
    Bind,
}

const PLACES: [Place; 3] = [Place::Disk, Place::Tree, Place::Bind];

/// A database in the stack.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) place: Place,
    pub(crate) port: u16,
}

impl Service {
    fn name(&self) -> &'static str {
        match self.engine {
            Engine::Postgres => "postgres",
            Engine::Mariadb => "mariadb",
            Engine::Redis => "redis",
        }
    }

    fn text(&self) -> String {
        let (image, inside, target, more) = match self.engine {
            Engine::Postgres => (
                "postgres:15",
                5432,
                "/var/lib/postgresql/data",
                "    environment: { POSTGRES_HOST_AUTH_METHOD: trust }\n",
            ),
            Engine::Mariadb => (
                "mariadb:10",
                3306,
                "/var/lib/mysql",
                "    environment: { MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: 1, MARIADB_DATABASE: test }\n",
            ),
            Engine::Redis => (
                "redis:7",
                6379,
                "/data",
                "    command: redis-server --appendonly yes --appendfsync always --save ''\n",
            ),
        };
        let (name, port) = (self.name(), self.port);
        let source = match self.place {
            Place::Disk => "disk".to_owned(),
            Place::Tree => "tree".to_owned(),
            Place::Bind => format!("./{name}"),
        };
        format!(
            "  {name}:\n    image: {image}\n    restart: always\n    stop_grace_period: 5s\n{more}    \
             ports: [ '127.0.0.1:{port}:{inside}' ]\n    volumes: [ '{source}:{target}' ]\n"
        )
    }
}

/// The stack, up.
pub(crate) struct Stand<'h> {
    home: &'h Home,
    project: Project<'h>,
    services: Vec<Service>,
}

impl<'h> Stand<'h> {
    pub(crate) fn new(home: &'h Home, rotation: usize) -> Stand<'h> {
        let engines = [Engine::Postgres, Engine::Mariadb, Engine::Redis];
        let services = engines.into_iter().enumerate().map(|(n, engine)| Service {
            engine,
            place: PLACES[(n + rotation) % PLACES.len()],
            port: free_port(),
        });
        let services: Vec<Service> = services.collect();
        let mut file = "services:\n".to_owned();
        file.extend(services.iter().map(Service::text));
        // A volume that other stacks may use, too, is a tree from the start.
        file.push_str("volumes:\n  disk: {}\n  tree: { external: true }\n");
        let project = home.project(&format!("load{rotation}"), &file);
        project.stack(&["volume", "create", "tree"]).ok();
        project.stack(&["up", "-d"]).ok();
        Stand {
            home,
            project,
            services,
        }
    }

    pub(crate) fn home(&self) -> &Home {
        self.home
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    /// The VMs in the order of the services, all of them running.
    pub(crate) fn machines(&self) -> Vec<Running> {
        let machine = |service: &Service| {
            eventually(service.name(), 60, || {
                let pid = self.project.container(service.name())["Pid"].as_i64()?;
                let all = self.home.vms().into_iter();
                all.into_iter().find(|vm| i64::from(vm.pid) == pid)
            })
        };
        self.services.iter().map(machine).collect()
    }

    pub(crate) fn kill_machine(&self, n: usize) {
        let machine = self.machines().swap_remove(n);
        machine.kill();
    }

    /// The daemon notices that this VM has ended, or ends it.
    pub(crate) fn is_over(&self, machine: &Running) {
        eventually("the end of a VM without its files", 30, || {
            (!machine.is_alive()).then_some(())
        });
    }

    pub(crate) fn look(&self) {
        self.project.stack(&["ps"]).ok();
    }
}
