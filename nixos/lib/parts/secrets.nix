# The secrets that a machine's units read, from the units themselves.
units: let
  p = import ../prelude.nix;
  directory = "/var/lib/cim-secrets/";
  ofUnit = name: let
    config = units.${name}.serviceConfig;
    credentials = map (c: builtins.elemAt (p.splitOn ":" c) 1) (config.LoadCredential or []);
    environment = let
      files = config.EnvironmentFile or [];
    in
      if builtins.isList files
      then files
      else [files];
  in
    map (path: {
      inherit path;
      unit = "${name}.service";
    }) (p.filter (p.hasPrefix directory) (credentials ++ environment));
  all = p.concatMap ofUnit (p.attrNames units);
in
  builtins.mapAttrs (_: map (s: s.unit)) (builtins.groupBy (s: s.path) all)
