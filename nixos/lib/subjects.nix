# NATS subjects: their form, and whether two filters can match the same subject.
let
  p = import ./prelude.nix;
  inherit (p) head tail;
  tokens = p.splitOn ".";

  meet = a: b:
    if a == [] || b == []
    then a == b
    # `>` stands for one token or more.
    else if head a == ">" || head b == ">"
    then true
    else (head a == "*" || head b == "*" || head a == head b) && meet (tail a) (tail b);
in {
  # A filter: tokens without spaces, `*` and `>` only as whole tokens, `>` only as the last.
  valid = subject: p.match "(([^][:space:].*>]+|\\*)\\.)*([^][:space:].*>]+|\\*|>)" subject != null;

  overlap = a: b: meet (tokens a) (tokens b);
}
