# The first process of an engine in namespaces of its own: $1 is its directory, $2 the parent of its containers'
# cgroups, $3 its address, $4 which engine; the rest are options of dockerd. Lives until its input ends, even by kill -9
# of who wrote to it. With it end all processes of the namespaces, and every mount and network in them is gone.
dir=$1 cgroup=$2 address=$3 engine=$4
shift 4
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs "$dir/data" && ip link set lo up || exit
echo 'wants its link'
read -r _ || exit
ip address add "$address/30" dev veth0 && ip link set veth0 up || exit
if [ "$engine" = podman ]; then
  # All Podmans of a machine would have their locks in one file there.
  mount -t tmpfs tmpfs /dev/shm || exit
  podman --root "$dir/data/storage" --runroot /run/containers --tmpdir /run/libpod --volumepath "$dir/data/volumes" \
    --network-config-dir "$dir/data/networks" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file \
    system service --time 0 "unix://$dir/docker.sock" </dev/null >"$dir/log" 2>&1 &
else
  echo '{}' >/run/no-settings
  dockerd --config-file /run/no-settings --data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid \
    --storage-driver overlay2 --cgroup-parent "/$cgroup" --tls=false -H "unix://$dir/docker.sock" \
    -H "tcp://$address:2375" "$@" </dev/null >"$dir/log" 2>&1 &
fi
while read -r _; do :; done
exec 2>/dev/null # what is killed now needs no word
kill -9 -1
# Cgroups are the system's, not a namespace's. Podman's have a parent that all Podmans share.
for id in $(ls "$dir/data/storage/overlay-containers" 2>/dev/null); do
  find /sys/fs/cgroup/*/libpod_parent/"libpod-$id" /sys/fs/cgroup/libpod_parent/"libpod-$id" \
    -depth -type d -exec rmdir {} + 2>/dev/null
done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  find /sys/fs/cgroup/*/"$cgroup" /sys/fs/cgroup/"$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
  [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$cgroup")" ] && break
  sleep 0.05
done
# A network that a killed container had may be on it for a moment.
umount --lazy "$dir/data"
rm -rf "$dir"
