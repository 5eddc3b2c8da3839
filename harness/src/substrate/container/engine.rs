//! The search for a lab's Docker engine and its images.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::NetworkInspect;
use testcontainers::bollard::query_parameters::InspectNetworkOptions;
use testcontainers::core::client::docker_client_instance;
use tokio::net::TcpListener;

use crate::error::{Context as _, Error, Result};
use crate::lab::tools::Tool;

/// The variable in which `ci/docker run --anyway` says why there is no engine.
const NO_DOCKER: &str = "CIM_NO_DOCKER";
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// An engine of this machine, and the images for containers.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(super) docker: Docker,
    images: BTreeMap<&'static str, Image>,
}

/// The outcome of the search for an engine.
#[derive(Debug)]
pub(crate) enum Found {
    Engine(Engine),
    /// No engine can be used, for this reason.
    Nothing(String),
}

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) tag: String,
    version: String,
}

/// The file that `ci/images` writes: the image of each program.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Images(BTreeMap<String, String>);

impl Engine {
    /// Looks for an engine that has the images which `images` names. Nothing is started or pulled.
    pub(crate) async fn find(images: &Path, programs: &[Tool]) -> Result<Found> {
        if let Some(why) = std::env::var(NO_DOCKER).ok().filter(|why| !why.is_empty()) {
            return Ok(Found::Nothing(why));
        }
        let docker = match connect().await {
            Ok(docker) => docker,
            Err(why) => return Ok(Found::Nothing(why)),
        };
        let named = Images::read(images)?;
        let mut found = BTreeMap::new();
        for program in programs {
            found.insert(program.name(), named.image(images, &docker, *program).await?);
        }
        Ok(Found::Engine(Self { docker, images: found }))
    }

    /// Returns each program with its version, from its image's label.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (String, String)> {
        self.images.iter().map(|(name, image)| ((*name).to_owned(), image.version.clone()))
    }

    /// Returns the image of a program that [`Self::find`] looked up.
    pub(super) fn image(&self, program: Tool) -> Result<&Image> {
        let name = program.name();
        self.images
            .get(name)
            .ok_or_else(|| Error::setup(format!("no image of `{name}` was looked up")))
    }
}

/// Connects to an engine whose networks reach this machine; the error says why there is none.
async fn connect() -> Result<Docker, String> {
    let way_out = "`ci/docker run COMMAND…` starts one";
    let silent = |error: String| format!("no Docker engine answers ({error}): {way_out}");
    let docker = docker_client_instance().await.map_err(|error| silent(error.to_string()))?;
    let answer = tokio::time::timeout(ANSWERS_WITHIN, docker.ping()).await;
    match answer {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(silent(error.to_string())),
        Err(_) => {
            return Err(format!("the Docker engine does not answer within {ANSWERS_WITHIN:?}"));
        }
    }
    let bridge = docker.inspect_network("bridge", None::<InspectNetworkOptions>).await;
    let bridge = bridge.map_err(|e| format!("the Docker engine has no network `bridge` ({e})"))?;
    let here = match gateway(&bridge) {
        Some(gateway) => TcpListener::bind((gateway, 0)).await.is_ok(),
        None => false,
    };
    if here {
        Ok(docker)
    } else {
        Err("the Docker engine's networks are not on this machine, so links cannot be".into())
    }
}

/// Returns the address at which containers of a network reach this machine.
pub(super) fn gateway(network: &NetworkInspect) -> Option<IpAddr> {
    let config = network.ipam.as_ref()?.config.as_ref()?;
    config.iter().find_map(|part| {
        let gateway = part.gateway.as_ref().and_then(|gateway| gateway.parse().ok());
        // Until an engine's second start its own network `bridge` has a subnet only.
        gateway.or_else(|| first_address(part.subnet.as_ref()?))
    })
}

/// Returns the address that Docker gives to a gateway by default: the subnet's first.
fn first_address(subnet: &str) -> Option<IpAddr> {
    let (network, _) = subnet.split_once('/')?;
    let network: Ipv4Addr = network.parse().ok()?;
    Some(Ipv4Addr::from_bits(network.to_bits().checked_add(1)?).into())
}

impl Images {
    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let way_out = "run `ci/docker run ci/images`";
        let text = std::fs::read(path).setup(|| format!("cannot read `{shown}`: {way_out}"))?;
        serde_json::from_slice(&text).setup(|| format!("`{shown}` does not name images: {way_out}"))
    }

    async fn image(&self, path: &Path, docker: &Docker, program: Tool) -> Result<Image> {
        let (program, shown) = (program.name(), path.display());
        let way_out = "run `ci/docker run ci/images`";
        let named = self.0.get(program).and_then(|image| image.rsplit_once(':'));
        let (name, tag) = named.ok_or_else(|| {
            Error::setup(format!("`{shown}` names no image of `{program}`: {way_out}"))
        })?;
        let image = docker.inspect_image(&format!("{name}:{tag}")).await;
        let image =
            image.setup(|| format!("the Docker engine has no image `{name}:{tag}`: {way_out}"))?;
        let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
        let version = labels.get("cim.version").cloned().unwrap_or_else(|| "unknown".into());
        Ok(Image { name: name.into(), tag: tag.into(), version })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_without_a_gateway_has_the_first_address_of_its_subnet() {
        let of = |part| {
            let network = json!({ "IPAM": { "Config": [part] } });
            gateway(&serde_json::from_value(network).unwrap()).map(|address| address.to_string())
        };
        let both = json!({ "Subnet": "10.1.0.0/16", "Gateway": "10.1.7.7" });
        assert_eq!(of(both).as_deref(), Some("10.1.7.7"));
        let subnet = json!({ "Subnet": "172.17.0.0/16" });
        assert_eq!(of(subnet).as_deref(), Some("172.17.0.1"));
        assert_eq!(of(json!({})), None);
    }
}
