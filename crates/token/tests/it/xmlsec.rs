//! Interoperability with the program `xmlsec1`, where it is installed.

use std::path::Path;
use std::process::Command;

use personium_token::saml::{issue, verify};

use crate::forge::{DSIG, genuine, text_of, xml_of};
use crate::support::{NOW, token, unit2};

const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion";

fn installed() -> bool {
    let found = Command::new("xmlsec1").arg("--version").output().is_ok();
    if !found {
        eprintln!("LEFT OUT: xmlsec1 is not installed, agreement with it was not tested");
    }
    found
}

fn verifies(folder: &Path, xml: &str) -> bool {
    let certificate = folder.join("unit.crt");
    let document = folder.join("assertion.xml");
    std::fs::write(&certificate, &unit2().pem.certificate_pem).unwrap();
    std::fs::write(&document, xml).unwrap();
    Command::new("xmlsec1")
        .args(["--verify", "--id-attr:ID", ASSERTION, "--pubkey-cert-pem"])
        .arg(&certificate)
        .arg(&document)
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
fn xmlsec1_accepts_our_assertions() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut odd = token();
    odd.subject = "https://cell2.unit2.example/#a&b<c>\"d' \u{e9}\u{1f600}x]]>".to_owned();
    odd.scopes.push("a\r\n\tb]]>".to_owned());
    odd.id = "a\"<&\t\n\r'>".to_owned();
    let mut bare = token();
    bare.schema = None;
    bare.roles.clear();
    bare.scopes = vec![String::new(), "a".to_owned()];
    for token in [token(), odd, bare] {
        let xml = xml_of(&issue(&unit2().key, &token).unwrap());
        assert!(verifies(folder.path(), &xml), "{xml}");
        let changed = xml.replace("cell1.unit1", "cell9.unit1");
        assert_ne!(xml, changed);
        assert!(!verifies(folder.path(), &changed));
    }
}

#[test]
fn signatures_of_xmlsec1_are_accepted() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, without, _) = genuine();
    let more = "http://www.w3.org/2001/04/xmldsig-more";
    let enc = "http://www.w3.org/2001/04/xmlenc";
    for (method, digest) in [
        (format!("{more}#rsa-sha256"), format!("{enc}#sha256")),
        (format!("{more}#rsa-sha384"), format!("{more}#sha384")),
        (format!("{more}#rsa-sha512"), format!("{enc}#sha512")),
    ] {
        let template = format!(
            "<Signature xmlns=\"{DSIG}\"><SignedInfo><CanonicalizationMethod Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"/><SignatureMethod Algorithm=\"{method}\"/><Reference URI=\"\"><Transforms><Transform Algorithm=\"{DSIG}enveloped-signature\"/></Transforms><DigestMethod Algorithm=\"{digest}\"/><DigestValue/></Reference></SignedInfo><SignatureValue/><KeyInfo><X509Data><X509Certificate/></X509Data></KeyInfo></Signature>"
        );
        let xml = without.replace("</Assertion>", &format!("{template}</Assertion>"));
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("template.xml"), xml).unwrap();
        std::fs::write(path("unit.key"), &unit2().pem.key_pem).unwrap();
        std::fs::write(path("unit.crt"), &unit2().pem.certificate_pem).unwrap();
        let pair = format!(
            "{},{}",
            path("unit.key").display(),
            path("unit.crt").display()
        );
        let output = Command::new("xmlsec1")
            .args(["--sign", "--privkey-pem", &pair])
            .arg(path("template.xml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let signed = String::from_utf8(output.stdout).unwrap();
        let start = signed.find("<Assertion").unwrap();
        let text = text_of(signed[start..].trim_end());
        assert_eq!(
            verify(&text, NOW, &unit2().roots()),
            Ok(token()),
            "{method}"
        );
    }
}
