# What starts a unit again when a file of its credentials is replaced. systemd hands a unit copies, which it makes
# when the unit starts, so that a running one never sees the new file.
#
# A watch has description, wantedBy, pathConfig, and the unit that is started, as `units` has it.
{
  units,
  storageManager,
  # The storage manager is in a container, which sees the files that were there when it started.
  containers,
  systemctl,
}: let
  p = import ../prelude.nix;
  hardening = import ./hardening.nix;
  service = "cim-storage-manager";
  restarted =
    if containers
    then "container@storage-manager.service"
    else "${service}.service";
in
  p.optionalAttrs (units ? ${service}) {
    "${service}-secrets" = {
      description = "Secrets of the CIM storage manager";
      inherit (units.${service}) wantedBy;
      pathConfig.PathChanged = p.attrValues storageManager.credentials;
      unit = {
        description = "CIM storage manager: it starts again, for a secret of its was replaced";
        after = [];
        wants = [];
        requires = [];
        wantedBy = [];
        # A file that is written in pieces is several changes, and too many would end the watch for good.
        unitConfig.StartLimitIntervalSec = 0;
        serviceConfig =
          # systemd listens to root.
          hardening.service
          // {
            Type = "oneshot";
            # Who replaces two files replaces both within a second. It does not wait for the start, for what
            # is replaced meanwhile is to be seen.
            ExecStart = "${systemctl} --no-block try-restart ${restarted}";
            ExecStartPre = "/bin/sh -c 'sleep 1'";
            IPAddressDeny = "any";
            PrivateNetwork = true;
            RestrictAddressFamilies = ["AF_UNIX"];
          };
      };
    };
  }
