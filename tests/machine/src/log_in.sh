#!/bin/sh
# Becomes $1, in the environment that a login gives, and executes the rest.
user=$1
shift
home=$(getent passwd "$user" | cut -d: -f6)
if [ -z "$home" ]; then
    echo "there is no user $user on this machine" >&2
    exit 1
fi
path=/usr/local/bin:/usr/bin:/bin
if [ "$user" = root ]; then path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; fi
group=$(id -g "$user")
cd "$home" 2>/dev/null || cd /
exec env -i HOME="$home" USER="$user" LOGNAME="$user" PATH="$path" LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    setpriv --reuid "$user" --regid "$group" --init-groups "$@"
