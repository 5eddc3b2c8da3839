# Compares the streams that are declared with what the server has, and makes them so.
#
# usage: cim-streams plan|apply [--declared FILE] [--server URL] [--nkey FILE]
#
#   plan   says what `apply` would do: one line a stream on stdout, its changes below
#   apply  does it
#
#   --declared FILE  JSON, by stream name, each as JetStream's API takes it; default: /etc/cim/streams.json
#   --server URL     default: CIM_NATS_URL, or nats://127.0.0.1:4222
#   --nkey FILE      the seed of a user that may make streams; default: CIM_NATS_NKEY_FILE
#
# A stream that is not declared is left alone. Nothing is ever deleted: where the server cannot change
# what differs (storage, retention), that is an error, and none of the streams is touched.
#
# exit status: 0 done, or nothing to do; 1 it could not be done; 2 the command line; 3 no answer from NATS;
#              4 `plan` found differences
set -euo pipefail

fail() {
    local status=$1
    shift
    printf 'cim-streams: error: %s\n' "$1" >&2
    shift
    (($# == 0)) || printf '  hint: %s\n' "$@" >&2
    exit "$status"
}

declared=/etc/cim/streams.json
server=${CIM_NATS_URL:-nats://127.0.0.1:4222}
nkey=${CIM_NATS_NKEY_FILE:-}
verb=
while (($# > 0)); do
    case $1 in
    plan | apply) verb=$1 && shift ;;
    --declared | --server | --nkey)
        (($# > 1)) || fail 2 "\`$1\` needs a value"
        case $1 in
        --declared) declared=$2 ;;
        --server) server=$2 ;;
        --nkey) nkey=$2 ;;
        esac
        shift 2
        ;;
    *) fail 2 "\`$1\` is not an option of cim-streams" "cim-streams plan|apply [--declared FILE] [--server URL] [--nkey FILE]" ;;
    esac
done
[[ -n $verb ]] || fail 2 "nothing to do was named" "cim-streams plan|apply"
jq -e 'type == "object"' "$declared" >/dev/null || fail 1 "\`$declared\` is not a JSON object"

# api SUBJECT BODY: an answer of JetStream's API. natscli is asked for the answer alone.
api() {
    nats --server "$server" ${nkey:+--nkey "$nkey"} --timeout 10s request --raw "$1" "$2" 2>/dev/null ||
        fail 3 "no answer from \`$server\` to \`$1\`" \
            "is NATS up, and may the user of \`${nkey:-no nkey}\` make streams?"
}

# What differs between a stream and its declaration, of the keys that are declared: {key: [have, want]}.
# The server leaves out what is false, 0 or empty.
# shellcheck disable=SC2016 # jq's variables.
difference='
    def same($a; $b): ($a // null) as $x | ($b // null) as $y
        | $x == $y or ([$x, $y] | all(. == null or . == false or . == 0 or . == "" or . == []));
    . as $want
    | reduce (keys[] | select(. != "name")) as $key ({};
        if same($have[$key]; $want[$key]) then . else .[$key] = [$have[$key], $want[$key]] end)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
differing=0
impossible=()

while IFS= read -r name; do
    jq -c --arg name "$name" '.[$name]' "$declared" >"$work/$name.want"
    api "\$JS.API.STREAM.INFO.$name" '' >"$work/$name.info"
    # 10059: there is no such stream.
    case $(jq -r '.error.err_code // 0' "$work/$name.info") in
    0) ;;
    10059)
        echo "create $name"
        echo create >"$work/$name.do"
        differing=1
        continue
        ;;
    *) fail 1 "stream \`$name\`: $(jq -r .error.description "$work/$name.info")" ;;
    esac
    jq -c '.config' "$work/$name.info" >"$work/$name.have"
    jq -c --slurpfile have "$work/$name.have" "\$have[0] as \$have | $difference" "$work/$name.want" >"$work/$name.changes"
    if [[ $(<"$work/$name.changes") == '{}' ]]; then
        echo "keep $name"
        continue
    fi
    echo "change $name"
    jq -r 'to_entries[] | "  \(.key): \(.value[0] | tojson) -> \(.value[1] | tojson)"' "$work/$name.changes"
    echo update >"$work/$name.do"
    differing=1
    for key in $(jq -r 'keys[] | select(. == "storage" or . == "retention")' "$work/$name.changes"); do
        impossible+=("stream \`$name\` cannot get another \`$key\` without losing what is in it")
    done
done < <(jq -r 'keys[]' "$declared")

if ((${#impossible[@]} > 0)); then
    fail 1 "${impossible[0]}" "declare what it has, or copy it into a stream of another name" "${impossible[@]:1}"
fi
if [[ $verb == plan ]]; then
    exit $((differing * 4))
fi

for file in "$work"/*.do; do
    [[ -e $file ]] || continue
    name=$(basename "$file" .do)
    if [[ $(<"$file") == create ]]; then
        api "\$JS.API.STREAM.CREATE.$name" "$(<"$work/$name.want")" >"$work/$name.answer"
    else
        # What is not declared stays as it is.
        api "\$JS.API.STREAM.UPDATE.$name" "$(jq -c -s '.[0] * .[1]' "$work/$name.have" "$work/$name.want")" >"$work/$name.answer"
    fi
    error=$(jq -r '.error.description // empty' "$work/$name.answer")
    [[ -z $error ]] || fail 1 "stream \`$name\`: $error"
done
