//! The growth of the memory of a node.

use personium_testkit::{RawBody, RawConnection, request_bytes};

use crate::BenchResult;
use crate::unit::{BenchCell, BenchUnit};

/// The number of idle connections whose memory is measured.
const IDLE_CONNECTIONS: usize = 400;

/// The growth of the memory of a node in bytes.
pub(super) struct Growth {
    /// For an idle connection of a client.
    pub(super) of_connection: f64,
    /// For a cell that it gets to know.
    pub(super) of_cell: f64,
}

impl Growth {
    /// Measures it by a node that does not know most of the cells yet.
    ///
    /// # Errors
    /// A message if a connection fails.
    pub(super) async fn measure(node: &BenchUnit, cells: &[BenchCell]) -> BenchResult<Self> {
        let resident = || node.monitor().resident_bytes() as f64;
        let before = resident();
        let mut connections = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut connection = RawConnection::open(node.port())
                .await
                .map_err(|error| format!("cannot connect: {error}"))?;
            get(&mut connection, "/", None).await?;
            connections.push(connection);
        }
        let of_connection = (resident() - before).max(0.0) / IDLE_CONNECTIONS as f64;
        let before = resident();
        let mut connection = connections.pop().ok_or("there is no connection")?;
        for cell in cells {
            let path = format!("/{}/box/rows/Row?$top=1&$format=json", cell.name);
            get(&mut connection, &path, Some(&cell.bearer)).await?;
        }
        let of_cell = (resident() - before).max(0.0) / cells.len().max(1) as f64;
        Ok(Self {
            of_connection,
            of_cell,
        })
    }
}

async fn get(connection: &mut RawConnection, path: &str, bearer: Option<&str>) -> BenchResult {
    let mut headers = vec![("Host", "localhost")];
    headers.extend(bearer.map(|bearer| ("Authorization", bearer)));
    let request = request_bytes("GET", path, &headers, b"");
    let response = connection.exchange(&request, RawBody::Count).await;
    let response = response.map_err(|error| format!("GET {path}: {error}"))?;
    match response.status {
        200 => Ok(()),
        status => Err(format!("GET {path} was answered with {status}")),
    }
}
