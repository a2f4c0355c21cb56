#!/usr/bin/env bash
# Compiles the kernels without optimisation and checks their objects: no weak symbols, and nothing exported but the rows
# of kernels.def. A weak copy of an inline function, compiled with one ISA's flags, can be the one the linker keeps for
# every processor; the optimiser hides it, so the check runs at -O0. Usage: isa_hygiene.sh [BUILD_DIRECTORY]
set -euo pipefail
cpp=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$(mktemp -d)}

cmake -S "$cpp" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DCONVLENS_TESTS=OFF \
    -DCONVLENS_OPENMP=OFF >/dev/null
objects=$(ninja -C "$build" -t targets all | sed -n 's/^\(CMakeFiles\/convlens_kernels_.*\.o\): .*/\1/p')
[ -n "$objects" ] || { echo "isa hygiene: no kernel objects in $build"; exit 1; }
# shellcheck disable=SC2086
ninja -C "$build" $objects >/dev/null

rows=$(sed -n 's/^CONVLENS_KERNEL([a-z0-9_]*, *\([a-z0-9_]*\),.*/\1/p' "$cpp/src/kernels/kernels.def" | paste -sd'|')
status=0 count=0
for object in $objects; do
    isa=$(sed 's/.*convlens_kernels_\([a-z0-9]*\)\.dir.*/\1/' <<<"$object")
    while read -r kind name; do
        count=$((count + 1))
        case $kind in
            W | V | u) echo "isa hygiene: weak symbol in $object: $name"; status=1 ;;
            [A-Z]) [[ $name =~ ^convlens::kernels::$isa::($rows)_f(32|64)\( ]] ||
                { echo "isa hygiene: $object exports $name, which is no row of kernels.def"; status=1; } ;;
        esac
    done < <(nm --demangle --defined-only "$build/$object" | sed -E 's/^[0-9a-f]* ([A-Za-z]) /\1 /')
done
echo "isa hygiene: $(wc -w <<<"$objects") objects, $count symbols, status $status"
exit $status
