# systemd's unit files.
let
  p = import ../prelude.nix;
  inherit (p) optionals;

  # Directives whose values systemd takes as one list, on one line.
  joined = ["RestrictAddressFamilies" "IPAddressAllow" "IPAddressDeny"];

  plain = value:
    if builtins.isBool value
    then
      if value
      then "yes"
      else "no"
    else toString value;

  directive = name: value:
    if !(builtins.isList value)
    then ["${name}=${plain value}"]
    else if p.elem name joined
    then ["${name}=${p.concatStringsSep " " (map plain value)}"]
    else map (v: "${name}=${plain v}") value;

  section = name: directives:
    optionals (directives != []) (["" "[${name}]"] ++ directives);
  all = set: builtins.concatLists (p.mapAttrsToList directive set);
  ordering = name: units: p.optional (units != []) "${name}=${p.concatStringsSep " " units}";
in
  header: unit:
    p.lines (
      [header]
      ++ section "Unit" (
        ["Description=${unit.description}"]
        ++ ordering "After" unit.after
        ++ ordering "Wants" unit.wants
        ++ ordering "Requires" unit.requires
        ++ all unit.unitConfig
      )
      ++ section "Service" (all unit.serviceConfig)
      ++ section "Install" (ordering "WantedBy" unit.wantedBy)
    )
    + "\n"
