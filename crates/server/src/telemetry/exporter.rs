//! The task that sends spans.

use std::sync::Arc;
use std::time::Duration;

use personium_trace::{FinishedSpan, otlp};
use tokio::sync::watch;
use tokio::time::sleep;

use super::collector::{Collector, SendFailure};
use super::span_queue::{SpanLoss, SpanQueue};

/// The longest time that a span waits for others.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of attempts to send a message.
const ATTEMPTS_MAX: u32 = 5;

/// The pause after the first failure, which doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, also if the collector asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The time for what is in the queue when the unit stops.
const FINISH_TIME: Duration = Duration::from_secs(5);

/// Sends spans until the unit stops.
pub(super) struct Exporter {
    collector: Collector,
    queue: Arc<SpanQueue>,
    resource: Vec<(&'static str, String)>,
    /// Whether the last message was not accepted.
    is_failing: bool,
}

impl Exporter {
    pub(super) const fn new(
        collector: Collector,
        queue: Arc<SpanQueue>,
        resource: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            collector,
            queue,
            resource,
            is_failing: false,
        }
    }

    /// Sends spans until `stop` becomes true, then what is left, each once.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let queue = Arc::clone(&self.queue);
        let mut unsent = Vec::new();
        while unsent.is_empty() {
            tokio::select! {
                () = queue.enough() => {}
                () = sleep(INTERVAL) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            loop {
                let batch = queue.take();
                if batch.is_empty() {
                    break;
                }
                let is_over = tokio::select! {
                    () = self.deliver(&batch) => false,
                    _ = stop.wait_for(|stop| *stop) => true,
                };
                if is_over {
                    unsent = batch;
                    break;
                }
            }
        }
        let mut waiting = 0;
        let finish = async {
            let mut batch = match unsent.is_empty() {
                true => queue.take(),
                false => unsent,
            };
            while !batch.is_empty() {
                waiting = batch.len();
                if let Err(failure) = self.send(&batch).await {
                    self.lose(&batch, &failure);
                }
                waiting = 0;
                batch = queue.take();
            }
        };
        if tokio::time::timeout(FINISH_TIME, finish).await.is_err() {
            queue.lose(waiting, SpanLoss::Unreachable);
            loop {
                let lost = queue.take().len();
                if lost == 0 {
                    break;
                }
                waiting += lost;
                queue.lose(lost, SpanLoss::Unreachable);
            }
            tracing::warn!(
                spans = waiting,
                "spans were lost, because the collector of traces was too slow when the unit stopped"
            );
        }
    }

    /// Sends a message until the collector has accepted or refused it, or has failed too often.
    async fn deliver(&mut self, batch: &[FinishedSpan]) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            let failure = match self.send(batch).await {
                Ok(()) => return,
                Err(failure) => failure,
            };
            self.report(&failure);
            match failure {
                SendFailure::Temporary { retry_after, .. } if attempt < ATTEMPTS_MAX => {
                    sleep(retry_after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                failure => return self.lose(batch, &failure),
            }
        }
    }

    async fn send(&mut self, batch: &[FinishedSpan]) -> Result<(), SendFailure> {
        let message = otlp::request(&self.resource, crate::VERSION, batch);
        let refused = self.collector.send(message).await?;
        self.queue.export(batch.len(), refused);
        if self.is_failing {
            self.is_failing = false;
            tracing::info!("the collector of traces accepts spans again");
        }
        Ok(())
    }

    fn lose(&mut self, batch: &[FinishedSpan], failure: &SendFailure) {
        self.report(failure);
        let loss = match failure {
            SendFailure::Temporary { .. } => SpanLoss::Unreachable,
            SendFailure::Refused(_) => SpanLoss::Refused,
        };
        self.queue.lose(batch.len(), loss);
    }

    /// Writes the first failure to the log. The metrics count the others.
    fn report(&mut self, failure: &SendFailure) {
        if self.is_failing {
            return;
        }
        self.is_failing = true;
        let (SendFailure::Temporary { reason, .. } | SendFailure::Refused(reason)) = failure;
        tracing::warn!(
            error = reason,
            "the collector of traces does not accept spans, some may be lost"
        );
    }
}
