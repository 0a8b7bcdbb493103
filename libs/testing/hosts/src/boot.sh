#!/bin/sh
# PID 1 of a test host, in new mount, UTS, IPC and PID namespaces and the host's network namespace.
# /proc is still the machine's here, so /proc/self tells this process's pid as seen from outside.
#   boot.sh NAME DIRECTORY CGROUP...
set -eu
name=$1 dir=$2
shift 2
read -r pid _ </proc/self/stat
pidns=$(readlink "/proc/$pid/ns/pid")

# "0" is the writer: a pid would be read in another namespace than the one it is known in.
for group; do echo 0 >"$group/cgroup.procs"; done
hostname "$name"
mount --make-rprivate /
mount -t proc proc /proc
# /sys shows this network namespace, and keeps the machine's cgroup trees.
mkdir -p "$dir/cgroup"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$dir/cgroup" /sys/fs/cgroup
umount -l "$dir/cgroup"
# Own sockets, namespaces and xtables lock: hosts that share them wait for each other.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
# Own settings and state over the machine's: engine id, resolver, what Berth keeps. The disk outlives a power-off.
for layer in etc var/lib; do
  mkdir -p "$dir/disk/$layer" "$dir/disk/.work/$layer"
  mount -t overlay -o "lowerdir=/$layer,upperdir=$dir/disk/$layer,workdir=$dir/disk/.work/$layer" overlay "/$layer"
done
cp "$dir/resolv.conf" "$dir/hosts" /etc/
# Shared with what is mounted from here on, as systemd does: a container can make namespaces that its host sees.
mount --make-rshared /

echo "$pid $pidns" >"$dir/init.new"
mv "$dir/init.new" "$dir/init"
exec tini -s -- sleep infinity
