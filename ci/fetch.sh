# shellcheck shell=bash
# The ways in which ci/setup provides programs: a link to an installed one, `go install`, a Debian package
# unpacked, a Python environment.

# shellcheck disable=SC2154 # `tools` comes from ci/lib.sh.
bin=$tools/bin

# is_version PROGRAM MODULE VERSION: succeeds if the program is of this version. Go writes both into its
# programs, as text. A distribution's build lacks them and prints the version.
is_version() {
    local program=$1 module=$2 version=$3 path
    [[ -x $program ]] || return
    # The program's package lies in its module, or is all of it.
    for path in "$module" "${module%/*}" "${module%/*/*}"; do
        ! grep -aqF $'mod\t'"$path"$'\t'"$version"$'\t' "$program" || return 0
    done
    # Go knows no version of a program built from a copy of its module, except the one that the linker was given.
    ! grep -aqF "=$version" "$program" || return 0
    [[ $version != v0.0.0-* && $("$program" --version 2>/dev/null) =~ (^|[ v])"${version#v}"$ ]]
}

# provide NAME PREFIX PROGRAM: puts NAME into .tools/bin. PREFIX is that of its variables in
# ci/versions.sh; a PROGRAM that is named is used, whatever its version.
provide() {
    local name=$1 module=$2_module version=$2_version found
    module=${!module} version=${!version}
    if [[ -n $3 ]]; then
        [[ -x $3 ]] || fail "\`$3\`, which the environment names as $name, is not a program"
        [[ $bin/$name -ef $3 ]] || { ln -sfn "$(realpath "$3")" "$bin/$name" && say "$name: \`$3\`, as told"; }
        return
    fi
    ! is_version "$bin/$name" "$module" "$version" || return 0
    while read -r found; do
        if [[ $found -ef $bin/$name ]] || ! is_version "$found" "$module" "$version"; then continue; fi
        ln -sfn "$(realpath "$found")" "$bin/$name"
        say "$name $version: \`$found\`"
        return
    done < <(type -aP "$name" || true)
    go_install "$name" "$2" || fail "$name $version could not be built" \
        "it comes from the Go module proxy (\`go env GOPROXY\`): is that within reach?" \
        "or put $name $version on PATH by other means, then run ci/setup again"
}

# Without debug information Go compiles and links in less time, and programs are a third smaller.
go_flags=(-gcflags=all=-dwarf=false)

# go_install NAME PREFIX: builds into .tools/bin.
go_install() {
    local name=$1 module=$2_module version=$2_version go=$2_go seconds=$2_seconds ldflags=$2_ldflags
    module=${!module} version=${!version} ldflags=${!ldflags:-}
    local start=$SECONDS work=$tools/go/$name log=$tools/log/$name.log
    need_go "${!go}" "$name" || return
    say "$name $version: building $module from source, about ${!seconds} s on two cores …"
    rm -rf "$work"
    mkdir -p "$work"
    # Without cgo no C compiler is needed, and the program also runs in an empty container.
    ldflags+=" -s -w"
    if ! GOBIN=$work CGO_ENABLED=0 go install -ldflags "$ldflags" "${go_flags[@]}" "$module@$version" >"$log" 2>&1 &&
        ! { grep -q 'replace directives' "$log" && copy_build "$module" "$version" "$ldflags" "$work" >"$log" 2>&1; }; then
        tail -n 5 "$log" | sed 's/^/  /' >&2
        return 1
    fi
    mv -f "$work/$(basename "${module%/v[0-9]*}")" "$bin/$name"
    rm -rf "$work"
    say "$name $version: built after $((SECONDS - start)) s"
}

# copy_build MODULE VERSION LDFLAGS DIRECTORY: builds a module that replaces others from a copy of its own,
# because `go install` does not build such modules.
copy_build() {
    local module=$1 version=$2 ldflags=$3 work=$4 path dir
    path=${module%/*}
    dir=$(cd / && go mod download -json "$path@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') || return
    [[ -n $dir ]] || return
    cp -r "$dir" "$work/source" && chmod -R u+w "$work/source" || return
    (cd "$work/source" && CGO_ENABLED=0 go build -ldflags "$ldflags" "${go_flags[@]}" -o "$work/" "./${module##*/}")
}

# need_go VERSION FOR: fails without this Go or a newer one. From 1.21 on Go fetches a newer one by itself, if allowed.
need_go() {
    local have
    command -v go >/dev/null || fail "\`go\` is not on PATH: Go $1 or newer is needed to build $2" \
        "\`apt-get install golang-go\` (any from 1.21 on fetches the right one itself), or https://go.dev/dl"
    have=$(go env GOVERSION)
    have=${have#go}
    at_least "$have" "$1" && return
    at_least "$have" 1.21 && [[ $(go env GOTOOLCHAIN) != local* ]] && return
    fail "Go $have is too old: Go $1 or newer is needed to build $2" \
        "with Go 1.21 or newer, \`GOTOOLCHAIN=auto\` fetches it" "or install it from https://go.dev/dl"
}

# apt_find PACKAGE VERSION: sets `found` to the package's version that begins with VERSION, and `apt` to the
# options with which apt fetches it without root and without installing it. If the machine has no package
# lists, they are fetched into .tools.
apt_find() {
    local work=$tools/debian
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return
    apt=(-o "Dir::Cache=$work/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
    mkdir -p "$work/cache/archives/partial" "$work/lists/partial"
    found=$(apt_version "$1" "$2")
    [[ -z $found ]] || return 0
    apt+=(-o "Dir::State::Lists=$work/lists")
    found=$(apt_version "$1" "$2")
    [[ -z $found ]] || return 0
    say "$1: fetching Debian's package lists into .tools …"
    apt-get "${apt[@]}" update >"$tools/log/apt.log" 2>&1 || return
    found=$(apt_version "$1" "$2")
    [[ -n $found ]]
}

apt_version() {
    { apt-cache "${apt[@]}" madison "$1" 2>/dev/null || true; } |
        awk -v version="$2" '{ if (found == "" && index($3, version) == 1) found = $3 } END { print found }'
}

# debian_file PACKAGE VERSION FILE TARGET: takes one file from a Debian package.
debian_file() {
    local work=$tools/debian/$1 found apt
    apt_find "$1" "$2" || return
    rm -rf "${work:?}"
    mkdir -p "$work"
    (cd "$work" && apt-get "${apt[@]}" download "$1=$found" && dpkg-deb -x ./*.deb .) \
        >"$tools/log/$1.log" 2>&1 || return
    mv -f "$work/$3" "$4" && rm -rf "${work:?}" || return
    say "$(basename "$4"): from Debian's $1 $found"
}

# provide_old_nats_servers: installs .tools/bin/nats-server-VERSION for each version.
provide_old_nats_servers() {
    local old_nats_server_version name
    # shellcheck disable=SC2154 # From ci/versions.sh.
    for old_nats_server_version in "${old_nats_server_versions[@]}"; do
        name=nats-server-${old_nats_server_version#v}
        [[ ! -x $bin/$name ]] || continue
        # Debian has the oldest one.
        [[ $old_nats_server_version == "${old_nats_server_versions[0]}" ]] &&
            debian_file nats-server "${old_nats_server_version#v}" usr/sbin/nats-server "$bin/$name" && continue
        (go_install "$name" old_nats_server) || return
    done
}

provide_rclone() {
    [[ ! -x $bin/rclone ]] || return 0
    local found
    if found=$(type -P rclone); then
        ln -sfn "$(realpath "$found")" "$bin/rclone"
        say "rclone: \`$found\`"
    else
        debian_file rclone "" usr/bin/rclone "$bin/rclone"
    fi
}

# provide_python: .tools/python/bin/python3 with the readers of Parquet, mypy, pyflakes and typos.
provide_python() {
    # shellcheck disable=SC2154 # From ci/versions.sh.
    local packages=("pyarrow==$pyarrow_version" "duckdb==$duckdb_version"
        "polars==$polars_version" "chdb-core==$chdb_version"
        "mypy==$mypy_version" "pyflakes==$pyflakes_version" "typos==$typos_version")
    local place=$tools/python start=$SECONDS log=$tools/log/python.log make=python_of_machine
    [[ ! -x $place/bin/python3 || $(cat "$place/installed" 2>/dev/null) != "${packages[*]}" ]] || return 0
    command -v python3 >/dev/null || make=python_of_debian
    say "Python with ${packages[*]}: fetching about 350 MB …"
    rm -rf "$place"
    if ! "$make" "$place" "${packages[@]}" >"$log"; then
        tail -n 3 "$log" | sed 's/^/  /' >&2
        return 1
    fi
    echo "${packages[*]}" >"$place/installed"
    say "Python with ${packages[*]}: there after $((SECONDS - start)) s"
}

pip_options=(install --disable-pip-version-check --no-input --only-binary :all:)

# python_of_machine: uses the machine's Python. Debian keeps pip's wheel in a package of its own, which may be missing.
python_of_machine() {
    local place=$1 pip
    shift
    if python3 -c 'import ensurepip' 2>/dev/null; then
        python3 -m venv "$place" || return
        pip=("$place/bin/python3" -m pip)
    else
        python3 -m venv --without-pip "$place" || return
        debian_file python3-pip-whl "" usr/share/python-wheels "$place/wheels" || return
        pip=("$place/bin/python3" "$(echo "$place"/wheels/pip-*.whl)/pip")
    fi
    "${pip[@]}" "${pip_options[@]}" "$@" 2>&1
}

# python_of_debian: unpacks Debian's packages on a machine without Python, with those of their dependencies
# that are not installed.
python_of_debian() {
    local place=$1 found apt deb
    shift
    apt_find python3-pip-whl "" || return
    rm -f "$tools"/debian/cache/archives/*.deb
    apt-get "${apt[@]}" install --download-only --yes --no-install-recommends \
        python3 python3-pip-whl 2>&1 || return
    for deb in "$tools"/debian/cache/archives/*.deb; do dpkg-deb -x "$deb" "$place" || return; done
    rm -f "$tools"/debian/cache/archives/*.deb
    mkdir -p "$place/bin"
    cat >"$place/bin/python3" <<'WRAPPER' || return
#!/bin/bash
place=$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")
libraries=$(echo "$place"/usr/lib/*-linux-gnu):$(echo "$place"/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONPATH=$place/site
exec "$place/usr/bin/python3" "$@"
WRAPPER
    chmod +x "$place/bin/python3"
    "$place/bin/python3" "$(echo "$place"/usr/share/python-wheels/pip-*.whl)/pip" "${pip_options[@]}" \
        --target "$place/site" "$@" 2>&1
}

# lacks WHAT TESTS WAY_OUT: notes that some tests will be skipped without it; with CI=true that is an error.
lacks() {
    [[ ${CI:-} != true ]] || fail "$1 cannot be had here, and with CI=true no test may be skipped" "needs $3"
    say "$1: not available here, $2 will be skipped (needs $3)"
    echo "$1: $2 skipped (needs $3)" >>"$tools/missing"
}
