//! Scripts of services beside bare contexts of QuickJS, and a password plugin of WebAssembly beside none.

mod hostile;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_testkit::request_bytes;
use serde_json::json;

use super::BenchContext;
use crate::load::{self, LoadProfile, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::unit::{BenchCell, BenchUnit, UnitSetup};
use crate::{BenchResult, baseline, rows};

const CONNECTIONS: usize = 32;
const ROWS: u64 = 10_000;
const COLLECTION: &str = "rows";
/// The number of new versions of a script whose first run is measured.
const COLD_STARTS: usize = 31;
/// The name of the plugin and of its account.
const PLUGIN: &str = "sample";
const SERVICE: &str = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
    <p:service language='JavaScript'><p:path name='empty' src='empty.js'/><p:path name='reads' src='reads.js'/>\
    <p:path name='cold' src='cold.js'/></p:service></D:prop></D:set></D:propertyupdate>";
const EMPTY: &str = "function (request) {
  return { status: 200, headers: { 'Content-Type': 'text/plain' }, body: ['ok'] };
}";
const FIVE_READS: &str = "function (request) {
  var set = _p.localbox().odata('rows').entitySet('Row');
  var found = request.queryString.split(',').map(function (key) { return set.retrieve(key); });
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: [JSON.stringify(found)] };
}";

/// A measurement of a bare evaluation.
struct Bare {
    per_second: f64,
    /// The processor time of one in microseconds.
    cpu_us: f64,
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let mut section = Section::new("script");
    let folder = context.scratch.join("scripts");
    let plugins = folder.join("plugins");
    super::create_folder(&plugins)?;
    let has_plugin = match &context.options.password_plugin {
        Some(component) => {
            write_plugin(&plugins, component)?;
            true
        }
        None => {
            section.note("log-ins by a plugin were not measured: no --password-plugin");
            false
        }
    };
    let settings = format!("io.personium.core.plugin.path={}\n", plugins.display());
    let mut unit = BenchUnit::start_with(UnitSetup {
        program: &context.options.server,
        folder: &folder.join("unit"),
        host: "localhost",
        settings: &settings,
    })
    .await?;
    let cell = unit.create_cell("scripts").await?;
    prepare(&mut unit, &cell).await?;
    compare_empty(context, &unit, (&cell, &mut section)).await?;
    compare_reads(context, &unit, (&cell, &mut section)).await?;
    measure_cold_starts(&mut unit, &cell, &mut section).await?;
    waiting::measure(context, &mut section).await?;
    hostile::measure(context, (&mut unit, &cell), &mut section).await?;
    if has_plugin {
        compare_logins(context, &mut unit, (&cell, &mut section)).await?;
    }
    Ok(section)
}

async fn prepare(unit: &mut BenchUnit, cell: &BenchCell) -> BenchResult {
    prepare_service(unit, cell).await?;
    let cell = &cell.name;
    for (name, source) in [("empty.js", EMPTY), ("reads.js", FIVE_READS)] {
        put_source(unit, cell, (name, source)).await?;
    }
    unit.create_collection(cell, COLLECTION).await?;
    unit.load_rows(cell, COLLECTION, ROWS).await
}

/// Creates the service, which the first role may execute, and a file.
async fn prepare_service(unit: &mut BenchUnit, cell: &BenchCell) -> BenchResult {
    let cell = &cell.name;
    let service = format!("/{cell}/box/svc");
    let xml = [("Content-Type", "application/xml")];
    let mkcol = "<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop><D:resourcetype><D:collection/>\
        <p:service/></D:resourcetype></D:prop></D:set></D:mkcol>";
    unit.call("MKCOL", &service, &xml, mkcol.as_bytes()).await?;
    unit.call("PROPPATCH", &service, &xml, SERVICE.as_bytes())
        .await?;
    let acl = format!(
        "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xml:base='http://localhost/{cell}/__role/__/'><D:ace><D:principal>\
         <D:href>role1</D:href></D:principal><D:grant><D:privilege><p:exec/></D:privilege></D:grant></D:ace></D:acl>"
    );
    unit.call("ACL", &service, &xml, acl.as_bytes()).await?;
    let text = [("Content-Type", "text/plain")];
    unit.call("PUT", &format!("/{cell}/box/file"), &text, b"ok")
        .await?;
    Ok(())
}

async fn put_source(unit: &mut BenchUnit, cell: &str, (name, source): (&str, &str)) -> BenchResult {
    let path = format!("/{cell}/box/svc/__src/{name}");
    let headers = [("Content-Type", "text/javascript")];
    unit.call("PUT", &path, &headers, source.as_bytes()).await?;
    Ok(())
}

/// GETs of what this returns for a random number.
fn gets(
    cell: &BenchCell,
    path: impl Fn(&mut personium_testkit::SplitMix64) -> String + Send + Sync + 'static,
) -> RequestGenerator {
    let (cell, bearer) = (cell.name.clone(), cell.bearer.clone());
    Arc::new(move |random, _| {
        let path = format!("/{cell}/box/{}", path(random));
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "application/json"),
        ];
        LoadRequest {
            bytes: request_bytes("GET", &path, &headers, b""),
            expected: &[200],
        }
    })
}

/// Evaluates a script on all processors, in a process of its own.
fn bare(context: &BenchContext, name: &str, script: &str) -> BenchResult<Bare> {
    let file = context.scratch.join(name);
    std::fs::write(&file, script)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let printed = baseline::run(&[
        "script-contexts",
        "--file",
        &file.display().to_string(),
        "--threads",
        &threads.to_string(),
        "--seconds",
        &context.seconds(),
    ])?;
    let per_second = baseline::number(&printed, "per_second")?;
    let count = per_second * context.options.seconds as f64;
    Ok(Bare {
        per_second,
        cpu_us: baseline::number(&printed, "cpu_us")? / count,
    })
}

fn median_of_bare(runs: &[Bare]) -> Measurement {
    Measurement {
        per_second: load::median_of(runs.iter().map(|run| run.per_second).collect()),
        cpu_us: load::median_of(runs.iter().map(|run| run.cpu_us).collect()),
        ..Measurement::default()
    }
}

/// The service that does nothing, a file without a script, and a bare evaluation of the same script.
async fn compare_empty(
    context: &BenchContext,
    unit: &BenchUnit,
    (cell, section): (&BenchCell, &mut Section),
) -> BenchResult {
    let profile = context.profile(CONNECTIONS);
    let service = gets(cell, |_| "svc/empty".to_owned());
    let file = gets(cell, |_| "file".to_owned());
    let (mut services, mut files, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        let run = load::run(unit.target(), profile, &service).await?;
        let api = load::run(unit.target(), profile, &file).await?;
        let alone = bare(context, "empty.js", EMPTY)?;
        ratios.push((run.cpu_us - api.cpu_us) / alone.cpu_us);
        whole.push(run.cpu_us / alone.cpu_us);
        services.push(run);
        files.push(api);
        bares.push(alone);
    }
    let measured = load::median(&services);
    section.measured("empty service", measured);
    section.measured("GET of a file of 2 bytes", load::median(&files));
    section.measured(
        "baseline: bare context, same script",
        median_of_bare(&bares),
    );
    section.require(
        "empty service: processor time beyond that of the file over the baseline's",
        load::median_of(ratios),
        Bound::AtMost,
        2.0,
    );
    section.note(format!(
        "empty service: the processor time of the whole request is {:.2} times the baseline's",
        load::median_of(whole)
    ));
    section.require(
        "empty service: per s on two processors, load generator included",
        measured.per_second,
        Bound::AtLeast,
        4_000.0,
    );
    Ok(())
}

/// The service that reads five entities, beside a file without a script, the same reads by requests, and a bare evaluation.
async fn compare_reads(
    context: &BenchContext,
    unit: &BenchUnit,
    (cell, section): (&BenchCell, &mut Section),
) -> BenchResult {
    let profile = context.profile(CONNECTIONS);
    let service = gets(cell, |random| {
        let keys: Vec<String> = (0..5).map(|_| rows::key(random.below(ROWS))).collect();
        format!("svc/reads?{}", keys.join(","))
    });
    let read = gets(cell, |random| {
        let key = rows::key(random.below(ROWS));
        format!("{COLLECTION}/Row('{key}')?$format=json")
    });
    let row = serde_json::Value::String(rows::json(0));
    let alone = format!(
        "(function () {{
           var set = {{ retrieve: function () {{ return JSON.parse({row}); }} }};
           var _p = {{ localbox: function () {{ return {{ odata: function () {{ return {{ entitySet: function () {{ return set; }} }}; }} }}; }} }};
           return {FIVE_READS};
         }})()"
    );
    let file = gets(cell, |_| "file".to_owned());
    let (mut services, mut reads, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut without_request) = (Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        let run = load::run(unit.target(), profile, &service).await?;
        let call = load::run(unit.target(), profile, &read).await?;
        let api = load::run(unit.target(), profile, &file).await?;
        let evaluated = bare(context, "reads.js", &alone)?;
        let needed = 5.0f64.mul_add(call.cpu_us, evaluated.cpu_us);
        ratios.push(run.cpu_us / (needed + api.cpu_us));
        without_request.push(run.cpu_us / needed);
        services.push(run);
        reads.push(call);
        bares.push(evaluated);
    }
    let measured = load::median(&services);
    section.measured("service with five OData reads", measured);
    section.measured("one such read by a request", load::median(&reads));
    section.measured(
        "baseline: bare context, entities at hand",
        median_of_bare(&bares),
    );
    section.require(
        "five reads: processor time over that of the baseline, five requests and the GET of the file",
        load::median_of(ratios),
        Bound::AtMost,
        2.0,
    );
    section.note(format!(
        "five reads: the processor time is {:.2} times that of the baseline and five requests, without the GET of the file",
        load::median_of(without_request)
    ));
    section.require(
        "five reads: per s on two processors, load generator included",
        measured.per_second,
        Bound::AtLeast,
        600.0,
    );
    Ok(())
}

/// The first runs of new versions of a script.
async fn measure_cold_starts(
    unit: &mut BenchUnit,
    cell: &BenchCell,
    section: &mut Section,
) -> BenchResult {
    let path = format!("/{}/box/svc/cold", cell.name);
    let mut times_us = Vec::new();
    for number in 0..COLD_STARTS {
        let source = format!("{EMPTY} // {number}");
        put_source(unit, &cell.name, ("cold.js", &source)).await?;
        let start = Instant::now();
        unit.call("GET", &path, &[], b"").await?;
        times_us.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let p50_us = load::median_of(times_us);
    let measurement = Measurement {
        p50_us,
        ..Measurement::default()
    };
    section.measured("first run of a new script", measurement);
    section.require(
        "first run of a new script: ms",
        p50_us / 1e3,
        Bound::AtMost,
        2.0,
    );
    Ok(())
}

fn write_plugin(folder: &Path, component: &Path) -> BenchResult {
    let failed = |error: std::io::Error| format!("cannot write the plugin: {error}");
    let description = format!(
        "kind = \"wasm\"\ngrant_type = \"urn:x-personium:auth:{PLUGIN}\"\naccount_types = [\"auth:{PLUGIN}\"]\n\
         [wasm.settings]\npassword = \"personium\"\n"
    );
    std::fs::copy(component, folder.join(format!("{PLUGIN}.wasm"))).map_err(failed)?;
    std::fs::write(folder.join(format!("{PLUGIN}.toml")), description).map_err(failed)
}

/// Log-ins by the plugin and refreshes of tokens, which issue the same tokens without a credential, one after the other.
async fn compare_logins(
    context: &BenchContext,
    unit: &mut BenchUnit,
    (cell, section): (&BenchCell, &mut Section),
) -> BenchResult {
    let account = json!({"Name": PLUGIN, "Type": format!("auth:{PLUGIN}")}).to_string();
    let accounts = format!("/{}/__ctl/Account", cell.name);
    unit.call("POST", &accounts, &[], account.as_bytes())
        .await?;
    let path = format!("/{}/__token", cell.name);
    let generator = |form: String| -> RequestGenerator {
        let path = path.clone();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        Arc::new(move |_, _| LoadRequest {
            bytes: request_bytes("POST", &path, &headers, form.as_bytes()),
            expected: &[200],
        })
    };
    let by_plugin = generator(format!(
        "grant_type=urn:x-personium:auth:{PLUGIN}&sample_account={PLUGIN}&sample_password=personium"
    ));
    let refresh_token = unit.refresh_token(&cell.name).await?;
    let by_refresh = generator(format!(
        "grant_type=refresh_token&refresh_token={refresh_token}"
    ));
    let profile = LoadProfile {
        warm_up: Duration::from_secs(1),
        ..context.profile(1)
    };
    let (mut plugins, mut refreshes, mut more_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        let plugin = load::run(unit.target(), profile, &by_plugin).await?;
        let refresh = load::run(unit.target(), profile, &by_refresh).await?;
        more_ms.push((plugin.p50_us - refresh.p50_us) / 1e3);
        plugins.push(plugin);
        refreshes.push(refresh);
    }
    section.measured(
        "log-in by a password plugin of WebAssembly",
        load::median(&plugins),
    );
    section.measured("refresh of a token", load::median(&refreshes));
    section.require(
        "log-in by the plugin: ms more than a refresh, at the median",
        load::median_of(more_ms),
        Bound::AtMost,
        0.3,
    );
    Ok(())
}
