//! A pipeline over a stream: every output is published once.
//!
//! The position is no ack but part of the checkpoint, with the windows that belong to it. What was published behind the
//! last checkpoint is made again with the same ids; those that are in the output's stream already are left out. That
//! holds beyond the server's window for duplicates.

mod position;
mod published;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use self::position::Position;
use self::published::Published;
use crate::definition::Definition;
use crate::engine::{Lost, Out, Pipeline, lost_line, out_value};

/// Events that go through the stages at once.
const BATCH: usize = 256;

/// The settings.
pub(crate) struct Settings {
    /// The bucket of positions.
    pub(crate) bucket: String,
    /// Reports whether it is made where it is missing.
    pub(crate) create: bool,
    /// Reports whether to end at the end of the stream.
    pub(crate) drain: bool,
}

/// Runs a pipeline until the signal, or the end of the stream.
pub(crate) async fn stream(
    client: &async_nats::Client,
    definition: Definition,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<(), String> {
    let context = jetstream::new(client.clone());
    let name = definition
        .input
        .stream
        .clone()
        .ok_or("the definition has no `input.stream`: say where events come from")?;
    if let Some(output) = definition.outputs.iter().find(|output| output.subject.is_none()) {
        return Err(format!("output `{}` has no `subject`: say where its events go", output.name));
    }
    let filter = definition.input.subject.clone().unwrap_or_default();
    let mut position = Position::open(&context, settings, &definition.pipeline).await?;
    let subjects = definition
        .outputs
        .iter()
        .filter_map(|output| output.subject.clone())
        .chain(definition.dead.clone());
    let mut published = Published::open(&context, subjects.collect(), position.published()).await?;
    let mut pipeline = match position.checkpoint() {
        Some(checkpoint) => Pipeline::restore(definition, checkpoint)?,
        None => Pipeline::new(definition),
    };
    let failed = |error: &dyn std::fmt::Display| format!("stream `{name}` cannot be read: {error}");
    let input = context.get_stream(&name).await.map_err(|error| failed(&error))?;
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: position.next() },
        ack_policy: AckPolicy::None,
        filter_subject: filter,
        inactive_threshold: Duration::from_secs(60),
        ..Default::default()
    };
    let consumer = input.create_consumer(config).await.map_err(|error| failed(&error))?;
    while !cancel.is_cancelled() {
        let (mut batch, mut last, mut pending) = (Vec::with_capacity(BATCH), 0, 0);
        let fetched =
            consumer.batch().max_messages(BATCH).expires(Duration::from_secs(1)).messages();
        let mut fetched = fetched.await.map_err(|error| failed(&error))?;
        while let Some(message) = fetched.next().await {
            let message = message.map_err(|error| failed(&error))?;
            let info = message.info().map_err(|error| failed(&error))?;
            (last, pending) = (info.stream_sequence, info.pending);
            let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            let id = id.map_or_else(|| format!("{name}:{last}"), ToString::to_string);
            batch.push((id, message.payload.to_vec()));
            // A batch waits for more only while it is empty.
            if pending == 0 {
                break;
            }
        }
        if batch.is_empty() {
            if settings.drain {
                break;
            }
            continue;
        }
        let (outs, lost) = pipeline.push(&batch);
        publish(&context, &pipeline, outs, lost, &mut published).await?;
        position.save(last, published.last(), pipeline.checkpoint()).await?;
        if settings.drain && pending == 0 {
            break;
        }
    }
    Ok(())
}

async fn publish(
    context: &Context,
    pipeline: &Pipeline,
    outs: Vec<Out>,
    mut lost: Vec<Lost>,
    published: &mut Published,
) -> Result<(), String> {
    let definition = pipeline.definition();
    let mut acks = Vec::with_capacity(outs.len());
    let mut messages = Vec::with_capacity(outs.len());
    for out in outs {
        let output = &definition.outputs[out.output];
        let subject = output.subject.clone().expect("all outputs have one, see above");
        match out_value(definition, &out) {
            Ok(value) => messages.push((
                subject,
                format!("{}/{}/{}", definition.pipeline, output.name, out.event.id),
                value,
            )),
            Err(dead) => lost.push(dead),
        }
    }
    for dead in lost {
        let line = lost_line(&dead);
        match &definition.dead {
            Some(subject) => messages.push((
                subject.clone(),
                format!("{}/dead/{}/{}", definition.pipeline, dead.stage, dead.id),
                line,
            )),
            None => eprintln!("{line}"),
        }
    }
    for (subject, id, value) in messages {
        if published.has(&id) {
            continue;
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.as_str());
        let failed = format!("`{subject}` cannot be published to");
        let ack = context.publish_with_headers(subject.clone(), headers, value.into()).await;
        acks.push((subject, failed.clone(), ack.map_err(|error| format!("{failed}: {error}"))?));
    }
    for (subject, failed, ack) in acks {
        let ack = ack.await.map_err(|error| format!("{failed}: {error}"))?;
        published.acked(&subject, ack.sequence);
    }
    Ok(())
}
