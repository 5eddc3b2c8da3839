# shellcheck shell=bash
# Functions with which ci/docker finds an engine, starts one, and waits for its end.
#
# The engine lives as long as a process holds the write end of the FIFO `hold`, as file descriptor 8:
# ci/docker, the command that it runs, and all processes that the command leaves behind. When the last of them
# has ended, even by SIGKILL, docker.d/init reads the FIFO's end and exits, and the kernel then ends all
# processes in its namespaces.

# shellcheck disable=SC2034,SC2154 # ci/docker reads some of them; `tools` and `root` come from ci/lib.sh.
place=$tools/docker engine="" mine=no holder=""

# answers HOST: succeeds if an engine answers; otherwise the error is in `said`.
answers() {
    said=$(DOCKER_HOST=$1 timeout 10 docker version --format '{{.Server.Version}}' 2>&1)
}

# provide_docker PROGRAM: puts it on PATH, from this machine or from Debian's packages.
provide_docker() {
    PATH=$PATH:/usr/sbin:/sbin
    if [[ -d $place/debian ]]; then unpacked_path; fi
    ! command -v "$1" >/dev/null || return 0
    mkdir -p "$tools/log"
    phase "Debian's docker.io, iptables and iproute2, unpacked into .tools/docker" unpack_docker || return
    unpacked_path
    command -v "$1" >/dev/null
}

unpacked_path() {
    PATH=$PATH:$place/debian/usr/sbin:$place/debian/usr/bin:$place/debian/sbin:$place/debian/bin
    libraries=$(echo "$place"/debian/usr/lib/*-linux-gnu)
}

# unpack_docker: unpacks the packages, and those of their dependencies that this machine lacks.
unpack_docker() {
    # shellcheck disable=SC2034 # apt_find sets it.
    local apt found deb
    apt_find docker.io "" || return
    rm -rf "$place/debian.new" "$tools"/debian/cache/archives/*.deb
    apt-get "${apt[@]}" install --download-only --yes --no-install-recommends \
        docker.io iptables iproute2 >"$tools/log/docker.log" 2>&1 || return
    for deb in "$tools"/debian/cache/archives/*.deb; do dpkg-deb -x "$deb" "$place/debian.new" || return; done
    rm -rf "$place/debian" "$tools"/debian/cache/archives/*.deb
    mv "$place/debian.new" "$place/debian"
}

# find_engine: sets DOCKER_HOST to an engine that answers. `engine` is set if this script started it.
find_engine() {
    local host hosts=()
    if started_engine; then return; fi
    if [[ -n ${DOCKER_HOST:-} ]]; then
        provide_docker docker || { why="there is no \`docker\` command, and Debian's packages cannot be had" && return 1; }
        answers "$DOCKER_HOST" || { why="no engine answers at DOCKER_HOST=$DOCKER_HOST: ${said##*$'\n'}" && return 1; }
        return
    fi
    for host in /var/run/docker.sock ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR/docker.sock"}; do
        if [[ -S $host ]]; then hosts+=("unix://$host"); fi
    done
    ((${#hosts[@]} > 0)) || return
    provide_docker docker || { why="there is no \`docker\` command, and Debian's packages cannot be had" && return 1; }
    for host in "${hosts[@]}"; do
        if answers "$host"; then export DOCKER_HOST=$host && return; fi
        why="the engine at $host does not answer: ${said##*$'\n'}"
    done
    return 1
}

# started_engine: finds the engine of `ci/docker start`, if it still runs.
started_engine() {
    local lines
    [[ -f $place/engine ]] || return
    mapfile -t lines <"$place/engine"
    engine=${lines[0]} holder=${lines[2]}
    provide_docker docker && answers "${lines[1]}" && export DOCKER_HOST=${lines[1]} && return
    engine=""
    return 1
}

# start_engine: sets `engine` to a process in its network and DOCKER_HOST to its socket.
start_engine() {
    local program start=$SECONDS state
    ((EUID == 0)) || { why="${why:+$why; }no engine answers here, and only root can start one" && return 1; }
    mkdir -p "$place" "$tools/log"
    for program in docker dockerd iptables ip; do
        # The packages bring `iptables` under another name; docker.d/init picks one.
        [[ $program != iptables ]] || program=xtables-nft-multi
        provide_docker "$program" || { why="there is no \`$program\`, and Debian's packages cannot be had (see .tools/log/docker.log)" && return 1; }
    done
    said=$(unshare --fork --pid --mount --mount-proc --net true 2>&1) ||
        { why="namespaces cannot be made here: ${said##*$'\n'}" && return 1; }
    exec 9>"$place/lock"
    flock -n 9 || { say "another ci/docker is at work here, waiting for it" && flock 9; }
    # Short, because a socket's path must be.
    state=$(mktemp -d /tmp/cim-docker.XXXXXX)
    mkfifo "$state/hold"
    exec 8<>"$state/hold"
    # In a session of its own, where no Ctrl-C reaches it.
    setsid unshare --fork --kill-child --pid --mount --mount-proc --net \
        "$root/ci/docker.d/init" "$state" "$place/data" "${libraries:-}" \
        <"$state/hold" >"$tools/log/dockerd.log" 2>&1 8>&- &
    engine=$! mine=yes
    exec 9>&-
    until answers "unix://$state/docker.sock"; do
        if ! kill -0 "$engine" 2>/dev/null || ((SECONDS - start > 60)); then
            why="dockerd does not start: $(tail -n 1 "$tools/log/dockerd.log") (see .tools/log/dockerd.log)"
            exec 8>&-
            wait_for_end
            return 1
        fi
        sleep 0.1
    done
    export DOCKER_HOST=unix://$state/docker.sock
    # The remains of an engine that was killed.
    sweep
    say "dockerd $said: started after $((SECONDS - start)) s, in namespaces of its own"
}

# sweep: removes everything but images. Only for an engine that this script started.
sweep() {
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes
    docker volume ls --quiet | xargs --no-run-if-empty docker volume rm --force
    docker network ls --quiet --filter type=custom | xargs --no-run-if-empty docker network rm
} >/dev/null 2>&1

# end_engine: ends an engine that this call started. The command's remaining processes may run a little longer.
end_engine() {
    sweep || true
    exec 8>&-
    wait_for_end
}

# wait_for_end: waits until the lock is free, when the last process of the engine has ended.
wait_for_end() {
    exec 9>"$place/lock"
    if ! flock -w 60 9; then
        say "something that was started with the engine does not end; the engine is killed"
        kill -KILL "$engine" 2>/dev/null || true
        flock -w 20 9 || say "the engine does not end"
    fi
    exec 9>&-
}
