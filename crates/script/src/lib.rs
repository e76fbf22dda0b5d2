//! The script engine: runs one script of a service for each request, in a context of its own.
//!
//! A script is JavaScript, run by QuickJS. It reaches the rest of the unit only through the [`ScriptHost`] of its request, and it
//! runs within the [`ScriptLimits`](personium_types::ScriptLimits): memory, stack, time, output, and the number of scripts at once. A script is synchronous, so it
//! has a thread of its own while it runs; calls of the host block that thread, not the caller of [`ScriptEngine::run`].

mod aws_signature;
mod called_function;
mod compute_slots;
mod engine;
mod error_stacks;
mod error_texts;
mod failure;
mod guessed_value;
mod host;
mod library;

mod native;
mod output;
mod prepared;
mod response;
mod rhino_message;
mod route;
mod run;
mod running_script;
mod script_stop;
mod script_threads;
mod scripts_at_once;
mod source_tokens;
mod stream_table;
mod syntax;
mod text_encoding;
mod throw_place;
mod worker;
mod written_value;

pub use engine::{Isolation, ScriptEngine, ScriptMetrics};
pub use failure::ScriptFailure;
pub use host::{
    ByteStream, ExtensionCall, HostError, HostErrorKind, HostRequest, HostResponse, LogLevel, Mail,
    MailAddress, RequestBody, ScriptHost, TokenKind,
};

pub use output::{BrokenOff, ScriptBody, ScriptChunks, ScriptResponse};
pub use route::{RouteTable, RouteTarget, TemplateError};
pub use run::ScriptCall;
pub use script_stop::ScriptStop;
pub use syntax::find_syntax_error;
pub use worker::{WORKER_ARGUMENT, run_worker};
