# shellcheck shell=bash
# The common parts of the scripts of ci/vm, besides ci/lib.sh. Sourced after `set -euo pipefail`.

# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
me=ci/vm/$(basename "$0")
# shellcheck disable=SC2034 # For the scripts that source this.
here=$root/ci/vm

# need_command COMMAND PACKAGE: installs Debian's package if possible, or prints how to.
need_command() {
    local found=$PATH:/usr/sbin:/sbin
    PATH=$found command -v "$1" >/dev/null && return
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        fail "\`$1\` is not on PATH" "\`apt-get install $2\`"
    fi
    phase "installing $2" apt_install "$2" || fail "\`apt-get install $2\` failed" "its own message stands above"
}
apt_install() {
    # Lists that were never fetched, or are older than the packages, are worth a second try.
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; }
}

# prepare: prepares every lab; sets `image` to the directory of the image.
prepare() {
    need_command "qemu-system-$(uname -m)" "qemu-system-$([[ $(uname -m) == x86_64 ]] && echo x86 || echo arm)"
    need_command qemu-img qemu-utils
    need_command mke2fs e2fsprogs
    need_command setpriv util-linux
    need_command python3 python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$(python3 --version) is too old: ci/vm needs 3.11 or newer" "Debian 12 and newer have it"
    # shellcheck disable=SC2034 # For the caller.
    image=$("$here/image") || exit "$failure"
    export PATH=$PATH:/usr/sbin:/sbin
}

# take_nas ARGUMENT…: sets `nas` to what `--nas` names, and `rest` to the other arguments.
# shellcheck disable=SC2034 # For who called.
take_nas() {
    nas=minio rest=()
    while (($# > 0)); do
        case $1 in
        --nas=*) nas=${1#*=} ;;
        --nas) nas=${2:-} && shift ;;
        *) rest+=("$1") ;;
        esac
        (($# == 0)) || shift
    done
    [[ $nas == @(minio|seaweedfs|versitygw) ]] ||
        fail "\`--nas\` takes minio, seaweedfs or versitygw, and not \`$nas\`"
}
