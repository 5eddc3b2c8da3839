# For ci/nix.d/permissions, which runs a real server: the lab's host with a stream of events and with
# components that ask and read one another. Text: the configuration, and a line `NAME NKEY` for each user.
let
  p = import ../prelude.nix;
  core = import ../.;
  lab = core.parse ../../../fixtures/inventory/lab.json;
  inherit (lab.hosts) host;
  inventory =
    lab
    // {
      streams.EVENTS.subjects = ["cim.event.>"];
      buckets.graph.users = ["information-units"];
      hosts =
        lab.hosts
        // {
          host =
            host
            // {
              components =
                host.components
                // {
                  pipeline-engine =
                    host.components.pipeline-engine
                    // {
                      asks = ["information-units"];
                      reads = ["information-units"];
                    };
                };
            };
        };
    };
  rendered = core.render {
    inherit inventory;
    host = "host";
  };
in {
  configuration = rendered.files."/etc/nats-server.conf";
  streams = p.lines (p.mapAttrsToList (_: builtins.toJSON) rendered.streams) + "\n";
  users = p.lines (map (user: "${user.name} ${user.nkey}") (import ../users.nix (core.read inventory).hosts.host)) + "\n";
}
