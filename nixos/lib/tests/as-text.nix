# The files of a machine as text that ci/nix takes apart: a line `>PATH` begins a file, lines of a file begin
# with `|`.
let
  p = import ../prelude.nix;
  init = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);
in rec {
  file = path: text: let
    body = p.splitOn "\n" text;
  in
    if !(p.hasSuffix "\n" text)
    then throw "`${path}` does not end with a line break"
    else [">${path}"] ++ map (line: "|${line}") (init body);

  files = directory: files: builtins.concatLists (p.mapAttrsToList (path: file "${directory}${path}") files);
}
