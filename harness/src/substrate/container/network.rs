//! A lab's network and volumes, all with the lab's label.

use std::collections::HashMap;
use std::net::IpAddr;

use testcontainers::bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use testcontainers::bollard::query_parameters::{InspectNetworkOptions, RemoveVolumeOptions};

use super::engine::{Engine, gateway};
use super::reaper::LABEL;
use crate::error::{Context as _, Error, Result};

/// A network of the engine that belongs to one lab.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) engine: Engine,
    /// The lab's id, which also begins the name of everything.
    lab: String,
    /// The address at which containers reach this machine.
    pub(super) gateway: IpAddr,
}

impl Network {
    pub(super) async fn make(engine: Engine, lab: &str) -> Result<Self> {
        let cannot = || format!("cannot make the network of lab {lab}");
        let name = format!("cim-{lab}");
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            labels: Some(labels(lab)),
            ..Default::default()
        };
        engine.docker.create_network(request).await.setup(cannot)?;
        let made = engine.docker.inspect_network(&name, None::<InspectNetworkOptions>).await;
        let gateway = gateway(&made.setup(cannot)?);
        let gateway = gateway.ok_or_else(|| Error::setup(format!("{}: no gateway", cannot())))?;
        Ok(Self { engine, lab: lab.into(), gateway })
    }

    /// Returns a name within the lab; the network's DNS knows containers by it.
    pub(super) fn name_of(&self, what: &str) -> String {
        format!("cim-{}-{what}", self.lab)
    }

    /// Returns the network's own name.
    pub(super) fn name(&self) -> String {
        format!("cim-{}", self.lab)
    }

    pub(super) fn labels(&self) -> HashMap<String, String> {
        labels(&self.lab)
    }

    /// Makes an empty volume.
    pub(super) async fn make_volume(&self, name: &str) -> Result<()> {
        let request = VolumeCreateRequest {
            name: Some(name.into()),
            labels: Some(self.labels()),
            ..Default::default()
        };
        let made = self.engine.docker.create_volume(request).await;
        made.map(drop).setup(|| format!("cannot make the volume `{name}`"))
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = self.engine.docker.remove_volume(name, None::<RemoveVolumeOptions>).await;
        removed.step(|| format!("cannot remove the volume `{name}`"))
    }
}

fn labels(lab: &str) -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), lab.to_owned())])
}
