"""Prints what inotify(7) tells of a directory, a line for each thing that has
happened: `modify NAME`. Ends after it has told of the name `end`.

usage: inotify.py DIRECTORY READY     READY is made when everything is watched
"""
import ctypes
import os
import struct
import sys

BITS = {
    0x2: "modify",
    0x4: "attrib",
    0x8: "close_write",
    0x40: "moved_from",
    0x80: "moved_to",
    0x100: "create",
    0x200: "delete",
}

libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init()
if libc.inotify_add_watch(fd, sys.argv[1].encode(), sum(BITS)) < 0:
    sys.exit(f"inotify_add_watch: {os.strerror(ctypes.get_errno())}")
open(sys.argv[2], "w").close()
ended = False
while not ended:
    events = os.read(fd, 1 << 16)
    while events:
        _, mask, _, length = struct.unpack("iIII", events[:16])
        name = events[16 : 16 + length].rstrip(b"\0").decode()
        for bit, word in BITS.items():
            if mask & bit:
                print(word, name, flush=True)
        ended |= name == "end"
        events = events[16 + length :]
