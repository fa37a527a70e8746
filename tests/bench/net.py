#!/usr/bin/env python3
"""Measures netd's data path beside its peers, in network namespaces.

usage: tests/bench/net.py [--only a,b] [--rounds N] [--seconds S] [--mtu M]
                          [--networks a,b] [--json FILE]

  --only a,b    some of the steps (default: all), see below
  --rounds N    rounds, interleaved; medians are printed (default 5)
  --seconds S   of each measurement (default 2)
  --mtu M       of the guests (default 1500)
  --json FILE   also writes all figures, and what they were measured on
  --networks a  some of the networks, by a part of their names

  switch   frames from one datagram socket to another: the fastest forwarder of
           the kind (recvmmsg, sendmmsg), and netd
  peer     TCP from guest to guest
  out, in  TCP from guest to host, and from host to guest
  ask      one byte there and back over an open connection
  connect  the same with a connection for each
  names    DNS queries, 32 under way; the server has a core of its own
  busy     DNS latency at 1000 queries a second, beside a bulk transfer; what
           the queries pass through has the right of way on the processors
  idle     wake-ups and memory of a daemon with 10 guests without traffic
  guests   iperf3 between real micro-VMs, and between them and the host

Needs root, for namespaces; all traffic stays in them. "s/GB" is processor time
of the daemon for each gigabyte; "all" is that of shims, client and server too.
Other work on the machine lowers all figures: what counts are the ratios.
"""
import argparse
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import guests
from netns import Process, World, call
from networks import ROLES, SERVE, Dnsmasq, Kernel, Netd, Passt, Slirp

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOOLS = TARGET / "release"
STEPS = ["switch", "peer", "out", "in", "ask", "connect", "names", "busy", "idle", "guests"]


class Bench:
    def __init__(self, world, options):
        self.world, self.options = world, options
        # Figures by step, network and kind: one of each round.
        self.figures = {}
        # Clients that failed and were started again, by namespace.
        self.failures = {}
        self.host = host = world.space("host")
        # passt asks for a way out.
        outside = world.space("outside")
        world.cable((host, "out0"), (outside, "in0"))
        world.address(outside, "in0", "192.0.2.1", 1500)
        world.address(host, "out0", "192.0.2.2", 1500, "192.0.2.1")
        mtu = options.mtu
        self.kernel = Kernel(world, host, mtu, TOOLS)
        self.netd = Netd(world, host, mtu, TOOLS, "datagram")
        self.vhost = Netd(world, host, mtu, TOOLS, "vhost-user")
        self.passt = Passt(world, host, mtu, TOOLS)
        self.slirp = Slirp(world, host, mtu, TOOLS)
        self.dnsmasq = Dnsmasq(world, host, mtu, TOOLS)
        both = [self.netd, self.vhost]
        gateways = [self.kernel, *both, self.passt, self.slirp]
        self.networks = {"peer": [self.kernel, *both], "names": [self.dnsmasq, *both], "busy": both}
        self.networks.update(dict.fromkeys(["out", "in", "ask", "connect"], gateways))
        spaces = {host, *(n.guest for n in gateways), *(n.peer for n in gateways if n.peer)}
        self.servers = {s: world.start([TOOLS / "examples/load", "serve", "0.0.0.0", SERVE], s, ready=True) for s in spaces}

    def note(self, step, name, **figures):
        for kind, value in figures.items():
            self.figures.setdefault(step, {}).setdefault(name, {}).setdefault(kind, []).append(value)

    def load(self, space, role, to, *args, cpu=None, seconds=None, urgent=False):
        """Runs a client; its figures, and its processor time in seconds."""
        command = [TOOLS / "examples/load", role, to, seconds or self.options.seconds, *args]
        prefix = ["ip", "netns", "exec", space] + (["taskset", "-c", str(cpu)] if cpu is not None else [])
        prefix += ["chrt", "--fifo", "1"] if urgent else []
        # passt of Debian 12 resets a connection now and then.
        for _ in range(5):
            client = subprocess.Popen([*prefix, *map(str, command)], stdout=subprocess.PIPE, text=True)
            said = client.stdout.read()
            _, status, usage = os.wait4(client.pid, 0)
            client.returncode = status
            if status == 0:
                return json.loads(said), usage.ru_utime + usage.ru_stime
            self.failures[space] = self.failures.get(space, 0) + 1
        raise SystemExit(f"load {role} {to} failed in {space}")

    def tcp(self, step, network):
        role = {"ask": "ask", "connect": "connect"}.get(step, "send")
        if step == "peer":
            space, address, port, server = network.guest, network.peer_ip, SERVE, network.peer
        elif step == "in":
            space, address, port, server = self.host, network.forwarded_ip, network.forwarded, network.guest
        else:
            space, address, port, server = network.guest, network.host_ip, SERVE, self.host
        others = [self.servers[server], *network.helpers]
        daemon = [network.daemon] if network.daemon else []
        before = [p.seconds() for p in [*daemon, *others]]
        said, client = self.load(space, role, f"{address}:{port + ROLES[role]}")
        used = [p.seconds() - b for p, b in zip([*daemon, *others], before)]
        if role == "send":
            gigabytes = said["bytes"] / 1e9
            own = used[0] / gigabytes if daemon else 0.0
            self.note(step, network.name, gbit=said["gbit"], daemon_s_per_gb=own, all_s_per_gb=(sum(used) + client) / gigabytes)
        else:
            each = used[0] / said["count"] * 1e6 if daemon else 0.0
            self.note(step, network.name, rate=said["rate"], p50=said["p50"], p99=said["p99"], daemon_us_each=each)

    def names(self, network):
        # The server alone on the second core, everything else on the first.
        subprocess.run(["taskset", "-cp", "1", str(network.daemon.pid)], stdout=subprocess.DEVNULL)
        for helper in network.helpers:
            subprocess.run(["taskset", "-cp", "0", str(helper.pid)], stdout=subprocess.DEVNULL)
        before = network.daemon.seconds()
        said, _ = self.load(network.guest, "names", f"{network.names_ip}:53", "guest3", 32, cpu=0)
        used = network.daemon.seconds() - before
        for process in [network.daemon, *network.helpers]:
            subprocess.run(["taskset", "-cp", f"0-{os.cpu_count() - 1}", str(process.pid)], stdout=subprocess.DEVNULL)
        self.note("names", network.name, rate=said["rate"], p50=said["p50"], p99=said["p99"], lost=said["lost"],
                  per_core=said["count"] / max(used, 0.01))

    def busy(self, network):
        bulk = self.world.start([TOOLS / "examples/load", "send", f"{network.host_ip}:{SERVE}", self.options.seconds + 1], network.guest)
        time.sleep(0.3)
        # What is measured is the daemon's delay, not that of a busy machine:
        # all that a query passes through comes first when it wants to run.
        urgent = [network.daemon, network.helpers[1]]
        self.schedule(urgent, "--fifo", 1)
        said, _ = self.load(network.peer, "names", f"{network.names_ip}:53", "guest2", 32, 1000, urgent=True)
        self.schedule(urgent, "--other", 0)
        bulk.popen.wait()
        self.note("busy", network.name, rate=said["rate"], p50=said["p50"], p99=said["p99"])

    def schedule(self, processes, policy, priority):
        for process in processes:
            subprocess.run(["chrt", policy, "--pid", str(priority), str(process.pid)], check=True)

    def switch(self):
        folder = self.world.folder
        for size in (1514, 65534):
            for name in ("raw", "netd"):
                files = [folder / "sw-a.d", folder / "sw-b.q"]
                tool = TOOLS / "examples/frames"
                sink = Process([tool, "discard", files[1]], ready=True)
                if name == "raw":
                    daemon = Process([tool, "forward", *files], ready=True)
                else:
                    daemon = Switch(self.world, files)
                before = daemon.seconds()
                ends = ["02:57:0a:01:00:02", "02:57:0a:01:00:03", "10.1.0.2", "10.1.0.3"]
                subprocess.run([tool, "send", files[0], str(size), str(self.options.seconds), *ends], check=True, stdout=subprocess.DEVNULL)
                said = json.loads(sink.popen.stdout.readline())
                used = daemon.seconds() - before
                daemon.stop()
                sink.stop()
                rate = said["frames"] / said["seconds"]
                self.note(f"switch {size}", name, rate=rate, gbit=rate * size * 8e-9, daemon_us_each=used / said["frames"] * 1e6)

    def idle(self):
        daemon = Switch(self.world, None, 10)
        time.sleep(0.5)
        before = daemon.wakeups()
        time.sleep(5)
        self.note("idle", "netd", wakeups=daemon.wakeups() - before, mib=daemon.resident() / (1 << 20))
        daemon.stop()

    def run(self, steps):
        for n in range(self.options.rounds):
            for step in steps:
                if step == "switch":
                    self.switch()
                elif step == "idle":
                    if n == 0:
                        self.idle()
                else:
                    for network in self.networks[step]:
                        if not any(part in network.name for part in self.options.networks.split(",")):
                            continue
                        print(f"\r  round {n + 1}: {step}, {network.name}".ljust(50), end="", file=sys.stderr, flush=True)
                        getattr(self, step, lambda network: self.tcp(step, network))(network)
        print("\r".ljust(51), end="\r", file=sys.stderr)


class Switch(Process):
    """A daemon with guests that nobody runs; `files` are the first one's
    socket and the second one's VMM's."""

    def __init__(self, world, files, guests=2):
        folder = world.folder
        control = folder / "sw.ctl"
        control.unlink(missing_ok=True)
        (folder / "sw.json").unlink(missing_ok=True)
        super().__init__([TOOLS / "stack-netd", "--control", control, "--config", folder / "sw.json"])
        endpoints = []
        for n in range(guests):
            local, peer = folder / f"sw{n}.d", folder / f"sw{n}.q"
            if files:
                local, peer = (files[0], peer) if n == 0 else (local, files[1])
            endpoints.append({"id": f"e{n}", "local": str(local), "peer": str(peer), "mac": f"02:57:0a:01:00:{n + 2:02x}",
                              "ipv4": f"10.1.0.{n + 2}", "names": [f"e{n}"]})
        network = {"name": "sw", "subnet": ["10.1.0.0", 24], "gateway": "10.1.0.1", "internal": False, "endpoints": endpoints}
        call(control, {"Apply": {"networks": [network], "publish": []}})


def report(figures):
    """Prints medians, with the range of what counts most."""
    for step, networks in figures.items():
        print(f"\n{step}")
        for name, kinds in networks.items():
            cells = []
            for n, (kind, values) in enumerate(kinds.items()):
                middle = statistics.median(values)
                cell = f"{kind} {middle:.3g}" if middle < 1000 else f"{kind} {middle:,.0f}"
                if n == 0:
                    cell += f" ({min(values):.3g}…{max(values):.3g})" if middle < 1000 else f" ({min(values):,.0f}…{max(values):,.0f})"
                cells.append(cell)
            print(f"  {name:14} " + "   ".join(cells))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--networks", default="")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    steps = options.only.split(",")
    if unknown := set(steps) - set(STEPS):
        raise SystemExit(f"no such step: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        raise SystemExit("bench-net needs root: it makes network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = World(tempfile.mkdtemp(prefix="bn"))
    try:
        bench = Bench(world, options)
        bench.run([step for step in steps if step != "guests"])
    except BaseException:
        log = (world.folder / "log").read_text(errors="replace")
        print(f"what the daemons said:\n{log[-3000:]}", file=sys.stderr)
        raise
    finally:
        world.close()
    accelerator = None
    if "guests" in steps:
        accelerator = guests.measure(bench, TOOLS / "stack", options.rounds, max(int(options.seconds), 2))
    report(bench.figures)
    if accelerator:
        print(f"\nguests: {accelerator}")
    for space, count in bench.failures.items():
        print(f"\n{count} clients failed in {space} and were started again")
    if options.json:
        machine = {"kernel": platform.release(), "cores": os.cpu_count(), "load": os.getloadavg(),
                   "date": time.strftime("%Y-%m-%d"), "mtu": options.mtu, "rounds": options.rounds, "seconds": options.seconds}
        options.json.write_text(json.dumps({"machine": machine, "figures": bench.figures, "failures": bench.failures}, indent=1))


if __name__ == "__main__":
    main()
