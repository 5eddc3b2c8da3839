# Common to every machine of an installation: SSH by key from named networks, an audit log, the core's packet
# filter, and no more programs and services than its role needs.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim;
  cim = import ./types.nix {inherit lib;};
  inherit (cfg.rendered) firewall;
  ssh = cfg.ssh.keys != [];
  ignored = config.networking.firewall.allowedTCPPorts ++ config.networking.firewall.allowedUDPPorts;
in {
  imports = [./inventory.nix];

  options.cim.ssh = {
    keys = mkOption {
      type = types.listOf types.singleLineStr;
      default = [];
      example = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops@example"];
      description = ''
        Public keys that may log in as root. There is no other login over the network; without keys there is no
        SSH at all.
      '';
    };
    from = mkOption {
      type = types.listOf cim.cidr;
      default = [];
      example = ["192.168.71.0/24"];
      description = "Networks that SSH answers to.";
    };
  };

  config = {
    cim = {
      ssh = lib.mapAttrs (_: mkDefault) (cfg.read.own.ssh or {});
      entry = mkIf ssh {inherit (cfg) ssh;};
    };

    services.openssh = {
      enable = ssh;
      openFirewall = false;
      settings = {
        PermitRootLogin = "prohibit-password";
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        AllowUsers = ["root"];
        AllowAgentForwarding = false;
        AllowTcpForwarding = false;
        X11Forwarding = false;
        MaxAuthTries = 3;
        LoginGraceTime = 20;
      };
    };
    users.users.root.openssh.authorizedKeys = {inherit (cfg.ssh) keys;};

    # The core's whole ruleset instead of NixOS's, so that the filter here is the one that was tested elsewhere.
    # Its bridge table is unknown to the kernel that `checkRuleset` would load it into.
    networking.firewall.enable = false;
    networking.nftables = {
      enable = true;
      checkRuleset = false;
      ruleset = firewall.nftables;
    };
    boot.kernel.sysctl = mkIf (firewall.forward != []) {"net.ipv4.ip_forward" = 1;};
    warnings = lib.optional (ignored != []) ''
      Ports ${lib.concatMapStringsSep ", " toString ignored} are in `networking.firewall`, which `cim` replaces by its
      own packet filter: they stay closed. What may be reached is what the inventory says.
    '';

    systemd.tmpfiles.rules = cfg.rendered.tmpfiles;

    # Changes of user, and changes of the machine's configuration.
    security.auditd.enable = mkDefault true;
    security.audit = {
      enable = mkDefault true;
      rules = mkDefault [
        "-a always,exit -F arch=b64 -S execve -F auid>=0 -F auid!=unset -k login"
        "-w /var/lib/cim-secrets -p rwa -k secrets"
        "-w /etc/ssh -p wa -k ssh"
      ];
    };
    security.sudo.enable = mkDefault false;

    # No programs that no role needs.
    environment.defaultPackages = mkDefault [];
    documentation.enable = mkDefault false;
    programs.command-not-found.enable = mkDefault false;
    programs.nano.enable = mkDefault false;
  };
}
