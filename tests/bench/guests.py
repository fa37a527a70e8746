"""Step `guests` of `make bench-net`: iperf3 between real micro-VMs, and between
them and the host, with either kind of wire, in interleaved rounds.

Under the accelerator that the machine has: emulated processors (TCG) are
themselves the limit, which the figures of the namespaces do not have.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "tools:1"
PORT = 5201
# What `STACK_NET` calls them, and what they are.
WIRES = {"vhost-user": "vhost-user", "dgram": "datagrams"}
FILE = """services:
  server:
    image: {image}
    init: true
    command: iperf3 --server --port {port}
    stop_grace_period: 1s
    ports: [ '127.0.0.1::{port}' ]
  client:
    image: {image}
    init: true
    command: sleep infinity
    stop_grace_period: 1s
"""


class Guests:
    """A daemon of its own with two machines on one kind of wire."""

    def __init__(self, stack, wire):
        self.stack_binary, self.dir = stack, pathlib.Path(tempfile.mkdtemp(prefix="sg"))
        address = (ROOT / "target/registry/address").read_text().strip()
        self.env = dict(os.environ, STACK_HOME=str(self.dir), STACK_REGISTRY_MIRROR=address, STACK_NET=wire)
        self.project = self.dir / "guests"
        self.project.mkdir()
        (self.project / "stack.yaml").write_text(FILE.format(image=IMAGE, port=PORT))
        self.stack("up", "-d", "--wait")
        said = self.stack("port", "server", PORT)
        self.published = int(said.strip().rsplit(":", 1)[1])
        self.daemon = json.loads(self.stack("net", "stats", "--format", "json"))["daemons"][0]["pid"]

    def stack(self, *args, check=True):
        command = [str(part) for part in (self.stack_binary, *args)]
        done = subprocess.run(command, env=self.env, cwd=self.project, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def doctor(self):
        """The line that names the accelerator."""
        lines = self.stack("doctor", check=False).splitlines()
        return next((line.strip() for line in lines if "acceler" in line.lower()), "")

    def inside(self, to, port, seconds):
        return self.stack("exec", "-T", "client", "iperf3", *client(to, port, seconds))

    def seconds(self):
        """Processor time of the network daemon so far."""
        stat = pathlib.Path(f"/proc/{self.daemon}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.stack("down", "-v", "-t", "0", check=False)
        control = self.dir / "run/stackd.sock"
        subprocess.run(["curl", "-s", "-m", "5", "-X", "POST", "--unix-socket", control, "http://stack/v1/shutdown"],
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


def client(to, port, seconds):
    return ["--client", to, "--port", str(port), "--time", str(seconds), "--omit", "1", "--json"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(bench, stack, rounds, seconds):
    """Notes rates, and the daemon's processor time for each gigabyte."""
    subprocess.run([ROOT / "tests/setup/images/build.sh", "tools"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([ROOT / "tests/setup/registry.sh", "push"], check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    server = subprocess.Popen(["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worlds = {}
    try:
        for wire, name in WIRES.items():
            worlds[name] = Guests(stack, wire)
        accelerator = next(iter(worlds.values())).doctor()
        for _ in range(rounds):
            for name, guests in worlds.items():
                def host(seconds, guests=guests):
                    command = ["iperf3", *client("127.0.0.1", guests.published, seconds)]
                    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
                ways = {
                    "VM to VM": lambda s, g=guests: g.inside("server", PORT, s),
                    "VM to host": lambda s, g=guests: g.inside("host.docker.internal", port, s),
                    "host to VM": host,
                }
                for way, run in ways.items():
                    before = guests.seconds()
                    received = json.loads(run(seconds))["end"]["sum_received"]
                    # What went before the measurement began was the daemon's work, too.
                    gigabytes = received["bytes"] * (seconds + 1) / seconds / 1e9
                    bench.note(f"guests: {way}", f"netd {name}", gbit=received["bits_per_second"] / 1e9,
                               daemon_s_per_gb=(guests.seconds() - before) / gigabytes)
        return accelerator
    finally:
        for guests in worlds.values():
            guests.close()
        server.terminate()
        server.wait()
