# The machines of fixtures/inventory/lab.json as nodes of a test, through the modules that real machines use.
# Their secrets come out of the store: every one of them is public, which is why the core refuses the lab's
# keys anywhere else.
{
  pkgs,
  self,
}: let
  inherit (pkgs) lib;
  cim = self.packages.${pkgs.stdenv.hostPlatform.system};
  inventory = lib.importJSON ../../fixtures/inventory/lab.json;
  keys = ../../fixtures/inventory/lab-keys;

  s3 = key: secret: pkgs.writeText "s3.env" "AWS_ACCESS_KEY_ID=${key}\nAWS_SECRET_ACCESS_KEY=${secret}\n";
  nas = s3 "lab-storage-manager" "lab-storage-manager-secret";
  wasabi = s3 "LABWASABI00000000000" "lab-wasabi-secret";

  secrets = {
    "nas.env" = nas;
    "wasabi.env" = wasabi;
    "minio-root.env" = pkgs.writeText "minio-root.env" "MINIO_ROOT_USER=lab-root\nMINIO_ROOT_PASSWORD=lab-root-secret\n";
    "fake-wasabi.env" = pkgs.writeText "fake-wasabi.env" ''
      CIM_FAKE_WASABI_ACCESS_KEY=LABWASABI00000000000
      CIM_FAKE_WASABI_SECRET_KEY=lab-wasabi-secret
    '';
  };
  seeds = lib.mapAttrs' (file: _: lib.nameValuePair file "${keys}/${file}") (builtins.readDir keys);

  # Each machine has the secrets that its units read, and no others, on every new disk.
  install = config: let
    wanted = lib.unique (lib.attrNames config.cim.rendered.secrets ++ lib.concatMap (c: c.binds) (lib.attrValues config.cim.rendered.containers));
    of = path: (secrets // seeds).${baseNameOf path};
  in
    map (path: "C ${path} 0400 root root - ${of path}") wanted;

  tiers = inventory.tiers;
  endpoint = tier: let
    machine = inventory.hosts.${tier.host};
  in {
    endpoint = "http://${machine.address}:${toString (machine.s3.port or 9000)}";
    region = machine.s3.region or "us-east-1";
    inherit (tier) bucket;
  };
in {
  inherit inventory;

  # A machine of the inventory with a role.
  node = name: {config, ...}: {
    imports = [self.nixosModules.default];
    networking.hostName = name;
    cim = {
      inventory = ../../fixtures/inventory/lab.json;
      nas.permitInsecureMinio = true;
    };
    systemd.tmpfiles.rules = install config;
    virtualisation = {
      cores = 2;
      diskSize = 8192;
      memorySize = 2048;
    };
    # The card that the test driver's network is on has the address already.
    system.stateVersion = "26.05";
  };

  # The operator's machine: no role, but the harness, NATS's client and the keys.
  operator = {
    networking.hostName = "operator";
    networking.hosts = lib.mapAttrs' (name: host: lib.nameValuePair host.address [name]) (removeAttrs inventory.hosts ["operator"]);
    environment.systemPackages = [cim.cim-harness pkgs.jq pkgs.natscli pkgs.nkeys];
    environment.etc = {
      "cim-lab/keys".source = keys;
      "cim-lab/nas.env".source = nas;
      "cim-lab/wasabi.env".source = wasabi;
      "cim-lab/scenarios".source = ../../fixtures/scenarios;
    };
    networking.firewall.enable = false;
    virtualisation = {
      cores = 2;
      memorySize = 2048;
    };
    system.stateVersion = "26.05";
  };

  # The description of the lab for the harness, as the operator's machine sees it.
  description = {
    # The NixOS test driver's abilities. It cannot change links, clocks or fill disks.
    offers = ["power-loss" "processes"];
    # scenario.nix builds the host with them.
    storage_manager_configured = true;
    nodes = {
      host = {
        role = "host";
        inherit (inventory.hosts.host) address;
        nats_port = inventory.hosts.host.nats.port or 4222;
        nats_nkey_file = "/etc/cim-lab/keys/operator.nk";
      };
      nas =
        endpoint tiers.secondary
        // {
          role = "nas";
          credentials_file = "/etc/cim-lab/nas.env";
        };
      wasabi =
        endpoint tiers.tertiary
        // {
          role = "wasabi";
          credentials_file = "/etc/cim-lab/wasabi.env";
        };
    };
    versions = {
      nats-server = pkgs.nats-server.version;
      minio = pkgs.minio.version;
      linux = pkgs.linuxPackages.kernel.version;
    };
  };
}
