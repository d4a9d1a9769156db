#!/bin/sh
# Builds every workload, runs it, and compares what it prints with what its head comment promises.
#
#     traces/workloads/build.sh [FOLDER]      (target/workloads unless said otherwise)
#
# Linked statically with musl and at fixed addresses: a few hundred instructions of start-up, no code chosen by
# CPUID, nothing random. The compiler's target comes with `rustup target add x86_64-unknown-linux-musl`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/workloads}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# The paths of the sources stand in the programs: relative ones are the same everywhere.
cd "$here"

for source in *.rs; do
    name=${source%.rs}
    rustc --edition 2024 --target x86_64-unknown-linux-musl -C target-cpu=x86-64-v2 -C relocation-model=static \
        -O -C codegen-units=1 -C panic=abort -o "$folder/$name" "$source"
    promised=$(sed -n 's/^\/\/! Prints `\(.*\)`\.$/\1/p' "$source")
    printed=$("$folder/$name")
    if [ "$printed" != "$promised" ]; then
        echo "$source promises \`$promised\`, and the program prints \`$printed\`" >&2
        exit 1
    fi
    echo "$printed"
done
