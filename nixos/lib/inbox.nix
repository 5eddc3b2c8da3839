# The prefix of a component's inbox: each has its own, and no other component may subscribe to it. Clients have
# to set that prefix.
name: "_INBOX_${(import ./components.nix).${name}.token}"
