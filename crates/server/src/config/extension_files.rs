//! The property files of extensions, in the form of the original.

use std::path::Path;

use personium_model::settings::{MailSecurity, MailServer, OutgoingProxy, SlackSettings};
use personium_types::Secret;

use super::properties;
use super::value_parser::ValueParser;

const MAIL_FILE: &str = "Ext_MailSender.properties";
/// The beginning of the keys of the mail sender.
const MAIL_PREFIX: &str = "io.personium.engine.extension.MailSender.smtp.";
/// The port of mail servers.
const SMTP_PORT: u16 = 25;
const SLACK_FILE: &str = "Ext_Slack.properties";
/// The beginning of the keys of the messenger for Slack.
const SLACK_PREFIX: &str = "io.personium.engine.extension.Slack.";

/// The settings of extensions.
#[derive(Debug, Clone, Default)]
pub struct ExtensionFiles {
    /// The mail server, if one is named.
    pub mail_server: Option<MailServer>,
    /// The workspace of Slack.
    pub slack: Box<SlackSettings>,
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
        let mail = PropertyFile::read(&folder.join(MAIL_FILE), MAIL_PREFIX)?;
        let slack = PropertyFile::read(&folder.join(SLACK_FILE), SLACK_PREFIX)?;
        Some(ExtensionFiles {
            mail_server: mail_server(&mail)?,
            slack: Box::new(slack_settings(&slack)?),
        })
    }

    fn permitted(&self) -> String {
        "a folder whose property files can be read and are valid".into()
    }
}

/// The properties of an extension: those of a file whose keys begin with its prefix.
struct PropertyFile {
    properties: Vec<properties::Property>,
    prefix: &'static str,
}

impl PropertyFile {
    /// Reads a file; one that does not exist has no properties. `None` if it cannot be read or is not valid.
    fn read(file: &Path, prefix: &'static str) -> Option<Self> {
        match std::fs::read(file) {
            Ok(bytes) => Self::parse(&bytes, prefix),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::parse(b"", prefix),
            Err(_) => None,
        }
    }

    fn parse(bytes: &[u8], prefix: &'static str) -> Option<Self> {
        let properties = properties::parse(bytes).ok()?;
        Some(Self { properties, prefix })
    }

    /// The value of a key without the prefix, unless it is empty.
    fn value(&self, name: &str) -> Option<String> {
        let key = format!("{}{name}", self.prefix);
        let mut from_the_last = self.properties.iter().rev();
        let last = from_the_last.find(|property| property.key == key);
        let value = last.map(|property| property.value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    }
}

/// The workspace of Slack in a property file. `None` means that the file is not valid.
fn slack_settings(file: &PropertyFile) -> Option<SlackSettings> {
    let proxy = match file.value("proxy.host") {
        Some(host) => Some(OutgoingProxy {
            host,
            port: file
                .value("proxy.port")?
                .parse()
                .ok()
                .filter(|port| *port > 0)?,
            credentials: file.value("proxy.user").map(|user| {
                let password = file.value("proxy.password").unwrap_or_default();
                (user, Secret::new(password))
            }),
        }),
        None => None,
    };
    Some(SlackSettings {
        token: file.value("apitoken").map(Secret::new),
        channel: file.value("channel"),
        user: file.value("user"),
        proxy,
    })
}

/// The mail server in a property file. The outer `None` means that the file is not valid.
fn mail_server(file: &PropertyFile) -> Option<Option<MailServer>> {
    let value = |name: &str| file.value(name);
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
    let credentials = user.map(|user| (user, Secret::new(password)));
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
        mail_server(&PropertyFile::parse(lines.as_bytes(), MAIL_PREFIX)?)
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

    fn read_slack(lines: &[&str]) -> Option<SlackSettings> {
        let lines = lines.iter().map(|line| format!("{SLACK_PREFIX}{line}\n"));
        slack_settings(&PropertyFile::parse(
            lines.collect::<String>().as_bytes(),
            SLACK_PREFIX,
        )?)
    }

    #[test]
    fn file_of_the_messenger_for_slack_is_read_as_it_is() {
        let all = [
            "apitoken=xoxb-1",
            "channel=random",
            "user=someone",
            "proxy.host=proxy.example",
            "proxy.port=8080",
            "proxy.user=me",
            "proxy.password=word",
        ];
        let slack = read_slack(&all).unwrap();
        assert_eq!(slack.token.unwrap().reveal(), "xoxb-1");
        assert_eq!(slack.channel.as_deref(), Some("random"));
        assert_eq!(slack.user.as_deref(), Some("someone"));
        let proxy = slack.proxy.unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 8080));
        let (user, password) = proxy.credentials.unwrap();
        assert_eq!((user.as_str(), password.reveal().as_str()), ("me", "word"));
        let none = read_slack(&["apitoken=", "proxy.port=80"]).unwrap();
        assert!(none.token.is_none() && none.proxy.is_none());
        assert!(read_slack(&["proxy.host=p"]).is_none());
        assert!(read_slack(&["proxy.host=p", "proxy.port=0"]).is_none());
    }
}
