# Units that restart a unit when a file of its credentials is replaced. systemd gives a unit copies, made when the
# unit starts, so a running one never sees the new file.
#
# A watch has description, wantedBy, pathConfig, and the unit to start, in the form of `units`.
{
  units,
  storageManager,
  # The storage manager is in a container, which sees the files as they were when it started.
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
        # A file that is written in pieces causes several changes, and too many would end the watch for good.
        unitConfig.StartLimitIntervalSec = 0;
        serviceConfig =
          # Only root may give systemd orders.
          hardening.service
          // {
            Type = "oneshot";
            # Two files are usually replaced within a second. The watch does not wait for the start, because files
            # replaced meanwhile must be seen.
            ExecStart = "${systemctl} --no-block try-restart ${restarted}";
            ExecStartPre = "/bin/sh -c 'sleep 1'";
            IPAddressDeny = "any";
            PrivateNetwork = true;
            RestrictAddressFamilies = ["AF_UNIX"];
          };
      };
    };
  }
