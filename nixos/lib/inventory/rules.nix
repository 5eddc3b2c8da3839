# Rules between the parts of an inventory of the right form. Each rule returns its errors.
inventory:
builtins.concatMap (rule: rule inventory) [
  (import ./rules-hosts.nix)
  (import ./rules-nats.nix)
  (import ./rules-containers.nix)
  (import ./rules-tiers.nix)
  (import ../streams.nix).check
]
