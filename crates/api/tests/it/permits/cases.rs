//! Requests, each with what it does and what its success looks like.

use std::fmt;

use personium_types::{Operation, Privilege, TargetLevel};

use super::callers::{Caller, Fixture};
use crate::harness::Reply;

/// A request that one operation decides about.
#[derive(Clone)]
pub struct Case {
    pub operation: Operation,
    pub method: &'static str,
    pub path: String,
    /// Where the privilege is granted.
    pub on: &'static str,
    /// What is granted there besides, to who may and to who may not.
    pub also: Vec<Privilege>,
    /// What would do as well, so that who must not does not have it.
    pub instead: Option<Privilege>,
    /// Where both may do everything.
    pub also_on: &'static [&'static str],
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
    /// The answer of a success: its status, and what stands in its body.
    pub status: u16,
    pub says: &'static str,
    /// What the master of the unit is answered afterwards.
    pub then: Option<(&'static str, String, u16, &'static str)>,
}

/// The status of a case whose success is answered as the master is answered.
pub const AS_MASTER: u16 = 0;

/// Where the privilege of a case is granted.
#[derive(Clone, Copy)]
pub enum Grant<'a> {
    /// Where the case says.
    AsAsked,
    /// On a box or cell above.
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

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = super::unit_level::cases();
    cases.extend(super::control::cases());
    cases.extend(super::elsewhere::cases());
    cases.extend(super::in_boxes::cases());
    cases.extend(super::unanswered::cases());
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
        says: "",
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
    pub fn gives(mut self, status: u16, says: &'static str) -> Self {
        (self.status, self.says) = (status, says);
        self
    }

    pub fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn also(mut self, privilege: Privilege) -> Self {
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

    /// What the master gets afterwards.
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

    /// Checks the answer to who may.
    pub async fn check(&self, fixture: &Fixture, reply: &Reply) {
        self.check_reply(reply, "who may");
        if let Some((method, path, status, says)) = &self.then {
            let ask = fixture.world.ask(method, path).with("depth", "0");
            let found = ask.with("accept", "application/json").send().await;
            let text = found.text();
            assert!(
                found.status == *status && text.contains(says),
                "{self}: {method} {path} gives {} {text}",
                found.status
            );
        }
    }

    /// Checks the answer to one of those who all may.
    pub fn check_reply(&self, reply: &Reply, who: &str) {
        let text = reply.text();
        assert_eq!(reply.status, self.status, "{self} by {who}: {text}");
        assert!(text.contains(self.says), "{self} by {who}: {text}");
        assert!(
            reply.header("www-authenticate").is_none(),
            "{self} by {who}"
        );
    }

    /// Whether it is not looked at who asks: OPTIONS without credentials is answered to everybody.
    pub fn skips(&self, caller: &Caller) -> bool {
        self.method == "OPTIONS" && caller.headers.is_empty()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.operation)
    }
}
