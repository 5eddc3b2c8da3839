# Output formats: JSON, TOML, units, the packet filter.
let
  json = import ../text/json.nix;
  toml = import ../text/toml.nix;
  unit = import ../text/unit.nix;
  nested = {
    b = [1 {c = "x";}];
    a = {};
    "k y" = [];
    n = null;
  };
in {
  "JSON is the same value, over several lines" = {
    expr = builtins.fromJSON (json nested);
    expected = nested;
  };
  "JSON is indented by level" = {
    expr = json {a.b = [1 2];};
    expected = "{\n  \"a\": {\n    \"b\": [\n      1,\n      2\n    ]\n  }\n}\n";
  };
  "TOML is read back as what was written" = {
    expr = builtins.fromTOML (toml {
      plain = "a \"quoted\" \\ text";
      list = ["x" 1 true];
      table = {
        key = 1;
        deep."odd key".x = false;
        empty = {};
      };
    });
    expected = {
      plain = "a \"quoted\" \\ text";
      list = ["x" 1 true];
      table = {
        key = 1;
        deep."odd key".x = false;
        empty = {};
      };
    };
  };
  "a unit's lists repeat the directive, or are joined where systemd reads a list" = {
    expr = unit "# header" {
      description = "d";
      after = ["a" "b"];
      wants = [];
      requires = [];
      wantedBy = [];
      unitConfig = {};
      serviceConfig = {
        SystemCallFilter = ["@x" "~@y"];
        IPAddressAllow = ["localhost" "10.0.0.0/8"];
        PrivateTmp = true;
        MemoryMax = 5;
      };
    };
    expected = ''
      # header

      [Unit]
      Description=d
      After=a b

      [Service]
      IPAddressAllow=localhost 10.0.0.0/8
      MemoryMax=5
      PrivateTmp=yes
      SystemCallFilter=@x
      SystemCallFilter=~@y
    '';
  };
}
