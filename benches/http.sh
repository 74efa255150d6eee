#!/usr/bin/env bash
# Requests a second over HTTP against the release binary with its embedded Postgres: executeTool
# with a native tool that does nothing, and a list of 20 rows with four fields.
#
#   benches/http.sh [SECONDS] [CLIENTS]        needs wrk, curl and jq
#
# Prints a Markdown table, the load generator's own processor time, and how far each follower of the
# log is behind at the end.
set -euo pipefail
seconds=${1:-60}
clients=${2:-32}
top=$(cd "$(dirname "$0")/.." && pwd)
[ -n "${SKIP_BUILD:-}" ] || cargo build --release --quiet --manifest-path "$top/Cargo.toml"
folder=$(mktemp -d)
port=18432
"$top/target/release/toolroom" serve --listen "127.0.0.1:$port" --data-dir "$folder/data" \
    >"$folder/log" 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$folder"' EXIT
url="http://127.0.0.1:$port"
for _ in $(seq 200); do curl -fs "$url/readyz" >/dev/null && break; sleep 0.05; done
curl -fs "$url/readyz" >/dev/null || { cat "$folder/log"; exit 1; }

ask() { curl -fsS "$url/graphql" -H 'content-type: application/json' -d "$1"; }

ask '{"query":"mutation { registerTool(input: {name: \"echo\", description: \"says it back\", native: {functionPath: \"echo\"}}) { id } }"}' >/dev/null
for i in $(seq 25); do
    ask "{\"query\":\"mutation { registerTool(input: {name: \\\"tool$i\\\", description: \\\"one of many\\\", native: {functionPath: \\\"echo\\\"}}) { id } }\"}" >/dev/null
done

script() {
    cat >"$folder/$1.lua" <<LUA
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [[$2]]
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) bad = 0 end
function response(status, headers, body)
    if status ~= 200 or body:find('"errors"') then bad = bad + 1 end
end
function done(summary, latency, requests)
    local bad = 0
    for _, thread in ipairs(threads) do bad = bad + thread:get("bad") end
    io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, bad))
end
LUA
}
script execute '{"query":"mutation { executeTool(toolName: \"echo\", input: {a: 1}) { id status output } }"}'
script list '{"query":"{ tools(first: 20) { nodes { id name version description } } }"}'

echo "| request | clients | requests/s | p50 ms | p99 ms | refused | wrk's CPU s |"
echo "|---|---|---|---|---|---|---|"
for kind in execute list; do
    exec 3>&1
    TIMEFORMAT='%U %S'
    cpu=$({ time wrk -t2 -c"$clients" -d"${seconds}s" -s "$folder/$kind.lua" "$url/graphql" >"$folder/out" 2>&1; } 2>&1 | tail -1)
    read -r _ rate p50 p99 bad < <(grep RESULT "$folder/out")
    echo "| $kind | $clients | $rate | $p50 | $p99 | $bad | $cpu |"
    if [ "$kind" = execute ]; then
        lag=$(ask '{"query":"{ projections { name lag } logHead { position } }"}')
    fi
done
echo
echo "Behind at the end of the executions: $(echo "$lag" | jq -c '.data')"
echo "Server: $(ps -o rss= -p $server | awk '{print int($1/1024)}') MB resident"
