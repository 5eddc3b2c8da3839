# Every file of every machine of the inventories in fixtures/inventory, and what NixOS modules are given
# for it, as one text that ci/nix takes apart: a line `>PATH` begins a file, lines of a file begin with `|`.
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

  # The texts among the parts are in `files` already; the packet filter differs.
  parts = inventory: host: let
    given = core.render {
      inherit inventory host;
      platform = "nixos";
    };
  in
    removeAttrs given ["files" "streams"] // {nats = removeAttrs given.nats ["text"];};

  machine = inventory: directory: host:
    builtins.concatLists (p.mapAttrsToList (path: file "${directory}/${host}${path}") (core.render {inherit inventory host;}).files)
    ++ file "${directory}/${host}.nixos.json" (core.text.json (parts inventory host));
  all = name: let
    inventory = core.read (fixtures + "/${name}");
  in
    p.concatMap (machine inventory inventory.name) (p.attrNames inventory.hosts);
in
  p.lines (p.concatMap all inventories) + "\n"
