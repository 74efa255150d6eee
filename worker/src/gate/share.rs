//! Telling other nodes how calls ended, and learning what they know.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    ToolId,
    tool::{self as domain, Command},
};
use toolroom_eventlog::{CommandContext, CommandError, command::Target, ids};

use super::{
    Gate, SHARED_WITHIN, Settled,
    circuit::{Entry, State, Transition},
    shared::{Error, Known},
    tool::{Tell, Tool},
};
use crate::executor::Announced;

/// How often a node looks at the tools in trouble: so long a circuit that another node opened lets calls
/// of this node through.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often what has long been at rest is removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// For how long successes are gathered before they are told, while a tool is in doubt.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// For how long nothing leaves after a refusal that names no time.
const REFUSED_FOR: Duration = Duration::from_secs(1);

impl Gate {
    /// Changes what all know of a tool, and learns what they know.
    pub(super) async fn change<T>(
        &self,
        tool: &Arc<Tool>,
        within: Duration,
        change: impl FnOnce(&mut Known, jiff::Timestamp) -> (T, Option<Transition>),
    ) -> Result<T, Error> {
        let whose = (tool.workspace, tool.id);
        match self.0.shared.change(whose, within, change).await {
            Ok((known, came_to, transition)) => {
                let epoch = known.circuit.epoch();
                self.learn(tool, known);
                if let Some(transition) = transition {
                    tokio::spawn(self.clone().announce(Arc::clone(tool), transition, epoch));
                }
                Ok(came_to)
            }
            Err(error) => {
                metrics::counter!("toolroom_gate_unshared").increment(1);
                tracing::warn!(tool = %tool.id, %error, "whether a tool may be called is decided by this node alone");
                Err(error)
            }
        }
    }

    fn learn(&self, tool: &Tool, known: Known) {
        let now = self.0.shared.time.now();
        let mut local = tool.local();
        local.learn(known);
        if local.known.circuit.opens_in(now).is_some() || local.is_paced(now) {
            drop(local);
            self.watched().insert(tool.id);
        }
    }

    /// Tells the others what this node has counted.
    pub(super) async fn tell(&self, tool: &Arc<Tool>) {
        let _turn = tool.turn.lock().await;
        let Some((tally, epoch)) = tool.local().take_tally() else {
            return;
        };
        let add = |known: &mut Known, now| ((), known.circuit.add(&tally, epoch, now));
        if self.change(tool, SHARED_WITHIN, add).await.is_err() {
            let now = self.0.shared.time.now();
            tool.local().add_alone(&tally, epoch, now);
        }
    }

    pub(super) async fn settle(&self, tool: &Arc<Tool>, entry: Entry, settled: Settled) {
        let verdict = settled.verdict();
        match entry {
            Entry::Probe { id } => {
                let probed = |known: &mut Known, now| ((), known.circuit.probed(id, verdict, now));
                // Not told, it is taken for lost in time.
                let _ = self.change(tool, SHARED_WITHIN, probed).await;
            }
            Entry::Free { epoch } => {
                let now = self.0.shared.time.now();
                let tell = tool.local().count(verdict, epoch, now);
                match tell {
                    Tell::Now => self.tell(tool).await,
                    Tell::Soon => {
                        let (gate, tool) = (self.clone(), Arc::clone(tool));
                        tokio::spawn(async move {
                            tokio::time::sleep(GATHERED_FOR).await;
                            gate.tell(&tool).await;
                        });
                    }
                    Tell::Never => {}
                }
            }
        }
        let mut announced = settled.announced;
        if settled.is_refused() && announced.retry_after.is_none() {
            announced.retry_after = Some(announced.reset_after.unwrap_or(REFUSED_FOR));
        }
        self.note(tool, announced).await;
    }

    /// Takes in what the other side said of its limits.
    pub(super) async fn note(&self, tool: &Arc<Tool>, announced: Announced) {
        let now = self.0.shared.time.now();
        if tool.local().is_news(announced, now) {
            let note = |known: &mut Known, now| {
                known.pace.announce(announced, now);
                ((), None)
            };
            let _ = self.change(tool, SHARED_WITHIN, note).await;
        }
    }

    /// Tells the tool's aggregate that its circuit opened or closed.
    async fn announce(self, tool: Arc<Tool>, transition: Transition, epoch: u64) {
        let (to, command) = match transition {
            Transition::Opened {
                failures,
                until,
                at,
            } => {
                let command = Command::OpenCircuit {
                    failures,
                    until,
                    at,
                };
                ("open", command)
            }
            Transition::Closed { at } => ("closed", Command::CloseCircuit { at }),
        };
        metrics::counter!("toolroom_circuit_transitions", "to" => to).increment(1);
        tracing::info!(tool = %tool.id, to, "a tool's circuit changed");
        let correlation = ids::new_uuid().to_string();
        let context = CommandContext::system(tool.workspace, "gate", correlation);
        let target = Target::<domain::Tool>::Existing(tool.id.to_string());
        let told = match self.0.bus.execute(target, command, &context).await {
            // Of a tool that is not there nobody has to know.
            Ok(_) | Err(CommandError::Refused(_) | CommandError::NotFound) => {
                self.0.shared.told(tool.id, epoch).await
            }
            Err(error) => {
                // Whoever looks next tells it.
                tracing::warn!(tool = %tool.id, %error, "a circuit's change could not be told");
                return;
            }
        };
        if let Err(error) = told {
            tracing::debug!(tool = %tool.id, %error, "a circuit's change may be told again");
        }
    }

    /// Looks at the tools in trouble, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the tools in trouble could not be looked at");
            }
            if swept.elapsed() >= SWEEP_INTERVAL {
                swept = Instant::now();
                if let Err(error) = self.0.shared.sweep().await {
                    tracing::debug!(%error, "tools at rest are still remembered");
                }
            }
        }
    }

    /// Tells the others what this node has counted of a tool, without waiting for more.
    pub async fn gathered(&self, tool: ToolId) {
        if let Some(tool) = self.0.tools.get(&tool) {
            self.tell(&tool).await;
        }
    }

    /// Learns what the others know of the tools in trouble.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look(&self) -> Result<(), Error> {
        let (mut open, mut half_open) = (0, 0);
        for troubled in self.0.shared.troubled().await? {
            let tool = self.tool(troubled.workspace, troubled.tool);
            match troubled.known.circuit.state() {
                State::Closed => {}
                State::Open { .. } => open += 1,
                State::HalfOpen { .. } => half_open += 1,
            }
            if troubled.is_untold
                && let Some(transition) = troubled.known.circuit.told()
            {
                let epoch = troubled.known.circuit.epoch();
                tokio::spawn(self.clone().announce(Arc::clone(&tool), transition, epoch));
            }
            self.learn(&tool, troubled.known);
        }
        metrics::gauge!("toolroom_circuit_state", "state" => "open").set(f64::from(open));
        metrics::gauge!("toolroom_circuit_state", "state" => "half_open").set(f64::from(half_open));
        Ok(())
    }
}
