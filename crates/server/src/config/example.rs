//! The example file, made of the same table that the settings are read with.

use std::fmt::Write;

use super::Config;

/// The width of the example file.
const WIDTH: usize = 110;

const HEAD: &str = "\
# Settings of a unit. Every key stands here with its default, commented out.
#
# A key may also be given in the environment (io.personium.core.unitPort or PERSONIUM_CORE_UNIT_PORT) or on the command
# line (-c unitPort=9998). The command line wins over the environment, which wins over this file.
# Relative names of files are relative to the folder of this file.
";

const OIDC: &str = "
# ---- OpenID Connect ----

# One group of keys for each provider whose tokens are accepted; {id} is any word.
# io.personium.plugin.oidc.{id}.enabled=true
# io.personium.plugin.oidc.{id}.configURL=https://provider.example/.well-known/openid-configuration
# io.personium.plugin.oidc.{id}.trustedClientIds=client-a client-b
# io.personium.plugin.oidc.{id}.pluginName=Generic OIDC Plugin
# io.personium.plugin.oidc.{id}.accountType=oidc:generic
# io.personium.plugin.oidc.{id}.accountNameKey=username
# io.personium.plugin.oidc.{id}.grantType=urn:x-personium:oidc:generic
";

/// The text of the example file.
#[must_use]
pub fn text() -> String {
    let mut out = String::from(HEAD);
    for (title, keys) in Config::table() {
        let _ = write!(out, "\n# ---- {title} ----\n");
        for key in keys {
            out.push('\n');
            wrap(&mut out, &key.doc);
            wrap(&mut out, &format!("Permitted: {}.", key.allowed));
            let _ = writeln!(out, "# {}={}", key.name, key.default.replace('\\', "\\\\"));
        }
    }
    out.push_str(OIDC);
    out
}

fn wrap(out: &mut String, text: &str) {
    let mut width = WIDTH;
    for word in text.split(' ') {
        if width + 1 + word.len() > WIDTH {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            out.push('#');
            width = 1;
        }
        out.push(' ');
        out.push_str(word);
        width += 1 + word.len();
    }
    out.push('\n');
}
