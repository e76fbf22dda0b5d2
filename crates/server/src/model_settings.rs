//! Converts the settings of the operator into those of the domain model.

use std::path::PathBuf;
use std::time::Duration;

use personium_model::Settings;
use personium_model::credentials::{LoginRateLimit, PasswordRule};
use personium_model::settings::{
    ArchiveSettings, AuthSettings, DavSettings, EventSettings, JobSettings, ODataSettings,
    OidcProvider, OutgoingProxy, QuotaSettings, ScriptSettings, StreamSettings,
};
use personium_script::Isolation;
use personium_types::ScriptLimits;

use crate::config::{Config, OidcProviderConfig};

/// The folder of archives during their installation, in the data folder.
const ARCHIVES_DIR: &str = "archives";

/// Returns the settings of the domain model.
#[must_use]
pub fn model_settings(config: &Config) -> Settings {
    Settings {
        odata: odata(config),
        dav: dav(config),
        quotas: QuotaSettings {
            cell_max_bytes: config.quotas.cell_max_bytes,
            owner_max_bytes: config.quotas.unit_user_max_bytes,
        },
        auth: auth(config),
        allow_private_networks: config.outgoing.private_networks,
        body_memory_max_bytes: config.listen.body_memory_max_bytes,
        answer_memory_max_bytes: config.listen.answer_memory_max_bytes,
        home_page_url: config.cell_pages.home_url.clone(),
        login_page_url: config.cell_pages.login_url.clone(),
        password_change_page_url: config.cell_pages.password_change_url.clone(),
        mail_server: config.scripts.extensions.mail_server.clone(),
        slack: config.scripts.extensions.slack.clone(),
        outgoing_proxy: outgoing_proxy(config),
        trusted_proxies: config.listen.trusted_proxies.clone(),
        compress_responses: config.listen.compress_responses,
        content_sandbox: config.cell_pages.sandbox,
        cookie_same_site: config.cell_pages.cookie_same_site,
        archives: archives(config),
        scripts: scripts(config),
        events: EventSettings {
            hops_max: config.events.hops_max,
            request_secs: config.events.request_secs,
            dead_letters_max: config.events.dead_letters_max,
            delivery_secs: config.messages.delivery_secs,
            published_max: config
                .events
                .broker_kind
                .map(|_| config.events.published_max),
            fires_timers: config.events.timer_threads > 0,
        },
        streams: StreamSettings {
            retention: Duration::from_secs(config.stream.retention_secs),
            message_max_bytes: config.stream.message_max_bytes,
            queue_messages_max: config.stream.queue_messages_max,
            queue_max_bytes: config.stream.queue_max_bytes,
        },
    }
}

fn scripts(config: &Config) -> ScriptSettings {
    let scripts = &config.scripts;
    ScriptSettings {
        limits: ScriptLimits {
            timeout: Duration::from_millis(scripts.timeout_ms),
            memory_max_bytes: scripts.memory_max_bytes,
            stack_max_bytes: scripts.stack_max_bytes,
            output_max_bytes: scripts.output_max_bytes,
            calls_max: scripts.calls_max,
            running_max: scripts.running_max,
            running_of_cell_max: scripts.running_of_cell_max,
        },
        in_processes: scripts.isolation == Isolation::Process,
        depth_max: scripts.depth_max,
        log: scripts.log,
        log_max_bytes: scripts.log_max_bytes,
        jobs: JobSettings {
            timeout: Duration::from_millis(scripts.job_timeout_ms),
            request_max_bytes: scripts.job_request_max_bytes,
            response_max_bytes: scripts.job_response_max_bytes,
            running_max: scripts.jobs_running_max,
            running_of_cell_max: scripts.jobs_running_of_cell_max,
            waiting_of_cell_max: scripts.jobs_waiting_of_cell_max,
            kept_of_cell_max: scripts.jobs_kept_of_cell_max,
            retention: Duration::from_secs(scripts.job_retention_secs),
        },
    }
}

fn outgoing_proxy(config: &Config) -> Option<OutgoingProxy> {
    let proxy = &config.proxy;
    let (host, port) = (proxy.host.clone()?, proxy.port?);
    let credentials = proxy
        .user
        .clone()
        .map(|user| (user, proxy.password.clone().unwrap_or_default()));
    Some(OutgoingProxy {
        host,
        port,
        credentials,
    })
}

/// The folder of temporary files.
pub(crate) fn temporary_folder(config: &Config) -> PathBuf {
    let configured = config.archives.temp_dir.clone();
    configured.unwrap_or_else(|| config.store.data_dir.join(ARCHIVES_DIR))
}

fn archives(config: &Config) -> ArchiveSettings {
    let archives = &config.archives;
    let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    ArchiveSettings {
        archive_max_megabytes: archives.archive_max_megabytes,
        entry_max_megabytes: archives.entry_max_megabytes,
        entities_per_commit: to_usize(archives.entities_per_commit),
        links_per_update: to_usize(archives.links_per_update),
        temp_dir: temporary_folder(config).into(),
        installs_max: config.background.box_installs_max,
        ..ArchiveSettings::default()
    }
}

fn dav(config: &Config) -> DavSettings {
    let dav = &config.dav;
    DavSettings {
        children_max: dav.children_max,
        depth_max: dav.depth_max,
        file_max_bytes: dav.file_max_bytes,
        xml_max_bytes: dav.xml_max_bytes,
        inline_max_bytes: dav.inline_max_bytes,
        encrypt_files: config.secrets.encrypt_files,
        properties_max_bytes: dav.properties_max_bytes,
        uploads_max: dav.uploads_max,
        upload_queue_max: dav.upload_queue_max,
    }
}

fn odata(config: &Config) -> ODataSettings {
    let (odata, schema) = (&config.odata, &config.schema);
    ODataSettings {
        top_default: odata.top_default,
        dialect: odata.dialect,
        top_max: odata.top_max,
        skip_max: odata.skip_max,
        expand_top_max: odata.expand_top_max,
        expand_list_properties_max: odata.expand_list_properties_max,
        expand_retrieve_properties_max: odata.expand_retrieve_properties_max,
        expand_list_max: odata.expand_list_max,
        expand_retrieve_max: odata.expand_retrieve_max,
        links_max: odata.links_max,
        batch_requests_max: odata.batch_max,
        batch_timeout: Duration::from_millis(odata.batch_timeout_ms),
        result_window_max: odata.result_window_max,
        entity_types_max: schema.entity_types_max,
        properties_max: schema.properties_max,
        simple_layers: schema.simple_layers.clone(),
        complex_layers: schema.complex_layers.clone(),
        body_max_bytes: odata.body_max_bytes,
        batch_body_max_bytes: odata.batch_body_max_bytes,
        entity_max_bytes: odata.entity_max_bytes,
        response_max_bytes: odata.response_max_bytes,
        query_timeout: Duration::from_millis(odata.query_timeout_ms),
    }
}

fn auth(config: &Config) -> AuthSettings {
    let (logins, tokens) = (&config.logins, &config.tokens);
    let introspection = &config.introspection;
    let introspection_password = introspection.password.clone().unwrap_or_default();
    AuthSettings {
        lock_after_failures: logins.lock_after_failures,
        lock_secs: logins.lock_secs,
        retry_after_secs: logins.retry_after_secs,
        login_rate_limit: LoginRateLimit {
            burst: logins.rate_limit_burst,
            per_minute: logins.rate_limit_per_minute,
        },
        default_scope_password: tokens.default_scope_password.clone(),
        default_scope_assertion: tokens.default_scope_assertion.clone(),
        default_scope_code: tokens.default_scope_code.clone(),
        unit_user_issuers: config.unit.issuers.clone(),
        master_token: config.unit.master_token.clone(),
        oidc_providers: config.oidc.iter().map(oidc_provider).collect(),
        account_types: config
            .oidc
            .iter()
            .map(|provider| provider.account_type.clone())
            .collect(),
        introspection_credential: introspection
            .username
            .clone()
            .map(|username| (username, introspection_password)),
        password_rule: PasswordRule::Pattern(config.passwords.pattern.clone()),
        hash_threads: config.password_hash.threads,
        revoke_access_with_account: tokens.revoke_access_with_account,
        revoke_refresh_with_account: tokens.revoke_refresh_with_account,
        refresh_token_reuse: tokens.refresh_token_reuse,
        code_reuse: tokens.code_reuse,
    }
}

fn oidc_provider(provider: &OidcProviderConfig) -> OidcProvider {
    OidcProvider {
        config_url: provider.config_url.clone(),
        trusted_client_ids: provider.trusted_client_ids.clone(),
        account_type: provider.account_type.clone(),
        account_name_key: provider.account_name_key.clone(),
        grant_type: provider.grant_type.clone(),
    }
}

#[cfg(test)]
mod tests;
