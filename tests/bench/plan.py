#!/usr/bin/env python3
"""Prints how long stack files take to read and to plan.

usage: tests/bench/plan.py [--rounds N] [--keep DIR]

  --rounds N   runs of each command (default 11); medians are printed
  --keep DIR   write the generated stack files there and keep them

Two stacks are measured: one of 5 services, one of 1,000 services with three
override files. In the process: reading (all phases, to the checked model),
the daemon's form of it, and the plan, as processor time. From outside:
`stack config`, and `docker compose config` beside it when `docker-compose` or
`docker compose` is in PATH, as wall time, processor time and peak memory.

Ends with 1 when a goal is missed. Processor time goes up, too, when other work
shares the cores: run it on a machine that is idle.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BIN = TARGET / "release"

# Name, services, override files, milliseconds to read and plan at most.
STACKS = [("5 services", 5, 0, 2.0), ("1,000 services, 3 overrides", 1000, 3, 100.0)]
# `stack config` takes at most this part of Docker Compose's wall time.
PART = 0.1

BASE = """\
  svc{i:04}:
    image: registry.example/app{image}:${{TAG:-1.0}}
    command: ["serve", "--port", "80"]
    environment:
      MODE: production
      LEVEL: "${{LEVEL:-info}}"
      DATABASE_URL: postgres://user@db{i}/app
    ports: ["{port}:80"]
    volumes: ["data{volume}:/data", "./src/{i}:/src:ro"]
    networks: [front, back]
    healthcheck:
      test: ["CMD", "true"]
      interval: 10s
    restart: unless-stopped
    deploy: {{resources: {{limits: {{memory: 256m, cpus: "0.5"}}}}}}
"""
DEPENDS = """\
    depends_on:
      svc{before:04}: {{condition: service_healthy}}
"""
OVERRIDE = """\
  svc{i:04}:
    environment:
      LEVEL{n}: "${{LEVEL:-{n}}}"
    labels: ["override={n}"]
    ports: ["{port}:{target}"]
"""


def write(folder, services, overrides):
    """Writes a stack; gives its files."""
    volumes = min(50, services)
    parts = ["name: bench\nservices:\n"]
    for i in range(services):
        parts.append(BASE.format(i=i, image=i % 37, port=20000 + i, volume=i % volumes))
        if i % 10:
            parts.append(DEPENDS.format(before=i - 1))
    parts.append("networks: {front: {}, back: {}}\nvolumes:\n")
    parts += [f"  data{i}: {{}}\n" for i in range(volumes)]
    files = [folder / "compose.yaml"]
    files[0].write_text("".join(parts))
    for n in range(1, overrides + 1):
        text = [
            OVERRIDE.format(i=i, n=n, port=20000 + n * services + i, target=8000 + n)
            for i in range(services)
        ]
        files.append(folder / f"override{n}.yaml")
        files[-1].write_text("services:\n" + "".join(text))
    return files


def run(command, rounds, folder):
    """Medians of wall and processor seconds, and the largest peak in MiB."""
    wall, processor, peak = [], [], 0
    for _ in range(rounds + 1):
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall.append(time.monotonic() - began)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"plan.py: {' '.join(map(str, command))} failed")
        processor.append(usage.ru_utime + usage.ru_stime)
        peak = max(peak, usage.ru_maxrss / 1024)
    # The first one fills caches.
    return statistics.median(wall[1:]), statistics.median(processor[1:]), peak


def docker_compose():
    """Docker Compose's command, or nothing."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        asked = subprocess.run(["docker", "compose", "version"], capture_output=True)
        if asked.returncode == 0:
            return ["docker", "compose"]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    docker, missed = docker_compose(), []
    if not docker:
        print("(no docker-compose in PATH: nothing to compare with)\n")
    with tempfile.TemporaryDirectory() as temporary:
        base = options.keep or pathlib.Path(temporary)
        for number, (name, services, overrides, goal) in enumerate(STACKS):
            folder = base / f"stack{number}"
            folder.mkdir(parents=True, exist_ok=True)
            files = write(folder, services, overrides)
            kib = sum(file.stat().st_size for file in files) / 1024
            print(f"{name} ({kib:.0f} KiB)")
            missed += measure(name, folder, files, goal, options.rounds, docker)
            print()
    for miss in missed:
        print(f"missed: {miss}")
    return 1 if missed else 0


def measure(name, folder, files, goal, rounds, docker):
    """Prints the figures of one stack; gives the goals that were missed."""
    missed = []
    inside = subprocess.run(
        [BIN / "examples/bench", *files], check=True, capture_output=True, text=True
    )
    times = json.loads(inside.stdout)
    total = times["load"] + times["spec"] + times["plan"]
    for phase, what in [
        ("load", "read"),
        ("spec", "the daemon's form"),
        ("plan", "plan"),
        ("yaml", "write as YAML"),
        ("json", "write as JSON"),
    ]:
        print(f"  {what:28} {times[phase]:9.2f} ms")
    print(f"  {'read and plan':28} {total:9.2f} ms   goal {goal:g} ms")
    if total > goal:
        missed.append(f"{name}: read and plan takes {total:.1f} ms, not {goal:g} ms")
    arguments = [argument for file in files for argument in ("-f", file)] + ["config"]
    ours = run([BIN / "stack", *arguments], rounds, folder)
    show("stack config", ours)
    if docker:
        theirs = run([*docker, *arguments], rounds, folder)
        show("docker compose config", theirs)
        part = ours[0] / theirs[0]
        print(f"  {'part of its wall time':28} {part * 100:9.1f} %    goal {PART * 100:g} %")
        if part > PART:
            missed.append(f"{name}: stack config takes {part * 100:.0f} % of docker compose config")
    return missed


def show(what, figures):
    wall, processor, peak = figures
    print(
        f"  {what:28} {wall * 1e3:9.2f} ms   {processor * 1e3:9.2f} ms processor"
        f"   {peak:7.1f} MiB peak"
    )


if __name__ == "__main__":
    # Nothing of the user's shell changes what is measured.
    for variable in [name for name in os.environ if name.startswith("COMPOSE_")]:
        del os.environ[variable]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
