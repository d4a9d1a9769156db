#!/bin/sh
# Builds every workload and records it.
#
#     traces/workloads/record.sh [FOLDER]     (where the traces go; traces unless said otherwise)
#
# Two recordings with the same compiler on the same processor and kernel are equal byte for byte. For that, a program
# gets the same name, no environment, and, in a namespace of its own, the same process number. Where the system does
# not let one make such a namespace, the recording differs from another one in that number.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/traces}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$root"

traces/workloads/build.sh target/workloads
cargo build --release
vmxsim=${CARGO_TARGET_DIR:-target}/release/vmxsim

alone="unshare --map-root-user --pid --fork --mount-proc"
if ! $alone true; then
    echo "no namespace: process numbers will differ from those of other recordings" >&2
    alone=
fi
for source in traces/workloads/*.rs; do
    name=$(basename "$source" .rs)
    # Not by `cargo run`, which would put variables of its own into the environment.
    $alone env -i "$vmxsim" record --level 19 -o "$folder/$name.vmxt" -- "target/workloads/$name"
done
