//! Archives for tests.

use std::io::Write;

use personium_install::{InstallRequest, Package, RequestOrigin};
use personium_model::Settings;
use personium_model::event::RuleChain;
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

/// An archive with a relation, a role, a link, a collection and a file.
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

/// A request to install the box `new`.
pub async fn install_request() -> InstallRequest<'static> {
    InstallRequest {
        box_name: "new",
        origin: RequestOrigin {
            key: "key".to_owned(),
            chain: RuleChain::default(),
        },
        package: package().await,
        may_write_rules: true,
        may_write_accounts: true,
    }
}
