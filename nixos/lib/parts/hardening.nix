# Sandboxing of the units. `systemd-analyze security` scores each at 2.0 or better; ci/nix measures it.
let
  p = import ../prelude.nix;
in {
  # For a service that talks over IP and writes in its own directory.
  service = {
    NoNewPrivileges = true;
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    ProtectSystem = "strict";
    ProtectHome = true;
    ProtectProc = "invisible";
    PrivateTmp = true;
    PrivateDevices = true;
    PrivateUsers = true;
    ProtectHostname = true;
    ProtectClock = true;
    ProtectKernelTunables = true;
    ProtectKernelModules = true;
    ProtectKernelLogs = true;
    ProtectControlGroups = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    RemoveIPC = true;
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    # AF_NETLINK: Go's runtime and glibc's resolver look up the machine's addresses through it.
    RestrictAddressFamilies = ["AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK"];
    SystemCallArchitectures = "native";
    SystemCallFilter = ["@system-service" "~@privileged @resources"];
    # A call that is not allowed fails as on a kernel that refuses it; the runtimes continue without it.
    SystemCallErrorNumber = "EPERM";
    UMask = "0077";
    DevicePolicy = "closed";
    KeyringMode = "private";
  };

  # The only networks that the unit may talk to; null if the peers are not known beforehand.
  peers = networks:
    p.optionalAttrs (networks != null) {
      IPAddressDeny = "any";
      IPAddressAllow = ["localhost"] ++ networks;
    };
}
