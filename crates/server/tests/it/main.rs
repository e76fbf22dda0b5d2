//! Tests of the built program from outside: over HTTP, with clients of others, on a real disk, and through crashes.
//!
//! They run in parallel, each with units, ports and folders of its own. Those that load the machine for a long time hold
//! [`machine_load`] for reading; one whose result depends on a steady pace holds it for writing.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and the environment"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access_log;
mod acme;
mod acme_server;
mod administered_unit;
mod administration;
mod answer_memory;
mod archive_memory;
mod archives_on_full_disk;
mod audit;
mod authorization_code;
mod backed_up_unit;
mod backups_in_bucket;
mod box_export;
mod broken_cells;
mod browser;
mod cert_commands;
mod certificates;
mod changed_cells;
mod checker;
mod config_commands;
mod coordinated_units;
mod copied_unit;
mod crash_recovery;
mod damage;
mod data_folder;
mod deleted_cells;
mod earlier_units;
mod early_responses;
mod encrypted_files;
mod erased_cells;
mod event_bus;
mod event_feed;
mod exec_rules;
mod external_programs;
mod faketime;
mod flipped_bits;
mod full_disk;
mod header_names;
mod hostile_bodies;
mod hostile_requests;
mod http2;
mod interrupted_import;
mod interrupted_installation;
mod journal;
mod layer_loss;
mod ldap_login;
mod limits_by_settings;
mod log_bounds;
mod low_disk;
mod master_token;
mod memcached;
mod message_queue;
mod messages_between_units;
mod metrics;
mod migrated_unit;
mod migration_memory;
mod monitoring;
mod node_differences;
mod nodes;
mod oauth_clients;
mod object_store;
mod odata_clients;
mod openid_provider;
mod outbox_metrics;
mod outside;
mod partial_backups;
mod peer_units;
mod plugins;
mod point_in_time;
mod postgres_unit;
mod program;
mod rclone;
mod readme_walkthrough;
mod relay_signatures;
mod renamed_unit;
mod request_targets;
mod restored_cell;
mod rolling_restart;
mod rules_through_proxy;
mod saml_clients;
mod script_cloud;
mod script_extensions;
mod script_mail;
mod script_memory;
mod script_workers;
mod service_commands;
mod service_jobs;
mod service_manager;
mod settings_reload;
mod slow_clients;
mod start_checks;
mod start_order;
mod storage_unit;
mod stream_broker;
mod streams;
mod timers;
mod trace_collector;
mod traces;
mod trust_between_units;
mod unit_hosts;
mod usage_and_quotas;
mod verified_unit;
mod wasm_plugins;
mod web_layer;
mod web_layer_events;
mod web_layer_hostile;
mod web_layer_pages;
mod web_layer_retries;
mod webdav_clients;

use personium_testkit::{ProcessUnit, ProcessUnitBuilder};
use tokio::sync::RwLock;

/// A builder of a unit that runs the built program.
fn unit() -> ProcessUnitBuilder {
    ProcessUnit::builder(env!("CARGO_BIN_EXE_personium"))
}

/// The lock that separates tests with a long load from those that need a steady pace.
fn machine_load() -> &'static RwLock<()> {
    static LOCK: RwLock<()> = RwLock::const_new(());
    &LOCK
}
