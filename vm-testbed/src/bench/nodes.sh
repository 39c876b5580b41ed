# Both nodes of a pair on this one machine: two tandemds with folders of their own, or two resources
# of the kernel's DRBD that are each other's peer. `$software` says which, `$tandemd` and
# `$tandemadm` are programs. Node a is the Primary.

# The administration of node $1, a or b.
adm() {
    local node=$1
    shift
    case $software in
    tandem) "$tandemadm" --node "$node" --run-dir "/run/$node" -c /etc/both.res "$@" ;;
    drbd) drbdadm -c "/etc/$node.res" "$@" ;;
    esac
}

# Configures nodes on the disks $1 and $2 with metadata on $3 and $4.
configure() {
    mkdir -p /run/lock /var/lib/drbd /run/a /run/b
    # Resyncs are as fast as they can be: tandem's are by themselves.
    local more=""
    [ "$software" = tandem ] || more="max-buffers 8000;"
    local common="global { usage-count no; }
        common { net { protocol C; $more }
        disk { resync-rate 4G; c-plan-ahead 0; c-min-rate 0; } }"
    host() { echo "on $1 { address 127.0.0.1:$2; volume 0 { device minor $3; disk $4; meta-disk $5; } }"; }
    case $software in
    tandem)
        modprobe nbd
        printf '[nbd]\nkernel_attach = true\n' >/etc/tandemd.toml
        echo "$common resource r0 { $(host a 7789 0 "$1" "$3") $(host b 7790 1 "$2" "$4") }" >/etc/both.res
        ;;
    drbd)
        modprobe drbd
        # A resource for each node: this machine's name is in both, the peer's is nobody's.
        local here
        here=$(hostname)
        echo "$common resource r0 { $(host "$here" 7789 0 "$1" "$3") $(host peer 7790 0 "$1" "$3") }" >/etc/a.res
        echo "$common resource r1 { $(host "$here" 7790 1 "$2" "$4") $(host peer 7789 1 "$2" "$4") }" >/etc/b.res
        ;;
    esac
}

create_md() {
    yes yes | adm "$1" create-md all >/dev/null 2>&1
}

# Starts what runs; `adm NODE up all` comes behind it.
start() {
    [ "$software" = tandem ] || return 0
    setsid "$tandemd" --node "$1" --run-dir "/run/$1" -c /etc/both.res \
        --tandemd-config /etc/tandemd.toml >>"/run/$1/log" 2>&1 </dev/null &
    echo $! >"/run/$1/pid"
    until [ -e "/run/$1/ready" ]; do sleep 0.05; done
}

stop() {
    adm "$1" down all
    [ "$software" = tandem ] || return 0
    kill "$(<"/run/$1/pid")"
    while kill -0 "$(<"/run/$1/pid")" 2>/dev/null; do sleep 0.05; done
}

# Waits until both disks are good.
await_sync() {
    case $software in
    tandem) until [ "$(adm a dstate all)" = UpToDate/UpToDate ]; do adm a wait-sync all; sleep 0.01; done ;;
    drbd) until [[ $(</proc/drbd) = *" 0: cs:Connected "*UpToDate/UpToDate* ]]; do sleep 0.05; done ;;
    esac
}

# A pair in sync on ram disks.
begin() {
    ram_disks 2 256
    configure /dev/ram0 /dev/ram1 internal internal
    for node in a b; do
        create_md $node && start $node && adm $node up all
    done
    adm a primary --force all
    await_sync
}

# Ends it.
finish() {
    adm a secondary all
    stop a
    stop b
}

# $1 empty disks of $2 MiB, in memory as they are filled.
ram_disks() {
    rmmod brd 2>/dev/null || true
    modprobe brd rd_nr="$1" rd_size=$(($2 * 1024))
}

nanoseconds() { date +%s%N; }

# Megabytes of memory that are not in use.
available() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
    awk '/MemAvailable/ { print $2 / 1024 }' /proc/meminfo
}

# Requests done and microseconds that they took: fio, on what $1 says, with the other options.
load() {
    local on=$1
    shift
    case $on in
    socket) set -- --ioengine=nbd "--uri=nbd+unix:///r0/0?socket=/run/a/nbd.sock" "$@" ;;
    *) set -- --ioengine=io_uring --direct=1 "--filename=$on" "$@" ;;
    esac
    fio --name=load --size=200m --randseed=1 --minimal --terse-version=3 "$@" >/run/fio ||
        { cat /run/fio; return 1; }
    local bs
    for bs in "$@"; do [[ $bs = --bs=* ]] && break; done
    case $bs in *=4k) bs=4 ;; *=1m) bs=1024 ;; esac
    awk -F';' -v bs=$bs 'NF > 100 { print ($6 + $47) / bs, ($9 + $50) * 1000 }' /run/fio
}

# Functions in which `load` of the same arguments spends its instructions, in percent: the machine's
# clock counts them, and perf looks each 100000.
profile() {
    load "$@" >/dev/null
    echo 0 >/proc/sys/kernel/kptr_restrict
    # shellcheck disable=SC2016 # for the inner shell
    perf record -q -a -e cpu-clock -F 10000 -o /run/perf -- \
        bash -c '. /run/setting; load "$@"' load "$@"
    # Not what it takes to begin and to end.
    local report=(perf report -q --stdio -i /run/perf --time '60%-85%' --percent-limit 0.3)
    "${report[@]}" --fields overhead,comm,dso
    "${report[@]}" --fields overhead,comm,dso,sym
}

# Microseconds that a whole copy takes.
full_resync() {
    local began
    began=$(nanoseconds)
    adm b invalidate all
    await_sync
    echo $((($(nanoseconds) - began) / 1000))
}

# Microseconds in which a peer that was away has got every 20th block.
part_resync() {
    adm b disconnect all
    sleep 1
    load "$1" --rw=write:76k --bs=4k --number_ios=2560 >/dev/null
    local began
    began=$(nanoseconds)
    adm b connect all
    # In 8.4 a node whose peer has left in good order listens on; it is not told anew.
    sleep 0.01
    await_sync
    echo $((($(nanoseconds) - began) / 1000))
}

# Microseconds and megabytes of the first attach of $1 TiB, with metadata on $2; a disk in memory
# that is filled by it is among the megabytes, and so is the daemon.
attach() {
    modprobe dm-mod
    dmsetup create large --noudevsync --table "0 $(($1 << 31)) zero"
    dmsetup mknodes large
    configure /dev/mapper/large /dev/mapper/large "$2" "$2"
    local before began
    create_md a
    before=$(available)
    start a
    [ "$software" = drbd ] || adm a down all
    began=$(nanoseconds)
    adm a up all || return
    began=$((($(nanoseconds) - began) / 1000))
    adm a dstate all >&2
    echo $began "$(echo "$before $(available)" | awk '{ print $1 - $2 }')"
    stop a
    dmsetup remove --noudevsync large
}
