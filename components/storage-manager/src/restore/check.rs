//! Checks before a restore is begun, of all streams: what stands against one does not keep the others.

mod large;
mod locked;
mod room;
mod segments;
mod server;
mod settings;
mod subjects;
mod target;

use futures_util::{StreamExt as _, stream};

use self::room::Room;
use self::server::Server;
use self::subjects::Subjects;
use super::error::RestoreError;
use super::fence::Fences;
use super::plan::Plan;
use super::resolve::{is_worth_it, resolve};
use super::source::Source;
use crate::jetstream::JetStream;

/// Questions that are asked at once.
const AT_ONCE: usize = 16;

/// The facts about a stream before it is restored.
#[derive(Debug)]
pub enum Found {
    /// Nothing known stands against it.
    Free,
    /// It is there already, just as it would be restored; in words.
    There(String),
    /// The obstacles.
    Hindered(RestoreError),
}

/// The further checks.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// Streams that an earlier run has restored: they are no hindrance.
    pub again: bool,
    /// Objects that there is no key of. A restore finds them as it reads.
    pub locked: bool,
}

/// Checks, before anything is begun, what stands against restores, and changes nothing on the server. Puts fences up.
///
/// # Errors
/// When NATS or S3 do not answer, which would hold for every stream.
pub async fn check(
    jetstream: &JetStream,
    source: &Source,
    plans: &mut [Plan],
    mut fences: Fences,
    looks: Looks,
) -> Result<Vec<Found>, RestoreError> {
    let server = Server::ask(jetstream).await?;
    server.followers(&mut fences.followers);
    for plan in &mut *plans {
        fences.put_up(plan);
        plan.capabilities = server.capabilities();
    }
    let looked =
        stream::iter(&*plans).map(|plan| target::look(jetstream, &server, plan, looks.again));
    let looked: Vec<_> = looked.buffered(AT_ONCE).collect().await;
    let mut found = Vec::with_capacity(plans.len());
    for looked in looked {
        found.push(looked?);
    }
    hinder(&mut found, plans, |plan| server.hindrance(plan));
    if let Some(first) = free(&found, plans).next() {
        jetstream.try_restore(first.1.target.as_str()).await?;
    }
    let missing = segments::missing(source, free(&found, plans)).await?;
    for (index, error) in missing {
        found[index] = Found::Hindered(error);
    }
    if looks.locked {
        for (index, error) in locked::find(source, free(&found, plans)).await? {
            found[index] = Found::Hindered(error);
        }
    }
    read(source, &server, &mut found, plans).await?;
    // The stream that was made last has the subjects: where both were archived, the other one was gone by then.
    let mut subjects = Subjects::of(&server);
    let mut latest: Vec<(usize, &Plan)> = free(&found, plans).collect();
    latest.sort_by_key(|(_, plan)| std::cmp::Reverse(plan.created));
    let overlaps: Vec<_> = latest
        .into_iter()
        .filter_map(|(index, plan)| Some((index, subjects.take(plan)?)))
        .collect();
    for (index, error) in overlaps {
        found[index] = Found::Hindered(error);
    }
    let mut room = Room::of(&server);
    hinder(&mut found, plans, |plan| room.take(plan));
    Ok(found)
}

/// Reads of streams what a user is told before and takes reading.
async fn read(
    source: &Source,
    server: &Server,
    found: &mut [Found],
    plans: &mut [Plan],
) -> Result<(), RestoreError> {
    for (found, plan) in found.iter_mut().zip(plans) {
        let is_suspect = large::is_suspect(server, plan);
        if !matches!(found, Found::Free) || !(is_suspect || is_worth_it(plan)) {
            continue;
        }
        let looked = async {
            Box::pin(resolve(source, plan)).await?;
            large::find(source, server, plan).await
        };
        match looked.await {
            Ok(None) => {}
            Ok(Some(error)) => *found = Found::Hindered(error),
            Err(error) if error.is_of_one_stream() => *found = Found::Hindered(error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the streams that nothing known prevents, and their places.
fn free<'a>(found: &[Found], plans: &'a [Plan]) -> impl Iterator<Item = (usize, &'a Plan)> {
    let free = found.iter().map(|found| matches!(found, Found::Free));
    plans.iter().enumerate().zip(free).filter_map(|(plan, free)| free.then_some(plan))
}

/// Looks at each stream that nothing is known to stand against, in turn.
fn hinder(
    found: &mut [Found],
    plans: &[Plan],
    mut look: impl FnMut(&Plan) -> Option<RestoreError>,
) {
    for (found, plan) in found.iter_mut().zip(plans) {
        if let Found::Free = found
            && let Some(error) = look(plan)
        {
            *found = Found::Hindered(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::tests::plan_of;

    #[test]
    fn what_hinders_one_stream_does_not_hinder_the_others() {
        let plans: Vec<Plan> = (0..3).map(|_| plan_of(json!({}))).collect();
        let mut found = vec![Found::Free, Found::There("already".into()), Found::Free];
        let mut asked = 0;
        hinder(&mut found, &plans, |_| {
            asked += 1;
            (asked == 1).then(|| RestoreError::Empty("T".into()))
        });
        assert_eq!(asked, 2, "only those that are free are looked at");
        assert!(matches!(found[0], Found::Hindered(RestoreError::Empty(_))));
        let free: Vec<usize> = free(&found, &plans).map(|(index, _)| index).collect();
        assert_eq!(free, [2]);
    }
}
