# Leaf nodes: NATS servers elsewhere, such as in a cloud, that share some subjects with the host and no others.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim.leafNode;
  cim = import ./types.nix {inherit lib;};

  subjects = description: example:
    mkOption {
      type = types.listOf cim.subject;
      default = [];
      inherit description example;
    };

  user = types.submodule {
    options = {
      nkey = mkOption {
        type = cim.nkey;
        example = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
        description = "The leaf node's public nkey.";
      };
      publish = subjects "Subjects that it may send to this host." ["edge.>"];
      subscribe = subjects "Subjects that it gets from this host." ["cim.iu.created"];
    };
  };

  remote = types.submodule {
    options = {
      urls = mkOption {
        type = types.listOf cim.leafUrl;
        example = ["tls://nats.example.com:7422"];
        description = "URLs on which the other server listens for leaf nodes, tried in order.";
      };
      login = mkOption {
        type = types.enum ["credentials" "nkey"];
        default = "nkey";
        example = "credentials";
        description = ''
          This host's login there. `nkey`: with a seed, in `/var/lib/cim-secrets/leaf-<name>.env` as
          `LEAF_<NAME>=SU…`. `credentials`, for servers in operator mode: with the file
          `/var/lib/cim-secrets/leaf-<name>.creds`.
        '';
      };
      export = subjects "Subjects that the other server gets from this host." ["cim.iu.created"];
      import = subjects "Subjects that this host takes from the other server." ["cloud.>"];
    };
  };

  listen = types.submodule {
    options = {
      port = mkOption {
        type = types.port;
        default = 7422;
        example = 7422;
        description = "The port that leaf nodes connect to.";
      };
      from = mkOption {
        type = cim.node;
        example = "wan";
        description = "The network of `cim.networks` that they connect from.";
      };
      users = mkOption {
        type = types.attrsOf user;
        default = {};
        example = lib.literalExpression ''{edge = {nkey = "UBNB…"; publish = ["edge.>"];};}'';
        description = "Leaf nodes that may connect, and subjects that may cross.";
      };
    };
  };
in {
  imports = [./host.nix];
  options.cim.leafNode = {
    listen = mkOption {
      type = types.nullOr listen;
      default = null;
      example = lib.literalExpression ''{from = "wan"; users.edge = {nkey = "UBNB…"; publish = ["edge.>"];};}'';
      description = "Connections of leaf nodes to this host. Null: none.";
    };
    remotes = mkOption {
      type = types.attrsOf remote;
      default = {};
      example = {
        cloud = {
          urls = ["tls://nats.example.com:7422"];
          export = ["cim.iu.created"];
        };
      };
      description = ''
        Servers that this host connects to as a leaf node.
      '';
    };
  };

  config.cim = {
    leafNode = lib.mapAttrs (_: mkDefault) (config.cim.read.own.nats.leafNodes or {});
    entry = mkIf (cfg.listen != null || cfg.remotes != {}) {nats.leafNodes = cfg;};
  };
}
