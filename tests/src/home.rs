//! A hermetic home: its own daemon, images, volumes and VMs.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::processes::{self, Running};
use crate::project::Project;
use crate::{http, machine, setup};

/// A home. Dropping it ends everything that was started in it, and nothing
/// else.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    binaries: PathBuf,
    environment: Vec<(OsString, OsString)>,
    user: Option<u32>,
    // Held for as long as the home is there.
    _turn: Option<File>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Default for Home {
    fn default() -> Home {
        Home::new()
    }
}

impl Home {
    /// A new home, with the test registry as mirror of Docker Hub.
    ///
    /// # Panics
    /// Something that `make test` prepares is missing.
    pub fn new() -> Home {
        Home::with(|_| ())
    }

    /// A new home whose directory `prepare` works on before anything uses it.
    ///
    /// # Panics
    /// As [`Home::new`].
    pub fn with(prepare: impl FnOnce(&Path)) -> Home {
        let turn = setup::turn();
        clear_remains();
        Home::in_turn(prepare, Some(turn))
    }

    /// A second home in the same test.
    ///
    /// # Panics
    /// As [`Home::new`].
    #[must_use]
    pub fn beside(&self) -> Home {
        Home::in_turn(|_| (), None)
    }

    fn in_turn(prepare: impl FnOnce(&Path), turn: Option<File>) -> Home {
        let binaries = setup::binaries();
        let mirror = setup::registry();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short, for sockets are below it; named after this process, for
        // whoever clears up after it.
        let dir = PathBuf::from(format!("/tmp/stack-e2e-{}-{number}", std::process::id()));
        DirBuilder::new()
            .mode(0o755)
            .create(&dir)
            .expect("cannot make the test's home");
        prepare(&dir);
        // Two daemons do not share templates.
        if turn.is_some() {
            machine::tell(&dir.join("home"));
        }
        let environment = vec![
            ("STACK_HOME".into(), dir.join("home").into()),
            ("STACK_REGISTRY_MIRROR".into(), mirror.into()),
            ("DOCKER_CONFIG".into(), dir.join("docker").into()),
            ("NO_COLOR".into(), "1".into()),
        ];
        Home {
            dir,
            binaries,
            environment,
            user: None,
            _turn: turn,
        }
    }

    /// Sets a variable for every command and the daemon.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Home {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Lets another user do everything, from copies of the binaries that it
    /// can read. Only root can ask for that.
    ///
    /// # Panics
    /// The copies cannot be made.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Home {
        let bin = self.dir.join("bin");
        let lib = self.dir.join("lib/stack");
        std::fs::create_dir_all(&bin).expect("cannot make a directory");
        std::fs::create_dir_all(&lib).expect("cannot make a directory");
        for name in ["stack", "stackd", "stack-netd", "stack-fsd"] {
            copy(&self.binaries.join(name), &bin.join(name));
        }
        copy(
            &self.binaries.join("../initramfs.cpio"),
            &lib.join("initramfs.cpio"),
        );
        for name in ["vmlinux", "Image"] {
            let kernel = self.binaries.join("../kernel").join(name);
            if kernel.exists() {
                copy(&kernel, &lib.join(name));
            }
        }
        chown(&self.dir, Some(uid), Some(uid)).expect("cannot give the home away");
        std::fs::remove_dir_all(self.dir.join("home")).expect("cannot remove what root has made");
        self.binaries = bin;
        self.user = Some(uid);
        self.env("HOME", "/nonexistent")
    }

    /// The test's directory; `STACK_HOME` is `home` below it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A project with this stack file.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn project(&self, name: &str, stack_file: &str) -> Project<'_> {
        let dir = self.dir.join("projects").join(name);
        std::fs::create_dir_all(&dir).expect("cannot make the project");
        std::fs::write(dir.join("stack.yaml"), stack_file).expect("cannot write the stack file");
        Project::new(self, dir)
    }

    /// A copy of one of the examples.
    ///
    /// # Panics
    /// It cannot be copied.
    pub fn example(&self, name: &str) -> Project<'_> {
        let from = setup::workspace().join("examples").join(name);
        let dir = self.dir.join("projects").join(name);
        copy_tree(&from, &dir);
        Project::new(self, dir)
    }

    /// `stack` in this home, without arguments yet.
    pub(crate) fn command(&self) -> Command {
        let stack = self.binaries.join("stack");
        let mut command = match self.user {
            None => Command::new(stack),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &uid.to_string(), "--regid", &uid.to_string()]);
                command.args(["--clear-groups", "--"]).arg(stack);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["STACK_", "COMPOSE_", "DOCKER_", "XDG_"]
                .iter()
                .any(|p| text.starts_with(p))
            {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Everything that runs for this home.
    pub fn processes(&self) -> Vec<Running> {
        processes::of_home(&self.dir.join("home"))
    }

    /// Its VMs.
    pub fn vms(&self) -> Vec<Running> {
        self.processes()
            .into_iter()
            .filter(Running::is_vm)
            .collect()
    }

    /// Kills every process of a program, as `kill -9` does.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn kill_all(&self, program: &str) {
        let found: Vec<Running> = self
            .processes()
            .into_iter()
            .filter(|p| p.program == program)
            .collect();
        assert!(
            !found.is_empty(),
            "there is no {program} among {:?}",
            self.processes()
        );
        for process in found {
            process.kill();
        }
    }

    /// Ends the daemon, leaving the VMs.
    pub fn shut_down(&self) {
        http::shut_down(&self.dir.join("home/run/stackd.sock"));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_remains();
        }
        self.shut_down();
        if self._turn.is_some() && self.user.is_none() {
            machine::learn(&self.dir.join("home"));
        }
        end(&self.dir);
    }
}

impl Home {
    // A failed test's last look at the daemon and the VMs.
    fn show_remains(&self) {
        eprintln!("--- running: {:?}", self.processes());
        let mut logs = Vec::new();
        find_logs(&self.dir.join("home"), &mut logs);
        for log in logs {
            let text =
                String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            eprintln!("--- {}\n{tail}", log.display());
        }
    }
}

fn find_logs(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // Never through a link: what is mounted may be anything.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_logs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
}

/// Ends the processes of a test's directory and deletes it. The daemon goes
/// first: it would start others again.
fn end(dir: &Path) {
    let mut running = processes::of_home(&dir.join("home"));
    running.sort_by_key(|process| process.program != "stackd");
    for process in running {
        process.kill();
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// Clears up after tests that were killed before they could.
fn clear_remains() {
    for entry in std::fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("stack-e2e-") else {
            continue;
        };
        let owner = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            end(&entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("cannot make a directory");
    let entries = std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target);
        } else {
            copy(&source, &target);
        }
    }
}
