# The files of a machine without NixOS, by path. A text that begins with `#!` is a program.
{
  inventory,
  name,
  units,
  watches,
  users,
  streams,
  tmpfiles,
  firewall,
  nats,
  storageManager,
  buckets,
  s3,
  text,
}: let
  p = import ./prelude.nix;
  inherit (p) optionalAttrs mapAttrsToList lines attrNames;
  header = "# Rendered from inventory `${inventory.name}` for machine `${name}`: change that, not this file.";
  unitText = import ./text/unit.nix;
  pathText = import ./text/path.nix;
  script = file: builtins.readFile (./scripts + "/${file}");
  enabled = suffix: of: map (unit: "enable ${unit}.${suffix}") (p.filter (unit: of.${unit}.wantedBy != []) (attrNames of));
  # A line of /etc/passwd has its fields between colons.
  gecos = p.replaceStrings [":"] [","];
  file = body: lines ([header] ++ body) + "\n";
in
  p.listToAttrs (
    mapAttrsToList (unit: u: p.nameValue "/etc/systemd/system/${unit}.service" (unitText header u)) (units // builtins.mapAttrs (_: w: w.unit) watches)
    ++ mapAttrsToList (unit: w: p.nameValue "/etc/systemd/system/${unit}.path" (pathText header w)) watches
  )
  // {
    "/etc/nftables.conf" = "#!/usr/sbin/nft -f\n${header}\nflush ruleset\n${firewall.nftables}";
    "/etc/tmpfiles.d/cim.conf" = file tmpfiles;
    "/etc/systemd/system-preset/10-cim.preset" = file (["enable nftables.service"] ++ enabled "service" units ++ enabled "path" watches);
  }
  // optionalAttrs (users != {}) {
    "/etc/sysusers.d/cim.conf" = file (mapAttrsToList (user: u: "u ${user} - \"${gecos u.description}\" ${u.home}") users);
  }
  // optionalAttrs (nats != {}) {
    "/etc/nats-server.conf" = "${header}\n${nats.text}";
  }
  // optionalAttrs (storageManager != {}) {
    "/etc/cim/storage-manager.toml" = "${header}\n\n${text.toml storageManager.settings}";
    "/usr/local/sbin/cim-run-storage-manager" = script "cim-run-storage-manager";
  }
  // optionalAttrs (units ? minio-provision || units ? rustfs-provision) {
    "/usr/local/sbin/cim-minio-provision" = script "cim-minio-provision";
    "/etc/cim/nas-policy.json" = text.json (import ./parts/nas-policy.nix buckets);
  }
  // optionalAttrs (units ? garage-provision) {
    "/usr/local/sbin/cim-garage-provision" = script "cim-garage-provision";
  }
  // optionalAttrs (units ? seaweedfs-provision) {
    "/usr/local/sbin/cim-seaweedfs-provision" = script "cim-seaweedfs-provision";
  }
  // optionalAttrs (units ? versitygw) {
    "/usr/local/sbin/cim-synced-directory" = script "cim-synced-directory";
  }
  // optionalAttrs (units ? versitygw-provision) {
    "/usr/local/sbin/cim-versitygw-provision" = script "cim-versitygw-provision";
  }
  // optionalAttrs (s3.settings != null) {
    "/etc/garage.toml" = "${header}\n\n${text.toml s3.settings}";
  }
  // p.listToAttrs (mapAttrsToList (stream: config: p.nameValue "/etc/cim/streams/${stream}.json" (text.json config)) streams)
