# packages.sh: the Debian packages that thole needs, and how they come. Sourced, not run, by
# tests/run.sh and bench/quickstart.sh.

# shellcheck shell=bash disable=SC2034

# To build and to run. libcmocka-dev is among them because meson builds the tests too.
packages_build=(
    gcc libc6-dev meson ninja-build pkg-config
    libdpdk-dev liburing-dev libisal-dev libinih-dev libjansson-dev libssl-dev
    libcmocka-dev
)
# To test, beside those.
packages_test=(
    clang clang-format clang-tidy libclang-rt-dev
    python3 fio strace iproute2 iputils-ping mount nftables procps patch tshark dpdk
)

# Install what is missing of the named packages; return 3 when that cannot be done.
packages_install() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        echo "packages: this is not Debian; assuming that these are here: $*" >&2
        return 0
    fi
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    local as_root=()
    if [ "$(id -u)" -eq 0 ]; then
        echo "packages: installing with apt-get: ${missing[*]}" >&2
    elif command -v sudo >/dev/null; then
        as_root=(sudo)
        echo "packages: installing with sudo apt-get: ${missing[*]}" >&2
    else
        echo "packages: missing, and neither root nor sudo here. As root:" >&2
        echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
        return 3
    fi
    local log
    log=$(mktemp) || return 3
    # As arguments of apt-get and not through env: sudo may allow apt-get and nothing else.
    local install=(apt-get -o Dpkg::Use-Pty=0 install -y --no-install-recommends)
    export DEBIAN_FRONTEND=noninteractive
    if ! "${as_root[@]}" apt-get update >"$log" 2>&1 ||
        ! "${as_root[@]}" "${install[@]}" "${missing[@]}" >>"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        echo "packages: apt-get failed; its last words are above" >&2
        return 3
    fi
    rm -f "$log"
}
