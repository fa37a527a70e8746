#!/usr/bin/env python3
"""Prints how fast output gets from a service to whoever reads it.

usage: tests/bench/logs.py [--lines N] [--bin DIR]

  --lines N   lines that the service writes (default 1000000)
  --bin DIR   where stack and its daemons are (default target/release)

  l  lines a second that one service writes, none of them lost: from its start
     to its end, by the journal
  m  from the write of a line in the guest to its arrival at `stack logs -f`
  n  `stack run --rm` of a program that does nothing

`make bench` builds what is needed and starts the registry first.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

FILE = """services:
  flood:
    image: busybox:1
    command:
      - awk
      - 'BEGIN {{ for (n = 1; n <= {lines}; n++) print "line number " n " of a flood of output" }}'
    logging: {{options: {{max-size: 1g}}}}
  drip:
    image: busybox:1
    command: ["sh", "-c", "while true; do echo drop; sleep 0.2; done"]
    stop_grace_period: 0s
"""


def flood(stack, lines):
    """Lines a second; fails when one is missing or out of order."""
    stack("up", "-d", "flood")
    stack("wait", "flood")
    text = stack("logs", "--no-log-prefix", "flood")
    wanted = (f"line number {n} of a flood of output" for n in range(1, lines + 1))
    if not all(a == b for a, b in zip(text.splitlines(), wanted, strict=True)):
        raise SystemExit("lines were changed")
    events = stack("events", "--json", "--since", "1h", "--until", "0s", "flood")
    at = {}
    for line in events.splitlines():
        event = json.loads(line)
        at[event["action"]] = datetime.datetime.fromisoformat(event["time"][:26] + "+00:00")
    return lines / (at["die"] - at["start"]).total_seconds()


def delays(stack, popen, count):
    """Milliseconds from the write to the arrival."""
    stack("up", "-d", "drip")
    found = []
    with popen("logs", "-f", "-n", "0", "-t", "--no-log-prefix", "drip") as follower:
        for line in follower.stdout:
            now = time.time_ns()
            stamp = line.split()[0]
            whole = datetime.datetime.fromisoformat(stamp[:19] + "+00:00")
            written = int(whole.timestamp()) * 10**9 + int(stamp[20:29])
            found.append((now - written) / 1e6)
            if len(found) == count:
                follower.kill()
                break
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target/release")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stack-bench-", dir="/tmp") as folder:
        folder = pathlib.Path(folder)
        (folder / "stack.yaml").write_text(FILE.format(lines=options.lines))
        mirror = os.environ.get("STACK_REGISTRY_MIRROR")
        mirror = mirror or (ROOT / "target/registry/address").read_text().strip()
        env = os.environ | {
            "STACK_HOME": str(folder / "home"),
            "STACK_REGISTRY_MIRROR": mirror,
            "COMPOSE_PROGRESS": "quiet",
            "NO_COLOR": "1",
        }
        binary = str(options.bin / "stack")

        def stack(*words):
            result = subprocess.run(
                [binary, *words], env=env, cwd=folder, capture_output=True, text=True, check=False
            )
            if result.returncode:
                raise SystemExit(f"stack {' '.join(words)}: {result.stderr}")
            return result.stdout

        def popen(*words):
            command = [binary, *words]
            return subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, text=True)

        try:
            rate = flood(stack, options.lines)
            print(f"l  lines a second (to reach: 100000)   {rate:12.0f}", flush=True)
            found = delays(stack, popen, 50)
            print(f"m  delay of logs -f (to reach: 20)     {statistics.median(found):9.1f} ms", flush=True)
            took = []
            for _ in range(6):
                began = time.monotonic()
                stack("run", "--rm", "-T", "drip", "true")
                took.append((time.monotonic() - began) * 1e3)
            print(f"n  run --rm                            {statistics.median(took[1:]):9.1f} ms", flush=True)
        finally:
            stack("down", "-t", "0", "-v")
            socket = folder / "home/run/stackd.sock"
            subprocess.run(
                ["curl", "-s", "-X", "POST", "--unix-socket", socket, "http://d/v1/shutdown"],
                check=False,
            )


if __name__ == "__main__":
    main()
