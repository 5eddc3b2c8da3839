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
    # AF_NETLINK: Go's runtime and glibc's resolver look up the machine's addresses with it.
    RestrictAddressFamilies = ["AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK"];
    SystemCallArchitectures = "native";
    SystemCallFilter = ["@system-service" "~@privileged @resources"];
    # A call that is not allowed fails as on a kernel that refuses it; the runtimes go on without.
    SystemCallErrorNumber = "EPERM";
    UMask = "0077";
    DevicePolicy = "closed";
    KeyringMode = "private";
  };

  # Only these networks may be talked to; null means that the peers are not known beforehand.
  peers = networks:
    p.optionalAttrs (networks != null) {
      IPAddressDeny = "any";
      IPAddressAllow = ["localhost"] ++ networks;
    };
}
