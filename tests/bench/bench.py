#!/usr/bin/env python3
"""Prints how long things take, side by side in one run.

usage: tests/bench/bench.py [--rounds N] [--only LETTERS] [--docker SOCKET|no]

  --rounds N        rounds of each step (default 5); medians are printed
  --only LETTERS    e.g. `ab`: only these steps
  --docker SOCKET   the Docker Engine to run the same steps with; without it
                    one is started when that is possible (root, `dockerd`,
                    Docker Compose), and ended; `no` leaves it out

  a  the floor: the VMM with the same kernel and an init that writes a line
  b  `stack up -d --wait` of one small service, image on this machine; also
     as the first VM of its shape, which boots (STACK_TEMPLATES=off)
  c  the same with five services that do not depend on each other
  d  `stack up -d` when nothing changed
  e  `stack ps`, `stack exec … true`, `stack down`, `stack --help`
  f  pull and unpack of a large image, against `skopeo copy` + `umoci unpack`
  g  resident memory of an idle VM
  h  `stack watch`: a saved file, 5,000 changed files
  i  a line typed to `stack attach` until `stack logs -f` shows it
  j  lines a second that one service writes, a million, none of them lost
  k  `stack exec … true` and `stack run --rm … true`
  l  `stack up -d` after a change in one of 20 services
  s  files: on the scratch disk, in volumes, in a bind mount, on the host

`make bench` builds what is needed and starts the registry first.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import daily
import engine
import storage
import watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "target/release"

FLOOR_INIT = r"""
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>
int main(void) {
    mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
    int console = open("/dev/console", O_WRONLY);
    write(console, "here\n", 5);
    for (;;) pause();
}
"""

SERVICE = """  {name}:
    image: busybox:1
    command: httpd -f -p 80 -h /
    init: true
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1/etc/passwd
"""


def run(*command, env=None, cwd=None, check=True):
    """Runs a command; gives seconds and output."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], env=env, cwd=cwd, text=True, capture_output=True
    )
    took = time.perf_counter() - began
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return took, done.stdout


FLOOR = "a  floor: VMM to the first line"
ONE = "b  up -d --wait, one service"
FIVE = "c  up -d --wait, five services"


class Home:
    """A daemon of its own in a directory of its own."""

    def __init__(self, more=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sb"))
        address = (ROOT / "target/registry/address").read_text().strip()
        self.env = dict(os.environ, STACK_HOME=str(self.dir), STACK_REGISTRY_MIRROR=address, **(more or {}))
        self.projects = set()

    def stack(self, project, *args, check=True):
        self.projects.add(project)
        return run(BIN / "stack", *args, env=self.env, cwd=self.dir / project, check=check)

    def file(self, project, services):
        folder = self.dir / project
        folder.mkdir(exist_ok=True)
        text = "services:\n" + "".join(SERVICE.format(name=name) for name in services)
        (folder / "stack.yaml").write_text(text)

    def close(self):
        for project in self.projects:
            self.stack(project, "down", "-v", "-t", "0", check=False)
        run(
            "curl", "-s", "-m", "5", "-X", "POST",
            "--unix-socket", self.dir / "run/stackd.sock", "http://stack/v1/shutdown", check=False,
        )
        shutil.rmtree(self.dir, ignore_errors=True)


class Report:
    """Collects and prints medians."""

    def __init__(self):
        self.rows = {}

    def add(self, name, seconds):
        self.rows.setdefault(name, []).append(seconds)

    def median(self, name):
        values = self.rows.get(name)
        return statistics.median(values) if values else None

    def show(self, name, note=""):
        values = self.rows[name]
        low, high = min(values), max(values)
        print(
            f"{name:<46} {statistics.median(values) * 1000:9.1f} ms"
            f"   ({low * 1000:.1f}…{high * 1000:.1f}, n={len(values)}) {note}",
            flush=True,
        )

    def ratio(self, text, above, below, factor=1.0):
        top, bottom = self.median(above), self.median(below)
        if top and bottom:
            print(f"  {text}: {top / (bottom * factor):.2f}", flush=True)


def floor_initramfs(folder):
    stage = folder / "floor"
    (stage / "dev").mkdir(parents=True)
    (folder / "init.c").write_text(FLOOR_INIT)
    run("cc", "-static", "-Os", "-o", stage / "init", folder / "init.c")
    archive = folder / "floor.cpio"
    names = subprocess.run(["find", "."], cwd=stage, capture_output=True, check=True).stdout
    with open(archive, "wb") as out:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
            cwd=stage, input=names, stdout=out, check=True,
        )
    return archive


def starts(home, report, rounds, only, peer):
    """Steps a to e and g, interleaved."""
    kernel = ROOT / "target/kernel" / ("Image" if os.uname().machine == "aarch64" else "vmlinux")
    archive = floor_initramfs(home.dir)
    cold = Home({"STACK_TEMPLATES": "off"}) if "b" in only else None
    for place in filter(None, (home, cold)):
        place.file("one", ["web"])
        place.stack("one", "pull", "-q")
    home.file("five", [f"s{n}" for n in range(5)])
    if set("bcdeg") & set(only):
        warm(home)
    for _ in range(rounds):
        if "a" in only:
            _, out = run(BIN / "examples/floor", kernel, archive, 1)
            report.add(FLOOR, float(out) / 1000)
        if set("bdeg") & set(only):
            report.add(ONE, home.stack("one", "up", "-d", "--wait")[0])
            report.add("d  up -d, nothing changed", home.stack("one", "up", "-d")[0])
            report.add("e  ps", home.stack("one", "ps")[0])
            report.add("e  exec true", home.stack("one", "exec", "-T", "web", "true")[0])
            report.add("e  --help", home.stack("one", "--help")[0])
            report.add("e  down", home.stack("one", "down")[0])
        if "c" in only:
            report.add(FIVE, home.stack("five", "up", "-d", "--wait")[0])
            home.stack("five", "down")
        if cold:
            report.add(f"{ONE}, booted", cold.stack("one", "up", "-d", "--wait")[0])
            cold.stack("one", "down")
        if peer:
            peer.round(report)
    if cold:
        cold.close()
    for name in sorted(report.rows, key=lambda name: name[0]):
        report.show(name)
    report.ratio("b / a (to reach: 1.5)", ONE, FLOOR)
    report.ratio("c / b (to reach: 3)", FIVE, ONE)
    if "g" in only:
        memory(home)


def warm(home):
    """One start, and the time to make a template of that shape."""
    home.stack("one", "up", "-d", "--wait")
    home.stack("one", "down")
    templates = home.dir / "cache/templates"
    for _ in range(200):
        if any(path.is_file() for path in templates.glob("*")):
            return
        time.sleep(0.1)
    print("no template was made: every VM boots", flush=True)


def memory(home):
    home.stack("five", "up", "-d", "--wait")
    time.sleep(5)
    _, out = home.stack("five", "ps", "--format", "json")
    sizes = []
    for line in out.splitlines():
        pid = json.loads(line)["Pid"]
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        sizes.append(int(fields["Pss"].split()[0]) / 1024)
    home.stack("five", "down")
    print(f"g  proportional set size of an idle VM            {statistics.median(sizes):9.1f} MiB   (n={len(sizes)})")


def pulls(home, report, rounds):
    """Step f, interleaved with its peers."""
    address = (ROOT / "target/registry/address").read_text().strip()
    plain = address.removeprefix("http://")
    image = large_image(home.dir, plain)
    for n in range(rounds):
        store = home.dir / f"store{n}"
        took, _ = run(BIN / "examples/unpack", store, image, env=home.env)
        report.add("f  pull and unpack, stack", took)
        shutil.rmtree(store, ignore_errors=True)
        layout, bundle = home.dir / f"oci{n}", home.dir / f"bundle{n}"
        copy, _ = run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{layout}:x")
        unpack, _ = run("umoci", "unpack", "--rootless", "--image", f"{layout}:x", bundle)
        report.add("f  skopeo copy + umoci unpack", copy + unpack)
        run("chmod", "-R", "u+rwX", bundle, check=False)
        shutil.rmtree(layout, ignore_errors=True)
        shutil.rmtree(bundle, ignore_errors=True)
    for name in ("f  pull and unpack, stack", "f  skopeo copy + umoci unpack"):
        report.show(name)
    report.ratio("stack / peers (to reach: 1)", "f  pull and unpack, stack", "f  skopeo copy + umoci unpack")


def large_image(folder, registry):
    """200 MB of this machine's own libraries, in four layers."""
    name = f"{registry}/bench/large:1"
    done = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"], capture_output=True
    )
    if done.returncode == 0:
        return name
    layout = folder / "large"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    files = []
    for top in ("/usr/lib", "/usr/share"):
        for path, dirs, names in os.walk(top):
            dirs.sort()
            files += [os.path.join(path, n) for n in sorted(names) if not os.path.islink(os.path.join(path, n))]
    size, parts = 0, [[] for _ in range(4)]
    for file in files:
        if size >= 200_000_000:
            break
        if os.access(file, os.R_OK) and os.path.getsize(file) < 20_000_000:
            parts[min(3, size // 50_000_000)].append(file)
            size += os.path.getsize(file)
    for part in parts:
        listing, tar = folder / "list", folder / "layer.tar"
        listing.write_text("\n".join(part))
        run("tar", "-cf", tar, "-P", "--transform", "s,^/,,", "-T", listing)
        run("umoci", "raw", "add-layer", "--image", f"{layout}:x", tar)
    run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{name}")
    shutil.rmtree(layout)
    return name


class Peer:
    """The comparable steps with Docker Compose."""

    def __init__(self, folder, socket):
        self.engine = None
        if not socket:
            self.engine = engine.Engine(folder)
            socket = self.engine.socket
            address = (ROOT / "target/registry/address").read_text().strip().removeprefix("http://")
            self.engine.load(f"{address}/library/busybox:1", "busybox:1")
        self.env = dict(os.environ, DOCKER_HOST=f"unix://{socket}")
        self.compose = engine.compose()
        self.one = self.file(folder, "docker-one", ["web"])
        self.five = self.file(folder, "docker-five", [f"s{n}" for n in range(5)])

    @staticmethod
    def file(folder, name, services):
        where = folder / name
        where.mkdir()
        # The engine probes first after one interval, whatever comes later.
        text = "".join(SERVICE.format(name=name) for name in services)
        text = text.replace("    healthcheck:\n", "    healthcheck:\n      interval: 0.1s\n")
        (where / "compose.yaml").write_text("services:\n" + text)
        return where

    def run(self, where, *args):
        return run(*self.compose, *args, env=self.env, cwd=where)[0]

    def round(self, report):
        report.add("b  Docker Compose", self.run(self.one, "up", "-d", "--wait"))
        report.add("d  Docker Compose", self.run(self.one, "up", "-d"))
        report.add("e  Docker Compose: ps", self.run(self.one, "ps"))
        report.add("e  Docker Compose: exec true", self.run(self.one, "exec", "-T", "web", "true"))
        report.add("e  Docker Compose: down", self.run(self.one, "down"))
        report.add("c  Docker Compose", self.run(self.five, "up", "-d", "--wait"))
        self.run(self.five, "down")

    def close(self):
        if self.engine:
            self.engine.close()


def peer(folder, wanted):
    """Docker Compose, where it can be had; says why not."""
    if wanted == "no":
        return None
    why = None if wanted else engine.missing()
    if why:
        print(f"without Docker Compose beside: {why}", flush=True)
        return None
    return Peer(folder, wanted)


def watches(home, report, rounds, beside):
    projects = {"": watch.Watched(home.dir / "watch", [str(BIN / "stack")], home.env)}
    home.projects.add("watch")
    other = None
    try:
        if beside:
            other = ", Docker Compose"
            projects[other] = watch.Watched(home.dir / "watch-docker", beside.compose, beside.env, build=True)
        watch.measure(projects, report, rounds, other)
    finally:
        for project in projects.values():
            project.close()


def files(home, options, beside):
    """Step s: the image with its tools is made for it alone."""
    run(ROOT / "tests/setup/images/build.sh", "tools")
    run(ROOT / "tests/setup/registry.sh", "push")
    if beside and beside.engine:
        address = (ROOT / "target/registry/address").read_text().strip().removeprefix("http://")
        beside.engine.load(f"{address}/library/{storage.IMAGE}", storage.IMAGE)
    size, seconds = options.size, options.seconds
    storage.measure_all(home, BIN / "stack", {}, options.rounds, beside, options.files, size, seconds)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="abcdefghijkls")
    parser.add_argument("--docker")
    parser.add_argument("--files", type=int, default=20000, help=argparse.SUPPRESS)
    parser.add_argument("--size", default="256M", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    home, report, beside = Home(), Report(), None
    try:
        if set("bcdehkls") & set(options.only):
            beside = peer(home.dir, options.docker)
        if set("abcdeg") & set(options.only):
            starts(home, report, options.rounds, options.only, beside)
        if "f" in options.only:
            pulls(home, Report(), options.rounds)
        if "h" in options.only:
            watches(home, Report(), options.rounds, beside)
        if set("ijkl") & set(options.only):
            daily.measure(home, BIN / "stack", Report(), options.rounds, options.only, beside)
        if "s" in options.only:
            files(home, options, beside)
    finally:
        if beside:
            beside.close()
        home.close()


if __name__ == "__main__":
    main()
