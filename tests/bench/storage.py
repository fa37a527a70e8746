"""Step s of the benchmarks: files, on everything that a service may have them
on, on the host, and in a container of the Docker Engine."""
import json
import shutil
import statistics
import subprocess
import sys

IMAGE = "tools:1"
# Where the service has them: the first one is what others are compared with.
PLACES = {
    "scratch disk": "/scratch",
    "volume (disk)": "/disk",
    "volume (tree)": "/tree",
    "bind mount": "/bind",
}
FILE = """services:
  box:
    image: {image}
    init: true
    privileged: true
    mem_limit: 2g
    command: sleep infinity
    stop_grace_period: 1s
    volumes: [ 'disk:/disk', 'tree:/tree', './bind:/bind' ]
volumes:
  disk: {{}}
  tree: {tree}
"""

FIO = "--name=x --filename=$DIR/data --size=$SIZE --output-format=json --ioengine=psync"
# Name, unit, script, and the place in fio's answer; without one, seconds count.
STEPS = [
    ("write, 1 MiB at a time", "MiB/s", f"fio {FIO} --rw=write --bs=1M --end_fsync=1", "write"),
    ("read, 1 MiB at a time", "MiB/s", f"fio {FIO} --rw=read --bs=1M", "read"),
    ("read 4 KiB anywhere, uncached", "a second", f"fio {FIO} --rw=randread --bs=4k --direct=1 --runtime=$TIME --time_based", "read"),
    ("write 4 KiB anywhere, uncached", "a second", f"fio {FIO} --rw=randwrite --bs=4k --direct=1 --runtime=$TIME --time_based", "write"),
    ("write 4 KiB and fsync", "a second", f"fio {FIO} --rw=randwrite --bs=4k --fsync=1 --runtime=$TIME --time_based", "write"),
    ("untar of a tree", "s", "cd $DIR; rm -rf tree; sync; now; tar xf data.tar; took", None),
    ("git status of the tree, first", "s", "cd $DIR/tree; now; git status --short; took", None),
    ("git status of the tree, again", "s", "cd $DIR/tree; now; for n in 1 2 3 4 5 6 7 8 9 10; do git status --short; done; took 10", None),
    ("rm -r of the tree", "s", "cd $DIR; now; rm -rf tree; took", None),
]
HEAD = """set -e
export HOME=/tmp GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
now() { begun=$(date +%s%N); }
took() { echo $((($(date +%s%N) - begun) / 1000 / ${1:-1})); }
"""
# Nothing of what was read is in memory any more.
COLD = "sync; echo 3 > /proc/sys/vm/drop_caches\n"


def archive(folder, files):
    """A repository with that many files, as a tar archive."""
    tree = folder / "tree"
    for n in range(files):
        where = tree / f"d{n % 200 // 10}" / f"e{n % 200}"
        if n < 200:
            where.mkdir(parents=True)
        (where / f"file{n}.txt").write_text(f"line of file {n}\n" * (n % 97 + 1))
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], cwd=tree, check=True)
    subprocess.run(["tar", "cf", "data.tar", "tree"], cwd=folder, check=True)
    shutil.rmtree(tree)
    return folder / "data.tar"


def measure(where, script, key, unit):
    """One measurement: megabytes or operations a second, or seconds."""
    said = where(HEAD + script)
    if key is None:
        return int(said.split()[-1]) / 1e6
    job = json.loads(said[said.index("{"):])["jobs"][0][key]
    return job["bw_bytes"] / (1 << 20) if unit == "MiB/s" else job["iops"]


class Places:
    """Where a step can be run: a name, and a function for a script."""

    def __init__(self):
        self.all = {}

    def add(self, name, directory, shell, size, seconds):
        head = f"DIR={directory} SIZE={size} TIME={seconds}\n"

        def run(script):
            done = subprocess.run([*shell[0], head + script], capture_output=True, text=True, **shell[1])
            if done.returncode != 0:
                raise SystemExit(f"{name}: {script}\n{done.stdout[-500:]}{done.stderr[-2000:]}")
            return done.stdout

        self.all[name] = run


def measure_all(home, stack, report, rounds, beside, files, size, seconds):
    """Prints rates of each place, and how they compare."""
    folder = home.dir / "storage"
    (folder / "bind").mkdir(parents=True)
    home.projects.add("storage")
    (folder / "stack.yaml").write_text(FILE.format(image=IMAGE, tree="{ external: true, name: tree }"))
    places, engine = Places(), None
    home.stack("storage", "volume", "create", "tree")
    home.stack("storage", "up", "-d")
    shell = ([str(stack), "exec", "-T", "box", "sh", "-c"], {"env": home.env, "cwd": folder})
    for name, directory in PLACES.items():
        places.add(name, directory, shell, size, seconds)
    host = home.dir / "host"
    host.mkdir()
    if shutil.which("fio"):
        places.add("host", host, (["sh", "-c"], {}), size, seconds)
    else:
        print("without the host beside: fio is not installed")
    if beside:
        engine = Container(beside, folder)
        for name, directory in (("Docker volume", "/volume"), ("Docker bind mount", "/bind")):
            places.add(name, directory, engine.shell, size, seconds)
    try:
        data = archive(home.dir, files)
        for name, run in places.all.items():
            run("mkdir -p $DIR")
        shutil.copy(data, folder / "bind/data.tar")
        home.stack("storage", "cp", data, "box:/scratch/data.tar")
        for name in ("disk", "tree"):
            places.all[f"volume ({name})"]("cp /scratch/data.tar $DIR")
        shutil.copy(data, host / "data.tar")
        if engine:
            engine.fill(data)
        rounds_of(places, report, rounds)
    finally:
        if engine:
            engine.close()
    table(places, report, files)


def rounds_of(places, report, rounds):
    for turn in range(rounds):
        names = list(places.all)
        # Nobody is always first.
        names = names[turn % len(names):] + names[:turn % len(names)]
        for what, unit, script, key in STEPS:
            for name in names:
                cold = COLD if ("first" in what or what.startswith("read")) else ""
                value = measure(places.all[name], cold + script, key, unit)
                report.setdefault((what, name), []).append(value)
                print(f"  round {turn + 1}: {what}: {name}: {value:.2f}", file=sys.stderr, flush=True)


def table(places, report, files):
    print(f"s  files ({files} in the tree): medians; against the scratch disk")
    for what, unit, _, key in STEPS:
        print(f"  {what}, {unit}")
        base = statistics.median(report[what, "scratch disk"])
        for name in places.all:
            values = report[what, name]
            middle = statistics.median(values)
            ratio = middle / base if key else base / middle
            print(
                f"    {name:<20} {middle:10.2f}   ({min(values):.2f}…{max(values):.2f}, n={len(values)})"
                f"   {ratio:6.2f}",
                flush=True,
            )


class Container:
    """The same in a container."""

    def __init__(self, peer, folder):
        self.env, self.bind = peer.env, folder / "bind-docker"
        self.bind.mkdir()
        self.docker("volume", "create", "bench")
        self.docker(
            "run", "-d", "--name", "bench", "--privileged", "--init", "-v", "bench:/volume",
            "-v", f"{self.bind}:/bind", IMAGE, "sleep", "infinity",
        )
        self.shell = (["docker", "exec", "bench", "sh", "-c"], {"env": self.env})

    def docker(self, *args):
        subprocess.run(["docker", *map(str, args)], env=self.env, check=True, capture_output=True)

    def fill(self, data):
        shutil.copy(data, self.bind / "data.tar")
        self.docker("cp", data, "bench:/volume/data.tar")

    def close(self):
        self.docker("rm", "-f", "bench")
        self.docker("volume", "rm", "bench")
