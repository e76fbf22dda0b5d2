//! A small unit of the original: its settings, an export of its documents, and its file tree.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use personium_testkit::ProcessUnit;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;

/// The secret of the unit, which testkit gives its units too.
const SECRET: &str = "0123456789abcdef";
const SALT: &str = "saltsalt";
/// When everything was created.
const CREATED_MS: i64 = 1_700_000_000_000;
/// Password and hash of the accounts: SHA-256 over the password and the salt.
pub const PASSWORD: &str = "secret-pass1";

/// A unit of the original, and the folder of the unit that it is migrated to.
pub struct Original {
    folder: TempDir,
    /// The documents.
    pub documents: Vec<Value>,
}

/// The id of a cell of this number.
pub fn cell_id(number: usize) -> String {
    format!("cell{number:018}")
}

fn digest(text: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-r"]);
    let digest = pipe(&mut command, text.as_bytes());
    let digest = String::from_utf8(digest).unwrap();
    digest.split(' ').next().unwrap().to_owned()
}

/// The output of a program with this input.
fn pipe(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

impl Original {
    /// A unit with so many cells.
    pub fn new(cells: usize) -> Self {
        let mut unit = Self {
            folder: tempfile::tempdir().unwrap(),
            documents: Vec::new(),
        };
        let settings = format!(
            "io.personium.core.pathBasedCellUrl.enabled=true\nio.personium.core.masterToken=none\n\
             io.personium.core.security.secret16={SECRET}\nio.personium.core.security.auth.password.salt={SALT}\n\
             io.personium.core.es.hosts=localhost:9200\nio.personium.core.blobStore.root=data/dav\n\
             io.personium.core.event.log.current.dir=data/eventlog\nio.personium.core.cellSnapshot.root=data/snapshot\n"
        );
        fs::create_dir_all(unit.path("data/dav")).unwrap();
        fs::write(unit.path("unit.properties"), settings).unwrap();
        let hash = digest(&format!("{PASSWORD}{SALT}"));
        for number in 0..cells {
            unit.add_cell(number, &hash);
        }
        unit
    }

    /// A path in the folder of the unit.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The data folder of the unit that it is migrated to.
    pub fn data(&self) -> PathBuf {
        self.path("unit/data")
    }

    /// Adds a document of an index.
    pub fn add(&mut self, index: &str, id: &str, version: u64, mut source: Value) {
        source["p"] = json!(CREATED_MS);
        source["u"] = json!(CREATED_MS + 5);
        self.documents.push(json!({
            "_index": index, "_type": "_doc", "_id": id, "_version": version, "_source": source,
        }));
    }

    /// The folder of a cell.
    pub fn tree(&self, cell: usize) -> PathBuf {
        self.path("data/dav/u0_anon").join(cell_id(cell))
    }

    /// Writes a file, or a collection if there is no content.
    pub fn put(&self, folder: &Path, kind: &str, content: Option<&[u8]>, more: Value) {
        fs::create_dir_all(folder).unwrap();
        let mut meta = json!({
            "i": format!("{:022}", fs::read_dir(folder.parent().unwrap()).unwrap().count()), "t": kind,
            "p": CREATED_MS, "u": CREATED_MS + 5, "v": 3, "a": {}, "d": {},
        });
        if let Some(content) = content {
            meta["cl"] = json!(content.len());
            meta["et"] = json!("NONE");
            meta["ct"] = json!("text/plain");
            fs::write(folder.join("content"), content).unwrap();
        }
        for (name, value) in more.as_object().unwrap() {
            meta[name] = value.clone();
        }
        fs::write(folder.join(".pmeta"), meta.to_string()).unwrap();
    }

    /// Writes a file that is encrypted.
    pub fn put_encrypted(&self, folder: &Path, cell: usize, content: &[u8]) {
        self.put(folder, "dav.file", Some(content), json!({"et": "AES"}));
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let reversed: Vec<u8> = format!("123456789abcdefg{}", cell_id(cell)).into_bytes();
        let vector: Vec<u8> = reversed.into_iter().rev().take(16).collect();
        let mut command = Command::new("openssl");
        command.args([
            "enc",
            "-aes-128-cbc",
            "-K",
            &hex(SECRET.as_bytes()),
            "-iv",
            &hex(&vector),
        ]);
        fs::write(folder.join("content"), pipe(&mut command, content)).unwrap();
    }

    fn add_cell(&mut self, number: usize, hash: &str) {
        let cell = cell_id(number);
        let name = json!({"Name": format!("cell{number}")});
        self.add(
            "u0_ad.cell",
            &cell,
            4,
            json!({"type": "Cell", "s": name, "h": {}, "l": {}}),
        );
        let id = |kind: &str| format!("{kind}{number}");
        let own = |kind: &str, properties: Value| {
            json!({
                "type": kind, "c": cell, "s": properties, "h": {}, "l": {},
            })
        };
        let mut account = own(
            "Account",
            json!({"Name": "me", "Type": "basic", "Status": "active"}),
        );
        account["h"] = json!({"HashedCredential": hash, "HashAlgorithm": "sha-256"});
        self.add("u0_anon.account", &id("account"), 1, account);
        self.add(
            "u0_anon.role",
            &id("role"),
            1,
            own("Role", json!({"Name": "boss"})),
        );
        let link = json!({
            "type": "link", "c": cell, "t1": "Account", "t2": "Role", "k1": id("account"), "k2": id("role"),
        });
        self.add("u0_anon.link", &id("link"), 1, link);
        let the_box = format!("box{number:019}");
        self.add("u0_anon.box", &the_box, 1, own("Box", json!({"Name": "b"})));
        let collection = format!("{:022}", 5);
        let in_collection = |kind: &str, properties: Value| {
            let mut source = own(kind, properties);
            source["b"] = json!(the_box);
            source["n"] = json!(collection);
            source
        };
        self.add(
            "u0_anon.entitytype",
            &id("type"),
            1,
            in_collection("EntityType", json!({"Name": "Item"})),
        );
        let mut property = in_collection(
            "Property",
            json!({
                "Name": "size", "Type": "Edm.Double", "Nullable": true, "IsKey": false, "IsDeclared": true,
                "CollectionKind": "None",
            }),
        );
        property["h"] = json!({"Alias": "P001"});
        property["l"] = json!({"EntityType": id("type")});
        self.add("u0_anon.property", &id("property"), 1, property);
        for entity in 0..3 {
            self.add_entity(number, entity, &format!("{entity}.5"));
        }
        let tree = self.tree(number);
        self.put(&tree, "Cell", None, json!({"cs": "normal"}));
        let grant = json!({"D.ace": [{"D.principal": {"D.href": id("role")}, "D.grant": {"D.privilege": {"D.read": {}}}}]});
        let the_box = tree.join(the_box);
        self.put(&the_box, "col.box", None, json!({"a": grant}));
        self.put(
            &the_box.join("data"),
            "col.odata",
            None,
            json!({"i": collection}),
        );
        self.put(
            &the_box.join("plain.txt"),
            "dav.file",
            Some(b"plain"),
            json!({}),
        );
        self.put_encrypted(
            &the_box.join("secret.txt"),
            number,
            b"top secret, and longer than a block",
        );
        let log = self
            .path("data/eventlog/anon/ce/ll")
            .join(&cell)
            .join("current");
        fs::create_dir_all(&log).unwrap();
        let line = "2024-01-31T09:15:30.123Z,[INFO ],\"k\",\"true\",null,null,\"a\",\"b\",\"c\"\n";
        fs::write(log.join("default.log"), line).unwrap();
    }

    /// Adds an entity with this size.
    pub fn add_entity(&mut self, cell: usize, number: usize, size: &str) {
        let source = json!({
            "type": "UserData", "c": cell_id(cell), "b": format!("box{cell:019}"), "n": format!("{:022}", 5),
            "t": format!("type{cell}"), "s": {"__id": format!("e{number}"), "P001": size}, "h": {}, "ll": [],
        });
        self.add(
            "u0_anon.userdata",
            &format!("entity{cell}-{number}"),
            2,
            source,
        );
    }

    /// The documents as lines.
    pub fn lines(&self) -> String {
        self.documents
            .iter()
            .map(|document| format!("{document}\n"))
            .collect()
    }

    /// The command, with the documents as they are now.
    pub fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.path("documents.ndjson"), self.lines()).unwrap();
        self.command_with(&self.path("documents.ndjson"), arguments)
    }

    /// The command, with the documents of a search engine.
    pub fn command_from(&self, url: &str, arguments: &[&str]) -> Command {
        self.command_with(Path::new(url), arguments)
    }

    /// Runs the command with the documents of a search engine. Returns its status and what it writes.
    pub fn migrate_from(&self, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
        outcome(&self.command_from(url, arguments).output().unwrap())
    }

    /// The command, with this export, or the URL of a search engine.
    pub fn command_with(&self, documents: &Path, arguments: &[&str]) -> Command {
        let mut command = program::command(&["migrate"]);
        command
            .arg("--from")
            .arg(self.path("unit.properties"))
            .arg("--documents")
            .arg(documents)
            .arg("--data")
            .arg(self.data())
            .args(arguments);
        command
    }

    /// Runs the command. Returns its status and what it writes.
    pub fn migrate(&self, arguments: &[&str]) -> (Option<i32>, String) {
        outcome(&self.command(arguments).output().unwrap())
    }

    /// The lines of the report.
    pub fn report(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.data().join("migration-report.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Kills a run after it has written so many lines about its progress. Returns whether it ended before.
    pub fn kill_after(&self, lines: usize) -> bool {
        use std::io::{BufRead, BufReader};
        let mut child = self
            .command(&[])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = progress.take(lines).count();
        // It may end by itself meanwhile.
        let _ = child.kill();
        let status = child.wait().unwrap();
        seen < lines || status.signal().is_none()
    }

    /// Starts the unit that it was migrated to.
    pub fn start(&self) -> ProcessUnit {
        self.start_with("")
    }

    /// Starts the unit that it was migrated to, with these settings too.
    pub fn start_with(&self, settings: &str) -> ProcessUnit {
        let salt = format!("io.personium.core.security.auth.password.salt={SALT}\n");
        crate::unit()
            .settings(&salt)
            .settings(settings)
            .folder(&self.path("unit"))
            .start()
    }
}

/// The status of a command, and what it wrote.
pub fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), program::text(output))
}
