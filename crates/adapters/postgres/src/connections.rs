//! The connections to the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use personium_store::{ErrorDetail, Result, StoreError};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};

use crate::error::{Failure, FailureKind};
use crate::pipeline::{self, PipelineError};
use crate::settings::{PostgresSettings, TlsMode};
use crate::statement::Statement;
use crate::tls;

/// The time after which the system asks whether a silent server still exists, and between further questions.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The number of unanswered questions after which a connection is lost.
const KEEPALIVE_RETRIES: u32 = 3;

/// The time that an answer may take longer than the server lets a statement run.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// A transaction may be idle for the time of a statement divided by this, and at least for the shortest time.
const IDLE_DIVISOR: u32 = 6;
const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// The number of connections that a read tries when it finds them lost.
const READ_ATTEMPTS: usize = 3;

/// A parameter of a statement.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// A request on a connection, sent when it is first polled.
pub(crate) type Request<'a> = BoxFuture<'a, std::result::Result<Vec<Row>, tokio_postgres::Error>>;

/// The pool of connections.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: Pool,
    prepared: bool,
    statement_timeout: Duration,
    wait_timeout: Duration,
}

impl Connections {
    /// Makes the pool. Connections are made when they are needed.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if the settings cannot be used.
    pub(crate) fn new(settings: &PostgresSettings) -> Result<Self> {
        let manager = manager(settings)?;
        let connect_timeout = settings.connect_timeout * hosts(settings);
        let mut pool = Pool::builder(manager)
            .max_size(settings.pool_size.max(2))
            .wait_timeout(Some(settings.pool_timeout))
            .create_timeout(Some(connect_timeout))
            .recycle_timeout(Some(settings.connect_timeout))
            .runtime(Runtime::Tokio1);
        if settings.prepared_statements {
            pool = pool.post_create(session_hook(settings.statement_timeout));
        }
        let pool = pool.build().map_err(|e| {
            StoreError::Unsupported(ErrorDetail::new("failed to make a pool").with_source(e))
        })?;
        Ok(Self {
            pool,
            prepared: settings.prepared_statements,
            statement_timeout: settings.statement_timeout,
            wait_timeout: settings.pool_timeout,
        })
    }

    /// Returns a connection that nobody else uses.
    pub(crate) async fn get(&self) -> std::result::Result<Connection, Failure> {
        let client = self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => Failure::PoolExhausted,
            PoolError::Closed => Failure::Closed,
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                let is_refused = error
                    .code()
                    .is_some_and(|code| code.code().starts_with("53"));
                match is_refused {
                    true => Failure::Database(error),
                    false => Failure::Unreachable(Box::new(error)),
                }
            }
            other => Failure::Unreachable(Box::new(other)),
        })?;
        Ok(Connection {
            client: Some(client),
            prepared: self.prepared,
            statement_timeout: self.statement_timeout,
            is_unusable: AtomicBool::new(false),
        })
    }

    /// The time that a call waits for a free connection.
    pub(crate) fn wait_timeout(&self) -> Duration {
        self.wait_timeout
    }

    /// Whether statements are prepared once for each connection.
    pub(crate) fn are_statements_prepared(&self) -> bool {
        self.prepared
    }

    /// Runs one statement that reads, as [`Self::read_all`].
    pub(crate) async fn read(
        &self,
        statement: &'static Statement,
        parameters: &[Parameter<'_>],
    ) -> std::result::Result<Vec<Row>, Failure> {
        let answers = self.read_all(&[(statement, parameters)]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Runs statements that read in one round trip, again on another connection if the connection turns out to be lost.
    pub(crate) async fn read_all(
        &self,
        statements: &[(&'static Statement, &[Parameter<'_>])],
    ) -> std::result::Result<Vec<Vec<Row>>, Failure> {
        let mut attempt = 1;
        loop {
            let connection = self.get().await?;
            let answer = connection.run_all(statements).await;
            match answer {
                Err(failure)
                    if failure.kind() == FailureKind::ConnectionLost
                        && !matches!(failure, Failure::TimedOut)
                        && attempt < READ_ATTEMPTS =>
                {
                    self.forget_lost();
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Closes the unused connections that are lost.
    pub(crate) fn forget_lost(&self) {
        self.pool.retain(|client, _| !client.is_closed());
    }

    /// Closes all unused connections, so that new ones are made to the server that accepts writes.
    pub(crate) fn forget_all(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Refuses to give connections, and closes unused ones.
    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

fn hosts(settings: &PostgresSettings) -> u32 {
    u32::try_from(settings.hosts.len()).unwrap_or(1).max(1)
}

/// How connections are made, but for TLS.
pub(crate) fn config(settings: &PostgresSettings) -> Config {
    let mut config = Config::new();
    for host in &settings.hosts {
        config.host(&host.name).port(host.port);
    }
    config
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(&settings.application_name)
        .connect_timeout(settings.connect_timeout)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(KEEPALIVE * (KEEPALIVE_RETRIES + 1))
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    if let Some(password) = &settings.password {
        config.password(password.reveal());
    }
    config.ssl_mode(match &settings.tls {
        TlsMode::Off => SslMode::Disable,
        TlsMode::Verify { .. } => SslMode::Require,
    });
    config
}

fn manager(settings: &PostgresSettings) -> Result<Manager> {
    let config = config(settings);
    // A transaction that a caller gave up is never given to another one, so nothing has to be reset.
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    match &settings.tls {
        TlsMode::Off => Ok(Manager::from_config(config, NoTls, recycling)),
        TlsMode::Verify { roots, client } => {
            let connector = tls::connector(roots.as_deref(), client.as_ref())?;
            Ok(Manager::from_config(config, connector, recycling))
        }
    }
}

/// The time after which the server ends a transaction whose node sends nothing, for instance because it is suspended. Others that
/// wait for its locks go on before their own statements time out.
fn idle_timeout(statement_timeout: Duration) -> Duration {
    (statement_timeout / IDLE_DIVISOR).max(IDLE_TIMEOUT_MIN)
}

/// The settings of a session, for connections that are not shared.
///
/// All statements are to use the index of the keys, whatever the statistics say; then one plan serves all values. Citus makes no
/// generic plan of a statement that reads ("could not create distributed plan").
fn session_settings(statement_timeout: Duration) -> Vec<String> {
    let (millis, idle_millis) = (
        statement_timeout.as_millis(),
        idle_timeout(statement_timeout).as_millis(),
    );
    vec![
        format!("SET statement_timeout = {millis}"),
        format!("SET idle_in_transaction_session_timeout = {idle_millis}"),
        "SELECT set_config('plan_cache_mode', 'force_generic_plan', false) \
         WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
            .to_owned(),
        "SET enable_seqscan = off".to_owned(),
        "SET jit = off".to_owned(),
    ]
}

fn session_hook(statement_timeout: Duration) -> Hook {
    Hook::async_fn(move |client, _| {
        let settings = session_settings(statement_timeout);
        async move {
            let settings = settings.iter().map(|text| client.batch_execute(text));
            for set in futures_util::future::join_all(settings).await {
                match set {
                    // Other databases with the same protocol do not know all of them.
                    Err(error) if error.code().is_none() => return Err(HookError::Backend(error)),
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    })
}

/// A statement that is ready to run on a connection.
pub(crate) enum ReadyStatement {
    Prepared(tokio_postgres::Statement),
    Unnamed(&'static Statement),
}

/// A connection. It returns to the pool when it is dropped, unless it is unusable.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Option<Object>,
    prepared: bool,
    statement_timeout: Duration,
    is_unusable: AtomicBool,
}

impl Connection {
    /// Marks the connection as one that must not be used again, or clears that mark.
    pub(crate) fn set_unusable(&self, is_unusable: bool) {
        self.is_unusable.store(is_unusable, Ordering::Release);
    }

    /// Prepares a statement, unless that was done before on this connection.
    pub(crate) async fn prepare(
        &self,
        statement: &'static Statement,
    ) -> std::result::Result<ReadyStatement, Failure> {
        if !self.prepared {
            return Ok(ReadyStatement::Unnamed(statement));
        }
        let Some(client) = &self.client else {
            return Err(Failure::Closed);
        };
        let prepared = client.prepare_typed_cached(&statement.text, &statement.types);
        match timeout(self.answer_timeout(), prepared).await {
            Ok(Ok(prepared)) => Ok(ReadyStatement::Prepared(prepared)),
            Ok(Err(error)) => Err(self.failed(Failure::Database(error))),
            Err(_) => Err(self.failed(Failure::TimedOut)),
        }
    }

    /// The request that runs a statement.
    pub(crate) fn request<'a>(
        &'a self,
        statement: &'a ReadyStatement,
        parameters: &'a [Parameter<'a>],
    ) -> Request<'a> {
        async move {
            let Some(client) = &self.client else {
                return Ok(Vec::new());
            };
            match statement {
                ReadyStatement::Prepared(statement) => client.query(statement, parameters).await,
                ReadyStatement::Unnamed(Statement { text, types }) => {
                    let types = types.iter().cloned();
                    let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
                    client.query_typed(text, &typed).await
                }
            }
        }
        .boxed()
    }

    /// The request that runs a command without parameters and results.
    pub(crate) fn command<'a>(&'a self, text: &'a str) -> Request<'a> {
        async move {
            if let Some(client) = &self.client {
                client.batch_execute(text).await?;
            }
            Ok(Vec::new())
        }
        .boxed()
    }

    /// The command that begins a transaction.
    pub(crate) fn begin(&self) -> String {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        if self.prepared {
            return begin.to_owned();
        }
        // The session belongs to several clients in turn.
        let millis = self.statement_timeout.as_millis();
        let idle_millis = idle_timeout(self.statement_timeout).as_millis();
        format!(
            "{begin}; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle_millis}"
        )
    }

    /// The command that begins a transaction whose reads have one snapshot. It may be idle for long.
    pub(crate) fn begin_snapshot(&self) -> String {
        let millis = self.statement_timeout.as_millis();
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = 0"
        )
    }

    /// Sends the requests in one round trip.
    pub(crate) async fn round_trip(
        &self,
        requests: Vec<Request<'_>>,
    ) -> std::result::Result<Vec<Vec<Row>>, PipelineError<Failure>> {
        let all = requests.len();
        match timeout(self.answer_timeout(), pipeline::send(requests)).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(PipelineError { error, sent })) => {
                let error = self.failed(Failure::Database(error));
                Err(PipelineError { error, sent })
            }
            Err(_) => {
                let error = self.failed(Failure::TimedOut);
                Err(PipelineError { error, sent: all })
            }
        }
    }

    /// Runs one statement.
    pub(crate) async fn run(
        &self,
        statement: &'static Statement,
        parameters: &[Parameter<'_>],
    ) -> std::result::Result<Vec<Row>, Failure> {
        let answers = self.run_all(&[(statement, parameters)]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Runs statements in one round trip.
    async fn run_all(
        &self,
        statements: &[(&'static Statement, &[Parameter<'_>])],
    ) -> std::result::Result<Vec<Vec<Row>>, Failure> {
        let mut ready = Vec::with_capacity(statements.len());
        for &(statement, _) in statements {
            ready.push(self.prepare(statement).await?);
        }
        let requests = ready.iter().zip(statements);
        let requests = requests.map(|(ready, (_, parameters))| self.request(ready, parameters));
        let answers = self.round_trip(requests.collect()).await;
        answers.map_err(|failed| failed.error)
    }

    fn answer_timeout(&self) -> Duration {
        self.statement_timeout + ANSWER_MARGIN
    }

    /// Notes that the connection is unusable if the failure says so.
    fn failed(&self, failure: Failure) -> Failure {
        if matches!(
            failure.kind(),
            FailureKind::ConnectionLost | FailureKind::ReadOnly
        ) {
            self.set_unusable(true);
        }
        failure
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.is_unusable.get_mut()
            && let Some(client) = self.client.take()
        {
            // Taken from the pool and dropped: closed.
            drop(Object::take(client));
        }
    }
}
