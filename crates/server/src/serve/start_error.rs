//! Reasons why a unit does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use personium_model::server_node::JoinError;

use crate::components::ComponentError;
use crate::first_start::FirstStartError;
use crate::folders::FolderError;
use crate::layers::LayerMissing;
use crate::port_advice::port_advice;
use crate::telemetry::CollectorError;
use crate::tls::TlsError;

/// A unit that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A layer outside of the process is missing.
    #[error(transparent)]
    Layer(#[from] LayerMissing),
    /// A component could not be built.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The administrator could not be created.
    #[error("cannot create the administrator of the unit")]
    FirstStart(#[from] FirstStartError),
    /// The key of the unit that encrypts signing keys and file bodies could not be decrypted.
    #[error(
        "security.secret16, or unit.secret in the data folder, is not the secret under which the keys and file bodies of this unit are encrypted; \
         set that secret as security.secret16.previous for one start"
    )]
    BodyKey(#[source] personium_types::Error),
    /// Cells of another unit are being taken over.
    #[error(
        "the migration from {from} is not finished; run `personium migrate` with --finish when the original is stopped"
    )]
    UnfinishedMigration {
        /// Where the cells come from.
        from: String,
    },
    /// A migration to here was ended before the records of the unit said so.
    #[error(
        "a migration to {} was begun and interrupted; run the same `personium migrate` again, or remove the folder",
        folder.display()
    )]
    InterruptedMigration {
        /// The data folder.
        folder: PathBuf,
    },
    /// The records of the unit cannot be read.
    #[error("cannot read the records of the unit")]
    Records(#[source] personium_types::Error),
    /// This node has another secret than the unit.
    #[error(
        "security.secret16 is not the secret of the unit whose records are in the database: all nodes need the same; \
         after a change of the secret, give the old one as security.secret16.previous"
    )]
    NodeSecret(#[source] personium_types::Error),
    /// This node must not run beside others that run, or on these records.
    #[error("this node cannot be one of the unit")]
    Join(#[from] JoinError),
    /// The certificate of the TLS port cannot be used.
    #[error("cannot use the certificate of the TLS port")]
    Tls(#[from] TlsError),
    /// The settings of the collector of traces cannot be used.
    #[error(transparent)]
    Traces(#[from] CollectorError),
    /// The file of the access log could not be opened.
    #[error("cannot write the access log (log.access.file)")]
    AccessLog(#[source] std::io::Error),
    /// The address is in use, or not an address of this machine.
    #[error("cannot listen on {address}: {error}{}", port_advice(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause, which the text of this error has.
        error: std::io::Error,
    },
}
