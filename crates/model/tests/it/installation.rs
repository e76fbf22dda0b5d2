//! Installations whose box or cell is replaced by another of the same name: the new one gets nothing.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::Settings;
use personium_model::install::{self, InstallAuthority, InstallRequest, Installer, Package};
use personium_model::odata::{self, ServiceRoot};
use personium_testkit::{ModelUnit, box_removal_permit, cell_permit, create, server_authority};
use personium_types::{CellId, NodeId, Operation};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const MANIFEST: &str =
    r#"{"bar_version":"2","box_version":"1","default_path":"x","schema":"http://app.example/"}"#;
const ROOT_PROPS: &str = r#"<multistatus xmlns="DAV:" xmlns:p="urn:x-personium:xmlns">
  <response><href>personium-localbox:/</href><propstat><prop><resourcetype><collection/></resourcetype>
    <p:note>of the box</p:note></prop></propstat></response>
  <response><href>personium-localbox:/docs</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>
  <response><href>personium-localbox:/docs/a</href><propstat><prop><resourcetype/></prop></propstat></response>
</multistatus>"#;
const LINKS: &str = r#"{"Links":[{"FromType":"Relation","FromName":{"Name":"friend"},"ToType":"Role","ToName":{"Name":"r"}}]}"#;

async fn package() -> Package {
    let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
    for (name, content) in [
        ("00_meta/00_manifest.json", MANIFEST),
        (
            "00_meta/10_relations.json",
            r#"{"Relations":[{"Name":"friend"}]}"#,
        ),
        ("00_meta/20_roles.json", r#"{"Roles":[{"Name":"r"}]}"#),
        ("00_meta/70_$links.json", LINKS),
        ("00_meta/90_rootprops.xml", ROOT_PROPS),
        ("90_contents/docs/a", "text"),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    let file = zip.finish().unwrap();
    Package::open(file, &Settings::default().archives)
        .await
        .unwrap()
}

/// A box that took the place of the one that is installed.
#[derive(Clone, Copy)]
struct Other {
    id: NodeId,
    records: usize,
    version: u64,
}

async fn begin(unit: &ModelUnit) -> Installer {
    let context = unit.context().await;
    let permit = cell_permit(&context, Operation::InstallBox);
    let request = InstallRequest {
        box_name: "new",
        request_key: "a request",
        package: package().await,
    };
    let installs = InstallAuthority::new(server_authority().clone());
    let installer = installs.begin(&unit.model, &context, &permit, request);
    installer.await.unwrap()
}

async fn new_box(unit: &ModelUnit) -> Other {
    let root = unit.cell_root().await;
    let made = create(&root, "Box", r#"{"Name":"new"}"#).await.unwrap();
    state(unit, made.id.parse().unwrap()).await
}

async fn state(unit: &ModelUnit, id: NodeId) -> Other {
    let context = unit.context().await;
    let info = context.find_box_by_id(&id).await.unwrap().unwrap();
    Other {
        id,
        records: unit.records_with_id(&id).await,
        version: context.box_node(&info).await.unwrap().version,
    }
}

async fn exchange_box(unit: &ModelUnit) -> Other {
    let context = unit.context().await;
    let old = context.find_box("new").await.unwrap().unwrap();
    let permit = box_removal_permit(&context, old.id);
    odata::remove_box(&unit.model, &context, &permit, &old.id)
        .await
        .unwrap();
    new_box(unit).await
}

async fn exchange_cell(unit: &ModelUnit) -> Other {
    unit.rename_cell("d").await.unwrap();
    unit.create_cell("c").await;
    new_box(unit).await
}

/// The objects of a cell that archives bring with them.
async fn objects(unit: &ModelUnit, cell: &CellId) -> usize {
    let context = unit.model.find_cell_by_id(cell).await.unwrap().unwrap();
    context.roles().await.unwrap().len()
}

/// Exchanges box or cell before the n-th commit of an installation, for each n; gives how the last unit was left.
async fn exchange_at_each_commit<F>(exchange: impl Fn(ModelUnit) -> F) -> (ModelUnit, CellId)
where
    F: Future<Output = Other> + Send + 'static,
{
    for commit in 0.. {
        let unit = ModelUnit::new().await;
        let cell = unit.context().await.cell().id;
        let installer = begin(&unit).await;
        let exchanged = Arc::new(Mutex::new(None));
        let (other, exchanging) = (exchanged.clone(), exchange(unit.clone()));
        unit.interrupt_commit(commit, async move {
            *other.lock() = Some(exchanging.await);
        });
        installer.run().await;
        let Some(before) = *exchanged.lock() else {
            assert!(commit > 5, "the installation has several steps");
            return (unit, cell);
        };
        let after = state(&unit, before.id).await;
        assert_eq!(after.records, before.records, "commit {commit}");
        assert_eq!(after.version, before.version, "commit {commit}");
    }
    unreachable!("an installation ends")
}

#[tokio::test]
async fn recreated_box_gets_nothing_of_a_running_installation() {
    let (unit, cell) =
        exchange_at_each_commit(|unit| async move { exchange_box(&unit).await }).await;
    assert_eq!(objects(&unit, &cell).await, 1);
}

#[tokio::test]
async fn box_of_a_recreated_cell_gets_nothing_of_a_running_installation() {
    exchange_at_each_commit(|unit| async move { exchange_cell(&unit).await }).await;
}

#[tokio::test]
async fn installation_continues_in_a_renamed_cell() {
    let unit = ModelUnit::new().await;
    let cell = unit.context().await.cell().id;
    let installer = begin(&unit).await;
    exchange_cell(&unit).await;
    installer.run().await;
    assert_eq!(objects(&unit, &cell).await, 1);
    let root = ServiceRoot::of_cell(unit.model.clone(), unit.find_cell("d").await.unwrap());
    let context = root.context().unwrap();
    let info = context.find_box("new").await.unwrap().unwrap();
    let status = install::status(&unit.model, context, &info).await.unwrap();
    assert!(
        matches!(status, install::Status::Ready { .. }),
        "{status:?}"
    );
}
