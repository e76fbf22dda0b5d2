//! The settings of an operator, in the form that the model needs.

use std::time::Duration;

pub use personium_odata::dialect::Dialect;
use personium_types::ScriptLimits;
use personium_types::network::Networks;

use crate::credentials::{LoginRateLimit, PasswordRule};
use crate::temp_folder::TempFolder;

/// The settings of a unit. `Default` gives the values of an empty configuration file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// OData.
    pub odata: ODataSettings,
    /// WebDAV.
    pub dav: DavSettings,
    /// Quotas of what has none of its own.
    pub quotas: QuotaSettings,
    /// Authentication.
    pub auth: AuthSettings,
    /// Whether requests to URLs that cell owners choose may go to private networks.
    pub allow_private_networks: bool,
    /// The memory budget for request bodies that are read as a whole, in bytes.
    pub body_memory_max_bytes: u64,
    /// The memory budget for answers, in bytes.
    pub answer_memory_max_bytes: u64,
    /// The URL of the home page of cells that have none of their own.
    pub home_page_url: Option<String>,
    /// The URL of the login page of cells that have none of their own.
    pub login_page_url: Option<String>,
    /// The URL of the password change page of cells that have none of their own.
    pub password_change_page_url: Option<String>,
    /// The mail server for mails of scripts.
    pub mail_server: Option<MailServer>,
    /// The defaults of scripts that post to Slack.
    pub slack: Box<SlackSettings>,
    /// The HTTP proxy for requests to other servers.
    pub outgoing_proxy: Option<OutgoingProxy>,
    /// Events.
    pub events: EventSettings,
    /// Queues and topics.
    pub streams: StreamSettings,
    /// Scripts.
    pub scripts: ScriptSettings,
    /// Archives.
    pub archives: ArchiveSettings,
    /// The reverse proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Networks,
    /// Whether responses are compressed for clients that accept it.
    pub compress_responses: bool,
    /// Which pages that cells store are kept apart from the origin that serves them.
    pub content_sandbox: ContentSandbox,
    /// The sites from whose pages browsers send the cookie of a cell.
    pub cookie_same_site: SameSite,
}

/// The cells whose stored content browsers treat as an origin of its own (`Content-Security-Policy: sandbox`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentSandbox {
    /// All cells, if the URL of a cell is a path of the unit: all cells have one origin then.
    #[default]
    PathBased,
    /// All cells.
    Always,
    /// None.
    Never,
}

impl ContentSandbox {
    /// Whether it covers the cells of a unit whose cell URLs are paths, or hosts.
    #[must_use]
    pub fn covers(self, path_based: bool) -> bool {
        match self {
            Self::PathBased => path_based,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The attribute `SameSite` of a cookie (RFC 6265bis).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Sent from pages of the same site, and when a link or redirect of another site leads the browser here.
    #[default]
    Lax,
    /// Sent from pages of the same site only.
    Strict,
    /// Sent from all pages; browsers accept this over `https` only.
    None,
}

impl SameSite {
    /// The value of the attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

/// How often a token that is meant for one use can be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenReuse {
    /// Once. Exceptions help clients that repeat a request: a refresh token can be repeated for a short time until its
    /// successor is used; a client with a secret can exchange a code once for each target.
    #[default]
    Retries,
    /// Once, without exceptions.
    Never,
    /// Any number of times until it expires, as in other implementations.
    Always,
}

/// Settings of archives and their installation.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// The largest archive, in megabytes.
    pub archive_max_megabytes: u64,
    /// The largest entry of an archive, in megabytes.
    pub entry_max_megabytes: u64,
    /// The number of entities that are created by one commit.
    pub entities_per_commit: usize,
    /// The number of links that are created between two events about the progress.
    pub links_per_update: usize,
    /// The folder of archives during their installation, and of request bodies that arrive while memory is short. It is
    /// created if it is missing.
    pub temp_dir: TempFolder,
    /// The largest number of concurrent installations. One cell gets a quarter of it at most.
    pub installs_max: usize,
    /// The largest number of queued installations. One cell gets a quarter of it at most.
    pub install_queue_max: usize,
}

/// Settings of events.
#[derive(Debug, Clone, Copy)]
pub struct EventSettings {
    /// The largest number of rules that may lead from one event to another; 0 disables all rules.
    pub hops_max: u32,
    /// The time for which a request of a rule is tried again, in seconds; 0 makes one attempt.
    pub request_secs: u64,
    /// The largest number of requests of rules of a cell that were given up and are kept.
    pub dead_letters_max: u64,
    /// The time for which the delivery of a message is tried again, in seconds; 0 makes one attempt.
    pub delivery_secs: u64,
    /// The largest number of events of a cell that wait to be published to other systems; `None` if events are not published.
    pub published_max: Option<u64>,
    /// Whether this process fires timers.
    pub fires_timers: bool,
}

/// Settings of queues and topics.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// The time for which a message is kept.
    pub retention: Duration,
    /// The largest message in bytes.
    pub message_max_bytes: usize,
    /// The largest number of messages of a queue or topic.
    pub queue_messages_max: u64,
    /// The largest size of the messages of a queue or topic in bytes.
    pub queue_max_bytes: u64,
}

/// Settings of scripts. The limits and where they run take effect at the start of the unit.
#[derive(Debug, Clone, Copy)]
pub struct ScriptSettings {
    /// The limits of the engine.
    pub limits: ScriptLimits,
    /// Whether scripts run in worker processes.
    pub in_processes: bool,
    /// The largest number of nested requests that scripts send to this unit.
    pub depth_max: u8,
    /// The least severe lines that the event log gets.
    pub log: ScriptLogLevel,
    /// The largest size of the lines of one request to a script in the event log, in bytes.
    pub log_max_bytes: usize,
    /// Jobs.
    pub jobs: JobSettings,
}

/// Settings of jobs: requests whose scripts run after the response.
#[derive(Debug, Clone, Copy)]
pub struct JobSettings {
    /// The time for a job, from its begin to the end of its output.
    pub timeout: Duration,
    /// The largest body of its request in bytes.
    pub request_max_bytes: usize,
    /// The largest body of its response in bytes.
    pub response_max_bytes: usize,
    /// The largest number of jobs that one process runs at once.
    pub running_max: usize,
    /// The largest number of them that are of one cell.
    pub running_of_cell_max: usize,
    /// The largest number of jobs of one cell that wait or run.
    pub waiting_of_cell_max: u32,
    /// The largest number of jobs of one cell that are kept after their end.
    pub kept_of_cell_max: u32,
    /// The time for which a job that has ended is kept.
    pub retention: Duration,
}

/// The least severe lines of scripts that the event log gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptLogLevel {
    /// None.
    Off,
    /// Errors.
    Error,
    /// Warnings.
    Warn,
    /// Information.
    Info,
    /// Lines for the developer.
    Debug,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The encryption.
    pub security: MailSecurity,
    /// User name and password, if it needs them.
    pub credentials: Option<(String, personium_types::Secret<String>)>,
}

/// The encryption of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// None.
    None,
    /// From the command STARTTLS on, which the server must know.
    StartTls,
    /// From the beginning.
    Tls,
}

/// The workspace of Slack that the operator has named for scripts.
#[derive(Debug, Clone, Default)]
pub struct SlackSettings {
    /// The token of a bot. Scripts use it and never see it.
    pub token: Option<personium_types::Secret<String>>,
    /// The channel of messages without one.
    pub channel: Option<String>,
    /// The user who gets messages to users without a name.
    pub user: Option<String>,
    /// The proxy for requests to Slack, if it is not that of all requests.
    pub proxy: Option<OutgoingProxy>,
}

/// An HTTP proxy.
#[derive(Debug, Clone)]
pub struct OutgoingProxy {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password, if it needs them.
    pub credentials: Option<(String, personium_types::Secret<String>)>,
}

/// Settings of OData queries, batches and schemas.
#[derive(Debug, Clone)]
pub struct ODataSettings {
    /// The page size of a list without `$top`.
    pub top_default: u32,
    /// The form of the protocol for clients that do not ask for one.
    pub dialect: Dialect,
    /// The largest `$top`.
    pub top_max: u32,
    /// The largest `$skip`.
    pub skip_max: u32,
    /// The largest `$top` together with `$expand`.
    pub expand_top_max: u32,
    /// The largest number of navigation properties in `$expand` of a list.
    pub expand_list_properties_max: usize,
    /// The largest number of navigation properties in `$expand` of one entity.
    pub expand_retrieve_properties_max: usize,
    /// The largest number of expanded entities for each navigation property in a list.
    pub expand_list_max: usize,
    /// The largest number of expanded entities for each navigation property of one entity.
    pub expand_retrieve_max: usize,
    /// The largest number of N:N links of one entity into one type.
    pub links_max: u64,
    /// The largest number of requests in a batch.
    pub batch_requests_max: usize,
    /// The time-out of a batch.
    pub batch_timeout: Duration,
    /// The largest sum of `$skip` and `$top`.
    pub result_window_max: u64,
    /// The largest number of entity types of a collection.
    pub entity_types_max: u64,
    /// The largest number of properties of an entity type, including nested ones.
    pub properties_max: usize,
    /// The largest number of simple properties for each level of nesting; `None` is limited by the total alone.
    pub simple_layers: Vec<Option<usize>>,
    /// The largest number of complex properties for each level of nesting.
    pub complex_layers: Vec<Option<usize>>,
    /// The largest body of an entity, in bytes.
    pub body_max_bytes: usize,
    /// The largest body of a batch, in bytes.
    pub batch_body_max_bytes: usize,
    /// The largest size of the values of one entity, in bytes.
    pub entity_max_bytes: usize,
    /// The largest size of the values of all entities in one response, in bytes.
    pub response_max_bytes: usize,
    /// The time-out of a list.
    pub query_timeout: Duration,
}

/// Settings of WebDAV.
#[derive(Debug, Clone)]
pub struct DavSettings {
    /// The largest number of members of a collection.
    pub children_max: i64,
    /// The deepest nesting of collections below a box.
    pub depth_max: usize,
    /// The largest file, in bytes; `None` is unlimited.
    pub file_max_bytes: Option<u64>,
    /// The largest XML body, in bytes.
    pub xml_max_bytes: usize,
    /// The largest file body that is stored as a record, in bytes.
    pub inline_max_bytes: usize,
    /// Whether new file bodies are encrypted.
    pub encrypt_files: bool,
    /// The largest size of the dead properties of one resource, in bytes.
    pub properties_max_bytes: usize,
    /// The largest number of uploads of larger bodies and archives that are written at the same time. One cell gets a quarter
    /// of it at most.
    pub uploads_max: usize,
    /// The largest number of uploads that wait to begin writing. One cell gets a quarter of it at most.
    pub upload_queue_max: usize,
}

/// The quotas that hold where none was set, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaSettings {
    /// That of each cell; `None` is unlimited.
    pub cell_max_bytes: Option<u64>,
    /// That of all cells of each owner; `None` is unlimited.
    pub owner_max_bytes: Option<u64>,
}

/// Settings of authentication.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The number of failed logins after which an account is locked; 0 disables it.
    pub lock_after_failures: u64,
    /// The duration of a lock, in seconds; 0 disables it.
    pub lock_secs: u64,
    /// The delay after a failed login, in seconds.
    pub retry_after_secs: u64,
    /// The rate limit of failed logins from one client address.
    pub login_rate_limit: LoginRateLimit,
    /// The largest scope of the password grant.
    pub default_scope_password: Vec<String>,
    /// The largest scope of the assertion grant.
    pub default_scope_assertion: Vec<String>,
    /// The largest scope of the authorization code grant.
    pub default_scope_code: Vec<String>,
    /// The URLs of the cells whose tokens are those of unit users, as configured.
    pub unit_user_issuers: Vec<String>,
    /// The master token; `None` disables it. It is never empty.
    pub master_token: Option<personium_types::Secret<String>>,
    /// The OpenID Connect providers whose users may log in.
    pub oidc_providers: Vec<OidcProvider>,
    /// The types of authentication that accounts may have besides `basic`.
    pub account_types: Vec<String>,
    /// The format of passwords.
    pub password_rule: PasswordRule,
    /// The number of threads that hash passwords; `None` is all cores but one.
    pub hash_threads: Option<usize>,
    /// Whether a change of the password and the deactivation of an account revoke its access tokens.
    pub revoke_access_with_account: bool,
    /// Whether these revoke its refresh tokens, codes and logins by cookie.
    pub revoke_refresh_with_account: bool,
    /// How often a refresh token can be used. One use too many revokes its token family.
    pub refresh_token_reuse: TokenReuse,
    /// How often an authorization code can be used. One use too many revokes the tokens that were issued for it.
    pub code_reuse: TokenReuse,
    /// The user name and password of the unit-wide introspection credential.
    pub introspection_credential: Option<(String, personium_types::Secret<String>)>,
}

/// A provider of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// The URL of its discovery document.
    pub config_url: String,
    /// The clients whose ID tokens are accepted; `None` accepts all.
    pub trusted_client_ids: Option<Vec<String>>,
    /// The type of authentication of accounts that log in with this provider.
    pub account_type: String,
    /// The claim that holds the name of the account.
    pub account_name_key: String,
    /// The grant type.
    pub grant_type: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            odata: ODataSettings::default(),
            dav: DavSettings::default(),
            quotas: QuotaSettings::default(),
            auth: AuthSettings::default(),
            allow_private_networks: false,
            body_memory_max_bytes: 256 << 20,
            answer_memory_max_bytes: 128 << 20,
            home_page_url: None,
            login_page_url: None,
            password_change_page_url: None,
            mail_server: None,
            slack: Box::default(),
            outgoing_proxy: None,
            events: EventSettings::default(),
            streams: StreamSettings::default(),
            scripts: ScriptSettings::default(),
            archives: ArchiveSettings::default(),
            trusted_proxies: Networks::default_proxies(),
            compress_responses: true,
            content_sandbox: ContentSandbox::default(),
            cookie_same_site: SameSite::default(),
        }
    }
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            archive_max_megabytes: 100,
            entry_max_megabytes: 10,
            entities_per_commit: 1_000,
            links_per_update: 5,
            temp_dir: std::env::temp_dir().into(),
            installs_max: 20,
            install_queue_max: 100,
        }
    }
}

impl Default for ScriptSettings {
    fn default() -> Self {
        Self {
            limits: ScriptLimits::default(),
            in_processes: false,
            depth_max: 8,
            log: ScriptLogLevel::Info,
            log_max_bytes: 64 << 10,
            jobs: JobSettings::default(),
        }
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3_600),
            request_max_bytes: 1 << 20,
            response_max_bytes: 1 << 20,
            running_max: 20,
            running_of_cell_max: 5,
            waiting_of_cell_max: 100,
            kept_of_cell_max: 1_000,
            retention: Duration::from_secs(86_400),
        }
    }
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(3_600),
            message_max_bytes: 256 << 10,
            queue_messages_max: 10_000,
            queue_max_bytes: 64 << 20,
        }
    }
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            hops_max: 3,
            request_secs: 0,
            dead_letters_max: 1_000,
            delivery_secs: 3 * 24 * 60 * 60,
            published_max: None,
            fires_timers: true,
        }
    }
}

impl Default for ODataSettings {
    fn default() -> Self {
        Self {
            top_default: 25,
            dialect: Dialect::Original,
            top_max: 10_000,
            skip_max: 100_000,
            expand_top_max: 100,
            expand_list_properties_max: 2,
            expand_retrieve_properties_max: 10,
            expand_list_max: 100,
            expand_retrieve_max: 1_000,
            links_max: 150_000,
            batch_requests_max: 1_000,
            batch_timeout: Duration::from_secs(270),
            result_window_max: 150_000,
            entity_types_max: 100,
            properties_max: 400,
            simple_layers: vec![None, Some(50), Some(30), Some(10)],
            complex_layers: vec![Some(20), Some(5), Some(2), Some(0)],
            body_max_bytes: 32 << 20,
            batch_body_max_bytes: 64 << 20,
            entity_max_bytes: 4 << 20,
            response_max_bytes: 64 << 20,
            query_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for DavSettings {
    fn default() -> Self {
        Self {
            children_max: 1_024,
            depth_max: 50,
            file_max_bytes: None,
            xml_max_bytes: 1 << 20,
            inline_max_bytes: 16 << 10,
            encrypt_files: false,
            properties_max_bytes: 1 << 20,
            uploads_max: 256,
            upload_queue_max: 1_024,
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        let root = || vec!["root".to_owned()];
        Self {
            lock_after_failures: 0,
            lock_secs: 0,
            retry_after_secs: 1,
            login_rate_limit: LoginRateLimit {
                burst: 200,
                per_minute: 60,
            },
            default_scope_password: root(),
            default_scope_assertion: root(),
            default_scope_code: root(),
            unit_user_issuers: Vec::new(),
            master_token: None,
            oidc_providers: Vec::new(),
            account_types: Vec::new(),
            password_rule: PasswordRule::default(),
            hash_threads: None,
            revoke_access_with_account: false,
            revoke_refresh_with_account: true,
            refresh_token_reuse: TokenReuse::default(),
            code_reuse: TokenReuse::default(),
            introspection_credential: None,
        }
    }
}
