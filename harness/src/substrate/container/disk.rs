//! Damage to a stream's files on a volume that no running program uses.

use std::path::Path;

use futures_util::StreamExt as _;
use testcontainers::bollard::body_full;
use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};

use super::network::Network;
use super::unit::DISK;
use crate::error::{Context as _, Error, Result, make_dir};
use crate::lab::blocks;
use crate::lab::tools::Tool;
use crate::scenario::DamageStream;

/// Copies a stream's directory out of a volume, damages a file and copies it back; returns a
/// description of the damage.
///
/// A container that is never started is the engine's only access to a volume's files. `work` is a
/// directory of this machine for the copy.
pub(super) async fn damage(
    network: &Network,
    volume: &str,
    streams: &Path,
    damage: &DamageStream,
    work: &Path,
) -> Result<String> {
    let docker = &network.engine.docker;
    let cannot = || format!("cannot damage `{}` on `{volume}`", damage.stream);
    let name = network.name_of("files");
    let image = network.engine.image(Tool::NatsServer)?;
    let body = ContainerCreateBody {
        image: Some(format!("{}:{}", image.name, image.tag)),
        labels: Some(network.labels()),
        host_config: Some(HostConfig {
            binds: Some(vec![format!("{volume}:{DISK}")]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    docker.create_container(Some(options), body).await.step(cannot)?;
    let path = streams.join(damage.stream.as_str()).display().to_string();
    let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
    let mut pieces = std::pin::pin!(docker.download_from_container(&name, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = pieces.next().await {
        archive.extend_from_slice(&piece.step(cannot)?);
    }
    let stream = damage.stream.to_string();
    let (archive, said) = in_archive(&archive, &stream, work, |dir| blocks::damage(dir, damage))?;
    let options =
        UploadToContainerOptionsBuilder::new().path(&streams.display().to_string()).build();
    let sent = docker.upload_to_container(&name, Some(options), body_full(archive.into())).await;
    sent.step(cannot)?;
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(&name, Some(options)).await.step(cannot)?;
    Ok(said)
}

/// Unpacks an archive of a directory, applies `change` to the directory and packs it again.
fn in_archive(
    archive: &[u8],
    name: &str,
    work: &Path,
    change: impl FnOnce(&Path) -> Result<String>,
) -> Result<(Vec<u8>, String)> {
    let cannot = || format!("cannot unpack `{name}`");
    make_dir(work)?;
    tar::Archive::new(archive).unpack(work).step(cannot)?;
    let dir = work.join(name);
    if !dir.is_dir() {
        return Err(Error::step(format!("there are no files of `{name}`")));
    }
    let said = change(&dir)?;
    let mut packed = tar::Builder::new(Vec::new());
    packed.append_dir_all(name, &dir).step(cannot)?;
    let packed = packed.into_inner().step(cannot)?;
    std::fs::remove_dir_all(work).step(cannot)?;
    Ok((packed, said))
}
