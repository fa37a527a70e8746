#!/usr/bin/env python3
"""Makes OCI images out of root file system archives, with the standard library.

usage: oci.py diff BASE.tar|- FULL.tar LAYER.tar.gz
           write what FULL has that BASE has not; `-` for no base
       oci.py tree DIR LAYER.tar.gz
           write a directory, every file owned by root
       oci.py image IMAGE.json LAYOUT LAYER.tar.gz...
           write an OCI layout, lowest layer first; print its manifest digest

The same input gives the same bytes: times come from SOURCE_DATE_EPOCH.
"""

import gzip
import hashlib
import json
import os
import platform
import shutil
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SKIPPED = ("dev/", "proc/", "sys/", "run/")


def name_of(member):
    """The path of an archive's member, relative to the root."""
    name = member.name
    return name[2:] if name.startswith("./") else name


def members(archive):
    """Everything that belongs into an image, by path."""
    found = {}
    for member in archive:
        name = name_of(member)
        if name in ("", ".") or name.startswith(SKIPPED):
            continue
        found[name] = member
    return found


def is_file(member):
    return member.isreg() or member.islnk()


def signature(archive, member):
    """What two members must share to be the same; content included."""
    content = ""
    if is_file(member):
        content = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
    xattrs = sorted(p for p in member.pax_headers.items() if p[0].startswith("SCHILY.xattr"))
    kind = tarfile.REGTYPE if is_file(member) else member.type
    link = member.linkname if member.issym() else ""
    return (kind, member.mode, member.uid, member.gid, link, content, xattrs)


class Layer:
    """A gzip-compressed tar archive that is the same for the same input."""

    def __init__(self, path):
        self.raw = open(path, "wb")
        self.gzip = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self.raw, mtime=0)
        self.tar = tarfile.open(mode="w", fileobj=self.gzip, format=tarfile.PAX_FORMAT)

    def add(self, member, data=None):
        member.uname = member.gname = ""
        member.mtime = int(min(member.mtime, EPOCH)) if EPOCH else int(member.mtime)
        member.pax_headers = {
            key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr")
        }
        self.tar.addfile(member, data)

    def close(self):
        self.tar.close()
        self.gzip.close()
        self.raw.close()


def parents(name):
    """`a`, `a/b` for `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def diff(base_path, full_path, out):
    base = {}
    if base_path != "-":
        with tarfile.open(base_path) as archive:
            base = {name: signature(archive, m) for name, m in members(archive).items()}
    layer = Layer(out)
    with tarfile.open(full_path) as archive:
        full = members(archive)
        changed = {n for n, m in full.items() if base.get(n) != signature(archive, m)}
        # A directory that a layer does not describe would get made-up
        # attributes, so every parent is described.
        wanted = changed | {p for name in changed for p in parents(name) if p in full}
        gone = [name for name in base if name not in full]
        tops = [name for name in gone if not any(p not in full for p in parents(name))]
        wanted |= {p for name in tops for p in parents(name)}
        written = set()
        for name, member in full.items():
            if name not in wanted:
                continue
            data = None
            if is_file(member):
                target = member.linkname.removeprefix("./")
                if member.islnk() and target not in written:
                    # What it links to stays in the base: carry the content.
                    data = archive.extractfile(member)
                    member.size = archive.getmember(member.linkname).size
                    member.type = tarfile.REGTYPE
                elif member.isreg():
                    data = archive.extractfile(member)
                else:
                    member.linkname = target
            member.name = name
            written.add(name)
            layer.add(member, data)
        for name in sorted(tops):
            head, _, tail = name.rpartition("/")
            layer.add(tarfile.TarInfo(f"{head}/.wh.{tail}".lstrip("/")))
    layer.close()


def tree(directory, out):
    layer = Layer(out)
    root = Path(directory)
    inodes = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        member = layer.tar.gettarinfo(str(path), arcname=name)
        member.uid = member.gid = 0
        member.mtime = EPOCH
        # A checkout's umask must not show in the image.
        if member.isdir() and member.mode & 0o777 != 0o700:
            member.mode = member.mode & 0o7000 | 0o755
        elif member.isreg() or member.islnk():
            member.mode = 0o755 if member.mode & 0o100 else 0o644
        info = path.lstat()
        if path.is_file() and not path.is_symlink():
            first = inodes.setdefault(info.st_ino, name)
            if first != name:
                member.type, member.linkname, member.size = tarfile.LNKTYPE, first, 0
                layer.add(member)
                continue
            with path.open("rb") as data:
                layer.add(member, data)
            continue
        layer.add(member)
    layer.close()


def blob(layout, data):
    """Stores bytes; returns (digest, size)."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return f"sha256:{digest}", len(data)


def image(description, layout, layers):
    recipe = json.loads(Path(description).read_text())
    layout = Path(layout)
    shutil.rmtree(layout, ignore_errors=True)
    (layout / "blobs/sha256").mkdir(parents=True)
    descriptors, diff_ids = [], []
    for layer in layers:
        data = Path(layer).read_bytes()
        digest, size = blob(layout, data)
        diff_ids.append("sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest())
        descriptors.append({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest,
            "size": size,
        })
    created = datetime.fromtimestamp(EPOCH, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {
        "created": created,
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": recipe["config"],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": created, "created_by": "oci.py"} for _ in layers],
    }
    digest, size = blob(layout, json.dumps(config, indent=1).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": size,
        },
        "layers": descriptors,
    }
    digest, size = blob(layout, json.dumps(manifest, indent=1).encode())
    entry = {"mediaType": manifest["mediaType"], "digest": digest, "size": size}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    print(digest)


def main():
    match sys.argv[1:]:
        case ["diff", base, full, out]:
            diff(base, full, out)
        case ["tree", directory, out]:
            tree(directory, out)
        case ["image", description, layout, *layers] if layers:
            image(description, layout, layers)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
