# The common parts of a machine's services.
#
# A unit has description, after, wants, requires, wantedBy, unitConfig and serviceConfig. A list in the
# last two stands for a directive that is repeated, except for the filters, which are joined by spaces.
let
  p = import ../prelude.nix;
  hardening = import ./hardening.nix;
in {
  unit = given:
    {
      after = [];
      wants = [];
      requires = [];
      wantedBy = ["multi-user.target"];
    }
    // given
    // {
      # It is retried for ever: its dependencies may come back at any time.
      unitConfig = {StartLimitIntervalSec = 0;} // given.unitConfig or {};
      serviceConfig = hardening.service // given.serviceConfig;
    };

  # A service that runs until it is stopped, as a user of its own, in a directory of its own.
  daemon = user: directory: config:
    {
      User = user;
      Group = user;
      StateDirectory = directory;
      StateDirectoryMode = "0700";
      Restart = "always";
      RestartSec = "1s";
      LimitNOFILE = 65536;
    }
    // config;

  # Files of root's, by the names under which the service reads them.
  load = credentials:
    p.optionalAttrs (credentials != {}) {LoadCredential = p.mapAttrsToList (name: path: "${name}:${path}") credentials;};
}
