"""What POSIX promises about files, checked in a directory.

usage: posix.py DIRECTORY [volume]

Run as root in the guest. With `volume`, owners, devices and every kind of
file must be kept; on a bind mount they are the host's business.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import sys
import time

CHECKS = []
libc = ctypes.CDLL(None, use_errno=True)


def check(function):
    CHECKS.append(function)
    return function


def refused(code, act, *args):
    try:
        act(*args)
    except OSError as error:
        assert error.errno == code, (errno.errorcode[error.errno], errno.errorcode[code])
    else:
        raise AssertionError(f"not refused with {errno.errorcode[code]}")


def write(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


@check
def rename_replaces(_):
    write("a", b"new")
    write("b", b"old")
    held = open("b", "rb")
    os.rename("a", "b")
    assert read("b") == b"new" and held.read() == b"old"
    assert not os.path.exists("a")
    refused(errno.ENOENT, os.rename, "a", "b")


@check
def rename_of_directories(_):
    os.makedirs("d/e")
    write("d/e/f", b"x")
    held = os.open("d/e", os.O_RDONLY)
    os.rename("d", "g")
    assert read("g/e/f") == b"x"
    assert os.listdir(held) == ["f"]
    os.mkdir("full")
    write("full/x")
    refused(errno.ENOTEMPTY, os.rename, "g", "full")
    refused(errno.EINVAL, os.rename, "g", "g/e/g")
    refused(errno.ENOTEMPTY, os.rmdir, "full")
    os.mkdir("empty")
    os.rename("g", "empty")
    assert read("empty/e/f") == b"x"


@check
def rename_flags(_):
    write("one", b"1")
    write("two", b"2")
    AT, NOREPLACE, EXCHANGE = -100, 1, 2

    def renameat2(old, new, flags):
        if libc.renameat2(AT, old.encode(), AT, new.encode(), flags):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    refused(errno.EEXIST, renameat2, "one", "two", NOREPLACE)
    renameat2("one", "two", EXCHANGE)
    assert read("one") == b"2" and read("two") == b"1"
    with open("one", "ab") as file:
        file.write(b"!")
    assert read("one") == b"2!" and read("two") == b"1"


@check
def hard_links(_):
    write("a", b"x")
    os.link("a", "b")
    one, two = os.stat("a"), os.stat("b")
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    with open("b", "ab") as file:
        file.write(b"y")
    assert read("a") == b"xy"
    os.unlink("a")
    assert read("b") == b"xy" and os.stat("b").st_nlink == 1
    refused(errno.EEXIST, os.link, "b", "b")
    os.mkdir("d")
    refused(errno.EPERM, os.link, "d", "e")


@check
def symbolic_links(volume):
    for target in ["nowhere/at/all", "/etc/hostname", "../../..", "a b\tc", "x" * 1000]:
        os.symlink(target, "l")
        assert os.readlink("l") == target
        assert os.lstat("l").st_size == len(target)
        assert stat.S_ISLNK(os.lstat("l").st_mode)
        os.unlink("l")
    os.symlink("loop", "loop")
    refused(errno.ELOOP, open, "loop")
    if volume:
        os.chown("loop", 12, 34, follow_symlinks=False)
        assert os.lstat("loop").st_uid == 12
    os.symlink("/etc/hostname", "host")
    assert read("host") == read("/etc/hostname")


@check
def files_without_a_name(_):
    file = open("a", "w+b")
    file.write(b"still here")
    file.flush()
    os.unlink("a")
    assert os.fstat(file.fileno()).st_nlink == 0
    file.seek(0)
    assert file.read() == b"still here"
    os.ftruncate(file.fileno(), 3)
    os.fchmod(file.fileno(), 0o600)
    assert os.fstat(file.fileno()).st_size == 3
    write("a", b"another")
    file.seek(0)
    assert file.read() == b"sti" and read("a") == b"another"


@check
def appending(_):
    write("a", b"1")
    one, two = (os.open("a", os.O_WRONLY | os.O_APPEND) for _ in range(2))
    for n in range(10):
        os.write((one, two)[n % 2], b"%d" % n)
    os.lseek(one, 0, os.SEEK_SET)
    os.write(one, b"e")
    assert read("a") == b"10123456789e"


@check
def holes_and_sizes(_):
    with open("a", "w+b") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.flush()
        assert os.fstat(file.fileno()).st_blocks < 1 << 12
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 1 << 30
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0
        file.truncate(1 << 31)
        assert os.stat("a").st_size == 1 << 31
        os.posix_fallocate(file.fileno(), 0, 1 << 16)
        assert os.fstat(file.fileno()).st_blocks >= 128
    os.truncate("a", 5)
    assert read("a") == b"\0" * 5


@check
def large_writes(_):
    data = os.urandom(5 << 20)
    write("a", data)
    assert read("a") == data
    with open("a", "r+b") as file:
        file.seek(12345)
        file.write(b"#" * 54321)
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    data = data[:12345] + b"#" * 54321 + data[12345 + 54321:]
    assert read("a") == data


@check
def shared_mappings(_):
    write("a", b"." * 10000)
    with open("a", "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as view:
            view[5000:5005] = b"hello"
            view.flush()
            assert read("a")[5000:5005] == b"hello"
            file.seek(9000)
            file.write(b"back")
            file.flush()
            assert view[9000:9004] == b"back"
    with open("a", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        os.unlink("a")
        assert view[5000:5005] == b"hello"


@check
def extended_attributes(volume):
    write("a")
    os.setxattr("a", "user.one", b"1")
    os.setxattr("a", "user.long", b"x" * 2000)
    assert os.getxattr("a", "user.long") == b"x" * 2000
    assert sorted(os.listxattr("a")) == ["user.long", "user.one"]
    refused(errno.EEXIST, os.setxattr, "a", "user.one", b"", os.XATTR_CREATE)
    refused(errno.ENODATA, os.setxattr, "a", "user.two", b"", os.XATTR_REPLACE)
    os.removexattr("a", "user.one")
    refused(errno.ENODATA, os.getxattr, "a", "user.one")
    # CAP_SETFCAP is among a service's capabilities: no host user has it.
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr("a", "security.capability", capability)
    assert os.getxattr("a", "security.capability") == capability
    # What is kept of the file's owner is not to be seen.
    os.chown("a", 7, 7)
    assert sorted(os.listxattr("a")) == ["user.long"]


@check
def capabilities_of_new_files(_):
    name, capability = "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    file = os.open("a", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    refused(errno.ENODATA, os.getxattr, "a", name)
    # Whoever writes takes it away: also from a file that had none a moment ago.
    for act in [lambda: os.write(file, b"x"), lambda: os.chown("a", 7, 7)]:
        os.setxattr("a", name, capability)
        assert os.getxattr("a", name) == capability
        act()
        refused(errno.ENODATA, os.getxattr, "a", name)
    os.setxattr("a", name, capability)
    os.removexattr("a", name)
    refused(errno.ENODATA, os.getxattr, "a", name)


@check
def files_that_must_be_new(_):
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    write("file")
    os.mkdir("dir")
    os.symlink("nowhere", "link")
    for name in ["file", "dir", "link", "file"]:
        refused(errno.EEXIST, os.open, name, new)
    refused(errno.ENOENT, os.open, "none/a", new)
    # Once as a name that was never asked for, once as one that was not there.
    for name in ["fresh", "known"]:
        assert name == "fresh" or not os.path.exists(name)
        os.write(os.open(name, new), b"1")
        assert read(name) == b"1" and name in os.listdir()
        refused(errno.EEXIST, os.open, name, new)
        os.unlink(name)
        assert not os.path.exists(name)
    os.chmod(".", 0o555)
    os.seteuid(1000)
    refused(errno.EACCES, os.open, "denied", new)
    os.seteuid(0)
    # Of several that make a name at once one has it.
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            made = 0
            for n in range(20):
                try:
                    os.close(os.open(f"race-{n}", new))
                    made += 1
                except FileExistsError:
                    pass
            os._exit(made)
        children.append(child)
    made = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sum(made) == 20, made


@check
def a_directorys_mode_after_a_change_in_it(volume):
    os.mkdir("d")
    before = os.stat("d")
    write("d/a")
    os.chmod("d", 0o700)
    write("d/b")
    os.mkdir("d/e")
    after = os.stat("d")
    assert stat.S_IMODE(after.st_mode) == 0o700 and after.st_nlink == before.st_nlink + 1
    assert after.st_mtime_ns >= before.st_mtime_ns
    # The files of a bind mount belong to whoever looks.
    if volume:
        os.seteuid(1000)
        refused(errno.EACCES, os.stat, "d/a")
        os.seteuid(0)


@check
def owners_and_modes(volume):
    write("a")
    os.chown("a", 999, 998)
    found = os.stat("a")
    assert (found.st_uid, found.st_gid) == (999, 998)
    for mode in [0o4755, 0o2755, 0o1777, 0o640, 0]:
        os.chmod("a", mode)
        assert stat.S_IMODE(os.stat("a").st_mode) == mode, oct(os.stat("a").st_mode)
    os.chmod("a", 0o6755)
    os.chown("a", 5, 5)
    assert stat.S_IMODE(os.stat("a").st_mode) == 0o755
    os.mkdir("d", 0o700)
    os.chown("d", 1000, 1000)
    assert os.stat("d").st_uid == 1000
    old = os.umask(0o027)
    write("masked")
    os.umask(old)
    assert stat.S_IMODE(os.stat("masked").st_mode) == 0o640


@check
def permissions_hold(_):
    write("a", b"secret")
    os.chown("a", 1000, 1000)
    os.chmod("a", 0o600)
    os.chmod(".", 0o755)

    def as_user(uid, act):
        child = os.fork()
        if child == 0:
            try:
                os.setgid(uid)
                os.setuid(uid)
                act()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
            finally:
                os._exit(255)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert as_user(1000, lambda: open("a", "r+")) == 0
    assert as_user(1001, lambda: open("a")) == errno.EACCES
    assert as_user(1001, lambda: os.chmod("a", 0o666)) == errno.EPERM
    os.mkdir("any", 0o777)
    os.chmod("any", 0o777)
    assert as_user(1001, lambda: write("any/b", b"x")) == 0
    os.chown("a", 1000, 1000)
    os.chmod("a", 0o4777)
    assert as_user(1001, lambda: write("a", b"x")) == 0
    assert stat.S_IMODE(os.stat("a").st_mode) == 0o777


@check
def special_files(volume):
    os.mkfifo("pipe", 0o600)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    child = os.fork()
    if child == 0:
        write("pipe", b"through")
        os._exit(0)
    assert read("pipe") == b"through"
    os.waitpid(child, 0)
    import socket

    server = socket.socket(socket.AF_UNIX)
    server.bind("sock")
    server.listen()
    assert stat.S_ISSOCK(os.stat("sock").st_mode)
    client = socket.socket(socket.AF_UNIX)
    client.connect("sock")
    client.send(b"hi")
    assert server.accept()[0].recv(9) == b"hi"
    if volume:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        found = os.stat("null")
        assert stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)
    else:
        refused(errno.EPERM, os.mknod, "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))


@check
def names(_):
    for name in ["A", "a", "ä", "a\nb", "..a", "...", "-", "x" * 255, b"\xff\xfe"]:
        write(name, os.fsencode(name))
    assert len(os.listdir(".")) == 9
    assert read("A") == b"A" and read("a") == b"a" and read(b"\xff\xfe") == b"\xff\xfe"
    refused(errno.ENAMETOOLONG, open, "x" * 256, "w")
    refused(errno.EEXIST, os.mkdir, "a")
    refused(errno.ENOTDIR, open, "a/b")
    refused(errno.EISDIR, os.open, ".", os.O_WRONLY)
    refused(errno.EEXIST, os.open, "a", os.O_CREAT | os.O_EXCL)


@check
def deep_directories(_):
    top = os.open(".", os.O_RDONLY)
    for n in range(60):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    write("bottom", b"here")
    assert read("bottom") == b"here"
    os.rename("bottom", "down")
    os.fchdir(top)


@check
def many_entries(_):
    os.mkdir("many")
    for n in range(3000):
        os.close(os.open(f"many/{n}", os.O_CREAT | os.O_WRONLY))
    assert sorted(map(int, os.listdir("many"))) == list(range(3000))
    with os.scandir("many") as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert os.listdir("many") == []


@check
def times(_):
    write("a")
    os.utime("a", ns=(1_000_000_001, 2_000_000_002))
    found = os.stat("a")
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    before = time.time() - 5
    os.utime("a")
    assert os.stat("a").st_mtime > before
    os.symlink("a", "l")
    os.utime("l", ns=(5, 7), follow_symlinks=False)
    assert os.lstat("l").st_mtime_ns == 7 and os.stat("a").st_mtime > before


def child_with(act):
    """Runs it in a child; gives a function that ends it."""
    ready, told = os.pipe()
    stop, ended = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        act()
        os.write(told, b"x")
        os.read(stop, 1)
        os._exit(0)
    os.close(told), os.close(stop)
    assert os.read(ready, 1) == b"x"

    def end():
        os.close(ended)
        os.waitpid(child, 0)

    return end


@check
def flock_between_processes(_):
    write("a")
    end = child_with(lambda: fcntl.flock(os.open("a", os.O_RDWR), fcntl.LOCK_EX))
    mine = os.open("a", os.O_RDWR)
    refused(errno.EAGAIN, fcntl.flock, mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    refused(errno.EAGAIN, fcntl.flock, mine, fcntl.LOCK_SH | fcntl.LOCK_NB)
    end()
    fcntl.flock(mine, fcntl.LOCK_EX)
    fcntl.flock(mine, fcntl.LOCK_SH)
    other = os.open("a", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    refused(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@check
def record_locks(_):
    write("a", b"0" * 100)
    held = os.open("a", os.O_RDWR)
    end = child_with(lambda: fcntl.lockf(os.open("a", os.O_RDWR), fcntl.LOCK_EX, 10, 20))
    fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 0)
    fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 30)
    refused(errno.EAGAIN, fcntl.lockf, held, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 29)
    refused(errno.EAGAIN, fcntl.lockf, held, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 20)
    packed = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    found = struct.unpack("hhqqi4x", fcntl.fcntl(held, fcntl.F_GETLK, packed))
    assert found[0] == fcntl.F_WRLCK and found[2:4] == (20, 10), found
    # Closing any descriptor of the file gives up the process's locks.
    os.close(os.open("a", os.O_RDONLY))
    end()
    fcntl.lockf(held, fcntl.LOCK_EX, 0, 0)

    def lock():
        fcntl.lockf(os.open("a", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)

    child_with(lambda: refused(errno.EAGAIN, lock))()
    os.close(os.open("a", os.O_RDONLY))
    child_with(lock)()


@check
def a_lock_that_is_waited_for(_):
    write("a")
    begun = time.time()
    child = os.fork()
    mine = os.open("a", os.O_RDWR)
    if child == 0:
        fcntl.flock(os.open("a", os.O_RDWR), fcntl.LOCK_EX)
        write("locked")
        time.sleep(0.5)
        os._exit(0)
    while not os.path.exists("locked"):
        time.sleep(0.01)
    fcntl.flock(mine, fcntl.LOCK_EX)
    assert time.time() - begun > 0.4
    os.waitpid(child, 0)


def main():
    top = os.path.abspath(sys.argv[1])
    volume = "volume" in sys.argv[2:]
    only = [word for word in sys.argv[2:] if word != "volume"]
    failed = 0
    for number, function in enumerate(CHECKS):
        if only and function.__name__ not in only:
            continue
        place = os.path.join(top, f"posix-{number}")
        os.mkdir(place)
        os.chdir(place)
        try:
            function(volume)
            print(f"ok {function.__name__}", flush=True)
        except BaseException as error:
            failed += 1
            frame = error.__traceback__
            while frame.tb_next:
                frame = frame.tb_next
            said = f"{type(error).__name__} {error} (line {frame.tb_lineno})"
            print(f"FAILED {function.__name__}: {said}", flush=True)
        os.chdir(top)
    print(f"{failed} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
