# The cases that this core and the Rust code must agree on: fixtures/inventory/cases and the documents of
# the schema.
let
  p = import ../prelude.nix;
  core = import ../.;
  fixtures = ../../../fixtures;
  documents = directory: map (name: directory + "/${name}") (p.filter (p.hasSuffix ".json") (p.attrNames (builtins.readDir directory)));
  schema = name: p.concatMap (version: documents (fixtures + "/schemas/inventory/${name}/${version}")) ["v1" "v2" "v3" "v4"];
  cases = documents (fixtures + "/inventory/cases");

  contains = text: part: p.length (p.splitOn part text) > 1;
  # A case says whether the form is refused, or lists the problems and the names in each line.
  agrees = path: let
    case = core.parse path;
    problems = case.problems or [];
    errors = core.check case.inventory;
  in
    if case.refused or false
    then errors != []
    else p.length errors == p.length problems && builtins.all (problem: builtins.any (line: builtins.all (contains line) problem.names) errors) problems;
  disagree = p.filter (path: !(agrees path)) cases;
in {
  "Nix and Rust say the same of every case" = {
    expr = map (path: [(baseNameOf path) (core.check (core.parse path).inventory)]) disagree;
    expected = [];
  };
  "there are cases" = {
    expr = p.length cases >= 45;
    expected = true;
  };
  "the schema's examples are in order" = {
    expr = p.concatMap core.check (schema "examples");
    expected = [];
  };
  "what the schema refuses is refused here" = {
    expr = p.filter (path: core.check path == []) (schema "refused");
    expected = [];
  };
}
