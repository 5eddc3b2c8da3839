# The files of a NAS with each provider that no inventory of fixtures/inventory has, as text: for ci/nix, which
# lets systemd read the units.
let
  p = import ../prelude.nix;
  core = import ../.;
  asText = import ./as-text.nix;
  sample = import ./sample.nix;
  nas = provider:
    core.render {
      inventory = sample // {hosts = sample.hosts // {nas = sample.hosts.nas // {s3 = {inherit provider;};};};};
      host = "nas";
    };
in
  p.lines (p.concatMap (provider: asText.files provider (nas provider).files) ["garage" "rustfs"]) + "\n"
