//! Runs the jobs of services: each is the request that started it, answered once more in this process.
//!
//! So the rights of its caller are checked again when it begins, and a token that has expired by then gives none.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use personium_model::service_job::{self, JobOutcome, JobRequest};
use personium_trace::within;
use personium_types::error::chain;
use personium_types::{Code, Error, Result};
use tokio::task::JoinSet;

use crate::app_state::{AppState, CurrentState};
use crate::body;
use crate::job_queue::{JobRun, RunningJob};
use crate::loopback::Loopback;
use crate::service::ApiService;

/// The time between two looks for jobs that nobody runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The number of such looks between two for documents that have expired.
const LOOKS_PER_EXPIRY: u64 = 5;
/// The time between two looks whether a job goes on.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two attempts to begin the script of a job, or to store its end.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The number of attempts to store the end of a job. Then it is left for whoever looks for jobs that nobody runs.
const END_ATTEMPTS: usize = 30;

impl ApiService {
    /// Runs the jobs of services until it is dropped, beginning with those that the last run of the unit left, and on a shared store also
    /// those of server nodes that are dead.
    pub async fn run_jobs(&self) {
        let state = self.current_state();
        tokio::join!(look_for_jobs(state), run_queue(state));
    }

    /// Begins no more jobs, and waits until those that run have ended, at most for a time.
    pub async fn close_jobs(&self, wait: Duration) {
        self.current_state().get().scripts.jobs().close(wait).await;
    }

    /// The numbers of jobs of services that run, and that wait, in this process.
    #[must_use]
    pub fn job_counts(&self) -> (usize, usize) {
        self.current_state().get().scripts.jobs().counts()
    }
}

/// Takes over jobs that nobody runs, and removes those that have ended long ago, until no more jobs are begun.
async fn look_for_jobs(state: &CurrentState) {
    for turn in 0_u64.. {
        let app = state.get();
        if app.scripts.jobs().is_closed() {
            return;
        }
        match service_job::list_idle(&app.unit).await {
            Ok(idle) => idle
                .into_iter()
                .for_each(|job| app.scripts.jobs().enqueue(job)),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "failed to look for jobs of services, will retry");
            }
        }
        if turn % LOOKS_PER_EXPIRY == 0
            && let Err(error) = service_job::remove_expired(&app.unit).await
        {
            tracing::warn!(error = %chain(&error), "failed to remove old jobs of services, will retry");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn run_queue(state: &Arc<CurrentState>) {
    // Dropped with this future, so that nothing runs any more.
    let mut tasks = JoinSet::new();
    let scripts = Arc::clone(&state.get().scripts);
    loop {
        let running = scripts
            .jobs()
            .next(|| state.get().unit.settings().scripts.jobs)
            .await;
        while tasks.try_join_next().is_some() {}
        let app = state.get();
        let run = async move {
            let span = personium_trace::work("job.run");
            span.scope(run_job(&app, running)).await;
        };
        tasks.spawn(within(personium_trace::background(), run));
    }
}

/// Runs a job to its end. Failures of the store are logged.
async fn run_job(app: &Arc<AppState>, running: RunningJob) {
    let job = running.run.job;
    let failed = |error: &Error| {
        let error = chain(error);
        tracing::warn!(cell.id = %job.cell, %error, "failed to run a job of a service");
    };
    let outcome = match service_job::find_request(&app.unit, &job).await {
        Ok(Some(request)) => {
            let timeout = app.unit.settings().scripts.jobs.timeout;
            tokio::select! {
                outcome = answer(app, &running.run, request, timeout) => outcome,
                () = until_over(app, &running) => return,
            }
        }
        Ok(None) => return,
        Err(error) if error.code() == Code::StoreCorrupt => {
            failed(&error);
            JobOutcome::Failed(error)
        }
        Err(error) => return failed(&error),
    };
    for _ in 0..END_ATTEMPTS {
        match service_job::finish(&app.unit, &job, &outcome).await {
            Ok(()) => return,
            Err(error) => failed(&error),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Waits until a job was cancelled, removed with its service, or taken over.
async fn until_over(app: &AppState, running: &RunningJob) {
    loop {
        let mut stop = running.run.stop.0.clone();
        let stopped = stop.wait_for(|must_stop| *must_stop);
        if tokio::time::timeout(WATCH_INTERVAL, stopped).await.is_ok() {
            return;
        }
        match service_job::is_in_progress(&app.unit, &running.run.job).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "failed to look at a job of a service, will retry");
            }
        }
    }
}

/// Answers the request of a job until its script has run. While the unit or the cell cannot run it, that is tried again.
async fn answer(
    app: &Arc<AppState>,
    run: &JobRun,
    request: JobRequest,
    timeout: Duration,
) -> JobOutcome {
    let start = app.unit.monotonic();
    loop {
        let sent = match http_request(&request, run) {
            Ok(sent) => sent,
            Err(error) => return JobOutcome::Failed(error),
        };
        let loopback: Arc<dyn Loopback> = Arc::<AppState>::clone(app);
        let response = loopback.respond(sent, request.depth).await;
        if let Some(outcome) = run.outcome.lock().take() {
            return outcome;
        }
        let may_help = matches!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT
        );
        let waited = app.unit.monotonic().saturating_duration_since(start);
        if !may_help || waited >= timeout {
            let status = response.status().as_u16().to_string();
            return JobOutcome::Failed(Error::new(Code::JobRefused).with(status));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// The request, marked as that of a job.
fn http_request(request: &JobRequest, run: &JobRun) -> Result<Request<body::Body>> {
    let builder = Request::builder()
        .method(request.method.as_str())
        .uri(&request.url);
    let mut sent = builder
        .body(body::full(request.body.clone()))
        .map_err(Error::internal)?;
    for (name, value) in &request.headers {
        let name: HeaderName = name.parse().map_err(Error::internal)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(Error::internal)?;
        sent.headers_mut().append(name, value);
    }
    if !request.body.is_empty() {
        let length = request.body.len().into();
        sent.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    sent.extensions_mut().insert(JobRun {
        starter: request.starter.clone(),
        client_address: request.client_address,
        ..run.clone()
    });
    Ok(sent)
}
