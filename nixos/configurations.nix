# The machines of an inventory as NixOS configurations. Disks and boot loader, which an inventory does not have,
# come from nixos/machines/<name>.nix if it exists, otherwise from nixos/machines/default.nix.
{
  lib,
  inventory,
  pkgsOf,
  self,
}: let
  inherit (lib.importJSON inventory) hosts;

  # An operator's machine is not configured by this project, and a fake Wasabi belongs into tests.
  deployed = lib.filterAttrs (_: host: host.role == "host" || host.role == "nas") hosts;

  hardware = name: let
    own = ./machines + "/${name}.nix";
  in
    if builtins.pathExists own
    then own
    else ./machines/default.nix;
in
  lib.mapAttrs (name: host:
    lib.nixosSystem {
      modules = [
        self.nixosModules.default
        (hardware name)
        {
          nixpkgs.pkgs = pkgsOf.${host.system};
          networking.hostName = name;
          cim = {
            inherit inventory;
            # insecure.nix explains the risk. Another provider needs no permission.
            nas.permitInsecureMinio = true;
            # To make a machine's system impossible to build before every scenario has passed:
            # proof = lib.attrValues (import ./tests {pkgs = pkgsOf.${host.system}; inherit self;}).checks;
          };
        }
      ];
    })
  deployed
