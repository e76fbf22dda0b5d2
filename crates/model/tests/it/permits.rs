//! Functions that change data accept only a permit for their own operation and target.

use std::collections::BTreeMap;

use personium_model::auth::account;
use personium_model::event::{self, Event, log};
use personium_model::odata::message::{self, MessageCommand};
use personium_model::odata::{
    self, Change, Creation, EntityRef, NavigationSource, ServiceRoot, validate,
};
use personium_model::{Permit, PermitTarget};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_testkit::{ModelUnit, cell_permit, create, server_authority};
use personium_types::{CellId, Code, NodeId, Operation, Preconditions, Result};

/// A public function that takes a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    CreateRole,
    CreateCell,
    CreateThroughNavigation,
    CreateUserData,
    CreateEntityType,
    UpdateRole,
    DeleteRole,
    AddLink,
    RemoveLink,
    RemoveBox,
    RemoveCell,
    ReceiveMessage,
    StoreSentMessage,
    MarkMessageAsRead,
    ApproveMessage,
    PostEvent,
    RemoveLogArchive,
    ChangePassword,
}

const ALL: [Function; 18] = {
    use Function::*;
    [
        CreateRole,
        CreateCell,
        CreateThroughNavigation,
        CreateUserData,
        CreateEntityType,
        UpdateRole,
        DeleteRole,
        AddLink,
        RemoveLink,
        RemoveBox,
        RemoveCell,
        ReceiveMessage,
        StoreSentMessage,
        MarkMessageAsRead,
        ApproveMessage,
        PostEvent,
        RemoveLogArchive,
        ChangePassword,
    ]
};

const SENDER: &str = "http://unit.example/d/";

/// Ids in the unit that the functions are tried in.
struct Targets {
    cell: CellId,
    collection: NodeId,
    the_box: NodeId,
}

impl Targets {
    async fn of(unit: &ModelUnit) -> Self {
        let context = unit.context().await;
        Self {
            cell: context.cell().id,
            collection: unit.resource_id("od").await,
            the_box: context.find_box("b").await.unwrap().unwrap().id,
        }
    }

    fn node(&self, node: NodeId) -> PermitTarget {
        let cell = self.cell;
        PermitTarget::Node { cell, node }
    }
}

impl Function {
    /// The operations and the target that its permit must be for.
    fn needs(self, of: &Targets) -> (Vec<Operation>, PermitTarget) {
        let cell = of.cell;
        let (operation, target) = match self {
            Self::CreateRole | Self::UpdateRole | Self::DeleteRole => {
                (Operation::WriteRoles, PermitTarget::Cell(cell))
            }
            Self::CreateCell => (Operation::WriteCells, PermitTarget::Unit),
            Self::CreateThroughNavigation | Self::AddLink | Self::RemoveLink => {
                let operations = vec![Operation::WriteAccounts, Operation::WriteRoles];
                return (operations, PermitTarget::Cell(cell));
            }
            Self::CreateUserData => (Operation::WriteEntities, of.node(of.collection)),
            Self::CreateEntityType => (Operation::WriteSchema, of.node(of.collection)),
            Self::RemoveBox => (Operation::RemoveBox, of.node(of.the_box)),
            Self::RemoveCell => (Operation::RemoveCell, PermitTarget::Cell(cell)),
            Self::ReceiveMessage => {
                let sender = SENDER.to_owned();
                let target = PermitTarget::Delivery { cell, sender };
                (Operation::DeliverMessage, target)
            }
            Self::StoreSentMessage => (Operation::SendMessage, PermitTarget::Cell(cell)),
            Self::MarkMessageAsRead => (Operation::ChangeMessageStatus, PermitTarget::Cell(cell)),
            Self::ApproveMessage => (Operation::ApproveSocial, PermitTarget::Cell(cell)),
            Self::PostEvent => (Operation::PostEvent, PermitTarget::Cell(cell)),
            Self::RemoveLogArchive => (Operation::RemoveLog, PermitTarget::Cell(cell)),
            Self::ChangePassword => {
                let name = "a".to_owned();
                (
                    Operation::ChangeOwnPassword,
                    PermitTarget::Account { cell, name },
                )
            }
        };
        (vec![operation], target)
    }

    async fn call(self, unit: &ModelUnit, permit: Permit) -> Result<()> {
        let context = unit.context().await;
        let root = unit.cell_root().await;
        let any = |_: &odata::Entity| Ok(());
        match self {
            Self::CreateRole => make(&root, &permit, "Role", r#"{"Name":"new"}"#).await,
            Self::CreateCell => {
                let root = ServiceRoot::of_unit(unit.model.clone());
                make(&root, &permit, "Cell", r#"{"Name":"new"}"#).await
            }
            Self::CreateThroughNavigation => {
                let accounts = root.set("Account")?;
                let source = NavigationSource {
                    association: root.association(&accounts, "_Role").unwrap(),
                    source: EntityKey::single("a"),
                    url: None,
                };
                let mut creation = creation(&root, "Role", r#"{"Name":"new"}"#).await?;
                creation.navigation = Some(source);
                let made = odata::create(&root, &permit, &[creation]).await?;
                made.into_iter().try_for_each(|made| made.map(drop))
            }
            Self::CreateUserData => {
                make(
                    &unit.data_root("od").await,
                    &permit,
                    "T",
                    r#"{"__id":"new"}"#,
                )
                .await
            }
            Self::CreateEntityType => {
                let root = unit.schema_root("od").await;
                make(&root, &permit, "EntityType", r#"{"Name":"New"}"#).await
            }
            Self::UpdateRole => {
                let set = root.set("Role")?;
                let body = br#"{"Name":"renamed"}"#;
                let change = Change {
                    body: validate(&root, &set, body, Intent::Merge, Route::Direct).await?,
                    intent: Intent::Merge,
                    hidden: BTreeMap::new(),
                    conditions: Preconditions::default(),
                };
                let key = role();
                let updating = odata::update(
                    &root,
                    &permit,
                    EntityRef {
                        set: &set,
                        key: &key,
                    },
                    &change,
                    &any,
                );
                updating.await.map(drop)
            }
            Self::DeleteRole => {
                let set = root.set("Role")?;
                let key = role();
                let deleting = odata::delete(
                    &root,
                    &permit,
                    EntityRef {
                        set: &set,
                        key: &key,
                    },
                    Preconditions::NONE,
                    &any,
                );
                deleting.await.map(drop)
            }
            Self::AddLink | Self::RemoveLink => {
                let accounts = root.set("Account")?;
                let association = root.association(&accounts, "_Role").unwrap();
                let account = EntityKey::single("a");
                if self == Self::RemoveLink {
                    let own = server_authority().permit_link(&root, &association);
                    odata::add_link(&root, &own, &association, &account, &role()).await?;
                    odata::remove_link(&root, &permit, &association, &account, &role()).await
                } else {
                    odata::add_link(&root, &permit, &association, &account, &role()).await
                }
            }
            Self::RemoveBox => {
                let id = context.find_box("b").await?.unwrap().id;
                odata::remove_box(&unit.model, &context, &permit, &id, None).await
            }
            Self::RemoveCell => odata::remove_cell(&unit.model, &context, &permit).await,
            Self::ReceiveMessage => receive(&root, &permit, "message").await,
            Self::StoreSentMessage => {
                let body = br#"{"To":"http://unit.example/d/","Type":"message","Title":"t"}"#;
                let outgoing = message::prepare(&root, body, None).await?;
                let sender = message::DeliverySender::default();
                let stored =
                    message::store_sent(&root, &permit, (&outgoing, &sender), (&[], 0)).await;
                stored.map(drop)
            }
            Self::MarkMessageAsRead => {
                receive(&root, &delivery(&context), "message").await?;
                let no_change = |_: Operation| Err(Code::Unknown.into());
                let (id, read) = ("0123456789abcdef0123456789abcdef", MessageCommand::Read);
                let changed = message::change_status(&root, &permit, id, read, &no_change).await;
                changed.map(drop)
            }
            Self::ApproveMessage => {
                receive(&root, &delivery(&context), "request").await?;
                let decide = cell_permit(&context, Operation::ChangeMessageStatus);
                let slot = parking_lot::Mutex::new(Some(permit));
                let change = |_: Operation| Ok(slot.lock().take().unwrap());
                let (id, approve) = ("0123456789abcdef0123456789abcdef", MessageCommand::Approve);
                let changed = message::change_status(&root, &decide, id, approve, &change).await;
                changed.map(drop)
            }
            Self::PostEvent => event::post(&unit.model, &context, &permit, Event::internal()).await,
            Self::RemoveLogArchive => {
                log::remove_archive(&unit.model, &context, &permit, "default.log.1").await
            }
            Self::ChangePassword => {
                account::change_password(&unit.model, &context, &permit, "a", "new-password").await
            }
        }
    }
}

fn role() -> EntityKey {
    EntityKey::compound(vec![Some("r".to_owned()), None])
}

fn delivery(context: &personium_model::CellContext) -> Permit {
    let (cell, sender) = (context.cell().id, SENDER.to_owned());
    let target = PermitTarget::Delivery { cell, sender };
    server_authority().permit(Operation::DeliverMessage, target)
}

async fn receive(root: &ServiceRoot, permit: &Permit, kind: &str) -> Result<()> {
    let requests = match kind {
        "request" => {
            r#","RequestObjects":[{"RequestType":"relation.add","Name":"rel","TargetUrl":"http://unit.example/d/"}]"#
        }
        _ => "",
    };
    let status = if kind == "request" { "none" } else { "unread" };
    let body = format!(
        r#"{{"__id":"0123456789abcdef0123456789abcdef","From":"{SENDER}","Type":"{kind}","Title":"t","Body":"","Priority":3,"Status":"{status}"{requests}}}"#
    );
    let delivery = message::ReceivedDelivery {
        sender: SENDER,
        bytes: body.as_bytes(),
        is_repeated: false,
    };
    let received = message::receive(root, permit, delivery).await;
    received.map(drop)
}

async fn creation(root: &ServiceRoot, set: &str, body: &str) -> Result<Creation> {
    let set = root.set(set)?;
    let body = validate(root, &set, body.as_bytes(), Intent::Create, Route::Direct).await?;
    Ok(Creation {
        set,
        body,
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
        history: None,
    })
}

async fn make(root: &ServiceRoot, permit: &Permit, set: &str, body: &str) -> Result<()> {
    let creation = creation(root, set, body).await?;
    let made = odata::create(root, permit, &[creation]).await?;
    made.into_iter().try_for_each(|made| made.map(drop))
}

/// A unit with an account `a`, a role `r`, a relation `rel`, an OData collection `od` and a cell `d`.
async fn unit() -> (ModelUnit, Targets) {
    let unit = ModelUnit::with_entity_type().await;
    unit.create_cell("d").await;
    let root = unit.cell_root().await;
    for (set, name) in [("Account", "a"), ("Role", "r"), ("Relation", "rel")] {
        let body = format!(r#"{{"Name":"{name}"}}"#);
        create(&root, set, &body).await.unwrap();
    }
    let targets = Targets::of(&unit).await;
    (unit, targets)
}

/// A permit for all these operations on one target.
fn permit(operations: &[Operation], target: &PermitTarget) -> Permit {
    let permits = operations
        .iter()
        .map(|o| server_authority().permit(*o, target.clone()));
    permits
        .reduce(|one, other| one.and(other).unwrap())
        .unwrap()
}

#[tokio::test]
async fn permit_for_the_operation_and_target_is_accepted() {
    for function in ALL {
        let (unit, targets) = unit().await;
        let (operations, target) = function.needs(&targets);
        let called = function.call(&unit, permit(&operations, &target)).await;
        match function {
            // No log was archived yet.
            Function::RemoveLogArchive => {
                assert_eq!(called.unwrap_err().code(), Code::NoSuchResource);
            }
            _ => called.unwrap_or_else(|error| panic!("{function:?}: {error}")),
        }
    }
}

#[tokio::test]
async fn permit_for_another_operation_is_refused() {
    for function in ALL {
        let (operations, _) = function.needs(&unit().await.1);
        for missing in operations {
            let (unit, targets) = unit().await;
            let (mut others, target) = function.needs(&targets);
            others.retain(|operation| *operation != missing);
            others.push(Operation::ReadStatus);
            let called = function.call(&unit, permit(&others, &target)).await;
            assert_eq!(called.unwrap_err().code(), Code::Unknown, "{function:?}");
        }
    }
}

#[tokio::test]
async fn permit_for_another_target_is_refused() {
    for function in ALL {
        for number in 0..8 {
            let (unit, targets) = unit().await;
            let (operations, own) = function.needs(&targets);
            let other = unit.find_cell("d").await.unwrap().cell().id;
            let (cell, text) = (targets.cell, || "b".to_owned());
            let target = match number {
                0 => PermitTarget::Unit,
                1 => PermitTarget::Cell(cell),
                2 => PermitTarget::Cell(other),
                3 => targets.node(targets.the_box),
                4 => targets.node(targets.collection),
                5 => PermitTarget::Node {
                    cell: other,
                    node: targets.the_box,
                },
                6 => PermitTarget::Account { cell, name: text() },
                _ => PermitTarget::Delivery {
                    cell,
                    sender: text(),
                },
            };
            if target == own {
                continue;
            }
            let called = function.call(&unit, permit(&operations, &target)).await;
            let code = called.unwrap_err().code();
            assert_eq!(code, Code::Unknown, "{function:?} with {target:?}");
        }
    }
}
