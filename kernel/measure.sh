#!/bin/sh
# Says what each group of options costs: builds the kernel without it and
# compares.
#
# usage: kernel/measure.sh [NAME…]
#
#   NAME   groups to leave out, one at a time (default: all below)
#
# x86_64 only. Prints size of the stripped vmlinux, guest instructions from
# the first to /init (`-icount`: one instruction is one tick of the time stamp
# counter, so machine and load do not matter), and what /proc/meminfo shows
# there in a VM of 256 MiB. Some minutes a group; the build directory,
# target/kernel-measure, is kept so that a second call is quicker.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work="$here/../target/kernel-measure"
source=$(ls /usr/src/linux-source-*.tar.xz | sort -V | tail -n 1)

groups() {
    cat <<'END'
ipv6         IPV6
nftables     NETFILTER
bpf          BPF_SYSCALL
io_uring     IO_URING
psi          PSI
9p           NETWORK_FILESYSTEMS NET_9P
fuse         FUSE_FS
pci          PCI
acpi         ACPI
hotplug      MEMORY_HOTPLUG VIRTIO_MEM
lsm          SECURITY
bridge       BRIDGE VETH TUN DUMMY
hugepages    HUGETLBFS TRANSPARENT_HUGEPAGE
userfault    USERFAULTFD
accounting   TASKSTATS
packet       PACKET PACKET_DIAG
qdiscs       NET_SCHED
vsock        VSOCKETS
crypto-api   CRYPTO_USER_API_HASH CRYPTO_USER_API_SKCIPHER
ikconfig     IKCONFIG
kallsyms     KALLSYMS
mitigations  CPU_MITIGATIONS
END
}

init() {
    mkdir -p "$work/root/proc" "$work/root/dev"
    cat >"$work/init.c" <<'END'
#include <fcntl.h>
#include <sys/mount.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/reboot.h>
int main(void) {
    unsigned lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    mount("proc", "/proc", "proc", 0, 0);
    mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
    char text[4096];
    int memory = open("/proc/meminfo", O_RDONLY), console = open("/dev/console", O_WRONLY);
    ssize_t length = read(memory, text, sizeof text);
    dprintf(console, "TICKS %llu\n", (unsigned long long)hi << 32 | lo);
    write(console, text, length);
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
END
    cc -static -Os -o "$work/root/init" "$work/init.c"
    (cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/init.cpio"
}

measure() { # vmlinux
    timeout 120 qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
        -machine microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on \
        -accel tcg -cpu max -icount shift=0,sleep=off -m 256M -serial stdio \
        -kernel "$1" -initrd "$work/init.cpio" \
        -append "quiet console=ttyS0 reboot=t panic=-1 tsc=reliable no_timer_check tsc_early_khz=1000000" \
        </dev/null | tr -d '\r' | awk '
            /^TICKS/ { ticks = $2 }
            /^MemTotal/ { total = $2 }
            /^MemFree/ { free = $2 }
            END { print ticks, total, free }'
}

build() { # name, options to leave out
    name=$1; shift
    out="$work/$name.vmlinux"
    if [ ! -f "$out" ]; then
        make -s ARCH=x86_64 allnoconfig >/dev/null
        cat "$here/config/common.config" "$here/config/x86_64.config" >>.config
        for option in "$@"; do echo "CONFIG_$option=n" >>.config; done
        make -s ARCH=x86_64 olddefconfig >/dev/null 2>&1
        for option in "$@"; do
            ! grep -q "^CONFIG_$option=y" .config || echo "$name: CONFIG_$option stays" >&2
        done
        make -s -j"$(nproc)" ARCH=x86_64 vmlinux >"$work/$name.log" 2>&1 || {
            echo "$name: it does not build; $work/$name.log" >&2
            return 0
        }
        strip -g -o "$out" vmlinux
    fi
    set -- $(measure "$out")
    echo "$name $(stat -c %s "$out") ${1:-0} ${2:-0} ${3:-0}"
}

compare() {
    awk '
        NR == 1 { size = $2; ticks = $3; total = $4; free = $5
            printf "everything: %.1f MB, %.1f million instructions, %d KiB used by the kernel\n\n", size / 1e6, ticks / 1e6, 262144 - free
            print "| group | file, KiB | instructions, million | memory, KiB |"; print "|---|---|---|---|"; next }
        $3 == 0 { printf "| %s | %d | does not boot | |\n", $1, (size - $2) / 1024; next }
        { printf "| %s | %d | %.1f | %d |\n", $1, (size - $2) / 1024, (ticks - $3) / 1e6, $5 - free }'
}

mkdir -p "$work/src"
init
cd "$work/src"
[ -f Makefile ] || tar -xf "$source" --strip-components=1
wanted=" $* "
{
    build everything
    groups | while read -r name options; do
        case $wanted in
            "  " | *" $name "*) build "$name" $options ;;
        esac
    done
} | tee "$work/results" | compare
