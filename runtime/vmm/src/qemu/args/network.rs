//! Network devices, and their wires to the network daemon.

use super::{Args, Machine, escape};
use crate::{Nic, Probe, Transport, VmSpec};

/// Largest packet that a device takes; the guest may choose less.
const MTU: u32 = 65_520;

/// How soon a network daemon that went away is looked for again.
const RECONNECT_MS: u32 = 100;

pub(super) fn nics(args: &mut Args, spec: &VmSpec, probe: &Probe, machine: &Machine) {
    for (n, nic) in spec.nics.iter().enumerate() {
        match nic.transport {
            Transport::Datagram => datagram(args, n, nic),
            Transport::VhostUser => vhost_user(args, n, nic, probe),
        }
        // Without its ROM: nothing is booted from the network.
        let rom = if machine.bus == "pci" {
            ",romfile="
        } else {
            ""
        };
        args.add(
            "-device",
            format!(
                "virtio-net-{},netdev=n{n},mac={},host_mtu={MTU}{rom}",
                machine.bus, nic.mac
            ),
        );
    }
}

fn datagram(args: &mut Args, n: usize, nic: &Nic) {
    args.add(
        "-netdev",
        format!(
            "dgram,id=n{n},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            escape(&nic.local),
            escape(&nic.remote)
        ),
    );
}

/// QEMU is the client, so that a network daemon that is started again is
/// found again.
fn vhost_user(args: &mut Args, n: usize, nic: &Nic, probe: &Probe) {
    let path = escape(&nic.remote);
    let again = match probe.reconnect_ms {
        true => format!("reconnect-ms={RECONNECT_MS}"),
        false => "reconnect=1".to_owned(),
    };
    args.add("-chardev", format!("socket,id=c{n},path={path},{again}"));
    args.add("-netdev", format!("vhost-user,id=n{n},chardev=c{n}"));
}
