//! Consumers with several members: members are lost, others take over, and the deliveries to the
//! group are judged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::names::ConsumerName;
use serde_json::Value;

use super::{Run, seconds};
use crate::error::{Error, Result};
use crate::lab::process::Signal;
use crate::lab::wait::wait_until;
use crate::oracle::wire::Wire;
use crate::report::{GroupReport, MemberLoss};
use crate::scenario::{LoseMember, Manner};
use crate::workload::group::{Delivery, Due, Findings, Member, in_hand, judge, read};
use crate::workload::{Consumption, HostAt, Worker};

/// A member at work has messages in hand most of the time.
const IN_HAND_WITHIN: Duration = Duration::from_secs(60);
/// The limit for a process to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// The limit for a group to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// The members of a consumer, ended ones included.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: Vec<Member>,
    lost: Vec<MemberLoss>,
    /// The sequences that lost members had in hand and no other member is known to have
    /// acknowledged.
    left: BTreeSet<u64>,
    /// The consumer's ack floor at the beginning of each of the host's lives.
    floors: BTreeMap<u32, u64>,
}

impl Group {
    fn is_lost(&self, number: u32) -> bool {
        self.lost.iter().any(|lost| lost.member == number)
    }

    fn deliveries(&self) -> Vec<(Member, Vec<Delivery>)> {
        self.members.iter().map(|member| (member.clone(), read(&member.notes))).collect()
    }

    /// Marks the members that still worked as ended now.
    fn end(&mut self) {
        let now = now();
        for member in &mut self.members {
            member.ended.get_or_insert(now);
        }
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

impl Run<'_> {
    /// Starts the members of a group that were not lost.
    pub(super) async fn start_members(
        &mut self,
        at: usize,
        members: u32,
        host: &HostAt,
    ) -> Result<Consumption> {
        let (spec, seed) = (&self.plan.scenario.consumers[at], self.plan.seed);
        let group = &mut self.groups[at];
        group.end();
        let mut workers = Vec::new();
        let left: Vec<_> = (1..=members).filter(|number| !group.is_lost(*number)).collect();
        for number in left {
            let start = group.members.len();
            let name = format!("{}-{number}-{start}", spec.name);
            let notes = self.launcher.log_path(&name).with_extension("notes");
            workers.push(Worker::start(&self.launcher, spec, number, host, seed, &notes).await?);
            group.members.push(Member { number, epoch: host.epoch, ended: None, notes });
        }
        Ok(Consumption::Group(workers))
    }

    fn group_of(&self, consumer: &ConsumerName) -> Result<usize> {
        let consumers = &self.plan.scenario.consumers;
        let at = consumers.iter().position(|c| c.name == *consumer);
        at.ok_or_else(|| Error::step(format!("there is no consumer `{consumer}`")))
    }

    fn workers(&self, at: usize) -> Result<&[Worker]> {
        let name = &self.plan.scenario.consumers[at].name;
        match self.consumptions.get(at) {
            Some(Consumption::Group(workers)) => Ok(workers),
            _ => Err(Error::step(format!("no member reads `{name}`: its host is not up"))),
        }
    }

    /// Loses a member with messages in hand: it is stopped and inspected, and continued while it
    /// has none.
    pub(super) async fn lose_member(&mut self, lose: &LoseMember) -> Result<()> {
        let at = self.group_of(&lose.consumer)?;
        let workers = self.workers(at)?;
        let left: Vec<_> = workers.iter().filter(|w| !self.groups[at].is_lost(w.number)).collect();
        let index = usize::try_from(lose.draw % left.len().max(1) as u64).unwrap_or_default();
        let worker = *left.get(index).ok_or_else(|| Error::step("no member is left"))?;
        let number = worker.number;
        let members = &self.groups[at].members;
        let place = members.iter().rposition(|m| m.number == number).expect("it was started");
        let notes = &members[place].notes;
        let what = format!("member {number} of `{}` having messages in hand", lose.consumer);
        let held = wait_until(&what, IN_HAND_WITHIN, async || {
            if let Some(end) = worker.process.ended() {
                return Err(format!("it has ended by itself ({end})"));
            }
            worker.process.signal(Signal::Stop).await;
            wait_until("its stop", STOPPED_WITHIN, async || stopped(worker.process.pid()))
                .await
                .map_err(|error| error.chain())?;
            let held = in_hand(&read(notes));
            if held.is_empty() {
                worker.process.signal(Signal::Continue).await;
                return Err("it has none".to_owned());
            }
            Ok(held)
        })
        .await?;
        if lose.how == Manner::Kill {
            worker.process.kill().await;
        }
        let count = held.len();
        self.progress.line(&format!("member {number} is {} with {count} in hand", lose.how));
        let lost = MemberLoss {
            member: number,
            how: lose.how.to_string(),
            at_seconds: seconds(self.ledger.now()),
            in_hand: count as u64,
        };
        let group = &mut self.groups[at];
        group.members[place].ended = Some(now());
        group.lost.push(lost);
        group.left.extend(held);
        Ok(())
    }

    /// Waits until other members have acknowledged the messages that lost members had in hand.
    pub(super) async fn await_takeover(
        &mut self,
        consumer: &ConsumerName,
        within: Duration,
    ) -> Result<()> {
        let at = self.group_of(consumer)?;
        self.members_live(at)?;
        let stream = self.stream_of(&self.plan.scenario.consumers[at].stream);
        let group = &self.groups[at];
        let what = format!("taking over from the lost members of `{consumer}`");
        wait_until(&what, within, async || {
            let mut left = group.left.clone();
            for (_, given) in group.deliveries() {
                for delivery in given.iter().filter(|d| d.confirmed.is_some()) {
                    left.remove(&delivery.seq);
                }
            }
            // Messages that are gone from the stream are not delivered again.
            for delete in self.deletes(stream) {
                left.remove(&delete.seq);
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
        })
        .await?;
        self.groups[at].left.clear();
        self.members_live(at)
    }

    /// Fails if a member has ended that was not killed.
    fn members_live(&self, at: usize) -> Result<()> {
        for worker in self.workers(at)? {
            if let Some(end) = worker.process.ended()
                && !self.groups[at].is_lost(worker.number)
            {
                let (name, log) = (worker.process.name(), worker.process.last_log());
                return Err(Error::step(format!("`{name}` has ended by itself ({end}): {log}")));
            }
        }
        Ok(())
    }

    /// Returns the live sequences that members have begun to acknowledge.
    pub(super) fn acknowledged_by_members(&self, at: usize) -> BTreeSet<u64> {
        let stream = self.stream_of(&self.plan.scenario.consumers[at].stream);
        let mut acked = BTreeSet::new();
        for (member, given) in self.groups[at].deliveries() {
            let later = self.bounds.iter().skip(member.epoch as usize);
            let last = later.map(|bounds| bounds[stream]).min().unwrap_or(u64::MAX);
            let began = given.iter().filter(|d| d.acking.is_some() && d.seq <= last);
            acked.extend(began.map(|d| d.seq));
        }
        acked
    }

    /// Records a restored consumer's ack floor, before any client reads.
    pub(super) fn stands_at(&mut self, at: usize, info: &Value) {
        let floor = info["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
        self.groups[at].floors.insert(self.ledger.epoch(), floor);
    }

    /// Judges every group at the end: it has caught up, missed no message, and every repeated
    /// delivery has a reason.
    pub(super) async fn judge_groups(&mut self) -> Result<()> {
        for at in 0..self.groups.len() {
            let Some(members) = self.plan.scenario.consumers[at].members else { continue };
            self.members_live(at)?;
            self.await_caught_up(at).await?;
            let found = self.judge_group(at);
            let spec = &self.plan.scenario.consumers[at];
            let Findings { received, redelivered, taken_over, late, again, wrong } = found;
            self.report.groups.push(GroupReport {
                consumer: spec.name.to_string(),
                stream: spec.stream.to_string(),
                members,
                lost: self.groups[at].lost.clone(),
                received,
                redelivered,
                taken_over,
                late,
                again,
            });
            if !wrong.is_empty() {
                self.report.oracle.consumers_wrong += 1;
                self.note(format!("members of `{}` of `{}`", spec.name, spec.stream), wrong);
            }
        }
        Ok(())
    }

    fn judge_group(&self, at: usize) -> Findings {
        let (spec, epoch) = (&self.plan.scenario.consumers[at], self.ledger.epoch());
        let stream = self.stream_of(&spec.stream);
        let mut events = self.history(stream, epoch, u64::MAX);
        for delete in self.deletes(stream) {
            events.remove(&delete.seq);
        }
        let group = &self.groups[at];
        let ack_wait = i64::try_from(spec.ack_wait.as_micros()).unwrap_or(i64::MAX);
        let due = Due { events: &events, floors: &group.floors, epoch, ack_wait };
        judge(&group.deliveries(), &due)
    }

    /// Waits until the server has no message left to deliver or to get acknowledged.
    async fn await_caught_up(&self, at: usize) -> Result<()> {
        let spec = &self.plan.scenario.consumers[at];
        let nats = self.machines.nats()?;
        let subject = format!("CONSUMER.INFO.{}.{}", spec.stream, spec.name);
        let what = format!("`{}` being given everything", spec.name);
        wait_until(&what, CAUGHT_UP_WITHIN, async || {
            let mut wire = Wire::connect(&nats).await.map_err(|e| e.to_string())?;
            let info = wire.api(&subject, &Value::Null).await.map_err(|e| e.to_string())?;
            let count = |key: &str| info[key].as_u64().unwrap_or(u64::MAX);
            match (count("num_pending"), count("num_ack_pending")) {
                (0, 0) => Ok(()),
                (pending, unacked) => {
                    Err(format!("{pending} are left, {unacked} not acknowledged"))
                }
            }
        })
        .await
    }
}

/// Checks that a process is stopped, so that its notes are complete.
fn stopped(pid: u32) -> Result<(), String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    if state == Some('T') { Ok(()) } else { Err(format!("its state is {state:?}")) }
}
