#!/bin/sh
# Makes the image's tree out of the host's static busybox.
#
# usage: tree.sh ROOT
set -eu
if ldd /bin/busybox >/dev/null 2>&1; then
    echo "/bin/busybox is not static: install Debian's busybox-static" >&2
    exit 1
fi
cd "$1"
mkdir -p bin dev etc home proc root sys tmp usr/bin usr/sbin var/www
ln -s bin sbin
chmod 1777 tmp
chmod 700 root
cp /bin/busybox bin/busybox
bin/busybox --list-full | while read -r applet; do
    case ${applet##*/} in
        busybox) continue ;;
    esac
    mkdir -p "$(dirname "$applet")"
    [ -e "$applet" ] || ln bin/busybox "$applet"
done
cat > etc/passwd <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
PASSWD
cat > etc/group <<'GROUP'
root:x:0:
daemon:x:1:
www-data:x:33:
nogroup:x:65534:
GROUP
