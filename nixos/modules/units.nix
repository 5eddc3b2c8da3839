# Units and users of the core, in NixOS's form.
{lib}: {
  # `restartOn`: texts that the unit reads at start and that systemd does not see in the unit itself.
  unit = restartOn: unit: {
    inherit (unit) description after wants requires wantedBy unitConfig serviceConfig;
    restartTriggers = map (builtins.hashString "sha256") restartOn;
  };

  # A system user for each unit that names one.
  users = users: {
    users =
      lib.mapAttrs (name: user: {
        isSystemUser = true;
        group = name;
        inherit (user) home description;
      })
      users;
    groups = lib.mapAttrs (_: _: {}) users;
  };

  # A text of the core's `files`, by its path on a machine without NixOS.
  etc = files: paths:
    lib.listToAttrs (map (path: {
        name = lib.removePrefix "/etc/" path;
        value.text = files.${path};
      })
      paths);
}
