# A host of the lab has what its role needs, and nothing else listens, runs or is installed.
{
  pkgs,
  self,
}: let
  inherit (pkgs) lib;
  lab = import ./lab.nix {inherit pkgs self;};
in {
  name = "cim-minimal-host";
  nodes = {
    inherit (lab) operator;
    host = lab.node "host";
  };
  testScript = {nodes, ...}:
    import ./script.nix {inherit pkgs;} "minimal_host" {
      tcp = map (rule: rule.port) (lib.filter (rule: rule.from == lab.inventory.networks.lan.cidr) nodes.host.cim.rendered.firewall.input);
      # Security, container tooling, NATS, and the services that no NixOS can run without.
      services =
        ["auditd.service" "container@storage-manager.service" "nats.service"]
        ++ ["dbus.service" "dbus-broker.service" "nscd.service" "nsncd.service"]
        ++ ["systemd-journald.service" "systemd-logind.service" "systemd-machined.service" "systemd-oomd.service"]
        ++ ["systemd-resolved.service" "systemd-timesyncd.service" "systemd-udevd.service" "systemd-userdbd.service"];
      unwanted = ["gcc" "nano" "perl" "python3" "rsync" "strace" "sudo"];
    };
}
