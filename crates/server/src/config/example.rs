//! The example file, generated from the sections.

use std::fmt::Write;

use super::{Config, ineffective_keys};

/// The largest number of columns in a line of a comment.
const MAX_COLUMNS: usize = 110;

const HEAD: &str = "\
# Settings of a unit. Every key is listed with its default, commented out.
#
# A key can also be set in the environment (io.personium.core.unitPort or PERSONIUM_CORE_UNIT_PORT) or on the command
# line (-c unitPort=9998). The command line takes precedence over the environment, and the environment over this file.
# Paths of files are relative to the folder of this file.
";

const OIDC: &str = "
# ---- OpenID Connect ----

# A group of keys for each provider whose tokens are accepted; {id} is any word.
# io.personium.plugin.oidc.{id}.enabled=true
# io.personium.plugin.oidc.{id}.configURL=https://provider.example/.well-known/openid-configuration
# io.personium.plugin.oidc.{id}.trustedClientIds=client-a client-b
# io.personium.plugin.oidc.{id}.pluginName=Generic OIDC Plugin
# io.personium.plugin.oidc.{id}.accountType=oidc:generic
# io.personium.plugin.oidc.{id}.accountNameKey=username
# io.personium.plugin.oidc.{id}.grantType=urn:x-personium:oidc:generic
";

/// Returns the text of the example file.
#[must_use]
pub fn text() -> String {
    let mut out = String::from(HEAD);
    for section in Config::sections() {
        let _ = write!(out, "\n# ---- {} ----\n", section.title);
        for key in section.keys {
            out.push('\n');
            push_comment(&mut out, &key.doc);
            push_comment(&mut out, &format!("Permitted: {}.", key.permitted));
            if let Some(explanation) = ineffective_keys::explanation(&key.name) {
                push_comment(&mut out, &format!("NO EFFECT: {explanation}."));
            }
            let default = key.default.replace('\\', "\\\\");
            let _ = writeln!(out, "# {}={default}", key.name);
        }
    }
    out.push_str(OIDC);
    out
}

/// Appends a text as a comment of as many lines as it needs.
fn push_comment(out: &mut String, text: &str) {
    let mut columns = MAX_COLUMNS;
    for word in text.split(' ') {
        if columns + 1 + word.len() > MAX_COLUMNS {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            out.push('#');
            columns = 1;
        }
        out.push(' ');
        out.push_str(word);
        columns += 1 + word.len();
    }
    out.push('\n');
}
