# A host takes a new configuration and returns to the old one; every event that was acked before, between and
# after is still there.
{
  pkgs,
  self,
}: let
  lab = import ./lab.nix {inherit pkgs self;};
in {
  name = "cim-upgrade-and-rollback";
  nodes = {
    inherit (lab) operator;
    host = {
      imports = [(lab.node "host")];
      # Test machines cannot switch unless told.
      system.switch.enable = true;
      specialisation.next.configuration.cim.host.nats.maxPayload = 2097152;
    };
  };
  testScript = import ./script.nix {inherit pkgs;} "upgrade_and_rollback" {
    url = "nats://${lab.inventory.hosts.host.address}:4222";
    keys = "/etc/cim-lab/keys";
    before = 1048576;
    after = 2097152;
  };
}
