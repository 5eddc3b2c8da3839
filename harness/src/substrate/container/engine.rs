//! The Docker engine of a lab: whether there is one that will do, and the images that it has.

use std::collections::BTreeMap;
use std::net::IpAddr;
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

/// An engine of this machine, and what it makes containers of.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(super) docker: Docker,
    images: BTreeMap<&'static str, Image>,
}

/// What came of the search for an engine.
#[derive(Debug)]
pub(crate) enum Found {
    Engine(Engine),
    /// There is none that will do: why.
    Nothing(String),
}

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) tag: String,
    version: String,
}

/// What `ci/images` writes: the image of each program.
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

    /// The programs' versions, as their images say.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (String, String)> {
        self.images.iter().map(|(name, image)| ((*name).to_owned(), image.version.clone()))
    }

    /// The image of a program that was asked for when the engine was looked for.
    pub(super) fn image(&self, program: Tool) -> Result<&Image> {
        let name = program.name();
        self.images
            .get(name)
            .ok_or_else(|| Error::setup(format!("no image of `{name}` was looked up")))
    }
}

/// Connects, or says why that is of no use.
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

/// The address at which containers of a network reach this machine.
pub(super) fn gateway(network: &NetworkInspect) -> Option<IpAddr> {
    let config = network.ipam.as_ref()?.config.as_ref()?;
    config.iter().find_map(|part| part.gateway.as_ref()?.parse().ok())
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
