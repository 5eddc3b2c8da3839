# One component's key on NATS has no rights on another's subjects.
{
  pkgs,
  self,
}: let
  lab = import ./lab.nix {inherit pkgs self;};
in {
  name = "cim-least-privilege";
  nodes = {
    inherit (lab) operator;
    host = lab.node "host";
  };
  testScript = import ./script.nix {inherit pkgs;} "least_privilege" {
    url = "nats://${lab.inventory.hosts.host.address}:4222";
    keys = "/etc/cim-lab/keys";
  };
}
