# Every file of every machine of the inventories in fixtures/inventory, as one text that ci/nix takes
# apart: a line `>PATH` begins a file, lines of a file begin with `|`.
let
  p = import ../prelude.nix;
  core = import ../.;
  fixtures = ../../../fixtures/inventory;
  inventories = p.filter (p.hasSuffix ".json") (p.attrNames (builtins.readDir fixtures));

  file = path: text: let
    body = p.splitOn "\n" text;
  in
    if !(p.hasSuffix "\n" text)
    then throw "`${path}` does not end with a line break"
    else [">${path}"] ++ map (line: "|${line}") (init body);
  init = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);

  machine = inventory: directory: host:
    builtins.concatLists (p.mapAttrsToList (path: file "${directory}/${host}${path}") (core.render {inherit inventory host;}).files);
  all = name: let
    inventory = core.read (fixtures + "/${name}");
  in
    p.concatMap (machine inventory inventory.name) (p.attrNames inventory.hosts);
in
  p.lines (p.concatMap all inventories) + "\n"
