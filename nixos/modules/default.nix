{imports = builtins.attrValues (removeAttrs (import ./list.nix) ["default"]);}
