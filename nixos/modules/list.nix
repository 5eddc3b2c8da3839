# One module for each role, and `default` with all of them. Each imports its dependencies, so one is enough.
{
  default = ./default.nix;
  host = ./host.nix;
  components = ./components.nix;
  plugins = ./plugins.nix;
  containers = ./containers.nix;
  leaf-node = ./leaf-node.nix;
  streams = ./streams.nix;
  tiers = ./tiers.nix;
  nas = ./nas.nix;
  fake-wasabi = ./fake-wasabi.nix;
  security = ./security.nix;
  inventory = ./inventory.nix;
}
