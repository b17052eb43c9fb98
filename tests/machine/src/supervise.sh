#!/bin/sh
# Runs one machine, and leaves nothing behind when its owner closes standard
# input or dies, however it dies.
#
#   supervise run DIRECTORY ROOT NETWORK [systemd-nspawn's own arguments...]
#   supervise sweep DIRECTORY        removes what a dead supervisor left
#
# NETWORK is `host`, or the machine's address and its neighbour's, as in
# 192.0.2.10,192.0.2.1, or `of PID`: the network that this process is in, or `at PID ADDRESS`: on a
# switch in that network, to which the wire of the machine that has made it is moved.
#
# The machine has namespaces of its own for processes, mounts and networks: when
# their first process goes, whatever the reason, the kernel ends all the others
# and unmounts the overlay. Nothing is ever mounted in the host's namespace.
set -eu

verb=$1 directory=$2

# A cgroup of its own: the machine's systemd takes it for the root of all.
name="covalent-test-${directory##*/}"
cgroup="$(findmnt --first-only --noheadings --output TARGET --types cgroup2)/$name"

remove() {
    if [ -e "$cgroup/cgroup.kill" ]; then echo 1 >"$cgroup/cgroup.kill"; fi
    # Busy until its last process is gone. On a host with the old hierarchies
    # too, nspawn has made a second one of the same name.
    attempt=0
    while [ -n "$(cgroups)" ] && [ "$attempt" -lt 100 ]; do
        cgroups | while read -r tree; do
            find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        attempt=$((attempt + 1))
        sleep 0.05
    done
    rm -rf --one-file-system "$directory"
}

cgroups() {
    find /sys/fs/cgroup -maxdepth 2 -type d -name "$name"
}

if [ "$verb" = sweep ]; then
    remove
    exit
fi

root=$3 network=$4
shift 4

# While this lock is held nobody sweeps the directory.
exec 9<"$directory/lock"
flock --shared 9

mkdir "$cgroup"

# shellcheck disable=SC2016  # expanded by the inner shell
machine='
    directory=$1 root=$2 network=$3
    shift 3
    trap "touch \"$directory/ended\"" EXIT
    mount -t overlay overlay "$directory/root" \
        -o "lowerdir=$root,upperdir=$directory/upper,workdir=$directory/work,volatile" || {
            echo "target/ must be on a disk (ext4, xfs, btrfs) or a tmpfs, not on an overlay itself"
            exit 1
        }
    # nspawn keeps its own records here; they vanish with the namespace.
    mkdir -p /run/systemd/nspawn /run/netns
    mount -t tmpfs tmpfs /run/systemd/nspawn
    if [ "$network" = own ]; then
        set -- --capability=CAP_NET_ADMIN "$@"
    elif [ "${network#at }" != "$network" ]; then
        address=${network##* }
        mount -t tmpfs tmpfs /run/netns
        ip netns add machine
        if ip link add switch type bridge 2>/dev/null; then
            neighbour=$(ip -4 -oneline address show dev wire | sed "s/.*inet //; s/ .*//")
            ip address delete "$neighbour" dev wire
            ip address add "$neighbour" dev switch
            ip link set wire master switch
            ip link set switch up
        fi
        ip link add "wire${address##*.}" type veth peer name eth0 netns machine
        ip link set "wire${address##*.}" master switch
        ip link set "wire${address##*.}" up
        ip -n machine address add "$address/24" dev eth0
        ip -n machine link set lo up
        ip -n machine link set eth0 up
        set -- --network-namespace-path=/run/netns/machine --capability=CAP_NET_ADMIN "$@"
    elif [ "$network" != host ]; then
        mount -t tmpfs tmpfs /run/netns
        ip netns add machine
        ip link add wire type veth peer name eth0 netns machine
        ip address add "${network#*,}/24" dev wire
        ip -n machine address add "${network%,*}/24" dev eth0
        ip link set lo up
        ip link set wire up
        ip -n machine link set lo up
        ip -n machine link set eth0 up
        set -- --network-namespace-path=/run/netns/machine --capability=CAP_NET_ADMIN "$@"
    fi
    while :; do
        status=0
        systemd-nspawn --directory="$directory/root" "$@" || status=$?
        # A reboot: EXIT_FORCE_RESTART, with --keep-unit. After a power cut the
        # file is there. Either way the same disk boots again.
        [ "$status" = 133 ] || rm "$directory/again" 2>/dev/null || exit 0
    done
'
unshare_network=--net
join=
case $network in
    host) unshare_network="" ;;
    "of "*)
        unshare_network=""
        join="nsenter --net=/proc/${network#of }/ns/net --"
        network=own
        ;;
    "at "*)
        unshare_network=""
        join=${network#at }
        join="nsenter --net=/proc/${join% *}/ns/net --"
        ;;
esac
(
    echo 0 >"$cgroup/cgroup.procs"
    # shellcheck disable=SC2086  # words
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec $join setpriv --pdeathsig KILL \
        unshare --mount --propagation private --pid --mount-proc --fork --kill-child=KILL \
        ${unshare_network:+"$unshare_network"} \
        sh -euc "$machine" machine "$directory" "$root" "$network" "$@"
) </dev/null >"$directory/console.log" 2>&1 &
machine_pid=$!

cat >/dev/null || true

kill -KILL "$machine_pid" 2>/dev/null || true
# In braces: the shell would say "Killed".
{ wait "$machine_pid" || true; } 2>/dev/null
remove
