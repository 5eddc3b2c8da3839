# docs/options.md from the modules, with nixpkgs' `lib` alone: options are read, nothing is configured.
# ci/options-doc writes it.
#
# Throws if an option of `cim` has no description, no example or no type, and names each of them.
{
  lib,
  modules ? [./modules],
}: let
  evaluated = lib.evalModules {
    modules =
      modules
      ++ [
        # The modules set options of NixOS, which are not declared here.
        {_module.check = false;}
      ];
    # Defaults that need packages have a text of their own.
    specialArgs.pkgs = throw "an option's default reads `pkgs` and has no defaultText";
  };

  # Options of one module, submodules included, sorted by name.
  all = lib.filter (option: option.visible && !option.internal && lib.hasPrefix "cim." option.name) (
    lib.optionAttrSetToDocList evaluated.options
  );

  lacks = option:
    lib.concatMapStringsSep ", " (key: "no ${key}") (lib.filter (key: (option.${key} or null) == null || option.${key} == "") ["description" "example"])
    + lib.optionalString ((option.type or "unspecified") == "unspecified value") "no type";
  incomplete = lib.filter (option: lacks option != "") all;

  text = value:
    if value ? text
    then value.text
    else lib.generators.toPretty {} value;
  code = value: let
    shown = lib.removeSuffix "\n" (text value);
  in
    if (value._type or "") == "literalMD"
    then " ${shown}"
    else if lib.hasInfix "\n" shown
    then "\n\n  ```nix\n${indent shown}\n  ```"
    else " `${shown}`";
  indent = block: lib.concatMapStringsSep "\n" (line: lib.optionalString (line != "") "  ${line}") (lib.splitString "\n" block);

  entry = option: ''
    ### `${option.name}`
    ${lib.removeSuffix "\n" (option.description.text or option.description)}

    - type: ${option.type}
    ${lib.optionalString (option ? default) "- default:${code option.default}\n"}- example:${code option.example}
  '';

  # `cim.host.nats.port` is in the section `cim.host`.
  section = option: lib.concatStringsSep "." (lib.take 2 option.loc);
  sections = lib.groupBy section all;
  top = lib.filter (name: lib.length sections.${name} == 1 && (lib.head sections.${name}).name == name) (lib.attrNames sections);
  grouped = lib.filter (name: !(lib.elem name top)) (lib.attrNames sections);
in
  if incomplete != []
  then
    throw "options that the reference cannot describe:\n${
      lib.concatMapStrings (option: "  ${option.name}: ${lacks option}\n") incomplete
    }"
  else ''
    # Options

    What `nixosModules` of this project declare. Made from the modules by nixos/options-doc.nix; `ci/nix` (where
    nixpkgs is at hand) and `nix flake check` fail when this page says something else; `ci/options-doc` writes it. How they fit together: [nixos.md](nixos.md).

    ## The machine
    ${lib.concatMapStringsSep "\n" (name: entry (lib.head sections.${name})) top}
    ${lib.concatMapStringsSep "\n" (name: "## ${name}\n${lib.concatMapStringsSep "\n" entry sections.${name}}") grouped}''
