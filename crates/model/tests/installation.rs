//! Installations whose box or cell is exchanged for another of the same name meanwhile: the other one gets nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used)]

#[path = "in_memory/world.rs"]
mod world;

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::Settings;
use personium_model::install::{self, InstallAuthority, InstallRequest, Installer, Package};
use personium_model::odata::{self, ServiceRoot};
use personium_types::{CellId, NodeId, Operation};
use world::{World, cell_permit, create, removal_permit, server};
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
    Package::open(file, &Settings::default().bar).await.unwrap()
}

/// A box that took the place of the one that is installed.
#[derive(Clone, Copy)]
struct Other {
    id: NodeId,
    records: usize,
    version: u64,
}

impl World {
    async fn begin(&self) -> Installer {
        let context = self.context().await;
        let permit = cell_permit(&context, Operation::InstallBox);
        let request = InstallRequest {
            box_name: "new",
            request_key: "a request",
            package: package().await,
        };
        let installs = InstallAuthority::new(server().clone());
        let installer = installs.begin(&self.unit, &context, &permit, request);
        installer.await.unwrap()
    }

    async fn new_box(&self) -> Other {
        let root = self.cell().await;
        let made = create(&root, "Box", r#"{"Name":"new"}"#).await.unwrap();
        self.state(made.id.parse().unwrap()).await
    }

    async fn state(&self, id: NodeId) -> Other {
        let context = self.context().await;
        let info = context.find_box_by_id(&id).await.unwrap().unwrap();
        Other {
            id,
            records: self.traces(&id).await,
            version: context.box_node(&info).await.unwrap().version,
        }
    }

    async fn exchange_box(&self) -> Other {
        let context = self.context().await;
        let old = context.find_box("new").await.unwrap().unwrap();
        let permit = removal_permit(&context, old.id);
        odata::remove_box(&self.unit, &context, &permit, &old.id)
            .await
            .unwrap();
        self.new_box().await
    }

    async fn exchange_cell(&self) -> Other {
        self.rename("d").await.unwrap();
        self.make_cell("c").await;
        self.new_box().await
    }

    /// The objects of a cell that archives bring with them.
    async fn objects(&self, cell: &CellId) -> usize {
        let context = self.unit.find_cell_by_id(cell).await.unwrap().unwrap();
        context.roles().await.unwrap().len()
    }

    /// Exchanges box or cell before the n-th commit of an installation, for each n; gives how the last unit was left.
    async fn exchange_at_each_commit<F>(exchange: impl Fn(World) -> F) -> (World, CellId)
    where
        F: Future<Output = Other> + Send + 'static,
    {
        for commit in 0.. {
            let world = World::new().await;
            let cell = world.context().await.cell().id;
            let installer = world.begin().await;
            let exchanged = Arc::new(Mutex::new(None));
            let (other, exchanging) = (exchanged.clone(), exchange(world.clone()));
            world.interrupt_at(commit, async move {
                *other.lock() = Some(exchanging.await);
            });
            installer.run().await;
            let Some(before) = *exchanged.lock() else {
                assert!(commit > 5, "the installation has several steps");
                return (world, cell);
            };
            let after = world.state(before.id).await;
            assert_eq!(after.records, before.records, "commit {commit}");
            assert_eq!(after.version, before.version, "commit {commit}");
        }
        unreachable!("an installation ends")
    }
}

#[tokio::test]
async fn another_box_of_the_name_gets_nothing() {
    let (world, cell) =
        World::exchange_at_each_commit(|world| async move { world.exchange_box().await }).await;
    assert_eq!(world.objects(&cell).await, 1);
}

#[tokio::test]
async fn the_box_of_another_cell_gets_nothing() {
    World::exchange_at_each_commit(|world| async move { world.exchange_cell().await }).await;
}

#[tokio::test]
async fn a_cell_that_is_renamed_is_installed_in_all_the_same() {
    let world = World::new().await;
    let cell = world.context().await.cell().id;
    let installer = world.begin().await;
    world.exchange_cell().await;
    installer.run().await;
    assert_eq!(world.objects(&cell).await, 1);
    let root = ServiceRoot::of_cell(world.unit.clone(), world.find("d").await.unwrap());
    let context = root.context().unwrap();
    let info = context.find_box("new").await.unwrap().unwrap();
    let status = install::status(&world.unit, context, &info).await.unwrap();
    assert!(
        matches!(status, install::Status::Ready { .. }),
        "{status:?}"
    );
}
