# Every file of every machine of the inventories in fixtures/inventory, and what NixOS modules are given
# for it, as text; and the lab's NAS with each service that it can have besides, for ci/vm.
let
  p = import ../prelude.nix;
  core = import ../.;
  asText = import ./as-text.nix;
  fixtures = ../../../fixtures/inventory;
  inventories = p.filter (p.hasSuffix ".json") (p.attrNames (builtins.readDir fixtures));

  # The texts among the parts are in `files` already; the packet filter differs.
  parts = inventory: host: let
    given = core.render {
      inherit inventory host;
      platform = "nixos";
    };
  in
    removeAttrs given ["files" "streams"] // {nats = removeAttrs given.nats ["text"];};

  machine = inventory: directory: host:
    asText.files "${directory}/${host}" (core.render {inherit inventory host;}).files
    ++ asText.file "${directory}/${host}.nixos.json" (core.text.json (parts inventory host));
  all = name: let
    inventory = core.read (fixtures + "/${name}");
  in
    p.concatMap (machine inventory inventory.name) (p.attrNames inventory.hosts);

  lab = core.read (fixtures + "/lab.json");
  nasWith = provider: let
    inventory =
      lab
      // {
        version = 2;
        hosts = lab.hosts // {nas = lab.hosts.nas // {s3 = lab.hosts.nas.s3 // {inherit provider;};};};
      };
  in
    asText.files "lab-${provider}/nas"
    (core.render {
      inherit inventory;
      host = "nas";
    })
    .files;
in
  p.lines (p.concatMap all inventories ++ p.concatMap nasWith ["seaweedfs" "versitygw"]) + "\n"
