#!/bin/sh
# Says what the parts of the guest's kernel cost.
#
# usage: kernel/measure.sh
#
# x86_64 only; builds the kernel once more, in target/kernel-measure, for the
# object files are needed. Prints for each part the size of its code and data
# (nothing is a module: it is all in memory), and the guest instructions that
# its initcalls take at each boot: QEMU's `-icount` makes one instruction one
# tick of the guest's clock, and `initcall_debug` prints the ticks, so that
# machine and load do not matter.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work="$here/../target/kernel-measure"
source=$(ls /usr/src/linux-source-*.tar.xz | sort -V | tail -n 1)

# name | objects, by folder or file | initcalls, as an extended expression
parts() {
    cat <<'END'
ACPI|drivers/acpi drivers/pnp|acpi_.*|pnp.*|ged_driver_init
PCI|drivers/pci arch/x86/pci|pci_.*|pcibios.*
virtio|drivers/virtio drivers/block/virtio_blk.o drivers/net/virtio_net.o drivers/char/virtio_console.o drivers/char/hw_random|virtio_(blk|console|net|mmio|pci|mem|rng|balloon).*|hwrng_modinit
EROFS|fs/erofs lib/zstd|erofs_.*
ext4|fs/ext4 fs/jbd2|ext4_.*|journal_init|mbcache_init
overlayfs|fs/overlayfs|ovl_init
FUSE, virtiofs|fs/fuse|fuse_init|virtio_fs_init
9p|fs/9p net/9p fs/netfs|init_p9|init_v9fs|p9_virtio_init|netfs_init
inotify, fanotify|fs/notify|inotify_user_setup|fanotify_user_setup|dnotify_init
IPv4, TCP, UDP|net/ipv4|inet_init|sysctl_ipv4_init|inet_diag_init
IPv6|net/ipv6|inet6_init|sit_init
nftables, conntrack|net/netfilter net/ipv4/netfilter net/ipv6/netfilter|nf_.*|nfnetlink_init|nft_.*
bridge, veth, tun, dummy|net/bridge drivers/net/veth.o drivers/net/tun.o drivers/net/dummy.o|br_init|tun_init|dummy_init_module|veth_init
vsock|net/vmw_vsock|vsock_.*|virtio_vsock_init
queueing disciplines|net/sched|fq_.*|pktsched_init
BPF and its compiler|kernel/bpf arch/x86/net|bpf_.*
io_uring|io_uring|io_uring_init
control groups|kernel/cgroup mm/memcontrol.o mm/memcontrol-v1.o block/blk-cgroup.o|cgroup_.*|mem_cgroup_init
landlock and LSM hooks|security|landlock_init|init_root_keyring
huge pages, userfaultfd|mm/hugetlb.o mm/huge_memory.o mm/khugepaged.o fs/hugetlbfs fs/userfaultfd.o|hugetlb.*|hugepage_init|init_hugetlbfs_fs|userfaultfd_init
memory hot-plug, balloon|mm/memory_hotplug.o mm/balloon_compaction.o mm/page_reporting.o drivers/base/memory.o|memory_.*
serial ports|drivers/tty|serial.*|pty_init|.*8250.*
cryptography|crypto lib/crypto arch/x86/crypto|crypto_.*|af_alg_init|algif.*
names of symbols|kernel/kallsyms.o .tmp_vmlinux2.kallsyms.o|kallsyms_.*
END
}

init() {
    mkdir -p "$work/root/proc" "$work/root/dev"
    cat >"$work/init.c" <<'END'
#include <sys/reboot.h>
#include <unistd.h>
int main(void) {
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
END
    cc -static -Os -o "$work/root/init" "$work/init.c"
    (cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/init.cpio"
}

build() {
    mkdir -p "$work/src"
    cd "$work/src"
    [ -f Makefile ] || tar -xf "$source" --strip-components=1
    make -s ARCH=x86_64 allnoconfig >/dev/null
    cat "$here/config/common.config" "$here/config/x86_64.config" >>.config
    make -s ARCH=x86_64 olddefconfig >/dev/null 2>&1
    make -s -j"$(nproc)" ARCH=x86_64 vmlinux >"$work/build.log" 2>&1 || {
        tail -n 20 "$work/build.log" >&2
        exit 1
    }
}

# Name and thousands of instructions of each initcall; the last line is the
# start of the first process.
initcalls() {
    timeout 300 qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
        -machine microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on \
        -accel tcg -cpu max -icount shift=0,sleep=off -m 256M -serial stdio \
        -kernel "$work/src/vmlinux" -initrd "$work/init.cpio" \
        -append "ignore_loglevel initcall_debug log_buf_len=1M console=ttyS0 reboot=t panic=-1 \
tsc=reliable no_timer_check tsc_early_khz=1000000" </dev/null 2>"$work/qemu.log" |
        tr -d '\r' | sed -n -E \
            -e 's/.*initcall ([A-Za-z0-9_]+)\+.* after ([0-9]+) usecs.*/\1 \2/p' \
            -e 's/^\[ *([0-9]+)\.([0-9]+)\] Run \/init as init process/total \1\2/p'
}

size_of() { # folders and objects
    for place in "$@"; do
        if [ -d "$place" ]; then
            # What is linked from others is in them already.
            find "$place" -name '*.o' ! -name 'built-in.o' ! -name '*.mod.o'
        elif [ -f "$place" ]; then
            echo "$place"
        fi
    done | sort -u | xargs -r size | awk 'NR > 1 && $1 ~ /^[0-9]+$/ { sum += $4 } END { print int(sum / 1024) }'
}

init
build
initcalls >"$work/initcalls"
echo "| part | code and data, KiB | instructions at boot, thousand |"
echo "|---|---|---|"
parts | while IFS='|' read -r name objects calls; do
    thousand=$(awk -v calls="^(${calls})\$" '$1 ~ calls { sum += $2 } END { print sum + 0 }' "$work/initcalls")
    # shellcheck disable=SC2086
    echo "| $name | $(size_of $objects) | $thousand |"
done
awk '$1 != "total" { sum += $2 } $1 == "total" { total = $2 }
    END { printf "| all initcalls, of %d to `/init` | | %d |\n", total, sum }' "$work/initcalls"
