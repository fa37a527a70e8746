# Runs programs from the directory $1, and says how often one did something else
# than the same program of the image. What it reads is read anew each time.
cp /bin/busybox "$1/busybox" || exit
seq 1 2000 > /tmp/numbers
other=0
for n in $(seq 15); do
    for what in 'sha256sum' 'sort -r' 'gzip -c' 'sed s/1/x/g' 'tar -cf -' 'wc'; do
        a=$("$1/busybox" $what /tmp/numbers 2>&1 | md5sum)
        b=$(/bin/busybox $what /tmp/numbers 2>&1 | md5sum)
        [ "$a" = "$b" ] || other=$((other + 1))
    done
done
echo "$other of 90"
