#!/usr/bin/env python3
"""Loads netd for minutes, and checks that nothing is lost, kept or stuck.

usage: tests/bench/soak.py [--transport datagram|vhost-user] [--minutes N]
                           [--mib N]

  --minutes N   how long names are asked for, from ever new ports (default 10)
  --mib N       size of each transfer that is compared (default 1024)

In network namespaces that act as guests, so it needs root. Ends with 1 when
something is not as it must be.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from net import TOOLS
from netns import World
from networks import ROLES, SERVE, Netd


class Soak:
    def __init__(self, world, options):
        self.world, self.options, self.failed = world, options, False
        self.host = world.space("host")
        self.netd = Netd(world, self.host, 1500, TOOLS, options.transport)
        for space in (self.host, self.netd.guest, self.netd.peer):
            world.start([TOOLS / "examples/load", "serve", "0.0.0.0", SERVE], space, ready=True)

    def check(self, what, good, detail=""):
        print(f"{'ok  ' if good else 'FAIL'} {what} {detail}", flush=True)
        self.failed |= not good

    def load(self, space, *args):
        command = ["ip", "netns", "exec", space, TOOLS / "examples/load", *args]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.netd.daemon.pid}/fd"))

    def settle(self, before):
        """Waits until no descriptor is left over, for a minute at most."""
        for _ in range(60):
            if self.descriptors() <= before:
                return True
            time.sleep(1)
        return False

    def run(self):
        netd, size = self.netd, self.options.mib << 20
        before = self.descriptors()
        out, inward = f"{netd.host_ip}:{SERVE + 2}", f"127.0.0.1:{netd.forwarded + 2}"
        for name, space, to in [("guest to host", netd.guest, out), ("host to guest", self.host, inward),
                                ("guest to guest", netd.guest, f"{netd.peer_ip}:{SERVE + 2}")]:
            said = self.load(space, "copy", to, size)
            self.check(f"{self.options.mib} MiB there and back, {name}", "error" not in said, said)
        said = self.load(netd.guest, "connect", f"{netd.host_ip}:{SERVE + ROLES['connect']}", 10)
        self.check("connections one after the other for 10 s", said.get("count", 0) > 1000, said)
        self.check("no descriptor is left over", self.settle(before), self.descriptors())
        said = self.load(netd.guest, "hold", out, 1000, 20)
        self.check("a thousand connections, idle for 20 s", said.get("held") == 1000, said)
        said = self.load(netd.guest, "stall", f"{netd.host_ip}:{SERVE + 1}", 60)
        self.check("a guest that reads nothing for a minute, and then does", said.get("bytes", 0) > 1 << 20, said)
        said = self.load(self.host, "stall", f"127.0.0.1:{netd.forwarded + 1}", 60)
        self.check("a client that reads nothing for a minute, and then does", said.get("bytes", 0) > 1 << 20, said)
        self.check("no descriptor is left over", self.settle(before), self.descriptors())
        said = self.load(netd.guest, "lookups", f"{netd.names_ip}:53", self.options.minutes * 60, "guest3", 50)
        self.check("50 lookups a second from ever new ports", said.get("lost") == 0 and said["count"] > 0, said)
        self.check("no descriptor is left over", self.settle(before), self.descriptors())
        wakeups = netd.daemon.wakeups()
        time.sleep(10)
        self.check("asleep at the end", netd.daemon.wakeups() - wakeups < 10, netd.daemon.wakeups() - wakeups)
        self.check("memory of its own", netd.daemon.own() < 64 << 20, f"{netd.daemon.own() >> 20} MiB")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--transport", default="datagram", choices=["datagram", "vhost-user"])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("soak-net needs root: it makes network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = World(pathlib.Path(tempfile.mkdtemp(prefix="sn")))
    try:
        soak = Soak(world, options)
        soak.run()
    finally:
        world.close()
    sys.exit(soak.failed)


if __name__ == "__main__":
    main()
