//! Settings of scripts and plugins.

use std::path::PathBuf;

use personium_model::settings::ScriptLogLevel;
use personium_script::Isolation;

use super::extension_files::{ExtensionFiles, ExtensionsFolder};
use super::section::section;
use super::value_parser::{FilePath, Number, OneOf, Optional, Text};

const LOG_LEVELS: OneOf<ScriptLogLevel> = OneOf(&[
    ("off", ScriptLogLevel::Off),
    ("error", ScriptLogLevel::Error),
    ("warn", ScriptLogLevel::Warn),
    ("info", ScriptLogLevel::Info),
    ("debug", ScriptLogLevel::Debug),
]);

section! {
    /// Settings of the scripts of services. Except for those of the log, they take effect at the start.
    ScriptConfig "Scripts" {
        /// The largest number of compiled scripts in a cache.
        _cache_capacity: usize = "engine.script.cache.maxNum", "100000", Number(1..=10_000_000);
        /// Where scripts run: on threads of this process, or in processes of their own without file system and network.
        isolation: Isolation = "engine.script.isolation", "thread",
            OneOf(&[("thread", Isolation::Thread), ("process", Isolation::Process)]);
        /// The number of milliseconds for which a script may run, its output included.
        timeout_ms: u64 = "engine.script.connection.timeout", "50000", Number(1..=86_400_000);
        /// The largest amount of memory of one script in bytes.
        memory_max_bytes: usize = "engine.script.memory.maxBytes", "67108864", Number(8 << 20..=1 << 32);
        /// The stack of one script in bytes.
        stack_max_bytes: usize = "engine.script.stack.maxBytes", "1048576", Number(64 << 10..=64 << 20);
        /// The largest body of a response of a script in bytes.
        output_max_bytes: u64 = "engine.script.output.maxBytes", "268435456", Number(1 << 10..=1 << 40);
        /// The largest number of requests that one script sends.
        calls_max: u32 = "engine.script.calls.maxNum", "1000", Number(0..=1_000_000);
        /// The largest number of nested requests that scripts send to this unit.
        depth_max: u8 = "engine.script.depth.maxNum", "8", Number(1..=32);
        /// The largest number of scripts that run at once. Further requests wait for two seconds and are then refused.
        running_max: usize = "engine.script.running.maxNum", "200", Number(1..=10_000);
        /// The largest number of scripts of one cell that run at once.
        running_of_cell_max: usize = "engine.script.running.maxNumOfCell", "50", Number(1..=10_000);
        /// The least severe lines of scripts that the event log of the cell gets: off, error, warn, info or debug.
        log: ScriptLogLevel = "engine.script.log.level", "info", LOG_LEVELS;
        /// The largest size of the log lines of one request to a script in bytes.
        log_max_bytes: usize = "engine.script.log.maxBytes", "65536", Number(0..=1 << 20);
        /// The number of milliseconds for which the script of a job (a request to an asynchronous path of a service) may run.
        job_timeout_ms: u64 = "engine.script.job.timeout", "3600000", Number(1..=604_800_000);
        /// The largest body of a request that becomes a job, in bytes.
        job_request_max_bytes: usize = "engine.script.job.request.maxBytes", "1048576", Number(0..=16 << 20);
        /// The largest body of the response of a job, in bytes.
        job_response_max_bytes: usize = "engine.script.job.response.maxBytes", "1048576", Number(0..=16 << 20);
        /// The largest number of jobs that one process runs at once. The others wait.
        jobs_running_max: usize = "engine.script.job.running.maxNum", "20", Number(1..=10_000);
        /// The largest number of jobs of one cell that one process runs at once.
        jobs_running_of_cell_max: usize = "engine.script.job.running.maxNumOfCell", "5", Number(1..=10_000);
        /// The largest number of jobs of one cell that wait or run. Further requests are refused.
        jobs_waiting_of_cell_max: u32 = "engine.script.job.waiting.maxNumOfCell", "100", Number(1..=100_000);
        /// The largest number of jobs of one cell that are kept after their end. More remove those that ended first.
        jobs_kept_of_cell_max: u32 = "engine.script.job.kept.maxNumOfCell", "1000", Number(1..=100_000);
        /// The number of seconds for which the document of a job that has ended is kept.
        job_retention_secs: u64 = "engine.script.job.retention", "86400", Number(1..=31_536_000);
        /// The folder of the property files of extensions (Ext_MailSender.properties, Ext_Slack.properties). They are read at the start.
        extensions: ExtensionFiles = "engine.extensions.dir", "", ExtensionsFolder;
        /// The host of an external script engine.
        _host: String = "engine.host", "localhost", Text;
        /// The port of an external script engine.
        _port: u16 = "engine.port", "8080", Number(1..=u16::MAX);
        /// The path of an external script engine.
        _path: String = "engine.path", "personium-engine", Text;
    }
}

section! {
    /// Settings of authentication plugins and script extensions. OpenID Connect is built in.
    PluginConfig "Plugins" {
        /// The folder of plugins; see docs/plugins.md. A change of a file in it needs no restart.
        dir: Option<PathBuf> = "plugin.path", "", Optional(FilePath);
        /// The Java class that loads plugins.
        _default_class: Option<String> = "plugin.defaultClassname", "", Optional(Text);
        /// The client ids that the plugin for Google accepted. Describe the provider with plugin.oidc.* instead.
        _google_clients: String = "oidc.google.trustedClientIds", "*", Text;
    }
}
