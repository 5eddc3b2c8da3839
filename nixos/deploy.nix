# One deploy-rs node for each machine: `nix run nixpkgs#deploy-rs -- .#host`. A machine that does not answer
# after an activation returns to its previous configuration.
{
  deploy-rs,
  lib,
  self,
}:
lib.mapAttrs (_: machine: {
  hostname = machine.config.cim.address;
  sshUser = "root";
  magicRollback = true;
  autoRollback = true;
  # Stopping nats-server in an orderly way takes up to its lame-duck time.
  activationTimeout = 300;
  confirmTimeout = 60;
  profiles.system = {
    user = "root";
    path = deploy-rs.lib.${machine.pkgs.stdenv.hostPlatform.system}.activate.nixos machine;
  };
})
self.nixosConfigurations
