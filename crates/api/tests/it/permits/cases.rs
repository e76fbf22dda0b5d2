//! The requests, each with its operation and the expected success.

use std::fmt;

use personium_testkit::TestResponse;
use personium_types::{Operation, Privilege, TargetLevel};

use super::callers::{Caller, Fixture};

/// A request that needs the privilege of one operation.
#[derive(Clone)]
pub struct Case {
    pub operation: Operation,
    pub method: &'static str,
    pub path: String,
    /// The resource on which the privilege is granted.
    pub on: &'static str,
    /// Privileges that are granted there in addition, to allowed and to refused callers.
    pub also: Vec<Privilege>,
    /// A privilege that is sufficient as well, so that refused callers must not have it.
    pub instead: Option<Privilege>,
    /// Resources on which both may do everything.
    pub also_on: &'static [&'static str],
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
    /// The expected status of a success, and a text that the body contains.
    pub status: u16,
    pub body_contains: &'static str,
    /// A request with the master token that is sent afterwards: method, path, status and a text that the body contains.
    pub then: Option<(&'static str, String, u16, &'static str)>,
}

/// The status of a case whose success must be equal to the response to the master.
pub const AS_MASTER: u16 = 0;

/// The resource on which the privilege of a case is granted.
#[derive(Clone, Copy)]
pub enum Grant<'a> {
    /// The resource that the case names.
    AsAsked,
    /// A box or cell above it.
    Above(&'a str),
}

impl Grant<'_> {
    pub fn place<'a>(&'a self, case: &'a Case) -> &'a str {
        match self {
            Self::AsAsked => case.on,
            Self::Above(place) => place,
        }
    }
}

/// Returns every case.
pub fn all() -> Vec<Case> {
    let mut cases = super::unit_level::cases();
    cases.extend(super::control_objects::cases());
    cases.extend(super::cell_endpoints::cases());
    cases.extend(super::box_resources::cases());
    cases.extend(super::unsupported_methods::cases());
    cases
}

/// A case at cell or unit level.
pub fn case(operation: Operation, method: &'static str, path: &str) -> Case {
    Case {
        operation,
        method,
        path: path.to_owned(),
        on: if operation.level() == TargetLevel::Unit {
            ""
        } else {
            "c"
        },
        also: Vec::new(),
        instead: None,
        also_on: &[],
        headers: Vec::new(),
        body: String::new(),
        status: 200,
        body_contains: "",
        then: None,
    }
}

/// A case in a box, with the privilege on `on`.
pub fn case_on(operation: Operation, method: &'static str, path: &str, on: &'static str) -> Case {
    Case {
        on,
        ..case(operation, method, path)
    }
}

impl Case {
    pub fn expect(mut self, status: u16, says: &'static str) -> Self {
        (self.status, self.body_contains) = (status, says);
        self
    }

    pub fn body_text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn also_needs(mut self, privilege: Privilege) -> Self {
        self.also.push(privilege);
        self
    }

    pub fn instead(mut self, privilege: Privilege) -> Self {
        self.instead = Some(privilege);
        self
    }

    pub fn also_on(mut self, places: &'static [&'static str]) -> Self {
        self.also_on = places;
        self
    }

    /// Sets the request with the master token that is sent afterwards.
    pub fn then(
        mut self,
        method: &'static str,
        path: &str,
        status: u16,
        says: &'static str,
    ) -> Self {
        self.then = Some((method, path.to_owned(), status, says));
        self
    }

    /// Checks the response to the allowed caller.
    pub async fn check(&self, fixture: &Fixture, response: &TestResponse) {
        self.check_response(response, "who may");
        if let Some((method, path, status, says)) = &self.then {
            let request = fixture
                .unit
                .admin_request(method, path)
                .header("depth", "0");
            let found = request.header("accept", "application/json").send().await;
            let text = found.text();
            assert!(
                found.status == *status && text.contains(says),
                "{self}: {method} {path} gives {} {text}",
                found.status
            );
        }
    }

    /// Checks a response against the expected success.
    pub fn check_response(&self, response: &TestResponse, who: &str) {
        let text = response.text();
        assert_eq!(response.status, self.status, "{self} by {who}: {text}");
        assert!(text.contains(self.body_contains), "{self} by {who}: {text}");
        assert!(
            response.header("www-authenticate").is_none(),
            "{self} by {who}"
        );
    }

    /// Whether access is not checked: OPTIONS without credentials is answered for everybody, and a cell shows to who mounts
    /// a box by a password that it exists.
    pub fn skips(&self, caller: &Caller) -> bool {
        let shows_itself = matches!(
            self.operation,
            Operation::OptionsCell | Operation::ReadCellProperties
        );
        self.method == "OPTIONS" && caller.headers.is_empty()
            || shows_itself && caller.name == "a password"
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.operation)
    }
}
