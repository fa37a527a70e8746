"""Network namespaces that act as guests and as a host, and what runs in them."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")


def ip(*args):
    subprocess.run(["ip", *map(str, args)], check=True)


class Process:
    """A process in a namespace. `ready`: waits for its first line."""

    def __init__(self, args, space=None, ready=False, cpu=None, log=subprocess.DEVNULL, **options):
        prefix = ["ip", "netns", "exec", space] if space else []
        prefix += ["taskset", "-c", str(cpu)] if cpu is not None else []
        out = subprocess.PIPE if ready else subprocess.DEVNULL
        self.name = pathlib.Path(str(args[0])).name
        # `ip netns exec` and `taskset` become the program.
        self.popen = subprocess.Popen([*prefix, *map(str, args)], stdout=out, stderr=log, text=True, **options)
        self.pid = self.popen.pid
        if ready and self.popen.stdout.readline() != "ready\n":
            raise SystemExit(f"{self.name} does not start")

    def seconds(self):
        """Processor time so far, in seconds."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) * TICK

    def resident(self):
        """Resident memory, in bytes; shared pages of files count too."""
        return self.status("VmRSS") << 10

    def own(self):
        """Resident memory that nobody shares, in bytes: not that of guests."""
        return self.status("RssAnon") << 10

    def wakeups(self):
        """How often it was given a processor after waiting for something."""
        return self.status("voluntary_ctxt_switches")

    def status(self, field):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
        return 0

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class World:
    """All namespaces, processes and files of one run; gone when it ends."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.prefix = f"bn{os.getpid()}"
        self.spaces, self.processes = [], []

    def space(self, name):
        """A new namespace, with loopback."""
        full = f"{self.prefix}-{name}"
        ip("netns", "add", full)
        self.spaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def start(self, args, space=None, **options):
        options.setdefault("log", open(self.folder / "log", "a"))
        process = Process(args, space, **options)
        self.processes.append(process)
        return process

    def address(self, space, device, address, mtu, gateway=None, mac=None):
        if mac:
            ip("-n", space, "link", "set", device, "address", mac)
        ip("-n", space, "link", "set", device, "mtu", mtu, "up")
        ip("-n", space, "addr", "add", f"{address}/24", "dev", device)
        if gateway:
            ip("-n", space, "route", "add", "default", "via", gateway)

    def cable(self, one, other):
        """Two ends of a cable; each is (namespace, device)."""
        ip("link", "add", one[1], "netns", one[0], "type", "veth", "peer", "name", other[1], "netns", other[0])

    def close(self):
        for process in reversed(self.processes):
            process.stop()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space])
        shutil.rmtree(self.folder, ignore_errors=True)


def call(path, request, patience=10):
    """One JSON line to a unix socket and one back."""
    end = time.monotonic() + patience
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(json.dumps(request).encode() + b"\n")
                return json.loads(client.makefile().readline())
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
