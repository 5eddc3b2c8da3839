# The configuration of one machine of an inventory: parts for NixOS modules, and files for a machine without NixOS.
{
  inventory,
  host,
  # "debian": all programs on the machine itself. "nixos": components in containers.
  platform ? "debian",
  programs ? {},
}: let
  p = import ./prelude.nix;
  inherit (p) optionalAttrs attrNames filterAttrs mapAttrs;
  name = host;
  read = (import ./inventory).read inventory;
  machine =
    read.hosts.${name}
    or (throw "`${name}` is none of the inventory's machines: use one of ${p.concatStringsSep ", " (map (n: "`${n}`") (attrNames read.hosts))}");
  json = import ./text/json.nix;
  toml = import ./text/toml.nix;

  inside = kind: filterAttrs (_: c: c.address != null) machine.${kind};
  contained = platform == "nixos" && inside "components" // inside "plugins" != {};

  reach = import ./parts/reach.nix {
    inherit name;
    inventory = read;
    host = machine;
    containers = contained;
  };

  runs = {
    nats = machine.nats != null;
    storageManager = machine.components ? storage-manager;
    s3 = machine.s3 != null;
  };

  nats = optionalAttrs runs.nats (import ./parts/nats.nix {
    inherit name reach;
    inventory = read;
    host = machine;
  });

  storageManager = optionalAttrs runs.storageManager (import ./parts/storage-manager.nix {
    inherit name;
    inventory = read;
    host = machine;
    natsAddress =
      if contained
      then machine.containers.hostAddress
      else "127.0.0.1";
  });

  # The buckets of the tiers that lie on this machine.
  buckets = p.unique (map (t: t.bucket) (p.filter (t: t != null && t.host == name) [read.tiers.secondary read.tiers.tertiary]));

  s3 = import ./parts/s3.nix {
    inherit buckets reach;
    host = machine;
    programs = paths;
    configurations = places;
  };

  paths =
    p.listToAttrs (map (name: p.nameValue name "/usr/local/bin/${name}") ["nats-server" "minio" "rustfs" "garage" "weed" "versitygw" "cim-storage-manager" "cim-fake-wasabi"]
      ++ map (name: p.nameValue name "/usr/local/sbin/${name}") ["cim-minio-provision" "cim-garage-provision" "cim-seaweedfs-provision" "cim-versitygw-provision" "cim-synced-directory"])
    // {systemctl = "/usr/bin/systemctl";}
    // programs;
  places = {
    nats = "/etc/nats-server.conf";
    storageManager = "/etc/cim/storage-manager.toml";
    policy = "/etc/cim/nas-policy.json";
    garage = "/etc/garage.toml";
  };

  units = import ./parts/units.nix {
    inherit reach nats storageManager buckets s3;
    inventory = read;
    host = machine;
    containers = contained;
    programs = paths;
    configurations = places;
  };

  watches = import ./parts/watches.nix {
    inherit units storageManager;
    containers = contained;
    inherit (paths) systemctl;
  };

  users = import ./parts/users.nix units;
  streams = optionalAttrs runs.nats ((import ./streams.nix).configs read);
  tmpfiles = import ./parts/tmpfiles.nix;
  firewall = {
    inherit (reach) input forward;
    nftables = import ./text/nftables.nix {
      inherit reach;
      containers =
        if contained
        then machine.containers
        else null;
    };
  };

  network = {
    inherit (machine) address network;
    inherit (read.networks.${machine.network}) cidr;
    prefixLength = (import ./ipv4.nix).prefixLength read.networks.${machine.network}.cidr;
    hosts = mapAttrs (_: h: h.address) read.hosts;
  };

  containers = import ./parts/containers.nix {
    inherit units storageManager;
    inventory = read;
    host = machine;
    enabled = contained;
  };

  files = import ./files.nix {
    inherit name units watches users streams tmpfiles firewall nats storageManager buckets s3;
    inventory = read;
    text = {inherit json toml;};
  };
in {
  inherit name users streams tmpfiles firewall network containers units watches files;
  inherit (machine) role system ssh;
  inherit (read) lab;
  nats = optionalAttrs runs.nats nats;
  storageManager = optionalAttrs runs.storageManager storageManager;
  s3 = optionalAttrs runs.s3 (machine.s3
    // {
      inherit buckets;
      policy = import ./parts/nas-policy.nix buckets;
    });
  # Files that an administrator puts there by hand, by path, and the units that read them.
  secrets = import ./parts/secrets.nix units;
}
