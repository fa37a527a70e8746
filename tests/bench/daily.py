"""What a developer does all day: output, commands, one change of many."""
import datetime
import json
import pathlib
import statistics
import subprocess
import time

DELAY = "i  a line typed to `attach`, seen by `logs -f`"
EXEC = "k  exec -T true"
RUN = "k  run --rm true"
CHANGE = "l  up -d, one of 20 services changed"
OTHER = ", Docker Compose"

# Written before, so that it is not the time of the program that makes it.
FLOOD = """services:
  flood:
    image: busybox:1
    command:
      - sh
      - -c
      - |
        awk 'BEGIN {{ for (n = 1; n <= {lines}; n++) print "line number " n " of a flood of output" }}' > /tmp/lines
        cat /tmp/lines
    logging: {{options: {{max-size: 1g}}}}
    x-stack: {{machine: {{memory: 1g}}}}
"""

ECHO = """services:
  echo:
    image: busybox:1
    command: cat
    stdin_open: true
    stop_grace_period: 0s
"""


def stamp(text):
    """Nanoseconds of an RFC 3339 time."""
    whole = datetime.datetime.fromisoformat(text[:19] + "+00:00")
    return int(whole.timestamp()) * 10**9 + int(text[20:29].ljust(9, "0"))


def flood(home, lines):
    """Lines a second that one service writes, none of them lost."""
    write(home.dir / "flood", "stack.yaml", FLOOD.format(lines=lines))
    home.stack("flood", "up", "-d")
    home.stack("flood", "wait", "flood")
    _, text = home.stack("flood", "logs", "-t", "--no-log-prefix", "flood")
    rows = [line.split(" ", 1) for line in text.splitlines()]
    for n, (_, line) in enumerate(rows, 1):
        if line != f"line number {n} of a flood of output":
            raise SystemExit(f"line {n} is {line!r}")
    if len(rows) != lines:
        raise SystemExit(f"{lines - len(rows)} lines are missing")
    _, events = home.stack("flood", "events", "--json", "--since", "1h", "--until", "0s", "flood")
    end = [json.loads(line)["time"] for line in events.splitlines() if '"die"' in line][-1]
    took = (stamp(end) - stamp(rows[0][0])) / 1e9
    home.stack("flood", "down", "-v")
    print(f"{'j  lines a second from one service (100000)':<46} {lines / took:9.0f}      (n={lines})", flush=True)


def delay(command, folder, env, report, name, rounds):
    """From a key to its line at whoever follows the log."""
    write(folder, "compose.yaml", ECHO)
    subprocess.run([*command, "up", "-d"], cwd=folder, env=env, check=True, capture_output=True)
    follow = subprocess.Popen(
        [*command, "logs", "-f", "--no-log-prefix", "echo"],
        cwd=folder, env=env, stdout=subprocess.PIPE, text=True, bufsize=1,
    )
    attach = subprocess.Popen(
        [*command, "attach", "echo"], cwd=folder, env=env,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )
    time.sleep(2)
    try:
        for n in range(rounds * 10):
            began = time.perf_counter()
            attach.stdin.write(f"word {n}\n")
            attach.stdin.flush()
            for line in follow.stdout:
                if line.strip() == f"word {n}":
                    break
            report.add(name, time.perf_counter() - began)
            time.sleep(0.03)
    finally:
        attach.kill()
        follow.kill()
        subprocess.run([*command, "down", "-t", "0"], cwd=folder, env=env, capture_output=True)


def many(changed):
    """20 services; another value in one of them makes its container anew."""
    text = "services:\n"
    for n in range(20):
        value = changed if n == 7 else 0
        text += f"  s{n}:\n    image: busybox:1\n    command: sleep 100000\n"
        text += f"    environment: {{VALUE: '{value}'}}\n    stop_grace_period: 0s\n    mem_limit: 64m\n"
    return text


def commands(stack, report, rounds, more=""):
    """Commands beside and in a service, and one change of many; `stack` runs
    one in a folder and gives its seconds."""
    folder, run = stack
    write(folder, "compose.yaml", many(0))
    run("up", "-d")
    try:
        run("exec", "-T", "s0", "true")
        # Templates are made when nothing has been started for a while.
        time.sleep(8)
        for n in range(1, rounds + 1):
            report.add(EXEC + more, run("exec", "-T", "s0", "true"))
            report.add(RUN + more, run("run", "--rm", "-T", "s1", "true"))
            write(folder, "compose.yaml", many(n))
            report.add(CHANGE + more, run("up", "-d"))
    finally:
        run("down", "-t", "0")


def write(folder, name, text):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def measure(home, binary, report, rounds, only, beside):
    """All steps, with Docker Compose where there is one."""
    def show(*names):
        for name in names:
            if name in report.rows:
                report.show(name)

    if "i" in only:
        home.projects.add("echo")
        delay([str(binary)], home.dir / "echo", home.env, report, DELAY, rounds)
        show(DELAY)
    if "j" in only:
        flood(home, 1_000_000)
    if "k" in only or "l" in only:
        (home.dir / "many").mkdir(exist_ok=True)
        own = (home.dir / "many", lambda *words: home.stack("many", *words)[0])
        commands(own, report, rounds)
        if beside:
            where = home.dir / "many-docker"
            commands((where, lambda *words: beside.run(where, *words)), report, rounds, OTHER)
        show(*(name + more for name in (EXEC, RUN, CHANGE) for more in ("", OTHER)))
    for name in (EXEC, RUN, CHANGE):
        report.ratio(f"{name[:1]} against Docker Compose", name, name + OTHER)
    if report.median(DELAY):
        print(f"  i, to reach: 20 ms; reached: {statistics.median(report.rows[DELAY]) * 1e3:.1f}", flush=True)
