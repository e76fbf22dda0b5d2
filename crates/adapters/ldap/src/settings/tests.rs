use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

const SEARCH: &str = "base = 'dc=x'\nfilter = '(uid={username})'\nname_attribute = 'uid'\n";

fn read(text: &str) -> Result<LdapSettings, String> {
    LdapSettings::read(text.parse().unwrap(), Path::new("/nonexistent"))
}

#[test]
fn passwords_are_sent_in_clear_to_this_machine_only() {
    let with = |more: &str| read(&format!("{SEARCH}{more}")).map(drop);
    for good in [
        "url = 'ldaps://dc.example'",
        "url = 'ldaps://dc.example:1636'",
        "url = 'ldap://dc.example'",
        "url = 'ldap://dc.example'\nstart_tls = true",
        "url = 'ldap://127.0.0.1:389'\nstart_tls = false",
        "url = 'ldap://localhost'\nstart_tls = false",
        "url = 'ldap://[::1]:389/'\nstart_tls = false",
    ] {
        assert_eq!(with(good), Ok(()), "{good}");
    }
    for bad in [
        "url = 'ldap://dc.example'\nstart_tls = false",
        "url = 'ldap://10.0.0.1'\nstart_tls = false",
        "url = 'ldaps://dc.example'\nstart_tls = true",
        "url = 'http://dc.example'",
        "url = 'ldapi:///run/x'",
        "url = 'ldap:dc.example'",
        "url = ''",
        "url = 'ldap://user@dc.example'",
        "url = 'ldap://dc.example/dc=x?uid'",
        "url = 'ldaps://dc.example'\nca_file = 'missing.pem'",
        "url = 'ldaps://dc.example'\ntimeout_ms = 0",
        "url = 'ldaps://dc.example'\ntimeout_ms = 20001",
        "url = 'ldaps://dc.example'\nunknown = 1",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn entries_are_named_or_searched_for() {
    let with = |more: &str| read(&format!("url = 'ldaps://dc.example'\n{more}")).map(drop);
    assert_eq!(with(SEARCH), Ok(()));
    assert_eq!(with("bind_dn = 'uid={username},dc=x'"), Ok(()));
    for bad in [
        "",
        "bind_dn = 'uid=admin,dc=x'",
        "base = 'dc=x'\nfilter = '(uid={username})'",
        "base = 'dc=x'\nname_attribute = 'uid'",
        &format!("{SEARCH}bind_dn = 'uid={{username}},dc=x'"),
        &format!("{SEARCH}search_dn = 'cn=reader'"),
        &format!("{SEARCH}search_dn = 'cn=reader'\nsearch_password_file = 'missing'"),
        &SEARCH.replace("{username}", "alice"),
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn password_of_the_search_is_never_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reader.secret");
    let text = format!(
        "url = 'ldaps://dc.example'\n{SEARCH}search_dn = 'cn=reader'\nsearch_password_file = 'reader.secret'"
    );
    let read_with = |password: &str| {
        std::fs::write(&path, password).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        LdapSettings::read(text.parse().unwrap(), folder.path())
    };
    assert!(read_with("word\n").is_ok());
    assert!(read_with("\n").is_err());
    assert!(!format!("{:?}", read_with("hidden-word").unwrap()).contains("hidden-word"));
}

#[test]
fn certificates_that_strangers_can_change_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let certified = rcgen::generate_simple_self_signed(vec!["dc.example".to_owned()]);
    std::fs::write(&path, certified.unwrap().cert.pem()).unwrap();
    let text = format!("url = 'ldaps://dc.example'\n{SEARCH}ca_file = 'ca.pem'");
    for (mode, is_good) in [(0o644, true), (0o664, true), (0o646, false)] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let read = LdapSettings::read(text.parse().unwrap(), folder.path());
        assert_eq!(read.is_ok(), is_good, "{mode:o}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(LdapSettings::read(text.parse().unwrap(), folder.path()).is_err());
}
