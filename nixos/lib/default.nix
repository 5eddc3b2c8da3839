# The functional core: from an inventory to its machines' configurations. README.md says how to use it.
{
  inherit (import ./inventory) parse check read;
  render = import ./render.nix;
  components = import ./components.nix;
  streams = import ./streams.nix;
  hardening = import ./parts/hardening.nix;
  text = {
    json = import ./text/json.nix;
    toml = import ./text/toml.nix;
    unit = import ./text/unit.nix;
  };
}
