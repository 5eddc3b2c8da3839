# The seven components: the token of each in CIM's subjects, and its purpose.
{
  information-units = {
    token = "iu";
    description = "immutable content by content id";
  };
  component-registry = {
    token = "registry";
    description = "who is running and what each can do";
  };
  pipeline-engine = {
    token = "pipeline";
    description = "pipeline definitions and their execution";
  };
  plugin-system = {
    token = "plugin";
    description = "extension points and the plugins in them";
  };
  storage-manager = {
    token = "storage";
    description = "tiers streams to the NAS and Wasabi, and brings them back";
  };
  ui-framework = {
    token = "ui";
    description = "sessions, views and notifications";
  };
  integration-hub = {
    token = "integration";
    description = "connectors to systems outside";
  };
}
