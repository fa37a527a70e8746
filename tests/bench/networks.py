"""The networks that `net.py` compares. Each has guests and, for most, a host.

All are given the same host namespace, with the same servers. Guests of netd
and of passt are behind a tap shim each (`netd/examples/tap.rs`), which does
what a VMM would; slirp4netns has its guest's tap in its own hands and the
kernel's bridge needs none, which is to their advantage.
"""
import time

from netns import call, ip

# Ports of `load serve`: discards, sends, echoes, echoes once and closes.
SERVE = 6001
ROLES = {"send": 0, "fetch": 1, "ask": 2, "connect": 3}


class Network:
    """`guest` and `peer` are namespaces; `host_ip` is how a guest calls the
    host, `peer_ip` the other guest; `forwarded` is the first of four ports of
    the host's loopback that lead to the guest; `daemon` does the work."""

    peer = peer_ip = host_ip = forwarded = daemon = names_ip = None
    forwarded_ip = "127.0.0.1"
    helpers = ()


class Kernel(Network):
    """A bridge with the host on it: what nobody in user space reaches."""

    name = "kernel bridge"

    def __init__(self, world, host, mtu, tools):
        bridge = world.space("bridge")
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "mtu", mtu, "up")
        self.guest, self.peer = world.space("ka"), world.space("kb")
        for n, space in enumerate([host, self.guest, self.peer], 1):
            world.cable((space, "kern0"), (bridge, f"port{n}"))
            world.address(space, "kern0", f"10.8.0.{n}", mtu)
            ip("-n", bridge, "link", "set", f"port{n}", "mtu", mtu, "master", "br0", "up")
        self.host_ip, self.peer_ip = "10.8.0.1", "10.8.0.3"
        self.forwarded, self.forwarded_ip = SERVE, "10.8.0.2"


class Netd(Network):
    """This project's."""

    def __init__(self, world, host, mtu, tools, transport):
        self.name = f"netd {transport}"
        self.net = {"datagram": 7, "vhost-user": 4}[transport]
        tag = f"n{self.net}"
        self.control = world.folder / f"{tag}.ctl"
        self.daemon = world.start(
            [tools / "stack-netd", "--control", self.control, "--config", world.folder / f"{tag}.json",
             "--resolver", "127.0.0.1:9"],
            host,
        )
        self.endpoints = [self.endpoint(world, tag, transport, n) for n in (2, 3)]
        self.forwarded = 6101 + 10 * self.net
        publish = [
            {"id": f"p{n}", "host_ip": "127.0.0.1", "host_port": self.forwarded + n, "protocol": "Tcp",
             "endpoint": "guest2", "container_port": SERVE + n}
            for n in range(4)
        ]
        self.apply(mtu, publish)
        self.guest, self.peer = world.space(f"{tag}a"), world.space(f"{tag}b")
        self.helpers = []
        shim = {"datagram": ["tap", "dgram"], "vhost-user": ["vhost_tap", "vhost-user"]}[transport]
        for space, endpoint in zip((self.guest, self.peer), self.endpoints):
            command = [tools / "examples" / shim[0], "tap0", shim[1], endpoint["local"], endpoint["peer"]]
            self.helpers.append(world.start(command, space, ready=True))
            world.address(space, "tap0", endpoint["ipv4"], mtu, f"10.{self.net}.0.1", endpoint["mac"])
        self.host_ip = self.names_ip = f"10.{self.net}.0.1"
        self.peer_ip = f"10.{self.net}.0.3"

    def endpoint(self, world, tag, transport, n):
        return {
            "id": f"guest{n}", "local": str(world.folder / f"{tag}-{n}.d"), "peer": str(world.folder / f"{tag}-{n}.q"),
            "mac": f"02:57:0a:0{self.net}:00:{n:02x}", "ipv4": f"10.{self.net}.0.{n}", "names": [f"guest{n}"],
            "transport": transport,
        }

    def apply(self, mtu, publish):
        network = {"name": "bench", "subnet": [f"10.{self.net}.0.0", 24], "gateway": f"10.{self.net}.0.1",
                   "internal": False, "mtu": mtu, "endpoints": self.endpoints}
        answer = call(self.control, {"Apply": {"networks": [network], "publish": publish}})
        if "Applied" not in answer or answer["Applied"]["errors"]:
            raise SystemExit(f"netd refuses: {answer}")

    def status(self):
        return call(self.control, "Status")["Status"]


class Passt(Network):
    """passt, by QEMU's stream protocol."""

    name = "passt"

    def __init__(self, world, host, mtu, tools):
        self.guest = world.space("pa")
        socket = world.folder / "passt.sock"
        ports = ",".join(f"{6201 + n}:{SERVE + n}" for n in range(4))
        world.folder.chmod(0o777)  # It drops its privileges.
        self.daemon = world.start(
            ["passt", "--foreground", "--quiet", "--socket", socket, "--interface", "out0", "--ipv4-only",
             "--address", "10.6.0.2", "--netmask", "255.255.255.0", "--gateway", "10.6.0.1",
             "--mtu", mtu, "--tcp-ports", ports, "--udp-ports", "none"],
            host,
        )
        self.helpers = [world.start([tools / "examples/tap", "tap0", "stream", socket], self.guest, ready=True)]
        world.address(self.guest, "tap0", "10.6.0.2", mtu, "10.6.0.1")
        self.host_ip, self.forwarded = "10.6.0.1", 6201


class Slirp(Network):
    """slirp4netns."""

    name = "slirp4netns"

    def __init__(self, world, host, mtu, tools):
        self.guest = world.space("sa")
        api = world.folder / "slirp.sock"
        self.daemon = world.start(
            ["slirp4netns", "--configure", f"--mtu={mtu}", "--netns-type=path", f"--api-socket={api}",
             "--disable-dns", f"/run/netns/{self.guest}", "tap0"],
            host,
        )
        for n in range(4):
            forward = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": 6301 + n, "guest_port": SERVE + n}
            answer = call(api, {"execute": "add_hostfwd", "arguments": forward})
            if "error" in answer:
                raise SystemExit(f"slirp4netns refuses: {answer}")
        time.sleep(0.5)
        self.host_ip, self.forwarded = "10.0.2.2", 6301


class Dnsmasq(Network):
    """dnsmasq at the other end of a cable."""

    name = "dnsmasq"

    def __init__(self, world, host, mtu, tools):
        self.guest, server = world.space("da"), world.space("db")
        world.cable((self.guest, "eth0"), (server, "eth0"))
        world.address(self.guest, "eth0", "10.5.0.2", mtu)
        world.address(server, "eth0", "10.5.0.1", mtu)
        self.daemon = world.start(
            ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
             "--listen-address=10.5.0.1", "--bind-interfaces", "--address=/guest3/10.5.0.3", "--pid-file=",
             "--user=root", "--log-facility=-"],
            server,
        )
        self.names_ip = "10.5.0.1"
