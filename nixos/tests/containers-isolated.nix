# Components in containers reach NATS and nothing else; the storage manager reaches its tiers too.
{
  pkgs,
  self,
}: let
  inherit (pkgs) lib;
  lab = import ./lab.nix {inherit pkgs self;};

  # Stands for the programs that other components do not have yet: it runs and does nothing.
  idle = pkgs.writeShellApplication {
    name = "idle";
    runtimeInputs = [pkgs.coreutils];
    text = "exec sleep infinity";
  };
  addresses = {
    information-units = "10.71.0.12";
    pipeline-engine = "10.71.0.13";
  };
in {
  name = "cim-containers-isolated";
  nodes = {
    inherit (lab) operator;
    nas = lab.node "nas";
    host = {
      imports = [(lab.node "host")];
      cim.components =
        lib.mapAttrs (_: address: {
          inherit address;
          package = idle;
          memory = "256M";
          tasks = 64;
        })
        addresses;
      # The program that the test listens with, in each container.
      containers = lib.genAttrs (["storage-manager"] ++ lib.attrNames addresses) (_: {
        config.environment.systemPackages = [pkgs.netcat];
      });
    };
  };
  testScript = {nodes, ...}:
    import ./script.nix {inherit pkgs;} "containers_isolated" {
      gateway = nodes.host.cim.host.containers.hostAddress;
      nats_port = nodes.host.cim.host.nats.port;
      nas = {
        inherit (lab.inventory.hosts.nas) address;
        inherit (nodes.nas.cim.nas) port;
      };
      operator = lab.inventory.hosts.operator.address;
      inherit addresses;
      storage_manager = lab.inventory.hosts.host.components.storage-manager.address;
    };
}
