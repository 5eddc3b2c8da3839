# Flattens JSON into lines `path<TAB>value`, for example `packages.0.name<TAB>"cim-core"`. Strings keep
# their quotes and escapes. Feed it one token a line: see json_lines in ci/check-dependencies.
function emit(value) { print prefix() "\t" value }
function prefix(    path, i) {
    for (i = 1; i <= depth; i++) path = path (i > 1 ? "." : "") key[i]
    return path
}
function close_value() { if (depth > 0 && kind[depth] == "object") want_key = 1 }
/^[{[]$/ {
    depth++
    kind[depth] = $0 == "{" ? "object" : "array"
    key[depth] = $0 == "{" ? "" : 0
    want_key = $0 == "{"
    next
}
/^[]}]$/ { depth--; close_value(); next }
/^:$/ { next }
/^,$/ {
    if (kind[depth] == "array") { key[depth]++; want_key = 0 } else want_key = 1
    next
}
{
    if (want_key) { key[depth] = substr($0, 2, length($0) - 2); want_key = 0 }
    else { emit($0); close_value() }
}
