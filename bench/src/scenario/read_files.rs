//! W7: reading files of 1 KB, 64 KB and 10 MB. One of ten requests is conditional with the current ETag, one of twenty
//! has a range.

use std::path::Path;
use std::sync::Arc;

use personium_testkit::{RawBody, RawConnection, request_bytes};

use super::{BaselineServer, BenchContext, Comparison, create_folder};
use crate::BenchResult;
use crate::baseline::web_server;
use crate::load::{LoadRequest, RequestGenerator, Target};
use crate::report::{Bound, Section};

/// The files of one measurement.
struct FileLoad {
    bytes: usize,
    files: usize,
    connections: usize,
}

const LOADS: [FileLoad; 3] = [
    FileLoad {
        bytes: 1024,
        files: 100,
        connections: 32,
    },
    FileLoad {
        bytes: 64 * 1024,
        files: 50,
        connections: 16,
    },
    FileLoad {
        bytes: 10 * 1024 * 1024,
        files: 4,
        connections: 4,
    },
];

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let folder = context.scratch.join("baseline-files");
    create_folder(&folder)?;
    let bearer = context.new_bearer().await?;
    let mut section = Section::new("W7");
    let nginx = web_server::serve(&context.scratch, &folder)?;
    for load in &LOADS {
        let names = create_files(context, load, &folder).await?;
        let root = format!("/{}/box", context.cell.name);
        let files = read_etags(context.unit.port(), &root, &names, Some(&bearer)).await?;
        let generator = generator(files, Some(&bearer));
        let files = read_etags(nginx.port, "", &names, None).await?;
        let baseline_generator = self::generator(files, None);
        let baseline = BaselineServer {
            target: Target {
                port: nginx.port,
                monitor: nginx.monitor(),
            },
            generator: &baseline_generator,
        };
        let compared = context
            .compare(load.connections, &generator, baseline)
            .await?;
        require(&mut section, load.bytes, &compared);
        section.measured(
            format!(
                "GET of {} bytes, {} connections",
                load.bytes, load.connections
            ),
            compared.subject,
        );
        section.measured("baseline: Nginx", compared.baseline);
    }
    Ok(section)
}

/// Creates the files in the box and in a folder. Returns their names.
async fn create_files(
    context: &mut BenchContext,
    load: &FileLoad,
    folder: &Path,
) -> BenchResult<Vec<String>> {
    let mut names = Vec::new();
    for number in 0..load.files {
        let name = format!("f{}-{number}", load.bytes);
        let body: Vec<u8> = (0..load.bytes)
            .map(|index| u8::try_from((index * 7 + number) % 251).unwrap_or(0))
            .collect();
        std::fs::write(folder.join(&name), &body)
            .map_err(|error| format!("cannot write {name}: {error}"))?;
        let path = format!("/{}/box/{name}", context.cell.name);
        let headers = [("Content-Type", "application/octet-stream")];
        context.unit.call("PUT", &path, &headers, &body).await?;
        names.push(name);
    }
    Ok(names)
}

fn require(section: &mut Section, bytes: usize, compared: &Comparison) {
    let Comparison { subject, baseline } = compared;
    match bytes {
        1024 => section.require(
            "1 KB: processor time per request over Nginx's",
            subject.cpu_us / baseline.cpu_us,
            Bound::AtMost,
            3.0,
        ),
        10_485_760 => section.require(
            "10 MB: bytes per second over Nginx's",
            subject.bytes_per_second / baseline.bytes_per_second,
            Bound::AtLeast,
            0.8,
        ),
        _ => {}
    }
}

/// A file on a server.
struct ServedFile {
    path: String,
    etag: String,
}

fn authorization(bearer: Option<&str>) -> Vec<(&str, &str)> {
    bearer
        .map(|bearer| ("Authorization", bearer))
        .into_iter()
        .collect()
}

/// Reads the ETags of files, with which some requests are conditional.
async fn read_etags(
    port: u16,
    root: &str,
    names: &[String],
    bearer: Option<&str>,
) -> BenchResult<Vec<ServedFile>> {
    let mut connection = RawConnection::open(port)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let mut files = Vec::new();
    for name in names {
        let path = format!("{root}/{name}");
        let response = connection
            .exchange(
                &request_bytes("GET", &path, &authorization(bearer), b""),
                RawBody::Count,
            )
            .await
            .map_err(|error| format!("GET {path}: {error}"))?;
        if response.status != 200 {
            return Err(format!(
                "GET {path} was refused with status {}",
                response.status
            ));
        }
        let etag = connection
            .header("ETag")
            .ok_or("a file has no ETag")?
            .to_owned();
        files.push(ServedFile { path, etag });
    }
    Ok(files)
}

fn generator(files: Vec<ServedFile>, bearer: Option<&str>) -> RequestGenerator {
    let bearer = bearer.map(str::to_owned);
    Arc::new(move |random, _| {
        let index = usize::try_from(random.below(files.len() as u64)).unwrap_or(0);
        let Some(file) = files.get(index) else {
            return LoadRequest {
                bytes: Vec::new(),
                expected: &[],
            };
        };
        let mut headers = authorization(bearer.as_deref());
        match random.below(20) {
            0 | 1 => headers.push(("If-None-Match", &file.etag)),
            2 => headers.push(("Range", "bytes=0-65535")),
            _ => {}
        }
        LoadRequest {
            bytes: request_bytes("GET", &file.path, &headers, b""),
            expected: &[200, 206, 304],
        }
    })
}
