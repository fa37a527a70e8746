"""Step h: how soon a saved file, and how soon 5,000 changed files, are in the
service; for `stack watch` and Docker Compose's."""
import pathlib
import subprocess
import time

FILES = 5000

# Says each new content of the file as soon as it is there, until that is `end`.
LOOK = 'y=; while [ "$y" != end ]; do { read -r x < /app/saved; } 2>/dev/null && [ "$x" != "$y" ] && echo "$x" && y=$x; usleep 500; done'

STACK = """services:
  web:
    image: {image}
    {build}
    command: sh -c "mkdir -p /app && exec sleep 1000000"
    init: true
    develop:
      watch:
        - {{path: ./src, action: sync, target: /app}}
"""


class Watched:
    """A project that is being watched."""

    def __init__(self, folder, command, env, build=False):
        self.src = pathlib.Path(folder) / "src"
        self.src.mkdir(parents=True)
        text = STACK.format(image="busybox:1", build="build: ." if build else "")
        (self.src.parent / "compose.yaml").write_text(text)
        (self.src.parent / "Dockerfile").write_text("FROM busybox:1\n")
        self.command, self.env = command, env
        self.call("up", "-d")
        self.watch = self.begin("watch", "--no-up")
        self.shown = self.begin("exec", "-T", "web", "sh", "-c", LOOK)
        # Until it watches, nothing arrives.
        for n in range(200):
            self.save(f"ready{n}")
            if self.arrives(f"ready{n}", 1):
                return
        raise SystemExit("the watched file never arrives")

    def call(self, *args):
        subprocess.run([*self.command, *args], env=self.env, cwd=self.src.parent, check=True, capture_output=True)

    def begin(self, *args):
        quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(
            [*self.command, *args], env=self.env, cwd=self.src.parent, stdout=subprocess.PIPE, **quiet
        )

    def save(self, text):
        (self.src / "saved").write_text(text + "\n")

    def arrives(self, text, seconds=60):
        import select

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.shown.stdout], [], [], 0.05)[0]:
                if self.shown.stdout.readline().strip() == text:
                    return True
        return False

    def one(self, text):
        """Seconds until a saved file is seen."""
        time.sleep(0.3)
        began = time.perf_counter()
        self.save(text)
        if not self.arrives(text):
            raise SystemExit("a saved file did not arrive")
        return time.perf_counter() - began

    def many(self, text):
        """Seconds from the last of many writes until all are there."""
        for n in range(FILES):
            folder = self.src / f"d{n % 100}"
            folder.mkdir(exist_ok=True)
            (folder / f"f{n}").write_text(text)
        began = time.perf_counter()
        # Looking at all of them takes the service's processor from whoever
        # writes them: a few are looked at until they are there.
        some = [f"/app/d{n % 100}/f{n}" for n in [*range(0, FILES, FILES // 20), FILES - 1]]
        few = f"grep -l {text} {' '.join(some)} 2>/dev/null | wc -l"
        wanted = f"find /app -type f -exec grep -l {text} {{}} + | wc -l"
        while True:
            if self.inside(few) == str(len(some)) and self.inside(wanted) == str(FILES):
                return time.perf_counter() - began
            if time.perf_counter() - began > 120:
                raise SystemExit(f"only {self.inside(wanted)} of {FILES} files arrived")
            time.sleep(0.1)

    def inside(self, script):
        done = subprocess.run(
            [*self.command, "exec", "-T", "web", "sh", "-c", script],
            env=self.env, cwd=self.src.parent, capture_output=True, text=True,
        )
        return done.stdout.strip()

    def close(self):
        for process in (self.shown, self.watch):
            process.terminate()
            process.wait()
        subprocess.run(
            [*self.command, "down", "-v", "-t", "0"], env=self.env, cwd=self.src.parent, capture_output=True
        )


def measure(watched, report, rounds, who):
    """`watched` are projects by name, side by side."""
    for n in range(rounds * 4):
        for name, project in watched.items():
            report.add(f"h  a saved file is seen{name}", project.one(f"saved{n}"))
    # Who looks all the time has the service's processor to itself.
    for project in watched.values():
        project.save("end")
        project.shown.wait()
    for n in range(max(1, rounds // 2)):
        for name, project in watched.items():
            report.add(f"h  {FILES} changed files{name}", project.many(f"text{n}"))
    for name in list(report.rows):
        if name.startswith("h"):
            report.show(name)
    if who:
        report.ratio("a saved file, ours / Docker Compose", "h  a saved file is seen", f"h  a saved file is seen{who}")
