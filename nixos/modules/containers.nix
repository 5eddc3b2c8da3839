# A container for each component and plugin that runs here: a network card on the bridge, its own secret,
# limits, and one unit inside. The packet filter decides what it may reach.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}: let
  inherit (lib) mkIf mkOption types;
  cfg = config.cim;
  core = import ../lib;
  inherit (cfg) rendered;
  tools = import ./units.nix {inherit lib;};
  files = rendered.files;

  enabled = cfg.contained;
  # The core's view of each: address, bridge, gateway, binds, and the unit if it knows one.
  network = name: rendered.containers.${name};

  natsUrl = c: "${
    if cfg.host.nats.tls == null
    then "nats"
    else "tls"
  }://${c.gateway}:${toString c.natsPort}";

  # A program that the core knows no unit for.
  genericUnit = name: given: c: {
    description = "CIM: ${name}";
    after = ["network-online.target"];
    wants = ["network-online.target"];
    requires = [];
    wantedBy = ["multi-user.target"];
    unitConfig.StartLimitIntervalSec = 0;
    serviceConfig =
      core.hardening.service
      // core.hardening.peers ["${c.gateway}/32"]
      // {
        Type = "exec";
        DynamicUser = true;
        StateDirectory = "cim-${name}";
        ExecStart = utils.escapeSystemdExecArgs (
          if given.command != null
          then given.command
          else [(lib.getExe given.package)]
        );
        Environment =
          ["CIM_NATS_URL=${natsUrl c}" "CIM_NATS_NKEY_FILE=%d/nats.nk" "CIM_NATS_INBOX_PREFIX=${c.inbox}"]
          ++ lib.mapAttrsToList (key: value: "${key}=${value}") c.environment;
        LoadCredential = "nats.nk:/var/lib/cim-secrets/${name}.nk";
        Restart = "always";
        RestartSec = "2s";
      };
  };

  # Inside, the storage manager waits for the host's unit of the same name, see below.
  storageManager = {
    environment.etc = tools.etc files ["/etc/cim/storage-manager.toml"];
    environment.systemPackages = [
      cfg.components.storage-manager.package
      (pkgs.writeScriptBin "cim-run-storage-manager" files."/usr/local/sbin/cim-run-storage-manager")
    ];
    systemd.services.cim-storage-manager =
      tools.unit [files."/etc/cim/storage-manager.toml"] (rendered.units.cim-storage-manager // {wantedBy = [];});
    users = tools.users {inherit (rendered.users) cim-storage-manager;};
  };

  inside = name: given: let
    c = network name;
  in
    if c.unit != null
    then storageManager
    else {systemd.services."cim-${name}" = tools.unit [] (genericUnit name given c);};

  container = name: given: let
    c = network name;
  in {
    autoStart = true;
    privateNetwork = true;
    hostBridge = c.bridge;
    localAddress = "${c.address}/${toString c.prefixLength}";
    timeoutStartSec = "5min";
    # Single files: a directory would show a component the others' secrets.
    bindMounts = lib.genAttrs c.binds (path: {
      hostPath = path;
      isReadOnly = true;
    });
    config = {
      imports = [(inside name given)];
      networking = {
        defaultGateway.address = c.gateway;
        useHostResolvConf = lib.mkForce false;
        inherit (config.networking) nameservers;
        hosts = config.networking.hosts;
        # No port inside is open to others.
        firewall.enable = true;
      };
      # The machine's authorities are trusted inside: a tier's certificate may come from a private authority.
      security.pki = {inherit (config.security.pki) certificateFiles certificates;};
      documentation.enable = false;
      environment.defaultPackages = [];
      system.stateVersion = config.system.stateVersion;
    };
  };

  # `nixos-container run` enters a container without a login there.
  enter = name: "/run/current-system/sw/bin/nixos-container run ${name} --";
  manager = rendered.units.cim-storage-manager;
  watch = rendered.watches.cim-storage-manager-secrets;
in {
  imports = [./inventory.nix];

  options.cim.contained = mkOption {
    type = types.attrsOf types.raw;
    internal = true;
    default = {};
    description = "Components and plugins that run in containers here.";
  };

  config = mkIf (enabled != {}) (lib.mkMerge [
    {
      assertions =
        lib.mapAttrsToList (name: given: {
          assertion = given.package != null || given.command != null;
          message = "`${name}` is enabled and has no program: set its `package` (of the components the storage manager and the component registry come with one), or set `enable` to false";
        })
        enabled
        ++ lib.mapAttrsToList (name: given: {
          assertion = given.address != null;
          message = "`${name}` is enabled and has no `address`: give it one of `${cfg.host.containers.cidr}`, or set `enable` to false";
        })
        enabled;

      containers = lib.mapAttrs container enabled;

      systemd.services = lib.mapAttrs' (name: given:
        lib.nameValuePair "container@${name}" {
          # After NATS, but not bound to it: clients reconnect by themselves, and a stopped NATS must not leave
          # stopped containers behind when it starts again.
          after = ["nats.service"];
          wants = ["nats.service"];
          serviceConfig =
            (network name).limits
            // {
              TasksMax = given.tasks;
              CPUWeight = given.cpuWeight;
            };
        })
      enabled;
    }

    # On the host the storage manager has a unit by its own name, as on a machine without containers: it starts,
    # stops and kills the unit inside, so killing one kills the other.
    (mkIf (enabled ? storage-manager) {
      cim.programs = {
        cim-storage-manager = lib.getExe cfg.components.storage-manager.package;
        systemctl = "/run/current-system/sw/bin/systemctl";
      };

      systemd.paths.cim-storage-manager-secrets = {inherit (watch) description wantedBy pathConfig;};
      systemd.services.cim-storage-manager-secrets = tools.unit [] watch.unit;

      systemd.services.cim-storage-manager = {
        description = "${manager.description}, in its container";
        inherit (manager) wantedBy unitConfig;
        after = ["container@storage-manager.service"];
        bindsTo = ["container@storage-manager.service"];
        serviceConfig = {
          Type = "exec";
          ExecStart = "${enter "storage-manager"} systemctl start --wait cim-storage-manager.service";
          # Joins the start that is under way and ends with it: then the unit inside is ready, or this one has failed.
          ExecStartPost = "${enter "storage-manager"} systemctl start cim-storage-manager.service";
          ExecStop = "${enter "storage-manager"} systemctl stop cim-storage-manager.service";
          ExecStopPost = [
            "-${enter "storage-manager"} systemctl kill --signal=KILL cim-storage-manager.service"
            "-${enter "storage-manager"} systemctl stop cim-storage-manager.service"
          ];
          inherit (manager.serviceConfig) Restart RestartSec TimeoutStartSec TimeoutStopSec;
        };
      };

      environment.systemPackages = [
        (pkgs.writeShellScriptBin "cim-run-storage-manager" ''
          exec ${enter "storage-manager"} cim-run-storage-manager "$@"
        '')
      ];
    })
  ]);
}
