//! The property files of extensions, in the form of the original.

use std::path::Path;

use personium_model::settings::{MailSecurity, MailServer};

use super::properties;
use super::value_parser::ValueParser;

const MAIL_FILE: &str = "Ext_MailSender.properties";
/// The beginning of the keys of the mail sender.
const MAIL_PREFIX: &str = "io.personium.engine.extension.MailSender.smtp.";
/// The port of mail servers.
const SMTP_PORT: u16 = 25;

/// The settings of extensions.
#[derive(Debug, Clone, Default)]
pub struct ExtensionFiles {
    /// The mail server, if one is named.
    pub mail_server: Option<MailServer>,
}

/// A folder of property files; without one there are no settings of extensions.
#[derive(Debug)]
pub struct ExtensionsFolder;

impl ValueParser<ExtensionFiles> for ExtensionsFolder {
    fn parse(&self, text: &str, folder: &Path) -> Option<ExtensionFiles> {
        let text = text.trim();
        if text.is_empty() {
            return Some(ExtensionFiles::default());
        }
        let folder = folder.join(text);
        if !folder.is_dir() {
            return None;
        }
        let mail_server = match std::fs::read(folder.join(MAIL_FILE)) {
            Ok(bytes) => mail_server(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(ExtensionFiles { mail_server })
    }

    fn permitted(&self) -> String {
        "a folder whose property files can be read and are valid".into()
    }
}

/// The mail server in a property file. The outer `None` means that the file is not valid.
fn mail_server(bytes: &[u8]) -> Option<Option<MailServer>> {
    let properties = properties::parse(bytes).ok()?;
    let value = |name: &str| {
        let key = format!("{MAIL_PREFIX}{name}");
        let last = properties.iter().rev().find(|property| property.key == key);
        let value = last.map(|property| property.value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let port = match value("port") {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => SMTP_PORT,
    };
    let security = match value("security").as_deref() {
        None | Some("none") => MailSecurity::None,
        Some("starttls") => MailSecurity::StartTls,
        Some("tls") => MailSecurity::Tls,
        Some(_) => return None,
    };
    let user = value("user");
    // A password is never sent in clear.
    if user.is_some() && security == MailSecurity::None {
        return None;
    }
    let password = value("password").unwrap_or_default();
    let credentials = user.map(|user| (user, personium_types::Secret::new(password)));
    Some(value("host").map(|host| MailServer {
        host,
        port,
        security,
        credentials,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Option<Option<MailServer>> {
        let lines: String = lines
            .iter()
            .map(|line| format!("{MAIL_PREFIX}{line}\n"))
            .collect();
        mail_server(lines.as_bytes())
    }

    #[test]
    fn file_of_the_original_names_host_and_port() {
        let server = read(&["host=localhost", "port=2525"]).unwrap().unwrap();
        assert_eq!((server.host.as_str(), server.port), ("localhost", 2525));
        assert_eq!(server.security, MailSecurity::None);
        assert!(server.credentials.is_none());
        assert_eq!(read(&["host=h"]).unwrap().unwrap().port, 25);
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn encryption_and_credentials_can_be_set_but_no_password_in_clear() {
        let all = ["host=h", "security=tls", "user=u", "password=p"];
        let server = read(&all).unwrap().unwrap();
        assert_eq!(server.security, MailSecurity::Tls);
        assert_eq!(server.credentials.unwrap().0, "u");
        for lines in [
            ["host=h", "user=u"],
            ["host=h", "security=maybe"],
            ["host=h", "port=0"],
        ] {
            assert!(read(&lines).is_none(), "{lines:?}");
        }
    }
}
