# The files of a NAS with each provider that no inventory of fixtures/inventory has, as text: for ci/nix, which
# lets systemd read the units.
let
  p = import ../prelude.nix;
  asText = import ./as-text.nix;
  nasOf = import ./nas-of.nix;
in
  p.lines (p.concatMap (provider: asText.files provider (nasOf provider).files) ["garage" "rustfs" "seaweedfs" "versitygw"]) + "\n"
