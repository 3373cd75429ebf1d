# What `run` is made of: packages through an apt of its own, kernels, test binaries, the guest's file system, QEMU,
# and reading back what the guest printed. Sourced by bash; the caller has set `cache` (everything is kept there) and
# `here` (this directory). Functions return 1 after `why` was set to a reason that people can read.

# The lists of packages that the table's rows need, and those of the guests' tools.
sources="trixie:amd64 $(grep -v '^#' "$here/kernels.tsv" | awk -F'\t' '{ print $4 ":" $2, "trixie:" $2 }' | sort -u)"
# shellcheck source=packages.sh
. "$here/packages.sh"

# busybox for an architecture: $cache/busybox-ARCH
fetch_busybox() {
    local arch=$1 work=$cache/work
    [ ! -x "$cache/busybox-$arch" ] || return 0
    update_lists || return
    rm -rf "$work" && download "$arch" busybox-static "$work" || return
    dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work" --wildcards './*bin/busybox'
    mv "$work"/*/busybox "$cache/busybox-$arch" 2>/dev/null || mv "$work"/usr/bin/busybox "$cache/busybox-$arch"
    rm -rf "$work"
}

# The modules that a guest needs to have a disk, where they are in the packages and not built in.
# (ext4 asks for crc32c by name, so that this is none of its dependencies.)
modules=(virtio_pci virtio_blk crc32c_generic ext4)

# A module and, before it, the modules it needs, as files of `tree`, in the order of loading.
with_dependencies() {
    local tree=$1 name=$2 file depends dependency
    file=$(find "$tree" -name "${name//_/[-_]}.ko*" | head -n 1)
    [ -n "$file" ] || return 0
    case $file in
    *.xz) xz -d "$file" && file=${file%.xz} ;;
    *.zst) zstd -q -d --rm "$file" && file=${file%.zst} ;;
    esac
    depends=$(grep -az '^depends=' "$file" | tr -d '\0' | sed 's/^depends=//')
    for dependency in ${depends//,/ }; do with_dependencies "$tree" "$dependency"; done
    echo "$file"
}

# A kernel: $cache/kernel/NAME/{vmlinuz,release,modules/}. It appears there when all of it is there.
fetch_kernel() {
    local name=$1 arch=$2 patterns=$3 dir=$cache/kernel/$1.new work=$cache/work pattern package module file n=100
    [ ! -d "$cache/kernel/$name" ] || return 0
    update_lists || return
    rm -rf "$work" "$dir"
    mkdir -p "$dir/modules"
    for pattern in $patterns; do
        package=$(newest "$arch" "$pattern") || cannot "the archive has no package $pattern" || return
        download "$arch" "$package" "$work" || return
    done
    for file in "$work"/*.deb; do
        dpkg-deb -x "$file" "$work/tree" || cannot "cannot unpack $(basename "$file")" || return
    done
    for module in "${modules[@]}"; do with_dependencies "$work/tree" "$module"; done | awk '!seen[$0]++' |
        while read -r file; do
            n=$((n + 1))
            mv "$file" "$dir/modules/$n-$(basename "$file")"
        done
    find "$work/tree" \( -path '*/lib/modules/[0-9]*' -o -name 'vmlinu[xz]-*' \) -printf '%f\n' | sed 's/^vmlinu[xz]-//' |
        awk '/^[0-9]/ && !n++' >"$dir/release"
    find "$work/tree" -name 'vmlinu[xz]*' -type f -exec mv {} "$dir/vmlinuz" \;
    rm -rf "$work"
    [ -s "$dir/vmlinuz" ] && [ -s "$dir/release" ] || cannot "no kernel in $patterns" || return
    mv "$dir" "$cache/kernel/$name"
}

# Cargo for a target, linking statically; lightly optimised, because emulated processors are slow.
static_cargo() {
    local target=$1
    shift
    case $target in
    x86_64-*)
        RUSTFLAGS="-C target-feature=+crt-static" CARGO_BUILD_TARGET=$target \
            CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only cargo "$@"
        ;;
    *) "$here/cross" "${target%%-*}" "$@" ;;
    esac
}

# The test binaries, statically linked: $cache/tests/TARGET/NAME. Those that need a tool chain or the source tree are
# not for guests.
build_tests() {
    local target=$1 out=$cache/tests/$1 package name file
    rm -rf "$out" && mkdir -p "$out"
    static_cargo "$target" test -q -p rawring -p rawring-sys --lib --tests --no-run --message-format=json \
        >"$out.json" || cannot "the tests do not build for $target" || return
    sed -n 's/.*"target":{"kind":\["\([a-z]*\)"\].*"name":"\([^"]*\)","src_path".*"executable":"\([^"]*\)".*/\2 \3/p' \
        "$out.json" >"$out.list"
    while read -r name file; do
        case $name in compile_fail | cli | uapi | fuzz) continue ;; esac
        strip -o "$out/$name" "$file" 2>/dev/null || cp "$file" "$out/$name"
    done <"$out.list"
    [ -n "$(ls "$out")" ] || cannot "the build for $target made no test binaries"
}

# The directory that tests were told at compile time to put their files into.
tests_directory() {
    local target=$1
    static_cargo "$target" metadata --no-deps --format-version 1 | sed "s|.*\"target_directory\":\"\([^\"]*\)\".*|\1/$target/tmp|"
}

# What all guests of a target share: busybox, init and the tests. $cache/tests/TARGET.cpio
make_initramfs() {
    local arch=$1 target=$2 root=$cache/work
    fetch_busybox "$arch" && fetch_busybox amd64 || return
    rm -rf "$root" && mkdir -p "$root"/{bin,dev,proc,sys,etc,tmp,disk,tests,modules}
    cp "$cache/busybox-$arch" "$root/bin/busybox"
    cp "$here/init" "$root/init"
    ln "$cache/tests/$target"/* "$root/tests/"
    tests_directory "$target" >"$root/etc/tests-directory" || cannot "cargo does not say where tests put their files" || return
    archive "$root" >"$cache/tests/$target.cpio"
    rm -rf "$root"
}

# An archive as the kernel unpacks it.
archive() {
    (cd "$1" && find . | "$cache/busybox-amd64" cpio -o -H newc 2>/dev/null)
}

# An empty file system for the guests, which each of them gets a fresh copy of.
make_disk() {
    [ ! -s "$cache/disk" ] || return 0
    command -v mke2fs >/dev/null || PATH=$PATH:/sbin:/usr/sbin
    command -v mke2fs >/dev/null || cannot "no mke2fs here, with which the guests' disk is made (package e2fsprogs)" || return
    truncate -s 512M "$cache/disk.new"
    mke2fs -q -t ext4 -F "$cache/disk.new"
    mv "$cache/disk.new" "$cache/disk"
}

# QEMU for an architecture, in the array `qemu`, and the guest's `console`. Always by software: what the hardware
# helps with differs between machines, and nested virtualisation is often broken.
qemu_for() {
    local package disk=virtio-blk
    case $1 in
    # cx16=off: QEMU 7.2 now and then leaves garbage in the flags after cmpxchg16b, and kernels die of it. Of some of
    # Debian's kernels for the cloud only the image is left, and no modules; NVMe they have built in.
    amd64) qemu=(qemu-system-x86_64 -cpu max,cx16=off) package=qemu-system-x86 console=ttyS0 disk=nvme,serial=1 ;;
    arm64) qemu=(qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on) package=qemu-system-arm console=ttyAMA0 ;;
    riscv64) qemu=(qemu-system-riscv64 -M virt) package=qemu-system-misc console=ttyS0 ;;
    # vx=off: with QEMU 7.2's vector instructions the kernel computes wrong checksums, and resets of connections get lost.
    s390x) qemu=(qemu-system-s390x -cpu max,vx=off) package=qemu-system-misc console=ttysclp0 ;;
    *) cannot "no way to run $1 is written down in lib.sh" || return ;;
    esac
    qemu+=(-accel "tcg,thread=multi" -smp 2 -m 2048 -nographic -no-reboot -device "$disk,drive=disk")
    command -v "${qemu[0]}" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "${qemu[0]} is missing (package $package)" || return
    echo "installing $package"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } \
        >"$cache/qemu.log" 2>&1 || cannot "${qemu[0]} is missing, and $package cannot be installed (see $cache/qemu.log)"
}

# Boots a kernel; what its console says goes to $cache/log/NAME. `words` are for the guest's init.
boot() {
    local name=$1 arch=$2 target=$3 seconds=$4 words=$5 log=$cache/log/$1 initrd=$cache/initrd-$1 attempt status guest waited
    mkdir -p "$cache/log"
    qemu_for "$arch" && make_disk || return
    cp "$cache/tests/$target.cpio" "$initrd"
    (cd "$cache/kernel/$name" && find modules | "$cache/busybox-amd64" cpio -o -H newc 2>/dev/null) >>"$initrd"
    # `nvme.poll_queues`: for rings that poll devices.
    # What an emulated processor makes of a kernel that patches itself says nothing about the tests.
    for attempt in 1 2 3; do
        status=0
        timeout "$seconds" "${qemu[@]}" -kernel "$cache/kernel/$name/vmlinuz" -initrd "$initrd" \
            -drive "id=disk,if=none,file=$cache/disk,format=raw,snapshot=on,cache=unsafe" \
            -append "console=$console loglevel=1 oops=panic panic=-1 nvme.poll_queues=1 RAWRING_KERNEL=$name $words" \
            </dev/null >"$log" 2>&1 &
        guest=$!
        # What runs in the background is deaf to Ctrl-C.
        trap "kill $guest; exit 130" INT TERM
        # Booting takes some seconds, or it never happens: an emulated processor can hang before the kernel says a word.
        for ((waited = 0; waited < 120; waited++)); do
            kill -0 $guest 2>/dev/null && ! grep -q '^@@ kernel' "$log" || break
            sleep 1
        done
        grep -q '^@@ kernel' "$log" || kill $guest 2>/dev/null || true
        wait $guest || status=$?
        trap - INT TERM
        sed -i 's/\r//g' "$log"
        if ! grep -q '^@@ kernel' "$log"; then
            echo "attempt $attempt did not get to the tests (QEMU's status is $status)"
        elif grep -q 'Oops: int3' "$log"; then
            echo "attempt $attempt died of a breakpoint that the kernel sets in itself and QEMU does not see go"
        else
            break
        fi
        cp "$log" "$log.$attempt"
    done
    rm -f "$initrd"
    [ "$status" = 0 ] || [ "$status" = 124 ] || cannot "QEMU ended with status $status (see $log)"
}

# What a guest's console said, as lines of: outcome, test, and reason where there is one; separated by tabs. Outcomes
# are `ok`, `failed`, `unfinished` (the binary ended or was ended before), `skipped`, `capability` (what the
# kernel has: kind and name), and `trouble` (of the kernel, of a binary, of the guest).
outcomes() {
    awk -v OFS='\t' '
        function finish(status) {
            if (binary == "") return
            lost = 0
            for (test in planned) if (!(test in told)) { print "unfinished", binary "::" test, status; lost++ }
            if (status != "status 0" && status != "status 101" && !lost) print "trouble", binary, "ended with " status
            if (status == "status 101" && !failed) print "trouble", binary, "ended with " status " and no failed test"
            if (!ran) print "trouble", binary, "did not say what it ran"
            delete planned
            delete told
            binary = ""
        }
        /^@@ / { part = $2 }
        /^@@ kernel / { release = $3 }
        /^@@ trouble / { print "trouble", "guest", substr($0, 12) }
        /^@@ begin / { binary = $3; details = failed = ran = 0 }
        /^@@ planned / { planned[$3] = 1; part = "begin" }
        /^@@ end / { finish("status " $3) }
        /^@@ done/ { complete = 1 }
        part == "begin" && /^running [0-9]+ tests?$/ { ran = 1 }
        part == "begin" && /^failures:$/ { details = 1 }
        part == "begin" && !details && /^test .* \.\.\. (ok|FAILED|ignored.*)$/ {
            test = $2
            told[test] = 1
            outcome = /ok$/ ? "ok" : /FAILED$/ ? "failed" : "skipped"
            failed += outcome == "failed"
            if (outcome == "skipped") print outcome, binary "::" test, "ignored"
            else print outcome, binary "::" test
        }
        part == "errors" && /^skipped: / {
            text = substr($0, 10)
            at = index(text, ": ")
            print "skipped", binary "::" substr(text, 1, at - 1), substr(text, at + 2)
        }
        part == "errors" && /^capability: / { print "capability", substr($0, 13) }
        # Kernel messages: those of the log of each binary, and what a dying kernel prints in the middle of anything.
        /Oops|Kernel panic|BUG: |WARNING: |general protection fault|INFO: (possible|inconsistent|suspicious)/ ||
        /unable to handle|detected stalls?|blocked for more than/ {
            if ((part == "log" && !/^@@/) || /^\[ *[0-9]+\.[0-9]+\]/) {
                text = $0
                sub(/^\[[^]]*\] */, "", text)
                print "trouble", binary == "" ? "kernel" : binary, "the kernel says: " text
            }
        }
        END {
            if (!complete) {
                print "trouble", binary == "" ? "guest" : binary, "the guest died or hung here"
            }
            if (release == "") print "trouble", "guest", "the tests were not reached"
        }' "$1" | sort -u
}
