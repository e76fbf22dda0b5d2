//! Cells with what tests need in them.

use serde_json::json;

use crate::TestUnit;

/// A cell with an account `me` (password `password1`), whose role `owner` may do everything in the box `box`.
pub struct CellFixture {
    /// The name of the cell.
    pub name: String,
    /// An access token of the account.
    pub token: String,
}

/// An access control list that grants privileges to roles of the main box of the cell at `cell` (with final slash).
#[must_use]
pub fn acl(cell: &str, grants: &[(&str, &[&str])]) -> String {
    let one = |(role, privileges): &(&str, &[&str])| {
        let privileges: String = privileges
            .iter()
            .map(|p| format!("<D:privilege><{p}/></D:privilege>"))
            .collect();
        format!(
            "<D:ace><D:principal><D:href>{role}</D:href></D:principal><D:grant>{privileges}</D:grant></D:ace>"
        )
    };
    let aces: String = grants.iter().map(one).collect();
    format!(
        "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xml:base='{cell}__role/__/'>{aces}</D:acl>"
    )
}

impl TestUnit {
    /// Makes a cell as the administrator.
    pub async fn create_cell(&self, name: &str) {
        self.request("POST", "/__ctl/Cell")
            .admin()
            .json(&json!({"Name": name}))
            .send()
            .await
            .expect(201);
    }

    /// Makes an account with a password, and links it to roles that exist.
    pub async fn create_account(&self, cell: &str, name: &str, password: &str, roles: &[&str]) {
        let accounts = format!("/{cell}/__ctl/Account");
        let request = self
            .request("POST", &accounts)
            .admin()
            .header("x-personium-credential", password);
        request
            .json(&json!({"Name": name}))
            .send()
            .await
            .expect(201);
        for role in roles {
            let links = format!("/{cell}/__ctl/Account('{name}')/$links/_Role");
            let uri = format!("{}{cell}/__ctl/Role('{role}')", self.url());
            self.request("POST", &links)
                .admin()
                .json(&json!({"uri": uri}))
                .send()
                .await
                .expect(204);
        }
    }

    /// Makes a role without a box.
    pub async fn create_role(&self, cell: &str, name: &str) {
        let roles = format!("/{cell}/__ctl/Role");
        self.request("POST", &roles)
            .admin()
            .json(&json!({"Name": name}))
            .send()
            .await
            .expect(201);
    }

    /// Makes a box without a schema.
    pub async fn create_box(&self, cell: &str, name: &str) {
        let boxes = format!("/{cell}/__ctl/Box");
        self.request("POST", &boxes)
            .admin()
            .json(&json!({"Name": name}))
            .send()
            .await
            .expect(201);
    }

    /// Sets the access control list of a path below the cell.
    pub async fn set_acl(&self, cell: &str, path: &str, grants: &[(&str, &[&str])]) {
        let list = acl(&format!("{}{cell}/", self.url()), grants);
        self.request("ACL", &format!("/{cell}/{path}"))
            .admin()
            .body(list)
            .send()
            .await
            .expect(200);
    }

    /// Logs in by password and gives the access token.
    pub async fn login(&self, cell: &str, account: &str, password: &str) -> String {
        let fields = [
            ("grant_type", "password"),
            ("username", account),
            ("password", password),
        ];
        let answer = self
            .request("POST", &format!("/{cell}/__token"))
            .form(&fields)
            .send()
            .await
            .expect(200);
        answer.json()["access_token"]
            .as_str()
            .expect("an access token")
            .to_owned()
    }

    /// Makes a cell with account, role, box and rights, and logs in.
    pub async fn cell(&self, name: &str) -> CellFixture {
        self.create_cell(name).await;
        self.create_role(name, "owner").await;
        self.create_account(name, "me", "password1", &["owner"])
            .await;
        self.create_box(name, "box").await;
        self.set_acl(name, "box", &[("owner", &["D:all"])]).await;
        let token = self.login(name, "me", "password1").await;
        CellFixture {
            name: name.to_owned(),
            token,
        }
    }
}
