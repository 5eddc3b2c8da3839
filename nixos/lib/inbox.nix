# What a component's inbox begins with: it has one of its own, which nobody else may hear. Clients have to
# set that prefix.
name: "_INBOX_${(import ./components.nix).${name}.token}"
