"""A Docker Engine for the time of a benchmark: own data, own socket, own
network namespace, ended with it."""
import os
import pathlib
import shutil
import subprocess
import time


def compose():
    """The command of Docker Compose, if there is one."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True) if shutil.which("docker") else None
    return ["docker", "compose"] if plugin and plugin.returncode == 0 else None


def missing():
    """Why no engine can be started here; None when it can."""
    if os.geteuid() != 0:
        return "starting a Docker Engine needs root (or give --docker SOCKET)"
    absent = [name for name in ("dockerd", "unshare", "skopeo") if not shutil.which(name)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return None if compose() else "Docker Compose is not installed"


class Engine:
    """Starts `dockerd`; `socket` is where it listens."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder) / "docker"
        self.dir.mkdir()
        self.socket = self.dir / "docker.sock"
        self.log = open(self.dir / "log", "wb")
        options = [
            "--data-root", self.dir / "data", "--exec-root", self.dir / "exec",
            "--pidfile", self.dir / "pid", "--host", f"unix://{self.socket}",
        ]
        script = 'ip link set lo up; exec dockerd "$@"'
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script, "sh", *map(str, options)],
            stdout=self.log, stderr=self.log,
        )
        for _ in range(300):
            if self.client("version").returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        said = (self.dir / "log").read_text()[-2000:]
        self.close()
        raise SystemExit(f"the Docker Engine does not start:\n{said}")

    def client(self, *args):
        env = dict(os.environ, DOCKER_HOST=f"unix://{self.socket}")
        return subprocess.run(["docker", *args], env=env, capture_output=True)

    def load(self, image, name):
        """Takes an image out of a registry, which the engine cannot reach."""
        archive = self.dir / "image.tar"
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"docker-archive:{archive}:{name}"],
            check=True,
        )
        done = self.client("load", "-i", str(archive))
        archive.unlink()
        if done.returncode != 0:
            raise SystemExit(f"the Docker Engine does not take the image: {done.stderr.decode()}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
