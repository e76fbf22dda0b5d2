//! The number of requests and of deliveries that wait, of the cells that this process works on.

use personium_types::{Code, Result};

use crate::{Unit, keys};

/// Counts them for [`OutboxTotals`](crate::outbox_totals::OutboxTotals). The cells are those that have something to send now or at the
/// next attempt; a cell that was removed has nothing.
///
/// # Errors
/// A failure of the store; then the former numbers stay.
pub async fn count_waiting(unit: &Unit) -> Result<()> {
    let wanted = [keys::outbox_count(), keys::waiting_deliveries()];
    let (mut requests, mut deliveries) = (0, 0);
    for cell in unit.outbox().list_busy() {
        let counts = match unit.cell_records(&cell).counters(&wanted).await {
            Err(error) if error.code() == Code::NoSuchCell => continue,
            counts => counts?,
        };
        let mut counts = counts.into_iter().map(|it| u64::try_from(it).unwrap_or(0));
        let mut next = || counts.next().unwrap_or_default();
        requests += next();
        deliveries += next();
    }
    unit.outbox().totals().set_waiting(requests, deliveries);
    Ok(())
}
