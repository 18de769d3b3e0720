#!/bin/sh
# target.sh TEMP FOLDER PORT: an iSCSI target of tgtd's with a disk, a tape and a changer, until it is ended.
#
# The folder image beside it has the programs and their libraries. TEMP/ready is there when the target is.
set -eu
image=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/image
temp=$1 folder=$2 port=$3
LD_LIBRARY_PATH=$(echo "$image"/usr/lib/*-linux-gnu)
TGT_IPC_SOCKET=$temp/tgt
export LD_LIBRARY_PATH TGT_IPC_SOCKET
cd "$folder"

admin() {
    "$image/usr/sbin/tgtadm" --lld iscsi "$@"
}
unit() {
    admin --op update --mode logicalunit --tid 1 --lun "$@"
}
set_up() {
    tries=200
    until [ -S "$TGT_IPC_SOCKET.0" ] && admin --op show --mode target >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
    admin --op new --mode target --tid 1 --targetname iqn.2000-01.stand:target
    truncate -s 64M reserved.img
    admin --op new --mode logicalunit --tid 1 --lun 1 --backing-store "$folder/reserved.img"
    "$image/usr/sbin/tgtimg" --op new --device-type tape --barcode STAND001 --size 64 --type data --file tape.img
    admin --op new --mode logicalunit --tid 1 --lun 2 --device-type tape --backing-store "$folder/tape.img"
    mkdir -p media
    truncate -s 1M changer.img
    admin --op new --mode logicalunit --tid 1 --lun 3 --device-type changer --backing-store "$folder/changer.img"
    unit 3 --params "removable=1,media_home=$folder/media"
    unit 3 --params element_type=1,start_address=1,quantity=1
    unit 3 --params element_type=2,start_address=1000,quantity=4
    unit 3 --params element_type=4,start_address=500,quantity=1
    unit 3 --params element_type=4,address=500,tid=1,lun=2
    unit 3 --params element_type=2,address=1000,barcode=STAND002,sides=1
    admin --op bind --mode target --tid 1 --initiator-address ALL
    : >"$temp/ready"
}
set_up </dev/null &
exec "$image/usr/sbin/tgtd" --foreground --iscsi "portal=127.0.0.1:$port"
