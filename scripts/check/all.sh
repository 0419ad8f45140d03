#!/usr/bin/env bash
# Everything that is checked before a change is good: one stage after the other, until one fails.
#
#   all.sh               every stage
#   all.sh STAGE...      those stages
#   all.sh --list        the stages, in order, with what they do
#
# The last line printed is "N passed, N failed", summed over the stages' tests. What each stage said and how
# long it took is kept in target/check/.
set -euo pipefail

stage_max_secs=2400  # a stage that takes longer hangs: the slowest takes a quarter of that
# With bugs that can be planted: the test that finds them needs them, and so all tests share one build. Nothing that is
# shipped is built so.
planted=(--features updraft-tests/planted)
skipped=77           # how a stage says that it could not run, and why stands in its last line

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
logs=$target/check
conformance=${UPDRAFT_CONFORMANCE:-../shared/conformance}
export UPDRAFT_CONFORMANCE=$conformance CARGO_TERM_COLOR=never NO_COLOR=1
PATH=$(scripts/install-tools.sh where)/bin:$PATH

stages=(
    'tools          install what the other stages need'
    'format         cargo fmt --check'
    'scripts        shellcheck, and the links of the book and the pages beside it'
    'lint           clippy on all targets, warnings are errors'
    'docs           cargo doc, warnings are errors'
    'licences       cargo deny: licences, banned crates, sources'
    'seeds          everything that happens in a few seeds, written down'
    'tests          unit and integration tests'
    'doctests       the examples in the documentation'
    'tier-2         whole nodes over real QUIC and TLS on a simulated network'
    '58-commands    the unmodified openstack client against a simulated cloud'
    'mistakes       what users of the REST APIs get wrong, and nonsense, against a simulated cloud'
    'libvirt        the libvirt driver and a whole cloud, on real guests; only after tier-2 has passed'
    'hosts          a cloud of two real hosts, on which everything breaks once; only after libvirt has passed'
    'fresh-root     the install steps in an empty Debian'
    'package        the Debian package, in an empty Debian whose first process is systemd'
    'seeds-again    the same seeds at another time, in another process: all of it must be the same'
)

skip() { echo "skipped: $*"; exit "$skipped"; }

have_nextest() { cargo nextest --version >/dev/null 2>&1; }

nextest() {
    cargo nextest run --no-fail-fast --no-tests fail --status-level slow --final-status-level slow "$@"
}

stage_tools() { scripts/install-tools.sh test; }

stage_format() { cargo fmt --all --check -- --color never; }

stage_scripts() {
    # SC2174: a mode for the last of several new folders is what is meant.
    git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --severity=warning --exclude=SC2174
    python3 scripts/check/pages.py
}

stage_lint() {
    cargo clippy --locked --all-targets "${planted[@]}" -- -D warnings
    # No default members, since what they compare with and draw by is large; yet they use the same crates.
    cargo clippy --locked -p updraft-bench-harness -p updraft-bench-load -p updraft-bench-messages --all-targets -- -D warnings
}

stage_docs() { RUSTDOCFLAGS='-D warnings' cargo doc --no-deps; }

stage_licences() { cargo deny check --hide-inclusion-graph licenses bans sources; }

# A clock or entropy of the machine that leaks into a run shows only in some runs: so they are far apart. What a process
# counts shows only where something else ran before: so the tiers come in another order.
seeds_of_scenarios() {
    local tiers=$1
    shift
    cargo build -p updraft-tests "${planted[@]}" --bin updraft-sim
    for scenario in life storm; do
        "$target/debug/updraft-sim" logs --scenario "$scenario" --seeds 3 --tier "$tiers" "$@"
    done
}

stage_seeds() {
    rm -rf "$logs/seeds" "$logs/seeds-again"
    seeds_of_scenarios 1,2,3 --out "$logs/seeds"
}

stage_seeds-again() {
    [ -d "$logs/seeds" ] || skip 'the stage seeds has not run'
    seeds_of_scenarios 3,2,1 --out "$logs/seeds-again" --against "$logs/seeds"
}

# Test binaries named tier2* are a stage of their own.
stage_tests() {
    if have_nextest; then
        nextest "${planted[@]}" -E 'not binary(/^tier2/)'
    else
        # It cannot leave binaries out by name: tier 2 runs twice then.
        cargo test --no-fail-fast "${planted[@]}" --lib --bins --tests
    fi
}

stage_doctests() { cargo test --no-fail-fast "${planted[@]}" --doc; }

stage_tier-2() {
    compgen -G 'tests/tests/tier2*' >/dev/null || skip 'there is no test binary tests/tests/tier2* yet'
    if have_nextest; then
        nextest -p updraft-tests "${planted[@]}" -E 'binary(/^tier2/)'
    else
        cargo test --no-fail-fast -p updraft-tests "${planted[@]}" --test 'tier2*'
    fi
}

stage_58-commands() {
    cargo build -p updraft-cloud
    scripts/check/cli-flow.sh "$target/debug/updraft"
}

stage_mistakes() {
    cargo build -p updraft-cloud
    python3 scripts/check/mistakes.py "$target/debug/updraft"
}

stage_libvirt() {
    [ "$(cat "$logs/tier-2.result" 2>/dev/null)" = passed ] || skip 'tier-2 has not passed'
    cargo clippy -p updraft-libvirt --all-targets -- -D warnings
    # One at a time, and told as it goes: a translated guest needs a processor to itself.
    cargo test -p updraft-libvirt -- --test-threads=1 --nocapture 2>&1 | tee "$logs/libvirt.tests"
    [ -z "${CI:-}" ] || ! grep '^skipped: ' "$logs/libvirt.tests" ||
        { echo 'where changes are checked, no test may be skipped' >&2; return 1; }
    [ ! -x scripts/check/real.sh ] || {
        cargo build -p updraft-cloud -p updraft-libvirt
        scripts/check/real.sh "$target/debug/updraft"
    }
}

stage_hosts() {
    [ "$(cat "$logs/libvirt.result" 2>/dev/null)" = passed ] || skip 'libvirt has not passed'
    cargo build -p updraft-cloud -p updraft-libvirt
    python3 scripts/check/hosts.py "$target/debug/updraft"
}

stage_fresh-root() { scripts/check/fresh-root.sh; }

# Of the programs that the other stages have built: an optimised build takes longer than all of this.
stage_package() {
    cargo build -p updraft-cloud -p updraft-libvirt
    cargo deb --quiet -p updraft-cloud --no-build --profile dev --fast --no-strip --output "$logs/updraft.deb"
    scripts/check/package.sh "$logs/updraft.deb"
}

# How many tests a log tells of, by the words that stand behind the number.
count() {
    awk -v words="^($2)[,;]?\$" '
        /^ *Summary \[/ || /^test result: / || /^[0-9]+ passed, [0-9]+ failed$/ {
            for (i = 2; i <= NF; i++) if ($i ~ words && $(i - 1) ~ /^[0-9]+$/) sum += $(i - 1)
        }
        END { print sum + 0 }' "$1"
}

tally() { printf '%d passed, %d failed\n' "$passed" "$failed" | tee "$logs/tally"; }

report() {
    printf '\n%-12s %7s  %s\n' stage minutes outcome
    cat "$logs/minutes"
    echo
    tally
}

run_stage() {
    local name=$1 log=$logs/$1.log begun=$SECONDS status=0 result minutes
    printf '\n======== %s\n' "$(printf '%s\n' "${stages[@]}" | grep "^$name ")"
    rm -f "$logs/$name.result"
    timeout "$stage_max_secs" "${BASH_SOURCE[0]}" --stage "$name" </dev/null 2>&1 | tee "$log" || status=$?
    case "$status" in
    0) result=passed ;;
    "$skipped") result=$(grep '^skipped: ' "$log" | tail -n 1) ;;
    124) result="failed: it did not end within $stage_max_secs s" ;;
    *) result=failed ;;
    esac
    echo "$result" >"$logs/$name.result"
    minutes=$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $begun) / 60 }")
    printf '%-12s %7s  %s\n' "$name" "$minutes" "$result" >>"$logs/minutes"
    printf '======== %s: %s, %s min\n' "$name" "$result" "$minutes"
    passed=$((passed + $(count "$log" passed)))
    failed=$((failed + $(count "$log" 'failed|timed')))
    case "$result" in
    failed*)
        [ "$failed" -gt 0 ] || failed=1
        report
        exit 1
        ;;
    esac
}

mkdir -p "$logs"
mapfile -t known < <(printf '%s\n' "${stages[@]}" | cut -d ' ' -f 1)
case "${1:-}" in
--list)
    printf '%s\n' "${stages[@]}"
    exit
    ;;
--stage)
    "stage_$2"
    exit
    ;;
esac
for name in "$@"; do
    printf '%s\n' "${known[@]}" | grep -qxF -- "$name" ||
        { echo "all.sh: no stage '$name'; there are: ${known[*]}" >&2; exit 2; }
done
[ $# -gt 0 ] || set -- "${known[@]}"
: >"$logs/minutes"
passed=0 failed=0
for name in "$@"; do run_stage "$name"; done
report
