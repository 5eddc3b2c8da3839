# The system users of a machine's units: a static one for each that names one.
units: let
  p = import ../prelude.nix;
  named = p.filter (u: u.serviceConfig ? User) (p.attrValues units);
in
  p.listToAttrs (map (u:
    p.nameValue u.serviceConfig.User {
      inherit (u) description;
      home = "/var/lib/${p.head (p.splitOn " " u.serviceConfig.StateDirectory)}";
    })
  named)
