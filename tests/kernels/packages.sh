# Debian's packages, fetched through an apt of its own from wherever this machine gets its packages; nothing is
# installed. Sourced by bash; the caller has set `cache` (apt's state is kept there) and `sources` (which lists of
# packages: words like trixie:s390x). Functions return 1 after `why` was set to a reason that people can read.

why=

cannot() {
    why=$*
    return 1
}

# apt with all of its state under the cache; proxies and the like remain those of this machine.
private_apt() {
    local command=$1 source apt=$cache/apt
    shift
    local options=(
        -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
        -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o APT::Architecture=amd64 -o Acquire::Languages=none -o APT::Sandbox::User=root
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    )
    for source in $sources; do options+=(-o APT::Architectures::="${source#*:}"); done
    "$command" "${options[@]}" -q "$@"
}

# The lists of packages, once in a run, and only where something is missing from the cache.
apt_ready=
update_lists() {
    [ -z "$apt_ready" ] || return 0
    local tool mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg apt=$cache/apt
    for tool in apt-get apt-cache dpkg-deb xz; do
        command -v "$tool" >/dev/null || cannot "no $tool here, with which Debian's packages are fetched" || return
    done
    [ -e "$keyring" ] || cannot "no keyring of the Debian archive here ($keyring)" || return
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' | grep -v '^[a-z]*-' | head -n 1 | cut -d' ' -f2) || true
    [ -n "$mirror" ] || cannot "apt on this machine knows no package repository" || return
    mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial
    : >"$apt/status"
    # A line for each suite: of one whose lists cannot all be had, apt takes none. Such a suite, or one that moved to
    # another archive, is no reason to do without the others.
    printf '%s\n' $sources | sort -u | awk -F: -v keyring="$keyring" -v mirror="$mirror" '
        { list[$1] = list[$1] (list[$1] == "" ? "" : ",") $2 }
        END { for (suite in list) print "deb [arch=" list[suite] " signed-by=" keyring "] " mirror, suite, "main" }
    ' >"$apt/sources.list"
    private_apt apt-get update >"$cache/apt.log" 2>&1 || true
    apt_ready=1
}

# The newest package whose name matches a pattern.
newest() {
    local arch=$1 pattern=$2 name
    name=$(private_apt apt-cache pkgnames | while read -r name; do
        # shellcheck disable=SC2254
        case ${name%:"$arch"} in $pattern) echo "${name%:"$arch"}" ;; esac
    done | sort -V | tail -n 1)
    [ -n "$name" ] && echo "$name"
}

# Downloads a package, by its name, into a directory.
download() {
    local arch=$1 name=$2 dir=$3
    mkdir -p "$dir"
    (cd "$dir" && private_apt apt-get download "$name:$arch") >>"$cache/apt.log" 2>&1 ||
        cannot "cannot download $name for $arch (see $cache/apt.log)"
}
