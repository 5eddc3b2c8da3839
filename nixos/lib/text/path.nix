# systemd's path units.
let
  p = import ../prelude.nix;
  section = name: set: ["" "[${name}]"] ++ builtins.concatLists (p.mapAttrsToList (key: map (value: "${key}=${value}")) set);
in
  header: watch:
    p.lines (
      [header]
      ++ section "Unit" {Description = [watch.description];}
      ++ section "Path" watch.pathConfig
      ++ p.optionals (watch.wantedBy != []) (section "Install" {WantedBy = watch.wantedBy;})
    )
    + "\n"
