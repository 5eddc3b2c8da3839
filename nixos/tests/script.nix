# The test script of a test whose Python is a file here: it imports the file and calls its `run` with the
# machines by name and with `arguments`, which travel as JSON.
#
# `import_module` and not `import`: the test driver checks the script's types before the file is there.
{pkgs}: module: arguments: let
  inherit (pkgs) lib;
  scripts = builtins.path {
    name = "cim-test-scripts";
    path = ./.;
    filter = file: _: lib.hasSuffix ".py" file;
  };
in ''
  import importlib
  import json
  import sys

  sys.path.insert(0, "${scripts}")
  with open("${pkgs.writeText "${module}.json" (builtins.toJSON arguments)}") as file:
      arguments = json.load(file)
  importlib.import_module("${module}").run({machine.name: machine for machine in machines}, **arguments)
''
