# What must hold between the parts of an inventory whose form is right. Each rule answers its errors.
inventory:
builtins.concatMap (rule: rule inventory) [
  (import ./rules-hosts.nix)
  (import ./rules-nats.nix)
  (import ./rules-containers.nix)
  (import ./rules-tiers.nix)
  (import ../streams.nix).check
]
