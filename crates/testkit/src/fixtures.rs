//! Cells, accounts, roles, boxes, collections and files that tests need. All are created with the master token.

use serde_json::{Value, json};

use crate::client::TestClient;
use crate::credentials::PASSWORD;
use crate::response::{Outcome, TestResponse};
use crate::xml::{ace, acl_body, collection_body, everybody_ace};

impl TestClient {
    /// Sends a request with the master token and without body; returns status and error code.
    pub async fn admin_outcome(&self, method: &str, path: &str) -> Outcome {
        self.admin_request(method, path).send().await.outcome()
    }

    /// Sends a request for JSON, which must succeed.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> TestResponse {
        self.request(method, path)
            .header("accept", "application/json")
            .body(body)
            .send()
            .await
            .expect_success()
    }

    /// Sends a POST with the master token.
    pub async fn post(&self, path: &str, body: &str) -> TestResponse {
        self.admin_request("POST", path).body(body).send().await
    }

    /// Creates an entity.
    pub async fn create(&self, path: &str, json: &str) {
        self.post(path, json).await.expect(201);
    }

    /// Creates a cell.
    pub async fn create_cell(&self, name: &str) {
        let body = json!({"Name": name}).to_string();
        self.create("__ctl/Cell", &body).await;
    }

    /// Creates a box without schema.
    pub async fn create_box(&self, cell: &str, name: &str) {
        let body = json!({"Name": name}).to_string();
        self.create(&format!("{cell}/__ctl/Box"), &body).await;
    }

    /// Creates a role without box.
    pub async fn create_role(&self, cell: &str, name: &str) {
        let body = json!({"Name": name}).to_string();
        self.create(&format!("{cell}/__ctl/Role"), &body).await;
    }

    /// Creates an account with the password [`PASSWORD`].
    pub async fn create_account(&self, cell: &str, json: &str) {
        self.admin_request("POST", &format!("{cell}/__ctl/Account"))
            .header("x-personium-credential", PASSWORD)
            .body(json)
            .send()
            .await
            .expect(201);
    }

    /// Links two control objects of a cell, such as `Account('me')` by `_Role` to `Role('owner')`.
    pub async fn link(&self, cell: &str, from: &str, navigation: &str, to: &str) {
        let path = format!("{cell}/__ctl/{from}/$links/{navigation}");
        let body = json!({"uri": format!("{}__ctl/{to}", self.cell_url(cell))});
        self.post(&path, &body.to_string()).await.expect(204);
    }

    /// Creates a collection of this kind: `""`, `odata`, `service` or `stream`.
    pub async fn create_collection(&self, path: &str, kind: &str) {
        self.admin_request("MKCOL", path)
            .body(collection_body(kind))
            .send()
            .await
            .expect(201);
    }

    /// Creates a stream collection with the queue `q` and the topic `t`.
    pub async fn create_stream_collection(&self, path: &str) {
        let names = "<propertyupdate xmlns='DAV:' xmlns:p='urn:x-personium:xmlns'><set><prop>\
             <p:queues><p:queue>q</p:queue></p:queues><p:topics><p:topic>t</p:topic></p:topics>\
             </prop></set></propertyupdate>";
        self.create_collection(path, "stream").await;
        let patched = self.admin_request("PROPPATCH", path).body(names);
        patched.send().await.expect(207);
    }

    /// Creates an OData collection with an entity type.
    pub async fn create_odata_collection(&self, path: &str, entity_type: &str) {
        self.create_collection(path, "odata").await;
        self.create_entity_type(path, entity_type).await;
    }

    /// Creates an entity type of an OData collection.
    pub async fn create_entity_type(&self, collection: &str, name: &str) {
        let body = json!({"Name": name}).to_string();
        self.create(&format!("{collection}/$metadata/EntityType"), &body)
            .await;
    }

    /// Puts a file; returns its entity tag.
    pub async fn put_file(&self, path: &str, content: &str) -> String {
        let response = self.admin_request("PUT", path).body(content).send().await;
        let response = response.expect_success();
        response.header("etag").unwrap().to_owned()
    }

    /// Sets an access control list with these entries.
    pub async fn set_acl(&self, path: &str, aces: &str) {
        self.set_acl_with(path, "", aces).await;
    }

    /// Sets an access control list with attributes.
    pub async fn set_acl_with(&self, path: &str, attributes: &str, aces: &str) {
        self.admin_request("ACL", path)
            .body(acl_body(attributes, aces))
            .send()
            .await
            .expect(200);
    }

    /// Grants everybody these privileges, and nobody else any.
    pub async fn grant_to_everybody(&self, path: &str, privileges: &[&str]) {
        self.set_acl(path, &everybody_ace(privileges)).await;
    }

    /// Grants a role without box these privileges, and nobody else any.
    pub async fn grant_to_role(&self, path: &str, role: &str, privileges: &[&str]) {
        let cell = path.trim_start_matches('/').split('/').next().unwrap();
        let role = format!("{}__role/__/{role}", self.cell_url(cell));
        self.set_acl(path, &ace(&role, privileges)).await;
    }

    /// Gives an account a new role, by their names, that has these privileges on a path of their cell.
    pub async fn grant_by_new_role(
        &self,
        path: &str,
        (account, role): (&str, &str),
        privileges: &[&str],
    ) {
        let cell = path.split('/').next().unwrap();
        self.create_role(cell, role).await;
        let (account, linked) = (format!("Account('{account}')"), format!("Role('{role}')"));
        self.link(cell, &account, "_Role", &linked).await;
        self.grant_to_role(path, role, privileges).await;
    }

    /// Lists the entities of a set.
    pub async fn list_entities(&self, path: &str) -> Vec<Value> {
        let request = self.admin_request("GET", path);
        let response = request.header("accept", "application/json").send().await;
        response.expect(200).results().as_array().unwrap().clone()
    }

    /// Creates a cell with a box `box` and an account `me`, whose role `owner` may do everything in the box. Returns a
    /// client with a token of the account.
    pub async fn create_cell_with_owner(&self, name: &str) -> Self {
        self.create_cell(name).await;
        self.create_account(name, r#"{"Name":"me"}"#).await;
        self.create_role(name, "owner").await;
        self.link(name, "Account('me')", "_Role", "Role('owner')")
            .await;
        self.create_box(name, "box").await;
        self.grant_to_role(&format!("{name}/box"), "owner", &["D:all"])
            .await;
        self.with_token(&self.access_token(name).await)
    }
}
