//! `personium rename-unit`: after the unit got another name, the URLs of its own cells that are stored in it get that name too.
//!
//! Owners of cells, relative URLs and the links between entities do not contain the name of the unit and stay as they are.
//! Messages keep the URLs that they were sent with, and files and user data are not looked into.

mod cell_pages;
mod former_name;

use std::io;

use http::Method;
use personium_model::audit::{self, AuditFilter};
use personium_model::odata::ownership;
use personium_types::error::chain;
use serde_json::{Value, json};

pub use self::former_name::FormerName;
use crate::command_audit::AuditedCommand;
use crate::components::Components;
use crate::config::LoadedConfig;
use crate::local_api::{LocalApi, LocalRequest};
use crate::{first_start, key_files, serve, system};

/// The sets of a cell whose entities keep URLs, with the property that does. Rules name the own unit by relative URLs only.
const URL_PROPERTIES: [(&str, &str); 3] = [
    ("Box", "Schema"),
    ("ExtCell", "Url"),
    ("ExtRole", "ExtRole"),
];

/// The number of entities that are read at once.
const PAGE_SIZE: usize = 1000;

/// An entity with URLs of the former name.
struct Outdated {
    /// The URL of the entity.
    url: String,
    /// The property to change, with its new value.
    changes: Value,
}

/// The numbers of changes that were made, and that were refused.
#[derive(Debug, Default)]
struct Counts {
    changed: usize,
    refused: usize,
}

/// Changes the URLs of a stopped unit from its former name to that of the settings. `show` gets a line for each change; with
/// `dry_run` nothing is changed. The command can be repeated: what is changed is not found again.
///
/// # Errors
/// A text for the operator, also if some changes were refused.
pub async fn run(
    loaded: LoadedConfig,
    former: &FormerName,
    dry_run: bool,
    show: impl Fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    if first_start::is_due(&loaded.config) {
        let data_dir = loaded.config.store.data_dir.display();
        return Err(format!(
            "{data_dir} contains no unit yet; the first start makes one"
        ));
    }
    let issuers = loaded.config.unit.issuers.clone();
    // The start of the components issues it for the new name.
    let certified = key_files::certified_host(&loaded.config);
    let files_max = loaded.config.store.open_files_max;
    // Boxed, because the future is large.
    let (clock, random) = (system::clock(), system::random());
    let components = match dry_run {
        true => {
            Box::pin(Components::build_for_dry_run(
                loaded, files_max, clock, random,
            ))
            .await
        }
        false => Box::pin(Components::build(loaded, files_max, clock, random)).await,
    };
    let components = components
        .map_err(|error| error.for_command("This command needs the unit to be stopped"))?;
    let api = LocalApi::new(&components).map_err(|error| chain(&error))?;
    let rename = Rename {
        api: &api,
        former,
        dry_run,
        show: &show,
    };
    let audited = AuditedCommand {
        operation: "unit.rename",
        target: format!(
            "{}, to {}",
            former.unit_url(),
            rename.api.unit.urls().unit()
        ),
    };
    let renaming = rename.all_cells(&issuers);
    let is_certified = certified.is_some_and(|host| former.is_host(&host));
    if !is_certified && let Err(doubt) = Box::pin(rename.expect_known_name(&audited)).await {
        // A start with the new name issues the certificate for it before.
        tracing::warn!("{doubt}");
    }
    let done = match dry_run {
        true => renaming.await,
        false => Box::pin(audited.run(&rename.api.unit, renaming)).await,
    };
    rename.api.unit.finish_commits().await;
    serve::close(&*components.records.port()).await;
    done
}

/// A run of the command.
struct Rename<'r, S> {
    api: &'r LocalApi,
    former: &'r FormerName,
    dry_run: bool,
    show: &'r S,
}

impl<S: Fn(&str) -> io::Result<()>> Rename<'_, S> {
    /// Checks that the unit had the former name: the command was run for it before, or a stored URL has it.
    ///
    /// # Errors
    /// A text for the operator, which says so.
    async fn expect_known_name(&self, audited: &AuditedCommand) -> Result<(), String> {
        let unit = &self.api.unit;
        let mut is_known = self.former.is_name_of(unit.urls());
        let records = unit.records();
        let filter = AuditFilter::default();
        let read = audit::export(&records, &filter, |line| {
            is_known |= serde_json::from_str::<Value>(line).is_ok_and(|entry| {
                let is =
                    |member, text: &str| entry.get(member).and_then(Value::as_str) == Some(text);
                is("operation", audited.operation) && is("target", &audited.target)
            });
            Ok(())
        });
        // An audit log that cannot be read tells nothing, and `personium audit verify` says why.
        let _ = read.await;
        if is_known {
            return Ok(());
        }
        let silent = Rename {
            api: self.api,
            former: self.former,
            dry_run: true,
            show: &|_: &str| Ok(()),
        };
        let mut counts = Counts::default();
        let cells = ownership::list_cells(unit).await;
        for cell in cells.map_err(|error| chain(&error))? {
            silent.cell(&cell.name, &mut counts).await?;
            if counts.changed > 0 {
                return Ok(());
            }
        }
        Err(format!(
            "no stored URL has the name {}, and the certificate of the unit was not for it: is --from the name that the unit had?",
            self.former.unit_url()
        ))
    }

    async fn all_cells(&self, issuers: &[String]) -> Result<(), String> {
        let urls = self.api.unit.urls();
        if self.former.is_name_of(urls) {
            return Err(format!(
                "{} is the name of the unit in the settings; change unitFqdn (and unitScheme, unitPort) to the new name first",
                urls.unit()
            ));
        }
        for issuer in issuers {
            if let Some(url) = self.former.renamed(issuer, urls) {
                self.say(&format!(
                    "unitUser.issuers names {issuer}: put {url} in its place\n"
                ))?;
            }
        }
        let mut counts = Counts::default();
        let cells = ownership::list_cells(&self.api.unit).await;
        for cell in cells.map_err(|error| chain(&error))? {
            self.cell(&cell.name, &mut counts).await?;
        }
        let Counts { changed, refused } = counts;
        let verb = if self.dry_run { "to change" } else { "changed" };
        self.say(&format!("{changed} {verb}, {refused} refused\n"))?;
        match refused {
            0 => Ok(()),
            _ => Err("some URLs still have the former name".to_owned()),
        }
    }

    async fn cell(&self, name: &str, counts: &mut Counts) -> Result<(), String> {
        let cell = self.api.unit.urls().cell(name);
        for (set, property) in URL_PROPERTIES {
            // All are found before one is changed: a change moves an entity in the list.
            for Outdated { url, changes } in self.outdated(&cell, set, property).await? {
                let method = Method::from_bytes(b"MERGE").map_err(|error| error.to_string())?;
                let text = changes.to_string();
                self.change(method, &url, &text, counts).await?;
            }
        }
        if let Some(patch) = self.outdated_pages(&cell).await? {
            let method = Method::from_bytes(b"PROPPATCH").map_err(|error| error.to_string())?;
            self.change(method, &cell, &patch, counts).await?;
        }
        Ok(())
    }

    /// Sends a change of what has this URL, and says so.
    async fn change(
        &self,
        method: Method,
        url: &str,
        body: &str,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let request = LocalRequest {
            method,
            url,
            headers: &[("if-match", "*")],
            body: Some(body.to_owned()),
        };
        if !self.dry_run
            && let Err(refused) = self.api.send(request).await
        {
            counts.refused += 1;
            return self.say(&format!("REFUSED {url} {body}: {}\n", chain(&refused)));
        }
        counts.changed += 1;
        self.say(&format!("{url} {body}\n"))
    }

    /// The entities of a set with URLs of the former name.
    async fn outdated(
        &self,
        cell: &str,
        set: &str,
        property: &str,
    ) -> Result<Vec<Outdated>, String> {
        let mut outdated = Vec::new();
        for page in 0.. {
            let skip = page * PAGE_SIZE;
            let url = format!("{cell}__ctl/{set}?$format=json&$top={PAGE_SIZE}&$skip={skip}");
            let body = self.get(Method::GET, &url, None).await?;
            let body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            let entities = body.pointer("/d/results").and_then(Value::as_array);
            let entities = entities.map(Vec::as_slice).unwrap_or_default();
            outdated.extend(
                entities
                    .iter()
                    .filter_map(|entity| self.of_entity(entity, property)),
            );
            if entities.len() < PAGE_SIZE {
                break;
            }
        }
        Ok(outdated)
    }

    fn of_entity(&self, entity: &Value, property: &str) -> Option<Outdated> {
        let url = entity.get(property)?.as_str()?;
        let renamed = self.former.renamed(url, self.api.unit.urls())?;
        let url = entity.pointer("/__metadata/uri")?.as_str()?;
        Some(Outdated {
            url: url.to_owned(),
            changes: json!({property: renamed}),
        })
    }

    async fn get(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<bytes::Bytes, String> {
        let request = LocalRequest {
            method,
            url,
            headers: &[("depth", "0")],
            body,
        };
        self.api.send(request).await.map_err(|error| chain(&error))
    }

    fn say(&self, text: &str) -> Result<(), String> {
        (self.show)(text).map_err(|error| format!("the output could not be written: {error}"))
    }
}
