# Functions for the scripts of the case drbd.

# Writes 64 blocks that nobody has written before, behind as many that were.
write() {
    timeout 30 dd if=/dev/urandom of=/dev/volume bs=4k seek=$((1024 + $1 * 64)) count=64 \
        oflag=direct conv=notrunc,fsync status=none
}

read_back() {
    timeout 30 dd if=/dev/volume of=/run/read bs=4k skip=$((1024 + $1 * 64)) count=64 \
        iflag=direct status=none
}

# Not on a Secondary, whose device is empty or cannot be opened.
first_sector() {
    [ "$(dd if=/dev/volume count=1 | wc -c)" = 512 ]
}

# Somebody who writes blocks here and there: begins, is seen to write more, ends without an error.
writer() {
    case $1 in
    begin)
        rm -f /run/writer.*
        : >/run/writer.count
        write_on >/run/writer.log 2>&1 </dev/null &
        echo $! >/run/writer.pid
        writer more
        ;;
    more)
        local wanted=$(($(wc -l </run/writer.count) + 10))
        for _ in {1..400}; do
            [ "$(wc -l </run/writer.count)" -ge $wanted ] && return
            sleep 0.1
        done
        cat /run/writer.log
        return 1
        ;;
    end)
        touch /run/writer.stop
        for _ in {1..400}; do
            kill -0 "$(cat /run/writer.pid)" 2>/dev/null || break
            sleep 0.1
        done
        [ ! -e /run/writer.failed ]
        ;;
    esac
}

write_on() {
    while [ ! -e /run/writer.stop ]; do
        dd if=/dev/urandom of=/dev/volume bs=4k seek=$((RANDOM % 1024)) count=1 \
            oflag=direct conv=notrunc status=none || { touch /run/writer.failed; return; }
        echo >>/run/writer.count
    done
}
