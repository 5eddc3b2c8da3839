//! `get`.

use std::path::Path;

use cim_core::names::ContentId;
use cim_runtime::component::Failure;
use tempfile::NamedTempFile;

use crate::content::{ContentError, Contents, Got};

pub(super) async fn run(
    contents: &Contents,
    content: &ContentId,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let Some(output) = output else {
        return match contents.get(content, &mut std::io::stdout()).await {
            // A reader that has gone (`| head`) has read enough.
            Err(ContentError::File(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Ok(())
            }
            done => Ok(done.map(drop)?),
        };
    };
    Ok(into_file(contents, content, output).await.map(drop)?)
}

/// Writes content to a file beside the one that it is to be, and gives it that name when all of it was right.
async fn into_file(
    contents: &Contents,
    content: &ContentId,
    output: &Path,
) -> Result<Got, ContentError> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let beside = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let got = contents.get(content, &mut beside.as_file()).await?;
    beside.as_file().sync_all()?;
    beside.persist(output).map_err(|error| error.error)?;
    Ok(got)
}
