//! Network cards whose frames go through the VM's memory, at a real network
//! daemon, beside others and after a restore.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stack_netd::config::{Config, Endpoint, Network, Transport as Wire};
use stack_netd::control::{Request, Response, call};
use stack_protocol::config::{Interface, VmConfig};
use stack_protocol::message::Outcome;
use stack_vmm::{Qemu, Transport};
use tempfile::TempDir;

use crate::harness::{Assets, LIMIT, Machine, Vm, assets, qemu, service};
use crate::template::{backend, is_restored, made};

/// A network daemon in this process, with a network of two.
struct Daemon {
    dir: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Serves both machines' cards.
    fn start(machines: [&Machine; 2]) -> Daemon {
        let dir = tempfile::Builder::new().prefix("n").tempdir();
        let dir = dir.expect("a directory");
        let options = stack_netd::Options {
            control: dir.path().join("ctl"),
            config: dir.path().join("config"),
            resolvers: Vec::new(),
        };
        let thread = std::thread::spawn(move || stack_netd::run(&options).expect("it runs"));
        let daemon = Daemon {
            dir,
            thread: Some(thread),
        };
        let endpoints = machines.iter().enumerate().map(|(n, machine)| {
            let nic = &machine.spec.nics[0];
            serde_json::json!({
                "id": n.to_string(), "local": nic.remote, "peer": nic.local, "mac": nic.mac,
                "ipv4": address(n), "names": [],
                "transport": match nic.transport {
                    Transport::Datagram => Wire::Datagram,
                    Transport::VhostUser => Wire::VhostUser,
                },
            })
        });
        let endpoints = endpoints.map(|e| serde_json::from_value::<Endpoint>(e).expect("valid"));
        let endpoints: Vec<Endpoint> = endpoints.collect();
        let network = serde_json::json!({
            "name": "net", "subnet": ["10.1.0.0", 24], "gateway": "10.1.0.254",
            "internal": false, "endpoints": endpoints,
        });
        let network: Network = serde_json::from_value(network).expect("valid");
        let config = Config {
            networks: vec![network],
            publish: Vec::new(),
        };
        let start = Instant::now();
        loop {
            match call(
                daemon.dir.path().join("ctl").as_path(),
                &Request::Apply(config.clone()),
            ) {
                Ok(Response::Applied { .. }) => return daemon,
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = call(&self.dir.path().join("ctl"), &Request::Shutdown);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, n as u8 + 1)
}

fn mac(n: usize) -> String {
    format!("02:bb:00:00:00:0{}", n + 1)
}

fn machine(assets: &Assets, n: usize, transport: Transport) -> Machine {
    let mut machine = Machine::new(assets).nic(&mac(n));
    machine.spec.nics[0].transport = transport;
    machine
}

fn config(n: usize) -> VmConfig {
    VmConfig {
        interfaces: vec![Interface {
            mac: mac(n),
            device: None,
            name: "eth0".to_owned(),
            ipv4: Some((address(n), 24)),
            gateway4: None,
            ipv6: None,
            gateway6: None,
            mtu: 1500,
        }],
        ..service("sleep 1000")
    }
}

/// Sends 8 MiB from one to the other, which answers with what it got.
async fn exchange(from: &Vm, to: &Vm, target: usize) {
    let listen = "(nc -l -p 80 -e sha256sum >/dev/null 2>&1 </dev/null &) ; sleep 1";
    to.sh(listen).await;
    let send = format!(
        "head -c 8388608 /dev/urandom > /tmp/sent; sha256sum < /tmp/sent; nc {} 80 < /tmp/sent",
        address(target)
    );
    let (said, code) = from.sh(&send).await;
    let hashes: Vec<&str> = said.lines().collect();
    assert_eq!((hashes.len(), code), (2, 0), "{said}");
    assert_eq!(hashes[0], hashes[1]);
}

/// Device features that were agreed on, by their bits (VIRTIO 1.2, 5.1.3).
async fn features(vm: &Vm) -> Vec<usize> {
    let (bits, _) = vm.sh("cat /sys/class/net/eth0/device/features").await;
    let set = bits.char_indices().filter(|(_, bit)| *bit == '1');
    set.map(|(n, _)| n).collect()
}

const CHECKSUM_AND_SEGMENTS: [usize; 6] = [0, 1, 7, 8, 11, 12];

#[tokio::test]
async fn both_kinds_of_cards_talk_to_each_other() {
    let Some(assets) = assets() else { return };
    let fast = machine(assets, 0, Transport::VhostUser);
    let plain = machine(assets, 1, Transport::Datagram);
    let _daemon = Daemon::start([&fast, &plain]);
    let (fast, plain) = (fast.boot().await, plain.boot().await);
    assert_eq!(fast.configure(config(0)).await, Outcome::Ok);
    assert_eq!(plain.configure(config(1)).await, Outcome::Ok);
    let agreed = features(&fast).await;
    assert!(
        CHECKSUM_AND_SEGMENTS.iter().all(|bit| agreed.contains(bit)),
        "{agreed:?}"
    );
    let agreed = features(&plain).await;
    assert!(
        !CHECKSUM_AND_SEGMENTS.iter().any(|bit| agreed.contains(bit)),
        "{agreed:?}"
    );
    exchange(&fast, &plain, 1).await;
    exchange(&plain, &fast, 0).await;
    fast.shutdown().await;
    plain.shutdown().await;
}

/// A template is made from this machine's shape, on the side.
async fn make_template(assets: &Assets, qemu: &Qemu, cache: &Path) {
    let mut first = Machine::new(assets).nic("02:cc:00:00:00:01");
    first.spec.template = true;
    let vm = first.boot_with(qemu).await;
    assert_eq!(vm.configure(service("sleep 1000")).await, Outcome::Ok);
    vm.shutdown().await;
    made(cache).await;
}

#[tokio::test]
async fn a_restored_vm_agrees_with_its_card_anew() {
    let Some(assets) = assets() else { return };
    let Some((cache, qemu)) = backend().await else {
        return;
    };
    make_template(assets, &qemu, cache.path()).await;
    let mut machines = [0, 1].map(|n| machine(assets, n, Transport::VhostUser));
    machines.iter_mut().for_each(|m| m.spec.template = true);
    let [one, two] = &machines;
    let _daemon = Daemon::start([one, two]);
    let (one, two) = (one.boot_with(&qemu).await, two.boot_with(&qemu).await);
    for (n, vm) in [&one, &two].into_iter().enumerate() {
        assert_eq!(vm.configure(config(n)).await, Outcome::Ok);
        assert!(is_restored(vm).await);
        let agreed = features(vm).await;
        assert!(
            CHECKSUM_AND_SEGMENTS.iter().all(|bit| agreed.contains(bit)),
            "{agreed:?}"
        );
    }
    exchange(&one, &two, 1).await;
    exchange(&two, &one, 0).await;
    one.shutdown().await;
    two.shutdown().await;
}

/// What is used otherwise.
#[tokio::test]
async fn this_host_can() {
    if assets().is_none() {
        return;
    }
    let probe = qemu().probe().await.expect("QEMU");
    if std::env::var_os("STACK_NET").is_none() {
        assert_eq!(
            probe.transport,
            Transport::VhostUser,
            "{}",
            probe.transport_reason
        );
    }
}
