//! Limits and rules that an operator sets, as the model needs them.

use personium_types::network::Networks;

use crate::credentials::{LoginRateLimit, PasswordRule};

/// Limits and rules of a unit. `Default` gives the values of an empty configuration file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of OData.
    pub odata: OdataLimits,
    /// Limits of WebDAV.
    pub dav: DavLimits,
    /// Rules of authentication.
    pub auth: AuthRules,
    /// Whether URLs that owners of cells choose may lead the unit into private networks.
    pub private_networks: bool,
    /// Bytes of request bodies that are read as a whole, of all requests together.
    pub bodies_max: u64,
    /// URL of the page that a browser gets at a cell root without a page of its own.
    pub relay_html_url: Option<String>,
    /// URL of the login form for cells without one of their own.
    pub authorization_html_url: Option<String>,
    /// URL of the password change form for cells without one of their own.
    pub password_change_html_url: Option<String>,
    /// The proxy for requests to other machines.
    pub outgoing_proxy: Option<OutgoingProxy>,
    /// Rules of events.
    pub events: EventRules,
    /// Limits of archives.
    pub bar: BarLimits,
    /// The proxies in front, which are believed what their `X-Forwarded` headers say.
    pub proxies: Networks,
}

/// Limits of archives that are installed.
#[derive(Debug, Clone)]
pub struct BarLimits {
    /// Megabytes of an archive.
    pub file_megabytes: u64,
    /// Megabytes of one entry of an archive.
    pub entry_megabytes: u64,
    /// Entities that are made together.
    pub bulk_size: usize,
    /// Links that are made between two events about their progress.
    pub links_step: usize,
    /// Where archives lie while they are installed. Made if it is missing.
    pub folder: std::path::PathBuf,
    /// Installations that run at once, a quarter of them for one cell at most.
    pub installs_max: usize,
    /// Installations that wait for their turn, a quarter of them for one cell at most.
    pub installs_waiting_max: usize,
}

/// Rules of events.
#[derive(Debug, Clone, Copy)]
pub struct EventRules {
    /// How many rules may lead from one event to another; 0 stops all rules.
    pub hops_max: u32,
}

/// An HTTP proxy.
#[derive(Debug, Clone)]
pub struct OutgoingProxy {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password there, if it wants them.
    pub credentials: Option<(String, personium_types::Secret<String>)>,
}

/// Limits of OData queries, batches and schemas.
#[derive(Debug, Clone)]
pub struct OdataLimits {
    /// Page size of a list without `$top`.
    pub top_default: u32,
    /// Largest `$top`.
    pub top_max: u32,
    /// Largest `$skip`.
    pub skip_max: u32,
    /// Largest `$top` together with `$expand`.
    pub expand_top_max: u32,
    /// Navigation properties in `$expand` of a list.
    pub expand_list_properties: usize,
    /// Navigation properties in `$expand` of one entity.
    pub expand_retrieve_properties: usize,
    /// Expanded entities for each navigation property in a list.
    pub expand_list_max: usize,
    /// Expanded entities for each navigation property of one entity.
    pub expand_retrieve_max: usize,
    /// N:N links of one entity into one type.
    pub link_max: u64,
    /// Requests in a batch.
    pub batch_max: usize,
    /// Time for a whole batch in milliseconds.
    pub batch_timeout_ms: u64,
    /// `$skip` and `$top` together.
    pub window_max: u64,
    /// Entity types of a collection.
    pub entity_types_max: u64,
    /// Properties of an entity type, nested ones included.
    pub properties_max: usize,
    /// Simple properties for each level of nesting; `None` is what the others leave.
    pub simple_layers: Vec<Option<usize>>,
    /// Complex properties for each level of nesting.
    pub complex_layers: Vec<Option<usize>>,
    /// Bytes of an entity body.
    pub body_max: usize,
    /// Bytes of a batch body.
    pub batch_body_max: usize,
    /// Bytes of the values of one entity.
    pub entity_max: usize,
    /// Bytes of the values of all entities in one answer.
    pub answer_max: usize,
    /// Time for a list in milliseconds.
    pub query_timeout_ms: u64,
}

/// Limits of WebDAV.
#[derive(Debug, Clone)]
pub struct DavLimits {
    /// Members of a collection.
    pub children_max: i64,
    /// Nesting of collections below a box.
    pub depth_max: usize,
    /// Bytes of a file; `None` is unlimited.
    pub file_max: Option<u64>,
    /// Bytes of an XML body.
    pub xml_max: usize,
    /// Bodies up to this size are kept in the record store.
    pub inline_max: usize,
    /// Whether new bodies are stored encrypted.
    pub encrypt: bool,
    /// Bytes of the dead properties of one resource.
    pub properties_max: usize,
    /// Uploads of larger bodies, and archives, that are received at once; more wait. One cell gets a quarter at most.
    pub uploads_max: usize,
    /// Uploads that may wait for their turn; more are refused. One cell gets a quarter at most.
    pub uploads_waiting_max: usize,
}

/// Rules of authentication.
#[derive(Debug, Clone)]
pub struct AuthRules {
    /// Failed attempts before an account is locked; 0 is off.
    pub lock_count: u64,
    /// Seconds that a lock lasts; 0 is off.
    pub lock_seconds: u64,
    /// Seconds between attempts after a failed one.
    pub interval_seconds: u64,
    /// How fast logins from one address may fail.
    pub login_rate_limit: LoginRateLimit,
    /// Largest scope of the password grant.
    pub scope_ropc: Vec<String>,
    /// Largest scope of the assertion grant.
    pub scope_assertion: Vec<String>,
    /// Largest scope of the authorization code grant.
    pub scope_code: Vec<String>,
    /// URLs of the cells whose tokens make unit users, as configured.
    pub unit_user_issuers: Vec<String>,
    /// The master token; `None` switches it off. Never empty.
    pub master_token: Option<personium_types::Secret<String>>,
    /// Providers of OpenID Connect whose users may log in.
    pub oidc: Vec<OidcProvider>,
    /// Kinds of authentication that accounts may have besides `basic`.
    pub account_types: Vec<String>,
    /// What passwords must look like.
    pub password_rule: PasswordRule,
    /// Threads that hash passwords; `None` leaves one core to everything else.
    pub hash_threads: Option<usize>,
    /// Whether a change of password, and deactivation, end the tokens that an account was given before.
    pub revoke_with_account: bool,
    /// Whether a refresh token is good for one use only; a second use ends all that came of the same login.
    pub rotate_refresh: bool,
    /// Whether an authorization code is good for one use only.
    pub single_use_codes: bool,
    /// User name and password of the unit-wide introspection credential.
    pub introspect: Option<(String, personium_types::Secret<String>)>,
}

/// A provider of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// The URL of its discovery document.
    pub config_url: String,
    /// The clients whose ID tokens are accepted; `None` is all.
    pub trusted_client_ids: Option<Vec<String>>,
    /// The kind of authentication of accounts that log in this way.
    pub account_type: String,
    /// The claim that holds the name of the account.
    pub account_name_key: String,
    /// The grant type.
    pub grant_type: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            odata: OdataLimits::default(),
            dav: DavLimits::default(),
            auth: AuthRules::default(),
            private_networks: false,
            bodies_max: 256 << 20,
            relay_html_url: None,
            authorization_html_url: None,
            password_change_html_url: None,
            outgoing_proxy: None,
            events: EventRules::default(),
            bar: BarLimits::default(),
            proxies: Networks::default_proxies(),
        }
    }
}

impl Default for BarLimits {
    fn default() -> Self {
        Self {
            file_megabytes: 100,
            entry_megabytes: 10,
            bulk_size: 1_000,
            links_step: 5,
            folder: std::env::temp_dir(),
            installs_max: 20,
            installs_waiting_max: 100,
        }
    }
}

impl Default for EventRules {
    fn default() -> Self {
        Self { hops_max: 3 }
    }
}

impl Default for OdataLimits {
    fn default() -> Self {
        Self {
            top_default: 25,
            top_max: 10_000,
            skip_max: 100_000,
            expand_top_max: 100,
            expand_list_properties: 2,
            expand_retrieve_properties: 10,
            expand_list_max: 100,
            expand_retrieve_max: 1_000,
            link_max: 150_000,
            batch_max: 1_000,
            batch_timeout_ms: 270_000,
            window_max: 150_000,
            entity_types_max: 100,
            properties_max: 400,
            simple_layers: vec![None, Some(50), Some(30), Some(10)],
            complex_layers: vec![Some(20), Some(5), Some(2), Some(0)],
            body_max: 32 << 20,
            batch_body_max: 64 << 20,
            entity_max: 4 << 20,
            answer_max: 64 << 20,
            query_timeout_ms: 60_000,
        }
    }
}

impl Default for DavLimits {
    fn default() -> Self {
        Self {
            children_max: 1_024,
            depth_max: 50,
            file_max: None,
            xml_max: 1 << 20,
            inline_max: 16 << 10,
            encrypt: false,
            properties_max: 1 << 20,
            uploads_max: 256,
            uploads_waiting_max: 1_024,
        }
    }
}

impl Default for AuthRules {
    fn default() -> Self {
        let root = || vec!["root".to_owned()];
        Self {
            lock_count: 0,
            lock_seconds: 0,
            interval_seconds: 1,
            login_rate_limit: LoginRateLimit {
                burst: 200,
                per_minute: 60,
            },
            scope_ropc: root(),
            scope_assertion: root(),
            scope_code: root(),
            unit_user_issuers: Vec::new(),
            master_token: None,
            oidc: Vec::new(),
            account_types: Vec::new(),
            password_rule: PasswordRule::default(),
            hash_threads: None,
            revoke_with_account: false,
            rotate_refresh: false,
            single_use_codes: false,
            introspect: None,
        }
    }
}
