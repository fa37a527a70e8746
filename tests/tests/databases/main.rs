//! Databases under load on every kind of storage, while everything that they
//! stand on is killed: what they have acknowledged is there afterwards.
//!
//! One run has each database on another kind of storage. Which one on which
//! goes round by the day, or is said with `STACK_ROTATION` (0, 1, 2); `make
//! soak-storage` goes through all of them, as long as `STACK_SOAK_MINUTES`
//! says.

mod engine;
mod load;
mod stack;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stack_tests::Home;

use load::Load;
use stack::{Place, Stand};

/// Something to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The VM of the service with this number.
    Machine(usize),
    /// `stackd`.
    Daemon,
    /// `stack-fsd-server`, which reads and writes the files.
    FileServer,
    /// `stack-fsd`, which holds the VMs' connections: they end with it.
    Keeper,
    /// All at once.
    Everything,
}

/// Numbers that nobody can foresee, and that can be had again.
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        let now = since_epoch();
        let seed = std::env::var("STACK_SEED")
            .ok()
            .and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or(now.as_nanos() as u64) | 1;
        eprintln!("STACK_SEED={seed}");
        Chance(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

#[test]
fn what_is_acknowledged_survives_every_kill() {
    let day = since_epoch().as_secs() / 86_400;
    let rotation = std::env::var("STACK_ROTATION")
        .ok()
        .and_then(|r| r.parse().ok());
    let rotation = rotation.unwrap_or(day as usize % 3);
    eprintln!("STACK_ROTATION={rotation}");
    let home = Home::new();
    let stand = Stand::new(&home, rotation);
    let targets = [
        Target::FileServer,
        Target::Machine(0),
        Target::Daemon,
        Target::Machine(1),
        Target::FileServer,
        Target::Keeper,
        Target::Machine(2),
    ];
    endure(&stand, &mut Chance::new(), targets);
}

#[test]
#[ignore = "takes as long as one wants: make soak-storage"]
fn soak() {
    let minutes = std::env::var("STACK_SOAK_MINUTES")
        .ok()
        .and_then(|m| m.parse().ok());
    let end = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or(30));
    let mut chance = Chance::new();
    let (mut rotation, mut kills) = (0, 0);
    while Instant::now() < end {
        let home = Home::new();
        let stand = Stand::new(&home, rotation % 3);
        let targets: Vec<_> = (0..20)
            .map(|_| match chance.below(8) {
                n @ 0..=2 => Target::Machine(n as usize),
                3 => Target::Daemon,
                4 | 5 => Target::FileServer,
                6 => Target::Keeper,
                _ => Target::Everything,
            })
            .collect();
        kills += targets.len();
        endure(&stand, &mut chance, targets);
        rotation += 1;
        eprintln!("{rotation} rounds, {kills} kills, nothing lost");
    }
}

fn endure(stand: &Stand<'_>, chance: &mut Chance, targets: impl IntoIterator<Item = Target>) {
    let loads: Vec<Load> = stand.services().iter().map(Load::start).collect();
    for load in &loads {
        load.goes_on("at first");
    }
    for target in targets {
        std::thread::sleep(Duration::from_millis(300 + chance.below(2500)));
        kill(stand, target);
        for load in &loads {
            load.goes_on(&format!("after the end of {target:?}"));
        }
    }
    for load in loads {
        load.finish();
    }
}

fn kill(stand: &Stand<'_>, target: Target) {
    let on_disk = |n: usize| stand.services()[n].place == Place::Disk;
    eprintln!("killing {target:?}");
    match target {
        Target::Machine(n) => stand.kill_machine(n),
        Target::Daemon => stand.home().kill_all("stackd"),
        Target::FileServer => stand.home().kill_all("stack-fsd-server"),
        Target::Keeper => {
            let machines = stand.machines();
            stand.home().kill_all("stack-fsd");
            // Whoever has files of the host ends, and nobody else.
            for (n, machine) in machines.into_iter().enumerate() {
                if !on_disk(n) {
                    stand.is_over(&machine);
                } else {
                    assert!(machine.is_alive(), "a VM without files has ended");
                }
            }
        }
        Target::Everything => {
            for process in stand.home().processes() {
                process.kill();
            }
        }
    }
    // Whatever comes next starts the daemon again.
    stand.look();
}
