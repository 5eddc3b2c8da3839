# Runs every test: a line for each that failed, and the count in the last line.
#
# A test file is a set, by what the test says: `{ expr, expected }`.
let
  p = import ../prelude.nix;
  files = p.filter (name: p.hasSuffix "-test.nix" name) (p.attrNames (builtins.readDir ./.));

  one = file: says: {
    expr,
    expected,
  }: {
    name = "${p.replaceStrings ["-test.nix"] [""] file}: ${says}";
    passed = expr == expected;
    got = builtins.toJSON expr;
    wanted = builtins.toJSON expected;
  };
  all = p.concatMap (file: p.mapAttrsToList (one file) (import (./. + "/${file}"))) files;
  failed = p.filter (test: !test.passed) all;
in
  p.lines (map (test: "failed: ${test.name}\n  got      ${test.got}\n  expected ${test.wanted}") failed
    ++ ["${toString (p.length all - p.length failed)} passed, ${toString (p.length failed)} failed"])
  + "\n"
