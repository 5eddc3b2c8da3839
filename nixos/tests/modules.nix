# The modules' results from options and inventories, and their refusals: with nixpkgs' `lib` alone, and
# stand-ins for the options of NixOS that they set. Gives `N passed`, or throws with every case that failed.
{lib}: let
  lab = ../../fixtures/inventory/lab.json;
  example = ../../fixtures/inventory/example.json;
  # An inventory with every key.
  sample = import ../lib/tests/sample.nix;
  own = name: (lib.importJSON example).hosts.${name};

  # NixOS's options, as far as the modules set them: they take any value, and merge.
  standIns = {
    options =
      lib.genAttrs ["boot" "containers" "documentation" "environment" "networking" "nixpkgs" "programs" "security" "services" "specialisation" "system" "systemd" "users" "virtualisation"] (_:
        lib.mkOption {
          type = lib.types.submodule {freeformType = lib.types.lazyAttrsOf lib.types.anything;};
          default = {};
        })
      // lib.genAttrs ["assertions" "warnings"] (_:
        lib.mkOption {
          type = lib.types.listOf lib.types.anything;
          default = [];
        });
    config = {
      networking = {
        nameservers = [];
        firewall = {
          allowedTCPPorts = [];
          allowedUDPPorts = [];
        };
      };
      system.stateVersion = "26.05";
    };
  };
  program = name: {
    inherit name;
    type = "derivation";
    version = "1";
    outPath = "/programs/${name}";
    meta.mainProgram = name;
  };
  pkgs =
    lib.genAttrs ["seaweedfs" "versitygw"] (name: program name // {version = "99";})
    // lib.genAttrs ["curl" "gnugrep" "gnused" "jq" "minio" "minio-client" "nats-server" "rustfs" "garage_2" "e2fsprogs" "util-linux"] program
    // {
      cim = lib.genAttrs ["cim-storage-manager" "cim-harness" "cim-fake-wasabi"] program;
      writeText = name: _: "/texts/${name}";
      writeScriptBin = name: _: program name;
      writeShellScriptBin = name: _: program name;
    };

  machineOf = modules: module:
    (lib.evalModules {
      modules = modules ++ [standIns {cim.node = lib.mkDefault "host";} module];
      specialArgs = {
        inherit pkgs;
        utils.escapeSystemdExecArgs = lib.concatStringsSep " ";
      };
    })
    .config;
  machine = machineOf [../modules];
  # On a machine the name is the host name's; here that would wait for the settings beside it.
  of = inventory: node: more: machine {imports = [{cim = {inherit inventory node;};} more];};

  # A machine test with stand-ins for the test driver: its machines and its script, as far as they are ours.
  runNixOSTest = module: let
    test =
      (lib.evalModules {
        modules = [
          module
          {
            options =
              lib.genAttrs ["globalTimeout" "name" "testScript"] (_: lib.mkOption {type = lib.types.raw;})
              // {
                nodes = lib.mkOption {type = lib.types.lazyAttrsOf lib.types.deferredModule;};
                qemu.forceAccel = lib.mkOption {type = lib.types.bool;};
              };
          }
        ];
      })
      .config;
    node = name: module:
      (lib.evalModules {
        modules = [module standIns] ++ lib.optional (name != "operator") {cim.node = name;};
        specialArgs = {
          inherit pkgs;
          utils.escapeSystemdExecArgs = lib.concatStringsSep " ";
        };
      })
      .config;
    nodes = lib.mapAttrs node test.nodes;
    script =
      if lib.isFunction test.testScript
      then test.testScript {inherit nodes;}
      else test.testScript;
    wrong = lib.concatMap refusals (lib.attrValues nodes);
  in
    if wrong != []
    then throw (toString wrong)
    else program test.name // {outPath = builtins.seq (builtins.stringLength script) "/tests/${test.name}";};
  tests = import ./. {
    pkgs =
      pkgs
      // lib.genAttrs ["coreutils" "natscli" "netcat" "nkeys"] program
      // {
        inherit lib;
        stdenv.hostPlatform = {inherit system;};
        linuxPackages.kernel.version = "6";
        testers = {inherit runNixOSTest;};
        runCommand = name: _: text: program name // {outPath = builtins.seq (builtins.stringLength text) "/runs/${name}";};
        writeShellApplication = {name, ...}: program name;
      };
    self = {
      nixosModules = import ../modules/list.nix;
      packages.${system} = pkgs.cim;
    };
  };
  system = "x86_64-linux";

  refusals = config: map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
  refused = text: config: lib.any (lib.hasInfix text) (refusals config);
  accepted = config: refusals config == [];
  # A value that its option's type does not take.
  mistyped = value: !(builtins.tryEval (builtins.deepSeq value true)).success;

  providers = ["minio" "seaweedfs" "versitygw" "rustfs" "garage"];
  # The lab's NAS with this provider; with Garage it is the tertiary tier.
  nasWith = provider:
    of lab "nas" {
      cim = {
        nas = {
          inherit provider;
          permitInsecureMinio = true;
        };
        tiers = lib.mkIf (provider == "garage") (lib.mapAttrs (_: lib.mkForce) {
          secondary = {
            endpoint = "http://192.168.1.9:9000";
            region = "us-east-1";
            bucket = "cim-archive";
          };
          tertiary = {
            host = "nas";
            bucket = "cim-archive";
          };
        });
      };
    };

  cases = {
    "the lab's machines are accepted" =
      lib.all (name: accepted (of lab name {cim.nas.permitInsecureMinio = true;})) ["host" "nas" "wasabi"];
    "the example's machines are accepted" =
      lib.all (name: accepted (of example name {cim.nas.permitInsecureMinio = true;})) ["host" "nas"];

    # Every key of an inventory goes through an option and returns unchanged.
    "what an inventory says is what is rendered" = let
      same = inventory: name: let
        config = of inventory name {};
        direct = (import ../lib).render {
          inherit inventory;
          inherit (config.cim) programs;
          host = name;
          platform = "nixos";
        };
      in
        builtins.toJSON config.cim.rendered == builtins.toJSON direct;
    in
      same lab "host" && same lab "nas" && same lab "wasabi" && same example "host" && same sample "host" && same sample "nas";
    "a seed of a leaf connection comes from the environment" = let
      inherit ((of sample "host" {}).systemd.services.nats) serviceConfig;
    in
      lib.hasSuffix "/texts/nats.conf" serviceConfig.ExecStart && serviceConfig.EnvironmentFile == ["/var/lib/cim-secrets/leaf-cloud.env"];

    "options alone say what an inventory says" = let
      host = own "host";
      file = of example "host" {};
      options = machine {
        cim = {
          name = "example";
          inherit (host) address;
          networks = (lib.importJSON example).networks;
          inherit (lib.importJSON example) buckets streams;
          tiers.tertiary = (lib.importJSON example).tiers.tertiary;
          # The NAS is another machine, which options do not know.
          tiers.secondary = {
            endpoint = "https://nas.example";
            region = "us-east-1";
            bucket = "cim-archive";
          };
          host = {
            enable = true;
            inherit (host) containers nats operators;
          };
          inherit (host) components ssh;
        };
      };
    in
      accepted options
      && options.services.nats == file.services.nats
      && options.systemd.services.nats == file.systemd.services.nats
      && options.networking.interfaces == file.networking.interfaces;

    "the host's module alone is enough" = let
      config = machineOf [../modules/host.nix] {
        cim = {
          address = "192.168.71.10";
          networks.lan.cidr = "192.168.71.0/24";
          host = {
            enable = true;
            nats.maxFileStore = 107374182400;
            nats.maxMemoryStore = 1073741824;
            operators.ops = {
              nkey = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
              from = "lan";
            };
          };
        };
      };
    in
      accepted config && config.services.nats.enable && lib.hasInfix "tcp dport 4222" config.networking.nftables.ruleset;
    "each module alone can be imported" = let
      alone = path: builtins.isString (machineOf [path] {cim.inventory = lab;}).cim.name;
    in
      lib.all alone (lib.attrValues (import ../modules/list.nix));

    "an option that is set wins over the inventory" = (of lab "host" {cim.host.nats.maxPayload = 2097152;}).services.nats.settings.max_payload == 2097152;
    "a tier of the inventory can be taken away" = accepted (of lab "host" {cim.tiers.tertiary = null;});

    "every acked event is on the disk" = (of lab "host" {}).services.nats.settings.jetstream.sync_interval == "always";
    "NATS's unit is the core's" = let
      inherit ((of lab "host" {}).systemd.services.nats) serviceConfig;
    in
      serviceConfig.KillSignal == "SIGTERM" && serviceConfig.ProtectSystem == "strict" && !(serviceConfig ? ExecStart);

    "the storage manager is in a container, with its secrets alone" = let
      config = of lab "host" {};
      container = config.containers.storage-manager;
    in
      container.privateNetwork
      && container.hostBridge == "br-cim"
      && lib.attrNames container.bindMounts == map (file: "/var/lib/cim-secrets/${file}") ["nas.env" "storage-manager.nk" "wasabi.env"]
      && config.systemd.services."container@storage-manager".serviceConfig.MemoryMax == "512M";
    "a secret that is replaced starts the storage manager's container again" = let
      inherit ((of example "host" {}).systemd) paths services;
    in
      lib.elem "/var/lib/cim-secrets/nas.env" paths.cim-storage-manager-secrets.pathConfig.PathChanged
      && lib.hasSuffix " try-restart container@storage-manager.service" services.cim-storage-manager-secrets.serviceConfig.ExecStart;
    "in a lab the harness starts the storage manager" = (of lab "host" {}).systemd.services.cim-storage-manager.wantedBy == [];
    "elsewhere it starts by itself" = (of example "host" {}).systemd.services.cim-storage-manager.wantedBy == ["multi-user.target"];
    "a component without a program does not run" = lib.attrNames (of example "host" {}).containers == ["storage-manager"];
    "one with a program and an address does" = let
      container =
        (of lab "host" {
          cim.components.pipeline-engine = {
            address = "10.71.0.13";
            package = program "engine";
          };
        })
        .containers
        .pipeline-engine;
    in
      lib.attrNames container.bindMounts == ["/var/lib/cim-secrets/pipeline-engine.nk"] && container.localAddress == "10.71.0.13/24";

    "a component that is enabled without a program is refused" = refused "set its `package`" (of lab "host" {
      cim.components.pipeline-engine = {
        enable = true;
        address = "10.71.0.13";
      };
    });
    "MinIO needs permission" = refused "permitInsecureMinio" (of lab "nas" {});
    "other providers need none" = lib.all (provider: accepted (nasWith provider)) ["seaweedfs" "versitygw" "rustfs" "garage"];
    "a provider that ignores conditions is refused under the archive" = refused "ignores the conditions" (of lab "nas" {cim.nas.provider = "garage";});
    "a provider that is too old to be sure of is refused" = lib.all (provider:
      refused "not known to write objects to disk" (of lab "nas" {
        cim.nas = {
          inherit provider;
          package = program provider;
        };
      })) ["seaweedfs" "versitygw"];
    "every provider has its server and what makes its buckets, and no other's" = lib.all (provider: let
      config = nasWith provider;
    in
      lib.filter (name: lib.any (other: lib.hasPrefix other name) providers) (lib.attrNames config.systemd.services)
      == [provider "${provider}-provision"]
      && lib.hasPrefix "/programs/" config.systemd.services.${provider}.serviceConfig.ExecStart
      && lib.remove "root" (lib.attrNames config.users.users) == [provider])
    providers;
    "a fake Wasabi outside of a lab is refused" = refused "for tests alone" (machine {
      cim = {
        networks.lan.cidr = "192.168.1.0/24";
        address = "192.168.1.4";
        fakeWasabi.enable = true;
      };
    });
    "a lab's key outside of a lab is refused" = refused "whose seed is public" (of lab "host" {cim.lab = false;});
    "two roles on one machine are refused" = refused "one machine has one" (of example "host" {cim.nas.enable = true;});
    "no role at all is refused" = refused "has no role" (machine {});
    "a machine that the inventory does not have is refused" = refused "no machine of that name" (of example "attic" {});
    "streams that overlap are refused" =
      refused "overlap" (of example "host" {cim.streams.COPY.subjects = ["cim.event.iu.>"];});

    "every scenario is a machine test or says what machines lack, and every machine test has machines" = let
      scenarios = lib.filter (lib.hasSuffix ".toml") (lib.attrNames (builtins.readDir ../../fixtures/scenarios));
      is = prefix: lib.filter (lib.hasPrefix prefix) (lib.attrNames tests.checks);
    in
      lib.length scenarios
      == lib.length (is "scenario-" ++ is "skipped-")
      && lib.elem "scenario-power-loss" (is "scenario-")
      && lib.all (test: lib.hasPrefix "/" "${test}") (lib.attrValues tests.checks);
    "the keys that a lab's description names are there" = let
      inherit
        (import ./lab.nix {
          pkgs = pkgs // {inherit lib;};
          self = {};
        })
        description
        ;
    in
      builtins.pathExists (../../fixtures/inventory/lab-keys + "/${baseNameOf description.nodes.host.nats_nkey_file}");
    "an option that is not described is refused, and named" = let
      whole = {
        type = lib.types.str;
        description = "What it is for.";
        example = "this";
      };
      page = option:
        import ../options-doc.nix {
          inherit lib;
          modules = [{options.cim.new = lib.mkOption option;}];
        };
    in
      lib.hasInfix "### `cim.new`" (page whole) && lib.all (key: mistyped (page (removeAttrs whole [key]))) (lib.attrNames whole);
    "a secret in the store is refused" = mistyped (of lab "host" {cim.reconcile.keyFile = "${builtins.storeDir}/x-key";}).cim.reconcile.keyFile;
    "a secret as a path literal is refused" = mistyped (of lab "host" {cim.reconcile.keyFile = ./modules.nix;}).cim.reconcile.keyFile;
    "a secret by name is not" = (of lab "host" {cim.reconcile.keyFile = "/var/lib/cim-secrets/operator.nk";}).cim.reconcile.keyFile == "/var/lib/cim-secrets/operator.nk";
    "a mistyped key is refused" = mistyped (of lab "host" {cim.host.nats.monitorKey = "UAQF";}).cim.host.nats.monitorKey;
    "no seed is in what is rendered" =
      lib.all (name: builtins.match ".*SU[A-Z2-7]{56}.*" (builtins.toJSON (of lab name {}).cim.rendered.files) == null) ["host" "wasabi"];
  };
  failed = lib.filter (name: !cases.${name}) (lib.attrNames cases);
in
  if failed == []
  then "${toString (lib.length (lib.attrNames cases))} passed"
  else throw "cases of nixos/tests/modules.nix that failed:\n${lib.concatMapStrings (name: "  ${name}\n") failed}"
