//! Keys of single values: records that a space has once, or once for each thing that their name ends with.

use personium_store::{Key, KeyRange};
use personium_types::{CellId, NodeId, ServerNodeId};

use super::last_text;

/// The beginning of the names of server nodes; the id of the server node follows.
const SERVER_NODE: &str = "node/";
/// The name of the mark of the unit.
const UNIT_MARK: &str = "unit/mark";
/// The name of the record of the cells with administrators.
const ADMINISTRATOR_CELLS: &str = "unit/administrators";
/// The name of the modes of maintenance.
const MAINTENANCE: &str = "unit/maintenance";
/// The name of the record of the head of the audit log.
const AUDIT_HEAD: &str = "unit/audit";
/// The beginning of the names of noted states; the part follows.
const NOTED_STATE: &str = "unit/noted/";
/// The name of the record of the id of the stores.
const STORE_ID: &str = "unit/stores";
/// The name of the record of an unfinished copy.
const UNFINISHED_COPY: &str = "unit/copy";
/// The name of the record of an unfinished migration.
const UNFINISHED_MIGRATION: &str = "unit/migration";
/// The beginning of the names of markers of cells with garbage; the id of the cell follows.
const GARBAGE_MARKER: &str = "sweep/cell/";
/// The beginning of the names of garbage records; the id of the node follows.
const GARBAGE_RECORD: &str = "sweep/";
/// The beginning of the names of records of removed cells; the id of the cell follows.
const REMOVED_CELL: &str = "sweep/gone/";
/// The beginning of the names of markers of cells that are being deleted; the id of the cell follows.
const CELL_DELETION: &str = "cell-deletion/";
/// The beginning of the names of records of cells that were removed for good; the id of the cell follows.
const ERASED_CELL: &str = "cell-erased/";
/// The beginning of the names of markers of cells whose entry in the catalogue was changed; the id of the cell follows.
const CHANGED_CELL: &str = "cell-change/";
/// The beginning of the names of failed logins; the id of the account follows.
const FAILED_LOGINS: &str = "login-failed/";
/// The beginning of the names of installations; the id of the box follows.
const INSTALLATION: &str = "install/";
/// The beginning of the names of markers of cells with installations; the id of the cell follows.
const INSTALLATION_MARKER: &str = "install/cell/";
/// The beginning of the names of failed installations; the name of the box follows.
const FAILED_INSTALLATION: &str = "install-failed/";
/// The beginning of the names of imported entities; their ids in the snapshot follow.
const IMPORTED_ENTITY: &str = "imported/";
/// The beginning of the names of markers of cells with outbox entries; the id of the cell follows.
const OUTBOX_MARKER: &str = "event/cell/";

/// The name of the number of bytes of the bodies of files.
const BYTES_OF_FILES: &str = "bytes/files";
/// The name of the number of bytes of the records of entities.
const BYTES_OF_ENTITIES: &str = "bytes/entities";
/// The name of the counter of the bytes of nodes, with their dead properties and access control lists.
const BYTES_OF_PROPERTIES: &str = "bytes/properties";
/// The name of the counter of the bytes of the keys of links.
const BYTES_OF_LINKS: &str = "bytes/links";
/// The name of the counter of the bytes of the keys of index entries.
const BYTES_OF_INDEX_ENTRIES: &str = "bytes/index";
/// The name of the counter of the bytes of the messages of queues.
const BYTES_OF_QUEUES: &str = "bytes/queues";
/// The name of the counter of the bytes of the messages of topics.
const BYTES_OF_TOPICS: &str = "bytes/topics";
/// The name of the counter of the bytes of the jobs of services.
const BYTES_OF_JOBS: &str = "bytes/jobs";
/// The names of all counters of bytes.
const COUNTERS_OF_BYTES: [&str; 8] = [
    BYTES_OF_FILES,
    BYTES_OF_ENTITIES,
    BYTES_OF_PROPERTIES,
    BYTES_OF_LINKS,
    BYTES_OF_INDEX_ENTRIES,
    BYTES_OF_QUEUES,
    BYTES_OF_TOPICS,
    BYTES_OF_JOBS,
];
/// The beginning of the names of quotas of cells; the id of the cell follows.
const CELL_QUOTA: &str = "quota/cell/";
/// The beginning of the names of quotas of owners; the owner follows.
const OWNER_QUOTA: &str = "quota/owner/";

/// In the space of the unit: the id that the unit was marked with when its data folder was first used.
#[must_use]
pub fn unit_mark() -> Key {
    single(UNIT_MARK)
}

/// In the space of the unit: a random id of these records, if the unit was copied or restored to them. Numbers of commits belong to it.
#[must_use]
pub fn store_id() -> Key {
    single(STORE_ID)
}

/// In the space of the unit: the names of the cells whose accounts can administrate the unit.
#[must_use]
pub fn administrator_cells() -> Key {
    single(ADMINISTRATOR_CELLS)
}

/// In the space of the unit: the modes of [`crate::maintenance`].
#[must_use]
pub fn maintenance() -> Key {
    single(MAINTENANCE)
}

/// In the space of the unit: the number and the hash of the last entry of the audit log.
#[must_use]
pub fn audit_head() -> Key {
    single(AUDIT_HEAD)
}

/// In the space of the unit: the state of a part of what the unit works with, as the audit log knows it.
#[must_use]
pub fn noted_state(part: &str) -> Key {
    single(&format!("{NOTED_STATE}{part}"))
}

/// In the space of the unit: a unit that is being copied into these records, see [`crate::unfinished_copy`].
#[must_use]
pub fn unfinished_copy() -> Key {
    single(UNFINISHED_COPY)
}

/// In the space of the unit: that cells of another unit are being taken over, see [`crate::unfinished_migration`].
#[must_use]
pub fn unfinished_migration() -> Key {
    single(UNFINISHED_MIGRATION)
}

/// In the space of the unit: a server node that runs, or that was not found dead yet.
#[must_use]
pub fn server_node(id: &ServerNodeId) -> Key {
    single(&format!("{SERVER_NODE}{id}"))
}

/// All records of [`server_node`].
#[must_use]
pub fn server_nodes() -> KeyRange {
    singles(SERVER_NODE)
}

/// In the space of the unit: what the server nodes have agreed on; each that registers changes it.
#[must_use]
pub fn node_agreement() -> Key {
    single("nodes")
}

/// The server node in the key of a [`server_node`].
#[must_use]
pub fn id_of_server_node(key: &Key) -> Option<ServerNodeId> {
    last_text(key, 1 + SERVER_NODE.len())?.parse().ok()
}

/// In the space of a cell: changes whenever a server node takes over work in the cell from one that is dead.
#[must_use]
pub fn takeover() -> Key {
    single("takeover")
}

/// In the space of the unit: the claim of the scan for orphaned file bodies.
#[must_use]
pub fn orphan_scan() -> Key {
    single("sweep/orphans")
}

/// The number of bytes of the bodies of files.
#[must_use]
pub fn bytes_of_files() -> Key {
    single(BYTES_OF_FILES)
}

/// The number of bytes of the records of entities.
#[must_use]
pub fn bytes_of_entities() -> Key {
    single(BYTES_OF_ENTITIES)
}

/// The number of bytes of nodes, with their dead properties and access control lists.
#[must_use]
pub fn bytes_of_properties() -> Key {
    single(BYTES_OF_PROPERTIES)
}

/// The number of bytes of the keys of links.
#[must_use]
pub fn bytes_of_links() -> Key {
    single(BYTES_OF_LINKS)
}

/// The number of bytes of the keys of index entries.
#[must_use]
pub fn bytes_of_index_entries() -> Key {
    single(BYTES_OF_INDEX_ENTRIES)
}

/// The number of bytes of the messages of queues.
#[must_use]
pub fn bytes_of_queues() -> Key {
    single(BYTES_OF_QUEUES)
}

/// The number of bytes of the messages of topics.
#[must_use]
pub fn bytes_of_topics() -> Key {
    single(BYTES_OF_TOPICS)
}

/// The number of bytes of the jobs of services.
#[must_use]
pub fn bytes_of_jobs() -> Key {
    single(BYTES_OF_JOBS)
}

/// Whether this is one of the counters of bytes.
#[must_use]
pub(crate) fn counts_bytes(key: &Key) -> bool {
    // A key is the tag, the name and two bytes.
    let name = key
        .as_bytes()
        .get(1..)
        .and_then(|rest| rest.strip_suffix(&[0, 1]));
    key.as_bytes().first() == Some(&b'M')
        && name.is_some_and(|name| {
            COUNTERS_OF_BYTES
                .iter()
                .any(|counter| name == counter.as_bytes())
        })
}

/// In the space of a cell: its content was counted, all that this version counts. In the space of the unit: that of all cells. Versions that
/// counted less have set `bytes/counted`.
#[must_use]
pub fn bytes_counted() -> Key {
    single("bytes/counted/2")
}

/// In the space of the unit: changes whenever a quota is set.
#[must_use]
pub fn quotas() -> Key {
    single("quotas")
}

/// In the space of the unit: the quota of a cell.
#[must_use]
pub fn cell_quota(cell: &CellId) -> Key {
    single(&format!("{CELL_QUOTA}{cell}"))
}

/// All records of [`cell_quota`].
#[must_use]
pub fn cell_quotas() -> KeyRange {
    singles(CELL_QUOTA)
}

/// The cell in the key of a [`cell_quota`].
#[must_use]
pub fn cell_of_quota(key: &Key) -> Option<CellId> {
    last_text(key, 1 + CELL_QUOTA.len())?.parse().ok()
}

/// In the space of the unit: the quota of all cells of an owner.
#[must_use]
pub fn owner_quota(owner: &str) -> Key {
    single(&format!("{OWNER_QUOTA}{owner}"))
}

/// All records of [`owner_quota`].
#[must_use]
pub fn owner_quotas() -> KeyRange {
    singles(OWNER_QUOTA)
}

/// The owner in the key of an [`owner_quota`].
#[must_use]
pub fn owner_of_quota(key: &Key) -> Option<String> {
    last_text(key, 1 + OWNER_QUOTA.len())
}

/// The number of bytes in one generation of the event log.
#[must_use]
pub fn log_size(generation: u32) -> Key {
    single(&format!("log/size/{generation}"))
}

/// All records of [`log_size`].
#[must_use]
pub fn log_sizes() -> KeyRange {
    singles("log/size/")
}

/// The state of the event log: the current generation and the archives.
#[must_use]
pub fn log_state() -> Key {
    single("log")
}

/// The server nodes that listen to the events of a cell, while one does.
#[must_use]
pub fn feed() -> Key {
    single("feed")
}

/// The number of requests of a cell that wait to be sent.
#[must_use]
pub fn outbox_count() -> Key {
    single("event/waiting")
}

/// The number of events of a cell that wait to be published.
#[must_use]
pub fn published_count() -> Key {
    single("event/published")
}

/// The number of requests of rules that were given up.
#[must_use]
pub fn dead_letter_count() -> Key {
    single("event/given-up")
}

/// The number of deliveries of messages of a cell that wait for their next attempt.
#[must_use]
pub fn waiting_deliveries() -> Key {
    single("message/waiting")
}

/// The server node that sends the requests of a cell.
#[must_use]
pub fn outbox_owner() -> Key {
    single("event/owner")
}

/// In the space of the unit: marks a cell that may have requests that wait to be sent.
#[must_use]
pub fn outbox_marker(cell: &CellId) -> Key {
    single(&format!("{OUTBOX_MARKER}{cell}"))
}

/// All cells that [`outbox_marker`] marks.
#[must_use]
pub fn outbox_markers() -> CellMarkers {
    CellMarkers::of(OUTBOX_MARKER)
}

/// A collection that was unlinked and whose content is still stored.
#[must_use]
pub fn garbage_record(id: &NodeId) -> Key {
    single(&format!("{GARBAGE_RECORD}{id}"))
}

/// All records of [`garbage_record`] of a cell.
#[must_use]
pub fn garbage_records() -> KeyRange {
    singles(GARBAGE_RECORD)
}

/// In the space of the unit: marks a cell that may have garbage records.
#[must_use]
pub fn garbage_marker(cell: &CellId) -> Key {
    single(&format!("{GARBAGE_MARKER}{cell}"))
}

/// All cells that [`garbage_marker`] marks.
#[must_use]
pub fn garbage_markers() -> CellMarkers {
    CellMarkers::of(GARBAGE_MARKER)
}

/// In the space of the unit: the claim to fire the timers of rules.
#[must_use]
pub fn timer_claim() -> Key {
    single("timer/worker")
}

/// In the space of the unit: the claim to remove messages that have expired.
#[must_use]
pub fn stream_claim() -> Key {
    single("stream/worker")
}

/// In the space of the unit: a removed cell whose records and bodies are still stored.
#[must_use]
pub fn removed_cell(cell: &CellId) -> Key {
    single(&format!("{REMOVED_CELL}{cell}"))
}

/// All cells that [`removed_cell`] names.
#[must_use]
pub fn removed_cells() -> CellMarkers {
    CellMarkers::of(REMOVED_CELL)
}

/// In the space of the unit: a cell that was removed for good, so that back-ups lose it too.
#[must_use]
pub fn erased_cell(cell: &CellId) -> Key {
    single(&format!("{ERASED_CELL}{cell}"))
}

/// All cells that [`erased_cell`] names.
#[must_use]
pub fn erased_cells() -> CellMarkers {
    CellMarkers::of(ERASED_CELL)
}

/// In the space of the unit: marks a cell that is being deleted.
#[must_use]
pub fn cell_deletion(cell: &CellId) -> Key {
    single(&format!("{CELL_DELETION}{cell}"))
}

/// All cells that [`cell_deletion`] marks.
#[must_use]
pub fn cell_deletions() -> CellMarkers {
    CellMarkers::of(CELL_DELETION)
}

/// In the space of the unit: marks a cell whose entry in the catalogue was changed, and whose structure must be changed for other
/// processes to notice.
#[must_use]
pub fn changed_cell(cell: &CellId) -> Key {
    single(&format!("{CHANGED_CELL}{cell}"))
}

/// All cells that [`changed_cell`] marks.
#[must_use]
pub fn changed_cells() -> CellMarkers {
    CellMarkers::of(CHANGED_CELL)
}

/// The deletion that has sealed the cell: the version of its marker, 8 bytes.
#[must_use]
pub fn seal() -> Key {
    single("seal")
}

/// The login history of an account.
#[must_use]
pub fn login_history(account: &str) -> Key {
    single(&format!("login/{account}"))
}

/// The failed logins to an account that count towards its lock.
#[must_use]
pub fn failed_logins_of(account: &str) -> Key {
    single(&format!("{FAILED_LOGINS}{account}"))
}

/// The number of failed logins to a cell, whether their accounts exist or not.
#[must_use]
pub fn failed_logins() -> Key {
    single("login-failed")
}

/// The progress and the outcome of the installation of a box.
#[must_use]
pub fn installation(the_box: &str) -> Key {
    single(&format!("{INSTALLATION}{the_box}"))
}

/// The installations of all boxes of a cell.
#[must_use]
pub fn installations() -> KeyRange {
    singles(INSTALLATION)
}

/// The box in the key of an [`installation`].
#[must_use]
pub fn box_of_installation(key: &Key) -> Option<NodeId> {
    last_text(key, 1 + INSTALLATION.len())?.parse().ok()
}

/// In the space of the unit: marks a cell that may have an installation which has not ended. `claim` is a random id of that
/// installation; earlier versions had one marker for each cell.
#[must_use]
pub fn installation_marker(cell: &CellId, claim: Option<&NodeId>) -> Key {
    match claim {
        Some(claim) => single(&format!("{INSTALLATION_MARKER}{cell}/{claim}")),
        None => single(&format!("{INSTALLATION_MARKER}{cell}")),
    }
}

/// The id of the installation in the key of an [`installation_marker`].
#[must_use]
pub fn claim_of_installation_marker(key: &Key) -> Option<NodeId> {
    let name = last_text(key, 1 + INSTALLATION_MARKER.len())?;
    name.split_once('/')?.1.parse().ok()
}

/// All cells that [`installation_marker`] marks.
#[must_use]
pub fn installation_markers() -> CellMarkers {
    CellMarkers::of(INSTALLATION_MARKER)
}

/// The outcome of an installation that failed and whose box was removed, by the name of the box.
#[must_use]
pub fn failed_installation(box_name: &str) -> Key {
    single(&format!("{FAILED_INSTALLATION}{box_name}"))
}

/// The failed installations of a cell.
#[must_use]
pub fn failed_installations() -> KeyRange {
    singles(FAILED_INSTALLATION)
}

/// The export or import of the cell that runs, or the import that has failed.
#[must_use]
pub fn transfer() -> Key {
    single("transfer")
}

/// The key of a transfer of a cell in the memory of the process that does it. It is never stored.
pub(crate) fn transfer_in_memory(cell: &CellId) -> Key {
    single(&format!("transfer/{cell}"))
}

/// In a cell that a snapshot is being imported into: the entity of user data with this id in the snapshot.
#[must_use]
pub fn imported_entity(id: &str) -> Key {
    single(&format!("{IMPORTED_ENTITY}{id}"))
}

/// All records of [`imported_entity`].
#[must_use]
pub fn imported_entities() -> KeyRange {
    singles(IMPORTED_ENTITY)
}

/// The signing key of a cell.
#[must_use]
pub fn signing_key() -> Key {
    single("signing-key")
}

/// In the space of the unit: the sealed key of file bodies.
#[must_use]
pub fn body_key() -> Key {
    single("body-key")
}

/// Records in the space of the unit whose names end with the id of a cell.
pub struct CellMarkers {
    /// Their keys.
    pub range: KeyRange,
    name: &'static str,
}

impl CellMarkers {
    pub(super) fn of(name: &'static str) -> Self {
        let range = singles(name);
        Self { range, name }
    }

    /// The cell in the key of a marker.
    #[must_use]
    pub fn cell_of(&self, key: &Key) -> Option<CellId> {
        // The tag of the table and the fixed part of the name precede the id.
        let name = last_text(key, 1 + self.name.len())?;
        let id = name.split_once('/').map_or(name.as_str(), |(id, _)| id);
        id.parse().ok()
    }
}

/// A single value of the space.
pub(super) fn single(name: &str) -> Key {
    Key::table(b'M').text(name).build()
}

/// All single values whose name begins with this text.
fn singles(begin: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(b'M').text_prefix(begin).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_key_gives_back_the_box() {
        let id = NodeId::from_bytes([7; 16]);
        let key = installation(&id.to_string());
        assert_eq!(box_of_installation(&key), Some(id));
        assert_eq!(box_of_installation(&failed_installation("b")), None);
    }

    #[test]
    fn installation_marker_gives_back_the_claim() {
        let (cell, id) = (CellId::from_bytes([7; 16]), NodeId::from_bytes([8; 16]));
        let key = installation_marker(&cell, Some(&id));
        assert_eq!(claim_of_installation_marker(&key), Some(id));
        let earlier = installation_marker(&cell, None);
        assert_eq!(claim_of_installation_marker(&earlier), None);
    }

    #[test]
    fn server_node_key_gives_back_the_id() {
        let id = ServerNodeId::from_bytes([7; 16]);
        assert_eq!(id_of_server_node(&server_node(&id)), Some(id));
    }

    #[test]
    fn marker_key_gives_back_the_cell() {
        let cell = CellId::from_bytes([7; 16]);
        for (markers, key) in [
            (garbage_markers(), garbage_marker(&cell)),
            (outbox_markers(), outbox_marker(&cell)),
            (removed_cells(), removed_cell(&cell)),
            (cell_deletions(), cell_deletion(&cell)),
            (erased_cells(), erased_cell(&cell)),
            (changed_cells(), changed_cell(&cell)),
            (installation_markers(), installation_marker(&cell, None)),
            (
                installation_markers(),
                installation_marker(&cell, Some(&NodeId::from_bytes([8; 16]))),
            ),
        ] {
            assert_eq!(markers.cell_of(&key), Some(cell));
        }
    }
}
