//! Crashes at the storage manager's own fail points.

use std::time::Duration;

use serde_json::Value;

use super::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::lab::storage_manager::Armed;
use crate::oracle::wire::Wire;
use crate::scenario::{Between, CrashAt, Restore};

/// The longest that a restore may take to reach its fail point, and publishers to get their last acks.
const WITHIN: Duration = Duration::from_secs(120);

impl Run<'_> {
    /// Makes the daemon die at each point in turn.
    pub(super) async fn crash_at(&mut self, crash: &CrashAt) -> Result<()> {
        let within = self.patient(crash.within);
        for point in &crash.points {
            let armed = Armed { point, time: crash.reached.0 };
            self.machines.crash_at(&crash.node, armed, within).await?;
        }
        self.machines.all_alive()
    }

    /// Makes a restore die at a point. Its unfinished stream must not be there under the real name.
    pub(super) async fn crash_restore(&mut self, restore: &Restore, point: &str) -> Result<()> {
        let tier = restore.from.to_string();
        let args = ["restore", "--all", "--from", tier.as_str()];
        let armed = Armed { point, time: restore.reached.map_or(1, |Between(time, _)| time) };
        self.machines.crash_storage_manager(&restore.node, &args, armed, WITHIN).await?;
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot_read)?;
        for stream in &self.plan.scenario.streams {
            let subject = format!("STREAM.INFO.{}", stream.name);
            if let Ok(info) = wire.api(&subject, &Value::Null).await {
                let (name, state) = (&stream.name, &info["state"]);
                return Err(Error::step(format!(
                    "a restore was cut off, but `{name}` exists: {state}"
                )));
            }
        }
        Ok(())
    }

    /// Stops the load; the events published so far are all that there will be.
    pub(super) async fn stop_load(&mut self) -> Result<()> {
        self.loads.stop();
        self.finish_load(WITHIN).await
    }
}
