# For ci/nix.d/leaf-nodes: the lab's host as a hub that leaf nodes connect to, and as one that connects to
# it with the key of `information-units`. Text: both configurations.
let
  core = import ../.;
  lab = core.parse ../../../fixtures/inventory/lab.json;
  inherit (lab.hosts) host;
  text = leafNodes:
    (core.render {
      host = "host";
      inventory =
        lab
        // {
          hosts =
            lab.hosts
            // {
              host =
                host
                // {
                  components = {inherit (host.components) storage-manager;};
                  nats = host.nats // {inherit leafNodes;};
                };
            };
        };
    })
    .nats
    .text;
in {
  hub = text {
    listen = {
      from = "lan";
      users.branch = {
        inherit (host.components.information-units) nkey;
        publish = ["cim.event.>"];
        subscribe = ["cloud.>"];
      };
    };
  };
  # It tries to send more than the hub allows.
  branch = text {
    remotes.cloud = {
      urls = ["nats://127.0.0.1:7422"];
      export = ["cim.event.>" "cim.service.>"];
      import = ["cloud.>"];
    };
  };
}
