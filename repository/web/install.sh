#!/bin/sh
# Adds the package repository of Covalent, a workflow server for Python, to this machine.
#
#   sh install.sh [--yes]
#
#   --yes   do not ask
#
# It says what it is about to do, and does nothing before that. Nothing runs before the last line, so a
# download that was cut off does nothing either.

address='@ADDRESS@'
# Of the keys, the first of which has this fingerprint.
fingerprint='@FINGERPRINT@'
binary_sha256='@BINARY_SHA256@'
armored_sha256='@ARMORED_SHA256@'
# As `uname -m` names them.
machines='@MACHINES@'
release=/etc/os-release

say() { printf '%s\n' "$*"; }
refuse() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# A distribution's version is at least another.
# newer_or_same VERSION MINIMUM
newer_or_same() {
    [ "$(printf '%s\n' "$2" "$1" | sort -t . -k 1,1n -k 2,2n | head -n 1)" = "$2" ]
}

# The distribution's own; where it is missing, the packages bring it. On the dnf side there are others
# beside it, and the installation says which.
python_version() {
    python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Sets family, or refuses.
identify() {
    [ -r "$release" ] || refuse "there is no $release, so the packages are not for this system"
    # shellcheck source=/dev/null
    . "$release"
    system=${PRETTY_NAME:-${ID:-an unknown system}}
    supported="Debian 12, Ubuntu 22.04, Fedora 39, RHEL 8, Amazon Linux 2023, their relatives, and newer"
    minimum=''
    case ${ID:-} in
        debian) family=apt minimum=12 ;;
        ubuntu) family=apt minimum=22.04 ;;
        fedora) family=dnf minimum=39 ;;
        rhel | centos | rocky | almalinux | ol) family=dnf minimum=8 ;;
        amzn) family=dnf minimum=2023 ;;
        *)
            # The others say whom they are like, and have versions of their own.
            case " ${ID_LIKE:-} " in
                *' debian '* | *' ubuntu '*) family=apt ;;
                *' rhel '* | *' centos '* | *' fedora '*) family=dnf ;;
                *) refuse "the packages are for $supported; this is $system" ;;
            esac
            ;;
    esac
    # Debian's testing and unstable have no version.
    if [ -n "$minimum" ] && [ -n "${VERSION_ID:-}" ]; then
        newer_or_same "$VERSION_ID" "$minimum" || refuse "the packages are for $supported; this is $system"
    fi
    # Whatever its name: what the packages themselves need.
    library=$(getconf GNU_LIBC_VERSION 2>/dev/null) || library='none'
    newer_or_same "${library#glibc }" 2.28 ||
        refuse "the packages need glibc 2.28 or newer; $system has $library"
    if [ "$family" = apt ] && python=$(python_version); then
        newer_or_same "$python" 3.10 || refuse "the packages need Python 3.10 or newer; $system has $python"
    fi
    machine=$(uname -m)
    case " $machines " in
        *" $machine "*) ;;
        *) refuse "the packages are for $machines; this is $machine" ;;
    esac
    case $family in
        apt) command -v apt-get >/dev/null || refuse "there is no apt-get on this $system" ;;
        dnf) command -v dnf >/dev/null || refuse "there is no dnf on this $system" ;;
    esac
}

name_files() {
    case $family in
        apt)
            key=/usr/share/keyrings/covalent-archive-keyring.gpg
            source=/etc/apt/sources.list.d/covalent.sources
            ;;
        dnf)
            key=/etc/pki/rpm-gpg/RPM-GPG-KEY-covalent
            source=/etc/yum.repos.d/covalent.repo
            ;;
    esac
}

# Whether there is a source that is not the one which this script writes.
is_another() {
    [ -e "$1" ] && [ "$(cat "$1")" != "$(describe_source)" ]
}

announce() {
    say "This adds the package repository of Covalent to this machine ($system):"
    say "  $key   the key $fingerprint"
    say "  $source   the address $address"
    if is_another "$source"; then
        say "    (there is another one already, which is kept as $source.save)"
    fi
    say "  the package covalent-archive-keyring, which brings new keys"
}

consent() {
    [ "$yes" = no ] || return 0
    # Standard input may be this script.
    if ! (: </dev/tty) 2>/dev/null; then
        refuse "there is no terminal to ask at; type: sh install.sh --yes"
    fi
    printf 'Go on? [y/N] '
    read -r answer </dev/tty
    case $answer in
        y | Y | yes) ;;
        *) refuse "nothing was done" ;;
    esac
}

# fetch NAME FILE
fetch() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --output "$2" "$address/$1"
    elif command -v wget >/dev/null; then
        wget --quiet --output-document "$2" "$address/$1"
    else
        /usr/lib/apt/apt-helper download-file "$address/$1" "$2" >/dev/null
    fi || refuse "$address/$1 could not be fetched; nothing was done"
}

# The fingerprint of the first key in a file: the SHA-1 of its first packet, with a length of two bytes
# (RFC 4880, sections 4.2 and 12.2). The packet of an Ed25519 key is so short that its own length is one byte.
# key_fingerprint FILE
key_fingerprint() {
    # shellcheck disable=SC2046  # three numbers
    set -- "$1" $(od -A n -t u1 -N 3 "$1")
    case ${2:-} in
        152) { printf '\231\000' && part 1 $(($3 + 1)) "$1"; } | sha1_digits ;;
        153) part 0 $(($3 * 256 + $4 + 3)) "$1" | sha1_digits ;;
    esac
}

# part OFFSET LENGTH FILE
part() {
    tail -c +$(($1 + 1)) "$3" | head -c "$2"
}

sha1_digits() { sha1sum | cut -c 1-40 | tr a-f A-F; }

# Leaves the keys in $work/key, or refuses.
obtain_keys() {
    case $family in
        apt)
            fetch covalent-archive-keyring.gpg "$work/key"
            expected=$binary_sha256
            cp "$work/key" "$work/binary"
            ;;
        dnf)
            fetch covalent-archive-keyring.asc "$work/key"
            expected=$armored_sha256
            # The first block without its armor.
            sed -e '/^-----END/q' "$work/key" | sed -e '/^-/d' -e '/^=/d' -e '/^$/d' -e '/^[A-Za-z]*: /d' |
                base64 -d >"$work/binary" 2>/dev/null || :
            ;;
    esac
    found=$(key_fingerprint "$work/binary")
    [ "$found" = "$fingerprint" ] ||
        refuse "the key at $address has the fingerprint ${found:-of no key}, not $fingerprint; nothing was done"
    [ "$(sha256sum <"$work/key" | cut -c 1-64)" = "$expected" ] ||
        refuse "the keys at $address are not those that this script knows; fetch the script again. Nothing was done"
}

# place FILE PATH
place() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.new"
    chmod 644 "$2.new"
    mv "$2.new" "$2"
}

# Remembers what is at a path.
# keep PATH
keep() {
    if [ -e "$1" ]; then
        cp -p "$1" "$work/before/${1##*/}"
    fi
}

# Puts back what was at a path; fails if nothing was.
# put_back PATH
put_back() {
    [ -e "$work/before/${1##*/}" ] || return 1
    cp -p "$work/before/${1##*/}" "$1.new"
    mv "$1.new" "$1"
}

describe_source() {
    case $family in
        apt) cat <<'SOURCES'
@SOURCES@
SOURCES
            ;;
        dnf) cat <<'REPO'
@REPO@
REPO
            ;;
    esac
}

keyring_package() {
    case $family in
        apt)
            # This repository alone: what is wrong with another is no concern here.
            apt-get update --quiet=2 -o Dir::Etc::SourceList="$source" -o Dir::Etc::SourceParts=- \
                -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any &&
                apt-get install --quiet=2 --yes -o DPkg::Lock::Timeout=120 covalent-archive-keyring
            ;;
        dnf) dnf install --quiet --assumeyes --disablerepo='*' --enablerepo=covalent covalent-archive-keyring ;;
    esac
}

# A machine is not left with a repository that does not answer, nor without one that did.
leave() {
    status=$?
    trap '' INT TERM HUP
    if [ "$status" != 0 ] && [ "$added" = yes ]; then
        # A new key stays: its fingerprint is right, and nothing refers to it.
        put_back "$key" || :
        if put_back "$source"; then
            say "install.sh: put $source back as it was" >&2
        else
            rm -f "$source"
            say "install.sh: took $source away again" >&2
        fi
    fi
    rm -rf "$work"
    exit "$status"
}

main() {
    set -eu
    yes=no
    case ${1:-} in
        '') ;;
        --yes) yes=yes ;;
        *) refuse "there is no option $1; type: sh install.sh [--yes]" ;;
    esac
    identify
    name_files
    announce
    [ "$(id -u)" = 0 ] || refuse "only root can do that; type: sudo sh install.sh"
    consent
    added=no
    work=$(mktemp -d)
    trap leave EXIT
    # Not every shell comes by there when a signal ends it.
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    obtain_keys
    describe_source >"$work/source"
    mkdir "$work/before"
    keep "$key"
    keep "$source"
    if is_another "$source"; then
        cp -p "$source" "$source.save"
    fi
    added=yes
    place "$work/key" "$key"
    place "$work/source" "$source"
    if ! said=$(keyring_package 2>&1); then
        say "$said" >&2
        refuse "the repository at $address cannot be used; the lines above say why"
    fi
    say "Done. To install Covalent, type: $family install covalent"
}

main "$@"
